"""The database: threads that only read, and the one thread that writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from .errors import StorageUnavailableError
from .postgresql import PostgresStorage
from .roles import Role, act_as
from .sqlite import SqliteStorage
from .storage import Fault, Storage, reason_of
from .tenure import Tenure
from .writer import GroupCommitWriter

T = TypeVar("T")

FORMS = "expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME"


class Database:
    """One database, opened for one process.

    Statements run in threads, never on the event loop; a cancelled caller leaves its thread to finish, so a pooled
    connection never goes back in the middle of a statement (docs/decisions/0001).

    Args:
        url: an SQLAlchemy URL: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`.
        reader_threads: how many reads run at once.
        is_read_only: whether nothing is to be written: a server may then be using the file.

    Attributes:
        writer: writes.
        tenure: says whether this process is the only one that serves the database.

    Raises:
        ValueError: the URL is of another form; the message does not hold its password.
        DatabaseOpenError: another server has the file open, or PostgreSQL's driver is not installed.
    """

    def __init__(self, url: str, *, reader_threads: int = 4, is_read_only: bool = False) -> None:
        self._closed = False
        self.storage = open_storage(url, reader_threads=reader_threads, is_read_only=is_read_only)
        self._readers = ThreadPoolExecutor(reader_threads, thread_name_prefix="netra-reader")
        self.writer = GroupCommitWriter(self.storage)
        self.tenure = Tenure(self.storage)

    async def read_for(self, user_id: str, work: Callable[[Connection], T]) -> T:
        """Run `work` in a reader thread, in one read transaction of a user: what repositories do.

        Args:
            user_id: on PostgreSQL no other user's rows are there for `work`.
            work: gets a connection that cannot write.

        Returns:
            What `work` returned.

        Raises:
            StorageUnavailableError: the database cannot be read now.
        """
        return await self._in_reader(user_id, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` for nobody: only a system operation reaches rows of users in it; otherwise as `read_for`."""
        return await self._in_reader("", work)

    async def _in_reader(self, user_id: str, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StorageUnavailableError("the server is shutting down")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, copy_context().run, self._read, user_id, work)

    def _read(self, user_id: str, work: Callable[[Connection], T]) -> T:
        try:
            try:
                return self._read_once(user_id, work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return self._read_once(user_id, work)  # on a new connection: the pool has dropped all others
        except DBAPIError as error:
            if self.storage.judge(error) is Fault.COMMAND:
                raise
            raise StorageUnavailableError(reason_of(error)) from error

    def _read_once(self, user_id: str, work: Callable[[Connection], T]) -> T:
        with self.storage.read_engine.begin() as connection:
            if user_id:
                act_as(connection, Role.USER, user_id)
            return work(connection)

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
        self.tenure.end()
        self.storage.release()


def open_storage(url: str, *, reader_threads: int, is_read_only: bool = False) -> Storage:
    """The storage that a URL names; raises as `Database`."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return SqliteStorage(parsed, reader_threads=reader_threads, is_read_only=is_read_only)
    if parsed.get_backend_name() == "postgresql":
        return PostgresStorage(parsed, reader_threads=reader_threads)
    raise ValueError(f"database_url: {FORMS}, got {parsed.drivername}://…")


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # it may hold a password, so it is not told
        raise ValueError(f"database_url: {FORMS}, got a text that is no URL") from None
