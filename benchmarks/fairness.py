"""What others feel of a user who has a thousand runs waiting.

Fifty users send messages at half of what the server can do, measured before each pair; their first events are timed
with and without the hog, in turns. The hog keeps a thousand runs unfinished all the while: for each that ends it sends
another. The server is pinned to the first core, the load to the second; where others use them too, the ratios tell, not
the times.

    python -m benchmarks.fairness [--pairs 5] [--seconds 10] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.golden_path import LOAD_CORE, Netra, User
from benchmarks.open_loop import ANSWER_LIMIT_S, WORKERS, OpenLoop, Window, open_loop

QUEUED = 1_000
HOG_SOCKETS = 2
ALLOWED = 2.0
CAPACITY_SECONDS = 3.0
LIMITS = {
    "NETRA_MAX_UNFINISHED_RUNS_PER_USER": str(QUEUED + 100),
    "NETRA_MAX_OUTBOX_FRAMES": "20000",
}


class Hog:
    """A user who keeps a thousand runs unfinished, each in a thread of its own."""

    def __init__(self, users: list[User]) -> None:
        self._users = users
        self._accepted = self._unfinished = self.done = 0
        self._is_full = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._stops = False

    async def fill(self) -> None:
        """Send them, and wait until all have been accepted."""
        for user in self._users:
            for _ in range(QUEUED // len(self._users)):
                await self._send(user, str(uuid4()))
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await self._is_full.wait()

    async def empty(self) -> None:
        """Send no more, and wait until all have ended."""
        self._stops = True
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await self._is_empty.wait()

    async def listen(self, user: User) -> None:
        """Take every frame; only those that matter are looked into, since the hog shares a core with the others."""
        async for message in user.socket:
            if '"message_accepted"' in message.data[:60]:
                self._accepted += 1
                if self._accepted == QUEUED:
                    self._is_full.set()
            elif '"final":true' in message.data:
                self._unfinished -= 1
                self.done += 1
                if not self._stops:
                    await self._send(user, orjson.loads(message.data)["thread_id"])
                elif not self._unfinished:
                    self._is_empty.set()
            elif '"error"' in message.data[:60]:
                raise RuntimeError(f"the hog was refused: {message.data}")

    async def _send(self, user: User, thread_id: str) -> None:
        self._unfinished += 1
        message = {"type": "user_message", "text": "more", "thread_id": thread_id}
        await user.socket.send_str(orjson.dumps(message).decode())


@asynccontextmanager
async def hogging(load: OpenLoop, candidate: Netra) -> AsyncIterator[Hog]:
    """A hog for the block, its thousand runs accepted; they have ended after it."""
    session: aiohttp.ClientSession = load.running.session
    users = [await candidate.connect(session, load.running.url, WORKERS) for _ in range(HOG_SOCKETS)]
    hog = Hog(users)
    async with asyncio.TaskGroup() as group:
        listeners = [group.create_task(hog.listen(user)) for user in users]
        await hog.fill()
        yield hog
        await hog.empty()
        for listener in listeners:
            listener.cancel()
    for user in users:
        await user.socket.close()


async def compare(pairs: int, seconds: float) -> dict[str, Any]:
    """Measure with and without the hog in turns; every second pair begins with the hog."""
    rows = []
    async with open_loop(LIMITS, extra_users=1) as load:
        await load.measure_capacity(CAPACITY_SECONDS)  # to warm it up
        candidate = load.running.candidate
        if not isinstance(candidate, Netra):
            raise TypeError(f"expected Netra, got {candidate}")
        for pair in range(pairs):
            await load.measure_capacity(CAPACITY_SECONDS)
            row: dict[str, Any] = {"capacity_journeys_per_second": load.capacity}
            for with_hog in (False, True) if pair % 2 == 0 else (True, False):
                window = Window()
                for worker in load.workers:
                    worker.begin(window)
                if with_hog:
                    async with hogging(load, candidate) as hog:
                        before = hog.done
                        await load.drive(window, seconds, pair)
                        row["hog_runs"] = hog.done - before
                else:
                    await load.drive(window, seconds, pair)
                row["hog" if with_hog else "quiet"] = window.first_event.as_dict()
            row["ratio_p50"] = row["hog"]["p50"] / row["quiet"]["p50"]
            row["ratio_p99"] = row["hog"]["p99"] / row["quiet"]["p99"]
            rows.append(row)
    return {
        "pairs": rows,
        "median_ratio_p50": median(row["ratio_p50"] for row in rows),
        "median_ratio_p99": median(row["ratio_p99"] for row in rows),
    }


def show(result: dict[str, Any]) -> None:
    """Print the pairs as a table."""
    table = Table(title="First event of others, ms; others send half the capacity")
    for heading in ("capacity /s", "quiet p50 / p99", "hog p50 / p99", "ratio p50 / p99", "hog's runs"):
        table.add_column(heading, justify="right")
    for row in result["pairs"]:
        table.add_row(
            f"{row['capacity_journeys_per_second']:,.0f}",
            f"{row['quiet']['p50']:.1f} / {row['quiet']['p99']:.1f}",
            f"{row['hog']['p50']:.1f} / {row['hog']['p99']:.1f}",
            f"{row['ratio_p50']:.2f} / {row['ratio_p99']:.2f}",
            str(row["hog_runs"]),
        )
    console = Console(width=140)
    console.print(table)
    console.print(f"median ratio: p50 {result['median_ratio_p50']:.2f}, p99 {result['median_ratio_p99']:.2f}")


def main() -> int:
    """Run the benchmark; 1 when the median of the p99 ratios is above two."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fairness", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--pairs", type=int, default=5, help="of a quiet window and one with the hog (default 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a window (default 10)")
    parser.add_argument("--json", type=Path, help="where to write the result as well")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(compare(options.pairs, options.seconds))
    show(result)
    if options.json:
        options.json.write_text(json.dumps({"version": 1, **result}, indent=2))
    return int(result["median_ratio_p99"] > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
