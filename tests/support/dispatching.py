"""A dispatcher for tests, over a real ledger, and agents that do as they are told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from netra_backend.app.db.engine import Database
from netra_backend.app.db.system_operations import find_unfinished_runs
from netra_backend.app.runs.admission import Admission, WaitingRun
from netra_backend.app.runs.dispatch_local import LocalDispatcher
from netra_backend.app.runs.ledger import Command, Ledger, SubmitMessage, Written
from netra_backend.app.runs.run_journal import RunJournal
from netra_backend.app.runs.run_record import RunRecord
from netra_backend.app.services.agent_events import LogEntry
from netra_backend.app.services.ports import Execute, Journal
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.stored_runs import Published, completion, message

PATIENCE: Final = 3
"""Seconds after which a wait that should end is given up; reached only by a test that fails."""


class WatchedLedger(Ledger):
    """The real ledger; tells of refusals."""

    def __init__(self, database: Database, published: Published) -> None:
        super().__init__(database, published)
        self.refused = asyncio.Event()

    def write(self, command: Command, on_commit: Callable[[Written], None] | None = None) -> asyncio.Future[Written]:
        """Write; see `Ledger.write`."""
        future = super().write(command, on_commit)
        future.add_done_callback(self._look)
        return future

    def _look(self, done: asyncio.Future[Written]) -> None:
        if not done.cancelled() and done.exception() is not None:
            self.refused.set()


class HeldAgent:
    """Does a run when it is released, and remembers whom it worked for.

    Attributes:
        contexts: of the runs that began, in order.
        messages: what they were asked.
        finished: the ids of the runs that came to their end.
        stopped: the ids of the runs that were stopped.
        most: how many went on at once at the most.
    """

    def __init__(self, *, held: bool = True) -> None:
        self._held = held
        self._began: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.contexts: list[UserExecutionContext] = []
        self.messages: list[str] = []
        self.finished: list[str] = []
        self.stopped: list[str] = []
        self.going_on = 0
        self.most = 0

    async def __call__(self, context: UserExecutionContext, agent: str, message: str, journal: Journal) -> None:
        """Do a run; see `Execute`."""
        self.contexts.append(context)
        self.messages.append(message)
        self._began[context.run_id].set()
        self.going_on += 1
        self.most = max(self.most, self.going_on)
        try:
            if self._held:
                await self._released[context.run_id].wait()
            await journal.finish(completion(context), RunStatus.COMPLETED)
            self.finished.append(context.run_id)
        except asyncio.CancelledError:
            self.stopped.append(context.run_id)
            raise
        finally:
            self.going_on -= 1

    async def began(self, *run_ids: str) -> None:
        """Wait until runs have begun."""
        async with asyncio.timeout(PATIENCE):
            for run_id in run_ids:
                await self._began[run_id].wait()

    def release(self, *run_ids: str) -> None:
        """Let runs come to their end."""
        for run_id in run_ids:
            self._released[run_id].set()

    @property
    def run_ids(self) -> list[str]:
        """The runs that began, in order."""
        return [context.run_id for context in self.contexts]


class Office:
    """A dispatcher, what it works with, and what is published.

    Args:
        database: where the runs are.
        execute: does them.
        max_running: places in all.
        max_running_per_user: places of one user.
        max_attempts: of a run.
        stop_seconds: how long a run that is stopped may clean up.
    """

    def __init__(
        self,
        database: Database,
        execute: Execute,
        *,
        max_running: int = 100,
        max_running_per_user: int = 100,
        max_attempts: int = 3,
        stop_seconds: float = 5.0,
    ) -> None:
        self.database = database
        self.published = Published()
        self.ledger = WatchedLedger(database, self.published)
        self.admission = Admission(max_running=max_running, max_running_per_user=max_running_per_user)
        self.claimed: list[RunRecord] = []
        self.dispatcher = LocalDispatcher(
            self.ledger,
            self.admission,
            execute,
            self._make_journal,
            max_attempts=max_attempts,
            stop_seconds=stop_seconds,
        )

    def _make_journal(self, run: RunRecord, earlier: Sequence[LogEntry]) -> RunJournal:
        self.claimed.append(run)
        return RunJournal(
            self.ledger, run, lambda *_: None, earlier=earlier, max_uncommitted=64, max_event_bytes=10_000
        )

    async def store(self, command: SubmitMessage) -> RunRecord:
        """Store a message; nobody is told of its run."""
        return (await self.ledger.write(command)).run

    async def offer(self, user_id: str, thread_id: str = "t", run_id: str | None = None) -> RunRecord:
        """Store a message, and offer its run."""
        run = await self.store(message(user_id, thread_id, run_id))
        self.dispatcher.offer(run)
        return run

    async def take_up(self) -> None:
        """Offer every run that has not ended, as a start does."""
        for row in await self.database.read(find_unfinished_runs):
            self.dispatcher.offer(WaitingRun(*tuple(row)))

    async def ended(self, *run_ids: str) -> None:
        """Wait until runs have their final entry."""
        async with asyncio.timeout(PATIENCE):
            for run_id in run_ids:
                await self.published.until_final(run_id)

    async def crash(self) -> None:
        """Let go of everything, as a process does that dies."""
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def idle(self) -> None:
        """Wait until no task of a run is left."""
        async with asyncio.timeout(PATIENCE):
            while tasks := [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")]:
                await asyncio.wait(tasks)
