"""Who a transaction acts as on PostgreSQL: the second wall between users (docs/decisions/0006).

SQLite has no roles; there the statements' own owner criterion is the only wall.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

USER_SETTING: Final = "netra.user_id"


class Role(StrEnum):
    """The roles; none may log in, owns anything, or is above row-level security."""

    USER = "netra_user"
    """Repositories: reaches the rows of the transaction's user, and none when there is no user."""
    LEDGER = "netra_ledger"
    """The writer of runs and logs: for every user, but it cannot read a log, nor usage records, nor an account."""
    SYSTEM = "netra_system"
    """The system operations: accounts, sign-ins and unfinished runs of every user."""


_ACT_AS: Final = select(
    func.set_config("role", bindparam("role"), True), func.set_config(USER_SETTING, bindparam("user_id"), True)
)


def act_as(connection: Connection, role: Role, user_id: str = "") -> None:
    """Let what follows in the transaction be done by a role, for a user; it ends with the transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(_ACT_AS, {"role": str(role), "user_id": user_id}).close()
