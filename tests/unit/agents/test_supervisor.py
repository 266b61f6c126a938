"""The supervisor: a fresh agent for each run, and a truthful end whatever it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netra_backend.app.agents.registry import AgentRegistry
from netra_backend.app.agents.supervisor import Supervisor
from netra_backend.app.services.agent_events import EventType
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.refusals import StaleRunError
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.user_execution_context import (
    NoActiveContextError,
    UserExecutionContext,
    current,
)
from tests.support.made_contexts import make_context
from tests.support.recording_journal import RecordingJournal

Completed, Failed, Thinking = EventType.AGENT_COMPLETED, EventType.AGENT_FAILED, EventType.AGENT_THINKING
Act = Callable[[UserExecutionContext, str, Emitter], Awaitable[Any]]


class Maker:
    """Makes agents that do what the test says, and remembers them."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.made: list[object] = []
        self.registry = AgentRegistry()
        self.registry.register("poet", self.make)

    def make(self) -> _Acting:
        """A fresh agent."""
        agent = _Acting(self.act)
        self.made.append(agent)
        return agent


class _Acting:
    def __init__(self, act: Act) -> None:
        self.act = act

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        answer: JsonValue = await self.act(context, message, emit)
        return answer


async def execute(
    act: Act,
    *,
    context: UserExecutionContext | None = None,
    journal: RecordingJournal | None = None,
    agent: str = "poet",
) -> RecordingJournal:
    """The journal of a run in which the agent does that."""
    journal = journal or RecordingJournal()
    await Supervisor(Maker(act).registry).execute(context or make_context("ann"), agent, "write", journal)
    return journal


def ends_with(journal: RecordingJournal, status: RunStatus, code: str | None, data: dict[str, Any]) -> None:
    """The run has ended so, by its one final event."""
    assert (journal.outcome, journal.error) == (status, code)
    assert [event.final for event in journal.events] == [False] * (len(journal.events) - 1) + [True]
    assert journal.types()[-1] is (Completed if status is RunStatus.COMPLETED else Failed)
    assert journal.data(-1) == data


FAILED_BY_ERROR = {"code": "agent_error", "message": "the agent failed: LookupError"}


async def test_an_answer_completes_the_run() -> None:
    """The agent's answer is `data.result` of the final event, under the run's own context and the agent's name."""
    context = make_context("ann")

    async def act(inner: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        await emit.thinking(f"to do: {message}")
        return {"poem": ["roses", "violets"], "for": inner.user_id}

    journal = await execute(act, context=context)
    ends_with(journal, RunStatus.COMPLETED, None, {"result": {"poem": ["roses", "violets"], "for": "ann"}})
    assert journal.types() == [Thinking, Completed]
    assert journal.data(0) == {"text": "to do: write"}
    assert {event.context for event in journal.events} == {context}
    assert {event.agent for event in journal.events} == {"poet"}


async def test_the_runs_context_is_current_while_it_runs_and_not_after() -> None:
    """The context is bound for the agent, its sub-agents' own for them, and nothing is bound afterwards."""
    seen = []

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        seen.append(current())
        await asyncio.create_task(note())
        return None

    async def note() -> None:
        seen.append(current())

    context = make_context("ann")
    await execute(act, context=context)
    assert seen == [context, context]
    with pytest.raises(NoActiveContextError):
        current()


async def test_every_run_has_an_agent_of_its_own() -> None:
    """Whatever an agent keeps on itself is that run's: each run gets a fresh one."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        return None

    maker = Maker(act)
    supervisor = Supervisor(maker.registry)
    await asyncio.gather(
        *(supervisor.execute(make_context(user), "poet", "x", RecordingJournal()) for user in ("ann", "bob", "ann"))
    )
    assert len(maker.made) == len(set(map(id, maker.made))) == 3


async def test_runs_of_many_users_at_once_do_not_mix() -> None:
    """Each run's events, bound context and answer are its own user's, however they interleave."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        for _ in range(4):
            await asyncio.sleep(0)
            await emit.thinking(current().user_id)
        return current().user_id

    contexts = [make_context(f"user-{number}") for number in range(20)]
    supervisor = Supervisor(Maker(act).registry)
    journals = [RecordingJournal() for _ in contexts]
    await asyncio.gather(
        *(
            asyncio.create_task(supervisor.execute(context, "poet", "x", journal))
            for context, journal in zip(contexts, journals, strict=True)
        )
    )
    for context, journal in zip(contexts, journals, strict=True):
        ends_with(journal, RunStatus.COMPLETED, None, {"result": context.user_id})
        assert [journal.data(index) for index in range(4)] == [{"text": context.user_id}] * 4
        assert {event.context for event in journal.events} == {context}


async def test_an_agents_error_fails_the_run(caplog: pytest.LogCaptureFixture) -> None:
    """The client is told the error's type and none of its words, which are in the log."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        await emit.thinking("hm")
        raise LookupError("secret words")

    with caplog.at_level(logging.INFO):
        journal = await execute(act)
    ends_with(journal, RunStatus.FAILED, "agent_error", FAILED_BY_ERROR)
    assert "secret words" in caplog.text
    assert not any("secret" in event.data for event in journal.events)


@pytest.mark.parametrize(
    "result", [object(), {1, 2}, {"deep": [b"bytes"]}, float("nan")], ids=["object", "set", "bytes", "nan"]
)
async def test_an_answer_that_is_no_json_fails_the_run(result: Any) -> None:
    """An answer that cannot be told is the agent's error, not a run without an end."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> Any:
        return result

    message = {"code": "agent_error", "message": "the agent failed: TypeError"}
    ends_with(await execute(act), RunStatus.FAILED, "agent_error", message)


async def test_an_agent_that_nobody_knows_fails_the_run() -> None:
    """A run whose agent was known when it was accepted and is no more ends truthfully."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        raise AssertionError("ran")

    journal = await execute(act, agent="painter")
    message = {"code": "agent_error", "message": "the agent failed: UnknownAgentError"}
    ends_with(journal, RunStatus.FAILED, "agent_error", message)


@pytest.mark.parametrize("code", ["TimeoutError", "ExceptionGroup"])
async def test_errors_that_look_like_ours_are_the_agents(code: str) -> None:
    """A time-out inside the agent, or a group of errors, is the agent's error while the deadline has not passed."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        if code == "TimeoutError":
            raise TimeoutError("secret words")
        raise ExceptionGroup("secret words", [LookupError()])

    context = make_context("ann", deadline=datetime.now(UTC) + timedelta(hours=1))
    message = {"code": "agent_error", "message": f"the agent failed: {code}"}
    ends_with(await execute(act, context=context), RunStatus.FAILED, "agent_error", message)


@pytest.mark.parametrize("seconds", [0.02, 0, -60])
async def test_a_run_ends_at_its_deadline(seconds: float) -> None:
    """An agent that is at work when its context's deadline passes, or has passed, is stopped and the run fails."""
    stopped = asyncio.Event()

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return None

    context = make_context("ann", deadline=datetime.now(UTC) + timedelta(seconds=seconds))
    journal = await execute(act, context=context)
    message = {"code": "deadline_exceeded", "message": "the run took longer than it may"}
    ends_with(journal, RunStatus.TIMED_OUT, "deadline_exceeded", message)
    assert stopped.is_set()


async def test_a_sub_agent_is_stopped_by_the_deadline_too() -> None:
    """The deadline goes through sub-agents and tools, and no event follows the run's last one."""

    async def wait(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        async def call() -> JsonValue:
            await asyncio.Event().wait()
            return None

        return await emit.tool("wait", call)

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        assert context.deadline is not None
        return await emit.delegate("waiter", _Acting(wait), message)

    context = make_context("ann", deadline=datetime.now(UTC) + timedelta(seconds=0.02))
    journal = await execute(act, context=context)
    assert journal.types()[-1] is Failed
    assert (journal.error, journal.events[-1].agent) == ("deadline_exceeded", "poet")


async def test_a_run_that_is_stopped_is_not_ended_again() -> None:
    """A cancellation from outside goes through: whoever stopped the run has ended it."""
    started = asyncio.Event()

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        started.set()
        await asyncio.Event().wait()
        return None

    journal = RecordingJournal()
    running = asyncio.create_task(execute(act, journal=journal))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (journal.events, journal.outcome) == ([], None)


@pytest.mark.parametrize("how", ["raised", "awaited", "in a sub-agent"])
async def test_a_cancellation_of_the_agents_own_fails_the_run(how: str) -> None:
    """An agent that lets a cancellation of its own escape has failed: nobody else will ever end its run."""

    async def cancelled(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        if how == "raised":
            raise asyncio.CancelledError
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner
        return None

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        if how == "in a sub-agent":
            return await emit.delegate("inner", _Acting(cancelled), message)
        return await cancelled(context, message, emit)

    journal = RecordingJournal()
    with suppress(asyncio.CancelledError):
        await execute(act, journal=journal)
    assert journal.outcome is RunStatus.FAILED
    assert journal.error == "agent_error"


async def test_an_agent_that_does_not_let_itself_be_stopped_cannot_write() -> None:
    """An agent that goes on after its run was taken over is refused by the journal, and that stays quiet."""
    journal = RecordingJournal(stale_after=1)

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        await emit.thinking("first")
        await emit.thinking("second")
        raise AssertionError("went on")

    await execute(act, journal=journal)
    assert journal.types() == [Thinking]
    assert journal.outcome is None


@pytest.mark.parametrize("fails", [True, False])
async def test_a_run_that_has_ended_elsewhere_stops_quietly(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    """When the run's end is refused, of an answer or of a failure, nothing is raised and nothing more is written."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        if fails:
            raise LookupError("words")
        return "too late"

    journal = RecordingJournal(stale_after=0)
    with caplog.at_level(logging.INFO):
        await execute(act, journal=journal)
    assert (journal.events, journal.outcome) == ([], None)
    assert "ended elsewhere" in caplog.text


async def test_an_agent_that_swallows_the_refusal_still_ends_quietly() -> None:
    """Catching StaleRunError does not revive a run."""

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        with suppress(StaleRunError):
            await emit.thinking("x")
        return "an answer"

    journal = await execute(act, journal=RecordingJournal(stale_after=0))
    assert (journal.events, journal.outcome) == ([], None)


async def test_an_error_that_an_agent_handles_is_no_failure() -> None:
    """An agent may go on after a tool or a sub-agent has failed."""

    async def broken() -> JsonValue:
        raise LookupError

    async def act(context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        try:
            await emit.tool("broken", broken)
        except LookupError:
            return "without it"
        raise AssertionError("no error came")

    journal = await execute(act)
    ends_with(journal, RunStatus.COMPLETED, None, {"result": "without it"})
    assert journal.types() == [EventType.TOOL_EXECUTING, EventType.TOOL_COMPLETED, Completed]
