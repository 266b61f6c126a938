"""Databases for tests: a real SQLite file, brought to the newest schema, in a folder of the test's own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Connection, Engine, Row, select

from netra_backend.app.db.engine import Database
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.system_operations import insert_user
from netra_backend.app.db.tables import metadata

FILE = "netra.sqlite3"
SIGNED_UP = datetime(2026, 1, 1, tzinfo=UTC)
WAIT_SECONDS = 10
"""How long a thread of a test waits for the other side before it goes on: never reached unless the test fails."""


def database_url(folder: Path) -> str:
    """The URL of a folder's database."""
    return f"sqlite:///{folder / FILE}"


@cache
def _newest() -> bytes:
    with TemporaryDirectory() as folder:
        database = Database(database_url(Path(folder)))
        upgrade(database.write_engine)
        asyncio.run(database.close())  # the last connection takes the write-ahead log into the file
        return (Path(folder) / FILE).read_bytes()


def lay_database(folder: Path) -> Path:
    """Put a database of the newest schema and without rows into a folder; one that is there already stays."""
    path = folder / FILE
    if not path.exists():
        path.write_bytes(_newest())
    return path


@contextmanager
def writing_engine(folder: Path) -> Iterator[Engine]:
    """The engine that writes to a folder's migrated database, for tests without an event loop."""
    lay_database(folder)
    database = Database(database_url(folder))
    try:
        yield database.write_engine
    finally:
        asyncio.run(database.close())


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
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated database in the test's folder."""
    async with open_database(tmp_path) as opened:
        yield opened


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


def rows(connection: Connection) -> dict[str, Sequence[Row[tuple[object, ...]]]]:
    """Every row of every table, by the table's name."""
    return {
        table.name: connection.execute(select(table).order_by(*table.primary_key)).all()
        for table in metadata.sorted_tables
    }


async def all_rows(database: Database) -> dict[str, Sequence[Row[tuple[object, ...]]]]:
    """Every committed row of every table, by the table's name."""
    return await database.read(rows)


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
    await _pragma(database, "max_page_count = 1")  # SQLite takes the present size for a smaller one
    try:
        yield
    finally:
        await _pragma(database, "max_page_count = 1073741823")


@asynccontextmanager
async def storage_refused(database: Database) -> AsyncIterator[None]:
    """Refuse every write in the block, since another connection keeps the lock; the writer gives up at once."""
    await _pragma(database, "busy_timeout = 1")
    path = database.write_engine.url.database
    assert path is not None
    other = await asyncio.to_thread(sqlite3.connect, path, isolation_level=None, check_same_thread=False)
    try:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        yield
        await asyncio.to_thread(other.execute, "ROLLBACK")
    finally:
        await asyncio.to_thread(other.close)
