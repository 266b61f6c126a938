"""One reader of one thread over server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import orjson

from netra_backend.app.services.ports import LogReader
from netra_backend.app.services.principal import Principal
from netra_backend.app.services.refusals import NotFoundError, RefusedError, ShuttingDownError

from .connection import EXPIRED, INTERNAL_ERROR, SERVER_FAILED, TOO_SLOW, TOO_SLOW_REASON
from .connections import Connections
from .hub import Hub, Subscription, ThreadKey
from .messages import frame
from .outbox import Outbox, Room

HEARTBEAT_SECONDS: Final = 15.0
ERASED: Final = "the thread was erased"
_CODES: Final = {4401: "unauthenticated", 1012: ShuttingDownError.code, TOO_SLOW: "too_slow"}
"""What stands for the close codes of a socket."""
_PLACES: Final = {"gap": "to_seq", "error": "last_seq"}
"""Where whoever comes back shall go on, by the type of the frame that he has heard, where it is not its `seq`."""

_logger = logging.getLogger(__name__)


class EventStream:
    """Replays a thread's log, then goes on live, until the reader leaves or its token ends.

    Server-sent events have no close frame, so the last event before an end is an `error` that tells why. A reader that
    has stalled gets it when it reads again; its place and what waited for it are free before that.

    Args:
        principal: who reads.
        log: of the thread.
        hub: says what is new.
        connections: the register, with its limits.
        room: how much may wait for a slow reader.
    """

    def __init__(self, principal: Principal, log: LogReader, hub: Hub, connections: Connections, *, room: Room) -> None:
        self.principal: Principal | None = principal
        self._log = log
        self._hub = hub
        self._connections = connections
        self._outbox = Outbox(room, partial(self.close, TOO_SLOW, TOO_SLOW_REASON))
        self._farewell = ""
        self._replaying: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._user_id = principal.user_id
        self._expires_at = principal.expires_at

    def close(self, code: int, reason: str) -> None:
        """Begin to end the stream; returns at once."""
        self._end(_CODES.get(code, INTERNAL_ERROR), reason)

    def _end(self, code: str, message: str) -> None:
        if not self._ended.is_set():
            self._farewell = frame("error", code=code, message=message)
            self._ended.set()
            self._outbox.drain()
            if self._replaying is not None:
                self._replaying.cancel()
            self.release()

    def open(self, key: ThreadKey) -> None:
        """Take a place among the user's connections, and hear of the thread from now on; raises LimitExceededError."""
        self._connections.add(self._user_id, self)
        self._subscription = Subscription(key, self._outbox.put, partial(self._end, NotFoundError.code, ERASED))
        self._hub.subscribe(self._subscription)

    def release(self) -> None:
        """Give the place back and hear no more; a second call does nothing."""
        self._hub.unsubscribe(self._subscription)
        self._connections.remove(self._user_id, self)

    def chunks(self, after_seq: int) -> Chunks:
        """The text of the stream.

        Args:
            after_seq: the last entry that the reader has.

        Returns:
            An iterator over the events, with a comment where nothing has happened for a while. Closing it releases
            the stream, also before its first chunk.
        """
        return Chunks(self._chunks(after_seq), self.release)

    async def _chunks(self, after_seq: int) -> AsyncGenerator[str, None]:
        replay = self._replaying = asyncio.create_task(self._replay(after_seq))
        ended = asyncio.create_task(self._ended.wait())
        seconds = (self._expires_at - datetime.now(UTC)).total_seconds()
        expiry = asyncio.get_running_loop().call_later(max(seconds, 0), self.close, 4401, EXPIRED)
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
            yield _event(self._farewell)
        finally:
            expiry.cancel()
            self.release()
            tasks = [task for task in (replay, ended, taking) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _replay(self, after_seq: int) -> None:
        try:
            await self._subscription.catch_up(self._log, after_seq, self._outbox.put_when_free)
        except RefusedError as refusal:
            _logger.info("an event stream ended: %s", refusal)
            self._end(refusal.code, refusal.message)
        except Exception:  # whoever reads must come back, and not wait for what will never come
            _logger.exception("a replay failed")
            self._end(INTERNAL_ERROR, SERVER_FAILED)


class Chunks(AsyncIterator[str]):
    """The chunks of a stream; unlike a generator's, its closing counts even before the first chunk was asked for."""

    def __init__(self, chunks: AsyncGenerator[str, None], release: Callable[[], None]) -> None:
        self._chunks = chunks
        self._release = release

    async def __anext__(self) -> str:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """End the stream and give its place back."""
        await self._chunks.aclose()
        self._release()


def _event(text: str) -> str:
    frame = orjson.loads(text)
    place = _PLACES.get(frame["type"], "seq")
    number = f"id: {frame[place]}\n" if place in frame else ""
    return f"{number}event: {frame['type']}\ndata: {text}\n\n"
