"""A user's own account and sign-ins, and all that is stored for the user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Table, bindparam, delete, select, tuple_, update

from netra_backend.app.db.tables import events, runs, sessions, threads, usage_records, usage_uploads, users

from .repository import Repository, own

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


_GET: Final = select(users).where(own(users))
_SESSION: Final = select(sessions.c.session_id).where(
    own(sessions), sessions.c.session_id == bindparam("session_id"), sessions.c.expires_at > bindparam("now")
)
_END_SESSION: Final = delete(sessions).where(own(sessions), sessions.c.session_id == bindparam("session_id"))
_END_SESSIONS: Final = delete(sessions).where(own(sessions))
_CHANGE_PASSWORD: Final = update(users).where(own(users)).values(password_hash=bindparam("new_hash"))
_ERASE: Final = delete(users).where(own(users))


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

    async def change_password(self, password_hash: str) -> None:
        """Set another password and end every sign-in."""

        def work(connection: Connection) -> None:
            self._execute(connection, _CHANGE_PASSWORD, new_hash=password_hash)
            self._execute(connection, _END_SESSIONS)

        await self._write(work)

    async def erase(self) -> None:
        """Erase the account and everything that is the user's: every table's rows go with it."""

        def work(connection: Connection) -> None:
            self._execute(connection, _ERASE)

        await self._write(work)

    async def export(self, page: int = 500) -> AsyncIterator[Mapping[str, Any]]:
        """All that is stored for the user, but hashes of secrets.

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
                    yield {"kind": kind, **{str(name): value for name, value in columns if name not in SECRET_COLUMNS}}
                after = tuple(rows[-1]._mapping[column.name] for column in table.primary_key)

    async def _page(self, table: Table, after: tuple[Any, ...] | None, limit: int) -> Sequence[Row[Any]]:
        key = tuple(table.primary_key)
        statement = select(table).where(own(table)).order_by(*key).limit(limit)
        if after is not None:
            statement = statement.where(tuple_(*key) > after)
        return await self._rows(statement)
