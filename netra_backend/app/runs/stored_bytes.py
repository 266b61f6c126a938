"""How much each user may have stored."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from netra_backend.app.db.engine import Database
from netra_backend.app.db.repositories.stored_bytes import StoredBytesRepository
from netra_backend.app.services.agent_events import LogEntry
from netra_backend.app.services.refusals import TooMuchStoredError
from netra_backend.app.services.user_execution_context import UserExecutionContext

MAX_REMEMBERED: Final = 10_000

FULL_SECONDS: Final = 5.0
"""How long a user counts as full: to measure reads all that is stored, which nobody may ask for at will."""


class StoredBytes:
    """Measures a user once, then counts along; what is on its way to the disk meanwhile may be missed or counted twice.

    A user beyond the limit may still read, erase, and see the runs that go on to their end.

    Args:
        database: what is measured.
        limit: bytes that one user may have stored.
        clock: monotonic, in seconds.
    """

    def __init__(self, database: Database, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._limit = limit
        self._clock = clock
        self._totals: OrderedDict[str, int] = OrderedDict()
        self._full_until: dict[str, float] = {}

    async def check(self, context: UserExecutionContext) -> None:
        """See that the context's user may store more; raises TooMuchStoredError."""
        user_id = context.user_id
        total = self._totals.get(user_id)
        is_full = total is not None and total >= self._limit
        if total is None or (is_full and self._clock() >= self._full_until.get(user_id, 0.0)):
            self._full_until[user_id] = self._clock() + FULL_SECONDS
            total = await self._measure(context)  # retention may have made room since then
        if total >= self._limit:
            raise TooMuchStoredError(
                f"you have {total:,} bytes stored, at most {self._limit:,} are kept; "
                "delete threads or usage records first"
            )

    async def _measure(self, context: UserExecutionContext) -> int:
        total = self._totals[context.user_id] = await StoredBytesRepository(context, self._database).total()
        if len(self._totals) > MAX_REMEMBERED:
            self.forget(next(iter(self._totals)))
        return total

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Count entries that were stored."""
        for entry in entries:
            if entry.user_id in self._totals:
                self._totals[entry.user_id] += len(entry.data.encode())

    def forget(self, user_id: str) -> None:
        """Measure the user anew the next time: much has come or gone."""
        self._totals.pop(user_id, None)
        self._full_until.pop(user_id, None)
