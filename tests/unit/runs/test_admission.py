"""Admission: users take turns, and nobody has more than their share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.runs.admission import Admission, WaitingRun


def _run(user_id: str, number: int | str = 0, thread_id: str | None = None) -> WaitingRun:
    """A run in a thread of its own unless told so."""
    return WaitingRun(user_id, thread_id or f"t{number}", f"{user_id}-{number}")


def _taken(admission: Admission) -> list[str]:
    """Take while something may start."""
    run_ids = []
    while run := admission.take():
        run_ids.append(run.run_id)
    return run_ids


def test_nothing_waits_nothing_starts() -> None:
    """An empty admission gives nothing."""
    admission = Admission(max_running=1, max_running_per_user=1)
    assert admission.take() is None
    assert (admission.waiting_count, admission.running_count) == (0, 0)
    assert admission.unfinished_of("a") == 0
    assert admission.runs_of("a") == []


def test_users_take_turns() -> None:
    """Each user's oldest run goes before anybody's second one, in the order in which the users came."""
    admission = Admission(max_running=100, max_running_per_user=100)
    for user_id in ("a", "b", "c"):
        for number in range(3):
            admission.enqueue(_run(user_id, number))
    assert _taken(admission) == ["a-0", "b-0", "c-0", "a-1", "b-1", "c-1", "a-2", "b-2", "c-2"]


def test_a_hog_does_not_delay_another() -> None:
    """With 1,000 runs of one user waiting, no more than one of them starts before another user's next run does."""
    admission = Admission(max_running=2, max_running_per_user=2)
    for number in range(1_000):
        admission.enqueue(_run("hog", number))
    running = [admission.take(), admission.take()]
    for number in range(50):
        admission.enqueue(_run("guest", number))
        started: list[WaitingRun | None] = []
        while _run("guest", number) not in started:
            first = running.pop(0)
            assert first is not None
            admission.release(first)
            started.append(admission.take())
            assert admission.take() is None
            running.append(started[-1])
            assert len(started) <= 2
    assert admission.unfinished_of("hog") > 900


def test_places_in_all_are_kept() -> None:
    """No more runs start than there are places, and each release gives one place."""
    admission = Admission(max_running=2, max_running_per_user=10)
    runs = [_run(user_id) for user_id in "abcd"]
    for run in runs:
        admission.enqueue(run)
    assert _taken(admission) == ["a-0", "b-0"]
    admission.release(runs[0])
    assert _taken(admission) == ["c-0"]
    assert (admission.waiting_count, admission.running_count) == (1, 2)


def test_places_of_a_user_are_kept() -> None:
    """A user at the limit waits while others start, and goes on when one of the own runs ends."""
    admission = Admission(max_running=10, max_running_per_user=2)
    for number in range(4):
        admission.enqueue(_run("a", number))
    admission.enqueue(_run("b"))
    assert _taken(admission) == ["a-0", "b-0", "a-1"]
    admission.release(_run("b"))
    assert _taken(admission) == []
    admission.release(_run("a", 0))
    assert _taken(admission) == ["a-2"]


def test_a_thread_has_one_run_at_a_time() -> None:
    """The second run of a thread waits for the first one's end, and does not hold up the user's other threads."""
    admission = Admission(max_running=10, max_running_per_user=10)
    runs = [_run("a", 1, "t"), _run("a", 2, "t"), _run("a", 3, "u"), _run("a", 4, "t")]
    for run in runs:
        admission.enqueue(run)
    assert _taken(admission) == ["a-1", "a-3"]
    admission.release(runs[2])
    assert _taken(admission) == []
    admission.release(runs[0])
    assert _taken(admission) == ["a-2"]
    admission.release(runs[1])
    assert _taken(admission) == ["a-4"]


def test_a_thread_belongs_to_its_user() -> None:
    """Two users' threads of one id are two threads, and so are their runs of one id."""
    admission = Admission(max_running=10, max_running_per_user=10)
    runs = [WaitingRun(user_id, "t", "r") for user_id in "ab"]
    for run in runs:
        admission.enqueue(run)
    assert [admission.take(), admission.take()] == runs
    admission.release(runs[0])
    assert admission.runs_of("b") == [runs[1]]
    admission.withdraw("a", "r")
    assert admission.running_count == 1


def test_a_withdrawn_run_never_starts() -> None:
    """A run that was taken back is forgotten, and the ones behind it move up."""
    admission = Admission(max_running=10, max_running_per_user=10)
    for number in range(3):
        admission.enqueue(_run("a", number, "t"))
    admission.withdraw("a", "a-0")
    assert _taken(admission) == ["a-1"]
    admission.withdraw("a", "a-2")
    admission.release(_run("a", 1, "t"))
    assert _taken(admission) == []
    assert admission.unfinished_of("a") == 0


def test_withdrawing_leaves_alone_what_does_not_wait() -> None:
    """A run that has started keeps its place, and unknown runs and users are no fault."""
    admission = Admission(max_running=1, max_running_per_user=1)
    admission.enqueue(_run("a", 0))
    admission.enqueue(_run("a", 1))
    assert _taken(admission) == ["a-0"]
    for user_id, run_id in (("a", "a-0"), ("a", "unknown"), ("b", "a-1"), ("nobody", "a-0")):
        admission.withdraw(user_id, run_id)
    assert admission.runs_of("a") == [_run("a", 1), _run("a", 0)]
    assert admission.running_count == 1


def test_a_place_is_freed_once() -> None:
    """Releasing twice, or what never started, gives no place to anybody."""
    admission = Admission(max_running=1, max_running_per_user=1)
    for number in range(3):
        admission.enqueue(_run("a", number))
    first = admission.take()
    assert first is not None
    admission.release(_run("a", 1))
    assert admission.take() is None
    admission.release(first)
    admission.release(first)
    assert _taken(admission) == ["a-1"]
    assert admission.running_count == 1


def test_a_user_who_comes_back_queues_at_the_end() -> None:
    """A user whose queue was empty takes the turn after those who waited before."""
    admission = Admission(max_running=1, max_running_per_user=1)
    for user_id in "abc":
        admission.enqueue(_run(user_id))
    first = admission.take()
    assert first is not None
    admission.enqueue(_run("a", 1))
    order = []
    place: WaitingRun | None = first
    while place is not None:
        admission.release(place)
        place = admission.take()
        order.append(place.run_id if place else "nobody")
    assert order == ["b-0", "c-0", "a-1", "nobody"]


USERS: Final = ("a", "b", "c")


@dataclass
class NaiveAdmission:
    """What may start, by looking at everything each time; and who has been passed over, by whom."""

    max_running: int
    max_running_per_user: int
    waiting: list[WaitingRun] = field(default_factory=list)
    running: list[WaitingRun] = field(default_factory=list)
    overtaken: dict[str, list[str]] = field(default_factory=dict)

    def next_of(self, user_id: str) -> WaitingRun | None:
        """The user's oldest run that may start, places in all aside."""
        own = [run for run in self.running if run.user_id == user_id]
        if len(own) >= self.max_running_per_user:
            return None
        busy = {run.thread_id for run in own}
        return next((run for run in self.waiting if run.user_id == user_id and run.thread_id not in busy), None)

    def take(self, taken: WaitingRun | None) -> None:
        """Judge what was taken: right if the user could start it, and nobody who could start was passed over twice."""
        candidates = {user_id: run for user_id in USERS if (run := self.next_of(user_id))}
        if len(self.running) >= self.max_running or not candidates:
            assert taken is None
            return
        assert taken is not None, "a run may start and none was given"
        assert candidates.get(taken.user_id) == taken
        for user_id in set(candidates) - {taken.user_id}:
            passed_by = self.overtaken.setdefault(user_id, [])
            assert taken.user_id not in passed_by, f"{taken.user_id} starts a second time while {user_id} waits"
            passed_by.append(taken.user_id)
        self.overtaken.pop(taken.user_id, None)
        self.waiting.remove(taken)
        self.running.append(taken)

    def forget_the_ineligible(self) -> None:
        """Whoever may not start now is passed over by nobody."""
        for user_id in USERS:
            if self.next_of(user_id) is None:
                self.overtaken.pop(user_id, None)


@pytest.mark.parametrize("max_running", [1, 3])
@pytest.mark.parametrize("max_running_per_user", [1, 2])
@given(data=st.data())
def test_it_does_as_a_naive_one_does(max_running: int, max_running_per_user: int, data: st.DataObject) -> None:
    """Whatever comes in whatever order: whoever may start does, the oldest first, and nobody twice past another."""
    admission = Admission(max_running=max_running, max_running_per_user=max_running_per_user)
    naive = NaiveAdmission(max_running, max_running_per_user)
    steps = data.draw(
        st.lists(st.sampled_from(["enqueue", "enqueue", "take", "take", "release", "withdraw"]), max_size=60)
    )
    for number, step in enumerate(steps):
        match step:
            case "enqueue":
                user_id, thread_id = data.draw(st.tuples(st.sampled_from(USERS), st.sampled_from(["t", "u"])))
                run = _run(user_id, number, thread_id)
                admission.enqueue(run)
                naive.waiting.append(run)
            case "take":
                naive.take(admission.take())
            case "release" if naive.running:
                run = naive.running.pop(data.draw(st.integers(0, len(naive.running) - 1)))
                admission.release(run)
            case "withdraw" if naive.waiting:
                run = naive.waiting.pop(data.draw(st.integers(0, len(naive.waiting) - 1)))
                admission.withdraw(run.user_id, run.run_id)
        naive.forget_the_ineligible()
        assert admission.waiting_count == len(naive.waiting)
        assert admission.running_count == len(naive.running)
        for user_id in USERS:
            own = [run for run in (*naive.waiting, *naive.running) if run.user_id == user_id]
            assert admission.runs_of(user_id) == own
            assert admission.unfinished_of(user_id) == len(own)
