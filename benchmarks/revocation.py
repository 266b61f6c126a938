"""How soon a user who is signed out, changed or erased is cut from what is open.

A hundred users have a socket and a stream of server-sent events each, all open at once. For each way to end a session
they are ended one after another, a few at a time; each connection's time is from the answer of the call that ended its
session to its end, as the client sees it, and 0 where the end came first. The call's own time is told beside it.

    python -m benchmarks.revocation [--users 100] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any, Final
from uuid import uuid4

import httpx
from rich.console import Console
from rich.table import Table

from tests.support.person import Person, Socket, a_person
from tests.support.server import Server, serving

ALLOWED_SECONDS: Final = 1.0
AT_ONCE: Final = 4
END_LIMIT_SECONDS: Final = 30.0

Revocation = Callable[[Person], Awaitable[object]]


async def _change_password(person: Person) -> httpx.Response:
    new = f"{person.password[:100]}+"
    answer = await person.http.post("/auth/password", json={"current_password": person.password, "new_password": new})
    person.password = new
    return answer


async def _spend_again(person: Person) -> httpx.Response:
    spent = {"refresh_token": person.refresh_token}
    (await person.http.post("/auth/refresh", json=spent)).raise_for_status()
    return await person.http.post("/auth/refresh", json=spent)


REVOCATIONS: Final[dict[str, Revocation]] = {
    "logged out": lambda person: person.http.post("/auth/logout"),
    "logged out everywhere": lambda person: person.http.post("/auth/logout-everywhere"),
    "password changed": _change_password,
    "refresh token reused": _spend_again,
    "erased": lambda person: person.http.delete("/auth/me"),
}
"""In this order: who is erased does not come back."""


class Ends:
    """When a user's socket and stream have ended.

    Args:
        person: whose.
        socket: open.
        stream: open.
    """

    def __init__(self, person: Person, socket: Socket, stream: httpx.Response) -> None:
        self.person = person
        self._socket = asyncio.create_task(self._end_of_socket(socket))
        self._stream = asyncio.create_task(self._end_of_stream(stream))

    async def revoke(self, revocation: Revocation) -> tuple[float, float, float]:
        """End the session; the seconds of the call, and after it those of the socket and of the stream."""
        begun = time.monotonic()
        await revocation(self.person)
        answered = time.monotonic()
        async with asyncio.timeout(END_LIMIT_SECONDS):
            socket, stream = await asyncio.gather(self._socket, self._stream)
        return answered - begun, max(0.0, socket - answered), max(0.0, stream - answered)

    async def _end_of_socket(self, socket: Socket) -> float:
        await socket.connection.wait_closed()
        if socket.connection.close_code != 4401:
            raise RuntimeError(f"expected the close code 4401, got {socket.connection.close_code}")
        return time.monotonic()

    async def _end_of_stream(self, stream: httpx.Response) -> float:
        async for _ in stream.aiter_lines():
            pass
        return time.monotonic()


async def _open(person: Person, stack: AsyncExitStack) -> Ends:
    await person.sign_in()
    thread_id = str(uuid4())
    (await person.http.post("/api/threads", json={"thread_id": thread_id})).raise_for_status()
    stream = await stack.enter_async_context(person.http.stream("GET", f"/api/threads/{thread_id}/events"))
    return Ends(person, await stack.enter_async_context(person.connected()), stream.raise_for_status())


async def measure(server: Server, users: int) -> dict[str, Any]:
    """Let every user have a socket and a stream, and end their sessions in every way.

    Args:
        server: with room for them.
        users: how many; twice as many connections are open at once.

    Returns:
        For each way the seconds of each call, and of each socket and stream after it.
    """
    figures: dict[str, Any] = {}
    gate = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as people:
        persons = [await people.enter_async_context(a_person(server)) for _ in range(users)]
        for name, revocation in REVOCATIONS.items():
            async with AsyncExitStack() as connections:
                ends = [await _open(person, connections) for person in persons]

                async def revoke(one: Ends, revocation: Revocation = revocation) -> tuple[float, float, float]:
                    async with gate:
                        return await one.revoke(revocation)

                times = await asyncio.gather(*map(revoke, ends))
            calls, sockets, streams = (list(column) for column in zip(*times, strict=True))
            figures[name] = {"call": calls, "sockets": sockets, "streams": streams}
    return figures


def percentile(seconds: list[float], percent: int) -> float:
    """A percentile, by linear interpolation."""
    return quantiles(seconds, n=100, method="inclusive")[percent - 1]


def show(figures: dict[str, Any]) -> float:
    """Print the figures; the worst p99 of all connections of a way, in seconds."""
    table = Table(title="From the call's answer to the connection's end, ms")
    for heading in ("", "call p50", "socket p50 / p99 / max", "stream p50 / p99 / max", "all p99"):
        table.add_column(heading, justify="left" if not heading else "right")
    worst = 0.0
    for name, figure in figures.items():
        p99 = percentile([*figure["sockets"], *figure["streams"]], 99)
        worst = max(worst, p99)
        told = [
            " / ".join(f"{1000 * value:.1f}" for value in (percentile(kind, 50), percentile(kind, 99), max(kind)))
            for kind in (figure["sockets"], figure["streams"])
        ]
        table.add_row(name, f"{1000 * percentile(figure['call'], 50):.0f}", *told, f"{1000 * p99:.1f}")
    Console(width=120).print(table)
    return worst


async def run(users: int) -> dict[str, Any]:
    """Measure on a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder) / "data") as server:
            return await measure(server, users)


def main() -> int:
    """Run the benchmark; 1 when a p99 is above one second."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.revocation", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--users", type=int, default=100, help="each with a socket and a stream (default 100)")
    parser.add_argument("--json", type=Path, help="where to write the figures as well")
    options = parser.parse_args()
    figures = asyncio.run(run(options.users))
    worst = show(figures)
    print(f"{2 * options.users} connections open at once; the worst p99 is {1000 * worst:.1f} ms")
    if options.json:
        options.json.write_text(json.dumps({"version": 1, "seconds": figures}, indent=2))
    return int(worst > ALLOWED_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
