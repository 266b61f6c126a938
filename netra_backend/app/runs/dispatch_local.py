"""The dispatcher of one process: admitted runs become tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.services.ports import Execute
from netra_backend.app.services.refusals import RefusedError
from netra_backend.app.services.user_execution_context import UserExecutionContext, spawn_unbound

from .admission import Admission, WaitingRun
from .ledger import ClaimRun, Ledger
from .run_journal import RETRY_SECONDS, RunJournal
from .run_record import RunRecord

_logger = logging.getLogger(__name__)


class LocalDispatcher:
    """Starts runs as admission lets them, each in a task of its own with no user's context but its own.

    A run offered here is only a hint: the claim in the database decides whether it is still to be done.

    Args:
        ledger: claims.
        admission: says who may start.
        execute: does a claimed run.
        make_journal: makes the journal of a claimed run.
    """

    def __init__(
        self,
        ledger: Ledger,
        admission: Admission,
        execute: Execute,
        make_journal: Callable[[RunRecord], RunJournal],
    ) -> None:
        self._ledger = ledger
        self._admission = admission
        self._execute = execute
        self._make_journal = make_journal
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._closing = False

    def offer(self, run: RunRecord) -> None:
        """Let a stored run wait for its turn."""
        self._admission.enqueue(WaitingRun(run.user_id, run.thread_id, run.run_id))
        self._start_admitted()

    def stop(self, user_id: str, run_id: str) -> None:
        """Stop a run that has ended in the database: cancel its task, or forget it while it waits."""
        self._admission.withdraw(user_id, run_id)
        if task := self._tasks.get((user_id, run_id)):
            task.cancel()

    def _start_admitted(self) -> None:
        while not self._closing and (run := self._admission.take()) is not None:
            task = spawn_unbound(self._work(run), name=f"run {run.run_id}")
            self._tasks[run.user_id, run.run_id] = task
            task.add_done_callback(partial(self._done, run))

    def _done(self, run: WaitingRun, _task: asyncio.Task[None]) -> None:
        """Give the place back; not in the task itself, which may be cancelled before it has begun."""
        del self._tasks[run.user_id, run.run_id]
        self._admission.release(run)
        self._start_admitted()

    async def _work(self, waiting: WaitingRun) -> None:
        try:
            run = await self._claim(waiting)
            if run is not None:
                context = UserExecutionContext.from_request(
                    run.user_id, run.thread_id, run.run_id, run.request_id, deadline=run.deadline
                )
                await self._execute(context, run.agent, run.message, self._make_journal(run))
        except asyncio.CancelledError:
            _logger.info("run %s was stopped", waiting.run_id)
        except Exception:  # `execute` ends a run whatever its agent raises; this is the last line for Netra's own bugs
            _logger.exception("run %s could not be ended", waiting.run_id)

    async def _claim(self, waiting: WaitingRun) -> RunRecord | None:
        refusals = 0
        while True:
            try:
                return (await self._ledger.write(ClaimRun(waiting.user_id, waiting.run_id))).run
            except StorageUnavailableError:
                await asyncio.sleep(RETRY_SECONDS[min(refusals, len(RETRY_SECONDS) - 1)])
                refusals += 1
            except RefusedError:
                return None  # cancelled or erased while it waited

    async def close(self, grace_seconds: float) -> None:
        """Start nothing more, give what runs some time to end, then stop it; the database keeps what was accepted.

        Args:
            grace_seconds: how long to wait before tasks are cancelled.
        """
        self._closing = True
        tasks = list(self._tasks.values())
        if not tasks:
            return
        _, unfinished = await asyncio.wait(tasks, timeout=grace_seconds)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)
