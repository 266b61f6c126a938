"""What others feel of fifty connections that never read, and what they cost the server in memory.

Fifty users send messages at half of what the server can do, measured before each pair. In every second window each of
them also has a socket that watches all their threads and takes nothing, not even the answer to its upgrade: a phone in
a tunnel. The other windows have none. The server is pinned to the first core, the load to the second; where others use
them too, the ratios tell, not the times.

    python -m benchmarks.slow_readers [--pairs 5] [--seconds 60] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.golden_path import LOAD_CORE, Netra
from benchmarks.open_loop import THREADS_PER_WORKER, OpenLoop, Window, open_loop

STALLED = 50
TEXT = "x" * 4096
"""What a message carries besides its id; it comes back three times."""
ALLOWED = 1.5
CAPACITY_SECONDS = 3.0
RECEIVE_BUFFER_BYTES = 4096
CHANGE_LIMIT_S = 30.0
_CONNECTIONS = re.compile(r"^netra_connections (\S+)", re.MULTILINE)


def stall(url: str, token: str, thread_ids: list[str]) -> socket.socket:
    """Open a socket that watches threads and never reads."""
    parts = urlsplit(url)
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    stalled.connect((parts.hostname, parts.port))
    key = base64.b64encode(os.urandom(16)).decode()
    stalled.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    for thread_id in thread_ids:
        stalled.sendall(_masked(orjson.dumps({"type": "resume", "thread_id": thread_id, "after_seq": 0})))
    return stalled


def _masked(text: bytes) -> bytes:
    """A short text frame as a client sends it (RFC 6455, 5.2)."""
    mask = os.urandom(4)
    return bytes((0x81, 0x80 | len(text))) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))


async def connections(load: OpenLoop) -> int:
    """How many connections the server has."""
    async with load.running.session.get(f"{load.running.url}/metrics") as answer:
        match = _CONNECTIONS.search(await answer.text())
    if match is None:
        raise RuntimeError("the server does not say how many connections it has")
    return int(float(match[1]))


async def _until(load: OpenLoop, reached: Callable[[int], bool]) -> None:
    async with asyncio.timeout(CHANGE_LIMIT_S):
        while True:
            if reached(await connections(load)):
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def stalling(load: OpenLoop, tokens: list[str]) -> AsyncIterator[None]:
    """One socket that never reads beside each worker's own, for the block; gone from the server after it."""
    quiet = await connections(load)
    sockets = [
        stall(load.running.url, token, worker.threads) for token, worker in zip(tokens, load.workers, strict=True)
    ]
    await _until(load, lambda count: count >= quiet + len(sockets))
    try:
        yield
    finally:
        for stalled in sockets:
            stalled.close()
        await _until(load, lambda count: count <= quiet)


async def _window(load: OpenLoop, candidate: Netra, seconds: float, seed: int, *, with_stalled: bool) -> dict[str, Any]:
    window = Window()
    for worker in load.workers:
        worker.begin(Window())
        for number in range(THREADS_PER_WORKER):  # a thread can be watched once it is there
            await worker.send(number, time.perf_counter(), TEXT)
    await load.settle()
    for worker in load.workers:
        worker.window = window
    if not with_stalled:
        await load.drive(window, seconds, seed)
        return {**window.first_event.as_dict(), "rss_mib": window.rss_bytes / 2**20}
    tokens = [candidate.token(number) for number in range(STALLED)]
    async with stalling(load, tokens):
        before = await connections(load)
        await load.drive(window, seconds, seed)
        closed = before - await connections(load)
    return {**window.first_event.as_dict(), "rss_mib": window.rss_bytes / 2**20, "closed": closed}


async def compare(pairs: int, seconds: float) -> dict[str, Any]:
    """Measure with and without the stalled readers in turns; every second pair begins with them."""
    rows = []
    async with open_loop({}, padding=TEXT) as load:
        await load.measure_capacity(CAPACITY_SECONDS)  # to warm it up
        candidate = load.running.candidate
        if not isinstance(candidate, Netra):
            raise TypeError(f"expected Netra, got {candidate}")
        for pair in range(pairs):
            await load.measure_capacity(CAPACITY_SECONDS)
            row: dict[str, Any] = {"capacity_journeys_per_second": load.capacity}
            for with_stalled in (False, True) if pair % 2 == 0 else (True, False):
                taken = await _window(load, candidate, seconds, pair, with_stalled=with_stalled)
                row["stalled" if with_stalled else "quiet"] = taken
            row["ratio_p50"] = row["stalled"]["p50"] / row["quiet"]["p50"]
            row["ratio_p99"] = row["stalled"]["p99"] / row["quiet"]["p99"]
            rows.append(row)
    return {
        "pairs": rows,
        "median_ratio_p50": median(row["ratio_p50"] for row in rows),
        "median_ratio_p99": median(row["ratio_p99"] for row in rows),
    }


def show(result: dict[str, Any]) -> None:
    """Print the pairs as a table."""
    table = Table(title="First event of others, ms; others send half the capacity")
    for heading in (
        "capacity /s",
        "quiet p50 / p99",
        "stalled p50 / p99",
        "ratio p50 / p99",
        "RSS MiB quiet / stalled",
        "closed",
    ):
        table.add_column(heading, justify="right")
    for row in result["pairs"]:
        quiet, stalled = row["quiet"], row["stalled"]
        table.add_row(
            f"{row['capacity_journeys_per_second']:,.0f}",
            f"{quiet['p50']:.1f} / {quiet['p99']:.1f}",
            f"{stalled['p50']:.1f} / {stalled['p99']:.1f}",
            f"{row['ratio_p50']:.2f} / {row['ratio_p99']:.2f}",
            f"{quiet['rss_mib']:.0f} / {stalled['rss_mib']:.0f}",
            str(stalled["closed"]),
        )
    console = Console(width=140)
    console.print(table)
    console.print(f"median ratio: p50 {result['median_ratio_p50']:.2f}, p99 {result['median_ratio_p99']:.2f}")


def main() -> int:
    """Run the benchmark; 1 when the median of the p99 ratios is above one and a half."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.slow_readers", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--pairs", type=int, default=5, help="of a quiet window and one with stalled readers (5)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a window (default 60)")
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
