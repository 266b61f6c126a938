"""The operations that reach rows without a user's context: this list is closed.

Everything else goes through a repository, which is made from a context. An operation belongs here only if it runs
before anybody is known (register, login, refresh), or for all users at once (recovery, the writer). The ledger's
commands, the writer's own, name the user of every row that they touch.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from .tables import runs, sessions, usage_uploads, users


def insert_user(connection: Connection, *, user_id: str, email: str, password_hash: str, created_at: datetime) -> bool:
    """Make an account.

    Returns:
        False when the e-mail has one already; nothing was written then.
    """
    try:
        with connection.begin_nested():
            connection.execute(
                insert(users).values(user_id=user_id, email=email, password_hash=password_hash, created_at=created_at)
            )
    except IntegrityError:
        return False
    return True


def find_user_by_email(connection: Connection, email: str) -> Row[tuple[str, str, str, datetime]] | None:
    """The account that signs in with an e-mail: user_id, email, password_hash, created_at."""
    return connection.execute(select(users).where(users.c.email == email)).one_or_none()


def insert_session(
    connection: Connection,
    *,
    user_id: str,
    session_id: str,
    refresh_hash: str,
    created_at: datetime,
    expires_at: datetime,
) -> None:
    """Keep a sign-in, and forget the user's expired ones."""
    connection.execute(delete(sessions).where(sessions.c.user_id == user_id, sessions.c.expires_at <= created_at))
    connection.execute(
        insert(sessions).values(
            user_id=user_id,
            session_id=session_id,
            refresh_hash=refresh_hash,
            created_at=created_at,
            expires_at=expires_at,
        )
    )


def rotate_refresh_token(
    connection: Connection, *, session_id: str, old_hash: str, new_hash: str, now: datetime, expires_at: datetime
) -> str | None:
    """Spend a refresh token for the next one.

    A token that was spent before ends its session, since one of its two holders is not the user (RFC 9700, 4.14.2).

    Returns:
        The session's user; None when there is no such session, it has expired, or the token was spent.
    """
    found = connection.execute(
        update(sessions)
        .where(sessions.c.session_id == session_id, sessions.c.refresh_hash == old_hash, sessions.c.expires_at > now)
        .values(refresh_hash=new_hash, expires_at=expires_at)
        .returning(sessions.c.user_id)
    ).scalar_one_or_none()
    if found is None:
        connection.execute(delete(sessions).where(sessions.c.session_id == session_id))
    return found


def find_unfinished_runs(connection: Connection) -> list[Row[tuple[object, ...]]]:
    """Every stored run that has not ended, oldest first and a thread's in their order: what a start has to take up."""
    unfinished = select(runs).where(runs.c.finished_at.is_(None))
    order = (runs.c.created_at, runs.c.user_id, runs.c.thread_id, runs.c.message_seq)
    return list(connection.execute(unfinished.order_by(*order)))


def delete_unfinished_uploads(connection: Connection) -> None:
    """Erase the records of uploads that a crash cut off; nobody has ever seen them."""
    connection.execute(delete(usage_uploads).where(usage_uploads.c.completed_at.is_(None)))
