"""The registry of owner rules: nothing is served whose owner nobody has declared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from netra_backend.app.api.dependencies import request_context, signed_in
from netra_backend.app.api.ownership import FRAMES, ROUTES, OwnerRule, OwnershipError, check
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


def test_every_path_with_an_id_is_of_that_ids_owner() -> None:
    """A route whose path names a thread or a run has the rule of threads or runs; others have neither."""
    for (_, path), rule in ROUTES.items():
        named = {"{thread_id}": OwnerRule.THREAD, "{run_id}": OwnerRule.RUN}
        expected = next((of for name, of in named.items() if name in path), None)
        assert (rule if rule in named.values() else None) == expected, path
        assert path.count("{") == (expected is not None)


def test_every_frame_that_names_something_is_of_its_owner() -> None:
    """A frame with a thread's or a run's id has that rule, and only `authenticate` and `ping` are anybody's."""
    for name, model in messages.FRAMES.items():
        expected = (
            OwnerRule.THREAD if "thread_id" in model.model_fields
            else OwnerRule.RUN if "run_id" in model.model_fields
            else OwnerRule.PUBLIC
        )  # fmt: skip
        assert FRAMES[name] is expected


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
    assert fault(app, [*messages.FRAMES, "whisper"]) == "without an owner rule in api/ownership.py: frame whisper"


def test_a_rule_without_a_frame_is_found(app: FastAPI) -> None:
    """A rule of a frame that is gone is told."""
    frames = [name for name in messages.FRAMES if name != "ping"]
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
