"""The usage records of a user."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, select, tuple_, update

from netra_backend.app.db.bulk import execute_many
from netra_backend.app.db.tables import usage_records, usage_uploads
from netra_backend.app.services.refusals import LimitExceededError
from netra_backend.app.services.usage_record import UsageRecord

from .repository import Repository, decode_cursor, encode_cursor, own

CHUNK: Final = 1_000
"""Rows in one command: a large upload goes in several, so that other users' commits go between them."""
READ_PAGE: Final = 5_000
"""Rows read at once: whoever reads them all leaves a reader thread to others in between."""

_FIELDS: Final = tuple(field.name for field in fields(UsageRecord))
_VALUES: Final = attrgetter(*_FIELDS)
_TIME_AND_PLACE: Final = attrgetter("timestamp", "request_id", "upload_id", "line")
_COLUMNS: Final = tuple(usage_records.c[name] for name in _FIELDS)


@dataclass(frozen=True, slots=True)
class Upload:
    """What an upload has stored."""

    upload_id: str
    accepted: int


_OF_UPLOAD: Final = (usage_uploads.c.user_id == usage_records.c.user_id) & (
    usage_uploads.c.upload_id == usage_records.c.upload_id
)
_IS_COMPLETE: Final = usage_uploads.c.completed_at.is_not(None)
_PLACE: Final = (usage_records.c.upload_id, usage_records.c.line)


def _seen(*columns: Any) -> Select[Any]:
    """A selection of the user's records whose upload is complete."""
    return select(*columns).join_from(usage_records, usage_uploads, _OF_UPLOAD).where(own(usage_records), _IS_COMPLETE)


_PAGE: Final = _seen(*_PLACE, *_COLUMNS).order_by(*_PLACE).limit(bindparam("rows"))
_NEXT_PAGE: Final = _PAGE.where(tuple_(*_PLACE) > tuple_(bindparam("upload_id"), bindparam("line")))
_INSERT: Final = insert(usage_records)
_INSERTED: Final = ("user_id", "upload_id", "line", *_FIELDS)
_COUNT_WITH: Final = (
    select(func.count())
    .join_from(usage_records, usage_uploads, _OF_UPLOAD)
    .where(own(usage_records), _IS_COMPLETE | (usage_uploads.c.upload_id == bindparam("with_upload")))
)
_COMPLETE: Final = (
    update(usage_uploads)
    .where(own(usage_uploads), usage_uploads.c.upload_id == bindparam("of_upload"))
    .values(completed_at=bindparam("completed_at"))
)
_FORGET: Final = delete(usage_uploads).where(own(usage_uploads), usage_uploads.c.upload_id == bindparam("upload_id"))
_HIDE: Final = (  # as if it had never been completed: a start erases what a crash leaves of it
    update(usage_uploads)
    .where(own(usage_uploads), usage_uploads.c.completed_at.is_not(None))
    .values(completed_at=None)
    .returning(usage_uploads.c.upload_id)
)
_OF_ONE_UPLOAD: Final = own(usage_records) & (usage_records.c.upload_id == bindparam("upload_id"))
_LAST_OF_BATCH: Final = (
    select(usage_records.c.line).where(_OF_ONE_UPLOAD).order_by(usage_records.c.line).limit(1).offset(CHUNK - 1)
)
_ERASE_BATCH: Final = delete(usage_records).where(_OF_ONE_UPLOAD, usage_records.c.line <= bindparam("to_line"))
_ERASE_REST: Final = delete(usage_records).where(_OF_ONE_UPLOAD)
_COMPLETE_IDS: Final = select(usage_uploads.c.upload_id).where(own(usage_uploads), _IS_COMPLETE)


class UsageRecordRepository(Repository):
    """Reads, adds and erases the usage records of the context's user."""

    async def all(self) -> list[UsageRecord]:
        """All records, in the order of their time; of uploads that are erased meanwhile all of them or none."""

        def first(connection: Connection) -> tuple[Sequence[Row[Any]], list[UsageRecord] | None]:
            rows = self._execute(connection, _PAGE, rows=READ_PAGE).all()
            return rows, _in_order(rows) if len(rows) < READ_PAGE else None

        page, records = await self._read(first)
        if records is not None:  # of one moment
            return records
        found = list(page)
        while len(page) == READ_PAGE:
            last = page[-1]
            page = await self._rows(_NEXT_PAGE, rows=READ_PAGE, upload_id=last.upload_id, line=last.line)
            found.extend(page)
        complete = {upload_id for upload_id, *_ in await self._rows(_COMPLETE_IDS)}
        return await asyncio.to_thread(_in_order, [row for row in found if row.upload_id in complete])

    async def page(self, *, limit: int, cursor: str | None) -> tuple[list[UsageRecord], str | None]:
        """A page of the records, in the order of their uploads' ids and lines, and the cursor of the next page."""
        if cursor is None:
            rows = await self._rows(_PAGE, rows=limit + 1)
        else:
            upload_id, line = decode_cursor(cursor, str, int)
            rows = await self._rows(_NEXT_PAGE, rows=limit + 1, upload_id=upload_id, line=line)
        page = [_record(row[2:]) for row in rows[:limit]]
        return page, encode_cursor(*rows[limit - 1][:2]) if len(rows) > limit else None

    async def add(self, records: Iterable[tuple[int, UsageRecord]], *, most: int) -> Upload:
        """Store the records of one upload: all of them, seen from one moment on, or none.

        Args:
            records: with the line of the file that each stood on; read in threads, a chunk at a time; what it raises
                is passed on, and nothing is kept.
            most: how many records the user may have in all.

        Returns:
            The upload.

        Raises:
            LimitExceededError: the user would have more than `most`; nothing is kept.
        """
        upload_id = str(uuid4())
        rows = iter(records)
        accepted = 0
        is_last = False
        try:
            while not is_last:
                chunk = await asyncio.to_thread(list, islice(rows, CHUNK))
                is_last = len(chunk) < CHUNK
                is_first = accepted == 0
                accepted += len(chunk)
                store = partial(self._insert, upload_id, chunk, is_first=is_first, is_last=is_last, most=most)
                await self._write(store)
        except BaseException:
            if accepted:  # an earlier chunk may stand; it was never seen and never will be
                forgotten = self._write(partial(self._forget, upload_id))
                await asyncio.shield(forgotten)
            raise
        return Upload(upload_id, accepted)

    def _insert(
        self,
        upload_id: str,
        chunk: list[tuple[int, UsageRecord]],
        connection: Connection,
        *,
        is_first: bool,
        is_last: bool,
        most: int,
    ) -> None:
        now = datetime.now(UTC)
        of_upload = {"user_id": self._user_id, "upload_id": upload_id}
        if is_first:
            connection.execute(insert(usage_uploads).values(**of_upload, created_at=now, completed_at=None))
        if chunk:
            rows = [(self._user_id, upload_id, line, *_VALUES(record)) for line, record in chunk]
            execute_many(connection, _INSERT, _INSERTED, rows)
        if is_last:
            if self._execute(connection, _COUNT_WITH, with_upload=upload_id).scalar_one() > most:
                raise LimitExceededError(f"you may keep at most {most} usage records; delete the old ones first")
            self._execute(connection, _COMPLETE, of_upload=upload_id, completed_at=now)

    def _forget(self, upload_id: str, connection: Connection) -> None:
        self._execute(connection, _FORGET, upload_id=upload_id)

    async def erase(self) -> int:
        """Erase all records, unseen from the first moment, then in batches; says how many there were."""

        def hide(connection: Connection) -> list[str]:
            return list(self._execute(connection, _HIDE).scalars())

        erased = 0
        for upload_id in await self._write(hide):
            while count := await self._write(partial(self._erase_batch, upload_id)):
                erased += count
        return erased

    def _erase_batch(self, upload_id: str, connection: Connection) -> int:
        """Erase some records of an upload, and the upload when none are left; says how many."""
        last = self._execute(connection, _LAST_OF_BATCH, upload_id=upload_id).scalar_one_or_none()
        if last is not None:
            return self._execute(connection, _ERASE_BATCH, upload_id=upload_id, to_line=last).rowcount
        count = self._execute(connection, _ERASE_REST, upload_id=upload_id).rowcount
        self._execute(connection, _FORGET, upload_id=upload_id)
        return count


def _in_order(rows: Sequence[Row[Any]]) -> list[UsageRecord]:
    return [_record(row[2:]) for row in sorted(rows, key=_TIME_AND_PLACE)]


def _record(columns: Sequence[Any]) -> UsageRecord:
    return UsageRecord(**dict(zip(_FIELDS, columns, strict=True)))
