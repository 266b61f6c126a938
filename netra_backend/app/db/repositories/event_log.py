"""The log of one thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select

from netra_backend.app.db.engine import Database
from netra_backend.app.db.tables import events, threads
from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.refusals import NotFoundError
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .repository import Repository, own, present


def to_entry(row: Row[Any]) -> LogEntry:
    """The entry of a row of `select(events)`."""
    return LogEntry(**{**row._mapping, "type": EventType(row.type)})


_READ: Final = (
    select(events)
    .where(own(events), events.c.thread_id == bindparam("thread_id"), events.c.seq > bindparam("after_seq"))
    .where(present(bindparam("thread_id")))
    .order_by(events.c.seq)
    .limit(bindparam("rows"))
)
_BOUNDS: Final = select(threads.c.erased_to_seq, threads.c.last_seq).where(
    own(threads), threads.c.thread_id == bindparam("thread_id"), present(bindparam("thread_id"))
)


class EventLog(Repository):
    """Reads the log of the context's thread; the writing is the ledger's."""

    def __init__(self, context: UserExecutionContext, database: Database) -> None:
        super().__init__(context, database)
        self._thread_id = context.thread_id

    async def read(self, after_seq: int, limit: int) -> Sequence[LogEntry]:
        """A stretch of the log.

        Args:
            after_seq: the entries after this one; 0 from the beginning.
            limit: at most so many.

        Returns:
            The entries in order; none when there are no later ones yet. Where retention has erased, the first one's
            number is not the next after `after_seq`.

        Raises:
            NotFoundError: the user has no such thread.
        """

        def work(connection: Connection) -> list[LogEntry]:
            of_thread = {"thread_id": self._thread_id, "after_seq": after_seq, "rows": limit}
            entries = [to_entry(row) for row in self._execute(connection, _READ, **of_thread)]
            if not entries and self._execute(connection, _BOUNDS, thread_id=self._thread_id).one_or_none() is None:
                raise NotFoundError
            return entries

        return await self._read(work)

    async def bounds(self) -> tuple[int, int]:
        """Up to which seq retention has erased the log, 0 when it has not, and its last seq; raises NotFoundError."""
        row = await self._row(_BOUNDS, thread_id=self._thread_id)
        return row.erased_to_seq, row.last_seq
