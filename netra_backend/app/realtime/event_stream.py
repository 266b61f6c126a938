"""One reader of one thread over server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import orjson

from netra_backend.app.services.ports import LogReader
from netra_backend.app.services.principal import Principal

from .connections import Connections
from .hub import Hub, Subscription, ThreadKey
from .outbox import Outbox

HEARTBEAT_SECONDS: Final = 15.0


class EventStream:
    """Replays a thread's log, then goes on live, until the reader leaves or its token ends.

    Args:
        principal: who reads.
        log: of the thread.
        hub: says what is new.
        connections: the register, with its limits.
        max_outbox: frames that may wait for a slow reader.
    """

    def __init__(
        self, principal: Principal, log: LogReader, hub: Hub, connections: Connections, *, max_outbox: int
    ) -> None:
        self.principal: Principal | None = principal
        self._log = log
        self._hub = hub
        self._connections = connections
        self._outbox = Outbox(max_outbox, self._end)
        self._ended = asyncio.Event()
        self._user_id = principal.user_id
        self._expires_at = principal.expires_at

    def close(self, code: int, reason: str) -> None:
        """Begin to end the stream; server-sent events have no word for why."""
        self._end()

    def _end(self) -> None:
        self._ended.set()

    def open(self, key: ThreadKey) -> None:
        """Take a place among the user's connections, and hear of the thread from now on; raises LimitExceededError."""
        self._connections.add(self._user_id, self)
        self._subscription = Subscription(key, self._outbox.put, self._end)
        self._hub.subscribe(self._subscription)

    async def chunks(self, after_seq: int) -> AsyncIterator[str]:
        """The text of the stream.

        Args:
            after_seq: the last entry that the reader has.

        Yields:
            An event at a time, and a comment where nothing has happened for a while.
        """
        replay = asyncio.create_task(self._subscription.catch_up(self._log, after_seq, self._outbox.put_when_free))
        ended = asyncio.create_task(self._ended.wait())
        seconds = (self._expires_at - datetime.now(UTC)).total_seconds()
        expiry = asyncio.get_running_loop().call_later(max(seconds, 0), self._end)
        taking: asyncio.Task[str] | None = None
        try:
            while not ended.done():
                taking = taking or asyncio.create_task(self._outbox.take())
                await asyncio.wait((taking, ended), timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    yield _event(taking.result())
                    taking = None
                elif not ended.done():
                    yield ": nothing new\n\n"
        finally:
            expiry.cancel()
            self._hub.unsubscribe(self._subscription)
            self._connections.remove(self._user_id, self)
            tasks = [task for task in (replay, ended, taking) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _event(text: str) -> str:
    frame = orjson.loads(text)
    number = f"id: {frame['seq']}\n" if "seq" in frame else ""
    return f"{number}event: {frame['type']}\ndata: {text}\n\n"
