"""Runs, as the API sees them: submitted, cancelled, taken up again, handed back at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from netra_backend.app.db.engine import Database
from netra_backend.app.db.system_operations import find_unfinished_runs
from netra_backend.app.services.fault_points import reach, reach_async
from netra_backend.app.services.refusals import ShuttingDownError
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import Accepted, Submission
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .admission import Admission, WaitingRun
from .dispatch_local import LocalDispatcher
from .ledger import CancelRun, Ledger, SubmitMessage, Written
from .rate_limit import RateLimit
from .stored_bytes import StoredBytes


class RunService:
    """Takes messages in and ends runs early.

    Args:
        ledger: stores.
        dispatcher: starts what is stored.
        admission: knows how many runs a user has.
        rate_limit: how fast a user may send.
        stored_bytes: how much a user may have stored.
        check_agent: raises a RefusedError for the name of an agent that nobody knows.
        default_agent: who answers when the message names nobody.
        run_timeout: after which a run is given up.
        max_unfinished_per_user: runs that one user may have waiting and running.

    Attributes:
        is_draining: whether no more messages are taken, since the server stops.
    """

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: LocalDispatcher,
        admission: Admission,
        rate_limit: RateLimit,
        stored_bytes: StoredBytes,
        *,
        check_agent: Callable[[str], object],
        default_agent: str,
        run_timeout: timedelta,
        max_unfinished_per_user: int,
    ) -> None:
        self._ledger = ledger
        self._submitting: Counter[str] = Counter()
        self._dispatcher = dispatcher
        self._admission = admission
        self._rate_limit = rate_limit
        self._stored_bytes = stored_bytes
        self._check_agent = check_agent
        self._default_agent = default_agent
        self._run_timeout = run_timeout
        self._max_unfinished_per_user = max_unfinished_per_user
        self.is_draining = False

    async def submit(
        self,
        context: UserExecutionContext,
        submission: Submission,
        acknowledge: Callable[[Accepted], None] | None = None,
    ) -> Accepted:
        """Store a message and let its run wait for its turn.

        Args:
            context: made for this message: its user, thread, and new run and request.
            submission: the message.
            acknowledge: called once it is stored, before any of its entries is delivered to anybody.

        Returns:
            What was stored; for a message sent again, what was stored the first time.

        Raises:
            RefusedError: it was not stored, and why.
            StorageUnavailableError: it was not stored; the database cannot be written now.
        """
        if self.is_draining:
            raise ShuttingDownError
        agent = submission.agent or self._default_agent
        self._check_agent(agent)
        self._rate_limit.spend(context.user_id)
        await self._stored_bytes.check(context)
        user_id = context.user_id
        unfinished = self._admission.unfinished_of(user_id) + self._submitting[user_id]
        limit = self._max_unfinished_per_user
        now = datetime.now(UTC)
        command = SubmitMessage(
            context=context,
            text=submission.text,
            client_message_id=submission.client_message_id or str(uuid4()),
            names_thread=submission.names_thread,
            if_busy=submission.if_busy,
            agent=agent,
            deadline=now + self._run_timeout,
            reached_limit=limit if unfinished >= limit else None,
            retry_after=self._first_end(user_id, now) if unfinished >= limit else 0.0,
        )

        def stored(written: Written) -> None:
            try:
                if acknowledge is not None:
                    acknowledge(_accepted(written))
                reach("after_acknowledge")
            finally:  # it is stored: its run must be done, whoever hears of it
                for run_id in written.interrupted:
                    self.stop(user_id, run_id)
                if not written.repeated:
                    self._dispatcher.offer(written.run)

        self._submitting[user_id] += 1
        try:
            await reach_async("before_store")
            return _accepted(await self._ledger.write(command, stored))
        finally:
            left = self._submitting.pop(user_id) - 1
            if left:
                self._submitting[user_id] = left

    def _first_end(self, user_id: str, now: datetime) -> float:
        """Seconds within which one of the user's runs ends, by its deadline if not before."""
        deadlines = (run.deadline for run in self._admission.runs_of(user_id))
        first = min(deadlines, default=now + self._run_timeout)  # all are on their way to the disk
        return max((first - now).total_seconds(), 1.0)

    async def cancel(self, context: UserExecutionContext, run_id: str) -> RunStatus:
        """Cancel a run of the context's user: final, and its task really stops.

        Args:
            context: of whoever asks.
            run_id: which; one that has ended stays as it is.

        Returns:
            Where the run stands now.

        Raises:
            NotFoundError: the user has no such run.
        """
        command = CancelRun(context.user_id, run_id, "cancelled by the user")
        written = await self._ledger.write(command, self._cancelled)
        return written.run.status

    def _cancelled(self, written: Written) -> None:
        if written.entries:
            self.stop(written.run.user_id, written.run.run_id)

    def stop(self, user_id: str, run_id: str) -> None:
        """Stop the task of a run that has ended in the database, or was erased."""
        self._dispatcher.stop(user_id, run_id)

    def stop_all(self, context: UserExecutionContext) -> None:
        """Stop the tasks of all runs of the context's user, who was erased."""
        for run in self._admission.runs_of(context.user_id):
            self.stop(run.user_id, run.run_id)

    async def recover(self, database: Database) -> None:
        """Take up every stored run that is neither waiting nor running here: those of an earlier process that is dead,
        and any whose hint was lost.

        What waited waits again; what ran is run again in its next attempt. Called before anything is served, and then
        again and again: the database alone knows what is still to be done.

        Args:
            database: where the runs are.

        Raises:
            StorageUnavailableError: they cannot be read now, or another server may live that does them.
        """
        database.tenure.check()
        for row in await database.read(find_unfinished_runs):
            self._dispatcher.offer(WaitingRun(*tuple(row)))

    async def drain(self, grace_seconds: float) -> None:
        """Take no more messages, let what runs end within some time, and hand the rest back for the next start."""
        self.is_draining = True
        await self._dispatcher.close(grace_seconds)


def _accepted(written: Written) -> Accepted:
    run = written.run
    return Accepted(run.client_message_id, run.thread_id, run.run_id, run.message_seq, written.repeated)
