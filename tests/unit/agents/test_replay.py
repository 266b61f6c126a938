"""A run that goes on where an earlier attempt was cut off: nothing told twice, nothing done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from netra_backend.app.agents.registry import AgentRegistry
from netra_backend.app.agents.replay import EarlierFailureError, Replay
from netra_backend.app.agents.supervisor import Supervisor
from netra_backend.app.services.agent_events import AgentEvent, EventType, LogEntry
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.refusals import StaleRunError
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.made_contexts import make_context
from tests.support.recording_journal import RecordingJournal

Act = Callable[[UserExecutionContext, str, Emitter], Awaitable[JsonValue]]
CONTEXT = make_context("ann")


class Acting:
    """An agent that does what the test says."""

    def __init__(self, act: Act) -> None:
        self._act = act

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Do it."""
        return await self._act(context, message, emit)


def logged(events: Sequence[AgentEvent]) -> list[LogEntry]:
    """The events as the log holds them."""
    return [
        LogEntry(
            event.context.user_id,
            event.context.thread_id,
            seq,
            event.type,
            event.context.run_id,
            event.context.request_id,
            event.context.parent_request_id,
            event.agent,
            event.timestamp,
            event.data,
            event.final,
        )
        for seq, event in enumerate(events, start=3)
    ]


async def attempt(act: Act, earlier: Sequence[AgentEvent] = ()) -> RecordingJournal:
    """The journal of an attempt after one that has logged so much."""
    registry = AgentRegistry()
    registry.register("poet", lambda: Acting(act))
    journal = RecordingJournal(earlier=logged(earlier))
    await Supervisor(registry).execute(CONTEXT, "poet", "write", journal)
    return journal


def calling(name: str, calls: list[str], result: JsonValue = None) -> Callable[[], Awaitable[JsonValue]]:
    """A tool that notes that it was called."""

    async def call() -> JsonValue:
        calls.append(name)
        return result

    return call


async def test_a_run_goes_on_after_any_event() -> None:
    """Cut off after any number of events, the attempts together log what one attempt logs, and a tool or sub-agent
    whose end is logged is not called again; one that was cut off is called again under its key, or fails the run."""
    calls: list[str] = []

    async def pay(key: str) -> JsonValue:
        calls.append(f"pay {key}")
        return {"paid": True}

    async def help_out(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        await emit.thinking(message)
        found = await emit.tool("look", calling("look", calls, [1, 2]), idempotent=True)
        return {"found": found}

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        await emit.thinking("first")
        booked = await emit.tool("book", calling("book", calls, "B1"), arguments={"seat": 3})
        await emit.thinking("second")
        paid = await emit.keyed_tool("pay", pay)
        helped = await asyncio.gather(*(emit.delegate("helper", Acting(help_out), name) for name in ("a", "b")))
        return [booked, paid, *helped]

    whole = await attempt(act)
    assert whole.outcome is RunStatus.COMPLETED
    once = sorted(call.partition(" ")[0] for call in calls)
    for length in range(len(whole.events)):
        calls.clear()
        earlier = whole.events[:length]
        journal = await attempt(act, earlier)
        if earlier and journal.error == "tool_outcome_unknown":
            assert journal.data(-1)["message"].startswith("the server stopped while the tool book was at work")
            assert earlier[-1].type is EventType.TOOL_EXECUTING
            assert (calls, len(journal.events)) == ([], 1)
            continue
        together = [*earlier, *journal.events]
        assert sorted(event.type for event in together) == sorted(whole.types())
        assert journal.data(-1) == whole.data(-1)
        ended = sorted(
            whole.data(place)["tool"] for place in range(length) if whole.events[place].type == EventType.TOOL_COMPLETED
        )
        assert sorted([*ended, *(call.partition(" ")[0] for call in calls)]) == once
        keys = {whole.data(place)["tool_call_id"] for place in range(length) if whole.data(place).get("tool") == "pay"}
        assert all(call.split()[1] in keys for call in calls if keys and call.startswith("pay"))
        assert len({event.context.request_id for event in together}) == 3


async def test_the_outcome_of_a_tool_that_was_cut_off_is_unknown() -> None:
    """A tool that began, has no end and may not be repeated fails the run before its agent is asked anything."""
    calls: list[str] = []

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        return await emit.tool("book", calling("book", calls))

    whole = await attempt(act)
    journal = await attempt(act, whole.events[:1])
    assert (journal.outcome, journal.error) == (RunStatus.FAILED, "tool_outcome_unknown")
    assert journal.types() == [EventType.AGENT_FAILED]
    assert calls == ["book"]


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (["other"], "called the tool look, and now other or other arguments"),
        (["look", "arguments"], "called the tool look, and now look or other arguments"),
        ([], "called look, and now nothing more"),
        (["swallow"], "called the tool look, and now other or other arguments"),
    ],
    ids=["another tool", "other arguments", "nothing", "an agent that swallows it"],
)
async def test_an_agent_that_does_something_else_fails_the_run(now: list[str], told: str) -> None:
    """When an attempt leaves the path of the earlier one the run fails and says how; no tool is called after that."""
    calls: list[str] = []

    async def before(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        return await emit.tool("look", calling("look", calls), idempotent=True)

    async def after(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        if now == ["swallow"]:
            for name in ("other", "look"):
                with pytest.raises(Exception, match="earlier attempt"):
                    await emit.tool(name, calling("again", calls))
        elif now:
            arguments: dict[str, JsonValue] = {"of": "bob"} if "arguments" in now else {}
            await emit.tool(now[0], calling("again", calls), arguments=arguments)
        return "an answer"

    whole = await attempt(before)
    journal = await attempt(after, whole.events[:-1])
    assert (journal.outcome, journal.error) == (RunStatus.FAILED, "replay_diverged")
    message = f"the run could not go on after the server stopped: an earlier attempt {told}"
    assert journal.data(-1) == {"code": "replay_diverged", "message": message}
    assert calls == ["look"]


async def test_a_failure_is_stored_too() -> None:
    """A tool or sub-agent that raised is not tried again: the agent is told by the name of the error, and may go on."""
    calls: list[str] = []

    async def broken() -> JsonValue:
        calls.append("broken")
        raise LookupError("secret words")

    async def fails(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        return await emit.tool("broken", broken)

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        caught: list[JsonValue] = []
        for step in (emit.tool("broken", broken), emit.delegate("helper", Acting(fails), "x")):
            try:
                await step
            except LookupError:
                caught.append("LookupError")
            except EarlierFailureError as error:
                caught.append(f"{error.step}: {error.error}")
        return caught

    whole = await attempt(act)
    journal = await attempt(act, whole.events[:-1])
    assert journal.data(-1) == {"result": ["broken: LookupError", "helper: LookupError"]}
    assert journal.types() == [EventType.AGENT_COMPLETED]
    assert calls == ["broken", "broken"]


async def test_thoughts_in_other_words_are_thoughts_of_their_own() -> None:
    """What an agent has thought is not told again; what it thinks in other words this time is."""

    def thinking(*thoughts: str) -> Act:
        async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
            for thought in thoughts:
                await emit.thinking(thought)
            return None

        return act

    first = await attempt(thinking("a", "b"))
    second = await attempt(thinking("a", "c", "b"), first.events[:-1])
    assert [second.data(place) for place in range(2)] == [{"text": "c"}, {"result": None}]


async def test_a_tool_is_not_repeated_by_an_attempt_that_was_taken_over() -> None:
    """Before a tool is called again the database is asked whether the attempt still holds."""
    calls: list[str] = []

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        with pytest.raises(StaleRunError):
            await emit.tool("look", calling("look", calls), idempotent=True)
        return None

    async def first(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        return await emit.tool("look", calling("look", calls), idempotent=True)

    whole = await attempt(first)
    registry = AgentRegistry()
    registry.register("poet", lambda: Acting(act))
    journal = RecordingJournal(earlier=logged(whole.events[:1]), stale_after=0)
    await Supervisor(registry).execute(CONTEXT, "poet", "write", journal)
    assert calls == ["look"]
    assert journal.outcome is None


def test_an_empty_history_asks_nothing() -> None:
    """A first attempt has no thought, tool or sub-agent behind it."""
    replay: Any = Replay(())
    assert not replay.has_thought("q", "x")
    assert replay.next_tool("q", "look", {}) is None
    assert replay.next_agent("q", "helper") is None
    replay.end("q")
    assert replay.unknown is None
