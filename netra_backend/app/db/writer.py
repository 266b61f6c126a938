"""The group-commit writer: while one transaction commits, everything that arrives forms the next.

One thread owns the only connection that writes. Callers hand it commands; it takes all that wait, applies them in one
transaction, commits once, and reports to the event loop in the order of the commands. An fsync is so paid once for
many users instead of once for each event.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from netra_backend.app.services.refusals import RefusedError

from .errors import StorageUnavailableError

C = TypeVar("C", contravariant=True)
R = TypeVar("R", covariant=True)
T = TypeVar("T")

MAX_BATCH = 1_000

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

    Args:
        engine: of the connection that writes.

    Attributes:
        observe: told of each commit the number of its commands and the seconds it took, once it is set.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.observe: Callable[[int, float], None] | None = None
        self._waiting: SimpleQueue[_Pending[Any] | None] = SimpleQueue()  # None is the last
        self._closed = False
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

    def run(self, work: Callable[[Connection], T], on_commit: Callable[[T], None] | None = None) -> asyncio.Future[T]:
        """Run `work` in a transaction of the writer; otherwise as `submit`."""
        return self.submit(_run_each, work, on_commit)

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, args=(loop,), name="netra-writer", daemon=True)
        self._thread.start()
        return loop

    async def close(self) -> None:
        """Commit what was submitted, then end the thread."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        connection: Connection | None = None
        while batch := self._take():
            started = loop.time()
            try:
                connection = connection or self._engine.connect()
            except OperationalError as error:  # tried again with the next batch
                _refuse(batch, error)
            else:
                _apply(connection, batch)
            if self.observe:
                self.observe(len(batch), loop.time() - started)
            loop.call_soon_threadsafe(_settle, batch)
        if connection is not None:
            connection.close()

    def _take(self) -> list[_Pending[Any]]:
        """All that waits, at least one; nothing once the writer is closed."""
        batch: list[_Pending[Any]] = []
        try:
            while len(batch) < MAX_BATCH:
                pending = self._waiting.get(block=not batch)
                if pending is None:
                    self._waiting.put(None)  # to be found again, behind this batch
                    break
                batch.append(pending)
        except Empty:
            pass
        return batch


def _apply(connection: Connection, batch: list[_Pending[Any]]) -> None:
    try:
        _commit(connection, batch)
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:  # wrong SQL: one command's fault
            _apply_each(connection, batch, error)
        else:  # the whole database's: a full disk refuses each command alike
            _refuse(batch, error)
    except BaseException as error:  # one command's fault, whatever it raised: the others must not share its fate
        _apply_each(connection, batch, error)


def _apply_each(connection: Connection, batch: list[_Pending[Any]], error: BaseException) -> None:
    if len(batch) > 1:
        for pending in batch:
            _apply(connection, [pending])
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        batch[0].outcome = error
    else:  # what a future cannot carry
        batch[0].outcome = RuntimeError(f"a command raised {type(error).__name__}")
        batch[0].outcome.__cause__ = error


def _refuse(batch: list[_Pending[Any]], error: OperationalError) -> None:
    refusal = StorageUnavailableError(str(error.orig))
    _logger.error("commit failed: %s", refusal)
    for pending in batch:
        pending.outcome = refusal


def _commit(connection: Connection, batch: list[_Pending[Any]]) -> None:
    with connection.begin():
        for operation, run in groupby(batch, key=attrgetter("operation")):  # never out of their order
            group = list(run)
            outcomes = operation(connection, [pending.command for pending in group])
            for pending, outcome in zip(group, outcomes, strict=True):
                pending.outcome = outcome


def _run_each(connection: Connection, commands: Sequence[Callable[[Connection], T]]) -> list[T | Exception]:
    outcomes: list[T | Exception] = []
    for work in commands:
        savepoint = connection.begin_nested()
        try:
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
