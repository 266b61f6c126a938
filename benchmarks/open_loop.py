"""A load that does not wait for its answers: messages are sent at a fixed mean rate, whatever the server does.

A time counts from when the message was due, so that a server that keeps the load waiting is not spared. `main` compares
windows of such load with a burden on the server and without, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from uuid import uuid4

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.golden_path import LOAD_CORE, Netra, Running, User, measure, run
from netra_golden_path.report import Latency

WORKERS = 50
THREADS_PER_WORKER = 4
ANSWER_LIMIT_S = 60.0
CAPACITY_SECONDS = 3.0


@dataclass
class Window:
    """What a stretch of load showed.

    Attributes:
        sent: messages.
        first_event: from when a message was due to its run's `agent_started`.
        journey: to its final event.
        rss_bytes: the server's memory at the end.
    """

    sent: int = 0
    first_event: Latency = field(default_factory=Latency)
    journey: Latency = field(default_factory=Latency)
    rss_bytes: int = 0


@dataclass
class Worker:
    """A user who works: one socket, a few threads, answers as they come."""

    user: User
    threads: list[str] = field(default_factory=list)
    window: Window | None = None
    due: dict[str, float] = field(default_factory=dict)
    runs: dict[str, float] = field(default_factory=dict)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, window: Window) -> None:
        """Take new threads, and count in a window from now on."""
        self.window = window
        self.threads = [str(uuid4()) for _ in range(THREADS_PER_WORKER)]

    async def send(self, number: int, due: float, padding: str) -> None:
        """Send a message that was due at a moment."""
        message_id = os.urandom(8).hex()
        self.due[message_id] = due
        self.idle.clear()
        message = {
            "type": "user_message",
            "text": f"{message_id} {padding}".strip(),
            "client_message_id": message_id,
            "thread_id": self.threads[number % len(self.threads)],
        }
        await self.user.socket.send_str(orjson.dumps(message).decode())

    async def listen(self) -> None:
        """Take every frame; ends when the socket does."""
        async for message in self.user.socket:
            frame = orjson.loads(message.data)
            match frame["type"]:
                case "message_accepted":
                    self.runs[frame["run_id"]] = self.due.pop(frame["client_message_id"])
                case "agent_started":
                    self._note("first_event", frame["run_id"])
                case "error":
                    raise RuntimeError(f"a message was refused: {frame}")
                case "connection_ready":
                    pass
                case _ if frame.get("final"):
                    if frame["type"] != "agent_completed":
                        raise RuntimeError(f"a run failed: {frame}")
                    self._note("journey", frame["run_id"])
                    del self.runs[frame["run_id"]]
                    if not self.due and not self.runs:
                        self.idle.set()

    def _note(self, name: str, run_id: str) -> None:
        if self.window is not None and (due := self.runs.get(run_id)) is not None:
            getattr(self.window, name).record(time.perf_counter() - due)


@dataclass
class OpenLoop:
    """Workers on a running server, and how fast it can be.

    Attributes:
        padding: what each message carries besides its id.
        capacity: journeys a second, as measured last.
    """

    running: Running
    workers: Sequence[Worker]
    padding: str
    capacity: float = 0.0

    async def measure_capacity(self, seconds: float) -> None:
        """Measure how many journeys a second the server does at most now, in a closed loop of the same users."""
        async with self.running.connected(WORKERS) as users:
            self.capacity = (await measure(self.running, users, seconds)).done / seconds

    async def settle(self) -> None:
        """Wait until everything has its final event."""
        async with asyncio.timeout(ANSWER_LIMIT_S):
            for worker in self.workers:
                if worker.due or worker.runs:
                    await worker.idle.wait()

    async def drive(self, window: Window, seconds: float, seed: int) -> None:
        """Send at half the capacity for some seconds, at moments drawn from a seed, and wait for the answers."""
        random, rate = Random(seed), self.capacity / 2
        due = time.perf_counter()
        until = due + seconds
        while (due := due + random.expovariate(rate)) < until:
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            worker = self.workers[window.sent % len(self.workers)]
            await worker.send(window.sent // len(self.workers), due, self.padding)
            window.sent += 1
        await self.settle()
        window.rss_bytes = self.running.process.memory_info().rss


@asynccontextmanager
async def open_loop(limits: dict[str, str], extra_users: int = 0, padding: str = "") -> AsyncIterator[OpenLoop]:
    """Start a server and connect the workers.

    Args:
        limits: settings besides those of the golden path's benchmark.
        extra_users: accounts beside the workers', numbered after them.
        padding: what each message carries besides its id.
    """
    async with (
        run(_Limited(limits, padding), WORKERS + extra_users) as running,
        running.connected(WORKERS) as users,
        asyncio.TaskGroup() as group,
    ):
        workers = [Worker(user) for user in users]
        listeners = [group.create_task(worker.listen()) for worker in workers]
        yield OpenLoop(running, workers, padding)
        for listener in listeners:
            listener.cancel()


class _Limited(Netra):
    """Netra with a few settings of its own."""

    def __init__(self, limits: dict[str, str], padding: str) -> None:
        super().__init__(padding=padding)
        self._limits = {**Netra._limits, **limits}  # type: ignore[misc]  # of this one only


Figures = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What a burden on the server costs others.

    Attributes:
        program: the benchmark's module.
        about: what it measures, in a line.
        burden: what the server bears in every second window, in a word.
        window: measures one window; given the load, the candidate, the seconds, a seed, and whether with the burden.
        allowed: the largest median of the ratios of the p99 of first events, with the burden and without.
        seconds: of a window, unless told otherwise.
        limits: settings of the server besides those of the golden path's benchmark.
        extra_users: accounts beside the workers'.
        padding: what each message carries besides its id.
        columns: what the table shows besides the times: heading, and the text of a pair.
    """

    program: str
    about: str
    burden: str
    window: Callable[[OpenLoop, Netra, float, int, bool], Awaitable[Figures]]
    allowed: float
    seconds: float
    columns: Mapping[str, Callable[[Figures], str]]
    limits: Mapping[str, str] = field(default_factory=dict)
    extra_users: int = 0
    padding: str = ""


async def compare(comparison: Comparison, pairs: int, seconds: float) -> Figures:
    """Measure with the burden and without in turns; every second pair begins with it."""
    rows = []
    async with open_loop(dict(comparison.limits), comparison.extra_users, comparison.padding) as load:
        await load.measure_capacity(CAPACITY_SECONDS)  # to warm it up
        candidate = load.running.candidate
        if not isinstance(candidate, Netra):
            raise TypeError(f"expected Netra, got {candidate}")
        for pair in range(pairs):
            await load.measure_capacity(CAPACITY_SECONDS)
            row: Figures = {"capacity_journeys_per_second": load.capacity}
            for is_burdened in (False, True) if pair % 2 == 0 else (True, False):
                taken = await comparison.window(load, candidate, seconds, pair, is_burdened)
                row[comparison.burden if is_burdened else "quiet"] = taken
            for name in ("p50", "p99"):
                row[f"ratio_{name}"] = row[comparison.burden][name] / row["quiet"][name]
            rows.append(row)
    ratios = {f"median_ratio_{name}": median(row[f"ratio_{name}"] for row in rows) for name in ("p50", "p99")}
    return {"pairs": rows, **ratios}


def show(comparison: Comparison, result: Figures) -> None:
    """Print the pairs as a table."""
    table = Table(title="First event of others, ms; others send half the capacity")
    times = ("capacity /s", "quiet p50 / p99", f"{comparison.burden} p50 / p99", "ratio p50 / p99")
    for heading in (*times, *comparison.columns):
        table.add_column(heading, justify="right")
    for row in result["pairs"]:
        quiet, burdened = row["quiet"], row[comparison.burden]
        table.add_row(
            f"{row['capacity_journeys_per_second']:,.0f}",
            f"{quiet['p50']:.1f} / {quiet['p99']:.1f}",
            f"{burdened['p50']:.1f} / {burdened['p99']:.1f}",
            f"{row['ratio_p50']:.2f} / {row['ratio_p99']:.2f}",
            *(text(row) for text in comparison.columns.values()),
        )
    console = Console(width=140)
    console.print(table)
    console.print(f"median ratio: p50 {result['median_ratio_p50']:.2f}, p99 {result['median_ratio_p99']:.2f}")


def main(comparison: Comparison) -> int:
    """Run a benchmark; 1 when the median of the p99 ratios is above what is allowed."""
    parser = argparse.ArgumentParser(prog=f"python -m {comparison.program}", description=comparison.about)
    parser.add_argument("--pairs", type=int, default=5, help="of a quiet window and one with the burden (default 5)")
    seconds = comparison.seconds
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of a window (default {seconds:g})")
    parser.add_argument("--json", type=Path, help="where to write the result as well")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(compare(comparison, options.pairs, options.seconds))
    show(comparison, result)
    if options.json:
        options.json.write_text(json.dumps({"version": 1, **result}, indent=2))
    return int(result["median_ratio_p99"] > comparison.allowed)
