"""What an agent tells the world through: its events, in order, under the context they belong to."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given

from netra_backend.app.agents.base import JournalEmitter, describe, to_json
from netra_backend.app.agents.replay import Replay
from netra_backend.app.services.agent_events import EventType
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Agent, Emitter
from netra_backend.app.services.refusals import StaleRunError
from netra_backend.app.services.user_execution_context import (
    ContextIsolationError,
    NoActiveContextError,
    UserExecutionContext,
    current,
)
from tests.support.made_contexts import make_context
from tests.support.recording_journal import RecordingJournal
from tests.support.strategies import json_values

Started, Completed, Failed = EventType.AGENT_STARTED, EventType.AGENT_COMPLETED, EventType.AGENT_FAILED
Thinking, Executing, Executed = EventType.AGENT_THINKING, EventType.TOOL_EXECUTING, EventType.TOOL_COMPLETED

Run = Callable[[UserExecutionContext, str, Emitter], Awaitable[JsonValue]]


@dataclass
class Acting:
    """An agent that does what the test says."""

    act: Run

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Do it."""
        return await self.act(context, message, emit)


def answering(result: Any) -> Agent:
    """An agent that answers at once."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        return result  # type: ignore[no-any-return]  # what is no JSON value, too

    return Acting(act)


@pytest.fixture
def journal() -> RecordingJournal:
    """An empty journal."""
    return RecordingJournal()


@pytest.fixture
def context() -> UserExecutionContext:
    """The context of the run."""
    return make_context("ann")


@pytest.fixture
def emit(context: UserExecutionContext, journal: RecordingJournal) -> JournalEmitter:
    """The emitter of the run's own agent."""
    return JournalEmitter(context, "supervisor", journal, Replay(()))


# JSON


def _is_within_64_bits(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(_is_within_64_bits(each) for each in inner)


@given(json_values())
def test_json_values_keep_their_value(value: Any) -> None:
    """A JSON value's text reads back equal, integers of up to 64 bits included, and larger ones are refused."""
    if _is_within_64_bits(value):
        assert json.loads(to_json(value)) == value
    else:
        with pytest.raises(TypeError, match="64-bit"):
            to_json(value)


def test_frozen_values_of_a_context_are_json(context: UserExecutionContext) -> None:
    """What a context's metadata was frozen into can be told like what it was made of."""
    metadata = {"a": {"b": [1, {"c": None}]}}
    frozen = make_context("ann", agent_context=metadata).agent_context
    assert json.loads(to_json(frozen)) == metadata
    assert to_json((1, 2)) == "[1,2]"


class Colour(Enum):
    """No JSON value."""

    RED = 1


@dataclass
class Account:
    """No JSON value, and nothing that should be told by mistake."""

    password: str = "secret words"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"deep": [float("-inf")]},
        b"bytes",
        {1, 2},
        object(),
        Decimal(1),
        deque([1]),
        range(3),
        datetime.now(UTC),
        date(2026, 1, 31),
        uuid.UUID(int=1),
        Colour.RED,
        Account(),
        {1: "a"},
        {None: "a"},
        "\ud800",
        2**64,
        lambda: None,
    ],
    ids=[
        *("nan", "inf", "deep", "bytes", "set", "object", "decimal", "deque", "range", "datetime", "date", "uuid"),
        *("enum", "dataclass", "number key", "none key", "surrogate", "large", "function"),
    ],
)
def test_what_is_no_json_value_is_refused(value: Any) -> None:
    """Anything but JSON values raises TypeError: nothing is changed silently, and the message does not tell it."""
    with pytest.raises(TypeError) as caught:
        to_json({"result": value})
    assert "secret" not in str(caught.value)


def test_what_goes_round_in_circles_is_refused() -> None:
    """A value that holds itself, or is deeper than any reader goes, raises TypeError."""
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(TypeError):
            to_json(value)
    while deep:
        deep = deep.pop()


def test_an_error_is_described_by_its_type_only() -> None:
    """The words of an agent's error may hold anything, so a client gets none of them."""
    assert describe(ValueError("secret words")) == "ValueError"


# Events


async def test_a_thought_is_an_event_of_the_agent(
    emit: JournalEmitter, journal: RecordingJournal, context: UserExecutionContext
) -> None:
    """`thinking` is logged under the agent's name and its own context, and is not the last event."""
    await emit.thinking("hm\n\0😀")
    (event,) = journal.events
    assert (event.type, event.agent, event.final) == (Thinking, "supervisor", False)
    assert event.context is context
    assert journal.data(0) == {"text": "hm\n\0😀"}
    assert event.timestamp.tzinfo is UTC


async def test_streamed_text_is_shown_and_not_logged(emit: JournalEmitter, journal: RecordingJournal) -> None:
    """`delta` goes past the log."""
    await emit.delta("piece")
    assert (journal.deltas, journal.events) == (["piece"], [])


async def test_a_tool_is_called_between_its_two_events(emit: JournalEmitter, journal: RecordingJournal) -> None:
    """The tool starts only when `tool_executing` is on disk, and `tool_completed` has the same id and its result."""
    seen: list[int] = []

    async def call() -> JsonValue:
        seen.append(journal.flushed)
        return {"rows": [1, 2]}

    assert await emit.tool("look_up", call, arguments={"of": "ann"}, idempotent=True) == {"rows": [1, 2]}
    assert seen == [1]
    assert journal.types() == [Executing, Executed]
    executing, done = journal.data(0), journal.data(1)
    assert executing["tool_call_id"] == done["tool_call_id"]
    assert (executing["tool"], executing["arguments"]) == ("look_up", {"of": "ann"})
    assert (done["tool"], done["status"], done["result"]) == ("look_up", "ok", {"rows": [1, 2]})
    assert done["duration_ms"] >= 0
    assert not any(event.final for event in journal.events)


async def test_every_call_of_a_tool_has_an_id_of_its_own(emit: JournalEmitter, journal: RecordingJournal) -> None:
    """Calls of one tool at the same time can be told apart."""

    async def call() -> JsonValue:
        return None

    await asyncio.gather(*(emit.tool("t", call) for _ in range(5)))
    calls = {(journal.data(index)["tool_call_id"], event.type) for index, event in enumerate(journal.events)}
    assert len(calls) == 10
    assert len({tool_call_id for tool_call_id, _ in calls}) == 5
    assert journal.data(0)["arguments"] == {}


async def test_a_tool_that_fails_is_told_by_its_type(emit: JournalEmitter, journal: RecordingJournal) -> None:
    """The agent gets the tool's own error; the log its type and none of its words."""
    error = LookupError("secret words")

    async def call() -> JsonValue:
        raise error

    with pytest.raises(LookupError) as caught:
        await emit.tool("look_up", call)
    assert caught.value is error
    assert journal.types() == [Executing, Executed]
    assert (journal.data(1)["status"], journal.data(1)["error"]) == ("error", "LookupError")
    assert "secret" not in journal.events[1].data


@pytest.mark.parametrize("result", [object(), float("nan"), {1: 2}, "x" * 2_000], ids=["object", "nan", "key", "large"])
async def test_a_tool_whose_result_cannot_be_logged_is_told_as_failed(
    emit: JournalEmitter, journal: RecordingJournal, result: Any
) -> None:
    """Each `tool_executing` is followed by its `tool_completed`, though the result be no JSON or too large."""
    journal.max_event_bytes = 1_000

    async def call() -> JsonValue:
        return result  # type: ignore[no-any-return]  # the promise

    with pytest.raises((TypeError, ValueError)):
        await emit.tool("t", call)
    assert journal.types() == [Executing, Executed]
    assert journal.data(1)["status"] == "error"


async def test_a_tool_whose_arguments_cannot_be_logged_is_not_called(
    emit: JournalEmitter, journal: RecordingJournal
) -> None:
    """What is not told is not done."""

    async def call() -> JsonValue:
        raise AssertionError("called")

    arguments: Any = {"of": object()}
    with pytest.raises(TypeError):
        await emit.tool("t", call, arguments=arguments)
    assert journal.events == []


async def test_a_tool_of_a_run_that_was_taken_over_is_not_called(
    emit: JournalEmitter, journal: RecordingJournal
) -> None:
    """When `tool_executing` cannot be committed under this attempt the tool does not start."""

    async def call() -> JsonValue:
        raise AssertionError("called")

    for stale_after in (0, 1):
        journal.stale_after = stale_after
        with pytest.raises(StaleRunError):
            await emit.tool("t", call)


async def test_a_tool_that_is_stopped_leaves_no_outcome(emit: JournalEmitter, journal: RecordingJournal) -> None:
    """A cancelled tool is not told as failed: whoever stopped the run has ended it."""
    started = asyncio.Event()

    async def call() -> JsonValue:
        started.set()
        await asyncio.Event().wait()
        return None

    calling = asyncio.create_task(emit.tool("t", call))
    await started.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert journal.types() == [Executing]


# Sub-agents


async def test_a_sub_agent_runs_under_a_child_context(
    emit: JournalEmitter, journal: RecordingJournal, context: UserExecutionContext
) -> None:
    """Its events lie between its own started and completed, under a child of the caller's context that is bound."""

    async def act(inner: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        assert current() is inner
        await emit.thinking(message)
        return {"from": inner.user_id}

    with context.bind():
        assert await emit.delegate("data", Acting(act), "look") == {"from": "ann"}
        assert current() is context
    assert journal.types() == [Started, Thinking, Completed]
    assert [event.agent for event in journal.events] == ["data"] * 3
    (child,) = {event.context for event in journal.events}
    assert child.parent_request_id == context.request_id
    assert (child.user_id, child.thread_id, child.run_id) == (context.user_id, context.thread_id, context.run_id)
    assert child.request_id != context.request_id
    assert [journal.data(index) for index in range(3)] == [{}, {"text": "look"}, {"result": {"from": "ann"}}]
    assert not any(event.final for event in journal.events)


async def test_sub_agents_nest(emit: JournalEmitter, journal: RecordingJournal) -> None:
    """A sub-agent's own sub-agent is inside it, under a child of its context."""

    async def outer(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        return await emit.delegate("inner", answering(1), message)

    await emit.delegate("outer", Acting(outer), "x")
    assert [(event.agent, event.type) for event in journal.events] == [
        ("outer", Started), ("inner", Started), ("inner", Completed), ("outer", Completed),
    ]  # fmt: skip
    contexts = [event.context for event in journal.events]
    assert contexts[1].parent_request_id == contexts[0].request_id
    assert (contexts[0].operation_depth, contexts[1].operation_depth) == (1, 2)


async def test_sub_agents_side_by_side_do_not_mix(emit: JournalEmitter, journal: RecordingJournal) -> None:
    """Delegating to many at once gives each its own child context and its own bound context throughout."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        for _ in range(3):
            await asyncio.sleep(0)
            assert current() is context
            await emit.thinking(message)
        return message

    names = [f"agent-{number}" for number in range(5)]
    assert await asyncio.gather(*(emit.delegate(name, Acting(act), name) for name in names)) == names
    for name in names:
        own = [event for event in journal.events if event.agent == name]
        assert [event.type for event in own] == [Started, Thinking, Thinking, Thinking, Completed]
        assert len({event.context.request_id for event in own}) == 1
    assert len({event.context.request_id for event in journal.events}) == 5


async def test_a_sub_agent_that_fails_is_told_by_its_type(emit: JournalEmitter, journal: RecordingJournal) -> None:
    """Its caller gets its own error; the log an `agent_failed` of it without the words, which is not the run's last."""
    error = LookupError("secret words")

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        raise error

    with pytest.raises(LookupError) as caught:
        await emit.delegate("data", Acting(act), "x")
    assert caught.value is error
    assert journal.types() == [Started, Failed]
    assert journal.data(1) == {"code": "agent_error", "message": "LookupError"}
    assert not journal.events[1].final


@pytest.mark.parametrize("result", [object(), float("nan"), "x" * 2_000], ids=["object", "nan", "large"])
async def test_a_sub_agent_whose_answer_cannot_be_logged_has_failed(
    emit: JournalEmitter, journal: RecordingJournal, result: Any
) -> None:
    """Each `agent_started` of a sub-agent is followed by its end, though the answer be no JSON or too large."""
    journal.max_event_bytes = 1_000
    with pytest.raises((TypeError, ValueError)):
        await emit.delegate("data", answering(result), "x")
    assert journal.types() == [Started, Failed]


async def test_a_run_that_was_taken_over_is_not_a_failure_of_a_sub_agent(
    emit: JournalEmitter, journal: RecordingJournal
) -> None:
    """A refused write stops the sub-agent and its caller, and nothing more is written."""
    journal.stale_after = 1

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        await emit.thinking("too late")
        raise AssertionError("went on")

    with pytest.raises(StaleRunError):
        await emit.delegate("data", Acting(act), "x")
    assert journal.types() == [Started]


async def test_nothing_of_a_sub_agent_is_bound_after_it(emit: JournalEmitter) -> None:
    """A sub-agent that fails, or is stopped, leaves no context bound."""

    async def fails(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        raise RuntimeError

    async def stopped(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        raise asyncio.CancelledError

    for act, error in ((fails, RuntimeError), (stopped, asyncio.CancelledError)):
        with pytest.raises(error):
            await emit.delegate("data", Acting(act), "x")
        with pytest.raises(NoActiveContextError):
            current()


@pytest.mark.parametrize("name", ["", "x" * 65, "a\0b", "a\nb", "\ud800"])
async def test_a_sub_agent_whose_name_cannot_be_stored_is_refused(
    emit: JournalEmitter, journal: RecordingJournal, name: str
) -> None:
    """Before anything is logged, with what was expected and what came; a name of 64 characters is one."""
    with pytest.raises(ValueError, match=r"name of 1 to 64 printable characters, got .* \(\d+ characters\)"):
        await emit.delegate(name, answering(1), "x")
    assert journal.events == []
    assert await emit.delegate("ä" * 64, answering(1), "x") == 1


async def test_work_for_one_user_cannot_delegate_under_another(emit: JournalEmitter) -> None:
    """An emitter that has strayed into another user's work refuses to run a sub-agent there."""
    with make_context("bob").bind(), pytest.raises(ContextIsolationError):
        await emit.delegate("data", answering(1), "x")
