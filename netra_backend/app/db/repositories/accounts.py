"""A user's own account and sign-ins, and all that is stored for the user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, select, tuple_, update

from netra_backend.app.db.tables import events, runs, sessions, threads, usage_records, usage_uploads, users
from netra_backend.app.services.refusals import NotFoundError

from .repository import Repository

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

SECRET_COLUMNS = frozenset({"password_hash", "refresh_hash"})


class AccountRepository(Repository):
    """Reads and changes the account of the context's user."""

    async def get(self) -> Row[tuple[str, str, str, datetime]]:
        """user_id, email, password_hash, created_at; raises NotFoundError once the account is erased."""
        statement = select(users).where(self._own(users))
        row = await self._database.read(lambda connection: connection.execute(statement).one_or_none())
        if row is None:
            raise NotFoundError
        return row

    async def has_session(self, session_id: str, now: datetime) -> bool:
        """Whether a sign-in still holds."""
        statement = select(sessions.c.session_id).where(
            self._own(sessions), sessions.c.session_id == session_id, sessions.c.expires_at > now
        )
        return await self._database.read(lambda connection: connection.execute(statement).one_or_none()) is not None

    async def end_session(self, session_id: str) -> None:
        """End one sign-in: its refresh token is worth nothing any more."""
        statement = delete(sessions).where(self._own(sessions), sessions.c.session_id == session_id)
        await self._database.writer.run(lambda connection: connection.execute(statement).rowcount)

    async def change_password(self, password_hash: str) -> None:
        """Set another password and end every sign-in."""
        change = update(users).where(self._own(users)).values(password_hash=password_hash)
        end = delete(sessions).where(self._own(sessions))

        def work(connection: Connection) -> None:
            connection.execute(change)
            connection.execute(end)

        await self._database.writer.run(work)

    async def erase(self) -> None:
        """Erase the account and everything that is the user's: every table's rows go with it."""
        statement = delete(users).where(self._own(users))
        await self._database.writer.run(lambda connection: connection.execute(statement).rowcount)

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
                    yield {"kind": kind, **{name: value for name, value in columns if name not in SECRET_COLUMNS}}
                after = tuple(rows[-1]._mapping[column.name] for column in table.primary_key)

    async def _page(self, table: Table, after: tuple[Any, ...] | None, limit: int) -> list[Row[Any]]:
        key = tuple(table.primary_key)
        statement = select(table).where(self._own(table)).order_by(*key).limit(limit)
        if after is not None:
            statement = statement.where(tuple_(*key) > after)
        return await self._database.read(lambda connection: list(connection.execute(statement)))
