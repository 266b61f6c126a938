"""Admission: which of the waiting runs may start now, so that one user cannot starve another."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A stored run that waits for its turn.

    Attributes:
        attempt: how often it was claimed before.
        deadline: when it is given up, aware UTC.
    """

    user_id: str
    thread_id: str
    run_id: str
    attempt: int = 0
    deadline: datetime = NEVER

    @property
    def key(self) -> tuple[str, str]:
        """What tells the run from all others: its user and its id."""
        return self.user_id, self.run_id


class Admission:
    """The queues of all users, and a place for each run that has started.

    Users take turns; within a user the oldest run that may start goes first; a thread has one run at a time. No I/O and
    no clock: who waits and who runs is all it knows.

    Args:
        max_running: places in all.
        max_running_per_user: places of one user.
    """

    def __init__(self, *, max_running: int, max_running_per_user: int) -> None:
        self._max_running = max_running
        self._max_running_per_user = max_running_per_user
        self._waiting: dict[str, deque[WaitingRun]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()  # users with a waiting run that may start, as far as known
        self._running: dict[str, dict[str, WaitingRun]] = {}
        self._running_count = 0

    def enqueue(self, run: WaitingRun) -> None:
        """Let a run wait behind the user's others."""
        self._waiting.setdefault(run.user_id, deque()).append(run)
        self._turns.setdefault(run.user_id)

    def take(self) -> WaitingRun | None:
        """Start the next run: give it its place and return it; None when none may start now."""
        if self._running_count >= self._max_running:
            return None
        while self._turns:
            user_id, _ = self._turns.popitem(last=False)
            run = self._take_of(user_id)
            if run is not None:
                self._running.setdefault(user_id, {})[run.run_id] = run
                self._running_count += 1
                if user_id in self._waiting:
                    self._turns[user_id] = None
                return run
        return None

    def _take_of(self, user_id: str) -> WaitingRun | None:
        running = self._running.get(user_id, {})
        if len(running) >= self._max_running_per_user:
            return None
        busy_threads = {run.thread_id for run in running.values()}
        for run in self._waiting.get(user_id, ()):
            if run.thread_id not in busy_threads:
                self.withdraw(user_id, run.run_id)
                return run
        return None

    def release(self, run: WaitingRun) -> None:
        """Free the place of a run that has ended."""
        running = self._running.get(run.user_id, {})
        if running.pop(run.run_id, None) is not None:
            self._running_count -= 1
            if not running:
                del self._running[run.user_id]
            if run.user_id in self._waiting:
                self._turns.setdefault(run.user_id)

    def withdraw(self, user_id: str, run_id: str) -> None:
        """Forget a run that waits; one that does not wait is left alone."""
        queue = self._waiting.get(user_id)
        if queue is None:
            return
        kept = deque(run for run in queue if run.run_id != run_id)
        if kept:
            self._waiting[user_id] = kept
        else:
            del self._waiting[user_id]

    def unfinished_of(self, user_id: str) -> int:
        """How many runs of the user wait or have started."""
        return len(self._waiting.get(user_id, ())) + len(self._running.get(user_id, ()))

    def runs_of(self, user_id: str) -> list[WaitingRun]:
        """The runs of the user that wait or have started."""
        return [*self._waiting.get(user_id, ()), *self._running.get(user_id, {}).values()]

    @property
    def waiting_count(self) -> int:
        """How many runs wait."""
        return sum(len(queue) for queue in self._waiting.values())

    @property
    def running_count(self) -> int:
        """How many runs have started and not ended."""
        return self._running_count
