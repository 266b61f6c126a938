"""Who a transaction acts as: the second wall between users (docs/decisions/0006 and 0010).

PostgreSQL has roles and row-level security. For SQLite, which has neither, it is noted on the connection, and
`owner_criterion` refuses what the role may not do.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

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


class Actor(NamedTuple):
    """Who a transaction acts as; only a role `USER` has a user, and without one it reaches nobody's rows."""

    role: Role
    user_id: str = ""


NOBODY: Final = Actor(Role.USER)
"""As whom every transaction begins."""
_ACTOR: Final = "netra.actor"
_OWNER_ROLE: Final = "none"

_BECOME: Final = select(
    func.current_setting("role"),
    func.coalesce(func.current_setting(USER_SETTING, True), ""),
    func.set_config("role", bindparam("role"), True),
    func.set_config(USER_SETTING, bindparam("user_id"), True),
)


def act_as(connection: Connection, role: Role, user_id: str = "") -> Actor | None:
    """Let what follows in the transaction be done by a role, for a user; it ends with the transaction.

    Returns:
        As whom it was done before, for `become`.
    """
    return become(connection, Actor(role, user_id))


def become(connection: Connection, actor: Actor | None) -> Actor | None:
    """Let what follows in the transaction be done by somebody; None is the owner of the schema. Returns as `act_as`."""
    if connection.dialect.name == "postgresql":
        role, user_id = actor or Actor(Role.USER)
        values = {"role": _OWNER_ROLE if actor is None else str(role), "user_id": user_id}
        was, for_user, *_ = connection.execute(_BECOME, values).one()
        return None if was == _OWNER_ROLE else Actor(Role(was), for_user)
    before = actor_of(connection)
    connection.info[_ACTOR] = actor
    return before


def actor_of(connection: Connection) -> Actor | None:
    """Who a transaction of SQLite acts as; None for the schema's owner, who may change it, and every row."""
    actor: Actor | None = connection.info.get(_ACTOR, NOBODY)
    return actor
