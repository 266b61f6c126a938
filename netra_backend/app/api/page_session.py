"""The built-in page's session: a cookie that no script can read, and a code that no other site can know.

A request that changes something counts only with both, and from a page of the server's own (docs/security.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from netra_backend.app.services.refusals import RefusedError
from netra_backend.app.telemetry import SecurityEvent, tell_security_event

from .client_address import client_of

CSRF_HEADER: Final = "x-netra-csrf"
COOKIE: Final = "netra-session"
SECURE_COOKIE: Final = f"__Host-{COOKIE}"
"""The cookie's name over HTTPS: browsers then take it from this host only, and never from a page without TLS."""

_SAME_SITE: Final[Literal["strict"]] = "strict"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class ForgedPageRequestError(RefusedError):
    """Raised when a request carries the page's cookie, and does not prove to come from the page."""

    code = "forged_page_request"


def cookie_of(connection: HTTPConnection) -> str | None:
    """What the page's cookie holds; None when a request has none."""
    return connection.cookies.get(SECURE_COOKIE) or connection.cookies.get(COOKIE)


def set_cookie(connection: HTTPConnection, response: Response, value: str, max_age: int) -> None:
    """Give the page its cookie; over HTTPS only for HTTPS."""
    is_secure = _is_secure(connection)
    name = SECURE_COOKIE if is_secure else COOKIE
    response.set_cookie(name, value, max_age=max_age, path="/", secure=is_secure, httponly=True, samesite=_SAME_SITE)


def delete_cookie(response: Response) -> None:
    """Take the page's cookie away."""
    response.delete_cookie(SECURE_COOKIE, path="/", secure=True, httponly=True, samesite=_SAME_SITE)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite=_SAME_SITE)


def _is_secure(connection: HTTPConnection) -> bool:
    """Whether the page was loaded over HTTPS; a proxy may have ended that, so the page's own origin tells."""
    return connection.headers.get("origin", "").lower().startswith("https://")


def check_origin(connection: HTTPConnection) -> None:
    """See that one of the server's own pages asks, as browsers tell by `Origin`; raises ForgedPageRequestError."""
    if not connection.state.is_own_page:
        _refuse(connection, "expected the Origin header of one of this server's own pages")


def check_page(connection: HTTPConnection) -> None:
    """See that the page's cookie comes from a page of the server's own, loaded as the page that it was given to was.

    A page without TLS may be anybody's on the way, and a cookie without `__Host-` a neighbour host's: neither may be
    mixed with HTTPS.

    Raises:
        ForgedPageRequestError: it does not.
    """
    check_origin(connection)
    if _is_secure(connection) != (SECURE_COOKIE in connection.cookies):
        _refuse(connection, "expected the cookie of a page of the same scheme; sign in again")


def check_request(request: Request, is_csrf_token: Callable[[str], bool]) -> None:
    """See that a request with the page's cookie comes from the page.

    Args:
        request: one that changes nothing needs no proof, since no other site can read its answer.
        is_csrf_token: whether a text is the session's code.

    Raises:
        ForgedPageRequestError: it does not.
    """
    if request.method in _SAFE:
        return
    check_page(request)
    if not is_csrf_token(request.headers.get(CSRF_HEADER, "")):
        _refuse(request, f"expected the header {CSRF_HEADER} with the csrf_token of GET /auth/session")


def _refuse(connection: HTTPConnection, why: str) -> None:
    tell_security_event(SecurityEvent.FORGED_PAGE_REQUEST, address=client_of(connection).address)
    raise ForgedPageRequestError(f"{why}; programs send Authorization: Bearer instead of a cookie")
