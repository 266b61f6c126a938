"""The operations without a user's context: sign-up, sign-in, and what a start takes up."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, Engine, insert, select, update

from netra_backend.app.db import system_operations
from netra_backend.app.db.roles import Role, act_as
from netra_backend.app.db.system_operations import (
    erase_unfinished_uploads,
    find_unfinished_runs,
    find_user_by_email,
    find_users_with_erased_uploads,
    insert_session,
    insert_user,
    rotate_refresh_token,
)
from netra_backend.app.db.tables import sessions, threads, usage_uploads, users
from netra_backend.app.runs.admission import WaitingRun
from netra_backend.app.runs.ledger import AppendEvents, CancelRun, ClaimRun, Written, apply_commands
from netra_backend.app.services.run_state import RunStatus
from tests.support.database import SIGNED_UP, Backend, see_all, user_row, writing_engine
from tests.support.stored_runs import completion, message

LATER: Final = SIGNED_UP + timedelta(days=1)


@pytest.fixture
def engine(backend: Backend, tmp_path: Path) -> Iterator[Engine]:
    """A migrated database with alice and bob."""
    with writing_engine(tmp_path) as engine:
        with engine.begin() as connection:
            user_row(connection, "alice")
            user_row(connection, "bob")
        yield engine


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction in it, of the role that the operations have."""
    with engine.begin() as connection:
        act_as(connection, Role.SYSTEM)
        yield connection


def test_the_list_is_closed() -> None:
    """An operation that is added here has to be added there too, by somebody who asks why it has no context."""
    tree = ast.parse(inspect.getsource(system_operations))
    assert {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} - {"_system_operation"} == {
        "insert_user",
        "find_user_by_email",
        "insert_session",
        "rotate_refresh_token",
        "find_unfinished_runs",
        "erase_unfinished_uploads",
        "find_users_with_erased_uploads",
        "find_erased_users",
        "find_erased_threads",
        "find_old_threads",
    }


def _sign_up(connection: Connection, user_id: str, email: str) -> bool:
    return insert_user(connection, user_id=user_id, email=email, password_hash="h", created_at=LATER)


def test_an_email_has_one_account(connection: Connection) -> None:
    """A second account of one e-mail is refused with nothing written, and the transaction goes on."""
    assert _sign_up(connection, "carol", "carol@example.org")
    assert not _sign_up(connection, "impostor", "carol@example.org")
    assert _sign_up(connection, "dave", "dave@example.org")
    found = connection.execute(select(users.c.user_id).order_by(users.c.user_id)).scalars()
    assert list(found) == ["alice", "bob", "carol", "dave"]


def test_an_account_is_found_by_its_email(connection: Connection) -> None:
    """All of the account for the e-mail that has one, None for another."""
    found = find_user_by_email(connection, "alice@example.org")
    assert found is not None
    assert found._asdict() == {
        "user_id": "alice",
        "email": "alice@example.org",
        "password_hash": "hash-of-alice",
        "created_at": SIGNED_UP,
        "erased_at": None,
    }
    assert find_user_by_email(connection, "nobody@example.org") is None
    assert find_user_by_email(connection, "%@example.org") is None


def _sign_in(
    connection: Connection,
    user_id: str = "alice",
    session_id: str = "s",
    *,
    at: datetime = SIGNED_UP,
    until: datetime = LATER,
    most: int = 100,
) -> None:
    assert _insert(connection, user_id, session_id, f"hash-of-{user_id}", at=at, until=until, most=most)


def _insert(
    connection: Connection,
    user_id: str,
    session_id: str,
    password_hash: str,
    *,
    at: datetime = SIGNED_UP,
    until: datetime = LATER,
    most: int = 100,
) -> bool:
    return insert_session(
        connection,
        user_id=user_id,
        password_hash=password_hash,
        session_id=session_id,
        refresh_hash="first",
        created_at=at,
        expires_at=until,
        most=most,
    )


def _sessions(connection: Connection) -> list[tuple[str, str, str]]:
    columns = (sessions.c.user_id, sessions.c.session_id, sessions.c.refresh_hash)
    found = connection.execute(select(*columns).order_by(*columns))
    return [(row.user_id, row.session_id, row.refresh_hash) for row in found]


def test_signing_in_forgets_the_users_expired_sessions(connection: Connection) -> None:
    """The user's sessions that ended by now are gone; those that hold, and other users' expired ones, stay."""
    _sign_in(connection, "alice", "expired", until=LATER)
    _sign_in(connection, "alice", "holding", until=LATER + timedelta(microseconds=1))
    _sign_in(connection, "bob", "expired", until=LATER)
    _sign_in(connection, "alice", "new", at=LATER, until=LATER + timedelta(days=1))
    assert _sessions(connection) == [
        ("alice", "holding", "first"),
        ("alice", "new", "first"),
        ("bob", "expired", "first"),
    ]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_signing_in_ends_the_oldest_of_too_many_sessions(connection: Connection, most: int) -> None:
    """A user keeps the newest sign-ins, as many as are allowed, the new one among them; other users keep theirs."""
    _sign_in(connection, "bob", "of-bob")
    for number, name in enumerate(("d", "a", "c", "b")):
        _sign_in(connection, "alice", name, at=SIGNED_UP + timedelta(seconds=number), most=most)
    kept = [name for user_id, name, _ in _sessions(connection) if user_id == "alice"]
    assert kept == sorted(["d", "a", "c", "b"][-most:])
    assert ("bob", "of-bob", "first") in _sessions(connection)


def _rotate(
    connection: Connection, session_id: str, old: str, new: str, now: datetime = SIGNED_UP, was_issued: bool = False
) -> str | None:
    rotation = rotate_refresh_token(
        connection,
        session_id=session_id,
        old_hash=old,
        was_issued=was_issued,
        new_hash=new,
        now=now,
        expires_at=now + timedelta(days=30),
    )
    return None if rotation is None or rotation.is_over else rotation.user_id


def test_a_refresh_token_is_spent_for_the_next_one(connection: Connection) -> None:
    """Each token works once, for the session's user, and moves the session's end."""
    _sign_in(connection)
    assert _rotate(connection, "s", "first", "second") == "alice"
    assert _rotate(connection, "s", "second", "third", SIGNED_UP + timedelta(days=29)) == "alice"
    assert _sessions(connection) == [("alice", "s", "third")]


def test_a_spent_refresh_token_ends_the_session(connection: Connection) -> None:
    """One of two holders of a token is a thief: the session ends for both, and no other session does."""
    _sign_in(connection)
    _sign_in(connection, "alice", "other")
    _sign_in(connection, "bob", "of-bob")
    assert _rotate(connection, "s", "first", "second") == "alice"
    assert _rotate(connection, "s", "first", "of-the-thief") is None
    assert _rotate(connection, "s", "second", "third") is None
    assert _sessions(connection) == [("alice", "other", "first"), ("bob", "of-bob", "first")]


@pytest.mark.parametrize("spent", ["first", "second", "third"])
def test_a_token_that_was_spent_long_ago_ends_the_session_too(connection: Connection, spent: str) -> None:
    """Not only the last one that was spent: whoever brings any token of the family again ends it."""
    _sign_in(connection)
    for old, new in (("first", "second"), ("second", "third"), ("third", "fourth")):
        assert _rotate(connection, "s", old, new, was_issued=True) == "alice"
    assert _rotate(connection, "s", spent, "of-the-thief", was_issued=True) is None
    assert _sessions(connection) == []


def test_a_password_that_was_changed_meanwhile_begins_no_session(connection: Connection) -> None:
    """When the password was changed, or the user erased, after the look at it, no session is kept."""
    assert not _insert(connection, "alice", "s", "the hash before")
    assert not _insert(connection, "nobody", "s", "hash-of-nobody")
    assert _sessions(connection) == []


def test_a_made_up_refresh_token_ends_nothing(connection: Connection) -> None:
    """A session's id is no secret: with a token that never was one of its own it goes on."""
    _sign_in(connection)
    assert _rotate(connection, "s", "made up", "second") is None
    assert _rotate(connection, "s", "first", "second") == "alice"


def test_an_expired_session_cannot_be_refreshed(connection: Connection) -> None:
    """At its end a session is over: the right token is worth nothing any more."""
    _sign_in(connection, until=LATER)
    assert _rotate(connection, "s", "first", "second", LATER) is None
    assert _rotate(connection, "s", "first", "second", SIGNED_UP) is None


def test_an_unknown_session_gives_nobody(connection: Connection) -> None:
    """A session that does not exist refreshes nothing and ends nothing."""
    _sign_in(connection)
    assert _rotate(connection, "unknown", "first", "second") is None
    assert _sessions(connection) == [("alice", "s", "first")]


def _apply(connection: Connection, *commands: object) -> list[Written]:
    outcomes = apply_commands(connection, commands)  # type: ignore[arg-type]  # commands of several kinds
    for outcome in outcomes:
        assert isinstance(outcome, Written)
    return [outcome for outcome in outcomes if isinstance(outcome, Written)]


def _found(connection: Connection) -> list[WaitingRun]:
    return [WaitingRun(*tuple(row)) for row in find_unfinished_runs(connection)]


def test_a_start_finds_every_run_that_has_not_ended(connection: Connection) -> None:
    """Runs that wait and runs that were going on are found for all users; ended ones of every kind are not."""
    for user_id in ("alice", "bob"):
        _apply(connection, *(message(user_id, f"t{number}", f"{user_id}-{number}") for number in range(5)))
        completed, failed, _ = (
            written.run
            for written in _apply(connection, *(ClaimRun(user_id, f"{user_id}-{number}") for number in (0, 1, 2)))
        )
        _apply(connection, AppendEvents(completed, (completion(completed),), RunStatus.COMPLETED))
        _apply(connection, AppendEvents(failed, (completion(failed),), RunStatus.FAILED, "why"))
        _apply(connection, CancelRun(user_id, f"{user_id}-3", "why"))
    assert {(run.run_id, run.thread_id, run.attempt) for run in _found(connection)} == {
        ("alice-2", "t2", 1),
        ("alice-4", "t4", 0),
        ("bob-2", "t2", 1),
        ("bob-4", "t4", 0),
    }


def test_a_start_finds_the_runs_oldest_first(connection: Connection) -> None:
    """Two messages to one thread that one commit has stored are taken up in the order in which they were sent."""
    _apply(
        connection,
        message("alice", "t", "z-first"),
        message("alice", "t", "m-second"),
        message("alice", "t", "a-third"),
    )
    assert [run.run_id for run in _found(connection)] == ["z-first", "m-second", "a-third"]


def test_a_start_finds_no_run_that_is_being_erased(connection: Connection) -> None:
    """Runs of an erased thread, and all of an erased user, cannot be claimed: nobody is sent to try."""
    for user_id in ("alice", "bob"):
        _apply(connection, message(user_id, "t", f"{user_id}-t"), message(user_id, "u", f"{user_id}-u"))
    see_all(connection)
    erased_thread = (threads.c.user_id == "alice") & (threads.c.thread_id == "t")
    connection.execute(update(threads).where(erased_thread).values(erased_at=LATER))
    connection.execute(update(users).where(users.c.user_id == "bob").values(erased_at=LATER))
    act_as(connection, Role.SYSTEM)
    assert [run.run_id for run in _found(connection)] == ["alice-u"]


def test_a_start_erases_uploads_that_were_cut_off(connection: Connection) -> None:
    """Unfinished uploads of all users are given to the eraser; finished ones stay, and those that it has already."""
    see_all(connection)
    for user_id in ("alice", "bob"):
        states = (("cut-off", None, None), ("complete", LATER, None), ("erased", SIGNED_UP, SIGNED_UP))
        for upload_id, completed_at, erased_at in states:
            upload = {"user_id": user_id, "upload_id": upload_id, "created_at": SIGNED_UP}
            connection.execute(insert(usage_uploads).values(**upload, completed_at=completed_at, erased_at=erased_at))
    act_as(connection, Role.SYSTEM)
    erase_unfinished_uploads(connection, now=LATER)
    assert sorted(find_users_with_erased_uploads(connection)) == ["alice", "bob"]
    see_all(connection)
    erased = connection.execute(select(usage_uploads).where(usage_uploads.c.erased_at.is_not(None)))
    assert {(row.user_id, row.upload_id, row.erased_at) for row in erased} == {
        (user_id, upload_id, erased_at)
        for user_id in ("alice", "bob")
        for upload_id, erased_at in (("cut-off", LATER), ("erased", SIGNED_UP))
    }
