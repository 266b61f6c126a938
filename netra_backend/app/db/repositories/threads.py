"""The threads of a user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from netra_backend.app.db.tables import events, runs, threads
from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.refusals import InvalidRequestError, NotFoundError
from netra_backend.app.services.run_state import UNFINISHED

from .event_log import to_entry
from .repository import Repository, decode_cursor, encode_cursor

_COLUMNS = (threads.c.thread_id, threads.c.title, threads.c.created_at, threads.c.updated_at, threads.c.last_seq)


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation; `last_seq` is the number of its newest log entry."""

    thread_id: str
    title: str | None
    created_at: datetime
    updated_at: datetime
    last_seq: int


class ThreadRepository(Repository):
    """Reads and changes the threads of the context's user."""

    async def page(self, *, limit: int, cursor: str | None) -> tuple[list[Thread], str | None]:
        """A page of the threads, newest first, and the cursor of the next page."""
        statement = select(*_COLUMNS).where(self._own(threads))
        if cursor is not None:
            created_at, thread_id = decode_cursor(cursor, str, str)
            try:
                before = datetime.fromisoformat(created_at)
            except ValueError:
                raise InvalidRequestError("cursor: expected the next_cursor of an earlier page") from None
            statement = statement.where(tuple_(threads.c.created_at, threads.c.thread_id) < (before, thread_id))
        statement = statement.order_by(threads.c.created_at.desc(), threads.c.thread_id.desc()).limit(limit + 1)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        page = [Thread(*row) for row in rows[:limit]]
        more = len(rows) > limit
        return page, encode_cursor(page[-1].created_at.isoformat(), page[-1].thread_id) if more else None

    async def get(self, thread_id: str) -> Thread:
        """One thread; raises NotFoundError."""
        statement = select(*_COLUMNS).where(self._own(threads), threads.c.thread_id == thread_id)
        row = await self._database.read(lambda connection: connection.execute(statement).one_or_none())
        if row is None:
            raise NotFoundError
        return Thread(*row)

    async def create(self, thread_id: str, title: str | None) -> Thread:
        """Make an empty thread; an id that the user has already is refused with InvalidRequestError."""
        now = datetime.now(UTC)
        values = {"thread_id": thread_id, "title": title, "created_at": now, "updated_at": now, "last_seq": 0}

        def work(connection: Connection) -> bool:
            try:
                with connection.begin_nested():
                    connection.execute(insert(threads).values(user_id=self._user_id, **values))
            except IntegrityError:
                return False
            return True

        if not await self._database.writer.run(work):
            raise InvalidRequestError("thread_id: you have a thread of this id already", code="thread_exists")
        return Thread(**values)  # type: ignore[arg-type]  # the columns are the fields

    async def rename(self, thread_id: str, title: str | None) -> Thread:
        """Change a thread's title; raises NotFoundError."""
        statement = (
            update(threads)
            .where(self._own(threads), threads.c.thread_id == thread_id)
            .values(title=title, updated_at=datetime.now(UTC))
            .returning(*_COLUMNS)
        )
        row = await self._database.writer.run(lambda connection: connection.execute(statement).one_or_none())
        if row is None:
            raise NotFoundError
        return Thread(*row)

    async def delete(self, thread_id: str) -> list[str]:
        """Erase a thread with its log and runs.

        Returns:
            The ids of the runs that had not ended: they must be stopped.

        Raises:
            NotFoundError: the user has no such thread.
        """
        unfinished = select(runs.c.run_id).where(
            self._own(runs), runs.c.thread_id == thread_id, runs.c.status.in_(UNFINISHED)
        )
        erase = delete(threads).where(self._own(threads), threads.c.thread_id == thread_id)

        def work(connection: Connection) -> list[str] | None:
            stopped = list(connection.execute(unfinished).scalars())
            return stopped if connection.execute(erase).rowcount else None

        stopped = await self._database.writer.run(work)
        if stopped is None:
            raise NotFoundError
        return stopped

    async def messages(self, thread_id: str, *, limit: int, cursor: str | None) -> tuple[list[LogEntry], str | None]:
        """A page of what was said, oldest first: the user's messages and the runs' answers, as log entries."""
        after_seq = decode_cursor(cursor, int)[0] if cursor is not None else 0
        said = (events.c.type == EventType.USER_MESSAGE) | (
            (events.c.type == EventType.AGENT_COMPLETED) & events.c.final
        )
        statement = (
            select(events)
            .where(self._own(events), events.c.thread_id == thread_id, events.c.seq > after_seq, said)
            .order_by(events.c.seq)
            .limit(limit + 1)
        )
        exists = select(threads.c.thread_id).where(self._own(threads), threads.c.thread_id == thread_id)

        def work(connection: Connection) -> list[LogEntry] | None:
            if connection.execute(exists).one_or_none() is None:
                return None
            return [to_entry(row) for row in connection.execute(statement)]

        entries = await self._database.read(work)
        if entries is None:
            raise NotFoundError
        page = entries[:limit]
        return page, encode_cursor(page[-1].seq) if len(entries) > limit else None
