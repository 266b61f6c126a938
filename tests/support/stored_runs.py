"""Runs for tests, stored and claimed by the real ledger, and whoever is told of their entries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

from netra_backend.app.db.engine import Database
from netra_backend.app.runs.ledger import ClaimRun, Ledger, SubmitMessage
from netra_backend.app.runs.run_record import RunRecord
from netra_backend.app.services.agent_events import AgentEvent, EventType, LogEntry
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import IfBusy
from netra_backend.app.services.user_execution_context import UserExecutionContext

DEADLINE = datetime(2126, 1, 1, tzinfo=UTC)

_numbers = count(1)


def message(
    user_id: str,
    thread_id: str = "t",
    run_id: str | None = None,
    *,
    text: str = "hello",
    client_message_id: str | None = None,
    names_thread: bool = True,
    if_busy: IfBusy = IfBusy.ENQUEUE,
    deadline: datetime = DEADLINE,
) -> SubmitMessage:
    """The command that stores a message; its run and the client's id of it are new ones unless given."""
    number = next(_numbers)
    return SubmitMessage(
        context=UserExecutionContext.from_request(user_id, thread_id, run_id or f"run-{number:06}"),
        text=text,
        client_message_id=client_message_id or f"message-{number}",
        names_thread=names_thread,
        if_busy=if_busy,
        agent="echo",
        deadline=deadline,
    )


def context_of(run: RunRecord) -> UserExecutionContext:
    """The context of a run, as the dispatcher makes it."""
    return UserExecutionContext.from_request(run.user_id, run.thread_id, run.run_id, run.request_id)


def happening(
    run: RunRecord | UserExecutionContext,
    text: str = "",
    *,
    type_: EventType = EventType.AGENT_THINKING,
    final: bool = False,
) -> AgentEvent:
    """An event of a run: a thought unless told so."""
    context = context_of(run) if isinstance(run, RunRecord) else run
    return AgentEvent(context=context, type=type_, agent="echo", data=json.dumps({"text": text}), final=final)


def completion(run: RunRecord | UserExecutionContext) -> AgentEvent:
    """The event that ends a run well."""
    return happening(run, "done", type_=EventType.AGENT_COMPLETED, final=True)


def unstored_run(user_id: str, run_id: str, *, thread_id: str = "t", attempt: int = 1) -> RunRecord:
    """What somebody holds who believes to have claimed a run."""
    return RunRecord(
        user_id=user_id,
        run_id=run_id,
        thread_id=thread_id,
        request_id="q",
        client_message_id="m",
        message_scope=thread_id,
        message="hello",
        message_seq=1,
        agent="echo",
        status=RunStatus.RUNNING,
        attempt=attempt,
        error=None,
        created_at=DEADLINE,
        deadline=DEADLINE,
        started_at=DEADLINE,
        finished_at=None,
    )


class Published:
    """Whoever is told of the committed entries, in the order of the commits."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self._waiting: list[tuple[Callable[[], object], asyncio.Future[None]]] = []

    def __call__(self, entries: Sequence[LogEntry]) -> None:
        """Keep the entries and wake those whose condition now holds."""
        self.entries.extend(entries)
        for condition, waiter in self._waiting:
            if not waiter.done() and condition():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for the publication after which a condition holds."""
        if condition():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, waiter))
        await waiter

    async def until_final(self, run_id: str) -> LogEntry:
        """Wait for the last entry of a run."""
        await self.until(lambda: self.final(run_id))
        entry = self.final(run_id)
        assert entry is not None
        return entry

    def final(self, run_id: str) -> LogEntry | None:
        """The last entry of a run, when it has come."""
        return next((entry for entry in self.entries if entry.run_id == run_id and entry.final), None)

    def types(self, run_id: str) -> list[str]:
        """What has happened in a run."""
        return [entry.type for entry in self.entries if entry.run_id == run_id]


async def claimed_run(database: Database, user_id: str = "alice", thread_id: str = "t") -> RunRecord:
    """A run of a user with an account, stored and claimed."""
    ledger = Ledger(database, lambda _entries: None)
    stored = await ledger.write(message(user_id, thread_id))
    return (await ledger.write(ClaimRun(user_id, stored.run.run_id))).run


def in_attempt(run: RunRecord, attempt: int) -> RunRecord:
    """The run as somebody holds it who claimed it another time."""
    return replace(run, attempt=attempt)
