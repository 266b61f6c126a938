"""Token buckets: how much each key may spend at once, refilled evenly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

ROUNDING: Final = 1e-9
"""Seconds that nobody is made to wait for: sums of floats are off by less."""


class TokenBuckets:
    """A bucket for each key.

    Where it is counted before, and taken back unless it was due, nobody waits longer than one refill. Where it is
    counted after, what is under way at the same moment may go beyond what is left, and that debt is waited for.

    Args:
        limit: what a full bucket holds.
        period: seconds in which an empty bucket fills.
        clock: monotonic seconds.
        most: keys that are remembered.
        is_strict: whether beyond `most` the longest unused key is forgotten though its bucket is not full: for keys
            that strangers make up.
    """

    def __init__(self, limit: int, period: float, clock: Callable[[], float], *, most: int, is_strict: bool) -> None:
        self._period = period
        self._interval = period / limit
        self._clock = clock
        self._most = most
        self._is_strict = is_strict
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when the key's bucket will be full again

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._full_at)

    def wait(self, key: str) -> float:
        """Seconds until the bucket holds one; 0 when it does now."""
        seconds = self._full_at.get(key, 0.0) + self._interval - self._clock() - self._period
        return seconds if seconds > ROUNDING else 0.0

    def count(self, key: str) -> None:
        """Take one, whether the bucket holds it or not."""
        now = self._clock()
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most and (self._is_strict or next(iter(self._full_at.values())) <= now):
            self._full_at.popitem(last=False)

    def take_back(self, key: str) -> None:
        """Put back one that was counted."""
        if key in self._full_at:
            self._full_at[key] -= self._interval
            if self._full_at[key] <= self._clock() + ROUNDING:  # else what costs nothing would push out who owes
                del self._full_at[key]
