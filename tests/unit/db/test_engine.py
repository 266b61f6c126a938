"""The database: private files, readers that cannot write, and what SQLite is really set to."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from contextvars import ContextVar
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from netra_backend.app.db.engine import Database
from netra_backend.app.db.errors import DatabaseInUseError, DatabaseOpenError, StorageUnavailableError
from netra_backend.app.db.system_operations import find_user_by_email
from tests.support.database import (
    FILE,
    WAIT_SECONDS,
    Backend,
    add_users,
    administer,
    all_rows,
    database_url,
    on_sqlite,
    open_database,
    user_row,
    writer_held,
)


def _pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@on_sqlite
async def test_nobody_else_may_read_the_files(backend: Backend, tmp_path: Path) -> None:
    """The database and its journals have mode 0600, whatever the process's umask would allow."""
    before = os.umask(0)
    try:
        database = await asyncio.to_thread(Database, database_url(tmp_path / "data"))
        await database.writer.run(lambda connection: connection.execute(text("CREATE TABLE t (n)")))
        await database.read(lambda connection: connection.execute(text("SELECT * FROM t")).all())
        modes = {path.name: _mode(path) for path in (tmp_path / "data").iterdir()}
        await database.close()
    finally:
        os.umask(before)
    assert {FILE, f"{FILE}-wal", f"{FILE}-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}


@on_sqlite
async def test_a_file_that_came_from_elsewhere_is_closed_to_others(backend: Backend, tmp_path: Path) -> None:
    """A database that was copied into its place with another mode is for its owner only once it is opened."""
    backend.lay(tmp_path)
    (tmp_path / FILE).chmod(0o666)
    async with open_database(tmp_path):
        assert _mode(tmp_path / FILE) == 0o600


@on_sqlite
async def test_a_database_is_opened_once(backend: Backend, tmp_path: Path) -> None:
    """While one server has the database a second one is refused and the first goes on; once closed, it may be had."""
    async with open_database(tmp_path) as database:
        for _ in range(2):
            with pytest.raises(DatabaseInUseError):
                await asyncio.to_thread(Database, database_url(tmp_path))
        await add_users(database, "alice")
    async with open_database(tmp_path) as database:
        await add_users(database, "bob")


@on_sqlite
async def test_damage_that_is_met_while_serving_is_unavailable_storage(backend: Backend, tmp_path: Path) -> None:
    """A statement that meets a damaged page is not taken for a wrong statement, neither read nor written."""
    async with open_database(tmp_path) as database:
        await add_users(database, "alice")
    with (tmp_path / FILE).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    database = await asyncio.to_thread(Database, database_url(tmp_path))
    try:
        for ask in (database.read, database.writer.run):
            with pytest.raises(StorageUnavailableError, match="malformed"):
                await ask(lambda connection: find_user_by_email(connection, "alice@example.org"))
    finally:
        await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://u:secret-word@host/db",
        "postgresql+asyncpg://u:secret-word@host/db",
        "u:secret-word@host",
        "postgresql://u:secret-word@host:port/db",
    ],
)
def test_other_databases_are_refused_without_their_password(url: str) -> None:
    """What is neither an SQLite file nor a PostgreSQL database is refused at once, with no password in the refusal."""
    with pytest.raises(ValueError, match=r"database_url: expected (sqlite:///PATH|postgresql://)") as caught:
        Database(url)
    assert "secret-word" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a PostgreSQL database without its driver is told which extra to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseOpenError, match=r"PostgreSQL needs psycopg; install .* 'netra\[cluster\]'"):
        Database("postgresql://host/name")


@on_sqlite
async def test_the_pragmas_are_set_on_every_connection(database: Database) -> None:
    """Reader and writer are in WAL mode, sync in full and enforce foreign keys."""

    def settings(connection: Connection) -> tuple[object, ...]:
        return tuple(
            _pragma(connection, name)
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")
        )

    full = 2
    assert await database.writer.run(settings) == ("wal", full, 1, 5_000, 0)
    assert await database.read(settings) == ("wal", full, 1, 5_000, 1)


async def test_every_reader_of_the_pool_refuses_to_write(backend: Backend, tmp_path: Path) -> None:
    """However many read at once, none of their connections can write, whatever role they act as."""
    count = 3
    together = threading.Barrier(count)

    def work(connection: Connection) -> None:
        together.wait(WAIT_SECONDS)  # so that each has a connection of its own
        user_row(connection, "mallory")

    async with open_database(tmp_path, reader_threads=count) as database:
        refusals = await asyncio.gather(*(database.read(work) for _ in range(count)), return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [StorageUnavailableError] * count
        assert "readonly" in str(refusals[0]).replace("-", "")
        assert (await all_rows(database))["users"] == []


async def test_a_read_is_one_moment(database: Database) -> None:
    """Two statements of one read see the same rows, though a commit came between them."""
    await add_users(database, "alice")
    loop = asyncio.get_running_loop()
    counted, committed = asyncio.Event(), threading.Event()

    def work(connection: Connection) -> tuple[object, object]:
        first = find_user_by_email(connection, "bob@example.org")
        loop.call_soon_threadsafe(counted.set)
        committed.wait(WAIT_SECONDS)
        return first, find_user_by_email(connection, "bob@example.org")

    reading = asyncio.ensure_future(database.read(work))
    await counted.wait()
    await add_users(database, "bob")
    committed.set()
    assert await reading == (None, None)
    assert await database.read(lambda connection: find_user_by_email(connection, "bob@example.org")) is not None


async def test_reads_do_not_wait_for_the_writer(database: Database) -> None:
    """A reader is served while the writer is inside a transaction."""
    async with writer_held(database):
        assert await database.read(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1


@on_sqlite
async def test_foreign_keys_are_enforced(database: Database) -> None:
    """A row that belongs to nobody is refused."""
    orphan = text(
        "INSERT INTO threads (user_id, thread_id, created_at, updated_at, last_seq) VALUES ('nobody', 't', '', '', 0)"
    )
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        await administer(database, lambda connection: connection.execute(orphan))


async def test_a_read_that_fails_leaves_its_connection_usable(backend: Backend, tmp_path: Path) -> None:
    """What the work raises is passed on, and the pool's only connection serves the next."""
    async with open_database(tmp_path, reader_threads=1) as database:
        with pytest.raises(ZeroDivisionError):
            await database.read(lambda _connection: 1 / 0)
        with pytest.raises(DBAPIError, match="nowhere"):
            await database.read(lambda connection: connection.execute(text("SELECT * FROM nowhere")))
        assert await database.read(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1


async def test_a_cancelled_reader_does_not_take_its_connection_along(backend: Backend, tmp_path: Path) -> None:
    """A caller who goes away in the middle of a statement leaves the pool's only connection to the next one, whole."""
    loop = asyncio.get_running_loop()
    entered, leave = asyncio.Event(), threading.Event()

    def work(connection: Connection) -> None:
        loop.call_soon_threadsafe(entered.set)
        leave.wait(WAIT_SECONDS)
        connection.execute(text("SELECT 1"))

    async with open_database(tmp_path, reader_threads=1) as database:
        reading = asyncio.ensure_future(database.read(work))
        await entered.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        following = asyncio.ensure_future(
            database.read(lambda connection: connection.execute(text("SELECT 2")).scalar())
        )
        leave.set()
        assert await following == 2


async def test_a_read_sees_the_callers_context_variables(database: Database) -> None:
    """The reader thread works under a copy of the caller's context: it reads it and cannot change it."""
    variable: ContextVar[str] = ContextVar("variable", default="nobody")
    variable.set("alice")

    def work(_connection: Connection) -> str:
        seen = variable.get()
        variable.set("mallory")
        return seen

    assert await database.read(work) == "alice"
    assert variable.get() == "alice"


async def test_closing_while_somebody_reads_does_not_block_the_event_loop(backend: Backend, tmp_path: Path) -> None:
    """`close` waits for a read under way without stopping everybody else, on whom that read may depend."""
    loop = asyncio.get_running_loop()
    entered, leave = asyncio.Event(), threading.Event()
    answered_by_the_loop: list[bool] = []

    def work(_connection: Connection) -> None:
        loop.call_soon_threadsafe(entered.set)
        answered_by_the_loop.append(leave.wait(2))

    async with open_database(tmp_path) as database:
        reading = asyncio.ensure_future(database.read(work))
        await entered.wait()
        closing = asyncio.ensure_future(database.close())
        await asyncio.sleep(0)  # one turn of the loop, in which it begins
        leave.set()
        await asyncio.gather(closing, reading)
    assert answered_by_the_loop == [True]


async def test_a_closed_database_says_so(backend: Backend, tmp_path: Path) -> None:
    """Reading or writing after `close` is refused like a database that is gone, and closing twice is right."""
    async with open_database(tmp_path) as database:
        await add_users(database, "alice")
        await database.close()
        with pytest.raises(StorageUnavailableError):
            await database.writer.run(lambda _connection: None)
        with pytest.raises(StorageUnavailableError):
            await database.read(lambda _connection: None)
