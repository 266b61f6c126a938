"""What stands before every handler, as plain ASGI."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netra_backend.app.telemetry import SecurityEvent, tell_security_event

from .errors import PROBLEM, problem

_logger = logging.getLogger(__name__)

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?")
SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
NOT_IN_URLS: Final = frozenset({"token", "access_token", "refresh_token", "id_token", "csrf_token", "password"})
"""What a URL must not hold: it ends up in logs, histories and the Referer of other sites."""


class NoTokenInUrl:
    """Refuses a URL that holds a token or a password, with 400, whatever it asks for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or not scope["query_string"] or not _names_secret(scope["query_string"]):
            await self._app(scope, receive, send)
            return
        tell_security_event(SecurityEvent.TOKEN_IN_URL, address=_address(scope))
        await _TOKEN_IN_URL(scope, receive, send)


def _names_secret(query: bytes) -> bool:
    names = (name.strip().lower() for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return any(name in NOT_IN_URLS for name in names)


def _address(scope: Scope) -> str | None:
    client: Any = scope.get("state", {}).get("client")
    return None if client is None else client.address


class HostAndOrigin:
    """Refuses foreign hosts (DNS rebinding) and foreign origins (cross-site WebSocket hijacking), with 403.

    What comes through knows by `state.is_own_page` whether one of the server's own pages is asking.

    Args:
        app: what comes after.
        hosts: the names by which this server may be called.
        origins: other sites whose pages may call it; the server's own pages always may.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], origins: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        is_own_page = origin in (f"http://{host}", f"https://{host}")
        if _hostname(host) not in self._hosts:
            tell_security_event(SecurityEvent.FOREIGN_HOST, address=_address(scope))
            await _FOREIGN_HOST(scope, receive, send)
        elif "origin" in headers and not is_own_page and origin not in self._origins:
            tell_security_event(SecurityEvent.FOREIGN_ORIGIN, address=_address(scope))
            await _FOREIGN_ORIGIN(scope, receive, send)
        else:
            scope.setdefault("state", {})["is_own_page"] = is_own_page
            await self._app(scope, receive, send)


def _hostname(host: str) -> str | None:
    """The name in a Host header (RFC 9110, 7.2); None when it is anything but a name and a port."""
    match = _HOST.fullmatch(host.lower())
    return match and (match["ipv6"] or match["name"])


class Envelope:
    """What every HTTP response has: an `x-request-id` of our own, the security headers, and problem details for errors.

    It stands outside of all else, so that this holds for what the framework itself answers, and for faults of ours.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its response back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        has_started = is_replaced = False

        async def send_enveloped(message: Message) -> None:
            nonlocal has_started, is_replaced
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and not _is_problem(headers):
                    is_replaced = True
                    await _TOO_LARGE(scope, receive, send_enveloped)
                    return
                has_started = True
                headers["x-request-id"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            elif is_replaced and not message.get("body", b"").startswith(b"{"):
                return
            await send(message)

        try:
            await self._app(scope, receive, send_enveloped)
        except Exception as error:
            if has_started:
                raise
            _logger.error("a request failed", exc_info=error)
            await _FAILED(scope, receive, send_enveloped)


def _is_problem(headers: MutableHeaders) -> bool:
    return headers.get("content-type") == PROBLEM


_FOREIGN_HOST: Final = problem(
    HTTPStatus.FORBIDDEN, "foreign_host", "this server is not called by that name (NETRA_ALLOWED_HOSTS)"
)
_FOREIGN_ORIGIN: Final = problem(
    HTTPStatus.FORBIDDEN, "foreign_origin", "pages of that site may not call this server (NETRA_ALLOWED_ORIGINS)"
)
_TOKEN_IN_URL: Final = problem(
    HTTPStatus.BAD_REQUEST,
    "token_in_url",
    "a URL must not hold a token or a password: send `Authorization: Bearer`, on a socket the header or the first "
    "frame; and sign out, since what was in a URL may be in a log",
)
_TOO_LARGE: Final = problem(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content_too_large", "the body is too large for this call"
)
_FAILED: Final = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "the server failed; try again")
