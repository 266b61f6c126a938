"""A storm of requests whose callers go away at random moments, and what it may have left behind.

Every user has nonces, one of which is in all that the user may be answered. Whatever is answered later, to anybody,
must hold a nonce of its own user and none of another; then every connection of the pool must be back, outside of a
transaction, and nobody's.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, PoolProxiedConnection, QueuePool, event

from netra_backend.app.db.engine import Database
from netra_backend.app.db.roles import USER_SETTING, Role
from tests.support.database import WAIT_SECONDS

CALLERS: Final = 8
CHECKED: Final = 0.3
"""How often a caller asks in peace after it has gone away from something."""
FIRST_GUESS_S: Final = 0.02

Ask = Callable[[], Awaitable[str]]
Settled = Callable[[], Awaitable[None]]


class Kind(StrEnum):
    """What can be wrong after a caller has gone away."""

    FOREIGN = "a user was answered with another's nonce"
    MISSING = "a user was answered without the own nonce"
    FAILED = "a request failed"
    LOST = "a connection did not come back to the pool"
    IN_TRANSACTION = "a connection came back inside a transaction"
    NOT_CLEAN = "a connection came back with somebody's role or user"


@dataclass(frozen=True, slots=True)
class Owner:
    """A user of the storm.

    Attributes:
        nonces: of which one at least is in all that the user is answered, and none in what anybody else is.
        asks: what the user may ask; each returns what was answered.
    """

    nonces: Sequence[str]
    asks: Sequence[Ask]


@dataclass
class Report:
    """What a storm has shown.

    Attributes:
        cancelled: requests whose caller went away before the answer.
        in_statement: those of them during which a connection was at work.
        answered: answers that were looked through.
        findings: how often each thing was wrong.
        details: of the first findings.
    """

    cancelled: int = 0
    in_statement: int = 0
    answered: int = 0
    findings: Counter[Kind] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)

    def find(self, kind: Kind, detail: str) -> None:
        """Something is wrong."""
        self.findings[kind] += 1
        if len(self.details) < 20:
            self.details.append(f"{kind}: {detail}")

    def __str__(self) -> str:
        found = ", ".join(f"{count} x {kind}" for kind, count in self.findings.items()) or "nothing wrong"
        return (
            f"{self.cancelled} cancelled ({self.in_statement} while a statement was under way), "
            f"{self.answered} answers looked through: {found}"
        )


async def _at_once() -> None:
    """Whoever cancels has waited for the end."""


async def storm(
    owners: Sequence[Owner], database: Database, *, cancellations: int, seed: int, settled: Settled = _at_once
) -> Report:
    """Let callers ask and go away, then look at what is left.

    Args:
        owners: who asks.
        database: what is asked in the end.
        cancellations: how many times a caller goes away before the answer.
        seed: of who asks what, and when each goes away.
        settled: returns when what was begun for those who have gone is over.
    """
    report = Report()
    typical = FIRST_GUESS_S
    loop = asyncio.get_running_loop()

    def look_at(owner: Owner, task: asyncio.Task[str]) -> None:
        if error := task.exception():
            report.find(Kind.FAILED, f"{type(error).__name__}: {error}")
            return
        answer = task.result()
        report.answered += 1
        if not any(nonce in answer for nonce in owner.nonces):
            report.find(Kind.MISSING, answer[:200])
        for other in owners:
            if other is not owner and any(nonce in answer for nonce in other.nonces):
                report.find(Kind.FOREIGN, f"the user of {owner.nonces} was told: {answer[:200]}")

    async def in_peace(owner: Owner, ask: Ask) -> None:
        nonlocal typical
        started = loop.time()
        task = asyncio.ensure_future(ask())
        await asyncio.wait({task})
        typical += (min(loop.time() - started, 1.0) - typical) / 10
        look_at(owner, task)

    async def caller(number: int) -> None:
        random = Random(f"{seed} {number}")
        while report.cancelled < cancellations:
            owner = random.choice(owners)
            task = asyncio.ensure_future(random.choice(owner.asks)())
            await asyncio.wait({task}, timeout=random.uniform(0, typical))
            if task.done():
                look_at(owner, task)
            else:
                at_work = _pool(database).checkedout()
                task.cancel()
                await asyncio.wait({task})
                report.cancelled += 1
                report.in_statement += at_work > 0
            if random.random() < CHECKED:
                next_one = random.choice(owners)
                await in_peace(next_one, random.choice(next_one.asks))

    with _watched(database, report):
        await asyncio.gather(*(caller(number) for number in range(CALLERS)))
        await settled()
        await _calm(database, report)
    await asyncio.to_thread(_look_at_pool, database, report)
    for owner in owners:
        for ask in owner.asks:
            await in_peace(owner, ask)
    return report


def _pool(database: Database) -> QueuePool:
    pool = database.storage.read_engine.pool
    assert isinstance(pool, QueuePool)
    return pool


@contextmanager
def _watched(database: Database, report: Report) -> Iterator[None]:
    """Look at each connection that comes back to the pool."""

    def came_back(connection: Any, _record: Any) -> None:
        if connection is not None and _is_in_transaction(connection):
            report.find(Kind.IN_TRANSACTION, repr(connection))

    engine = database.storage.read_engine
    event.listen(engine, "checkin", came_back)
    try:
        yield
    finally:
        event.remove(engine, "checkin", came_back)


async def _calm(database: Database, report: Report) -> None:
    """Let every reader meet the others: what they had still to do for those who are gone is done then."""
    readers = _pool(database).size()
    together = threading.Barrier(readers)

    async def meet() -> None:
        try:
            await database.read(lambda _connection: together.wait(WAIT_SECONDS))
        except Exception as error:
            together.abort()
            report.find(Kind.LOST, f"the pool's {readers} readers did not meet: {type(error).__name__}")

    await asyncio.gather(*(meet() for _ in range(readers)))


def _look_at_pool(database: Database, report: Report) -> None:
    """Take every connection out of the pool, as the next users would, and see whose each is."""
    pool = _pool(database)
    for _ in range(pool.checkedout()):
        report.find(Kind.LOST, pool.status())
    lent: list[PoolProxiedConnection] = []
    try:
        lent += [database.storage.read_engine.raw_connection() for _ in range(pool.size() - pool.checkedout())]
        for connection in lent:
            if (left := _left_behind(database, connection)) is not None:
                report.find(Kind.NOT_CLEAN, left)
    finally:
        for connection in lent:
            connection.close()


def _is_in_transaction(connection: Any) -> bool:
    if isinstance(connection, sqlite3.Connection):
        return connection.in_transaction
    return bool(connection.info.transaction_status != TransactionStatus.IDLE)


def _left_behind(database: Database, pooled: PoolProxiedConnection) -> str | None:
    """Whose a connection still is; None when it is nobody's."""
    engine = database.storage.read_engine
    if engine.dialect.name != "postgresql":
        return None
    connection = Connection(engine, connection=pooled)
    with connection.begin():
        row = connection.exec_driver_sql("SELECT current_user, current_setting(%s, true)", (USER_SETTING,)).one()
    return None if row[0] == Role.USER and not row[1] else f"{row[0]} for {row[1]}"
