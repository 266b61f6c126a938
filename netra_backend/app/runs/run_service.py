"""Runs, as the API sees them: submitted, cancelled, taken up after a start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson

from netra_backend.app.db.engine import Database
from netra_backend.app.db.system_operations import find_unfinished_runs
from netra_backend.app.services.agent_events import AgentEvent, EventType
from netra_backend.app.services.refusals import StaleRunError
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import Accepted, Submission
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .admission import Admission
from .dispatch_local import LocalDispatcher
from .ledger import AppendEvents, CancelRun, Ledger, SubmitMessage, Written
from .rate_limit import RateLimit
from .run_record import RunRecord


class RunService:
    """Takes messages in and ends runs early.

    Args:
        ledger: stores.
        dispatcher: starts what is stored.
        admission: knows how many runs a user has.
        rate_limit: how fast a user may send.
        check_agent: raises a RefusedError for the name of an agent that nobody knows.
        default_agent: who answers when the message names nobody.
        run_timeout: after which a run is given up.
        max_unfinished_per_user: runs that one user may have waiting and running.
    """

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: LocalDispatcher,
        admission: Admission,
        rate_limit: RateLimit,
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
        self._check_agent = check_agent
        self._default_agent = default_agent
        self._run_timeout = run_timeout
        self._max_unfinished_per_user = max_unfinished_per_user

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
        agent = submission.agent or self._default_agent
        self._check_agent(agent)
        self._rate_limit.spend(context.user_id)
        user_id = context.user_id
        unfinished = self._admission.unfinished_of(user_id) + self._submitting[user_id]
        limit = self._max_unfinished_per_user
        command = SubmitMessage(
            context=context,
            text=submission.text,
            client_message_id=submission.client_message_id or str(uuid4()),
            names_thread=submission.names_thread,
            if_busy=submission.if_busy,
            agent=agent,
            deadline=datetime.now(UTC) + self._run_timeout,
            reached_limit=limit if unfinished >= limit else None,
        )

        def stored(written: Written) -> None:
            try:
                if acknowledge is not None:
                    acknowledge(_accepted(written))
            finally:  # it is stored: its run must be done, whoever hears of it
                for run_id in written.interrupted:
                    self.stop(user_id, run_id)
                if not written.repeated:
                    self._dispatcher.offer(written.run)

        self._submitting[user_id] += 1
        try:
            return _accepted(await self._ledger.write(command, stored))
        finally:
            self._submitting[user_id] -= 1
            if not self._submitting[user_id]:
                del self._submitting[user_id]

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
        """Take up what an earlier process has left: what waited waits again, what ran is truthfully ended.

        Args:
            database: read before anything is served.
        """
        for row in await database.read(find_unfinished_runs):
            run = RunRecord.from_columns(row)
            if run.status is RunStatus.QUEUED:
                self._dispatcher.offer(run)
            else:
                await self._end_orphan(run)

    async def _end_orphan(self, run: RunRecord) -> None:
        context = UserExecutionContext.from_request(run.user_id, run.thread_id, run.run_id, run.request_id)
        failure = {"code": "server_restarted", "message": "the server stopped while the run was going on; ask again"}
        event = AgentEvent(
            context=context,
            type=EventType.AGENT_FAILED,
            agent=run.agent,
            data=orjson.dumps(failure).decode(),
            final=True,
        )
        with suppress(StaleRunError):  # it has ended in the meantime
            await self._ledger.write(AppendEvents(run, (event,), RunStatus.FAILED, failure["code"]))


def _accepted(written: Written) -> Accepted:
    run = written.run
    return Accepted(run.client_message_id, run.thread_id, run.run_id, run.message_seq, written.repeated)
