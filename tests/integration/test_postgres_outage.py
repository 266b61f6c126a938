"""PostgreSQL goes away under a serving Netra, and comes back."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.support.person import a_person
from tests.support.postgres import postgres
from tests.support.server import serving


@pytest.mark.timeout(90)
async def test_a_server_outlives_its_database(tmp_path: Path) -> None:
    """While PostgreSQL is gone requests are refused with 503 and the server stays up; when it is back, a run that was
    going on is stored in order, and a message that was refused is taken; nothing acknowledged was lost."""
    with postgres({"fsync": "off"}) as database:
        url = database.url(database.create())
        async with (
            serving(tmp_path, database_url=url) as server,
            a_person(server) as ann,
            ann.connected() as socket,
            ann.connected() as opener,
        ):
            await socket.send("user_message", text="hold out", agent="gate")
            held = (await socket.until("tool_executing"))[-1]
            await opener.send("user_message", text="open out", agent="gate")
            await opener.until("agent_started")
            await asyncio.to_thread(database.stop, signal.SIGQUIT)
            await opener.send("user_message", text="lost?", agent="gate", client_message_id="away")
            refused = (await opener.until("error", code="storage_unavailable"))[-1]
            assert refused["client_message_id"] == "away"
            assert (await ann.http.get("/health/live")).status_code == 200
            assert (await ann.http.get("/health/ready")).status_code == 503
            history = await ann.http.get(f"/api/threads/{held['thread_id']}/messages")
            assert (history.status_code, history.json()["code"]) == (503, "storage_unavailable")
            await asyncio.to_thread(database.start)
            ended = await socket.until_final(held["run_id"])
            assert [frame["type"] for frame in ended] == ["tool_completed", "agent_completed"]
            assert [frame["seq"] for frame in ended] == [held["seq"] + 1, held["seq"] + 2]
            async with ann.connected() as fresh:
                again = await fresh.ask("lost?", agent="gate", client_message_id="away")
            assert again[-1]["data"]["result"]["echo"] == "lost?"
            assert (await ann.http.get("/health/ready")).status_code == 200
            shown = await ann.http.get(f"/api/threads/{held['thread_id']}/messages")
            assert shown.json()["messages"][0]["content"] == "hold out"
