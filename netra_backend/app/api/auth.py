"""`/auth`: accounts and sign-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from netra_backend.app.auth.passwords import MAX_CHARACTERS, MIN_CHARACTERS
from netra_backend.app.db.repositories.accounts import AccountRepository, export_line

from .accounts import SignedIn
from .client_address import ClientDep
from .dependencies import ContextDep, PrincipalDep
from .page_session import check_origin, cookie_of, delete_cookie, set_cookie
from .state import ServicesDep

router = APIRouter(prefix="/auth", tags=["auth"])

SCHEME: Final = "bearer"
"""How a token is shown (RFC 6750)."""


MAX_EMAIL_CHARACTERS: Final = 254


def canonical_email(value: str) -> str:
    """An e-mail address as it is kept; raises ValueError. Only the form is checked: no mail is sent."""
    email = value.strip().casefold()
    if len(email) > MAX_EMAIL_CHARACTERS:  # folding makes some letters longer
        raise ValueError(f"expected an e-mail address of at most {MAX_EMAIL_CHARACTERS} characters")
    local, at, domain = email.rpartition("@")
    if not (at and local and domain) or not email.isprintable() or any(part.isspace() for part in email):
        raise ValueError("expected an e-mail address, such as ann@example.org")
    return email


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _spelled(value: SecretStr) -> SecretStr:
    try:
        value.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("expected text that UTF-8 can spell") from None
    return value


AnyPassword = Annotated[SecretStr, Field(max_length=MAX_CHARACTERS), AfterValidator(_spelled)]
Password = Annotated[AnyPassword, Field(min_length=MIN_CHARACTERS)]


class Registration(_Body):
    """A new account."""

    email: Annotated[
        str,
        Field(max_length=MAX_EMAIL_CHARACTERS, json_schema_extra={"format": "email"}),
        AfterValidator(canonical_email),
    ]
    password: Password


class RefreshRequest(_Body):
    """A refresh token to spend."""

    refresh_token: Annotated[str, Field(max_length=512)]


class PasswordChange(_Body):
    """The password that is and the one that shall be."""

    current_password: AnyPassword
    new_password: Password


PasswordForm = Annotated[OAuth2PasswordRequestForm, Depends()]


def _named(form: OAuth2PasswordRequestForm) -> str:
    """The e-mail that a sign-in names. What can be nobody's is "": it is refused as an unknown one is, at the same
    cost, and neither the throttle nor the database is given what somebody made up."""
    try:
        return canonical_email(form.username)
    except ValueError:
        return ""


def _tokens(signed_in: SignedIn) -> dict[str, Any]:
    return {
        "access_token": signed_in.access_token,
        "token_type": SCHEME,
        "expires_in": signed_in.expires_in,
        "refresh_token": signed_in.refresh_token,
    }


@router.post("/register", status_code=HTTPStatus.CREATED)
async def register(body: Registration, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Make an account."""
    user_id, created_at = await services.accounts.register(body.email, body.password.get_secret_value(), client)
    return {"user_id": user_id, "email": body.email, "created_at": created_at}


@router.post("/login")
async def login(form: PasswordForm, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Sign in with e-mail (as `username`) and password."""
    return _tokens(await services.accounts.sign_in(_named(form), form.password, client))


@router.post("/session", dependencies=[Depends(check_origin)])
async def begin_page_session(
    request: Request, response: Response, form: PasswordForm, services: ServicesDep, client: ClientDep
) -> dict[str, Any]:
    """Sign the built-in page in: a cookie, and the code that the page sends with what changes something."""
    email = _named(form)
    session = await services.accounts.sign_in_page(email, form.password, client, replaces=cookie_of(request))
    set_cookie(request, response, session.cookie, session.seconds)
    csrf_token = services.accounts.csrf_token(session.session_id)
    return {"user_id": session.user_id, "email": email, "csrf_token": csrf_token}


@router.get("/session")
async def page_session(context: ContextDep, principal: PrincipalDep, services: ServicesDep) -> dict[str, Any]:
    """Who is signed in, and the page's code."""
    account = await AccountRepository(context, services.database).get()
    csrf_token = services.accounts.csrf_token(principal.session_id)
    return {"user_id": account.user_id, "email": account.email, "csrf_token": csrf_token}


@router.post("/refresh")
async def refresh(body: RefreshRequest, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Spend a refresh token for new tokens."""
    return _tokens(await services.accounts.refresh(body.refresh_token, client))


@router.post("/logout", status_code=HTTPStatus.NO_CONTENT)
async def logout(response: Response, context: ContextDep, principal: PrincipalDep, services: ServicesDep) -> None:
    """End this session: its tokens, its sockets and its streams."""
    await services.accounts.sign_out(context, principal.session_id)
    delete_cookie(response)


@router.post("/logout-everywhere", status_code=HTTPStatus.NO_CONTENT)
async def logout_everywhere(response: Response, context: ContextDep, services: ServicesDep) -> None:
    """End every session of the user, this one too."""
    await services.accounts.sign_out_everywhere(context)
    delete_cookie(response)


@router.post("/password", status_code=HTTPStatus.NO_CONTENT)
async def change_password(body: PasswordChange, context: ContextDep, services: ServicesDep, client: ClientDep) -> None:
    """Set another password; every session ends."""
    await services.accounts.change_password(
        context, body.current_password.get_secret_value(), body.new_password.get_secret_value(), client
    )


@router.get("/me")
async def me(context: ContextDep, services: ServicesDep) -> dict[str, Any]:
    """The user's own account."""
    account = await AccountRepository(context, services.database).get()
    return {"user_id": account.user_id, "email": account.email, "created_at": account.created_at}


@router.get("/me/export")
async def export(context: ContextDep, services: ServicesDep) -> StreamingResponse:
    """Everything that is stored for the user, as JSON lines."""

    async def lines() -> AsyncIterator[bytes]:
        async for row in AccountRepository(context, services.database).export():
            yield export_line(row)

    return StreamingResponse(
        lines(),
        media_type="application/x-ndjson",
        headers={"content-disposition": 'attachment; filename="netra-export.ndjson"'},
    )


@router.delete("/me", status_code=HTTPStatus.NO_CONTENT)
async def erase(context: ContextDep, services: ServicesDep) -> None:
    """Erase the user and everything that is the user's."""
    await services.accounts.erase(context, lambda: services.runs.stop_all(context))
    await services.eraser.finish_user(context)
