"""The outbox: a bound on what waits for a slow reader."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.realtime.outbox import Outbox, Room
from tests.support.memory_socket import ROOMY


def full_outbox(limit: int) -> tuple[Outbox, list[str]]:
    """An outbox with its room taken by "0", "1", …, and the list of its overflows."""
    overflows: list[str] = []
    outbox = Outbox(Room(limit, ROOMY), lambda: overflows.append("overflow"))
    for number in range(limit):
        outbox.put(str(number))
    return outbox, overflows


async def finished(*tasks: asyncio.Task[None]) -> list[bool]:
    """Which tasks have ended once everything that can run has run."""
    for _ in range(5):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


async def test_frames_come_out_in_the_order_they_went_in() -> None:
    """First in, first out, whether put before or after the reader asked."""
    outbox, overflows = full_outbox(3)
    assert [await outbox.take() for _ in range(3)] == ["0", "1", "2"]
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outbox.put("3")
    outbox.put("4")
    assert await taking == "3"
    assert await outbox.take() == "4"
    assert overflows == []


async def test_a_frame_that_finds_no_room_is_dropped_and_told() -> None:
    """The limit itself fits; the next frame calls `overflow` and goes nowhere."""
    outbox, overflows = full_outbox(2)
    assert overflows == []
    outbox.put("lost")
    assert overflows == ["overflow"]
    assert outbox.drain() == ["0", "1"]


async def test_nothing_follows_a_frame_that_was_dropped() -> None:
    """Room that comes after an overflow is not used: what the reader gets has no hole, and `resume` goes on from it."""
    outbox, overflows = full_outbox(2)
    outbox.put("lost")
    assert await outbox.take() == "0"
    outbox.put("later")
    assert outbox.drain() == ["1"]
    outbox.put("later still")
    assert outbox.drain() == []
    assert overflows


async def test_a_last_word_empties_the_box() -> None:
    """`drain` gives everything that waits, once."""
    outbox, _ = full_outbox(3)
    assert await outbox.take() == "0"
    assert outbox.drain() == ["1", "2"]
    assert outbox.drain() == []


async def test_what_is_replayed_leaves_half_of_the_room_for_what_is_live() -> None:
    """`put_when_free` waits at half of the limit, and goes on when the reader takes a frame."""
    overflows: list[str] = []
    outbox = Outbox(Room(10, ROOMY), lambda: overflows.append("overflow"))

    async def replay() -> None:
        for number in range(12):
            await outbox.put_when_free(str(number))

    replaying = asyncio.create_task(replay())
    await finished(replaying)
    for number in range(5):
        outbox.put(f"live {number}")
    assert overflows == []
    taken = [await outbox.take() for _ in range(6)]
    assert taken == ["0", "1", "2", "3", "4", "live 0"]
    while not replaying.done() or len(taken) < 17:
        taken.append(await outbox.take())
    assert [text for text in taken if "live" not in text] == [str(number) for number in range(12)]


async def test_many_replays_share_the_room() -> None:
    """A frame that is taken lets one waiting replay go on, and none of them overflows the box."""
    overflows: list[str] = []
    outbox = Outbox(Room(4, ROOMY), lambda: overflows.append("overflow"))
    replays = [asyncio.create_task(outbox.put_when_free(str(number))) for number in range(7)]
    assert await finished(*replays) == [True, True, False, False, False, False, False]
    taken = [await outbox.take()]
    assert sum(await finished(*replays)) == 3
    while len(taken) < 7:
        taken.append(await outbox.take())
        await finished(*replays)
    assert sorted(taken) == [str(number) for number in range(7)]
    assert overflows == []


async def test_a_reader_that_gives_up_loses_nothing() -> None:
    """A `take` that is cancelled while it waits, even just as a frame comes, leaves the frame for the next one."""
    outbox = Outbox(Room(3, ROOMY), lambda: None)
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.put("kept")
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert await outbox.take() == "kept"


async def test_a_replay_that_is_cancelled_puts_nothing() -> None:
    """A `put_when_free` that is cancelled while it waits leaves no frame behind, and the others go on."""
    outbox, _ = full_outbox(2)
    cancelled, stays = (asyncio.create_task(outbox.put_when_free(text)) for text in ("cancelled", "stays"))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert [await outbox.take() for _ in range(3)] == ["0", "1", "stays"]
    await stays


@given(limit=st.integers(2, 6), operations=st.lists(st.sampled_from(["put", "take", "drain"]), max_size=60))
def test_the_box_is_a_bounded_queue(limit: int, operations: list[str]) -> None:
    """Against a plain list: the same frames come out in the same order, up to the first that found no room."""

    async def play() -> None:
        overflows: list[str] = []
        outbox = Outbox(Room(limit, ROOMY), lambda: overflows.append("overflow"))
        model: list[str] = []
        for number, operation in enumerate(operations):
            if operation == "put":
                outbox.put(str(number))
                if not overflows:
                    model.append(str(number))
                assert len(model) <= limit
            elif operation == "drain":
                assert outbox.drain() == model
                model.clear()
            elif model:
                assert await outbox.take() == model.pop(0)
        assert outbox.drain() == model

    asyncio.run(play())


async def test_bytes_are_bounded_too() -> None:
    """A few large frames fill the box as many small ones do; a single one always fits, however large."""
    overflows: list[str] = []
    outbox = Outbox(Room(100, 1_000), lambda: overflows.append("overflow"))
    outbox.put("x" * 5_000)
    assert overflows == []
    outbox.put("y")
    assert overflows == ["overflow"]
    assert [text[0] for text in outbox.drain()] == ["x"]


async def test_a_replay_of_large_frames_never_overflows() -> None:
    """Frames that are replayed wait for the room that they need, and leave half of the bytes for what is live."""
    overflows: list[str] = []
    outbox = Outbox(Room(100, 4_000), lambda: overflows.append("overflow"))
    texts = ["a" * 1_500, "b" * 3_900, "c" * 100, "d" * 9_000, "e"]

    async def replay() -> None:
        for text in texts:
            await outbox.put_when_free(text)

    replaying = asyncio.create_task(replay())
    taken = [await outbox.take() for _ in texts]
    await replaying
    assert taken == texts
    assert overflows == []
    for _ in range(20):
        outbox.put("x" * 50)
    assert overflows == []
