"""The operations that reach rows without a user's context: this list is closed.

Everything else goes through a repository, which is made from a context. An operation belongs here only if it runs
before anybody is known (register, login, refresh), or for all users at once (recovery, what is to be erased, the
writer). The ledger's commands, the writer's own, name the user of every row that they touch.

Only a function that is marked here acts as the role that may do so, and only while it goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Row, delete, exists, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from .roles import Role, act_as, become
from .tables import events, runs, sessions, threads, usage_uploads, users

P = ParamSpec("P")
T = TypeVar("T")


def _system_operation(operation: Callable[Concatenate[Connection, P], T]) -> Callable[Concatenate[Connection, P], T]:
    """Let a function act as the system; what follows it in the transaction is done as before."""

    @wraps(operation)
    def acting(connection: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        before = act_as(connection, Role.SYSTEM)
        result = operation(connection, *args, **kwargs)
        become(connection, before)  # not after an error: the caller's savepoint or transaction ends with it
        return result

    return acting


@_system_operation
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


@_system_operation
def find_user_by_email(connection: Connection, email: str) -> Row[tuple[str, str, str, datetime]] | None:
    """The account that signs in with an e-mail, a row of `users`; none for one that is being erased."""
    return connection.execute(select(users).where(users.c.email == email, users.c.erased_at.is_(None))).one_or_none()


@_system_operation
def insert_session(
    connection: Connection,
    *,
    user_id: str,
    password_hash: str,
    session_id: str,
    refresh_hash: str,
    created_at: datetime,
    expires_at: datetime,
    most: int,
) -> bool:
    """Keep a sign-in, and forget the user's expired ones and the oldest of too many.

    Args:
        connection: that writes.
        user_id: who signs in.
        password_hash: of the password that was verified.
        session_id: of the sign-in.
        refresh_hash: of its first refresh token.
        created_at: now.
        expires_at: when it ends.
        most: sign-ins of the user that hold, this one among them.

    Returns:
        False when the password is no longer the one that was verified, or the user is gone; nothing was written then.
    """
    holds = (
        select(users.c.user_id)
        .where(users.c.user_id == user_id, users.c.password_hash == password_hash)
        .with_for_update(read=True)  # a change of the password at another node waits, and then ends this session too
    )
    if connection.execute(holds).one_or_none() is None:
        return False
    own = sessions.c.user_id == user_id
    connection.execute(delete(sessions).where(own, sessions.c.expires_at <= created_at))
    newest_first = (
        select(sessions.c.session_id).where(own).order_by(sessions.c.created_at.desc(), sessions.c.session_id)
    )
    too_many = connection.execute(newest_first.offset(most - 1)).scalars().all()
    if too_many:
        connection.execute(delete(sessions).where(own, sessions.c.session_id.in_(too_many)))
    connection.execute(
        insert(sessions).values(
            user_id=user_id,
            session_id=session_id,
            refresh_hash=refresh_hash,
            created_at=created_at,
            expires_at=expires_at,
        )
    )
    return True


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of a refresh token.

    Attributes:
        user_id: whose session it is of.
        is_over: whether the session was ended: its time is over, or a spent token came again.
    """

    user_id: str
    is_over: bool


@_system_operation
def rotate_refresh_token(
    connection: Connection,
    *,
    session_id: str,
    old_hash: str,
    was_issued: bool,
    new_hash: str,
    now: datetime,
    expires_at: datetime,
) -> Rotation | None:
    """Spend a refresh token for the next one.

    A token that was spent before, however long ago, ends its session and with it the whole family, since one of its two
    holders is not the user (RFC 9700, 4.14.2). One that never was the session's ends nothing: the session's id alone
    must not be enough to end it.

    Args:
        connection: that writes.
        session_id: what the token says.
        old_hash: of the token.
        was_issued: whether one of our keys has signed it for this session. The last spent one is known by its hash too,
            also when its key has been removed.
        new_hash: of the next one.
        now: the time.
        expires_at: when the next one ends.

    Returns:
        What became of it; None when it never was a token of a session that holds.
    """
    rotate = (
        update(sessions)
        .where(sessions.c.session_id == session_id, sessions.c.refresh_hash == old_hash, sessions.c.expires_at > now)
        .where(exists().where(users.c.user_id == sessions.c.user_id, users.c.erased_at.is_(None)))
        .values(refresh_hash=new_hash, spent_hash=old_hash, expires_at=expires_at)
        .returning(sessions.c.user_id)
    )
    user_id = connection.execute(rotate).scalar_one_or_none()
    if user_id is not None:
        return Rotation(user_id, is_over=False)
    end = delete(sessions).where(sessions.c.session_id == session_id)
    if not was_issued:
        end = end.where((sessions.c.spent_hash == old_hash) | (sessions.c.refresh_hash == old_hash))
    user_id = connection.execute(end.returning(sessions.c.user_id)).scalar_one_or_none()
    return None if user_id is None else Rotation(user_id, is_over=True)


@_system_operation
def find_unfinished_runs(connection: Connection) -> list[Row[Any]]:
    """Every stored run that has not ended, oldest first and a thread's in their order: what a sweep looks at.

    None of a thread or a user that is being erased: it cannot be claimed.

    Returns:
        user_id, thread_id, run_id, attempt, deadline.
    """
    columns = (runs.c.user_id, runs.c.thread_id, runs.c.run_id, runs.c.attempt, runs.c.deadline)
    of_run = (threads.c.user_id == runs.c.user_id) & (threads.c.thread_id == runs.c.thread_id)
    unfinished = (
        select(*columns)
        .join_from(runs, threads, of_run)
        .join(users, users.c.user_id == runs.c.user_id)
        .where(runs.c.finished_at.is_(None), threads.c.erased_at.is_(None), users.c.erased_at.is_(None))
    )
    order = (runs.c.created_at, runs.c.user_id, runs.c.thread_id, runs.c.message_seq)
    return list(connection.execute(unfinished.order_by(*order)))


@_system_operation
def erase_unfinished_uploads(connection: Connection, *, now: datetime) -> None:
    """Erase the uploads that a crash cut off, of which nobody has ever seen anything; the eraser takes their records.

    Called when no server has begun to serve: later it would erase those that go on.
    """
    cut_off = usage_uploads.c.completed_at.is_(None) & usage_uploads.c.erased_at.is_(None)
    connection.execute(update(usage_uploads).where(cut_off).values(erased_at=now))


@_system_operation
def find_users_with_erased_uploads(connection: Connection) -> list[str]:
    """The users of whom usage records are still to be erased."""
    erased = select(usage_uploads.c.user_id).where(usage_uploads.c.erased_at.is_not(None)).distinct()
    return list(connection.execute(erased).scalars())


@_system_operation
def find_erased_users(connection: Connection) -> list[str]:
    """The users whose rows are still to be erased."""
    return list(connection.execute(select(users.c.user_id).where(users.c.erased_at.is_not(None))).scalars())


@_system_operation
def find_erased_threads(connection: Connection) -> list[tuple[str, str]]:
    """The threads whose rows are still to be erased: (user_id, thread_id)."""
    erased = select(threads.c.user_id, threads.c.thread_id).where(threads.c.erased_at.is_not(None))
    return [(user_id, thread_id) for user_id, thread_id in connection.execute(erased)]


@_system_operation
def find_old_threads(
    connection: Connection, *, before: datetime, after: tuple[str, str], limit: int
) -> list[tuple[str, str]]:
    """A page of the threads whose oldest entry is older than retention keeps, by (user_id, thread_id).

    Args:
        connection: that reads.
        before: what is older may go.
        after: the last one of the page before; empty texts for the first.
        limit: at most so many.
    """
    oldest = (  # a scalar subquery, so that each thread costs one look at a key whatever the database plans
        select(events.c.timestamp)
        .where(events.c.user_id == threads.c.user_id, events.c.thread_id == threads.c.thread_id)
        .where(events.c.seq == threads.c.erased_to_seq + 1)
        .scalar_subquery()
    )
    key = (threads.c.user_id, threads.c.thread_id)
    old = select(*key).where(threads.c.erased_at.is_(None), tuple_(*key) > after, oldest < before)
    return [(user_id, thread_id) for user_id, thread_id in connection.execute(old.order_by(*key).limit(limit))]
