"""A socket in memory: the server's end obeys `Socket`, the test holds the client's end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

Frame = dict[str, Any]
ROOMY: Final = 1024 * 1024 * 1024
"""Bytes for whoever counts frames only."""
MAX_REASON_BYTES = 123
"""RFC 6455, 5.5: a control frame holds 125 bytes, two of which are the close code."""


class MemorySocket:
    """A connected socket.

    Attributes:
        heard: the frames that the client has received, in order.
        closed: the code and reason of the server's close frame, once it came.
        reads: cleared, the client does not read, and the server's sends wait.
        sending: set by each send of the server, whether the client reads or not.
        on_frame: called with each frame, before anything else can run.
    """

    def __init__(self) -> None:
        self.heard: list[Frame] = []
        self.closed: tuple[int, str] | None = None
        self.reads = asyncio.Event()
        self.reads.set()
        self.sending = asyncio.Event()
        self.on_frame: list[Callable[[Frame], None]] = []
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._gone = False

    async def receive(self) -> str | bytes | None:
        """See `Socket.receive`."""
        return await self._incoming.get()

    async def send(self, text: str) -> None:
        """See `Socket.send`; raises once the client is gone, as a transport does."""
        self.sending.set()
        await self.reads.wait()
        self._check_open()
        frame = json.loads(text)
        self.heard.append(frame)
        for hear in self.on_frame:
            hear(frame)
        self._wake()

    async def close(self, code: int, reason: str) -> None:
        """See `Socket.close`; refuses a reason that no close frame could carry."""
        self._check_open()
        if len(reason.encode()) > MAX_REASON_BYTES:
            raise ValueError(f"a close reason of {len(reason.encode())} bytes")
        self.closed = (code, reason)
        self._incoming.put_nowait(None)
        self._wake()

    def say(self, type_: str, **fields: Any) -> None:
        """Let the client send a frame."""
        self.say_raw(json.dumps({"type": type_, **fields}))

    def say_raw(self, message: str | bytes) -> None:
        """Let the client send a message as it is."""
        self._incoming.put_nowait(message)

    def leave(self) -> None:
        """Let the client go away without a word."""
        self.break_off()
        self._incoming.put_nowait(None)

    def break_off(self) -> None:
        """Let the line fail, so that only a send notices."""
        self._gone = True
        self.reads.set()

    async def until(self, type_: str, **fields: Any) -> Frame:
        """The first frame of a type with such fields, waiting for it if need be.

        Raises:
            AssertionError: the server closed before it came.
        """
        while True:
            for frame in self.heard:
                if frame["type"] == type_ and all(frame.get(name) == value for name, value in fields.items()):
                    return frame
            assert self.closed is None, f"closed {self.closed} before {type_} {fields}; heard {self.heard}"
            await self.changed()

    async def until_closed(self) -> tuple[int, str]:
        """The code and reason of the server's close frame, waiting for it."""
        while self.closed is None:
            await self.changed()
        return self.closed

    def types(self) -> list[str]:
        """The types of the frames that came."""
        return [frame["type"] for frame in self.heard]

    def seqs(self, thread_id: str) -> list[int]:
        """The numbers of a thread's entries that came."""
        return [
            frame["seq"]
            for frame in self.heard
            if "seq" in frame and "data" in frame and frame["thread_id"] == thread_id
        ]

    async def changed(self) -> None:
        """Wait for the next frame or the close."""
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()

    def _check_open(self) -> None:
        if self._gone or self.closed is not None:
            raise ConnectionResetError("the other side is gone")
