"""What others feel of fifty connections that never read, and what they cost the server in memory.

Fifty users send messages at half of what the server can do, measured before each pair. In every second window each of
them also has a socket that watches all their threads and takes nothing, not even the answer to its upgrade: a phone in
a tunnel. The other windows have none. The server is pinned to the first core, the load to the second; where others use
them too, the ratios tell, not the times.

    python -m benchmarks.slow_readers [--pairs 5] [--seconds 60] [--json FILE]
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson

from benchmarks.golden_path import Netra
from benchmarks.open_loop import THREADS_PER_WORKER, Comparison, Figures, OpenLoop, Window, main

STALLED = 50
TEXT = "x" * 4096
"""What a message carries besides its id; it comes back three times."""
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


async def _window(load: OpenLoop, candidate: Netra, seconds: float, seed: int, with_stalled: bool) -> Figures:
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


COMPARISON = Comparison(
    program="benchmarks.slow_readers",
    about="What others feel of fifty connections that never read, and what they cost the server in memory.",
    burden="stalled",
    window=_window,
    allowed=1.5,
    seconds=60.0,
    padding=TEXT,
    columns={
        "RSS MiB quiet / stalled": lambda row: f"{row['quiet']['rss_mib']:.0f} / {row['stalled']['rss_mib']:.0f}",
        "closed": lambda row: str(row["stalled"]["closed"]),
    },
)


if __name__ == "__main__":
    sys.exit(main(COMPARISON))
