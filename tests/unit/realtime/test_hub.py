"""The hub: every reader of a thread gets every entry after its place, once, in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Generator, Sequence
from types import coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.realtime import hub as hub_module
from netra_backend.app.realtime.hub import MAX_HELD, MAX_HELD_BYTES, PAGE, Hub, Subscription
from netra_backend.app.realtime.messages import event_frame
from netra_backend.app.services.agent_events import LogEntry
from netra_backend.app.services.refusals import NotFoundError
from tests.support.memory_desk import log_entry

KEY = ("ann", "t")


@coroutine
def turn() -> Generator[None, None, None]:
    """Let the test choose what happens in between."""
    yield


class SteppedWorld:
    """A thread's log, the hub that hears of its commits a little later, and a reader that catches up.

    Nothing here runs by itself: the test commits, publishes and lets the reader go on, in any order it likes.
    """

    def __init__(self, committed: int) -> None:
        self.hub = Hub()
        self.log = [log_entry(seq) for seq in range(1, committed + 1)]
        self.published = committed
        self.erased_to = 0
        self.heard: list[int] = []
        self.went_back_to: int | None = None
        self.pages = 0
        self.subscription = Subscription(KEY, self.hear)

    def hear(self, text: str) -> None:
        """The reader is given a frame: it has heard of an entry, or of those that were erased."""
        frame = json.loads(text)
        if frame["type"] == "gap":
            assert (frame["thread_id"], frame["reason"]) == (KEY[1], "retention")
            assert frame["from_seq"] <= frame["to_seq"] <= self.erased_to
            self.heard.extend(range(frame["from_seq"], frame["to_seq"] + 1))
        elif frame["type"] == "error":
            assert (frame["code"], frame["thread_id"]) == ("seq_ahead", KEY[1])
            assert self.heard == []
            self.went_back_to = frame["last_seq"]
        else:
            self.heard.append(frame["seq"])

    async def send(self, text: str) -> None:
        """The reader is given a replayed frame, and is slow to take it."""
        await turn()
        self.hear(text)

    async def read(self, after_seq: int, limit: int) -> Sequence[LogEntry]:
        """A page of the log, which grows while the read is under way and while it is on its way back."""
        await turn()
        page = [entry for entry in self.log if entry.seq > max(after_seq, self.erased_to)][:limit]
        await turn()
        self.pages += 1
        return page

    async def bounds(self) -> tuple[int, int]:
        """Where the log begins and ends, while it grows as during a read."""
        await turn()
        bounds = self.erased_to, len(self.log)
        await turn()
        return bounds

    def expire(self, count: int) -> None:
        """The oldest entries that everybody has been told are erased."""
        self.erased_to = min(self.erased_to + count, self.published)

    def commit(self) -> None:
        """An entry is on disk; nobody has been told."""
        self.log.append(log_entry(len(self.log) + 1))

    def publish(self, count: int) -> None:
        """The hub hears of the next entries on disk."""
        self.hub.publish(self.log[self.published : self.published + count])
        self.published = min(self.published + count, len(self.log))


def advance(reader: Coroutine[Any, Any, None]) -> bool:
    """Let the reader go on to its next wait; False once it has caught up."""
    try:
        reader.send(None)
    except StopIteration:
        return False
    return True


WHAT_HAPPENS = st.lists(st.sampled_from(["commit", "publish one", "publish all", "go on", "expire"]), max_size=120)


@pytest.mark.parametrize(("page", "held"), [(1, 1), (3, 2), (2, 5), (200, 1_000)])
@given(committed=st.integers(0, 12), after=st.integers(0, 14), happens=WHAT_HAPPENS)
def test_replay_and_live_join_without_a_hole_or_a_double(
    page: int, held: int, committed: int, after: int, happens: list[str]
) -> None:
    """However commits, delivery, page reads and retention interleave, the reader gets each entry once, in order, or
    is told of the gap that it fell into; one who has more than there is hears so once, and then all that is new."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_module, "PAGE", page)
        patch.setattr(hub_module, "MAX_HELD", held)
        world = SteppedWorld(committed)
        world.hub.subscribe(world.subscription)
        reader = world.subscription.catch_up(world, after, world.send)
        behind = True
        for action in happens:
            if action == "commit":
                world.commit()
            elif action == "go on":
                behind = behind and advance(reader)
            elif action == "expire":
                world.expire(2)
            else:
                world.publish(1 if action == "publish one" else len(world.log))
            start = after if world.went_back_to is None else world.went_back_to
            assert world.heard == list(range(start + 1, start + 1 + len(world.heard)))
        while behind:
            behind = advance(reader)
        world.publish(len(world.log))
        start = after if world.went_back_to is None else world.went_back_to
        assert committed <= start <= after or world.went_back_to is None
        assert world.heard == list(range(start + 1, len(world.log) + 1))
        world.commit()
        world.publish(1)
        assert world.heard == list(range(start + 1, len(world.log) + 1))


@given(committed=st.integers(0, 5), early=st.integers(0, 5), late=st.integers(0, 5))
def test_a_subscription_can_go_live_at_once(committed: int, early: int, late: int) -> None:
    """One that goes live after a seq passes on what it held beyond it, then everything, and nothing before it."""
    world = SteppedWorld(committed)
    world.hub.subscribe(world.subscription)
    for _ in range(early):
        world.commit()
    world.publish(early)
    assert world.heard == []
    world.subscription.go_live(committed)
    for _ in range(late):
        world.commit()
    world.publish(late)
    assert world.heard == list(range(committed + 1, committed + early + late + 1))


def test_nothing_is_passed_on_twice_when_it_is_offered_twice() -> None:
    """A live subscription knows where it is: an entry offered again is not passed on again."""
    heard: list[str] = []
    subscription = Subscription(KEY, heard.append)
    subscription.go_live(3)
    for seq in (2, 3, 4, 4, 3, 5):
        subscription.offer(seq, str(seq))
    assert heard == ["4", "5"]


def test_what_arrives_during_a_long_replay_is_not_all_kept() -> None:
    """A reader so slow that more than MAX_HELD entries arrive reads them from the log in pages, and misses none."""
    world = SteppedWorld(1)
    world.hub.subscribe(world.subscription)
    reader = world.subscription.catch_up(world, 0, world.send)
    for _ in range(3):
        assert advance(reader)
    for _ in range(3 * MAX_HELD + PAGE):
        world.commit()
        world.publish(1)
    while advance(reader):
        pass
    assert world.heard == list(range(1, len(world.log) + 1))
    assert world.pages == 2 + 3 * MAX_HELD // PAGE + 1


def test_large_entries_that_arrive_during_a_replay_are_not_all_kept() -> None:
    """A few entries beyond MAX_HELD_BYTES are read from the log like many small ones."""
    world = SteppedWorld(1)
    world.hub.subscribe(world.subscription)
    reader = world.subscription.catch_up(world, 0, world.send)
    assert advance(reader)
    for _ in range(10):
        seq = len(world.log) + 1
        world.log.append(log_entry(seq, data={"text": "x" * (MAX_HELD_BYTES // 4)}))
        world.publish(1)
        assert world.subscription.held_bytes <= MAX_HELD_BYTES
    while advance(reader):
        pass
    assert world.heard == list(range(1, len(world.log) + 1))


async def test_a_thread_that_is_not_there_is_told() -> None:
    """Catching up with an unknown thread raises what the log raises, and nothing was passed on."""
    heard: list[str] = []

    class NoLog:
        async def read(self, after_seq: int, limit: int) -> Sequence[LogEntry]:
            raise NotFoundError

        async def bounds(self) -> tuple[int, int]:
            raise NotFoundError

    async def send(text: str) -> None:
        heard.append(text)

    with pytest.raises(NotFoundError):
        await Subscription(KEY, heard.append).catch_up(NoLog(), 0, send)
    assert heard == []


async def test_pages_are_of_the_size_that_is_asked_for() -> None:
    """A replay asks for one page after another, each after the last entry of the one before."""
    asked: list[tuple[int, int]] = []
    log = [log_entry(seq) for seq in range(1, 2 * PAGE + 1)]

    class Log:
        async def read(self, after_seq: int, limit: int) -> Sequence[LogEntry]:
            asked.append((after_seq, limit))
            return log[after_seq : after_seq + limit]

        async def bounds(self) -> tuple[int, int]:
            return 0, len(log)

    heard: list[str] = []

    async def send(text: str) -> None:
        heard.append(text)

    await Subscription(KEY, heard.append).catch_up(Log(), 0, send)
    assert asked == [(0, PAGE), (PAGE, PAGE), (2 * PAGE, PAGE)]
    assert heard == [event_frame(entry) for entry in log]


def live(hub: Hub, key: tuple[str, str], hear: Callable[[str], None]) -> Subscription:
    """A subscription of a thread that is live from its beginning."""
    subscription = Subscription(key, hear)
    hub.subscribe(subscription)
    subscription.go_live(0)
    return subscription


def test_two_readers_of_a_thread_each_get_everything() -> None:
    """Each has a place of its own; one that leaves, even while being told, takes nothing from the other."""
    hub = Hub()
    first: list[str] = []
    second: list[str] = []
    leaving: list[Subscription] = []

    def hear_and_leave(text: str) -> None:
        first.append(text)
        hub.unsubscribe(leaving[0])

    leaving.append(live(hub, KEY, hear_and_leave))
    live(hub, KEY, second.append)
    hub.publish([log_entry(1), log_entry(2)])
    assert second == [event_frame(log_entry(1)), event_frame(log_entry(2))]
    assert first[0] == event_frame(log_entry(1))


def test_whoever_leaves_while_a_batch_is_told_hears_no_more_of_it() -> None:
    """After `unsubscribe` nothing is passed on, not even the rest of the batch."""
    hub = Hub()
    heard: list[str] = []
    leaving: list[Subscription] = []

    def hear_and_leave(text: str) -> None:
        heard.append(text)
        hub.unsubscribe(leaving[0])

    leaving.append(live(hub, KEY, hear_and_leave))
    hub.publish([log_entry(1), log_entry(2), log_entry(3)])
    assert heard == [event_frame(log_entry(1))]


def test_a_reader_hears_its_own_thread_only() -> None:
    """Another user's thread of the same id is another thread, as is another one of the same user."""
    hub = Hub()
    heard: dict[tuple[str, str], list[str]] = {}
    for key in (("ann", "t"), ("bob", "t"), ("ann", "u")):
        live(hub, key, heard.setdefault(key, []).append)
    batch = [
        log_entry(1, user_id=user, thread_id=thread)
        for user, thread in (("ann", "t"), ("bob", "t"), ("eve", "t"), ("ann", "u"))
    ]
    hub.publish(batch)
    hub.publish_delta("ann", "t", "r", "only ann's")
    assert heard["bob", "t"] == [event_frame(batch[1])]
    assert heard["ann", "u"] == [event_frame(batch[3])]
    assert [json.loads(text)["type"] for text in heard["ann", "t"]] == ["agent_thinking", "agent_delta"]


def test_entries_of_many_threads_may_be_mixed_in_a_batch() -> None:
    """The order within each thread is kept however a batch mixes them."""
    hub = Hub()
    heard: dict[str, list[int]] = {"t": [], "u": []}
    for thread_id, seqs in heard.items():
        live(hub, ("ann", thread_id), lambda text, seqs=seqs: seqs.append(json.loads(text)["seq"]))  # type: ignore[misc]  # mypy infers no default of a lambda
    hub.publish([log_entry(1 + n // 2, thread_id="tu"[n % 2]) for n in range(10)])
    assert heard == {"t": [1, 2, 3, 4, 5], "u": [1, 2, 3, 4, 5]}


def test_deltas_reach_live_readers_only() -> None:
    """Streamed text goes to whoever watches live; whoever still catches up misses it and is not given it later."""
    hub = Hub()
    heard: list[str] = []
    subscription = Subscription(KEY, heard.append)
    hub.subscribe(subscription)
    hub.publish_delta(*KEY, "r", "early")
    subscription.go_live(0)
    hub.publish_delta(*KEY, "r", "now")
    hub.unsubscribe(subscription)
    hub.publish_delta(*KEY, "r", "late")
    assert [json.loads(text) for text in heard] == [
        {"type": "agent_delta", "thread_id": "t", "run_id": "r", "text": "now"}
    ]


def test_leaving_twice_or_never_having_come_is_no_error() -> None:
    """`unsubscribe` of a reader that is not there changes nothing for those that are."""
    hub = Hub()
    heard: list[str] = []
    stays = live(hub, KEY, heard.append)
    leaves = live(hub, KEY, lambda _: None)
    hub.unsubscribe(leaves)
    hub.unsubscribe(leaves)
    hub.unsubscribe(Subscription(KEY, heard.append))
    hub.publish([log_entry(1)])
    assert len(heard) == 1
    hub.unsubscribe(stays)
    hub.unsubscribe(stays)
    hub.publish([log_entry(2)])
    assert len(heard) == 1


def test_an_erased_thread_is_told_to_its_readers_and_forgotten() -> None:
    """Its readers hear that it is over, once, and nothing of a new thread of the same id; other threads go on."""
    hub = Hub()
    heard: list[str] = []
    ended: list[str] = []
    first = Subscription(KEY, heard.append, lambda: ended.append("first"))
    hub.subscribe(first)
    second = live(hub, KEY, heard.append)
    other = live(hub, ("bob", "t"), heard.append)
    hub.forget(KEY)
    hub.forget(KEY)
    assert (first.is_over, second.is_over, other.is_over) == (True, True, False)
    assert ended == ["first"]
    hub.publish([log_entry(1), log_entry(1, user_id="bob")])
    hub.unsubscribe(first)
    assert heard == [event_frame(log_entry(1, user_id="bob"))]
    live(hub, KEY, heard.append)
    hub.publish([log_entry(1)])
    assert len(heard) == 2
