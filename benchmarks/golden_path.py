"""How many golden paths a server does on one core, beside a bare WebSocket loop in the same run.

The server is pinned to the first core, the load to the second. Netra is measured on SQLite and on PostgreSQL, which is
a server of its own with fsync on: it has to share the first core, and its CPU is not in the server's. Each of N users
keeps one connection and sends the next message when the last has its final event: a closed loop without think time.
Netra does its whole work: authenticated users, every event stored before it is delivered, a trivial agent that thinks,
calls one tool and answers. The reference sends five small events and does nothing else. Rounds alternate between all of
them, so that they see the same machine.

    python -m benchmarks.golden_path [--users 1 50 200 1000] [--seconds 5] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import aiohttp
import orjson
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from netra_golden_path.deployment import SERVE, started
from netra_golden_path.report import Latency
from tests.support.postgres import postgres

SERVER_CORE, LOAD_CORE = 0, 1
FIVE_EVENTS = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed")
BARE = (sys.executable, "-m", "benchmarks.bare_loop")
ANSWER_LIMIT_S = 60.0
ROOT = str(Path(__file__).resolve().parent.parent)


@dataclass
class Measurement:
    """One round of one server with one number of users."""

    users: int
    seconds: float = 0.0
    done: int = 0
    failed: int = 0
    leaks: int = 0
    cpu_seconds: float = 0.0
    rss_bytes: int = 0
    first_event: Latency = field(default_factory=Latency)
    journey: Latency = field(default_factory=Latency)

    def as_dict(self) -> dict[str, Any]:
        """The numbers that are reported; milliseconds and MiB."""
        return {
            "success": self.done / max(self.done + self.failed, 1),
            "leaks": self.leaks,
            "journeys": self.done,
            "journeys_per_second": self.done / self.seconds,
            "first_event_p50_ms": self.first_event.percentile_ms(50),
            "first_event_p99_ms": self.first_event.percentile_ms(99),
            "journey_p50_ms": self.journey.percentile_ms(50),
            "journey_p99_ms": self.journey.percentile_ms(99),
            "server_cpu_ms_per_journey": 1000 * self.cpu_seconds / max(self.done, 1),
            "rss_mib": self.rss_bytes / 2**20,
        }


@dataclass
class User:
    """One connected user, and the secret that no other user may see."""

    socket: aiohttp.ClientWebSocketResponse
    secret: str
    user_id: str | None = None
    thread_id: str | None = None


class Netra:
    """Netra under measurement: what a user sends, and how the answers are checked.

    Args:
        database: what it keeps its rows in.
        padding: what each message carries besides.
    """

    command = SERVE
    _limits: ClassVar = {
        "NETRA_AGENTS": json.dumps({"trivial": "benchmarks.trivial_agent:TrivialAgent"}),
        "NETRA_DEFAULT_AGENT": "trivial",
        "NETRA_MESSAGES_PER_MINUTE": "1000000",
        "NETRA_MAX_RUNNING_RUNS": "2000",
        "NETRA_LOG_LEVEL": "WARNING",
    }

    def __init__(self, database: str = "SQLite", padding: str = "") -> None:
        self.name = f"netra on {database}"
        self._padding = padding
        self._is_on_postgresql = database == "PostgreSQL"
        self._accounts: list[tuple[str, str]] = []

    @contextmanager
    def prepared(self) -> Iterator[dict[str, str]]:
        """The settings of its server; a PostgreSQL server of its own runs for the block when it is to have one."""
        if not self._is_on_postgresql:
            yield self._limits
            return
        with postgres({}) as server:
            for process in (
                server.process.pid,
                *(child.pid for child in psutil.Process(server.process.pid).children()),
            ):
                pin(process)  # and with them every backend that they start
            yield {**self._limits, "NETRA_DATABASE_URL": server.url(server.create())}

    async def prepare(self, session: aiohttp.ClientSession, url: str, count: int) -> None:
        """Register and sign in so many users."""
        gate = asyncio.Semaphore(4)

        async def one(number: int) -> tuple[str, str]:
            account = {"email": f"user-{number}-{os.urandom(4).hex()}@bench.invalid", "password": os.urandom(12).hex()}
            async with gate:
                async with session.post(f"{url}/auth/register", json=account) as answer:
                    answer.raise_for_status()
                    user_id = (await answer.json())["user_id"]
                form = {"username": account["email"], "password": account["password"]}
                async with session.post(f"{url}/auth/login", data=form) as answer:
                    answer.raise_for_status()
                    return user_id, (await answer.json())["access_token"]

        self._accounts = list(await asyncio.gather(*(one(number) for number in range(count))))

    def token(self, number: int) -> str:
        """The access token of one prepared user."""
        return self._accounts[number][1]

    async def connect(self, session: aiohttp.ClientSession, url: str, number: int) -> User:
        """Open the socket of one user."""
        user_id, token = self._accounts[number]
        socket = await session.ws_connect(f"{url}/ws", headers={"Authorization": f"Bearer {token}"}, compress=0)
        await socket.receive()  # connection_ready
        return User(socket, f"secret-{number}-{os.urandom(8).hex()}", user_id)

    async def travel(self, user: User, result: Measurement) -> bool:
        """One journey; says whether everything in it was right."""
        text = f"{user.secret} {os.urandom(4).hex()} {self._padding}".strip()
        message = {"type": "user_message", "text": text}
        if user.thread_id is not None:
            message["thread_id"] = user.thread_id
        began = time.perf_counter()
        await user.socket.send_str(orjson.dumps(message).decode())
        seen = []
        right = True
        seq = None
        while True:
            frame = orjson.loads((await user.socket.receive()).data)
            kind = frame["type"]
            if kind == "message_accepted":
                user.thread_id = frame["thread_id"]
                seq = frame["seq"]
                continue
            if kind == "error":
                return False
            if frame["user_id"] != user.user_id:
                result.leaks += 1
            right = right and frame["seq"] == seq
            seq = frame["seq"] + 1
            if kind == "user_message":
                continue
            if kind == "agent_started":
                result.first_event.record(time.perf_counter() - began)
            seen.append(kind)
            if frame.get("final"):
                break
        result.journey.record(time.perf_counter() - began)
        answer = frame["data"].get("result") or {}
        if answer.get("echo") != text:
            result.leaks += "secret-" in str(answer)
            return False
        return right and tuple(seen) == FIVE_EVENTS and answer.get("user_id") == user.user_id


class Bare:
    """The reference: five events for a message, and nothing else."""

    name = "bare loop"
    command = BARE

    @contextmanager
    def prepared(self) -> Iterator[dict[str, str]]:
        """It has no settings."""
        yield {}

    async def prepare(self, session: aiohttp.ClientSession, url: str, count: int) -> None:
        """There is nothing to prepare."""

    async def connect(self, session: aiohttp.ClientSession, url: str, number: int) -> User:
        """Open a socket."""
        return User(await session.ws_connect(f"{url}/ws", compress=0), "")

    async def travel(self, user: User, result: Measurement) -> bool:
        """One journey; says whether the five events came."""
        began = time.perf_counter()
        await user.socket.send_str('{"type":"user_message","text":"hello"}')
        seen = []
        for _ in FIVE_EVENTS:
            seen.append(orjson.loads((await user.socket.receive()).data)["type"])
            if len(seen) == 1:
                result.first_event.record(time.perf_counter() - began)
        result.journey.record(time.perf_counter() - began)
        return tuple(seen) == FIVE_EVENTS


Candidate = Netra | Bare


@dataclass
class Running:
    """A candidate whose server is up."""

    candidate: Candidate
    process: psutil.Process
    session: aiohttp.ClientSession
    url: str

    @asynccontextmanager
    async def connected(self, count: int) -> AsyncIterator[list[User]]:
        """So many users with their sockets, for the block; nobody answers pings on a socket that is not read."""
        users = [await self.candidate.connect(self.session, self.url, number) for number in range(count)]
        try:
            yield users
        finally:
            await asyncio.gather(*(user.socket.close() for user in users), return_exceptions=True)


async def measure(running: Running, users: Sequence[User], seconds: float) -> Measurement:
    """Let users travel for some seconds."""
    result = Measurement(len(users))
    before = running.process.cpu_times()
    began = time.perf_counter()
    until = began + seconds

    async def travel_on(user: User) -> None:
        while time.perf_counter() < until:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                right = await running.candidate.travel(user, result)
            result.done += right
            result.failed += not right

    await asyncio.gather(*(travel_on(user) for user in users))
    result.seconds = time.perf_counter() - began
    after = running.process.cpu_times()
    result.cpu_seconds = after.user + after.system - before.user - before.system
    result.rss_bytes = running.process.memory_info().rss
    return result


def pin(pid: int) -> None:
    """Put a server on its core: each of its threads, since a thread has a core of its own from its start."""
    for thread in psutil.Process(pid).threads():
        os.sched_setaffinity(thread.id, {SERVER_CORE})


@asynccontextmanager
async def run(candidate: Candidate, count: int) -> AsyncIterator[Running]:
    """Start a candidate's server on its core and prepare its users."""
    async with AsyncExitStack() as stack:
        settings = stack.enter_context(candidate.prepared())
        deployment = await stack.enter_async_context(started({**settings, "PYTHONPATH": ROOT}, candidate.command))
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        pin(deployment.pid)
        await candidate.prepare(session, deployment.url, count)
        yield Running(candidate, psutil.Process(deployment.pid), session, deployment.url)


async def compare(counts: Sequence[int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Measure all candidates in turn with each number of users."""
    candidates: tuple[Candidate, ...] = (Netra(), Netra("PostgreSQL"), Bare())
    rows = []
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(run(candidate, max(counts))) for candidate in candidates]
        for count in counts:
            taken: dict[str, list[dict[str, Any]]] = {candidate.name: [] for candidate in candidates}
            for _ in range(rounds):
                for server in servers:
                    pin(server.process.pid)
                    async with server.connected(count) as users:
                        pin(server.process.pid)
                        taken[server.candidate.name].append((await measure(server, users, seconds)).as_dict())
            rows += [{"server": name, "users": count, **_middle(results)} for name, results in taken.items()]
    return rows


def _middle(results: list[dict[str, Any]]) -> dict[str, Any]:
    worst: dict[str, Callable[[list[Any]], Any]] = {"success": min, "leaks": sum, "journeys": sum}
    return {key: worst.get(key, median)([result[key] for result in results]) for key in results[0]}


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table; rates and times are medians over the rounds."""
    table = Table("server", title="Golden path: server on one core, load on the other")
    for heading in (
        "users",
        "success",
        "leaks",
        "journeys/s",
        "first event p50 / p99 ms",
        "journey p50 / p99 ms",
        "server CPU ms",
        "RSS MiB",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row["server"],
            str(row["users"]),
            f"{row['success']:.2%}",
            str(row["leaks"]),
            f"{row['journeys_per_second']:,.0f}",
            f"{row['first_event_p50_ms']:.1f} / {row['first_event_p99_ms']:.1f}",
            f"{row['journey_p50_ms']:.1f} / {row['journey_p99_ms']:.1f}",
            f"{row['server_cpu_ms_per_journey']:.2f}",
            f"{row['rss_mib']:.0f}",
        )
    Console(width=140).print(table)


def main() -> int:
    """Run the benchmark; 1 when a journey failed or anything leaked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.golden_path", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--users", type=int, nargs="+", default=[1, 50, 200, 1000])
    parser.add_argument("--seconds", type=float, default=5.0, help="of one round (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="of each server with each number of users (default 3)")
    parser.add_argument("--json", type=Path, help="where to write the rows as well")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {LOAD_CORE})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(compare(options.users, options.seconds, options.rounds))
    show(rows)
    if options.json:
        options.json.write_text(json.dumps({"version": 1, "rows": rows}, indent=2))
    return int(any(row["success"] < 1 or row["leaks"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
