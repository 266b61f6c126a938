"""The three ways in which the caller of a request goes away, each as a storm over a slowed database.

As a program, it runs them all over both databases: `python -m tests.support.storms 2000`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import httpx
import orjson
import uvicorn
from sqlalchemy import text

from netra_backend.app.db.engine import Database
from netra_backend.app.db.repositories.accounts import AccountRepository
from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.db.repositories.runs import RunRepository
from netra_backend.app.db.repositories.threads import ThreadRepository
from netra_backend.app.db.repositories.usage_records import UsageRecordRepository
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.database import KINDS, Backend, PostgresDatabases, SqliteFiles, administer
from tests.support.postgres import postgres
from tests.support.served_app import Served, started
from tests.support.slowed import slowed
from tests.support.storm import Ask, Kind, Owner, Report, Settled, storm
from tests.support.usage_records import csv_of

USERS: Final = 5
BASE_URL: Final = "http://localhost"
UNLIMITED: Final[dict[str, Any]] = {
    "agents": {"gate": "tests.support.agents:GateAgent"},
    "messages_per_minute": 10**9,
    "max_connections_per_user": 10**6,
    "max_unfinished_runs_per_user": 10**6,
    "sweep_interval": timedelta(days=1),  # nobody but the callers asks the database
}


class Goodbye(StrEnum):
    """How a caller goes away."""

    TASK = "the task of a repository's call is cancelled"
    ASGI = "the server tells the app that the client is gone, or cancels its task"
    HTTP = "the client drops its connection"


async def stormy(
    backend: Backend, folder: Path, *, cancellations: int, seed: int, users: int = USERS
) -> AsyncIterator[tuple[Goodbye, Report]]:
    """A storm for each way to go away, over an app with a slowed database of its own.

    Args:
        backend: the kind of database.
        folder: for the app's data.
        cancellations: of each storm.
        seed: of everything random.
        users: how many.

    Yields:
        How callers went away, and what that has shown.
    """
    with slowed(backend, folder, seed) as (url, slow_down, pauses):
        async with started(folder, database_url=url, **UNLIMITED) as app:
            people = [await _moved_in(app) for _ in range(users)]
            database = app.services.database
            slow_down(database.storage)
            pauses.are_on = True
            async with _listening(app) as (address, settled):
                owners = {
                    Goodbye.TASK: [person.by_repository(database) for person in people],
                    Goodbye.ASGI: [person.by_http(partial(_ask_app, app, Random(seed))) for person in people],
                    Goodbye.HTTP: [person.by_http(partial(_ask_server, address)) for person in people],
                }
                for goodbye, asking in owners.items():
                    before = pauses.count
                    report = await storm(asking, database, cancellations=cancellations, seed=seed, settled=settled)
                    if pauses.count == before:
                        report.find(Kind.FAILED, "the database was not slowed")
                    for fault in await _seen_by_the_server(database):
                        report.find(Kind.IN_TRANSACTION, fault)
                    yield goodbye, report


class _Person:
    """A user with something of every kind, each with the user's nonce in it."""

    def __init__(self, nonce: str, user_id: str, token: str, thread_id: str, run_id: str) -> None:
        self._nonce = nonce
        self._nonces = (nonce, user_id, thread_id, run_id)
        self._user_id = user_id
        self._token = token
        self._thread_id = thread_id
        self._run_id = run_id

    def by_repository(self, database: Database) -> Owner:
        """What the user may ask repositories."""
        context = UserExecutionContext.from_request(self._user_id, self._thread_id, self._run_id)
        threads = ThreadRepository(context, database)
        title = f"{self._nonce} renamed"

        async def export() -> str:
            return str([row async for row in AccountRepository(context, database).export()])

        asks: list[Callable[[], Any]] = [
            lambda: AccountRepository(context, database).get(),
            lambda: RunRepository(context, database).get(self._run_id),
            lambda: EventLog(context, database).read(0, 10),
            lambda: UsageRecordRepository(context, database).page(limit=5, cursor=None),
            lambda: threads.page(limit=3, cursor=None),
            lambda: threads.messages(self._thread_id, limit=3, cursor=None),
            lambda: threads.get(self._thread_id),
            lambda: threads.rename(self._thread_id, title),
            lambda: threads.create(str(uuid4()), title),
            export,
        ]

        def told(ask: Callable[[], Any]) -> Ask:
            async def ask_and_tell() -> str:
                return str(await ask())

            return ask_and_tell

        return Owner(self._nonces, [told(ask) for ask in asks])

    def by_http(self, send: Callable[[str, str, str, bytes], Any]) -> Owner:
        """What the user may ask over HTTP."""
        thread = f"/api/threads/{self._thread_id}"
        title = orjson.dumps({"title": f"{self._nonce} renamed"})
        requests = [
            ("GET", "/auth/me", b""),
            ("GET", "/auth/me/export", b""),
            ("GET", "/api/threads?limit=3", b""),
            ("GET", thread, b""),
            ("GET", f"{thread}/messages?limit=3", b""),
            ("GET", f"{thread}/events", b""),
            ("GET", f"/api/runs/{self._run_id}", b""),
            ("GET", "/api/usage-records?limit=5", b""),
            ("PATCH", thread, title),
            ("POST", "/api/threads", title),
        ]

        def told(method: str, path: str, body: bytes) -> Ask:
            async def ask_and_tell() -> str:
                answer: bytes = await send(self._token, method, path, body)
                return f"{method} {path}: {answer.decode()}"

            return ask_and_tell

        return Owner(self._nonces, [told(*request) for request in requests])


async def _moved_in(app: Served) -> _Person:
    nonce = f"nonce-{secrets.token_hex(8)}"
    account = {"email": f"{nonce}@users.netra.invalid", "password": secrets.token_urlsafe(12)}
    thread_id = str(uuid4())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE_URL) as client:

        async def post(path: str, **content: Any) -> dict[str, Any]:
            answer = await client.post(path, **content)
            answer.raise_for_status()
            body: dict[str, Any] = answer.json()
            return body

        user_id = (await post("/auth/register", json=account))["user_id"]
        form = {"username": account["email"], "password": account["password"]}
        token = (await post("/auth/login", data=form))["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        records = csv_of(20).replace("small", nonce)
        await post("/api/usage-records", content=records, headers={"content-type": "text/csv"})
        message = {"text": nonce, "agent": "gate", "client_message_id": nonce}
        run_id = (await post(f"/api/threads/{thread_id}/messages", json=message))["run_id"]
        await _ask_app(
            app, Random(), token, "GET", f"/api/threads/{thread_id}/events", b"", stream_until=b'"final":true'
        )
    return _Person(nonce, user_id, token, thread_id, run_id)


async def _ask_app(
    app: Served, random: Random, token: str, method: str, path: str, body: bytes, *, stream_until: bytes = b"id: 1\n"
) -> bytes:
    """Call the app as a server does.

    Args:
        app: to be called.
        random: says in which of the two ways that servers have the app is told of its caller's cancellation.
        token: of the user.
        method: of the request.
        path: of the request, with its query.
        body: of the request, JSON.
        stream_until: where a stream of events is left, which never ends by itself.
    """
    gone = asyncio.Event()
    came = bytearray()
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        if (message := next(messages, None)) is not None:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        came.extend(message.get("body", b""))
        if stream_until in came:
            gone.set()

    path, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        "headers": [
            (b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
        ],
    }  # fmt: skip
    serving = asyncio.ensure_future(app(scope, receive, send))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        gone.set()
        if random.random() < 0.5:
            serving.cancel()
        await asyncio.wait({serving})
        raise
    return bytes(came)


async def _ask_server(address: tuple[str, int], token: str, method: str, path: str, body: bytes) -> bytes:
    """Ask over a connection of one's own, which is dropped without a word when the caller goes away."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        if not path.endswith("/events"):
            return await reader.read()
        return await reader.readuntil(b"\nid: 1\n") + await reader.readuntil(b"\n\n")  # a stream never ends by itself
    finally:
        writer.transport.abort()


class _Quiet(uvicorn.Server):
    """uvicorn in a program that has its own way with signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


@asynccontextmanager
async def _listening(app: Served) -> AsyncIterator[tuple[tuple[str, int], Settled]]:
    """Serve an app that was started already, on a free port of loopback; what it still does can be waited for."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = _Quiet(uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve([listener]))

    async def settled() -> None:
        """The server goes on with requests whose client is gone."""
        while tasks := server.server_state.tasks:
            await asyncio.wait(tasks)

    try:
        yield listener.getsockname(), settled
    finally:
        server.should_exit = True
        await serving


async def _seen_by_the_server(database: Database) -> Sequence[str]:
    """What PostgreSQL says of connections that are not idle outside of a transaction."""
    if database.storage.read_engine.dialect.name != "postgresql":
        return ()
    busy = text(
        "SELECT state || ': ' || query FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'netra' AND state <> 'idle'"
    )
    return await administer(database, lambda connection: connection.execute(busy).scalars().all())


async def _run(backend: Backend, cancellations: int, seed: int) -> bool:
    is_good = True
    with TemporaryDirectory() as folder:
        backend.lay(Path(folder))
        begun = time.monotonic()
        async for goodbye, report in stormy(backend, Path(folder), cancellations=cancellations, seed=seed):
            print(f"{backend.name}, {goodbye}: {report}; {time.monotonic() - begun:.0f} s", flush=True)
            for detail in report.details:
                print(f"  {detail}")
            is_good = is_good and not report.findings
            begun = time.monotonic()
    return is_good


def main(argv: Sequence[str]) -> int:
    """Run every storm; returns 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cancellations", type=int, help="of each storm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=KINDS, action="append", help="both unless one is named")
    options = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    results = []
    if "sqlite" in (options.database or KINDS):
        results.append(asyncio.run(_run(SqliteFiles(), options.cancellations, options.seed)))
    if "postgresql" in (options.database or KINDS):
        with postgres() as server:
            databases = PostgresDatabases(server)
            results.append(asyncio.run(_run(databases, options.cancellations, options.seed)))
            databases.close()
    return 0 if all(results) else 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
