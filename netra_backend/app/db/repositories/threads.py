"""The threads of a user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from netra_backend.app.db.tables import UtcDateTime, events, runs, threads
from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.refusals import NotFoundError, ThreadExistsError

from .event_log import to_entry
from .repository import Repository, decode_cursor, encode_cursor, own

_COLUMNS: Final = (
    threads.c.thread_id,
    threads.c.title,
    threads.c.created_at,
    threads.c.updated_at,
    threads.c.last_seq,
    threads.c.erased_to_seq,
)


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation.

    Attributes:
        last_seq: the number of its newest log entry.
        erased_to_seq: up to which number retention has erased its log; 0 when it has not.
    """

    thread_id: str
    title: str | None
    created_at: datetime
    updated_at: datetime
    last_seq: int
    erased_to_seq: int = 0


_IS_PRESENT: Final = own(threads) & threads.c.erased_at.is_(None)
_THREAD: Final = _IS_PRESENT & (threads.c.thread_id == bindparam("thread_id"))
_GET: Final = select(*_COLUMNS).where(_THREAD)
_PAGE: Final = (
    select(*_COLUMNS)
    .where(_IS_PRESENT)
    .order_by(threads.c.created_at.desc(), threads.c.thread_id.desc())
    .limit(bindparam("rows"))
)
_NEXT_PAGE: Final = _PAGE.where(
    tuple_(threads.c.created_at, threads.c.thread_id)
    < tuple_(bindparam("created_at", type_=UtcDateTime), bindparam("before_id"))
)
_CREATE: Final = insert(threads)
_RENAME: Final = (
    update(threads)
    .where(_IS_PRESENT, threads.c.thread_id == bindparam("of_thread"))
    .values(title=bindparam("title"), updated_at=bindparam("updated_at"))
    .returning(*_COLUMNS)
)
_UNFINISHED_RUNS: Final = select(runs.c.run_id).where(
    own(runs), runs.c.thread_id == bindparam("thread_id"), runs.c.finished_at.is_(None)
)
_ERASE: Final = (
    update(threads)
    .where(_IS_PRESENT, threads.c.thread_id == bindparam("of_thread"))
    .values(erased_at=bindparam("erased_at"))
)
_MESSAGES: Final = (
    select(events)
    .where(
        own(events),
        events.c.thread_id == bindparam("thread_id"),
        events.c.seq > bindparam("after_seq"),
        (events.c.type == EventType.USER_MESSAGE) | ((events.c.type == EventType.AGENT_COMPLETED) & events.c.final),
    )
    .order_by(events.c.seq)
    .limit(bindparam("rows"))
)


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A page of what was said.

    Attributes:
        entries: the user's messages and the runs' answers, as log entries.
        next_cursor: of the next page; None after the last.
        gap: the first and the last number of what retention has erased before the page; None when it has not.
    """

    entries: list[LogEntry]
    next_cursor: str | None
    gap: tuple[int, int] | None


class ThreadRepository(Repository):
    """Reads and changes the threads of the context's user."""

    async def page(self, *, limit: int, cursor: str | None) -> tuple[list[Thread], str | None]:
        """A page of the threads, newest first, and the cursor of the next page."""
        if cursor is None:
            rows = await self._rows(_PAGE, rows=limit + 1)
        else:
            created_at, before_id = decode_cursor(cursor, datetime, str)
            rows = await self._rows(_NEXT_PAGE, rows=limit + 1, created_at=created_at, before_id=before_id)
        page = [Thread(*tuple(row)) for row in rows[:limit]]
        more = len(rows) > limit
        return page, encode_cursor(page[-1].created_at, page[-1].thread_id) if more else None

    async def get(self, thread_id: str) -> Thread:
        """One thread; raises NotFoundError."""
        return Thread(*tuple(await self._row(_GET, thread_id=thread_id)))

    async def create(self, thread_id: str, title: str | None) -> Thread:
        """Make an empty thread; an id that the user has already is refused with ThreadExistsError."""
        now = datetime.now(UTC)
        thread = Thread(thread_id, title, created_at=now, updated_at=now, last_seq=0)

        def work(connection: Connection) -> None:
            try:
                connection.execute(_CREATE, {"user_id": self._user_id, **asdict(thread)})
            except IntegrityError:
                raise ThreadExistsError from None

        await self._write(work)
        return thread

    async def rename(self, thread_id: str, title: str | None) -> Thread:
        """Change a thread's title; raises NotFoundError."""

        def work(connection: Connection) -> Thread:
            changes = {"of_thread": thread_id, "title": title, "updated_at": datetime.now(UTC)}
            row = self._execute(connection, _RENAME, **changes).one_or_none()
            if row is None:
                raise NotFoundError
            return Thread(*tuple(row))

        return await self._write(work)

    async def delete(self, thread_id: str, erased: Callable[[Sequence[str]], None]) -> None:
        """Erase a thread: from now on it is not there. `Eraser.finish_thread` takes its rows away, in batches.

        Args:
            thread_id: which.
            erased: told, before anything can be written to a new thread of the same id, the ids of the runs that had
                not ended: they must be stopped. None of them can be claimed or written to any more.

        Raises:
            NotFoundError: the user has no such thread.
        """

        def work(connection: Connection) -> list[str]:
            unfinished = list(self._execute(connection, _UNFINISHED_RUNS, thread_id=thread_id).scalars())
            if not self._execute(connection, _ERASE, of_thread=thread_id, erased_at=datetime.now(UTC)).rowcount:
                raise NotFoundError
            return unfinished

        await self._write(work, erased)

    async def messages(self, thread_id: str, *, limit: int, cursor: str | None) -> MessagePage:
        """A page of what was said, oldest first; raises NotFoundError."""
        (after_seq,) = (0,) if cursor is None else decode_cursor(cursor, int)

        def work(connection: Connection) -> tuple[int, list[LogEntry]]:
            thread = self._execute(connection, _GET, thread_id=thread_id).one_or_none()
            if thread is None:
                raise NotFoundError
            of_thread = {"thread_id": thread_id, "after_seq": after_seq, "rows": limit + 1}
            return thread.erased_to_seq, [to_entry(row) for row in self._execute(connection, _MESSAGES, **of_thread)]

        erased_to_seq, entries = await self._read(work)
        page = entries[:limit]
        return MessagePage(
            page,
            encode_cursor(page[-1].seq) if len(entries) > limit else None,
            (after_seq + 1, erased_to_seq) if after_seq < erased_to_seq else None,
        )
