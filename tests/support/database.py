"""Databases for tests, of the newest schema: a real SQLite file, or a database of a real PostgreSQL server.

A test names a folder, and has a database for it; which kind, the fixture `backend` says. The fixture has two
parameters, so every test that is given it runs over both; one that is about SQLite itself is marked `on_sqlite`, one
about PostgreSQL `on_postgresql`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol, TypeVar

import pytest
from sqlalchemy import URL, Connection, Engine, Row, create_engine, event, make_url, select, text

from netra_backend.app.db.engine import Database, open_storage
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.roles import become
from netra_backend.app.db.system_operations import insert_user
from netra_backend.app.db.tables import metadata
from tests.support.postgres import PostgresServer

T = TypeVar("T")

FILE: Final = "netra.sqlite3"
SIGNED_UP: Final = datetime(2026, 1, 1, tzinfo=UTC)
WAIT_SECONDS: Final = 10
"""How long a thread of a test waits for the other side before it goes on: never reached unless the test fails."""
KINDS: Final = ("sqlite", "postgresql")

on_sqlite: Final = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""Marks a test about SQLite itself."""
on_postgresql: Final = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
"""Marks a test about PostgreSQL itself."""


class Backend(Protocol):
    """A kind of database.

    Attributes:
        name: one of `KINDS`.
    """

    name: str

    def url(self, folder: Path) -> str:
        """The URL of a folder's database; nobody has brought it up to date unless `lay` did."""

    def settings(self, folder: Path) -> dict[str, str]:
        """What a server process is told of a folder's database, as `serving` takes it."""

    def lay(self, folder: Path) -> None:
        """Give a folder a database of the newest schema without rows; one that is there already stays."""


class SqliteFiles:
    """Each folder has a file."""

    name = "sqlite"

    def url(self, folder: Path) -> str:
        return f"sqlite:///{folder / FILE}"

    def settings(self, folder: Path) -> dict[str, str]:
        return {}  # it is in the data folder by itself

    def lay(self, folder: Path) -> None:
        path = folder / FILE
        if not path.exists():
            path.write_bytes(_newest_file())


class PostgresDatabases:
    """Each folder has a database of one server; a test's databases are emptied after it and serve the next one.

    Args:
        server: where they are.
    """

    name = "postgresql"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._names: dict[Path, str] = {}
        self._free: list[str] = []
        self._template: str | None = None

    def url(self, folder: Path) -> str:
        if folder not in self._names:
            self._names[folder] = self.server.create()
        return self.server.url(self._names[folder])

    def settings(self, folder: Path) -> dict[str, str]:
        return {"database_url": self.url(folder)}

    def lay(self, folder: Path) -> None:
        if folder not in self._names:
            self._names[folder] = self._free.pop() if self._free else self.server.create(self._newest())

    def _newest(self) -> str:
        if self._template is None:
            self._template = self.server.create()
            storage = open_storage(self.server.url(self._template), reader_threads=1)
            upgrade(storage)
            storage.release()
        return self._template

    def recycle(self, folder: Path) -> None:
        """Empty the databases of a folder and those below it."""
        for owner in [path for path in self._names if path.is_relative_to(folder)]:
            name = self._names.pop(owner)
            with _superuser(make_url(self.server.url(name))) as connection:
                tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
                found = set(tables.scalars())
                is_whole = set(metadata.tables) < found
                if is_whole:
                    connection.execute(text("DROP FUNCTION IF EXISTS refuse CASCADE"))
                    connection.execute(text("DELETE FROM users"))  # everything hangs on them
                    for table in found - set(metadata.tables) - {"alembic_version"}:
                        connection.execute(text(f'DROP TABLE "{table}" CASCADE'))
            if is_whole:
                self._free.append(name)
            else:
                self.server.drop(name)

    def close(self) -> None:
        """Let go of every connection."""
        for engine in _superuser_engines:
            engine.dispose()


_backend: Backend = SqliteFiles()
_superuser_engines: list[Engine] = []


@pytest.fixture(params=KINDS, scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The kind of database that `database_url` and the others speak of during the test."""
    global _backend
    before = _backend
    _backend = SqliteFiles() if request.param == "sqlite" else request.getfixturevalue("postgres_databases")
    yield _backend
    _backend = before


@pytest.fixture(autouse=True)
def _recycled(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test, its databases serve the next one."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None and isinstance(_backend, PostgresDatabases):
        _backend.recycle(folder)


def database_url(folder: Path) -> str:
    """The URL of a folder's database."""
    return _backend.url(folder)


def lay_database(folder: Path) -> None:
    """Give a folder a database of the newest schema without rows; one that is there already stays."""
    _backend.lay(folder)


@cache
def _newest_file() -> bytes:
    with TemporaryDirectory() as folder:
        storage = open_storage(SqliteFiles().url(Path(folder)), reader_threads=1)
        upgrade(storage)
        storage.release()  # the last connection takes the write-ahead log into the file
        return (Path(folder) / FILE).read_bytes()


@contextmanager
def writing_engine(folder: Path) -> Iterator[Engine]:
    """An engine that may do everything with a folder's migrated database, for tests without an event loop."""
    lay_database(folder)
    if isinstance(_backend, PostgresDatabases):
        yield _superuser_engine(make_url(database_url(folder)))
        return
    storage = open_storage(database_url(folder), reader_threads=1)
    event.listen(storage.write_engine, "begin", see_all)
    try:
        yield storage.write_engine
    finally:
        storage.release()


@asynccontextmanager
async def open_database(folder: Path, *, reader_threads: int = 2) -> AsyncIterator[Database]:
    """A folder's migrated database, closed at the end of the block."""
    await asyncio.to_thread(lay_database, folder)
    database = await asyncio.to_thread(Database, database_url(folder), reader_threads=reader_threads)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(backend: Backend, tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated database in the test's folder."""
    async with open_database(tmp_path) as opened:
        yield opened


def _superuser_url(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg", username="postgres")  # every role of the server has one password


@cache
def _superuser_engine(url: URL) -> Engine:
    """Kept until the end of the tests: connecting costs more than what is then done."""
    engine = create_engine(_superuser_url(url), pool_pre_ping=True)
    _superuser_engines.append(engine)
    return engine


@contextmanager
def _superuser(url: URL) -> Iterator[Connection]:
    with _superuser_engine(url.set(query={})).begin() as connection:
        yield connection


def superuser_url(url: str) -> URL:
    """A database's URL for whoever may see everything, beside a server that may be running."""
    parsed = make_url(url)
    return parsed if parsed.get_backend_name() == "sqlite" else _superuser_url(parsed)


async def administer(database: Database, work: Callable[[Connection], T]) -> T:
    """Do what no role of a server's own may: see everything, change the schema, break something."""
    url = database.storage.write_engine.url
    if url.get_backend_name() == "sqlite":
        return await database.writer.run(partial(_as_owner, work))

    def as_superuser() -> T:
        with _superuser(url) as connection:
            return work(connection)

    return await asyncio.to_thread(as_superuser)


def _as_owner(work: Callable[[Connection], T], connection: Connection) -> T:
    see_all(connection)
    return work(connection)


def user_row(connection: Connection, user_id: str) -> None:
    """Give a user an account."""
    assert insert_user(
        connection,
        user_id=user_id,
        email=f"{user_id}@example.org",
        password_hash=f"hash-of-{user_id}",
        created_at=SIGNED_UP,
    )


async def add_users(database: Database, *user_ids: str) -> None:
    """Give users their accounts."""
    for user_id in user_ids:
        await database.writer.run(partial(_add_user, user_id))


def _add_user(user_id: str, connection: Connection) -> None:
    user_row(connection, user_id)


def see_all(connection: Connection) -> None:
    """Let a superuser's transaction be the superuser's again, after it has acted as a role; SQLite's is anybody's."""
    become(connection, None)


def rows(connection: Connection) -> dict[str, Sequence[Row[tuple[object, ...]]]]:
    """Every row of every table, by the table's name."""
    see_all(connection)
    return {
        table.name: connection.execute(select(table).order_by(*table.primary_key)).all()
        for table in metadata.sorted_tables
    }


async def all_rows(database: Database) -> dict[str, Sequence[Row[tuple[object, ...]]]]:
    """Every committed row of every table, by the table's name."""
    if database.storage.write_engine.dialect.name == "sqlite":
        return await database.read(rows)
    return await administer(database, rows)


@asynccontextmanager
async def writer_held(database: Database) -> AsyncIterator[None]:
    """Hold the writer inside a transaction: what is submitted in the block forms its next batch."""
    loop = asyncio.get_running_loop()
    entered, leave = asyncio.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        loop.call_soon_threadsafe(entered.set)
        leave.wait(WAIT_SECONDS)

    held = database.writer.run(hold)
    await entered.wait()
    try:
        yield
    finally:
        leave.set()
    await held


async def _pragma(database: Database, statement: str) -> None:
    """Set up the only connection that writes."""
    await database.writer.run(lambda connection: connection.exec_driver_sql(f"PRAGMA {statement}").close())


@asynccontextmanager
async def disk_full(database: Database) -> AsyncIterator[None]:
    """Let the file grow no more: in the block the disk is full for whoever writes more than a few pages."""
    if database.storage.write_engine.dialect.name == "postgresql":
        async with _server_refuses(database, "53100", "No space left on device: the disk is full"):
            yield
        return
    await _pragma(database, "max_page_count = 1")  # SQLite takes the present size for a smaller one
    try:
        yield
    finally:
        await _pragma(database, "max_page_count = 1073741823")


@asynccontextmanager
async def storage_refused(database: Database) -> AsyncIterator[None]:
    """Refuse every write in the block, since another connection keeps the lock; the writer gives up at once."""
    if database.storage.write_engine.dialect.name == "postgresql":
        async with _server_refuses(database, "55P03", "the table is locked"):
            yield
        return
    await _pragma(database, "busy_timeout = 1")
    path = database.storage.write_engine.url.database
    assert path is not None
    other = await asyncio.to_thread(sqlite3.connect, path, isolation_level=None, check_same_thread=False)
    try:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        yield
        await asyncio.to_thread(other.execute, "ROLLBACK")
    finally:
        await asyncio.to_thread(other.close)


async def refuse_rows(database: Database, change: str, table: str, condition: str) -> None:
    """Let the database refuse some changes for good, as a constraint does.

    Args:
        database: until its test ends.
        change: INSERT or DELETE.
        table: of the rows.
        condition: in SQL, which of them; speaks of NEW or OLD.
    """

    def work(connection: Connection) -> None:
        when = f"CREATE TRIGGER refuse BEFORE {change} ON {table} FOR EACH ROW WHEN ({condition})"
        if connection.dialect.name == "sqlite":
            connection.execute(text(f"{when} BEGIN SELECT RAISE(ABORT, 'no'); END"))
            return
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END $$"
        )
        connection.execute(text(f"{when} EXECUTE FUNCTION refuse()"))

    await administer(database, work)


@asynccontextmanager
async def _server_refuses(database: Database, state: str, reason: str) -> AsyncIterator[None]:
    """Let the PostgreSQL server refuse every write in the block, with the code that it has for the reason."""

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{reason}' USING ERRCODE = '{state}'; END $$"
        )
        found = connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars()
        known = [table.name for table in metadata.sorted_tables]  # in the order in which the ledger locks them
        for table in sorted(found, key=lambda name: (name in known and known.index(name), name)):
            connection.exec_driver_sql(
                f'CREATE OR REPLACE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON "{table}" '
                "EXECUTE FUNCTION refuse()"
            )

    def end(connection: Connection) -> None:
        """Let the triggers do nothing; taking them away would want locks that a transaction under way may have."""
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
        )

    await administer(database, begin)
    try:
        yield
    finally:
        await administer(database, end)
