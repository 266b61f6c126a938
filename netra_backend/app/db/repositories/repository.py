"""What every repository is: made from a context, and reaching that context's user's rows only."""

from __future__ import annotations

import base64
import json
from asyncio import Future
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, CursorResult, Executable, Row, Table, bindparam, exists

from netra_backend.app.db.engine import Database
from netra_backend.app.db.tables import threads, users
from netra_backend.app.services.refusals import InvalidRequestError, NotFoundError
from netra_backend.app.services.user_execution_context import UserExecutionContext

T = TypeVar("T")

OWNER: Final = "owner_id"
_PRESENT: Final = threads.alias("present")
_PRESENT_USER: Final = users.alias("present_user")


def own(table: Table) -> ColumnElement[bool]:
    """The owner criterion of a statement that is made once; the context's user is bound when it is executed."""
    return table.c.user_id == bindparam(OWNER)


def present(thread_id: ColumnElement[str]) -> ColumnElement[bool]:
    """That the context's user has a thread of this id, and neither of them is being erased."""
    thread, user = _PRESENT.c, _PRESENT_USER.c
    return exists().where(
        thread.user_id == bindparam(OWNER),
        thread.thread_id == thread_id,
        thread.erased_at.is_(None),
        user.user_id == thread.user_id,
        user.erased_at.is_(None),
    )


class Repository:
    """The base of the repositories.

    Every statement over a user's table has the criterion `own(table)`, and is executed by `_execute`, which binds the
    context's user to it. One without a user bound cannot be executed at all. Every transaction is the context's user's:
    on PostgreSQL a statement that had forgotten the criterion would still reach no other user's rows.

    Args:
        context: says whose rows.
        database: where they are.
    """

    def __init__(self, context: UserExecutionContext, database: Database) -> None:
        self._user_id = context.user_id
        self._database = database

    def _execute(self, connection: Connection, statement: Executable, **parameters: Any) -> CursorResult[Any]:
        """Execute a statement for the context's user."""
        return connection.execute(statement, {OWNER: self._user_id, **parameters})

    async def _read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one read transaction of the context's user."""
        return await self._database.read_for(self._user_id, work)

    def _write(self, work: Callable[[Connection], T], on_commit: Callable[[T], None] | None = None) -> Future[T]:
        """Run `work` in a transaction of the writer, as the context's user; see `GroupCommitWriter.run`."""
        return self._database.writer.run(work, on_commit, user_id=self._user_id)

    async def _rows(self, statement: Executable, **parameters: Any) -> Sequence[Row[Any]]:
        """All rows of a selection, read for the context's user."""
        return await self._read(lambda connection: self._execute(connection, statement, **parameters).all())

    async def _row(self, statement: Executable, **parameters: Any) -> Row[Any]:
        """The one row of a selection, read for the context's user; raises NotFoundError."""
        rows = await self._rows(statement, **parameters)
        if not rows:
            raise NotFoundError
        return rows[0]


def encode_cursor(*position: Any) -> str:
    """An opaque text for the place after a row, from the columns the list is ordered by."""
    texts = [value.isoformat() if isinstance(value, datetime) else value for value in position]
    return base64.urlsafe_b64encode(json.dumps(texts, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The columns of a cursor.

    Args:
        cursor: as `encode_cursor` made it.
        kinds: the type of each column.

    Raises:
        InvalidRequestError: it is not one of this list's.
    """
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        values = [
            datetime.fromisoformat(value) if kind is datetime else value
            for kind, value in zip(kinds, position, strict=True)
        ]
        if [type(value) for value in values] == list(kinds) and all(_can_be_bound(value) for value in values):
            return tuple(values)
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    raise InvalidRequestError("cursor: expected the next_cursor of an earlier page; leave it out for the first")


def _can_be_bound(value: Any) -> bool:
    """Whether the database can take a value; raises what tells that it cannot be converted."""
    if isinstance(value, datetime):
        value.astimezone(UTC)
    elif isinstance(value, str):
        value.encode()
    return not isinstance(value, int) or abs(value) < 2**63
