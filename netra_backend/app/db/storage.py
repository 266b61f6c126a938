"""What differs between the databases that Netra can keep its rows in: one class for each, behind one port."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError


class Fault(Enum):
    """Whose fault an error of the database is."""

    COMMAND = auto()
    """The statement's own: it would be refused again, and the others of its batch must not share its fate."""
    CONFLICT = auto()
    """Nobody's: two transactions were in each other's way, and one of them was undone; apply it again."""
    UNAVAILABLE = auto()
    """The database's: it refuses every command alike, for now."""


class Storage(Protocol):
    """One database, opened for one process.

    Attributes:
        name: of the database, for messages; never with a password.
        read_engine: its connections cannot write, and each transaction is one moment.
        write_engine: its connections may write.
        is_shared: whether other processes may be using the database at the same time.
    """

    name: str
    read_engine: Engine
    write_engine: Engine
    is_shared: bool

    def judge(self, error: DBAPIError) -> Fault:
        """Whose fault an error is."""

    def mark(self, connection: Connection) -> str | None:
        """The name of the transaction that has begun; None where the end of a commit is never in doubt."""

    def was_committed(self, connection: Connection, mark: str) -> bool | None:
        """What became of a transaction whose connection was lost during its commit; None while it is still going on."""

    def migrating(self) -> AbstractContextManager[Connection]:
        """A transaction in which the schema may be changed, and in which nobody else changes it.

        Raises:
            DatabaseOpenError: the database cannot be reached, or is not one that Netra can use.
        """

    def secure(self, connection: Connection) -> None:
        """See to it that each role may do what it needs and no more; inside `migrating`, at the newest schema."""

    def serve(self, wait_seconds: float) -> None:
        """Become the one process that serves the database, until `release`; see `Tenure`.

        Args:
            wait_seconds: how long to wait for a server that may be about to end, where that cannot be known at once.

        Raises:
            DatabaseInUseError: another server is using the database.
            DatabaseOpenError: it cannot be reached.
        """

    def watch(self, seconds: float, stop: threading.Event) -> bool:
        """Look for a while whether this process still is the one that serves; blocks.

        Args:
            seconds: how long to look; a loss is told at once.
            stop: ends the look early.

        Returns:
            Whether it is; False while the database cannot be asked.

        Raises:
            DatabaseInUseError: another server has become it.
        """

    def release(self) -> None:
        """Let go of every connection, and of the right to serve."""


def reason_of(error: DBAPIError) -> str:
    """What the driver says, in one line."""
    return " ".join(str(error.orig).split())
