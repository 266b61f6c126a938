"""Readers that stop reading: they are sent away, told why, and lose nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.nursery import ForkedServer, Home, Nursery

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Reader:
    """Reads a thread from a seq on to its first final event, and comes back whenever it is sent away."""

    def __init__(self, server: ForkedServer, home: Home) -> None:
        self._url = server.websocket_url
        self._headers = {"Authorization": f"Bearer {home.access_token}"}

    def connect(self, *, max_queue: int = 100) -> connect:
        """A connection to be entered; a small queue stops reading soon when nobody takes what comes."""
        return connect(
            self._url, additional_headers=self._headers, compression=None, max_queue=max_queue, max_size=2**22
        )

    async def read(self, thread_id: str, after_seq: int) -> list[dict[str, Any]]:
        """The entries, in the order in which they came."""
        log: list[dict[str, Any]] = []
        while not log or not log[-1].get("final"):
            async with self.connect() as socket:
                await socket.recv()
                last = log[-1]["seq"] if log else after_seq
                await socket.send(json.dumps({"type": "resume", "thread_id": thread_id, "after_seq": last}))
                async for entry in _until_closed(socket):
                    log.append(entry)
                    if entry.get("final"):
                        break
        return log


async def _until_closed(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """What comes, up to the close, whatever its code."""
    with suppress(ConnectionClosed):
        while True:
            yield json.loads(await socket.recv())


async def test_a_reader_that_stalls_is_told_why(nursery: Nursery, home: Home) -> None:
    """Of 30 MB a reader takes nothing: others are served meanwhile, it is closed with 1013 behind what it still gets,
    in order, and resumed from there it misses nothing."""
    server = await nursery.start(home, max_outbox_bytes=str(8 * 1024 * 1024))
    reader = Reader(server, home)
    async with asyncio.timeout(40), reader.connect(max_queue=1) as stalled:
        await stalled.send(json.dumps({"type": "user_message", "text": "flood x", "agent": "steps"}))
        await stalled.recv()
        thread_id = json.loads(await stalled.recv())["thread_id"]
        log = await reader.read(thread_id, 0)
        assert [entry["seq"] for entry in log] == list(range(1, 305))
        async with httpx.AsyncClient(base_url=server.url) as http:
            while "netra_connections 0.0" not in (await http.get("/metrics")).text:
                pass  # until the server has given it up, without its having read anything
        got = [entry["seq"] async for entry in _until_closed(stalled)]
        assert (stalled.close_code, stalled.close_reason) == (1013, "the reader is too slow; come back and resume")
        assert got == list(range(1, len(got) + 1))
        assert len(got) < 302
        assert await reader.read(thread_id, got[-1]) == log[got[-1] :]
    server.signal(signal.SIGKILL)
    await nursery.ended(server)
