"""A copy of an SQLite file while a server writes to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from .errors import DatabaseOpenError

PAGES_PER_STEP: Final = 256
"""1 MiB: between two steps others get their turn at the disk."""


class BackupError(Exception):
    """Raised when no backup was made. The message says why; nothing that was there before was touched."""


def back_up(source: Path, target: Path, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Copy a database, as it is at one moment, into a new file that only its owner can read.

    It takes no lock that a server would wait for: one read transaction stays open for the whole of the copy, and in
    SQLite's write-ahead log readers and the writer do not wait for each other. Without that transaction each commit
    of the server would make the copy begin anew, and under load it would never end. The copy is checked, written to
    the disk, and only then has its name.

    Args:
        source: the database; a server may be using it.
        target: the new file.
        progress: told after each step how many pages are left, and how many there are.

    Returns:
        The size of the copy in bytes.

    Raises:
        BackupError: `target` exists, its folder does not, or the disk is full.
        DatabaseOpenError: there is no database, or it is damaged.
    """
    if not source.is_file():
        raise DatabaseOpenError(f"expected a database at {source}, got no such file; name its folder by --data-dir")
    if target.exists() or target.is_symlink():
        raise BackupError(_taken(target))
    partial = target.with_name(f"{target.name}.partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        raise BackupError(
            f"{partial}: expected no such file, got one: another backup is being made, or was cut off; "
            "remove it if none is"
        ) from None
    except OSError as error:
        raise BackupError(f"{partial} cannot be made: {error.strerror}") from None
    try:
        try:
            _copy(source, partial, progress)
        except sqlite3.Error as error:
            raise _told(source, target, error) from error
        _sync(partial)
        try:
            os.link(partial, target)  # unlike a rename it never replaces a file
        except FileExistsError:
            raise BackupError(_taken(target)) from None
        _sync(target.parent)
        return target.stat().st_size
    except OSError as error:
        raise BackupError(f"{target} cannot be made: {error.strerror}") from error
    finally:
        for name in (partial, *(partial.with_name(partial.name + end) for end in ("-journal", "-wal", "-shm"))):
            with suppress(FileNotFoundError):
                name.unlink()


def _copy(source: Path, target: Path, progress: Callable[[int, int], None] | None) -> None:
    with closing(_reader(source)) as reading, closing(sqlite3.connect(target, isolation_level=None)) as writing:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on it sees this moment
        told = None if progress is None else lambda _status, left, total: progress(left, total)
        reading.backup(writing, pages=PAGES_PER_STEP, progress=told, sleep=0)
        writing.execute("PRAGMA journal_mode = DELETE").fetchone()  # so that it is one file
        (verdict,) = writing.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)


def _reader(source: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(source, timeout=5, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(target: Path) -> str:
    return f"{target}: expected a name that is not taken, got an existing file; name another, or move that one away"


def _told(source: Path, target: Path, error: sqlite3.Error) -> Exception:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return BackupError(f"{target} cannot be made: the disk is full")
    return DatabaseOpenError(f"{source} cannot be copied: {error}; nothing was made of it. Restore an earlier backup")
