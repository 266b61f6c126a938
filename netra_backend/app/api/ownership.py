"""The registry: for every route and every client frame, whose data it may reach.

A route that is not here, or that does not ask for a token though its rule needs one, stops the app from being built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Mount, WebSocketRoute


class OwnerRule(StrEnum):
    """Whose data a route or frame reaches."""

    PUBLIC = "public"
    """Nobody's: it runs before anybody is known, or tells nothing of any user."""
    OPERATOR = "operator"
    """Nobody's: numbers of the whole server, for loopback or the holder of the metrics token."""
    USER = "user"
    """The token's user's; it takes no id of anything."""
    THREAD = "thread"
    """A thread of the token's user; any other id is unknown."""
    RUN = "run"
    """A run of the token's user; any other id is unknown."""


SOCKET: Final = "SOCKET"
"""Stands for a method where a route is a WebSocket; it authenticates by itself."""

ROUTES: Final[dict[tuple[str, str], OwnerRule]] = {
    ("GET", "/"): OwnerRule.PUBLIC,
    ("GET", "/static"): OwnerRule.PUBLIC,
    ("GET", "/openapi.json"): OwnerRule.PUBLIC,
    ("GET", "/health/live"): OwnerRule.PUBLIC,
    ("GET", "/health/ready"): OwnerRule.PUBLIC,
    ("GET", "/metrics"): OwnerRule.OPERATOR,
    ("POST", "/auth/register"): OwnerRule.PUBLIC,
    ("POST", "/auth/login"): OwnerRule.PUBLIC,
    ("POST", "/auth/refresh"): OwnerRule.PUBLIC,
    ("POST", "/auth/session"): OwnerRule.PUBLIC,
    ("GET", "/auth/session"): OwnerRule.USER,
    ("POST", "/auth/logout"): OwnerRule.USER,
    ("POST", "/auth/logout-everywhere"): OwnerRule.USER,
    ("POST", "/auth/password"): OwnerRule.USER,
    ("GET", "/auth/me"): OwnerRule.USER,
    ("GET", "/auth/me/export"): OwnerRule.USER,
    ("DELETE", "/auth/me"): OwnerRule.USER,
    (SOCKET, "/ws"): OwnerRule.USER,
    ("GET", "/api/threads"): OwnerRule.USER,
    ("POST", "/api/threads"): OwnerRule.USER,
    ("GET", "/api/threads/{thread_id}"): OwnerRule.THREAD,
    ("PATCH", "/api/threads/{thread_id}"): OwnerRule.THREAD,
    ("DELETE", "/api/threads/{thread_id}"): OwnerRule.THREAD,
    ("GET", "/api/threads/{thread_id}/messages"): OwnerRule.THREAD,
    ("POST", "/api/threads/{thread_id}/messages"): OwnerRule.THREAD,
    ("GET", "/api/threads/{thread_id}/events"): OwnerRule.THREAD,
    ("GET", "/api/runs/{run_id}"): OwnerRule.RUN,
    ("POST", "/api/runs/{run_id}/cancel"): OwnerRule.RUN,
    ("GET", "/api/usage-records"): OwnerRule.USER,
    ("POST", "/api/usage-records"): OwnerRule.USER,
    ("DELETE", "/api/usage-records"): OwnerRule.USER,
}

FRAMES: Final[dict[str, OwnerRule]] = {
    "authenticate": OwnerRule.PUBLIC,
    "ping": OwnerRule.PUBLIC,
    "user_message": OwnerRule.THREAD,
    "resume": OwnerRule.THREAD,
    "cancel_run": OwnerRule.RUN,
}

_NEEDS_TOKEN: Final = frozenset({OwnerRule.USER, OwnerRule.THREAD, OwnerRule.RUN})


class OwnershipError(Exception):
    """Raised when a route or frame and its owner rule do not fit."""


def check(app: FastAPI, frames: Iterable[str], signed_in: Callable[..., Any]) -> None:
    """Hold an app against the registry.

    Args:
        app: with all its routes.
        frames: the client frames that the socket takes.
        signed_in: the dependency that verifies the token.

    Raises:
        OwnershipError: something has no rule, a rule has no route, or a route does not ask for the token it needs.
    """
    found = list(_routes(app))
    _compare("route", (key for key, _ in found), ROUTES)
    _compare("frame", frames, FRAMES)
    for key, dependant in found:
        if ROUTES[key] in _NEEDS_TOKEN and dependant is not SOCKET and signed_in not in _calls(dependant):
            raise OwnershipError(f"{' '.join(key)} reaches a user's data by rule {ROUTES[key]!r} and asks for no token")


def _compare(kind: str, found: Iterable[Any], declared: Iterable[Any]) -> None:
    known, needed = set(found), set(declared)
    if without_rule := sorted(known - needed):
        raise OwnershipError(f"without an owner rule in api/ownership.py: {kind} {without_rule[0]}")
    if unused := sorted(needed - known):
        raise OwnershipError(f"an owner rule in api/ownership.py for a {kind} that does not exist: {unused[0]}")


def _routes(app: FastAPI) -> Iterator[tuple[tuple[str, str], Dependant | str | None]]:
    """Every route by its methods and path, each as often as it is there: the first of two alike is the one served.

    With each comes what it depends on: `SOCKET` for a WebSocket, None for a route that cannot depend on anything.
    """
    for route in iter_route_contexts(app.routes):
        path = str(route.path)
        if isinstance(route.original_route, WebSocketRoute):
            yield (SOCKET, path), SOCKET
        elif isinstance(route.original_route, Mount):
            yield ("GET", path), None
        else:
            dependant = route.dependant if isinstance(route.original_route, APIRoute) else None
            for method in (route.methods or {"GET"}) - {"HEAD"}:
                yield (method, path), dependant


def _calls(dependant: Dependant | str | None) -> Iterator[Callable[..., Any] | None]:
    if isinstance(dependant, Dependant):
        yield dependant.call
        for inner in dependant.dependencies:
            yield from _calls(inner)
