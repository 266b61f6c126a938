"""What stands before every handler, as plain ASGI."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import PROBLEM, problem

_logger = logging.getLogger(__name__)

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?")
SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class HostAndOrigin:
    """Refuses foreign hosts (DNS rebinding) and foreign origins (cross-site WebSocket hijacking), with 403.

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
        host = headers.get("host", "")
        refusal = None
        if _hostname(host) not in self._hosts:
            refusal = problem(HTTPStatus.FORBIDDEN, "foreign_host", "this server is not called by that name")
        elif not self._is_own(headers.get("origin"), host):
            refusal = problem(HTTPStatus.FORBIDDEN, "foreign_origin", "pages of that site may not call this server")
        await (refusal or self._app)(scope, receive, send)

    def _is_own(self, origin: str | None, host: str) -> bool:
        if origin is None:
            return True
        origin = origin.lower()
        return origin in self._origins or origin in (f"http://{host.lower()}", f"https://{host.lower()}")


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


_TOO_LARGE: Final = problem(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content_too_large", "the body is too large for this call"
)
_FAILED: Final = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "the server failed; try again")
