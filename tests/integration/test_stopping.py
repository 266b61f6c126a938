"""Runs that are stopped: by their owner, and by a server that is told to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.nursery import ForkedServer, Home, Nursery
from tests.support.person import Person, Socket

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def _ann_at(server: ForkedServer, home: Home) -> AsyncIterator[tuple[Person, Socket]]:
    """The home's user at a server, connected."""
    headers = {"Authorization": f"Bearer {home.access_token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as http:
        ann = Person(server, http, "", "", access_token=home.access_token)
        async with ann.connected() as socket:
            yield ann, socket


async def _hold(socket: Socket, calls: Path) -> str:
    """Begin a run that waits in a tool; its id."""
    await socket.send("user_message", text=f"hold {calls}", agent="steps")
    return str((await socket.until("tool_executing"))[-1]["run_id"])


@pytest.mark.parametrize("way", ["socket", "http"])
async def test_cancelling_stops_the_tool(way: str, nursery: Nursery, home: Home, tmp_path: Path) -> None:
    """Over either way the run ends as cancelled, once and for ever, and the tool that was at work is really stopped."""
    server = await nursery.start(home)
    async with _ann_at(server, home) as (ann, socket):
        run_id = await _hold(socket, tmp_path / "calls")
        if way == "socket":
            await socket.send("cancel_run", run_id=run_id)
        else:
            answer = await ann.http.post(f"/api/runs/{run_id}/cancel")
            assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
        assert (await socket.until_final(run_id))[-1]["type"] == "run_cancelled"
        await socket.send("ping")
        await socket.expect("pong")
        assert (tmp_path / "calls").read_text().split("\n")[:2] == ["hold", "let go"]
        await ann.http.post(f"/api/runs/{run_id}/cancel")
        assert (await ann.http.get(f"/api/runs/{run_id}")).json()["status"] == "cancelled"
    server.signal(signal.SIGKILL)
    await nursery.ended(server)
    again = await nursery.start(home)
    async with _ann_at(again, home) as (ann, _):
        assert (await ann.http.get(f"/api/runs/{run_id}")).json()["status"] == "cancelled"


async def test_a_stop_lets_runs_end(nursery: Nursery, home: Home, tmp_path: Path) -> None:
    """Told to stop, the server refuses what is new, shows what goes on to its end, says 1012 and ends with 0."""
    limits = {"messages_per_minute": "100000", "max_unfinished_runs_per_user": "100000"}
    server = await nursery.start(home, shutdown_grace="PT10S", **limits)
    async with _ann_at(server, home) as (ann, socket):
        run_id = await _hold(socket, tmp_path / "calls")
        thread_id = (await ann.http.get(f"/api/runs/{run_id}")).json()["thread_id"]
        server.signal(signal.SIGTERM)
        told, number = {"type": ""}, 0
        while told["type"] != "error":  # the signal is taken in the server's own time
            about = {"text": f"fail {tmp_path / 'calls'}", "agent": "steps", "client_message_id": str(number)}
            await socket.send("user_message", **about)
            told = await socket.receive()
            while told["type"] not in ("message_accepted", "error"):  # it is of an earlier one
                told = await socket.receive()
            number += told["type"] == "message_accepted"  # and perhaps begun by the next start only
        assert (told["code"], told["client_message_id"]) == ("shutting_down", str(number))
        answer = await ann.http.post(f"/api/threads/{thread_id}/messages", json={"text": "hello"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert (await ann.http.get("/health/ready")).status_code == 503
        await socket.send("cancel_run", run_id=run_id)  # its end, while the server waits for it
        assert (await socket.until_final(run_id))[-1]["type"] == "run_cancelled"
        assert (await socket.closed())[0] == 1012
    assert await nursery.ended(server) == 0


async def test_a_stop_hands_back_what_does_not_end(nursery: Nursery, home: Home, tmp_path: Path) -> None:
    """A run that does not end within the grace is stopped, its tool with it, and the next start goes on with it."""
    server = await nursery.start(home, shutdown_grace="PT0.1S")
    async with _ann_at(server, home) as (_, socket):
        run_id = await _hold(socket, tmp_path / "calls")
        server.signal(signal.SIGTERM)
        assert (await socket.closed())[0] == 1012
    assert await nursery.ended(server) == 0
    assert (tmp_path / "calls").read_text() == "hold\nlet go\n"
    again = await nursery.start(home)
    async with _ann_at(again, home) as (ann, _):
        run = (await ann.http.get(f"/api/runs/{run_id}")).json()
        assert run["status"] == "running"
        assert (await ann.http.post(f"/api/runs/{run_id}/cancel")).json()["status"] == "cancelled"


async def test_an_agent_that_cannot_be_stopped_stops_nobody(nursery: Nursery, home: Home, tmp_path: Path) -> None:
    """An agent that swallows each cancellation holds up neither its run's end nor the server's."""
    graces = {"shutdown_grace": "PT0.1S", "stop_grace": "PT0.1S"}
    server = await nursery.start(home, run_timeout="PT0.3S", **graces)
    async with _ann_at(server, home) as (ann, socket):
        await socket.send("user_message", text="x", agent="stubborn")
        final = (await socket.until_final())[-1]
        assert (final["type"], final["data"]["code"]) == ("agent_failed", "deadline_exceeded")
        assert (await ann.http.get(f"/api/runs/{final['run_id']}")).json()["status"] == "timed_out"
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        assert (await socket.closed())[0] == 1012
    async with asyncio.timeout(10):
        assert await nursery.ended(server) == 0
    assert time.monotonic() - started < 5
