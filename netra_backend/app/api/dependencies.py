"""What handlers are given: who asks, and the context to work under."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, Query, Request
from fastapi.security import OAuth2PasswordBearer

from netra_backend.app.realtime.messages import Uuid, canonical_uuid
from netra_backend.app.services.principal import AuthenticationError, Principal
from netra_backend.app.services.refusals import InvalidRequestError
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .page_session import check_request, cookie_of
from .state import ServicesDep

_bearer = OAuth2PasswordBearer(tokenUrl="/auth/login", auto_error=False)

PathId = Uuid
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=512)]


async def signed_in(
    request: Request, services: ServicesDep, token: Annotated[str | None, Depends(_bearer)]
) -> Principal:
    """Who the request's token proves, or else the page's cookie.

    Raises:
        AuthenticationError: there is none, or it proves nobody.
        ForgedPageRequestError: it is the cookie, the request changes something, and does not prove to be the page's.
    """
    if token:
        return await services.accounts.authenticate(token)
    cookie = cookie_of(request)
    if cookie is None or "authorization" in request.headers:
        raise AuthenticationError("expected an Authorization header: Bearer, and an access token of /auth/login")
    principal = await services.accounts.authenticate_page(cookie)
    check_request(request, partial(services.accounts.is_csrf_token, principal.session_id))
    return principal


PrincipalDep = Annotated[Principal, Depends(signed_in)]


def request_context(request: Request, principal: PrincipalDep) -> UserExecutionContext:
    """The context of an HTTP request: the token's user, and the thread that the path names."""
    named = request.path_params.get("thread_id")
    try:
        thread_id = str(uuid4()) if named is None else canonical_uuid(named)
    except ValueError as error:
        raise InvalidRequestError(f"thread_id: {error}", code="invalid_id") from None
    return UserExecutionContext.from_fastapi_request(request, principal.user_id, thread_id, run_id=str(uuid4()))


ContextDep = Annotated[UserExecutionContext, Depends(request_context)]
