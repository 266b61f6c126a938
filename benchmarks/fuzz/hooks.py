"""How schemathesis signs in: as one user for all, as a new one where a call ends the session, for a moment at a stream.

A stream of server-sent events ends when its session does, and not by itself: a heartbeat outlives every timeout.
"""

from __future__ import annotations

import os
import secrets
import threading
from functools import cache
from typing import Any, Final

import httpx
import schemathesis

AnyCase = schemathesis.Case[Any]
ENDS_SESSION: Final = frozenset(
    {
        ("POST", "/auth/logout"),
        ("POST", "/auth/logout-everywhere"),
        ("POST", "/auth/password"),
        ("DELETE", "/auth/me"),
    }
)
STREAM: Final = ("GET", "/api/threads/{thread_id}/events")
STREAM_SECONDS: Final = 0.3


@cache
def _http() -> httpx.Client:
    return httpx.Client(base_url=os.environ["NETRA_FUZZ_URL"], timeout=60)


def _registered() -> dict[str, str]:
    account = {"email": f"{secrets.token_hex(6)}@users.netra.invalid", "password": secrets.token_urlsafe(12)}
    _http().post("/auth/register", json=account).raise_for_status()
    return {"username": account["email"], "password": account["password"]}


def _token(form: dict[str, str]) -> str:
    token: str = _http().post("/auth/login", data=form).raise_for_status().json()["access_token"]
    return token


_shared_form = cache(_registered)


@cache
def _shared_token() -> str:
    return _token(_shared_form())


def _token_for_a_moment() -> str:
    token = _token(_shared_form())
    headers = {"Authorization": f"Bearer {token}"}
    threading.Timer(STREAM_SECONDS, _http().post, ("/auth/logout",), {"headers": headers}).start()
    return token


@schemathesis.auth(refresh_interval=None)
class SignIn:
    """Signs each case in."""

    def get(self, case: AnyCase, _context: schemathesis.AuthContext) -> str:
        """The token of a case."""
        key = (case.operation.method.upper(), case.operation.path)
        if key == STREAM:
            return _token_for_a_moment()
        return _token(_registered()) if key in ENDS_SESSION else _shared_token()

    def set(self, case: AnyCase, data: str, _context: schemathesis.AuthContext) -> None:
        """Send it."""
        case.headers["Authorization"] = f"Bearer {data}"
