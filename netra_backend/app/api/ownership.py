"""The registry: for every route and every client frame, whose data it may reach, and by which ids.

A route that is not here, that does not ask for a token though its rule needs one, or that takes something of which
nobody has said whether it is an id, stops the app from being built. The attacks of the test-suite are made from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from starlette.routing import Mount, WebSocketRoute


class OwnerRule(StrEnum):
    """Whose data a route or frame reaches."""

    PUBLIC = "public"
    """Nobody's: it runs before anybody is known, or tells nothing of any user."""
    OPERATOR = "operator"
    """Nobody's: numbers of the whole server, for loopback or the holder of the metrics token."""
    USER = "user"
    """The token's user's; it takes no id of anything that must exist."""
    THREAD = "thread"
    """A thread of the token's user; any other id is unknown."""
    RUN = "run"
    """A run of the token's user; any other id is unknown."""


class Where(StrEnum):
    """Where a request, or a frame, holds an id."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"
    BODY = "body"
    FRAME = "frame"


class IdKind(StrEnum):
    """What an id is of."""

    THREAD = "thread"
    """A thread that the user must have."""
    THREAD_OR_NEW = "thread or new"
    """A thread of the user, which is made when the user has none of this id."""
    RUN = "run"
    """A run that the user must have."""
    MESSAGE = "message"
    """The client's own id of a message, in one of the user's threads."""
    SEQ = "seq"
    """A place in the log of one of the user's threads."""
    CURSOR = "cursor"
    """A place in one of the user's lists."""
    PROOF = "proof"
    """A token, which says itself who speaks."""


@dataclass(frozen=True, slots=True)
class IdPosition:
    """One place in which a route or frame takes an id."""

    where: Where
    name: str
    kind: IdKind


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

Key = tuple[str, str] | str
"""A route's method and path, or a frame's name."""

_THREAD: Final = IdPosition(Where.PATH, "thread_id", IdKind.THREAD)
_RUN: Final = IdPosition(Where.PATH, "run_id", IdKind.RUN)
_CURSOR: Final = IdPosition(Where.QUERY, "cursor", IdKind.CURSOR)
_MESSAGE: Final = "client_message_id"

IDS: Final[dict[Key, tuple[IdPosition, ...]]] = {
    ("POST", "/auth/refresh"): (IdPosition(Where.BODY, "refresh_token", IdKind.PROOF),),
    ("GET", "/api/threads"): (_CURSOR,),
    ("POST", "/api/threads"): (IdPosition(Where.BODY, "thread_id", IdKind.THREAD_OR_NEW),),
    ("GET", "/api/threads/{thread_id}"): (_THREAD,),
    ("PATCH", "/api/threads/{thread_id}"): (_THREAD,),
    ("DELETE", "/api/threads/{thread_id}"): (_THREAD,),
    ("GET", "/api/threads/{thread_id}/messages"): (_THREAD, _CURSOR),
    ("POST", "/api/threads/{thread_id}/messages"): (
        IdPosition(Where.PATH, "thread_id", IdKind.THREAD_OR_NEW),
        IdPosition(Where.BODY, _MESSAGE, IdKind.MESSAGE),
    ),
    ("GET", "/api/threads/{thread_id}/events"): (_THREAD, IdPosition(Where.HEADER, "last-event-id", IdKind.SEQ)),
    ("GET", "/api/runs/{run_id}"): (_RUN,),
    ("POST", "/api/runs/{run_id}/cancel"): (_RUN,),
    ("GET", "/api/usage-records"): (_CURSOR,),
    "authenticate": (IdPosition(Where.FRAME, "token", IdKind.PROOF),),
    "user_message": (
        IdPosition(Where.FRAME, "thread_id", IdKind.THREAD_OR_NEW),
        IdPosition(Where.FRAME, _MESSAGE, IdKind.MESSAGE),
    ),
    "resume": (
        IdPosition(Where.FRAME, "thread_id", IdKind.THREAD),
        IdPosition(Where.FRAME, "after_seq", IdKind.SEQ),
    ),
    "cancel_run": (IdPosition(Where.FRAME, "run_id", IdKind.RUN),),
}
"""The ids that a route or frame takes; one that is not here takes none."""

NO_IDS: Final = frozenset(
    {
        *("type", "limit", "text", "title", "if_busy", "agent"),
        *("email", "username", "password", "current_password", "new_password"),
        *("grant_type", "scope", "client_id", "client_secret"),  # of OAuth2's form; nobody reads them
    }
)
"""What routes and frames take beside ids; it reaches nothing by itself."""

READS_REQUEST: Final = frozenset({("POST", "/api/usage-records"), ("GET", "/metrics"), ("POST", "/auth/session")})
"""The routes that read the request by themselves, and take no id from it: an upload's body, the metrics token, the
page's cookie, which is a proof."""

_NEEDS_TOKEN: Final = frozenset({OwnerRule.USER, OwnerRule.THREAD, OwnerRule.RUN})
_FITTING_RULES: Final = {
    IdKind.THREAD: {OwnerRule.THREAD},
    IdKind.THREAD_OR_NEW: {OwnerRule.THREAD, OwnerRule.USER},
    IdKind.RUN: {OwnerRule.RUN},
}
_NEEDED_IDS: Final = {
    OwnerRule.THREAD: {IdKind.THREAD, IdKind.THREAD_OR_NEW},
    OwnerRule.RUN: {IdKind.RUN},
}


class OwnershipError(Exception):
    """Raised when a route or frame and its owner rule do not fit."""


def check(app: FastAPI, frames: Mapping[str, type[BaseModel]], signed_in: Callable[..., Any]) -> None:
    """Hold an app against the registry.

    Args:
        app: with all its routes.
        frames: the client frames that the socket takes.
        signed_in: the dependency that verifies the token.

    Raises:
        OwnershipError: something has no rule, a rule has no route, a route does not ask for the token it needs, or
            what a route or frame takes is not what the registry says of it.
    """
    found = list(_routes(app))
    _compare("route", (key for key, _ in found), ROUTES)
    _compare("frame", frames, FRAMES)
    _compare("ids", (), set(IDS) - ROUTES.keys() - FRAMES.keys())
    for key, dependant in found:
        _check_token(key, dependant is SOCKET or signed_in in _calls(dependant))
        _check_ids(key, ROUTES[key], {*_in_path(key[1]), *_taken(dependant)})
        if _reads_request(dependant) != (key in READS_REQUEST):
            raise OwnershipError(
                f"{' '.join(key)} takes the request as a whole, or does so no more: "
                "expected READS_REQUEST in api/ownership.py to say the same"
            )
    for name, model in frames.items():
        _check_ids(name, FRAMES[name], {(Where.FRAME, field) for field in _fields(model)})


def _check_token(key: tuple[str, str], asks: bool) -> None:
    rule = ROUTES[key]
    if rule in _NEEDS_TOKEN and not asks:
        raise OwnershipError(f"{' '.join(key)} reaches a user's data by rule {rule!r} and asks for no token")
    if rule not in _NEEDS_TOKEN and asks:
        raise OwnershipError(f"{' '.join(key)} asks for a token, and by its rule {rule!r} it reaches no user's data")


def _check_ids(key: Key, rule: OwnerRule, taken: Collection[tuple[Where, str]]) -> None:
    """Hold what a route or frame takes against what the registry says of it."""
    named = key if isinstance(key, str) else " ".join(key)
    declared = {(position.where, position.name): position.kind for position in IDS.get(key, ())}
    for where, name in sorted(taken):
        if (where, name) not in declared and name not in NO_IDS:
            raise OwnershipError(
                f"{named} takes {name!r} in its {where}: declare in api/ownership.py what id it is (IDS) or that it "
                "is none (NO_IDS)"
            )
    if gone := sorted(declared.keys() - set(taken)):
        raise OwnershipError(f"an id in api/ownership.py that {named} does not take: {' '.join(gone[0])}")
    for (_, name), kind in declared.items():
        if rule not in _FITTING_RULES.get(kind, set(OwnerRule)):
            raise OwnershipError(f"{named} takes the id of a {kind} as {name!r}, and its rule is {rule!r}")
    if rule in _NEEDED_IDS and _NEEDED_IDS[rule].isdisjoint(declared.values()):
        raise OwnershipError(f"{named} has the rule {rule!r} and takes no such id")


def _in_path(path: str) -> Iterator[tuple[Where, str]]:
    for name in re.findall(r"{(\w+)", path):
        yield Where.PATH, name


def _reads_request(dependant: Dependant | str | None) -> bool:
    return isinstance(dependant, Dependant) and (
        dependant.request_param_name is not None or dependant.http_connection_param_name is not None
    )


def _taken(dependant: Dependant | str | None) -> Iterator[tuple[Where, str]]:
    """Everything that a route and its dependencies take by name, but the path's parameters."""
    if not isinstance(dependant, Dependant):
        return
    for where, parameters in (
        (Where.QUERY, dependant.query_params),
        (Where.HEADER, dependant.header_params),
        (Where.COOKIE, dependant.cookie_params),
        (Where.BODY, dependant.body_params),
    ):
        for parameter in parameters:
            names = list(_fields(parameter.field_info.annotation)) or [parameter.alias]
            yield from ((where, name) for name in names)
    for inner in dependant.dependencies:
        yield from _taken(inner)


def _fields(annotation: Any) -> Iterator[str]:
    """The names of all fields of the models in an annotation, of models within models too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield field.alias or name
            yield from _fields(field.annotation)
    for argument in get_args(annotation):
        yield from _fields(argument)


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
