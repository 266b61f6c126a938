"""A load that does not wait for its answers: messages are sent at a fixed mean rate, whatever the server does.

A time counts from when the message was due, so that a server that keeps the load waiting is not spared.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from uuid import uuid4

import orjson

from benchmarks.golden_path import Netra, Running, User, measure, run
from netra_golden_path.report import Latency

WORKERS = 50
THREADS_PER_WORKER = 4
ANSWER_LIMIT_S = 60.0


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
