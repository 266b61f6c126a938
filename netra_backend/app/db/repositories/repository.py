"""What every repository is: made from a context, and reaching that context's user's rows only."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from sqlalchemy import ColumnElement, Table

from netra_backend.app.db.engine import Database
from netra_backend.app.services.refusals import InvalidRequestError
from netra_backend.app.services.user_execution_context import UserExecutionContext


class Repository:
    """The base of the repositories.

    Args:
        context: says whose rows; its user is in every statement.
        database: where they are.
    """

    def __init__(self, context: UserExecutionContext, database: Database) -> None:
        self._user_id = context.user_id
        self._database = database

    def _own(self, table: Table) -> ColumnElement[bool]:
        return table.c.user_id == self._user_id


def encode_cursor(*position: Any) -> str:
    """An opaque text for the place after a row, from the columns the list is ordered by."""
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


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
    except (ValueError, binascii.Error):
        position = None
    if not isinstance(position, list) or [type(value) for value in position] != list(kinds):
        raise InvalidRequestError("cursor: expected the next_cursor of an earlier page; leave it out for the first")
    return tuple(position)
