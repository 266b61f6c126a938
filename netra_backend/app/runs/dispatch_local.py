"""The dispatcher of one process: admitted runs become tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.services.agent_events import LogEntry
from netra_backend.app.services.fault_points import reach_async
from netra_backend.app.services.ports import Execute
from netra_backend.app.services.refusals import NotFoundError, RefusedError
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.user_execution_context import UserExecutionContext, spawn_unbound

from .admission import Admission, WaitingRun
from .ledger import MAX_ATTEMPTS, ClaimRun, ExpireRun, HandBackRun, Ledger, Written
from .run_journal import RETRY_SECONDS, RunJournal
from .run_record import RunRecord

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class LocalDispatcher:
    """Starts runs as admission lets them, each in a task of its own with no user's context but its own.

    A run offered here is only a hint: the claim in the database decides whether it is still to be done. One that waits
    past its deadline is ended, and so is one whose agent does not let itself be stopped by it.

    Args:
        ledger: claims.
        admission: says who may start.
        execute: does a claimed run.
        make_journal: makes the journal of a claimed run, with what its earlier attempts have logged.
        max_attempts: how often a run is claimed before it is given up.
        stop_seconds: how long a run that is stopped may clean up; then its task is left behind.
    """

    def __init__(
        self,
        ledger: Ledger,
        admission: Admission,
        execute: Execute,
        make_journal: Callable[[RunRecord, Sequence[LogEntry]], RunJournal],
        *,
        max_attempts: int = MAX_ATTEMPTS,
        stop_seconds: float = 5.0,
    ) -> None:
        self._ledger = ledger
        self._admission = admission
        self._execute = execute
        self._make_journal = make_journal
        self._max_attempts = max_attempts
        self._stop_seconds = stop_seconds
        self._deadlines: dict[tuple[str, str], asyncio.TimerHandle] = {}  # of all that wait or run here
        self._tasks: dict[tuple[str, str], tuple[WaitingRun, asyncio.Task[None]]] = {}
        self._closing = False

    def offer(self, run: RunRecord | WaitingRun) -> None:
        """Let a stored run wait for its turn; one that waits or runs here already is left alone."""
        if self._closing or run.key in self._deadlines:
            return
        waiting = WaitingRun(run.user_id, run.thread_id, run.run_id, run.attempt, run.deadline)
        self._admission.enqueue(waiting)
        self._start_admitted()
        if run.key not in self._tasks:
            self._watch(waiting)

    def stop(self, user_id: str, run_id: str) -> None:
        """Stop a run that has ended in the database: cancel its task, or forget it while it waits."""
        key = user_id, run_id
        if held := self._tasks.get(key):
            run, task = held
            task.cancel()
            asyncio.get_running_loop().call_later(self._stop_seconds, self._leave_behind, run, task)
        else:
            self._admission.withdraw(user_id, run_id)
            self._watch_no_more(key)

    def _start_admitted(self) -> None:
        while not self._closing and (run := self._admission.take()) is not None:
            self._watch_no_more(run.key)
            self._watch(run, after=self._stop_seconds)  # `execute` ends it at the deadline, if its agent lets it
            task = spawn_unbound(self._work(run), name=f"run {run.run_id}")
            self._tasks[run.key] = run, task
            task.add_done_callback(partial(self._done, run))

    def _done(self, run: WaitingRun, task: asyncio.Task[None]) -> None:
        """Give the place back; not in the task itself, which may be cancelled before it has begun."""
        if self._tasks.get(run.key) == (run, task):  # else it was left behind
            del self._tasks[run.key]
            self._watch_no_more(run.key)
            self._admission.release(run)
            self._start_admitted()

    def _leave_behind(self, run: WaitingRun, task: asyncio.Task[None]) -> None:
        """Give the place of a run that has ended back, though its task has not."""
        if not task.done():
            _logger.error("the agent of run %s does not let itself be stopped; it is left behind", run.run_id)
            self._done(run, task)

    async def _work(self, waiting: WaitingRun) -> None:
        try:
            await reach_async("before_claim")
            claimed = await self._claim(waiting)
            if claimed is not None:
                run, earlier = claimed
                await reach_async("after_claim")
                context = UserExecutionContext.from_request(
                    run.user_id, run.thread_id, run.run_id, run.request_id, deadline=run.deadline
                )
                await self._execute(context, run.agent, run.message, self._make_journal(run, earlier))
        except asyncio.CancelledError:
            _logger.info("run %s was stopped", waiting.run_id)
        except Exception:  # `execute` ends a run whatever its agent raises; what comes here the next sweep takes up
            _logger.exception("run %s could not be ended", waiting.run_id)

    async def _claim(self, waiting: WaitingRun) -> tuple[RunRecord, Sequence[LogEntry]] | None:
        """The run in its next attempt, and what the earlier ones have logged.

        Returns:
            None when the run is not to be done: it has ended, is given up, was erased, or is somebody else's.
        """
        command = ClaimRun(waiting.user_id, waiting.run_id, waiting.attempt, self._max_attempts)
        try:
            run = (await _persist(lambda: self._ledger.write(command))).run
            if run.attempt == 1 and run.status is RunStatus.RUNNING:
                return run, ()
            _logger.warning("run %s is taken up again: %s in attempt %d", run.run_id, run.status, run.attempt)
            if run.status is RunStatus.RUNNING:
                return run, await _persist(lambda: self._ledger.entries_of(run))
        except RefusedError:
            pass
        return None

    def _watch(self, run: WaitingRun, after: float = 0.0) -> None:
        """Look at a run a while after its deadline; at least so long from now."""
        seconds = max((run.deadline - datetime.now(UTC)).total_seconds(), 0.0) + after
        timer = asyncio.get_running_loop().call_later(seconds, self._expire, run)
        self._deadlines[run.key] = timer

    def _watch_no_more(self, key: tuple[str, str]) -> None:
        if timer := self._deadlines.pop(key, None):
            timer.cancel()

    def _expire(self, run: WaitingRun) -> None:
        def written(future: asyncio.Future[Written]) -> None:
            error = future.exception()
            if error is None or isinstance(error, NotFoundError):  # it is ended, or was erased by somebody else
                self.stop(run.user_id, run.run_id)
            elif run.key in self._deadlines:  # the clock or the disk was not ready
                self._watch(run, after=RETRY_SECONDS[-1])

        try:
            self._ledger.write(ExpireRun(run.user_id, run.run_id)).add_done_callback(written)
        except StorageUnavailableError:
            _logger.info("run %s expires at the next start", run.run_id)  # the server is shutting down

    async def close(self, grace_seconds: float) -> None:
        """Start nothing more, give what runs some time to end, then stop it; the database keeps what was accepted.

        A run that is stopped so stays as it is in the database: the next start takes it over, and what it has had here
        does not count among the attempts after which it is given up.

        Args:
            grace_seconds: how long to wait before tasks are cancelled.
        """
        self._closing = True
        for key in tuple(self._deadlines):
            self._watch_no_more(key)
        tasks = {task: run for run, task in self._tasks.values()}
        if not tasks:
            return
        _, unfinished = await asyncio.wait(tasks, timeout=grace_seconds)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=self._stop_seconds)
            await self._hand_back([tasks[task] for task in unfinished])

    async def _hand_back(self, stopped: Sequence[WaitingRun]) -> None:
        """Note that runs were stopped in order; those that had not been claimed yet, or have ended, are refused."""
        try:
            written = [self._ledger.write(HandBackRun(run.user_id, run.run_id, run.attempt + 1)) for run in stopped]
        except StorageUnavailableError:  # they count as cut off, as after a crash
            return
        await asyncio.wait(written, timeout=self._stop_seconds)


async def _persist(ask: Callable[[], Awaitable[T]]) -> T:
    """What the database answers, once it can: an accepted run waits for it."""
    refusals = 0
    while True:
        try:
            return await ask()
        except StorageUnavailableError:
            await asyncio.sleep(RETRY_SECONDS[min(refusals, len(RETRY_SECONDS) - 1)])
            refusals += 1
