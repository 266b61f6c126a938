"""The one table: exception -> HTTP status and code; and how it is told, as problem details (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.services.principal import AuthenticationError
from netra_backend.app.services.refusals import (
    InvalidRequestError,
    LimitExceededError,
    MessageReusedError,
    NotFoundError,
    RefusedError,
    ShuttingDownError,
    ThreadBusyError,
    ThreadExistsError,
)

from .accounts import EmailTakenError, InvalidCredentialsError, RegistrationClosedError
from .page_session import ForgedPageRequestError
from .usage_upload import InvalidUploadError

PROBLEM: Final = "application/problem+json"
UNREADABLE_BODY: Final = "body: expected UTF-8 text of the form that the content-type names; came other bytes"

STATUS: Final[dict[type[RefusedError], HTTPStatus]] = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    InvalidRequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidUploadError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ThreadExistsError: HTTPStatus.CONFLICT,
    ThreadBusyError: HTTPStatus.CONFLICT,
    MessageReusedError: HTTPStatus.CONFLICT,
    EmailTakenError: HTTPStatus.CONFLICT,
    RegistrationClosedError: HTTPStatus.FORBIDDEN,
    ForgedPageRequestError: HTTPStatus.FORBIDDEN,
    LimitExceededError: HTTPStatus.TOO_MANY_REQUESTS,
    ShuttingDownError: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusedError: HTTPStatus.CONFLICT,
}
"""A class that is not listed has the status of its nearest listed base."""


def problem(
    status: int, code: str, detail: str, *, errors: Sequence[Any] | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """A problem-details response."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
    }
    if errors is not None:
        body["errors"] = errors
    return JSONResponse(body, status, headers, media_type=PROBLEM)


def refusal_response(error: RefusedError) -> JSONResponse:
    """The response to a refusal, by the table."""
    status = next(STATUS[base] for base in type(error).__mro__ if base in STATUS)
    headers = {}
    retry_after = getattr(error, "retry_after", None)
    if isinstance(error, StorageUnavailableError):
        retry_after = 1.0
    if retry_after is not None:
        headers["Retry-After"] = str(math.ceil(retry_after))
    return problem(status, error.code, error.message, errors=getattr(error, "errors", None), headers=headers or None)


def unauthenticated_response(reason: str, code: str = "unauthenticated") -> JSONResponse:
    """The response to a token or a password that proves nothing (RFC 6750)."""
    return problem(HTTPStatus.UNAUTHORIZED, code, reason, headers={"WWW-Authenticate": "Bearer"})


def install(app: FastAPI) -> None:
    """Tell every error of the app's handlers by the table."""

    @app.exception_handler(RefusedError)
    async def refused(_request: Request, error: RefusedError) -> JSONResponse:
        return refusal_response(error)

    @app.exception_handler(InvalidCredentialsError)
    async def wrong_password(_request: Request, error: InvalidCredentialsError) -> JSONResponse:
        return unauthenticated_response(error.reason, "invalid_credentials")

    @app.exception_handler(AuthenticationError)
    async def unauthenticated(_request: Request, error: AuthenticationError) -> JSONResponse:
        return unauthenticated_response(error.reason)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"field": ".".join(str(part) for part in fault["loc"][1:]) or "body", "expected": fault["msg"]}
            for fault in error.errors()
        ]
        named = "; ".join(f"{fault['field']}: {fault['expected']}" for fault in errors)
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, _code(error.errors()[0]), named, errors=errors)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        if status is HTTPStatus.BAD_REQUEST:  # FastAPI's, for bytes that are no text or no form
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_body", UNREADABLE_BODY)
        code = status.phrase.lower().replace(" ", "_")
        detail = NotFoundError().message if status is HTTPStatus.NOT_FOUND else str(error.detail)
        headers = dict(error.headers or {})
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(sorted(_methods(request)))
        return problem(status, code, detail, headers=headers)


def _methods(request: Request) -> set[str]:
    """What a path may be asked by (RFC 9110, 15.5.6): the framework names the methods of its first route only."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.methods and route.path_regex.match(request.url.path):
            methods |= route.methods
    return methods


def _code(fault: dict[str, Any]) -> str:
    if fault["type"] == "json_invalid":
        return "invalid_json"
    return "invalid_id" if fault["loc"][0] == "path" else "invalid_request"
