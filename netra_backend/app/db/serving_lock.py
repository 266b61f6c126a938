"""The lock of whoever serves a PostgreSQL database: a session's advisory lock on a connection of its own.

PostgreSQL gives it back by itself when the session ends, however the server ended: that the process is dead it learns
from the closed socket, that the machine or the way to it is gone by keepalive. So it is never held by nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from .errors import DatabaseInUseError
from .storage import reason_of

SERVING_LOCK: Final = 0x6E657472615F73
"""The advisory lock of whoever serves the database: "netra_s" in ASCII."""

SESSION: Final = {
    # PostgreSQL notices within eleven seconds that the other side is gone.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "idle_session_timeout": "0",
}
"""What the lock's connection asks of PostgreSQL."""

LISTEN_SECONDS: Final = 0.1
"""A closed socket is noticed at once; so long it takes at most to notice that nobody wants to know any more."""

_HOLDERS: Final = (
    "SELECT pid, application_name = %s AS is_ours FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = datid AND datname = current_database()"
    " AND classid::bigint << 32 | objid::bigint = %s"
)

_logger = logging.getLogger(__name__)


class ServingLock:
    """Whether this process is the one that serves; used by one thread at a time.

    Args:
        engine: makes connections of the login itself, each statement by itself.
        name: of the database, for messages.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._session = f"netra serving {uuid4()}"
        self._connection: Connection | None = None

    def take(self, wait_seconds: float) -> None:
        """Take the lock, waiting for a predecessor that is about to end.

        Raises:
            DatabaseInUseError: another server has it and keeps it.
            DBAPIError: the database does not answer.
        """
        connection = self._connect()
        try:
            if not self._try(connection):
                _logger.warning(
                    "another server is using %s; waiting up to %g s for it to end", self._name, wait_seconds
                )
                self._wait(connection, wait_seconds)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _wait(self, connection: Connection, seconds: float) -> None:
        connection.exec_driver_sql(
            "SELECT set_config('lock_timeout', %s, false)", (f"{max(1, int(seconds * 1000))}ms",)
        )
        try:
            connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (SERVING_LOCK,)).close()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == "55P03":  # lock_not_available: lock_timeout
                raise DatabaseInUseError(self._name) from None
            raise

    def watch(self, seconds: float, stop: threading.Event) -> bool:
        """Look for a while whether the lock is still held, or take it again when it was lost.

        Args:
            seconds: how long to look; a loss is told at once.
            stop: ends the look early.

        Returns:
            Whether it was held at the end, as PostgreSQL itself has said; False while the database does not answer.

        Raises:
            DatabaseInUseError: it was lost, and another server has it now.
        """
        try:
            if self._connection is None:
                return self._take_again()
            until = time.monotonic() + seconds
            raw: Any = self._connection.connection.driver_connection
            while not stop.is_set() and time.monotonic() < until:
                for _ in raw.notifies(timeout=LISTEN_SECONDS):  # there are none; but it raises once the socket closes
                    pass
            self._connection.exec_driver_sql("SELECT 1").close()
        except DatabaseInUseError:
            raise
        except Exception as error:  # psycopg's own from `notifies`, SQLAlchemy's from the rest
            self._lose(error)
            return False
        return True

    def _lose(self, error: Exception) -> None:
        reason = reason_of(error) if isinstance(error, DBAPIError) else " ".join(str(error).split())
        if self._connection is not None:
            _logger.warning("the lock on %s was lost: %s; no run is begun until it is there again", self._name, reason)
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _take_again(self) -> bool:
        connection = self._connect()
        try:
            if self._try(connection):
                self._connection = connection
                _logger.warning("the lock on %s is held again", self._name)
                return True
            holders = connection.exec_driver_sql(_HOLDERS, (self._session, SERVING_LOCK)).all()
            ghosts = [holder.pid for holder in holders if holder.is_ours]
            if holders and not ghosts:
                raise DatabaseInUseError(self._name)
            for pid in ghosts:  # PostgreSQL has not noticed yet that our old connection is gone
                connection.exec_driver_sql("SELECT pg_terminate_backend(%s)", (pid,)).close()
            return False
        finally:
            if self._connection is not connection:
                connection.close()

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        try:
            connection.exec_driver_sql("SELECT set_config('application_name', %s, false)", (self._session,)).close()
        except BaseException:
            connection.close()
            raise
        return connection

    def _try(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (SERVING_LOCK,)).scalar_one())

    def release(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
