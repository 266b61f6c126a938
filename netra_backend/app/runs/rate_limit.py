"""How fast each user may send."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from netra_backend.app.services.refusals import RateLimitedError

MAX_REMEMBERED = 10_000


class RateLimit:
    """A token bucket for each user: a minute's worth at once, refilled evenly.

    Args:
        per_minute: messages that one user may send in a minute.
        clock: monotonic seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when the user's bucket will be full again

    def spend(self, user_id: str) -> None:
        """Count a message.

        Args:
            user_id: whose.

        Raises:
            RateLimitedError: the bucket is empty; says after how many seconds it will hold one again.
        """
        now = self._clock()
        interval = 60 / self._per_minute
        full_at = max(self._full_at.get(user_id, now), now) + interval
        wait = full_at - now - 60
        if wait > 1e-9:
            raise RateLimitedError(
                f"more than {self._per_minute} messages in a minute; try again in {wait:.1f} s", retry_after=wait
            )
        self._full_at[user_id] = full_at
        self._full_at.move_to_end(user_id)
        if len(self._full_at) > MAX_REMEMBERED and next(iter(self._full_at.values())) <= now:
            self._full_at.popitem(last=False)
