"""PostgreSQL goes away under a serving Netra, and comes back."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.person import Person, a_person
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


OUTAGE_S = 10
USERS = 8


async def _talk(person: Person, enough: asyncio.Event) -> tuple[str, list[str]]:
    """Say one thing after the other in a thread, each until it is answered, and a refused one again.

    Returns:
        The thread, and what was said and acknowledged.
    """
    thread_id, said = str(uuid4()), list[str]()
    async with person.connected() as socket:
        while not enough.is_set() or not said:
            text = f"{len(said)} of {person.email}"
            await socket.send("user_message", text=text, agent="gate", thread_id=thread_id, client_message_id=text)
            told = await socket.receive()
            if told["type"] == "error":
                assert told["code"] == "storage_unavailable"
                await asyncio.sleep(0.1)  # a client that waits before it tries again
                continue
            said.append(text)
            final = (await socket.until_final(told["run_id"]))[-1]
            assert final["data"]["result"]["echo"] == text
    return thread_id, said


@pytest.mark.soak
@pytest.mark.timeout(180)
async def test_ten_seconds_without_the_database_lose_nothing(tmp_path: Path) -> None:
    """Users talk without a pause while PostgreSQL is killed, gone for ten seconds, and back: the server stays up, what
    was refused is taken later, and each thread holds each message and its answer once, in order, without a hole."""
    async with AsyncExitStack() as stack:
        database = stack.enter_context(postgres({}))
        url = database.url(database.create())
        settings = {"messages_per_minute": "100000", "database_url": url}
        server = await stack.enter_async_context(serving(tmp_path, **settings))
        people = [await stack.enter_async_context(a_person(server)) for _ in range(USERS)]
        enough = asyncio.Event()
        talks = [asyncio.create_task(_talk(person, enough)) for person in people]
        late = {"text": "late", "agent": "gate", "client_message_id": "late"}  # the others may all wait for an answer
        messages = f"/api/threads/{uuid4()}/messages"
        await asyncio.sleep(1)
        await asyncio.to_thread(database.stop, signal.SIGQUIT)
        for _ in range(OUTAGE_S):
            await asyncio.sleep(1)
            assert (await people[0].http.get("/health/live")).status_code == 200
            assert (await people[0].http.get("/health/ready")).status_code == 503
            refused = await people[0].http.post(messages, json=late)
            assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
        await asyncio.to_thread(database.start)
        async with asyncio.timeout(30):
            while (await people[0].http.get("/health/ready")).status_code != 200:
                pass
        await asyncio.sleep(1)
        enough.set()
        outcomes = await asyncio.gather(*talks)
        assert (await people[0].http.post(messages, json=late)).status_code == 202
        for person, (thread_id, said) in zip(people, outcomes, strict=True):
            thread = (await person.http.get(f"/api/threads/{thread_id}")).json()
            async with person.connected() as socket:
                await socket.send("resume", thread_id=thread_id, after_seq=0)
                log = [await socket.receive() for _ in range(thread["last_seq"])]
            assert [entry["seq"] for entry in log] == list(range(1, len(log) + 1))
            assert [entry["data"]["text"] for entry in log if entry["type"] == "user_message"] == said
            answers = [entry["data"]["result"]["echo"] for entry in log if entry.get("final")]
            assert answers == said
