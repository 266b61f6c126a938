"""A server that was killed starts again over its data, and everything acknowledged is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.support.database import Backend
from tests.support.person import Person, a_person
from tests.support.server import Server, serving


async def _moved(person: Person, server: Server) -> Person:
    """The same user at the restarted server."""
    http = httpx.AsyncClient(base_url=server.url, timeout=20, headers=person.http.headers)
    return Person(server, http, person.email, person.password, person.user_id, person.access_token)


@pytest.mark.timeout(90)
async def test_a_killed_server_has_lost_nothing(backend: Backend, tmp_path: Path) -> None:
    """After SIGKILL in the middle of a run: tokens hold, history is whole, a run whose tool was cut off has failed
    truthfully, what waited is done, and the log goes on without a hole."""
    settings = backend.settings(tmp_path)
    async with serving(tmp_path, **settings) as server, a_person(server) as ann:
        async with ann.connected() as socket:
            done = await socket.ask("done before", agent="gate")
            thread = {"thread_id": done[0]["thread_id"], "agent": "gate"}
            await socket.send("user_message", text="hold on", **thread)
            running = (await socket.until("tool_executing"))[-1]
            await socket.send("user_message", text="waiting", **thread)
            waiting = (await socket.until("message_accepted"))[-1]
        await server.kill()
        async with serving(tmp_path, **settings) as again:
            ann_again = await _moved(ann, again)
            async with ann_again.http, ann_again.connected() as socket:
                await socket.send("resume", thread_id=thread["thread_id"], after_seq=0)
                frames = await socket.until_final(waiting["run_id"])
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    finals = {frame["run_id"]: frame for frame in frames if frame.get("final")}
    assert finals[done[0]["run_id"]]["data"]["result"]["echo"] == "done before"
    assert finals[running["run_id"]]["type"] == "agent_failed"
    assert finals[running["run_id"]]["data"]["code"] == "tool_outcome_unknown"
    assert finals[waiting["run_id"]]["data"]["result"]["echo"] == "waiting"


@pytest.mark.timeout(90)
async def test_a_stopped_server_says_that_it_goes_away(tmp_path: Path) -> None:
    """SIGTERM closes the sockets with 1012 and ends the process with 0."""
    async with serving(tmp_path, shutdown_grace="PT1S") as server, a_person(server) as ann, ann.connected() as socket:
        server.process.terminate()
        assert (await socket.closed())[0] == 1012
        assert await server.process.wait() == 0


@pytest.mark.timeout(90)
async def test_an_open_event_stream_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    """SIGTERM ends event streams in order, so that the server stops at once and the reader sees a whole response."""
    async with serving(tmp_path, shutdown_grace="PT5S") as server, a_person(server) as ann:
        async with ann.connected() as socket:
            thread_id = (await socket.ask("hello", agent="gate"))[0]["thread_id"]
        async with ann.http.stream("GET", f"/api/threads/{thread_id}/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "id: 1"
            server.process.terminate()
            async with asyncio.timeout(4):
                assert "data: " in "".join([line async for line in lines])
                assert await server.process.wait() == 0


async def test_the_data_is_private_to_the_operator(tmp_path: Path) -> None:
    """The database, its journal and the key can be read by the server's own account only."""
    async with serving(tmp_path / "data") as server, a_person(server):
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    assert set(modes) >= {"netra.sqlite3", "netra.sqlite3-wal", "secret.key"}
    assert set(modes.values()) == {0o600}
