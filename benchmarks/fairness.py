"""What others feel of a user who has a thousand runs waiting.

Fifty users send messages at half of what the server can do, measured before each pair; their first events are timed
with and without the hog, in turns. The hog keeps a thousand runs unfinished all the while: for each that ends it sends
another. The server is pinned to the first core, the load to the second; where others use them too, the ratios tell, not
the times.

    python -m benchmarks.fairness [--pairs 5] [--seconds 10] [--json FILE]
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import aiohttp
import orjson

from benchmarks.golden_path import Netra, User
from benchmarks.open_loop import ANSWER_LIMIT_S, WORKERS, Comparison, Figures, OpenLoop, Window, main

QUEUED = 1_000
HOG_SOCKETS = 2
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


async def _window(load: OpenLoop, candidate: Netra, seconds: float, seed: int, with_hog: bool) -> Figures:
    window = Window()
    for worker in load.workers:
        worker.begin(window)
    if not with_hog:
        await load.drive(window, seconds, seed)
        return window.first_event.as_dict()
    async with hogging(load, candidate) as hog:
        before = hog.done
        await load.drive(window, seconds, seed)
        return {**window.first_event.as_dict(), "runs": hog.done - before}


COMPARISON = Comparison(
    program="benchmarks.fairness",
    about="What others feel of a user who has a thousand runs waiting.",
    burden="hog",
    window=_window,
    allowed=2.0,
    seconds=10.0,
    limits=LIMITS,
    extra_users=1,
    columns={"hog's runs": lambda row: str(row["hog"]["runs"])},
)


if __name__ == "__main__":
    sys.exit(main(COMPARISON))
