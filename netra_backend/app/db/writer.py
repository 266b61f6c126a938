"""The group-commit writer: while one transaction commits, everything that arrives forms the next.

One thread owns the only connection that writes. Callers hand it commands; it takes all that wait, applies them in one
transaction, commits once, and reports to the event loop in the order of the commands. An fsync is so paid once for
many users instead of once for each event.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from netra_backend.app.services.refusals import RefusedError

from .errors import OutcomeUnknownError, StorageUnavailableError
from .roles import Role, act_as
from .storage import Fault, Storage, reason_of

C = TypeVar("C", contravariant=True)
R = TypeVar("R", covariant=True)
T = TypeVar("T")

MAX_BATCH = 1_000
MAX_CONFLICTS = 10
"""How often a batch is applied again after another node's transaction was in its way."""
QUESTION_SECONDS = 0.2
"""How long to wait before asking again what became of a commit."""

_logger = logging.getLogger(__name__)


class BulkOperation(Protocol[C, R]):
    """How all commands of one kind in a batch are applied together, in few statements."""

    def __call__(self, connection: Connection, commands: Sequence[C]) -> Sequence[R | Exception]:
        """Apply the commands in order.

        Args:
            connection: inside the batch's transaction.
            commands: in the order in which they were submitted.

        Returns:
            For each command its result, or the exception that refuses it alone; a refused one has written nothing.

        Raises:
            Exception: the database refused a statement: everything is rolled back and each command of the batch is
                applied again by itself, so that the faulty one fails alone.
        """


@dataclass(slots=True)
class _Pending(Generic[T]):
    operation: BulkOperation[Any, T]
    command: Any
    future: asyncio.Future[T]
    on_commit: Callable[[T], None] | None
    outcome: T | Exception | None = None


class GroupCommitWriter:
    """Writes for the whole process, many commands to a commit.

    What a caller is told is true also when the connection is lost. Before the commit nothing is stored, and the batch
    is applied again on a new connection. During the commit nobody here can know; so the database is asked what became
    of the transaction until it answers, and the batch's callers wait (docs/decisions/0006).

    Args:
        storage: the database.

    Attributes:
        observe: told of each commit the number of its commands and the seconds it took, once it is set.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._connection: Connection | None = None
        self.observe: Callable[[int, float], None] | None = None
        self._waiting: SimpleQueue[_Pending[Any] | None] = SimpleQueue()  # None is the last
        self._closed = False
        self._closing = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(
        self,
        operation: BulkOperation[C, T],
        command: C,
        on_commit: Callable[[T], None] | None = None,
    ) -> asyncio.Future[T]:
        """Hand in a command; called on the event loop.

        Args:
            operation: applies it, together with the others of its kind that wait.
            command: what is to be done.
            on_commit: called on the loop with the result once it is on disk, before the future wakes anybody, and in
                the order of the commands: what must follow the commit in order belongs here.

        Returns:
            A future of the result. It fails with what `operation` refused the command with, or with
            StorageUnavailableError when the database cannot be written now. Cancelling it does not recall the command.
        """
        if self._closed:
            raise StorageUnavailableError("the server is shutting down")
        loop = self._loop or self._start()
        pending = _Pending(operation, command, loop.create_future(), on_commit)
        self._waiting.put(pending)
        return pending.future

    def run(
        self,
        work: Callable[[Connection], T],
        on_commit: Callable[[T], None] | None = None,
        *,
        user_id: str | None = None,
    ) -> asyncio.Future[T]:
        """Run `work` in a transaction of the writer; otherwise as `submit`.

        Args:
            work: what is to be done.
            on_commit: as for `submit`.
            user_id: whose rows it may reach; None where only a system operation in it may reach any.
        """
        return self.submit(_run_each, (work, user_id), on_commit)

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, args=(loop,), name="netra-writer", daemon=True)
        self._thread.start()
        return loop

    async def close(self) -> None:
        """Commit what was submitted, then end the thread."""
        if not self._closed:
            self._closed = True
            self._closing.set()
            self._waiting.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while batch := self._take():
            started = loop.time()
            self._apply(batch)
            if self.observe:
                self.observe(len(batch), loop.time() - started)
            loop.call_soon_threadsafe(_settle, batch)
        self._disconnect()

    def _take(self, *, wait: bool = True) -> list[_Pending[Any]]:
        """All that waits, at least one unless told not to wait for it; nothing once the writer is closed."""
        batch: list[_Pending[Any]] = []
        try:
            while len(batch) < MAX_BATCH:
                pending = self._waiting.get(block=wait and not batch)
                if pending is None:
                    self._waiting.put(None)  # to be found again, behind this batch
                    break
                batch.append(pending)
        except Empty:
            pass
        return batch

    def _apply(self, batch: list[_Pending[Any]]) -> None:
        """Commit a batch, or as much of it as the database takes."""
        conflicts = lost = 0
        while True:
            try:
                self._commit(batch)
            except DBAPIError as error:
                fault = self._storage.judge(error)
                if fault is Fault.COMMAND:
                    self._divide(batch, error)
                elif fault is Fault.CONFLICT and conflicts < MAX_CONFLICTS:
                    conflicts += 1
                    continue
                elif error.connection_invalidated and not lost:  # perhaps long ago, while nobody wrote
                    lost += 1
                    continue
                else:  # the whole database's: a full disk refuses each command alike
                    _refuse(batch, StorageUnavailableError(reason_of(error)))
            except OutcomeUnknownError as unknown:
                _refuse(batch, unknown)
            except BaseException as error:  # one command's, whatever it raised: the others must not share its fate
                self._divide(batch, error)
            return

    def _divide(self, batch: list[_Pending[Any]], error: BaseException) -> None:
        """Apply the halves of a batch of which one command is at fault, in their order, until it is alone."""
        if len(batch) > 1:
            middle = len(batch) // 2
            self._apply(batch[:middle])
            self._apply(batch[middle:])
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            batch[0].outcome = error
        else:  # what a future cannot carry
            batch[0].outcome = RuntimeError(f"a command raised {type(error).__name__}")
            batch[0].outcome.__cause__ = error

    def _commit(self, batch: list[_Pending[Any]]) -> None:
        if self._connection is None:
            self._connection = self._storage.write_engine.connect()
        connection = self._connection
        mark = None
        is_committing = False
        try:
            with connection.begin():
                mark = self._storage.mark(connection)
                for operation, run in groupby(batch, key=attrgetter("operation")):  # never out of their order
                    group = list(run)
                    outcomes = operation(connection, [pending.command for pending in group])
                    for pending, outcome in zip(group, outcomes, strict=True):
                        pending.outcome = outcome
                is_committing = True
        except DBAPIError as error:
            if error.connection_invalidated:
                self._disconnect()
                if is_committing and mark is not None and self._was_committed(mark, error):
                    return
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _was_committed(self, mark: str, error: DBAPIError) -> bool:
        """Ask the database what became of a transaction until it answers; raises OutcomeUnknownError at shutdown."""
        _logger.warning("the connection was lost during a commit: %s; asking what became of it", reason_of(error))
        while True:
            try:
                with self._storage.write_engine.begin() as connection:
                    answer = self._storage.was_committed(connection, mark)
            except DBAPIError as away:
                self._refuse_waiting(reason_of(away))
            else:
                if answer is not None:
                    _logger.warning("the commit %s", "was stored" if answer else "was not stored, and is tried again")
                    return answer
            if self._closing.wait(QUESTION_SECONDS):
                raise OutcomeUnknownError from error

    def _refuse_waiting(self, reason: str) -> None:
        """Keep nobody waiting whose command was not begun."""
        if (loop := self._loop) is not None and (batch := self._take(wait=False)):
            _refuse(batch, StorageUnavailableError(reason))
            loop.call_soon_threadsafe(_settle, batch)


def _refuse(batch: list[_Pending[Any]], refusal: StorageUnavailableError) -> None:
    _logger.error("commit failed: %s", refusal)
    for pending in batch:
        pending.outcome = refusal


def _run_each(
    connection: Connection, commands: Sequence[tuple[Callable[[Connection], T], str | None]]
) -> list[T | Exception]:
    outcomes: list[T | Exception] = []
    for work, user_id in commands:
        savepoint = connection.begin_nested()
        try:
            act_as(connection, Role.USER, user_id or "")
            outcome = work(connection)
        except RefusedError as refusal:
            savepoint.rollback()
            outcomes.append(refusal)
        else:  # anything else goes to the outer rollback: on a full disk the savepoint itself may be gone
            savepoint.commit()
            outcomes.append(outcome)
    return outcomes


def _settle(batch: list[_Pending[Any]]) -> None:
    for pending in batch:
        outcome = pending.outcome
        if isinstance(outcome, Exception):
            if not pending.future.cancelled():
                pending.future.set_exception(outcome)
                # Whoever wanted to know is told by the await; nobody may be left to look, after a disconnect.
                pending.future.exception()
            continue
        if pending.on_commit is not None:
            try:
                pending.on_commit(outcome)
            except Exception:  # it is stored: whoever waits for it, and for the others, must hear
                _logger.exception("what follows a commit failed")
        if not pending.future.cancelled():
            pending.future.set_result(outcome)
