"""How slowly a body may come: its pieces have a limit, and so has the whole."""

from __future__ import annotations

import asyncio

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from netra_backend.app.api.body_deadline import BodyDeadline

SECONDS = 0.05


def piece(size: int, more_body: bool = True) -> Message:
    """A piece of a body."""
    return {"type": "http.request", "body": b"x" * size, "more_body": more_body}


async def taken(*pieces: Message, pause: float | None = None, then: Message | None = None) -> list[Message]:
    """What a handler gets of a body whose pieces come at once, or with pauses; `then` comes well after the limit."""
    coming = iter(pieces)
    got: list[Message] = []

    async def receive() -> Message:
        if pause is not None:
            await asyncio.sleep(pause)
        for message in coming:
            return message
        await asyncio.sleep(3 * SECONDS)
        if then is None:
            await asyncio.Event().wait()
        assert then is not None
        return then

    async def read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
        while not got or got[-1].get("more_body"):
            got.append(await receive())
        if then is not None:
            got.append(await receive())

    async def send(_message: Message) -> None:
        raise AssertionError

    await BodyDeadline(read_all, seconds=SECONDS)({"type": "http"}, receive, send)
    return got


async def test_a_body_that_comes_is_handed_on() -> None:
    """Pieces go through as they come, and whoever then waits for the client to leave waits without a limit."""
    pieces = [piece(10), piece(0), piece(5, more_body=False)]
    assert await taken(*pieces) == pieces
    gone: Message = {"type": "http.disconnect"}
    assert await taken(piece(0, more_body=False), then=gone) == [piece(0, more_body=False), gone]


@pytest.mark.parametrize("pieces", [[], [piece(1)], [piece(20_000), piece(20_000)]])
async def test_a_body_that_stops_is_408(pieces: list[Message]) -> None:
    """Whatever has come before: when nothing more comes, the request ends, and so does its connection."""
    with pytest.raises(HTTPException) as caught:
        await taken(*pieces)
    assert caught.value.status_code == 408
    assert caught.value.headers == {"connection": "close"}


async def test_a_body_that_drips_is_408() -> None:
    """A byte now and then keeps no request alive: over the time, it must have come at a rate."""
    with pytest.raises(HTTPException) as caught:
        await taken(*(piece(1) for _ in range(1_000)), pause=SECONDS / 5)
    assert caught.value.status_code == 408


async def test_what_is_no_request_is_left_alone() -> None:
    """A socket has limits of its own."""
    seen: list[Receive] = []

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.append(receive)

    async def receive() -> Message:
        raise AssertionError

    async def send(_message: Message) -> None:
        raise AssertionError

    await BodyDeadline(inner, seconds=SECONDS)({"type": "websocket"}, receive, send)
    assert seen == [receive]
