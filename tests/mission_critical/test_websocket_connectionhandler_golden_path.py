"""What a connected user sees: the five events, in order, private, and all of them after coming back."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.support.person import Frame, Person
from tests.support.usage_records import csv_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIVE_EVENTS = ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]


def _events(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.get("seq") is not None and frame["type"] != "message_accepted"]


async def test_a_message_brings_the_five_events(ann: Person) -> None:
    """A run shows its five events in order, numbered without a hole, with the ids that were accepted."""
    async with ann.connected() as socket:
        await socket.send("user_message", text="hold door", agent="gate", client_message_id="m1")
        accepted = await socket.expect("message_accepted")
        assert accepted["client_message_id"] == "m1"
        held = await socket.until("tool_executing")
        await socket.send("user_message", text="open door", agent="gate")
        rest = await socket.until("agent_completed", run_id=accepted["run_id"])
    run = [frame for frame in _events(held + rest) if frame["run_id"] == accepted["run_id"]]
    assert [frame["type"] for frame in run] == ["user_message", *FIVE_EVENTS]
    assert [frame["seq"] for frame in run] == list(range(accepted["seq"], accepted["seq"] + 6))
    assert {(frame["user_id"], frame["thread_id"]) for frame in run} == {(ann.user_id, accepted["thread_id"])}
    assert [frame.get("final", False) for frame in run] == [False] * 5 + [True]
    assert run[3]["data"]["tool_call_id"] == run[4]["data"]["tool_call_id"]


async def test_the_cost_team_nests_its_agents(ann: Person) -> None:
    """The built-in team's agents work one after another under child contexts of the run, and the answer is right."""
    upload = await ann.http.post("/api/usage-records", content=csv_of(7), headers={"Content-Type": "text/csv"})
    assert upload.json()["accepted"] == 7
    async with ann.connected() as socket:
        frames = _events(await socket.ask("Analyze my AI costs and recommend savings"))
    root = frames[1]
    started = [frame["agent"] for frame in frames if frame["type"] == "agent_started"]
    assert started == ["supervisor", "data_agent", "optimization_agent", "report_agent"]
    for frame in frames[2:]:
        is_root = frame["agent"] == "supervisor"
        assert (frame["request_id"] == root["request_id"]) is is_root
        assert frame["parent_request_id"] == (None if is_root else root["request_id"])
    assert frames[-1]["data"]["result"]["figures"]["record_count"] == 7


async def test_two_users_choose_the_same_thread_id(ann: Person, bob: Person) -> None:
    """A thread id that another user has is simply the sender's own new thread."""
    thread_id = str(uuid4())
    async with ann.connected() as anns, bob.connected() as bobs:
        first = await anns.ask("ann's words", agent="gate", thread_id=thread_id)
        second = await bobs.ask("bob's words", agent="gate", thread_id=thread_id)
        assert first[0]["seq"] == second[0]["seq"] == 1
        assert "ann" not in str(second)
    for person, word in ((ann, "ann's words"), (bob, "bob's words")):
        messages = (await person.http.get(f"/api/threads/{thread_id}/messages")).json()["messages"]
        assert [message["content"] for message in messages if message["role"] == "user"] == [word]


async def test_a_user_comes_back_and_misses_nothing(ann: Person) -> None:
    """A run goes on without its socket, and whoever resumes from the last seq gets every later entry once."""
    async with ann.connected() as socket:
        await socket.send("user_message", text="hold gate", agent="gate")
        seen = await socket.until("tool_executing")
    thread_id, last_seq = seen[0]["thread_id"], seen[-1]["seq"]
    async with ann.connected() as elsewhere:
        await elsewhere.ask("open gate", agent="gate")
    async with ann.connected() as socket:
        await socket.send("resume", thread_id=thread_id, after_seq=last_seq)
        missed = await socket.until_final()
        assert [frame["seq"] for frame in missed] == list(range(last_seq + 1, last_seq + 1 + len(missed)))
        live = _events(await socket.ask("hello again", agent="gate", thread_id=thread_id))
        assert live[0]["seq"] == missed[-1]["seq"] + 1


async def test_every_device_of_a_user_sees_the_thread(ann: Person) -> None:
    """Two sockets of one user that watch a thread receive the same entries in the same order."""
    async with ann.connected() as first, ann.connected() as second:
        begun = await first.ask("one", agent="gate")
        thread_id = begun[0]["thread_id"]
        await second.send("resume", thread_id=thread_id, after_seq=0)
        replayed = await second.until_final()
        assert replayed == _events(begun)
        live = _events(await first.ask("two", agent="gate", thread_id=thread_id))
        assert await second.until_final() == live


async def test_an_unknown_thread_cannot_be_resumed(ann: Person, bob: Person) -> None:
    """Resuming another user's thread is answered exactly as resuming one that does not exist."""
    async with ann.connected() as anns, bob.connected() as bobs:
        hers = (await anns.ask("private", agent="gate"))[0]["thread_id"]
        answers = []
        for thread_id in (hers, str(uuid4())):
            await bobs.send("resume", thread_id=thread_id, after_seq=0)
            answers.append(await bobs.expect("error"))
        assert answers[0] == answers[1]
        assert answers[0]["code"] == "not_found"


async def test_only_the_owner_cancels_a_run(ann: Person, bob: Person) -> None:
    """A foreign cancel is as unknown and leaves the run running; the owner's ends it for good."""
    async with ann.connected() as anns, bob.connected() as bobs:
        await anns.send("user_message", text="hold back", agent="gate")
        run_id = (await anns.until("tool_executing"))[-1]["run_id"]
        for unknown in (run_id, str(uuid4())):
            await bobs.send("cancel_run", run_id=unknown)
            assert (await bobs.expect("error"))["code"] == "not_found"
        assert (await ann.http.get(f"/api/runs/{run_id}")).json()["status"] == "running"
        await anns.send("cancel_run", run_id=run_id)
        last = (await anns.until("run_cancelled"))[-1]
        assert last["final"]
        await anns.ask("open back", agent="gate")
        assert (await ann.http.get(f"/api/runs/{run_id}")).json()["status"] == "cancelled"


async def test_a_busy_thread_obeys_the_message(ann: Person) -> None:
    """While a run goes on, a message is refused, waits, or takes over, as it asks."""
    async with ann.connected() as socket:
        await socket.send("user_message", text="hold line", agent="gate")
        begun = await socket.until("tool_executing")
        thread = {"thread_id": begun[0]["thread_id"], "agent": "gate"}
        await socket.send("user_message", text="now?", if_busy="reject", client_message_id="r", **thread)
        refused = await socket.expect("error")
        assert (refused["code"], refused["client_message_id"]) == ("thread_busy", "r")
        await socket.send("user_message", text="later", **thread)
        waiting = await socket.expect("message_accepted")
        await socket.expect("user_message")
        await socket.send("user_message", text="instead", if_busy="interrupt", **thread)
        frames = await socket.until_final()
        while frames[-1]["type"] == "run_cancelled":
            frames += await socket.until_final()
        cancelled = [frame["run_id"] for frame in frames if frame["type"] == "run_cancelled"]
        assert cancelled == [begun[0]["run_id"], waiting["run_id"]]
        assert frames[-1]["data"]["result"]["echo"] == "instead"


async def test_a_resent_message_is_the_same_message(ann: Person) -> None:
    """A message sent twice under one client_message_id is stored and answered once."""
    async with ann.connected() as socket:
        first = await socket.ask("only once", agent="gate", client_message_id="same")
        await socket.send("user_message", text="only once", agent="gate", client_message_id="same")
        assert await socket.expect("message_accepted") == first[0]
        await socket.send("user_message", text="another text", agent="gate", client_message_id="same")
        assert (await socket.expect("error"))["code"] == "client_message_id_reused"
    messages = (await ann.http.get(f"/api/threads/{first[0]['thread_id']}/messages")).json()["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]


async def test_a_failing_agent_ends_its_run_truthfully(ann: Person) -> None:
    """An agent's error ends the run as failed and tells the error's type, never its words."""
    async with ann.connected() as socket:
        frames = await socket.ask("hush", agent="faulty")
    assert frames[-1]["type"] == "agent_failed"
    assert frames[-1]["data"] == {"code": "agent_error", "message": "the agent failed: LookupError"}
    assert (await ann.http.get(f"/api/runs/{frames[-1]['run_id']}")).json()["status"] == "failed"


async def test_many_users_at_once_each_get_their_own(ann: Person, bob: Person) -> None:
    """Interleaved messages of two users on several sockets are answered to their own senders only."""

    async def talk(person: Person, number: int) -> None:
        async with person.connected() as socket:
            for turn in range(5):
                text = f"{person.user_id} {number} {turn}"
                frames = await socket.ask(text, agent="gate")
                assert frames[-1]["data"]["result"] == {"echo": text, "user_id": person.user_id}
                assert {frame["user_id"] for frame in _events(frames)} == {person.user_id}

    await asyncio.gather(*(talk(person, number) for person in (ann, bob) for number in range(4)))
