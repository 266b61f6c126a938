"""The registry of owner rules: nothing is served whose owner nobody has declared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Cookie, Depends, FastAPI, Header, Query, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from netra_backend.app.api import ownership
from netra_backend.app.api.dependencies import request_context, signed_in
from netra_backend.app.api.ownership import (
    FRAMES,
    IDS,
    ROUTES,
    IdKind,
    IdPosition,
    OwnerRule,
    OwnershipError,
    Where,
    check,
)
from netra_backend.app.config import Settings
from netra_backend.app.main import create_app
from netra_backend.app.realtime import messages


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The app as it is served."""
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("data")))

    async def close() -> None:
        async with app.router.lifespan_context(app):
            pass

    yield app
    asyncio.run(close())


@pytest.fixture
def app(served: FastAPI) -> Iterator[FastAPI]:
    """The app, whose routes a test may change."""
    routes = list(served.router.routes)
    yield served
    served.router.routes[:] = routes


def fault(app: FastAPI, frames: Any = messages.FRAMES) -> str:
    """What the check finds."""
    with pytest.raises(OwnershipError) as caught:
        check(app, frames, signed_in)
    return str(caught.value)


def first(app: FastAPI, add: Callable[[FastAPI], object]) -> None:
    """Add a route before all others, where it is the one that is served."""
    add(app)
    app.router.routes.insert(0, app.router.routes.pop())


async def nothing() -> None:
    """A handler that asks nobody anything."""


async def lookalike() -> str:
    """A dependency that verifies nothing."""
    return "ann"


def test_the_app_and_the_registry_agree(app: FastAPI) -> None:
    """Every route of the app and every frame of the socket has a rule, and every rule is of one that exists."""
    check(app, messages.FRAMES, signed_in)
    assert set(FRAMES) == set(messages.FRAMES)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/secrets"), ("POST", "/auth/me"), ("DELETE", "/api/runs/{run_id}"), ("GET", "/api/threads/{other}")],
)
def test_a_route_without_a_rule_is_found(app: FastAPI, method: str, path: str) -> None:
    """A new route, or a new method of an old path, needs a rule of its own, whether it asks for a token or not."""
    app.add_api_route(path, nothing, methods=[method], dependencies=[Depends(signed_in)])
    assert fault(app) == f"without an owner rule in api/ownership.py: route {(method, path)}"


def test_a_route_of_an_included_router_is_found(app: FastAPI) -> None:
    """Prefixes and nested routers hide nothing."""
    inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")
    inner.add_api_route("/leak", nothing)
    outer.include_router(inner)
    app.include_router(outer)
    assert fault(app).endswith("route ('GET', '/outer/inner/leak')")


@pytest.mark.parametrize(
    "add",
    [
        lambda app: app.add_api_websocket_route("/ws2", nothing),
        lambda app: app.mount("/other", StaticFiles(directory=Path(__file__).parent)),
        lambda app: app.add_route("/plain", lambda request: Response()),
    ],
    ids=["socket", "mount", "plain route"],
)
def test_a_route_that_is_none_of_fastapis_is_found(app: FastAPI, add: Callable[[FastAPI], object]) -> None:
    """Sockets, mounts and plain Starlette routes need a rule too."""
    add(app)
    assert fault(app).startswith("without an owner rule in api/ownership.py: route ")


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/static", "/"])
def test_a_plain_route_is_held_against_its_own_methods(app: FastAPI, path: str) -> None:
    """A plain Starlette route that takes POST is not the GET of the same path."""

    def plain(_request: Request) -> Response:
        return PlainTextResponse("")

    first(app, lambda app: app.router.routes.append(Route(path, plain, methods=["POST"])))
    assert fault(app).endswith(f"route ('POST', '{path}')")


@pytest.mark.parametrize("path", ["/api/threads", "/auth/me", "/api/usage-records"])
def test_a_socket_is_not_the_get_of_the_same_path(app: FastAPI, path: str) -> None:
    """A socket at a path whose GET has a rule reaches the user's data without the token that the GET asks for."""

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    first(app, lambda app: app.add_api_websocket_route(path, socket))
    assert path in fault(app)


def test_a_plain_route_does_not_take_the_place_of_a_users_one(app: FastAPI) -> None:
    """Only what authenticates by itself may lack the dependency: a plain route before a user's route is found."""

    def plain(_request: Request) -> Response:
        return PlainTextResponse("everybody's threads")

    first(app, lambda app: app.router.routes.append(Route("/api/threads", plain)))
    assert "/api/threads" in fault(app)


def test_a_rule_without_a_route_is_found(app: FastAPI) -> None:
    """A rule of a route that is gone, or was never there, is told."""
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") != "/static"]
    assert fault(app) == "an owner rule in api/ownership.py for a route that does not exist: ('GET', '/static')"


def test_a_frame_without_a_rule_is_found(app: FastAPI) -> None:
    """A new frame needs a rule."""
    assert (
        fault(app, {**messages.FRAMES, "whisper": messages.Ping})
        == "without an owner rule in api/ownership.py: frame whisper"
    )


def test_a_rule_without_a_frame_is_found(app: FastAPI) -> None:
    """A rule of a frame that is gone is told."""
    frames = {name: model for name, model in messages.FRAMES.items() if name != "ping"}
    assert fault(app, frames) == "an owner rule in api/ownership.py for a frame that does not exist: ping"


@pytest.mark.parametrize(
    "key", [key for key, rule in ROUTES.items() if rule in ("user", "thread", "run") and key != ("GET", "/ws")], ids=str
)
def test_every_owned_route_must_ask_for_the_token(app: FastAPI, key: tuple[str, str]) -> None:
    """Whichever owned route has a handler without `signed_in`, it is found."""
    method, path = key
    app.add_api_route(path, nothing, methods=[method])
    found = fault(app)
    assert f"{method} {path}" in found
    assert found.endswith("asks for no token")


@pytest.mark.parametrize(
    "key", [("GET", "/auth/me"), ("DELETE", "/api/usage-records"), ("POST", "/api/threads/{thread_id}/messages")]
)
def test_a_route_behind_another_of_the_same_path_does_not_hide_it(app: FastAPI, key: tuple[str, str]) -> None:
    """Of two routes of one path and method the first is served: that the second asks for a token is not enough."""
    method, path = key
    first(app, lambda app: app.add_api_route(path, nothing, methods=[method]))
    assert f"{method} {path}" in fault(app)


def test_an_indirect_dependency_is_enough(app: FastAPI) -> None:
    """A handler that gets its context from the token asks for the token."""

    async def by_context(context: Annotated[object, Depends(request_context)]) -> None:
        assert context

    app.add_api_route("/auth/me", by_context)
    check(app, messages.FRAMES, signed_in)


def test_another_dependency_is_not_enough(app: FastAPI) -> None:
    """A dependency that only looks like the one that verifies is none."""

    async def fooled(user: Annotated[str, Depends(lookalike)]) -> None:
        assert user

    app.add_api_route("/auth/me", fooled)
    assert fault(app).endswith("asks for no token")


# The ids that routes and frames take.


class Inner(BaseModel):
    """A model within a model."""

    account_id: str


class Outer(BaseModel):
    """A body that holds an id further in."""

    text: str
    more: list[Inner] | None = None


async def by_query(user: Annotated[object, Depends(signed_in)], session_id: Annotated[str, Query()]) -> None:
    """Takes an id in the query."""


async def by_header(user: Annotated[object, Depends(signed_in)], x_thread_id: Annotated[str, Header()]) -> None:
    """Takes an id in a header."""


async def by_cookie(user: Annotated[object, Depends(signed_in)], thread: Annotated[str, Cookie()]) -> None:
    """Takes an id in a cookie."""


async def by_field(user: Annotated[object, Depends(signed_in)], run_id: Annotated[str, Body(embed=True)]) -> None:
    """Takes an id as a field of the body."""


async def by_model(user: Annotated[object, Depends(signed_in)], body: Outer) -> None:
    """Takes an id in a model within the body."""


async def chosen(thread_id: Annotated[str, Query()]) -> str:
    """A dependency that takes an id."""
    return thread_id


async def by_dependency(user: Annotated[object, Depends(signed_in)], thread: Annotated[str, Depends(chosen)]) -> None:
    """Takes an id in a dependency's query."""


@pytest.mark.parametrize(
    ("handler", "taken"),
    [
        (by_query, "takes 'session_id' in its query"),
        (by_header, "takes 'x-thread-id' in its header"),
        (by_cookie, "takes 'thread' in its cookie"),
        (by_field, "takes 'run_id' in its body"),
        (by_model, "takes 'account_id' in its body"),
        (by_dependency, "takes 'thread_id' in its query"),
    ],
)
def test_an_id_that_nobody_has_declared_is_found(app: FastAPI, handler: Callable[..., Any], taken: str) -> None:
    """Wherever a route takes something new, somebody has to say whether it is an id, and of what."""
    first(app, lambda app: app.add_api_route("/auth/me", handler, methods=["GET"]))
    assert taken in fault(app)


def test_an_id_in_a_path_is_found_though_no_handler_names_it(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in a path can be read from the request: it must be declared too."""
    app.add_api_route("/api/records/{record_id}", nothing, dependencies=[Depends(signed_in)])
    monkeypatch.setitem(ROUTES, ("GET", "/api/records/{record_id}"), OwnerRule.USER)
    assert "takes 'record_id' in its path" in fault(app)


def test_a_route_that_reads_the_request_itself_is_found(app: FastAPI) -> None:
    """A handler that is given the whole request may take ids that nobody sees; it has to be declared."""

    async def reads(request: Request, user: Annotated[object, Depends(signed_in)]) -> None:
        """Takes whatever it wants."""

    first(app, lambda app: app.add_api_route("/auth/me", reads, methods=["GET"]))
    assert "takes the request as a whole" in fault(app)


def test_an_id_of_a_frame_that_nobody_has_declared_is_found(app: FastAPI) -> None:
    """A new field of a frame has to be declared, as a route's has."""

    class Whispered(messages.Ping):
        """A ping about somebody."""

        to_user_id: str

    assert "ping takes 'to_user_id' in its frame" in fault(app, {**messages.FRAMES, "ping": Whispered})


@pytest.mark.parametrize("key", IDS, ids=str)
def test_no_declared_id_can_be_left_out(app: FastAPI, monkeypatch: pytest.MonkeyPatch, key: ownership.Key) -> None:
    """Whichever id the registry forgets, the app is not built."""
    for position in IDS[key]:
        monkeypatch.setitem(IDS, key, tuple(other for other in IDS[key] if other is not position))
        assert f"takes {position.name!r} in its {position.where}" in fault(app)
        monkeypatch.undo()


@pytest.mark.parametrize("key", ["ping", ("GET", "/auth/me")], ids=str)
def test_an_id_that_is_not_taken_is_found(app: FastAPI, monkeypatch: pytest.MonkeyPatch, key: ownership.Key) -> None:
    """A declaration of an id that a route or frame does not take, or takes no more, is told."""
    where = Where.FRAME if isinstance(key, str) else Where.QUERY
    monkeypatch.setitem(IDS, key, (IdPosition(where, "thread_id", IdKind.CURSOR),))
    assert "does not take" in fault(app)


def test_ids_of_a_route_that_does_not_exist_are_found(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of a route that is gone go with it."""
    monkeypatch.setitem(IDS, ("GET", "/gone"), (IdPosition(Where.QUERY, "cursor", IdKind.CURSOR),))
    assert "that does not exist: ('GET', '/gone')" in fault(app)


TOKEN_RULES = frozenset({OwnerRule.USER, OwnerRule.THREAD, OwnerRule.RUN})


@pytest.mark.parametrize("key", [*ROUTES, *FRAMES], ids=str)
def test_no_rule_can_be_weaker_than_what_it_is_of(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, key: ownership.Key
) -> None:
    """What asks for a token, or takes the id of a thread or run, has such a rule, and no other."""
    kinds = {position.kind for position in IDS.get(key, ())}
    rules: Any = FRAMES if isinstance(key, str) else ROUTES
    right = rules[key]
    for rule in OwnerRule:
        monkeypatch.setitem(rules, key, rule)
        fits = {
            OwnerRule.THREAD: bool(kinds & {IdKind.THREAD, IdKind.THREAD_OR_NEW}),
            OwnerRule.RUN: IdKind.RUN in kinds,
            OwnerRule.USER: kinds.isdisjoint({IdKind.THREAD, IdKind.RUN}),
        }.get(rule, kinds.isdisjoint({IdKind.THREAD, IdKind.RUN, IdKind.THREAD_OR_NEW}))
        if fits and (isinstance(key, str) or (rule in TOKEN_RULES) == (right in TOKEN_RULES)):
            check(app, messages.FRAMES, signed_in)
        else:
            assert repr(rule) in fault(app)
        monkeypatch.undo()
