"""A clock that a test sets by hand: for what is given its clock, in monotonic seconds."""

from __future__ import annotations


class ManualClock:
    """Stands still until it is set.

    Args:
        now: its time at first; as an attribute, its time.
    """

    def __init__(self, now: float = 1e6) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now
