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

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, tuple_, update

from netra_backend.app.db.bulk import execute_many
from netra_backend.app.db.tables import usage_records, usage_uploads
from netra_backend.app.services.refusals import LimitExceededError
from netra_backend.app.services.usage_record import UsageRecord

from .repository import Repository, decode_cursor, encode_cursor, own

CHUNK: Final = 1_000
"""Rows in one command: a large upload goes in several, so that other users' commits go between them."""

_FIELDS: Final = tuple(field.name for field in fields(UsageRecord))
_VALUES: Final = attrgetter(*_FIELDS)
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


_ALL: Final = _seen(*_COLUMNS).order_by(usage_records.c.timestamp, usage_records.c.request_id, *_PLACE)
_PAGE: Final = _seen(*_PLACE, *_COLUMNS).order_by(*_PLACE).limit(bindparam("rows"))
_NEXT_PAGE: Final = _PAGE.where(tuple_(*_PLACE) > tuple_(bindparam("upload_id"), bindparam("line")))
_INSERT: Final = insert(usage_records)
_INSERTED: Final = ("user_id", "upload_id", "line", *_FIELDS)
_COUNT_SEEN: Final = _seen(func.count())
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
_ERASE: Final = delete(usage_uploads).where(own(usage_uploads), usage_uploads.c.completed_at.is_not(None))


class UsageRecordRepository(Repository):
    """Reads, adds and erases the usage records of the context's user."""

    async def all(self) -> list[UsageRecord]:
        """All records, in the order of their time."""
        return await self._read(lambda connection: [_record(row) for row in self._execute(connection, _ALL)])

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
        """Erase all records; says how many there were."""

        def work(connection: Connection) -> int:
            count: int = self._execute(connection, _COUNT_SEEN).scalar_one()
            self._execute(connection, _ERASE)
            return count

        return await self._write(work)


def _record(columns: Sequence[Any]) -> UsageRecord:
    return UsageRecord(**dict(zip(_FIELDS, columns, strict=True)))
