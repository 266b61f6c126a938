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

from tests.support.nursery import Home, Nursery

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def stalled_until_closed(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """What is still there for a reader, up to the close, whatever its code."""
    with suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


async def test_a_reader_that_stalls_is_told_why(nursery: Nursery, home: Home) -> None:
    """Of 30 MB a reader takes nothing: others are served meanwhile, it is closed with 1013 behind what it still gets,
    in order, and resumed from there it misses nothing."""
    server = await nursery.start(home, max_outbox_bytes=str(8 * 1024 * 1024))
    headers = {"Authorization": f"Bearer {home.access_token}"}

    def socket(queue: int) -> connect:
        return connect(
            server.websocket_url, additional_headers=headers, compression=None, max_queue=queue, max_size=2**22
        )

    async with asyncio.timeout(30), socket(1) as stalled, socket(100) as other:
        await stalled.send(json.dumps({"type": "user_message", "text": "flood x", "agent": "steps"}))
        await stalled.recv()
        accepted = json.loads(await stalled.recv())
        thread_id, run_id = accepted["thread_id"], accepted["run_id"]
        await other.recv()
        await other.send(json.dumps({"type": "resume", "thread_id": thread_id, "after_seq": 0}))
        seqs = []
        while not (frame := json.loads(await other.recv())).get("final"):
            seqs.append(frame["seq"])
        assert seqs == list(range(1, 304))
        async with httpx.AsyncClient(base_url=server.url) as http:
            while "netra_connections 1.0" not in (await http.get("/metrics")).text:
                pass  # until the server has given it up, without its having read anything
        got = [json.loads(text)["seq"] async for text in stalled_until_closed(stalled)]
        assert (stalled.close_code, stalled.close_reason) == (
            1013, "the reader is too slow; come back and resume",
        )  # fmt: skip
        assert got == list(range(got[0], got[0] + len(got)))
        assert len(got) < 302
        async with socket(100) as again:
            await again.recv()
            await again.send(json.dumps({"type": "resume", "thread_id": thread_id, "after_seq": got[-1]}))
            rest: list[dict[str, Any]] = []
            while not rest or not rest[-1].get("final"):
                rest.append(json.loads(await again.recv()))
        assert [frame["seq"] for frame in rest] == list(range(got[-1] + 1, 305))
        assert rest[-1]["run_id"] == run_id
    server.signal(signal.SIGKILL)
    await nursery.ended(server)
