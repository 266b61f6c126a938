"""A storm of requests that are cancelled at random moments, over a slow database.

Users read and write what holds their own nonce, all at once; most requests are cancelled at a random moment, in the middle
of whatever they were doing. The database is slow below its driver: PostgreSQL behind a proxy that delays each piece of
the conversation, SQLite by a handler that its virtual machine calls. Whoever gets an answer must get its own; at the
end every read returns its owner's nonces, no pooled connection is inside a transaction, and the pool is full again.

    python -m benchmarks.cancellation [--requests 2000] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from starlette.types import Receive, Scope, Send

from netra_backend.app.api.state import Services
from netra_backend.app.config import Settings
from netra_backend.app.main import create_app
from tests.support.database import superuser_url
from tests.support.postgres import postgres
from tests.support.severed_connection import way_to

USERS: Final = 8
AT_ONCE: Final = 24
PARTIES_LIMIT_S: Final = 30.0
SQLITE_STEPS: Final = 20
"""Steps of SQLite's virtual machine between two delays."""


@dataclass(slots=True)
class User:
    """A user of the storm.

    Attributes:
        http: calls carry the user's token.
        nonce: stands in everything that the user writes, and nowhere else.
        threads: that are known to have been made.
    """

    http: httpx.AsyncClient
    user_id: str
    nonce: str
    threads: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What a storm has left.

    Attributes:
        answered: requests that ended before they were cancelled.
        cancelled: requests that did not.
        foreign: answers with another user's nonce, or none of the asker's where there must be one.
        failed: answers with a status that no request of the storm may have.
        checked_out: pooled connections that nobody has given back.
        in_transaction: pooled connections inside a transaction.
        missing: places of the pool that are not there any more.
    """

    answered: int = 0
    cancelled: int = 0
    foreign: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    checked_out: int = 0
    in_transaction: int = 0
    missing: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nobody got what is another's, nothing failed, and every connection is back as it was."""
        return not (self.foreign or self.failed or self.checked_out or self.in_transaction or self.missing)


class Storm:
    """Requests to an app in the process, so that a cancellation reaches whatever the handler awaits.

    Args:
        services: the app's.
        users: who ask.
        seed: of whatever is random.
        longest: seconds after which a request is cancelled at the latest, if it is.
    """

    def __init__(self, services: Services, users: list[User], seed: int, longest: float) -> None:
        self.outcome = Outcome()
        self._services = services
        self._users = users
        self._random = random.Random(seed)
        self._longest = longest

    async def rage(self, requests: int) -> None:
        """Send so many requests, a few at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with gate:
                await self._request(self._random.choice(self._users))

        async with asyncio.TaskGroup() as group:
            for _ in range(requests):
                group.create_task(one())

    async def _request(self, user: User) -> None:
        ask = self._random.choice((self._list, self._make, self._rename, self._say, self._read, self._me, self._export))
        asking = asyncio.ensure_future(ask(user))
        seconds = self._random.uniform(0, self._longest)
        done, _ = await asyncio.wait({asking}, timeout=seconds)
        if not done:
            asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        if asking.cancelled():
            self.outcome.cancelled += 1
        else:
            self.outcome.answered += 1

    async def _call(self, user: User, method: str, path: str, *, own: str | None = None, **options: Any) -> Any:
        """Make a call and hold its answer against whose it may be.

        Args:
            user: who asks.
            method: of the call.
            path: of the call.
            own: what must be in the answer.
            options: of the client.

        Returns:
            The answer's JSON, or its text; None when it is a refusal.
        """
        answer = await user.http.request(method, path, **options)
        call = f"{method} {path}"
        if answer.status_code not in (200, 201, 202, 404, 429):
            self.outcome.failed.append(f"{call}: {answer.status_code} {answer.text[:200]}")
            return None
        foreign = [other.nonce for other in self._users if other is not user and other.nonce in answer.text]
        if foreign or (own is not None and own not in answer.text):
            self.outcome.foreign.append(f"{call}: {answer.status_code} {answer.text[:200]}")
        if answer.status_code >= 400:
            return None
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.text

    def _thread(self, user: User) -> str:
        return self._random.choice(user.threads)

    async def _list(self, user: User) -> None:
        await self._call(user, "GET", "/api/threads", own=user.nonce)

    async def _me(self, user: User) -> None:
        await self._call(user, "GET", "/auth/me", own=user.user_id)

    async def _export(self, user: User) -> None:
        await self._call(user, "GET", "/auth/me/export", own=user.nonce)

    async def _make(self, user: User) -> None:
        title = f"{user.nonce} {self._random.random()}"
        made = await self._call(user, "POST", "/api/threads", own=title, json={"title": title})
        if made is not None:
            user.threads.append(made["thread_id"])

    async def _rename(self, user: User) -> None:
        title = f"{user.nonce} {self._random.random()}"
        path = f"/api/threads/{self._thread(user)}"
        await self._call(user, "PATCH", path, own=title, json={"title": title})

    async def _say(self, user: User) -> None:
        body = {"text": user.nonce, "agent": "gate", "client_message_id": str(uuid4())}
        await self._call(user, "POST", f"/api/threads/{self._thread(user)}/messages", json=body)

    async def _read(self, user: User) -> None:
        thread_id = self._thread(user)
        await self._call(user, "GET", f"/api/threads/{thread_id}", own=user.nonce)
        await self._call(user, "GET", f"/api/threads/{thread_id}/messages")

    async def settle(self) -> None:
        """After the storm: every user reads everything, and every connection is looked at."""
        for user in self._users:
            await self._me(user)
            await self._list(user)
            await self._export(user)
            for thread_id in user.threads:
                await self._call(user, "GET", f"/api/threads/{thread_id}", own=user.nonce)
        database = self._services.database
        await asyncio.to_thread(self._count_connections)
        parties = self._services.settings.reader_threads
        barrier = threading.Barrier(parties)

        def meet(_connection: Connection) -> None:
            barrier.wait(PARTIES_LIMIT_S)

        met = await asyncio.gather(*(database.read(meet) for _ in range(parties)), return_exceptions=True)
        self.outcome.missing += sum(isinstance(each, Exception) for each in met)

    def _count_connections(self) -> None:
        for engine in (self._services.database.storage.read_engine, self._services.database.storage.write_engine):
            self.outcome.checked_out += _checked_out(engine)
            if engine.dialect.name == "sqlite":
                self.outcome.in_transaction += _in_transaction_in_sqlite(engine)
            elif engine is self._services.database.storage.read_engine:
                self.outcome.in_transaction += _in_transaction_in_postgresql(self._services.settings.database)


def _checked_out(engine: Engine) -> int:
    """Connections that are not given back, once whoever was at work has had time to."""
    deadline = time.monotonic() + 5
    while (count := engine.pool.checkedout()) and time.monotonic() < deadline:  # type: ignore[attr-defined]
        time.sleep(0.01)
    return int(count)


def _in_transaction_in_sqlite(engine: Engine) -> int:
    count = engine.pool.checkedin()  # type: ignore[attr-defined]  # a QueuePool's
    taken = [engine.raw_connection() for _ in range(count)]
    try:
        return sum(bool(each.driver_connection and each.driver_connection.in_transaction) for each in taken)
    finally:
        for each in taken:
            each.close()


def _in_transaction_in_postgresql(url: str) -> int:
    """What the server itself says, after what is still at work has had time to end."""
    engine = create_engine(superuser_url(url))
    statement = text(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'netra' AND datname = :name"
        " AND state LIKE 'idle in transaction%'"
    )
    deadline = time.monotonic() + 5
    try:
        while True:
            with engine.connect() as connection:
                count = int(connection.execute(statement, {"name": make_url(url).database}).scalar_one())
            if not count or time.monotonic() > deadline:
                return count
            time.sleep(0.05)
    finally:
        engine.dispose()


@contextmanager
def slowed(services: Services, delay: float) -> Iterator[None]:
    """Every connection of an SQLite database is slow for the block; another database is left alone.

    Args:
        services: the app's.
        delay: the most seconds that some steps take.
    """
    engines = (services.database.storage.read_engine, services.database.storage.write_engine)
    if engines[0].dialect.name != "sqlite":
        yield
        return

    def wait() -> int:
        time.sleep(random.uniform(0, delay))
        return 0

    def slow(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(wait, SQLITE_STEPS)

    def quick(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(None, 0)

    for engine in engines:
        event.listen(engine, "checkout", slow)
        event.listen(engine, "checkin", quick)
    try:
        yield
    finally:
        for engine in engines:
            event.remove(engine, "checkout", slow)
            event.remove(engine, "checkin", quick)


@asynccontextmanager
async def storm(settings: Settings, *, seed: int, longest: float) -> AsyncIterator[Storm]:
    """A storm over an app of its own, with users who each have a thread.

    Args:
        settings: of the app; the agent `gate` is there.
        seed: of whatever is random.
        longest: seconds after which a request is cancelled at the latest, if it is.
    """
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:
        services: Services = (state or {})["services"]

        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": {"services": services}}, receive, send)

        transport = httpx.ASGITransport(served, raise_app_exceptions=False)
        users = [await _signed_up(transport, number) for number in range(USERS)]
        try:
            yield Storm(services, users, seed, longest)
        finally:
            for user in users:
                await user.http.aclose()


async def _signed_up(transport: httpx.ASGITransport, number: int) -> User:
    http = httpx.AsyncClient(transport=transport, base_url="http://localhost:8000", timeout=60, verify=False)  # noqa: S501 there is no wire
    account = {"email": f"user-{number}@users.netra.invalid", "password": secrets.token_urlsafe(12)}
    user_id = (await http.post("/auth/register", json=account)).raise_for_status().json()["user_id"]
    form = {"username": account["email"], "password": account["password"]}
    token = (await http.post("/auth/login", data=form)).raise_for_status().json()["access_token"]
    http.headers["authorization"] = f"Bearer {token}"
    nonce = f"nonce-{secrets.token_hex(8)}"
    made = (await http.post("/api/threads", json={"title": nonce})).raise_for_status().json()
    return User(http, user_id, nonce, [made["thread_id"]])


async def run(settings: Settings, requests: int, seed: int, *, delay: float, longest: float) -> Outcome:
    """A whole storm, and what it has left.

    Args:
        settings: of the app.
        requests: how many.
        seed: of whatever is random.
        delay: of an SQLite database, in seconds; another one is slow by itself.
        longest: seconds after which a request is cancelled at the latest, if it is.
    """
    async with storm(settings, seed=seed, longest=longest) as raging:
        with slowed(raging._services, delay):
            await raging.rage(requests)
        await raging.settle()
        return raging.outcome


AGENTS: Final = {"gate": "tests.support.agents:GateAgent"}
GENEROUS: Final[dict[str, Any]] = {"messages_per_minute": 100_000, "max_unfinished_runs_per_user": 10_000}


def _tell(name: str, outcome: Outcome) -> None:
    print(
        f"{name}: {outcome.answered} answered, {outcome.cancelled} cancelled; {len(outcome.foreign)} foreign answers, "
        f"{len(outcome.failed)} failures, {outcome.checked_out} connections not given back, "
        f"{outcome.in_transaction} inside a transaction, {outcome.missing} places of the pool missing"
    )
    for told in (*outcome.foreign[:5], *outcome.failed[:5]):
        print(f"  {told}")


def main() -> int:
    """Run the storm over both databases; 1 when one has left anything behind."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cancellation", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--requests", type=int, default=2_000, help="over each database (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="of whatever is random (default 1)")
    options = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder) / "sqlite", agents=AGENTS, **GENEROUS)
        outcomes.append(asyncio.run(run(settings, options.requests, options.seed, delay=0.002, longest=0.3)))
        _tell("SQLite", outcomes[-1])
        with postgres() as server:
            url = make_url(server.url(server.create()))
            with way_to(url.port or 0) as way:
                way.delay = 0.01
                told = url.set(port=way.port).render_as_string(hide_password=False)
                settings = Settings(data_dir=Path(folder) / "postgresql", database_url=told, agents=AGENTS, **GENEROUS)
                outcomes.append(asyncio.run(run(settings, options.requests, options.seed, delay=0, longest=0.6)))
                _tell("PostgreSQL", outcomes[-1])
    return int(not all(outcome.is_clean and outcome.cancelled for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
