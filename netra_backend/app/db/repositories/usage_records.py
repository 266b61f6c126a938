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

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from netra_backend.app.db.bulk import execute_many
from netra_backend.app.db.tables import usage_records, usage_uploads, users
from netra_backend.app.services.refusals import LimitExceededError, NotFoundError
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


OF_UPLOAD: Final = (usage_uploads.c.user_id == usage_records.c.user_id) & (
    usage_uploads.c.upload_id == usage_records.c.upload_id
)
"""Joins a record with its upload."""
_IS_SEEN: Final = usage_uploads.c.completed_at.is_not(None) & usage_uploads.c.erased_at.is_(None)
_PLACE: Final = (usage_records.c.upload_id, usage_records.c.line)


def _seen(*columns: Any) -> Select[Any]:
    """A selection of the user's records whose upload is complete and not erased."""
    return select(*columns).join_from(usage_records, usage_uploads, OF_UPLOAD).where(own(usage_records), _IS_SEEN)


_PAGE: Final = _seen(*_PLACE, *_COLUMNS).order_by(*_PLACE).limit(bindparam("rows"))
_NEXT_PAGE: Final = _PAGE.where(tuple_(*_PLACE) > tuple_(bindparam("upload_id"), bindparam("line")))
_INSERT: Final = insert(usage_records)
_INSERTED: Final = ("user_id", "upload_id", "line", *_FIELDS)
_COUNT_WITH: Final = (
    select(func.count())
    .join_from(usage_records, usage_uploads, OF_UPLOAD)
    .where(own(usage_records), _IS_SEEN | (usage_uploads.c.upload_id == bindparam("with_upload")))
)
_COMPLETE: Final = (
    update(usage_uploads)
    .where(own(usage_uploads), usage_uploads.c.upload_id == bindparam("of_upload"))
    .values(completed_at=bindparam("completed_at"))
)
_GIVE_UP: Final = (
    update(usage_uploads)
    .where(own(usage_uploads), usage_uploads.c.upload_id == bindparam("of_upload"))
    .values(erased_at=bindparam("erased_at"))
)
_COUNT: Final = _seen(func.count())
_ERASE: Final = update(usage_uploads).where(own(usage_uploads), _IS_SEEN).values(erased_at=bindparam("erased_at"))
_SEEN_IDS: Final = select(usage_uploads.c.upload_id).where(own(usage_uploads), _IS_SEEN)
_USER: Final = select(users.c.user_id).where(own(users), users.c.erased_at.is_(None))


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
        seen = {upload_id for upload_id, *_ in await self._rows(_SEEN_IDS)}
        return await asyncio.to_thread(_in_order, [row for row in found if row.upload_id in seen])

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
            LimitExceededError: the user would have more than `most`; nothing is kept, and what stands of it is left to
                `Eraser.finish_usage_records`, as with every error.
            NotFoundError: the account was erased meanwhile.
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
                given_up = self._write(partial(self._give_up, upload_id))
                await asyncio.shield(given_up)
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
        if self._execute(connection, _USER).one_or_none() is None:
            raise NotFoundError
        now = datetime.now(UTC)
        of_upload = {"user_id": self._user_id, "upload_id": upload_id}
        try:
            if is_first:
                connection.execute(insert(usage_uploads).values(**of_upload, created_at=now, completed_at=None))
            if chunk:
                rows = [(self._user_id, upload_id, line, *_VALUES(record)) for line, record in chunk]
                execute_many(connection, _INSERT, _INSERTED, rows)
        except IntegrityError:  # erased by another process between the two statements
            raise NotFoundError from None
        if is_last:
            if self._execute(connection, _COUNT_WITH, with_upload=upload_id).scalar_one() > most:
                raise LimitExceededError(f"you may keep at most {most} usage records; delete the old ones first")
            self._execute(connection, _COMPLETE, of_upload=upload_id, completed_at=now)

    def _give_up(self, upload_id: str, connection: Connection) -> None:
        """Leave the records to the eraser: to delete hundreds of thousands at once would hold up every other write."""
        self._execute(connection, _GIVE_UP, of_upload=upload_id, erased_at=datetime.now(UTC))

    async def erase(self) -> int:
        """Erase all records: from now on they are not there. `Eraser.finish_usage_records` takes them away, in batches.

        Returns:
            How many there were.
        """

        def work(connection: Connection) -> int:
            count = self._execute(connection, _COUNT).scalar_one()
            self._execute(connection, _ERASE, erased_at=datetime.now(UTC))
            return int(count)

        return await self._write(work)


def _in_order(rows: Sequence[Row[Any]]) -> list[UsageRecord]:
    return [_record(row[2:]) for row in sorted(rows, key=_TIME_AND_PLACE)]


def _record(columns: Sequence[Any]) -> UsageRecord:
    return UsageRecord(**dict(zip(_FIELDS, columns, strict=True)))
