"""Two servers are told to serve one database: one of them does."""

from __future__ import annotations

import asyncio
import signal

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from netra_backend.app.db.engine import Database
from netra_backend.app.db.serving_lock import SERVING_LOCK
from tests.support.database import on_postgresql
from tests.support.nursery import ForkedServer, Home, Nursery

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE = 30
"""Seconds after which something that should happen is given up; reached only by a test that fails."""


async def _end(nursery: Nursery, server: ForkedServer) -> None:
    server.signal(signal.SIGKILL)
    await nursery.ended(server)


async def _is_ready(server: ForkedServer) -> bool:
    async with httpx.AsyncClient(base_url=server.url) as http:
        return (await http.get("/health/ready")).status_code == 200


async def test_a_second_server_is_refused(nursery: Nursery, home: Home) -> None:
    """It ends with 1 after a while and has served nobody; the first one goes on."""
    first = await nursery.start(home)
    second = await nursery.start(home, predecessor_wait="PT0.1S")
    assert second.url == ""
    assert await nursery.ended(second) == 1
    assert await _is_ready(first)
    await _end(nursery, first)


@on_postgresql
async def test_a_successor_waits_for_the_end_of_its_predecessor(nursery: Nursery, home: Home) -> None:
    """It is started while the first one lives, and serves once that was killed."""
    first = await nursery.start(home)
    starting = asyncio.create_task(nursery.start(home))
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(_sessions, home, "NOT granted"):
            pass
        first.signal(signal.SIGKILL)
        successor = await starting
    assert await _is_ready(successor)
    assert await nursery.ended(first) == -signal.SIGKILL
    await _end(nursery, successor)


@on_postgresql
async def test_a_server_ends_when_another_has_taken_its_database(nursery: Nursery, home: Home) -> None:
    """Its lock is lost and another one's before it can take it again: it ends by itself, with 1."""
    first = await nursery.start(home)
    other = await asyncio.to_thread(Database, home.settings["database_url"])
    try:
        taking = asyncio.create_task(asyncio.to_thread(other.tenure.begin, PATIENCE))
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(_sessions, home, "NOT granted"):
                pass
            await asyncio.to_thread(_sessions, home, "granted", "pg_terminate_backend(pid)")
            await taking
            assert await nursery.ended(first) == 1
            assert not await asyncio.to_thread(_sessions, home, "NOT granted")
    finally:
        await other.close()


def _sessions(home: Home, state: str, what: str = "pid") -> int:
    """How many sessions have the lock, or wait for it; and do something to them."""
    url = home.settings["database_url"].replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    of_lock = f"SELECT {what} FROM pg_locks WHERE objid = :key AND {state}"  # noqa: S608  of this file alone
    with engine.connect() as connection:
        return len(connection.execute(text(of_lock), {"key": SERVING_LOCK & 0xFFFFFFFF}).all())
