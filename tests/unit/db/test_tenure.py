"""Tenure: of all servers that would serve a database one does, whatever becomes of its connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, make_url, text

from netra_backend.app.db.engine import Database
from netra_backend.app.db.errors import DatabaseInUseError, DatabaseOpenError, StorageUnavailableError
from netra_backend.app.db.serving_lock import SERVING_LOCK
from netra_backend.app.db.tenure import LEASE_SECONDS, Tenure
from netra_backend.app.runs.ledger import ClaimRun, Ledger
from netra_backend.app.services.run_state import RunStatus
from tests.support.database import (
    Backend,
    PostgresDatabases,
    add_users,
    administer,
    database_url,
    lay_database,
    on_postgresql,
)
from tests.support.severed_connection import way_to
from tests.support.stored_runs import Published, message

PATIENCE: Final = 20
"""Seconds after which something that should happen is given up; reached only by a test that fails."""

_OF_LOCK: Final = "FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint << 32 | objid::bigint = :key"
_WAITING: Final = text(f"SELECT count(*) {_OF_LOCK} AND NOT granted").bindparams(key=SERVING_LOCK)
_END: Final = text(f"SELECT pg_terminate_backend(pid) {_OF_LOCK} AND granted").bindparams(key=SERVING_LOCK)


class Loss:
    """Whoever is told that another server has taken the database."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    def __call__(self) -> None:
        self.told.set()


@asynccontextmanager
async def _node(url: str) -> AsyncIterator[Database]:
    database = await asyncio.to_thread(Database, url)
    try:
        yield database
    finally:
        await database.close()


async def _until_somebody_waits(database: Database) -> None:
    def waiting(connection: Connection) -> bool:
        return bool(connection.execute(_WAITING).scalar_one())

    async with asyncio.timeout(PATIENCE):
        while not await administer(database, waiting):
            pass


async def _end_session_of_holder(database: Database) -> None:
    await administer(database, lambda connection: connection.execute(_END).all())


class Looks:
    """What a node has seen of its lock each time it looked."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._was_lost = False
        self.held_again = threading.Event()
        self._watch = database.storage.watch
        monkeypatch.setattr(database.storage, "watch", self._look)

    def _look(self, seconds: float, stop: threading.Event) -> bool:
        is_held = self._watch(seconds, stop)
        self._was_lost = self._was_lost or not is_held
        if self._was_lost and is_held:
            self._was_lost = False
            self.held_again.set()
        return is_held

    async def until_held_again(self) -> None:
        """Wait until it was lost and is held again."""
        assert await asyncio.to_thread(self.held_again.wait, PATIENCE)
        self.held_again.clear()


async def test_a_database_has_one_server(backend: Backend, tmp_path: Path) -> None:
    """While one serves, a second is refused, told which database and what to do; once it has ended, another may."""
    await asyncio.to_thread(lay_database, tmp_path)

    async def serve() -> None:
        async with _node(database_url(tmp_path)) as database:
            await asyncio.to_thread(database.tenure.begin, 0)
            with pytest.raises(DatabaseInUseError) as refused:
                async with _node(database_url(tmp_path)) as second:
                    await asyncio.to_thread(second.tenure.begin, 0)
            assert database.storage.name in str(refused.value)
            assert "database of its own" in str(refused.value)
            await database.tenure.watch(lambda: None)
            assert database.tenure.is_held

    await serve()
    await serve()


@on_postgresql
async def test_commands_may_work_beside_a_server(database: Database, tmp_path: Path) -> None:
    """Only who serves needs the lock: a second node that does not serve writes, and claims as its attempts let it."""
    await asyncio.to_thread(database.tenure.begin, 0)
    async with _node(database_url(tmp_path)) as command:
        await add_users(command, "alice")
        await Ledger(command, Published()).write(message("alice", "t", "r"))
        await Ledger(command, Published()).write(ClaimRun("alice", "r"))


@on_postgresql
async def test_a_predecessor_that_ends_is_waited_for(database: Database, tmp_path: Path) -> None:
    """A server that starts while the one before is ending has the database as soon as that has ended."""
    async with _node(database_url(tmp_path)) as predecessor:
        await asyncio.to_thread(predecessor.tenure.begin, 0)
        starting = asyncio.create_task(asyncio.to_thread(database.tenure.begin, PATIENCE))
        await _until_somebody_waits(database)
    async with asyncio.timeout(PATIENCE):
        await starting
    assert database.tenure.is_held


@on_postgresql
async def test_a_lost_lock_is_taken_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After PostgreSQL has ended its session a server holds the lock again, and nobody was told to end."""
    loss = Loss()
    looks = Looks(database, monkeypatch)
    await asyncio.to_thread(database.tenure.begin, 0)
    await database.tenure.watch(loss)
    for _ in range(2):
        await _end_session_of_holder(database)
        await looks.until_held_again()
    assert not loss.told.is_set()


@on_postgresql
async def test_a_server_whose_lock_another_has_begins_nothing(database: Database, tmp_path: Path) -> None:
    """Once another server has it, the first is told to end, and cannot claim a run any more: the other one can."""
    await add_users(database, "alice")
    stored = await Ledger(database, Published()).write(message("alice", "t", "r"))
    loss = Loss()
    await asyncio.to_thread(database.tenure.begin, 0)
    await database.tenure.watch(loss)
    async with _node(database_url(tmp_path)) as other:
        taking = asyncio.create_task(asyncio.to_thread(other.tenure.begin, PATIENCE))
        await _until_somebody_waits(database)
        await _end_session_of_holder(database)
        async with asyncio.timeout(PATIENCE):
            await taking
            await loss.told.wait()
        assert isinstance(database.tenure.failure, DatabaseInUseError)
        with pytest.raises(StorageUnavailableError, match="keeps other servers away"):
            await Ledger(database, Published()).write(ClaimRun("alice", stored.run.run_id))
        claimed = await Ledger(other, Published()).write(ClaimRun("alice", stored.run.run_id))
        assert (claimed.run.status, claimed.run.attempt) == (RunStatus.RUNNING, 1)


@on_postgresql
async def test_a_server_is_not_kept_out_by_its_own_ghost(
    backend: PostgresDatabases, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the way to PostgreSQL breaks and only the server notices, it takes the lock from its own dead session."""
    with way_to(backend.server.port) as way:
        url = make_url(database_url(tmp_path)).set(port=way.port, query={"sslmode": "disable", "gssencmode": "disable"})
        async with _node(url.render_as_string(hide_password=False)) as far:
            loss = Loss()
            looks = Looks(far, monkeypatch)
            await asyncio.to_thread(far.tenure.begin, 0)
            await far.tenure.watch(loss)
            await asyncio.to_thread(way.strand)
            await looks.until_held_again()
            assert not loss.told.is_set()


@on_postgresql
async def test_an_answer_counts_for_a_while_only(database: Database) -> None:
    """When PostgreSQL says nothing more, a server holds its lock for lost before PostgreSQL gives it to another."""
    time = [100.0]
    tenure = Tenure(database.storage, lambda: time[0])
    await asyncio.to_thread(tenure.begin, 0)
    time[0] += LEASE_SECONDS - 0.1
    assert tenure.is_held
    time[0] += 0.1
    assert not tenure.is_held


@on_postgresql
async def test_a_database_that_does_not_answer_is_told_at_the_start(database: Database, tmp_path: Path) -> None:
    """Asking for the lock is the first thing a start does; the words are those of every start."""
    url = make_url(database_url(tmp_path)).set(port=1)
    async with _node(url.render_as_string(hide_password=False)) as nowhere:
        with pytest.raises(DatabaseOpenError, match="expected a PostgreSQL database that answers"):
            await asyncio.to_thread(nowhere.tenure.begin, 0)
