"""The frames that wait for one reader, so that a slow one slows nobody else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from sys import getsizeof


@dataclass(frozen=True, slots=True)
class Room:
    """How much may wait for one reader.

    Attributes:
        frames: how many.
        bytes: of memory, all together.
    """

    frames: int
    bytes: int


class Outbox:
    """A bounded queue of frames with one reader.

    Args:
        room: how much may wait. A single frame always fits into an empty one.
        overflow: called when a live frame finds no room; the reader must go and come back by `resume`.
    """

    def __init__(self, room: Room, overflow: Callable[[], None]) -> None:
        self._room = room
        self._overflow = overflow
        self._frames: deque[str] = deque()
        self._bytes = 0
        self._has_hole = False
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    def put(self, text: str) -> None:
        """Add a frame, or call `overflow` and drop it, and every later one: what the reader gets has no hole."""
        size = getsizeof(text)
        is_full = len(self._frames) >= self._room.frames or self._bytes + size > self._room.bytes
        self._has_hole = self._has_hole or (is_full and bool(self._frames))
        if self._has_hole:
            self._overflow()
            return
        self._frames.append(text)
        self._bytes += size
        self._filled.set()

    async def put_when_free(self, text: str) -> None:
        """Add a frame once half of the room is free: what is replayed leaves room for what is live."""
        size = getsizeof(text)
        while self._frames and (
            len(self._frames) >= self._room.frames // 2
            or self._bytes > self._room.bytes // 2
            or self._bytes + size > self._room.bytes
        ):
            self._taken.clear()
            await self._taken.wait()
        self.put(text)

    async def take(self) -> str:
        """The next frame; waits for it."""
        while not self._frames:
            self._filled.clear()
            await self._filled.wait()
        self._taken.set()
        text = self._frames.popleft()
        self._bytes -= getsizeof(text)
        return text

    def drain(self) -> list[str]:
        """Take all frames that wait, for a last word before the end."""
        frames = list(self._frames)
        self._frames.clear()
        self._bytes = 0
        return frames
