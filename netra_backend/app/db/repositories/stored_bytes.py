"""How much is stored for a user."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Integer, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from netra_backend.app.db.tables import events, threads, usage_records, usage_uploads

from .repository import Repository, own
from .usage_records import OF_UPLOAD

USAGE_RECORD_BYTES: Final = 256
"""What a usage record is counted as; each is about so large, and to measure a million of them takes its time."""


class octet_length(GenericFunction[int]):  # noqa: N801  SQLAlchemy names a function after its class
    """The bytes of a text."""

    type = Integer()
    inherit_cache = True


@compiles(octet_length, "sqlite")
def _octet_length_in_sqlite(element: octet_length, compiler: SQLCompiler, **options: Any) -> str:
    """SQLite has the function from 3.43 on."""
    (text,) = element.clauses
    return f"length(CAST({compiler.process(text, **options)} AS BLOB))"


_OF_THREAD: Final = (threads.c.user_id == events.c.user_id) & (threads.c.thread_id == events.c.thread_id)
_LOGGED: Final = (
    select(func.coalesce(func.sum(octet_length(events.c.data)), 0))
    .join_from(events, threads, _OF_THREAD)
    .where(own(events), threads.c.erased_at.is_(None))
)
_USAGE_RECORDS: Final = (
    select(func.count())
    .join_from(usage_records, usage_uploads, OF_UPLOAD)
    .where(own(usage_records), usage_uploads.c.erased_at.is_(None))
)


class StoredBytesRepository(Repository):
    """Measures what is stored for the context's user."""

    async def total(self) -> int:
        """The bytes of all events of the user's threads, messages included, and of the usage records.

        What is erased does not count, though its rows may still be there.
        """
        (logged,) = await self._rows(_LOGGED)
        (usage_record_count,) = await self._rows(_USAGE_RECORDS)
        return int(logged[0]) + USAGE_RECORD_BYTES * int(usage_record_count[0])
