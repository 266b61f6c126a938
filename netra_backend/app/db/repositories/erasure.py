"""Taking a user's rows away, a batch in each transaction, so that nobody else's commit has to wait for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, bindparam, delete, func, or_, select, tuple_, update

from netra_backend.app.db.bulk import execute_many
from netra_backend.app.db.engine import Database
from netra_backend.app.db.tables import (
    ERASED_MESSAGE,
    UtcDateTime,
    events,
    metadata,
    runs,
    threads,
    usage_records,
    usage_uploads,
    users,
)
from netra_backend.app.services.agent_events import EventType
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .repository import Repository, own

BATCH: Final = 500
"""Rows in one command."""

TABLES: Final[Sequence[Table]] = [table for table in reversed(metadata.sorted_tables) if table is not users]
"""Every table but the users', the ones that hang on others first. All of them belong to users."""

_THREAD: Final = own(threads) & (threads.c.thread_id == bindparam("thread_id"))
_IS_ERASED: Final = select(threads.c.thread_id).where(_THREAD, threads.c.erased_at.is_not(None))
_KEPT: Final = (
    select(threads.c.erased_to_seq).where(_THREAD, threads.c.erased_at.is_(None)).with_for_update(key_share=True)
)
_OF_LOG: Final = own(events) & (events.c.thread_id == bindparam("thread_id"))
_IS_OLD: Final = or_(runs.c.finished_at < bindparam("before", type_=UtcDateTime), runs.c.run_id.is_(None))
_OLDEST: Final = (
    select(events.c.seq, events.c.type, events.c.run_id, func.coalesce(_IS_OLD, False).label("is_old"))
    .join_from(events, runs, (runs.c.user_id == events.c.user_id) & (runs.c.run_id == events.c.run_id), isouter=True)
    .where(_OF_LOG)
    .order_by(events.c.seq)
    .limit(bindparam("rows"))
)
_ERASE_LOG: Final = delete(events).where(_OF_LOG, events.c.seq <= bindparam("to_seq"))
_ERASE_RUN: Final = delete(runs).where(runs.c.user_id == bindparam("of_user"), runs.c.run_id == bindparam("of_run"))
_ERASE_MESSAGE: Final = (
    update(runs)
    .where(runs.c.user_id == bindparam("of_user"), runs.c.run_id == bindparam("of_run"))
    .values(message=bindparam("erased"))
)
_OF_RUN: Final = ("of_user", "of_run")
_ERASE_THREAD: Final = delete(threads).where(_THREAD, threads.c.erased_at.is_not(None))
_REMEMBER: Final = (
    update(threads)
    .where(own(threads), threads.c.thread_id == bindparam("of_thread"))
    .values(erased_to_seq=bindparam("to_seq"))
)
_ERASED_UPLOAD: Final = (
    select(usage_uploads.c.upload_id).where(own(usage_uploads), usage_uploads.c.erased_at.is_not(None)).limit(1)
)
_OF_UPLOAD: Final = own(usage_records) & (usage_records.c.upload_id == bindparam("upload_id"))
_LAST_OF_BATCH: Final = (
    select(usage_records.c.line).where(_OF_UPLOAD).order_by(usage_records.c.line).limit(1).offset(bindparam("before"))
)
_ERASE_RECORDS: Final = delete(usage_records).where(_OF_UPLOAD)
_ERASE_SOME_RECORDS: Final = _ERASE_RECORDS.where(usage_records.c.line <= bindparam("to_line"))
_ERASE_UPLOAD: Final = delete(usage_uploads).where(
    own(usage_uploads), usage_uploads.c.upload_id == bindparam("upload_id"), usage_uploads.c.erased_at.is_not(None)
)
_USER_IS_ERASED: Final = select(users.c.user_id).where(own(users), users.c.erased_at.is_not(None))
_ERASE_USER: Final = delete(users).where(own(users), users.c.erased_at.is_not(None))


class ErasureRepository(Repository):
    """Erases rows of the context's user; each method does one batch, and says whether it was the last."""

    def __init__(self, context: UserExecutionContext, database: Database, *, batch: int = BATCH) -> None:
        super().__init__(context, database)
        self._thread_id = context.thread_id
        self._batch = batch

    async def erase_of_thread(self) -> bool:
        """Erase some rows of the context's thread, if it was erased: of its log, its runs, and at last the thread."""

        def work(connection: Connection) -> bool:
            if self._execute(connection, _IS_ERASED, thread_id=self._thread_id).one_or_none() is None:
                return True
            entries = self._oldest(connection, before=None)
            if entries:
                execute_many(connection, _ERASE_RUN, _OF_RUN, self._begun(entries))
                self._erase_log(connection, entries)
            is_last = len(entries) < self._batch
            if is_last:
                self._execute(connection, _ERASE_THREAD, thread_id=self._thread_id)
            return is_last

        return await self._write(work)

    async def erase_of_user(self) -> bool:
        """Erase some rows of the user, if the user was erased: of one table after the other, at last the account."""

        def work(connection: Connection) -> bool:
            if self._execute(connection, _USER_IS_ERASED).one_or_none() is None:
                return True
            for table in TABLES:
                if self._erase_of_table(connection, table):
                    return False
            self._execute(connection, _ERASE_USER)  # and what a request under way has written since
            return True

        return await self._write(work)

    def _erase_of_table(self, connection: Connection, table: Table) -> int:
        key = [column for column in table.primary_key if column.name != "user_id"]
        last = self._execute(
            connection, select(*key).where(own(table)).order_by(*key).limit(1).offset(self._batch - 1)
        ).one_or_none()
        some = delete(table).where(own(table))
        if last is not None:
            some = some.where(tuple_(*key) <= tuple(last))
        return self._execute(connection, some).rowcount

    async def erase_of_uploads(self) -> bool:
        """Erase some records of one of the user's uploads that were erased, and at last the upload."""

        def work(connection: Connection) -> bool:
            upload_id = self._execute(connection, _ERASED_UPLOAD).scalar_one_or_none()
            if upload_id is None:
                return True
            of_upload = {"upload_id": upload_id}
            last = self._execute(connection, _LAST_OF_BATCH, **of_upload, before=self._batch - 1).scalar_one_or_none()
            if last is None:
                self._execute(connection, _ERASE_RECORDS, **of_upload)
                self._execute(connection, _ERASE_UPLOAD, **of_upload)
            else:
                self._execute(connection, _ERASE_SOME_RECORDS, **of_upload, to_line=last)
            return False

        return await self._write(work)

    async def expire(self, before: datetime) -> bool:
        """Erase some of the oldest entries of the context's thread, and the messages that they tell.

        What goes is a beginning of the log whose runs have all ended before a time; the thread remembers how far.
        Its numbers go on. Of the runs stays what they were and when, not what was said.

        Args:
            before: aware UTC.
        """

        def work(connection: Connection) -> bool:
            if self._execute(connection, _KEPT, thread_id=self._thread_id).one_or_none() is None:
                return True
            entries = self._oldest(connection, before)
            old = list(takewhile(lambda entry: bool(entry.is_old), entries))
            if old:
                self._execute(connection, _REMEMBER, of_thread=self._thread_id, to_seq=old[-1].seq)
                messages = [(*run, ERASED_MESSAGE) for run in self._begun(old)]
                execute_many(connection, _ERASE_MESSAGE, (*_OF_RUN, "erased"), messages)
                self._erase_log(connection, old)
            return len(old) < self._batch

        return await self._write(work)

    def _oldest(self, connection: Connection, before: datetime | None) -> Sequence[Row[Any]]:
        return self._execute(connection, _OLDEST, thread_id=self._thread_id, before=before, rows=self._batch).all()

    def _begun(self, entries: Sequence[Row[Any]]) -> list[tuple[str, str]]:
        """The runs whose messages are among the entries: each is told once, by the first entry of its run."""
        return [(self._user_id, entry.run_id) for entry in entries if entry.type == EventType.USER_MESSAGE]

    def _erase_log(self, connection: Connection, entries: Sequence[Row[Any]]) -> None:
        self._execute(connection, _ERASE_LOG, thread_id=self._thread_id, to_seq=entries[-1].seq)
