"""How fast each user may send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from netra_backend.app.services.refusals import RateLimitedError
from netra_backend.app.services.token_buckets import TokenBuckets

MAX_REMEMBERED: Final = 10_000


class RateLimit:
    """A token bucket for each user: a minute's worth at once, refilled evenly.

    Args:
        per_minute: messages that one user may send in a minute.
        clock: monotonic seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._buckets = TokenBuckets(per_minute, 60, clock, most=MAX_REMEMBERED, is_strict=False)

    def spend(self, user_id: str) -> None:
        """Count a message.

        Args:
            user_id: whose.

        Raises:
            RateLimitedError: the bucket is empty; says after how many seconds it will hold one again.
        """
        if wait := self._buckets.wait(user_id):
            raise RateLimitedError(
                f"more than {self._per_minute} messages in a minute; try again in {wait:.1f} s", retry_after=wait
            )
        self._buckets.count(user_id)
