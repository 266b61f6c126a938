"""The usage records of one run, loaded once."""

from __future__ import annotations

from collections.abc import Sequence

from netra_backend.app.services.ports import UsageRecords
from netra_backend.app.services.usage_record import UsageRecord
from netra_backend.app.services.user_execution_context import UserExecutionContext


class RecordsSnapshot:
    """The records of one run's user, the same for every tool of the run.

    Made for one run and dropped with it: it does not look at the context again once it has loaded.
    """

    def __init__(self, source: UsageRecords) -> None:
        self._source = source
        self._records: Sequence[UsageRecord] | None = None

    async def load(self, context: UserExecutionContext) -> Sequence[UsageRecord]:
        """All records of the context's user as they were at the run's first call."""
        if self._records is None:
            self._records = await self._source.load(context)
        return self._records
