"""SQLite: one file, one process, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError

from .errors import DatabaseDamagedError, DatabaseInUseError, DatabaseOpenError
from .owner_criterion import refuse_unowned
from .roles import NOBODY, become
from .storage import Fault, reason_of

BUSY_TIMEOUT_SECONDS: Final = 5
CHECKED_BYTES: Final = 1024**3
"""The largest file that is read through at start, which takes seconds; damage in a larger one shows when it is met."""
DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteStorage:
    """An SQLite file; see `Storage`.

    Args:
        url: `sqlite:///path`.
        reader_threads: how many reads run at once.
        is_read_only: whether nothing is to be written: a server may then be using the file.

    Raises:
        ValueError: the URL names no file.
        DatabaseInUseError: another server has it open.
        DatabaseOpenError: there is no such file, and nothing is to be written.
    """

    is_shared = False

    def __init__(self, url: URL, *, reader_threads: int, is_read_only: bool = False) -> None:
        if not url.database or url.database == ":memory:":
            raise ValueError(f"database_url: expected sqlite:///PATH, got {url.render_as_string()!r}")
        self.name = url.database
        path = Path(url.database)
        if is_read_only and not path.is_file():
            raise DatabaseOpenError(f"expected a database at {path}, got no such file; name its folder by --data-dir")
        self._lock = None if is_read_only else _lock_private(path)
        self.read_engine = _engine(url, begin="BEGIN", query_only=True, pool_size=reader_threads)
        self.write_engine = _engine(url, begin="BEGIN IMMEDIATE", query_only=False, pool_size=2)

    def judge(self, error: DBAPIError) -> Fault:
        """SQLITE_ERROR is wrong SQL; the other operational ones are a full disk, a lock, a file that is gone."""
        if _is_damage(error):
            return Fault.UNAVAILABLE
        if not isinstance(error, OperationalError):
            return Fault.COMMAND
        is_wrong_sql = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
        return Fault.COMMAND if is_wrong_sql else Fault.UNAVAILABLE

    def mark(self, connection: Connection) -> str | None:
        """None: the commit is a call in this process, and says what became of it."""
        return None

    def was_committed(self, connection: Connection, mark: str) -> bool | None:
        """Never asked."""
        raise NotImplementedError

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction of the process that holds the lock, in a file whose pages are whole.

        Raises:
            DatabaseDamagedError: they are not, as far as they were read.
        """
        try:
            with self.write_engine.begin() as connection:
                self._check(connection)
                become(connection, None)
                yield connection
        except DatabaseError as error:
            if _is_damage(error):
                raise DatabaseDamagedError(self.name, reason_of(error)) from None
            raise

    def _check(self, connection: Connection) -> None:
        if os.path.getsize(self.name) > CHECKED_BYTES:
            return
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise DatabaseDamagedError(self.name, " ".join(str(found).split()))

    def secure(self, connection: Connection) -> None:
        """A file has no roles: between users stands `owner_criterion`, and before the file its mode, 0600."""

    def serve(self, wait_seconds: float) -> None:
        """Nothing to do: whoever may write has the file's lock, and the system knows at once whether he lives."""

    def watch(self, seconds: float, stop: threading.Event) -> bool:
        """Never asked: the lock cannot be lost."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of every connection, then of the lock."""
        self.read_engine.dispose()
        self.write_engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _is_damage(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in DAMAGED  # the upper bits tell where


def _lock_private(path: Path) -> int:
    """Make the file with mode 0600 before SQLite does, since its journal files take that mode, and claim it.

    Returns:
        The descriptor of the lock, a file beside it: closing any descriptor of the database itself would end the
        locks that SQLite holds on it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for file in (path, *(path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))):
        with suppress(FileNotFoundError):
            file.chmod(0o600)  # one that was copied here may have come with another mode
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise DatabaseInUseError(str(path)) from None
    return lock


def _engine(url: URL, *, begin: str, query_only: bool, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # an error of the database ends up in a log, and what users say must not
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGINs are lazy and never IMMEDIATE; `begin` emits ours
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",  # what is erased is overwritten, so that neither the file nor a backup holds it
            f"query_only = {'ON' if query_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        become(connection, NOBODY)
        connection.exec_driver_sql(begin)

    event.listen(engine, "before_cursor_execute", refuse_unowned, retval=True)

    return engine
