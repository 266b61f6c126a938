"""The connection to the database: a pool that only reads, and the one connection that writes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from .errors import DatabaseInUseError, StorageUnavailableError
from .writer import GroupCommitWriter

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 5


class Database:
    """One database, opened for one process.

    Statements run in threads, never on the event loop; a cancelled caller leaves its thread to finish, so a pooled
    connection never goes back in the middle of a statement (docs/decisions/0001).

    Args:
        url: an SQLAlchemy URL; `sqlite:///path` for now.
        reader_threads: how many reads run at once.

    Raises:
        ValueError: the URL is of another form.
        DatabaseInUseError: another server has it open.
    """

    def __init__(self, url: str, *, reader_threads: int = 4) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
            raise ValueError(f"database_url: expected sqlite:///PATH, got {parsed.render_as_string()!r}")
        self._closed = False
        self._lock = _lock_private(Path(parsed.database))
        self._read_engine = _sqlite_engine(parsed, begin="BEGIN", query_only=True, pool_size=reader_threads)
        self.write_engine = _sqlite_engine(parsed, begin="BEGIN IMMEDIATE", query_only=False, pool_size=2)
        self._readers = ThreadPoolExecutor(reader_threads, thread_name_prefix="netra-reader")
        self.writer = GroupCommitWriter(self.write_engine)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a reader thread, in one read transaction.

        Args:
            work: gets a connection that cannot write.

        Returns:
            What `work` returned.

        Raises:
            StorageUnavailableError: the database cannot be read now.
        """
        if self._closed:
            raise StorageUnavailableError("the server is shutting down")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, copy_context().run, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.begin() as connection:
                return work(connection)
        except OperationalError as error:
            raise StorageUnavailableError(_reason(error)) from error

    async def close(self) -> None:
        """Finish what was submitted, then let go of every connection; a second call does nothing."""
        if self._closed:
            return
        await self.writer.close()
        await asyncio.to_thread(self.release)

    def release(self) -> None:
        """Let go of every connection, when nothing was ever submitted; waits for reads under way."""
        self._closed = True
        self._readers.shutdown(wait=True)
        self._read_engine.dispose()
        self.write_engine.dispose()
        os.close(self._lock)


def _reason(error: DBAPIError) -> str:
    return str(error.orig)


def _lock_private(path: Path) -> int:
    """Make the file with mode 0600 before SQLite does, since its journal files take that mode, and claim it.

    Returns:
        The descriptor of the lock, a file beside it: closing any descriptor of the database itself would end the
        locks that SQLite holds on it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise DatabaseInUseError(str(path)) from None
    return lock


def _sqlite_engine(url: URL, *, begin: str, query_only: bool, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGINs are lazy and never IMMEDIATE; `begin` emits ours
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"query_only = {'ON' if query_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
