"""A user's own account and sign-ins, and all that is stored for the user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, delete, exists, select, tuple_, update

from netra_backend.app.db.tables import events, runs, sessions, threads, usage_records, usage_uploads, users

from .repository import OWNER, Repository, own, present

EXPORTED: tuple[tuple[str, Table], ...] = (
    ("account", users),
    ("session", sessions),
    ("thread", threads),
    ("run", runs),
    ("event", events),
    ("usage_upload", usage_uploads),
    ("usage_record", usage_records),
)
"""Every table with rows of a user, and what a row of it is called in an export."""

SECRET_COLUMNS = frozenset({"password_hash", "refresh_hash", "spent_hash"})
_NOT_EXPORTED: Final = SECRET_COLUMNS | {"erased_at"}
_NO_HASH: Final = ""
"""What no password has."""
EXPORT_PAGE: Final = 100
"""Rows read at once; an event may be as large as `max_event_bytes`."""


_IS_PRESENT: Final = own(users) & users.c.erased_at.is_(None)
_GET: Final = select(users).where(_IS_PRESENT)
_SESSION: Final = (
    select(sessions.c.session_id)
    .join_from(sessions, users, sessions.c.user_id == users.c.user_id)
    .where(own(sessions), sessions.c.session_id == bindparam("session_id"), sessions.c.expires_at > bindparam("now"))
    .where(users.c.erased_at.is_(None))
)
_END_SESSION: Final = delete(sessions).where(own(sessions), sessions.c.session_id == bindparam("session_id"))
_END_SESSIONS: Final = delete(sessions).where(own(sessions))
_CHANGE_PASSWORD: Final = (
    update(users)
    .where(_IS_PRESENT, users.c.password_hash == bindparam("old_hash"))
    .values(password_hash=bindparam("new_hash"))
)
_ERASE: Final = (
    update(users).where(_IS_PRESENT).values(erased_at=bindparam("now"), email=users.c.user_id, password_hash=_NO_HASH)
)
_STOP: Final = (
    update(threads)
    .where(own(threads), threads.c.erased_at.is_(None))
    .where(threads.c.thread_id.in_(select(runs.c.thread_id).where(own(runs), runs.c.finished_at.is_(None))))
    .values(erased_at=bindparam("now"))
)


def _is_kept(table: Table) -> ColumnElement[bool]:
    """That the upload of a row is complete, and was not erased."""
    upload = usage_uploads.alias("of_row")
    return exists().where(
        upload.c.user_id == bindparam(OWNER),
        upload.c.upload_id == table.c.upload_id,
        upload.c.completed_at.is_not(None),
        upload.c.erased_at.is_(None),
    )


def export_line(row: Mapping[str, Any]) -> bytes:
    """A row of an export as a line of JSON (docs/wire.md)."""
    return orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE)


class AccountRepository(Repository):
    """Reads and changes the account of the context's user."""

    async def get(self) -> Row[Any]:
        """user_id, email, password_hash, created_at; raises NotFoundError once the account is erased."""
        return await self._row(_GET)

    async def has_session(self, session_id: str, now: datetime) -> bool:
        """Whether a sign-in still holds."""
        return bool(await self._rows(_SESSION, session_id=session_id, now=now))

    async def end_session(self, session_id: str) -> None:
        """End one sign-in: its refresh token is worth nothing any more."""

        def work(connection: Connection) -> None:
            self._execute(connection, _END_SESSION, session_id=session_id)

        await self._write(work)

    async def end_sessions(self) -> None:
        """End every sign-in."""

        def work(connection: Connection) -> None:
            self._execute(connection, _END_SESSIONS)

        await self._write(work)

    async def change_password(self, old_hash: str, new_hash: str) -> bool:
        """Set another password and end every sign-in.

        Args:
            old_hash: of the password that was verified.
            new_hash: of the one that shall be.

        Returns:
            False when another change came first, or the account is gone; nothing was written then.
        """

        def work(connection: Connection) -> bool:
            if not self._execute(connection, _CHANGE_PASSWORD, old_hash=old_hash, new_hash=new_hash).rowcount:
                return False
            self._execute(connection, _END_SESSIONS)
            return True

        return await self._write(work)

    async def erase(self, erased: Callable[[], None]) -> None:
        """Erase the user: from now on nobody can be the user, and the e-mail is free.

        `Eraser.finish_user` takes the rows away, in batches. An account that is being erased already stays so.

        Args:
            erased: called before anything of the user can be written again: sockets and runs must be stopped. No run
                of the user can be claimed or written to any more.
        """

        def work(connection: Connection) -> None:
            now = datetime.now(UTC)
            self._execute(connection, _ERASE, now=now)
            self._execute(connection, _STOP, now=now)

        await self._write(work, lambda _: erased())

    async def export(self, page: int = EXPORT_PAGE) -> AsyncIterator[Mapping[str, Any]]:
        """All that is stored for the user (docs/wire.md), but hashes of secrets; what is being erased is not there.

        Args:
            page: rows read at once.

        Yields:
            One mapping a row: `kind`, then the columns.
        """
        for kind, table in EXPORTED:
            after: tuple[Any, ...] | None = None
            while rows := await self._page(table, after, page):
                for row in rows:
                    columns = row._mapping.items()
                    yield {"kind": kind, **{str(name): value for name, value in columns if name not in _NOT_EXPORTED}}
                after = tuple(rows[-1]._mapping[column.name] for column in table.primary_key)

    async def _page(self, table: Table, after: tuple[Any, ...] | None, limit: int) -> Sequence[Row[Any]]:
        key = tuple(table.primary_key)
        statement = select(table).where(own(table)).order_by(*key).limit(limit)
        if "thread_id" in table.c:
            statement = statement.where(present(table.c.thread_id))
        if "upload_id" in table.c:
            statement = statement.where(_is_kept(table))
        if after is not None:
            statement = statement.where(tuple_(*key) > after)
        return await self._rows(statement)
