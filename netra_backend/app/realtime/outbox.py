"""The frames that wait for one reader, so that a slow one slows nobody else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Outbox:
    """A bounded queue of frames with one reader.

    Args:
        limit: how many frames may wait.
        overflow: called when a live frame finds no room; the reader must go and come back by `resume`.
    """

    def __init__(self, limit: int, overflow: Callable[[], None]) -> None:
        self._limit = limit
        self._overflow = overflow
        self._frames: deque[str] = deque()
        self._has_hole = False
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    def put(self, text: str) -> None:
        """Add a frame, or call `overflow` and drop it, and every later one: what the reader gets has no hole."""
        self._has_hole = self._has_hole or len(self._frames) >= self._limit
        if self._has_hole:
            self._overflow()
            return
        self._frames.append(text)
        self._filled.set()

    async def put_when_free(self, text: str) -> None:
        """Add a frame once half of the room is free: what is replayed leaves room for what is live."""
        while len(self._frames) >= self._limit // 2:
            self._taken.clear()
            await self._taken.wait()
        self.put(text)

    async def take(self) -> str:
        """The next frame; waits for it."""
        while not self._frames:
            self._filled.clear()
            await self._filled.wait()
        self._taken.set()
        return self._frames.popleft()

    def drain(self) -> list[str]:
        """Take all frames that wait, for a last word before the end."""
        frames = list(self._frames)
        self._frames.clear()
        return frames
