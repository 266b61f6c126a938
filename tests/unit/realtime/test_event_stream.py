"""One reader of one thread over server-sent events, from its place in the register to its last chunk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given

from netra_backend.app.realtime import event_stream as event_stream_module
from netra_backend.app.realtime.connections import Connections
from netra_backend.app.realtime.event_stream import EventStream
from netra_backend.app.realtime.messages import event_frame
from netra_backend.app.realtime.outbox import Room
from netra_backend.app.services.principal import Principal
from netra_backend.app.services.refusals import LimitExceededError
from tests.support.memory_desk import MemoryDesk, MemoryLog, WatchedHub, log_entry
from tests.support.memory_socket import ROOMY
from tests.support.strategies import texts

KEY = ("ann", "t")
LIMIT_S = 2.0
"""A stream that should end or speak does so within this, or the test fails."""


class Place:
    """A server's realtime part with a thread of three entries."""

    def __init__(self, *, limit_per_user: int = 10) -> None:
        self.hub = WatchedHub()
        self.desk = MemoryDesk(self.hub)
        self.connections = Connections(limit=10, limit_per_user=limit_per_user)
        self.desk.commit(KEY, 3)

    def stream(self, *, seconds: float = 3600, max_outbox: int = 50) -> EventStream:
        """A stream of Ann's thread that has not been opened."""
        principal = Principal("ann", "s", datetime.now(UTC) + timedelta(seconds=seconds))
        return EventStream(
            principal, MemoryLog(self.desk, KEY), self.hub, self.connections, room=Room(max_outbox, ROOMY)
        )

    @asynccontextmanager
    async def reading(
        self, stream: EventStream | None = None, *, after_seq: int = 0
    ) -> AsyncIterator[AsyncGenerator[str, None]]:
        """The chunks of an opened stream; the reader leaves at the end of the block."""
        stream = stream or self.stream()
        stream.open(KEY)
        chunks = cast("AsyncGenerator[str, None]", stream.chunks(after_seq))
        try:
            yield chunks
        finally:
            await chunks.aclose()

    def assert_empty(self) -> None:
        """Nobody is connected and nobody watches."""
        assert self.connections.count == 0
        assert self.hub.subscribed == []


async def take(chunks: AsyncGenerator[str, None], count: int) -> list[str]:
    """The next chunks."""
    async with asyncio.timeout(LIMIT_S):
        return [await anext(chunks) for _ in range(count)]


async def rest(chunks: AsyncGenerator[str, None]) -> list[str]:
    """The chunks up to the end of the stream, which must come."""
    async with asyncio.timeout(LIMIT_S):
        return [chunk async for chunk in chunks]


def parsed(chunk: str) -> dict[str, str]:
    """The fields of an event, as a browser reads them (WHATWG HTML, 9.2.6)."""
    lines = chunk.split("\n")
    assert lines[-2:] == ["", ""], chunk
    return dict(line.split(": ", 1) for line in lines[:-2])


def seqs(chunks: list[str]) -> list[int]:
    """The numbers of events."""
    return [int(parsed(chunk)["id"]) for chunk in chunks]


def farewell(chunk: str) -> tuple[str, str]:
    """Why a stream has ended, as its last event tells: the code and the words."""
    event = parsed(chunk)
    data = json.loads(event.pop("data"))
    assert event == {"event": "error"}  # no id: who comes back goes on where he is
    assert data.keys() == {"type", "code", "message"}
    return data["code"], data["message"]


@pytest.fixture
async def place() -> Place:
    """A place for ten."""
    return Place()


async def test_a_gap_is_told_once(place: Place) -> None:
    """What retention has erased comes as one event whose id is its last number, so that who comes back after it does
    not hear of it again."""
    place.desk.expire(KEY, 2)
    async with place.reading() as chunks:
        gap, entry = [parsed(chunk) for chunk in await take(chunks, 2)]
    data = json.loads(gap.pop("data"))
    assert gap == {"id": "2", "event": "gap"}
    assert data == {"type": "gap", "thread_id": "t", "from_seq": 1, "to_seq": 2, "reason": "retention"}
    assert entry["id"] == "3"
    async with place.reading(after_seq=2) as chunks:
        assert seqs(await take(chunks, 1)) == [3]


async def test_who_has_more_than_there_is_is_set_back(place: Place) -> None:
    """A `Last-Event-ID` beyond the log's end is answered by an event whose id is the true end; what is new follows."""
    async with place.reading(after_seq=40) as chunks:
        (error,) = [parsed(chunk) for chunk in await take(chunks, 1)]
        assert (error["id"], error["event"]) == ("3", "error")
        assert json.loads(error["data"])["code"] == "seq_ahead"
        place.desk.commit(KEY, 2)
        assert seqs(await take(chunks, 2)) == [4, 5]


async def test_the_log_comes_first_then_what_is_new(place: Place) -> None:
    """Everything after the reader's place comes once, in order, whether it was there before or comes now."""
    before = asyncio.all_tasks()
    async with place.reading(after_seq=1) as chunks:
        assert seqs(await take(chunks, 2)) == [2, 3]
        place.desk.commit(KEY, 2)
        assert seqs(await take(chunks, 2)) == [4, 5]
    place.assert_empty()
    assert asyncio.all_tasks() == before


async def test_what_is_committed_between_open_and_the_first_chunk_is_not_missed(place: Place) -> None:
    """A stream hears of its thread from `open` on."""
    stream = place.stream()
    place.desk.reads.clear()
    async with place.reading(stream) as chunks:
        place.desk.commit(KEY)
        first = asyncio.ensure_future(anext(chunks))
        await place.desk.reading.wait()
        place.desk.commit(KEY)
        place.desk.reads.set()
        assert seqs([await first, *await take(chunks, 4)]) == [1, 2, 3, 4, 5]


async def test_an_event_is_an_entry_of_the_log(place: Place) -> None:
    """`id` is the entry's seq, `event` its type, `data` the same text as on the socket."""
    async with place.reading(after_seq=2) as chunks:
        (event,) = await take(chunks, 1)
        assert event == f"id: 3\nevent: agent_thinking\ndata: {event_frame(place.desk.logs[KEY][2])}\n\n"


async def test_streamed_text_has_no_id(place: Place) -> None:
    """A delta is not in the log, so it does not move the reader's `Last-Event-ID`."""
    async with place.reading(after_seq=2) as chunks:
        await take(chunks, 1)
        place.hub.publish_delta(*KEY, "r", "piece")
        (event,) = await take(chunks, 1)
        assert set(parsed(event)) == {"event", "data"}
        assert json.loads(parsed(event)["data"])["text"] == "piece"


@given(texts())
async def test_no_text_breaks_out_of_its_event(text: str) -> None:
    """Line ends of any kind in what users say stay inside `data`: an event is exactly three lines."""
    place = Place()
    place.desk.logs[KEY] = [log_entry(1, data={"text": text})]
    async with place.reading() as chunks:
        (chunk,) = await take(chunks, 1)
    lines = chunk.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert len(lines) == 5
    assert json.loads(parsed(chunk)["data"])["data"] == {"text": text}


async def test_a_quiet_stream_is_kept_alive(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing happens for a while a comment is sent, and nothing is lost by it."""
    monkeypatch.setattr(event_stream_module, "HEARTBEAT_SECONDS", 0.01)
    async with place.reading(after_seq=3) as chunks:
        assert await take(chunks, 2) == [": nothing new\n\n"] * 2
        place.desk.commit(KEY)
        later = await take(chunks, 1)
        while later[-1].startswith(":"):
            later += await take(chunks, 1)
        assert seqs(later[-1:]) == [4]


async def test_a_stream_takes_a_place_among_the_users_connections() -> None:
    """One more than the user may have is refused, watches nothing, and takes no place."""
    place = Place(limit_per_user=1)
    async with place.reading():
        with pytest.raises(LimitExceededError):
            place.stream().open(KEY)
        assert place.connections.count == len(place.hub.subscribed) == 1
    place.connections.close_all()


async def test_the_end_of_the_token_ends_the_stream(place: Place) -> None:
    """A stream lives no longer than its token, and says so."""
    async with place.reading(place.stream(seconds=0.3)) as chunks:
        *log, last = await rest(chunks)
        assert farewell(last) == ("unauthenticated", "the token has expired")
        assert seqs(log) == [1, 2, 3]
    place.assert_empty()


@pytest.mark.parametrize("end", ["close_session", "close_user", "close_all"])
async def test_signing_out_ends_the_stream(place: Place, end: str) -> None:
    """Whatever ends the user's connections ends the stream, with the reason."""
    async with place.reading(after_seq=2) as chunks:
        await take(chunks, 1)
        match end:
            case "close_session":
                place.connections.close_session("ann", "other")
                place.connections.close_session("ann", "s")
            case "close_user":
                place.connections.close_user("ann")
            case _:
                place.connections.close_all()
        place.assert_empty()
        (last,) = await rest(chunks)
        assert (
            farewell(last)
            == {
                "close_session": ("unauthenticated", "signed out"),
                "close_user": ("unauthenticated", "signed out everywhere"),
                "close_all": ("shutting_down", "the server is going away; come back and resume"),
            }[end]
        )
    place.assert_empty()


async def test_a_reader_that_is_too_slow_comes_back(place: Place) -> None:
    """When the outbox overflows, the reader's place and what waited for it are free at once; when it reads again it is
    told why the stream ended, and what it was given has no hole, so `Last-Event-ID` goes on from it."""
    async with place.reading(place.stream(max_outbox=10), after_seq=2) as chunks:
        await take(chunks, 1)
        place.desk.commit(KEY, 4)
        got = await take(chunks, 2)
        place.desk.commit(KEY, 12)
        place.assert_empty()
        *log, last = await rest(chunks)
        assert farewell(last) == ("too_slow", "the reader is too slow; come back and resume")
        got += log
        assert seqs(got) == list(range(4, 4 + len(got)))
        assert len(got) < 12
    place.assert_empty()


async def test_a_reader_that_leaves_leaves_nothing(place: Place) -> None:
    """A reader that goes away, while waiting or between two chunks, frees its place and hears no more."""
    before = asyncio.all_tasks()
    async with place.reading() as chunks:
        await take(chunks, 1)
    place.assert_empty()
    place.desk.reading.clear()
    async with place.reading(after_seq=3) as chunks:
        waiting = asyncio.ensure_future(anext(chunks))
        await place.desk.reading.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        place.assert_empty()
    assert asyncio.all_tasks() == before


async def test_a_reader_that_leaves_before_the_first_chunk_leaves_nothing(place: Place) -> None:
    """A client that is gone before its response begins does not keep a place: twenty such would lock the user out."""
    async with place.reading():
        pass
    place.assert_empty()


async def test_a_log_that_cannot_be_read_ends_the_stream(place: Place) -> None:
    """When the replay fails the stream ends, so that the reader comes back, instead of staying silent for ever."""
    place.desk.log_failure = RuntimeError("secret words")
    async with place.reading() as chunks:
        (last,) = await rest(chunks)
        assert farewell(last) == ("internal_error", "the server failed; try again")
    place.assert_empty()


async def test_a_thread_that_is_erased_meanwhile_ends_the_stream(place: Place) -> None:
    """When the thread is gone by the time of the replay the stream ends."""
    del place.desk.logs[KEY]
    async with place.reading() as chunks:
        (last,) = await rest(chunks)
        assert farewell(last)[0] == "not_found"
    place.assert_empty()


async def test_a_thread_that_is_erased_ends_the_stream(place: Place) -> None:
    """A stream ends with its thread, and hears nothing of a new one of the same id."""
    async with place.reading(after_seq=2) as chunks:
        await take(chunks, 1)
        place.desk.erase(KEY)
        place.desk.commit(KEY)
        (last,) = await rest(chunks)
        assert farewell(last) == ("not_found", "the thread was erased")
    place.assert_empty()
