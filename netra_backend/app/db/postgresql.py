"""PostgreSQL: a server that many nodes may share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from .errors import DatabaseOpenError
from .roles import Role
from .security import secure
from .serving_lock import SESSION as LOCK_SESSION
from .serving_lock import ServingLock
from .storage import Fault, reason_of

OLDEST_VERSION: Final = 16
"""The first one in which a login can take on a role without inheriting what it may do."""

MIGRATION_LOCK: Final = 0x6E65747261
"""The advisory lock of whoever changes the schema: "netra" in ASCII."""

_CONNECT: Final = {
    "connect_timeout": 5,
    # A server that is gone without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "netra",
}
_SESSION: Final = {
    "timezone": "UTC",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",  # a node that hangs gives its locks back
}
# Every statement that writes reaches its rows by their key. A plan made while a table was small would read all of it.
_BY_KEY: Final = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}

_CONFLICTS: Final = ("40001", "40P01")  # serialization_failure, deadlock_detected
_UNAVAILABLE: Final = (
    "08",  # connection exceptions
    "25006",  # read_only_sql_transaction: the server has become a standby
    "53",  # insufficient resources: disk full, out of memory, too many connections
    "55P03",  # lock_not_available: lock_timeout
    "57",  # operator intervention: shutdown, crash, starting up, a cancelled statement
    "58",  # system errors: input and output
)


class PostgresStorage:
    """A PostgreSQL database; see `Storage`.

    Args:
        url: `postgresql://USER:PASSWORD@HOST:PORT/NAME`; opened with the first statement.
        reader_threads: how many reads run at once.

    Raises:
        ValueError: the URL is of another driver than psycopg.
        DatabaseOpenError: psycopg is not installed.
    """

    is_shared = True

    def __init__(self, url: URL, *, reader_threads: int) -> None:
        if url.drivername not in ("postgresql", "postgresql+psycopg"):
            raise ValueError(f"database_url: expected postgresql://…, got {url.drivername}://…: the driver is psycopg")
        url = url.set(drivername="postgresql+psycopg")
        host = url.host or url.query.get("host", "the local socket")
        self.name = f"{host}:{url.port or 5432}/{url.database or url.username}"
        self._user = url.username
        reading = {"role": str(Role.USER), "default_transaction_read_only": "on"}
        try:
            self._owner_engine = _engine(url, {"lock_timeout": "5min"}, poolclass=NullPool)
            self.read_engine = _engine(
                url, reading, pool_size=reader_threads, max_overflow=0, isolation_level="REPEATABLE READ"
            )
            self.write_engine = _engine(url, {"role": str(Role.USER), **_BY_KEY}, pool_size=2, max_overflow=0)
            lock_engine = _engine(url, LOCK_SESSION, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        except ModuleNotFoundError as error:
            raise DatabaseOpenError(
                f"database_url: PostgreSQL needs {error.name}; install the extra: pip install 'netra[cluster]'"
            ) from None
        self._serving_lock = ServingLock(lock_engine, self.name)

    def judge(self, error: DBAPIError) -> Fault:
        """By the SQLSTATE; an error without one is of the connection."""
        state = getattr(error.orig, "sqlstate", None)
        if state in _CONFLICTS:
            return Fault.CONFLICT
        if error.connection_invalidated or (state is None and isinstance(error, OperationalError)):
            return Fault.UNAVAILABLE
        return Fault.UNAVAILABLE if state is not None and state.startswith(_UNAVAILABLE) else Fault.COMMAND

    def mark(self, connection: Connection) -> str | None:
        """The transaction's id, by which the server tells later what became of it."""
        return str(connection.exec_driver_sql("SELECT pg_current_xact_id()").scalar_one())

    def was_committed(self, connection: Connection, mark: str) -> bool | None:
        """What the server says of a transaction; one that it has never heard of was not committed."""
        try:
            status = connection.exec_driver_sql("SELECT pg_xact_status(%s::xid8)", (mark,)).scalar_one()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == "22023":  # in the future: a server restored from before it
                return False
            raise
        return None if status == "in progress" else bool(status == "committed")

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction of the login itself, under an advisory lock that every node takes."""
        try:
            with self._owner_engine.begin() as connection:
                self._check_server(connection)
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,)).close()
                yield connection
        except DBAPIError as error:
            raise self._told(error) from error

    def secure(self, connection: Connection) -> None:
        """Roles, policies and grants; then whether the login may take on the roles."""
        secure(connection)
        missing = [role for role in Role if not _may_act_as(connection, role)]
        if missing:
            raise DatabaseOpenError(
                f"database_url: expected a user who may act as {', '.join(missing)}, got {self._user!r}, who may not; "
                f"as the owner of the roles: GRANT {', '.join(missing)} TO "
                f'"{self._user}" WITH INHERIT FALSE, SET TRUE'
            )

    def _check_server(self, connection: Connection) -> None:
        version, encoding = connection.exec_driver_sql(
            "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding')"
        ).one()
        if version < OLDEST_VERSION:
            raise DatabaseOpenError(
                f"database_url: expected PostgreSQL {OLDEST_VERSION} or newer at {self.name}, got {version}; "
                "upgrade the server"
            )
        if encoding != "UTF8":
            raise DatabaseOpenError(
                f"database_url: expected a database in UTF8 at {self.name}, got {encoding}; "
                "make one: CREATE DATABASE netra ENCODING 'UTF8' TEMPLATE template0"
            )

    def _told(self, error: DBAPIError) -> DatabaseOpenError:
        """An error at the start, with what to do about it; the driver's words never hold the password."""
        reason = reason_of(error)
        state = getattr(error.orig, "sqlstate", None)
        if state == "42501":  # insufficient_privilege
            return DatabaseOpenError(
                f"database_url: expected a user who may bring {self.name} up to date, got {self._user!r}: {reason}; "
                "run `netra db upgrade` with the URL of the owner (docs/databases.md)"
            )
        if self.judge(error) is Fault.COMMAND:
            return DatabaseOpenError(f"{self.name} cannot be brought up to date, and nothing was changed: {reason}")
        return DatabaseOpenError(
            f"database_url: expected a PostgreSQL database that answers at {self.name}, got: {reason}; "
            "is the server running, and are host, port, database, user and password right?"
        )

    def serve(self, wait_seconds: float) -> None:
        """Take the lock of whoever serves."""
        try:
            self._serving_lock.take(wait_seconds)
        except DBAPIError as error:
            raise self._told(error) from error

    def watch(self, seconds: float, stop: threading.Event) -> bool:
        """Watch over that lock; see `ServingLock.watch`."""
        return self._serving_lock.watch(seconds, stop)

    def release(self) -> None:
        """Let go of every connection, the lock's at last."""
        for engine in (self.read_engine, self.write_engine, self._owner_engine):
            engine.dispose()
        self._serving_lock.release()


def _engine(url: URL, session: dict[str, str], **options: Any) -> Engine:
    settings = " ".join(f"-c {name}={value}" for name, value in {**_SESSION, **session}.items())
    arguments = {name: value for name, value in _CONNECT.items() if name not in url.query}  # the URL's own go first
    arguments["options"] = f"{url.query.get('options', '')} {settings}".strip()
    # An error of the database ends up in a log, and what users say must not.
    return create_engine(url, connect_args=arguments, hide_parameters=True, **options)


def _may_act_as(connection: Connection, role: Role) -> bool:
    may = text("SELECT pg_has_role(session_user, :role, 'SET')")
    return bool(connection.execute(may, {"role": str(role)}).scalar_one())
