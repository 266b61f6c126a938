"""The repositories: each reaches the rows of its context's user, and nobody else's."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Row, insert

from netra_backend.app.db.engine import Database
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.db.repositories import usage_records as usage_records_module
from netra_backend.app.db.repositories.accounts import EXPORTED, SECRET_COLUMNS, AccountRepository
from netra_backend.app.db.repositories.erasure import ErasureRepository
from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.db.repositories.repository import Repository, decode_cursor, encode_cursor
from netra_backend.app.db.repositories.runs import RunRepository
from netra_backend.app.db.repositories.stored_bytes import StoredBytesRepository
from netra_backend.app.db.repositories.threads import MessagePage, Thread, ThreadRepository
from netra_backend.app.db.repositories.usage_records import UsageRecordRepository
from netra_backend.app.db.system_operations import insert_session
from netra_backend.app.db.tables import metadata, threads
from netra_backend.app.runs.ledger import AppendEvents, ClaimRun, Ledger
from netra_backend.app.services.agent_events import EventType
from netra_backend.app.services.refusals import (
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    ThreadExistsError,
)
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.usage_record import UsageRecord
from tests.support.database import SIGNED_UP, WAIT_SECONDS, add_users, administer, all_rows, disk_full, writer_held
from tests.support.made_contexts import make_context
from tests.support.stored_runs import completion, happening, message
from tests.support.strategies import texts
from tests.support.usage_records import usage_record

LATER: Final = SIGNED_UP + timedelta(days=1)
MUCH_LATER: Final = SIGNED_UP + timedelta(days=30)
MANY: Final = 1_000


async def _seed(database: Database, user_id: str) -> None:
    """Give a user one of everything: a session, a thread with an ended and a waiting run, an upload."""
    await add_users(database, user_id)
    await database.writer.run(
        lambda connection: insert_session(
            connection,
            user_id=user_id,
            password_hash=f"hash-of-{user_id}",
            session_id=f"session-of-{user_id}",
            refresh_hash=f"refresh-hash-of-{user_id}",
            created_at=SIGNED_UP,
            expires_at=MUCH_LATER,
            most=100,
        )
    )
    ledger = Ledger(database, lambda _entries: None)
    stored = await ledger.write(message(user_id, f"thread-of-{user_id}", f"run-of-{user_id}"))
    run = (await ledger.write(ClaimRun(user_id, stored.run.run_id))).run
    await ledger.write(AppendEvents(run, (happening(run), completion(run)), RunStatus.COMPLETED))
    await ledger.write(message(user_id, f"thread-of-{user_id}", f"waiting-run-of-{user_id}"))
    await _usage(user_id, database).add([(1, usage_record(label=user_id)), (2, usage_record(label=user_id))], most=MANY)


@pytest.fixture
async def seeded(database: Database) -> Database:
    """A database in which two users have one of everything."""
    await _seed(database, "alice")
    await _seed(database, "mallory")
    return database


def _ignore(_run_ids: Sequence[str]) -> None:
    """Nothing has to be stopped."""


def _accounts(user_id: str, database: Database) -> AccountRepository:
    return AccountRepository(make_context(user_id), database)


def _threads(user_id: str, database: Database) -> ThreadRepository:
    return ThreadRepository(make_context(user_id), database)


def _runs(user_id: str, database: Database) -> RunRepository:
    return RunRepository(make_context(user_id), database)


def _usage(user_id: str, database: Database) -> UsageRecordRepository:
    return UsageRecordRepository(make_context(user_id), database)


async def _rows_of(database: Database, user_id: str) -> dict[str, list[Row[tuple[object, ...]]]]:
    stored = await all_rows(database)
    return {name: [row for row in found if row._mapping["user_id"] == user_id] for name, found in stored.items()}


# Each method, asked by mallory with somebody's ids: what it gives is compared between alice's ids and nobody's.


async def _account_get(database: Database, _whose: str) -> object:
    return (await _accounts("mallory", database).get()).user_id


async def _account_has_session(database: Database, whose: str) -> object:
    return await _accounts("mallory", database).has_session(f"session-of-{whose}", LATER)


async def _stored_bytes(database: Database, _whose: str) -> object:
    return await StoredBytesRepository(make_context("mallory"), database).total()


async def _account_end_session(database: Database, whose: str) -> object:
    await _accounts("mallory", database).end_session(f"session-of-{whose}")
    return None


async def _account_end_sessions(database: Database, _whose: str) -> object:
    await _accounts("mallory", database).end_sessions()
    return None


async def _account_change_password(database: Database, whose: str) -> object:
    return await _accounts("mallory", database).change_password(f"hash-of-{whose}", "another-hash")


async def _account_erase(database: Database, _whose: str) -> object:
    await _accounts("mallory", database).erase(lambda: None)
    return None


async def _account_export(database: Database, _whose: str) -> object:
    return [dict(row) async for row in _accounts("mallory", database).export()]


def _erasure(database: Database, whose: str) -> ErasureRepository:
    return ErasureRepository(make_context("mallory", thread_id=f"thread-of-{whose}"), database)


async def _erase_of_thread(database: Database, whose: str) -> object:
    return await _erasure(database, whose).erase_of_thread()


async def _erase_of_user(database: Database, whose: str) -> object:
    return await _erasure(database, whose).erase_of_user()


async def _erase_of_uploads(database: Database, whose: str) -> object:
    return await _erasure(database, whose).erase_of_uploads()


async def _expire(database: Database, whose: str) -> object:
    return await _erasure(database, whose).expire(datetime.now(UTC) + timedelta(days=1))


async def _log_bounds(database: Database, whose: str) -> object:
    log = EventLog(make_context("mallory", thread_id=f"thread-of-{whose}"), database)
    erased_to, last = await log.bounds()
    return f"erased up to {erased_to} of {last}"


async def _log_read(database: Database, whose: str) -> object:
    return await EventLog(make_context("mallory", thread_id=f"thread-of-{whose}"), database).read(0, 10)


async def _run_get(database: Database, whose: str) -> object:
    return await _runs("mallory", database).get(f"run-of-{whose}")


async def _thread_page(database: Database, _whose: str) -> object:
    return await _threads("mallory", database).page(limit=10, cursor=None)


async def _thread_get(database: Database, whose: str) -> object:
    return await _threads("mallory", database).get(f"thread-of-{whose}")


async def _thread_create(database: Database, whose: str) -> object:
    made = await _threads("mallory", database).create(f"thread-of-{whose}", "mine")
    return made.title, made.last_seq


async def _thread_rename(database: Database, whose: str) -> object:
    return await _threads("mallory", database).rename(f"thread-of-{whose}", "pwned")


async def _thread_delete(database: Database, whose: str) -> object:
    stopped: list[str] = []
    await _threads("mallory", database).delete(f"thread-of-{whose}", stopped.extend)
    return stopped


async def _thread_messages(database: Database, whose: str) -> object:
    return await _threads("mallory", database).messages(f"thread-of-{whose}", limit=10, cursor=None)


async def _usage_all(database: Database, _whose: str) -> object:
    return await _usage("mallory", database).all()


async def _usage_page(database: Database, _whose: str) -> object:
    return await _usage("mallory", database).page(limit=10, cursor=None)


async def _usage_add(database: Database, _whose: str) -> object:
    return (await _usage("mallory", database).add([(1, usage_record())], most=3)).accepted


async def _usage_erase(database: Database, _whose: str) -> object:
    return await _usage("mallory", database).erase()


Asked = Callable[[Database, str], Awaitable[object]]

METHODS: Final[dict[Callable[..., object], Asked]] = {
    AccountRepository.get: _account_get,
    AccountRepository.has_session: _account_has_session,
    AccountRepository.end_session: _account_end_session,
    AccountRepository.end_sessions: _account_end_sessions,
    AccountRepository.change_password: _account_change_password,
    AccountRepository.erase: _account_erase,
    AccountRepository.export: _account_export,
    ErasureRepository.erase_of_thread: _erase_of_thread,
    ErasureRepository.erase_of_user: _erase_of_user,
    ErasureRepository.erase_of_uploads: _erase_of_uploads,
    ErasureRepository.expire: _expire,
    EventLog.read: _log_read,
    EventLog.bounds: _log_bounds,
    RunRepository.get: _run_get,
    StoredBytesRepository.total: _stored_bytes,
    ThreadRepository.page: _thread_page,
    ThreadRepository.get: _thread_get,
    ThreadRepository.create: _thread_create,
    ThreadRepository.rename: _thread_rename,
    ThreadRepository.delete: _thread_delete,
    ThreadRepository.messages: _thread_messages,
    UsageRecordRepository.all: _usage_all,
    UsageRecordRepository.page: _usage_page,
    UsageRecordRepository.add: _usage_add,
    UsageRecordRepository.erase: _usage_erase,
}


def test_every_method_of_every_repository_is_attacked() -> None:
    """A public method that is missing from the table below, and so is never asked by a stranger, fails this test."""
    public = {
        method
        for repository in Repository.__subclasses__()
        if repository.__module__.startswith("netra_backend.")
        for name, method in inspect.getmembers(repository, inspect.isfunction)
        if not name.startswith("_")
    }
    assert set(METHODS) == public


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
async def test_another_users_rows_are_as_if_they_were_not(seeded: Database, method: Callable[..., object]) -> None:
    """Asking for another user's ids gives what unknown ids give, shows nothing of that user, and changes nothing."""
    ask = METHODS[method]
    before = await _rows_of(seeded, "alice")
    assert all(before.values())

    async def outcome(whose: str) -> tuple[str, str]:
        try:
            return "gave", repr(await ask(seeded, whose))
        except Exception as error:
            return type(error).__name__, str(error)

    of_alice = await outcome("alice")
    assert "alice" not in repr(of_alice)
    assert await _rows_of(seeded, "alice") == before
    if method not in (UsageRecordRepository.erase, UsageRecordRepository.add):  # these have changed mallory's own rows
        assert await outcome("nobody") == of_alice


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
async def test_own_rows_are_reached(seeded: Database, method: Callable[..., object]) -> None:
    """The same questions about one's own ids are answered, so that the silence above means something."""
    try:
        given_ = await METHODS[method](seeded, "mallory")
    except ThreadExistsError:
        assert method is ThreadRepository.create  # the id is taken
    else:
        assert given_ not in (False, [], ([], None), 0)


async def test_two_users_may_use_the_same_ids(database: Database) -> None:
    """Threads, runs and messages of one id belong to each of the users who chose it, and live apart."""
    await add_users(database, "alice", "mallory")
    ledger = Ledger(database, lambda _entries: None)
    for user_id in ("alice", "mallory"):
        await ledger.write(message(user_id, "same", "same", text=f"of {user_id}", client_message_id="same"))
    await _threads("mallory", database).rename("same", "renamed")
    assert (await _threads("alice", database).get("same")).title == "of alice"
    assert (await _runs("alice", database).get("same")).message == "of alice"
    stopped: list[str] = []
    await _threads("mallory", database).delete("same", stopped.extend)
    assert stopped == ["same"]
    entries = await EventLog(make_context("alice", thread_id="same"), database).read(0, 10)
    assert [json.loads(entry.data)["text"] for entry in entries] == ["of alice"]


async def _pages(fetch: Callable[[str | None], Awaitable[tuple[list[Any], str | None]]], limit: int) -> list[list[Any]]:
    pages: list[list[Any]] = []
    cursor: str | None = None
    while True:
        page, cursor = await fetch(cursor)
        pages.append(page)
        assert len(pages) <= 20
        if cursor is None:
            return pages
        assert len(page) == limit


async def _lay_threads(database: Database, user_id: str, moments: list[datetime]) -> list[str]:
    """Store threads; gives their ids as a list shows them: the newest first, of one moment the largest id first."""
    rows = [
        {"user_id": user_id, "thread_id": f"{number:02}", "created_at": moment, "updated_at": moment, "last_seq": 0}
        for number, moment in enumerate(moments)
    ]
    if rows:
        await administer(database, lambda connection: connection.execute(insert(threads), rows))
    by_place = sorted(zip(moments, (row["thread_id"] for row in rows), strict=True), reverse=True)
    return [str(thread_id) for _, thread_id in by_place]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
async def test_threads_come_page_by_page(database: Database, limit: int) -> None:
    """The pages together are all threads, newest first, each once, though many began in one moment."""
    await add_users(database, "alice", "mallory")
    moments = [SIGNED_UP, LATER, SIGNED_UP, SIGNED_UP, LATER, SIGNED_UP]
    expected = await _lay_threads(database, "alice", moments)
    await _lay_threads(database, "mallory", [SIGNED_UP] * 3)
    repository = _threads("alice", database)
    pages = await _pages(lambda cursor: repository.page(limit=limit, cursor=cursor), limit)
    assert [thread.thread_id for page in pages for thread in page] == expected
    assert len(pages) == -(-len(expected) // limit)


async def test_a_thread_made_between_two_pages_moves_nothing(database: Database) -> None:
    """What is new while somebody pages is not shown on a later page, and pushes nothing onto it twice."""
    await add_users(database, "alice")
    expected = await _lay_threads(database, "alice", [SIGNED_UP, SIGNED_UP, LATER])
    repository = _threads("alice", database)
    first, cursor = await repository.page(limit=2, cursor=None)
    await repository.create("new", "made now")
    await repository.delete(first[1].thread_id, _ignore)
    second, end = await repository.page(limit=2, cursor=cursor)
    assert [thread.thread_id for thread in (*first, *second)] == expected
    assert end is None


@pytest.mark.parametrize("limit", [1, 2, 4, 5])
async def test_messages_come_page_by_page(database: Database, limit: int) -> None:
    """The pages together are what was said, oldest first: messages and final answers, no steps, no failures."""
    await add_users(database, "alice")
    ledger = Ledger(database, lambda _entries: None)
    for number in range(2):
        stored = await ledger.write(message("alice", text=f"question {number}"))
        run = (await ledger.write(ClaimRun("alice", stored.run.run_id))).run
        sub_agents = happening(run, "of a sub-agent", type_=EventType.AGENT_COMPLETED)
        await ledger.write(AppendEvents(run, (happening(run), sub_agents, completion(run)), RunStatus.COMPLETED))
    repository = _threads("alice", database)

    async def fetch(cursor: str | None) -> tuple[list[Any], str | None]:
        page = await repository.messages("t", limit=limit, cursor=cursor)
        assert page.gap is None
        return page.entries, page.next_cursor

    pages = await _pages(fetch, limit)
    said = [json.loads(entry.data)["text"] for page in pages for entry in page]
    assert said == ["question 0", "done", "question 1", "done"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_usage_records_come_page_by_page(database: Database, limit: int) -> None:
    """The pages together are all records of all uploads, each once."""
    await add_users(database, "alice", "mallory")
    for user_id in ("alice", "mallory"):
        for upload in range(2):
            records = [(line, usage_record(label=f"{user_id} {upload} {line}")) for line in range(2, 5)]
            await _usage(user_id, database).add(records, most=MANY)
    repository = _usage("alice", database)
    pages = await _pages(lambda cursor: repository.page(limit=limit, cursor=cursor), limit)
    labels = [record.label for page in pages for record in page]
    assert sorted(labels) == [f"alice {upload} {line}" for upload in range(2) for line in range(2, 5)]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_the_log_comes_in_stretches(seeded: Database, limit: int) -> None:
    """Reading on from the last seq gives every entry once, in order, and then nothing."""
    log = EventLog(make_context("alice", thread_id="thread-of-alice"), seeded)
    seqs: list[int] = []
    while entries := await log.read(seqs[-1] if seqs else 0, limit):
        assert len(entries) <= limit
        seqs += [entry.seq for entry in entries]
    assert seqs == [1, 2, 3, 4, 5]


async def test_an_empty_thread_has_an_empty_log(database: Database) -> None:
    """A thread without entries is found and has none, neither in its log nor among its messages."""
    await add_users(database, "alice")
    await _threads("alice", database).create("t", None)
    assert await EventLog(make_context("alice", thread_id="t"), database).read(0, 10) == []
    assert await _threads("alice", database).messages("t", limit=10, cursor=None) == MessagePage([], None, None)


async def test_a_foreign_cursor_opens_nothing(seeded: Database) -> None:
    """A cursor from another user's list is a place in one's own list, and no more."""
    for user_id in ("alice", "mallory"):
        await _lay_threads(seeded, user_id, [LATER, LATER])
    _, of_threads = await _threads("alice", seeded).page(limit=1, cursor=None)
    _, of_records = await _usage("alice", seeded).page(limit=1, cursor=None)
    assert of_threads is not None
    assert of_records is not None
    found, _ = await _threads("mallory", seeded).page(limit=10, cursor=of_threads)
    assert "thread-of-alice" not in {thread.thread_id for thread in found}
    records, _ = await _usage("mallory", seeded).page(limit=10, cursor=of_records)
    assert {record.label for record in records} <= {"mallory"}


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


BAD_CURSORS: Final = {
    "empty": "",
    "one letter": "a",
    "no base64": "*&%",
    "not ASCII": "\u00e9\u00e9",
    "a lone surrogate": "\ud800",
    "no JSON": _encoded(b"{"),
    "no UTF-8": _encoded(b'["\xff"]'),
    "a mapping": _encoded(b"{}"),
    "a number": _encoded(b"7"),
    "too few columns": _encoded(b"[]"),
    "too many columns": encode_cursor("a", "b", "c"),
    "nulls": encode_cursor(None, None),
    "booleans": encode_cursor(True),
    "a boolean line": encode_cursor("a", True),
    "a float": _encoded(b"[NaN]"),
    "no moment": encode_cursor("yesterday", "t"),
    "a moment before the first year": encode_cursor("0001-01-01T00:00:00+14:00", "t"),
    "a moment after the last year": encode_cursor("9999-12-31T23:59:59-14:00", "t"),
    "a surrogate inside": _encoded(b'["2026-01-01T00:00:00+00:00","\\ud800"]'),
    "a surrogate before a line": _encoded(b'["\\ud800",1]'),
    "a seq beyond SQLite": encode_cursor(2**63),
    "a line beyond SQLite": encode_cursor("a", 2**63),
    "a number of ten thousand digits": _encoded(b"[1" + b"0" * 10_000 + b"]"),
    "a deep nest": _encoded(b"[" * 50_000),
}


@pytest.mark.parametrize("name", BAD_CURSORS)
async def test_a_bad_cursor_is_refused(seeded: Database, name: str) -> None:
    """Whatever comes as a cursor, each list refuses it with InvalidRequestError or takes it as a place of its own."""
    cursor = BAD_CURSORS[name]
    calls = (
        _threads("alice", seeded).page(limit=1, cursor=cursor),
        _threads("alice", seeded).messages("thread-of-alice", limit=1, cursor=cursor),
        _usage("alice", seeded).page(limit=1, cursor=cursor),
    )
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [error for error in refused if not isinstance(error, InvalidRequestError)] == []
    assert len(refused) >= 2  # no text is a cursor of two of the lists


@given(texts(), st.integers(0, 2**53), st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)))
def test_a_cursor_gives_its_columns_back(column: str, number: int, moment: datetime) -> None:
    """What is encoded is decoded, and is plain in a URL."""
    cursor = encode_cursor(column, number, moment)
    assert decode_cursor(cursor, str, int, datetime) == (column, number, moment)
    assert cursor.replace("-", "a").replace("_", "a").isalnum()


@given(st.text() | st.binary().map(_encoded) | st.text().map(lambda text: _encoded(text.encode())))
def test_no_text_breaks_the_decoder(cursor: str) -> None:
    """Any text either has the columns that were asked for or is refused."""
    try:
        position = decode_cursor(cursor, str, int)
    except InvalidRequestError:
        return
    assert [type(column) for column in position] == [str, int]


async def test_a_thread_is_made_once(database: Database) -> None:
    """A second thread of one id is refused under its own code, and the first one stays."""
    await add_users(database, "alice")
    repository = _threads("alice", database)
    made = await repository.create("t", "first")
    with pytest.raises(ThreadExistsError, match="already"):
        await repository.create("t", "second")
    assert await repository.get("t") == made == Thread("t", "first", made.created_at, made.created_at, 0)


async def test_a_thread_that_exists_does_not_fail_its_neighbours(database: Database) -> None:
    """Two requests for one new id in one batch: the first makes it, the second is refused, a third user is unharmed."""
    await add_users(database, "alice", "bob")
    async with writer_held(database):
        calls = [
            asyncio.ensure_future(_threads(user_id, database).create("t", title))
            for user_id, title in (("alice", "first"), ("alice", "second"), ("bob", "third"))
        ]
        await asyncio.sleep(0)  # one turn of the loop, in which all three are submitted
    first, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, Thread)
    assert isinstance(second, ThreadExistsError)
    assert isinstance(third, Thread)
    assert (await _threads("alice", database).get("t")).title == "first"


async def test_renaming_changes_the_title_and_the_time(database: Database) -> None:
    """A new title, or none, is stored and given back with the new `updated_at`."""
    await add_users(database, "alice")
    repository = _threads("alice", database)
    made = await repository.create("t", "before")
    renamed = await repository.rename("t", None)
    assert (renamed.title, renamed.created_at) == (None, made.created_at)
    assert renamed.updated_at >= made.updated_at
    assert await repository.get("t") == renamed


async def test_deleting_a_thread_takes_its_log_and_runs_along(seeded: Database) -> None:
    """Nothing of the thread is there any more, its unfinished runs are told, and the user's other things stay."""
    await _threads("alice", seeded).create("other", None)
    stopped: list[str] = []
    await _threads("alice", seeded).delete("thread-of-alice", stopped.extend)
    assert stopped == ["waiting-run-of-alice"]
    assert await ErasureRepository(make_context("alice", thread_id="thread-of-alice"), seeded).erase_of_thread()
    left = await _rows_of(seeded, "alice")
    assert {name: len(found) for name, found in left.items()} == {
        "users": 1,
        "sessions": 1,
        "threads": 1,
        "runs": 0,
        "events": 0,
        "usage_uploads": 1,
        "usage_records": 2,
    }
    with pytest.raises(NotFoundError):
        await _threads("alice", seeded).delete("thread-of-alice", stopped.extend)
    assert stopped == ["waiting-run-of-alice"]


async def test_the_runs_of_an_erased_thread_are_told_before_it_can_be_made_anew(seeded: Database) -> None:
    """A message into a thread that is being erased is refused; once its rows are gone it begins a new thread."""
    told: list[object] = []
    ledger = Ledger(seeded, lambda _entries: None)
    async with writer_held(seeded):
        deleting = asyncio.ensure_future(_threads("alice", seeded).delete("thread-of-alice", told.append))
        await asyncio.sleep(0)  # one turn of the loop, in which it is submitted
        writing = ledger.write(
            message("alice", "thread-of-alice", "new"), lambda written: told.append(written.run.run_id)
        )
    await deleting
    with pytest.raises(NotFoundError):
        await writing
    assert told == [["waiting-run-of-alice"]]
    assert await ErasureRepository(make_context("alice", thread_id="thread-of-alice"), seeded).erase_of_thread()
    assert (await ledger.write(message("alice", "thread-of-alice", "new"))).run.message_seq == 1
    stored = await _rows_of(seeded, "alice")
    assert [row._mapping["run_id"] for row in stored["runs"]] == ["new"]


async def test_sessions_hold_until_they_expire(seeded: Database) -> None:
    """A sign-in holds before its end, not at it, and not once it was ended."""
    repository = _accounts("alice", seeded)
    just_before = MUCH_LATER - timedelta(microseconds=1)
    assert await repository.has_session("session-of-alice", just_before)
    assert not await repository.has_session("session-of-alice", MUCH_LATER)
    await repository.end_session("session-of-alice")
    assert not await repository.has_session("session-of-alice", just_before)


async def test_a_new_password_ends_every_sign_in(seeded: Database) -> None:
    """Whoever was signed in under the old password is so no more, and only the hash has changed."""
    before = await _accounts("alice", seeded).get()
    assert await _accounts("alice", seeded).change_password("hash-of-alice", "new-hash")
    after = await _accounts("alice", seeded).get()
    assert after.password_hash == "new-hash"
    assert (after.user_id, after.email, after.created_at) == (before.user_id, before.email, before.created_at)
    assert not await _accounts("alice", seeded).has_session("session-of-alice", LATER)


async def test_a_password_that_was_changed_meanwhile_is_not_changed_again(seeded: Database) -> None:
    """A change that began under an older password writes nothing and ends nobody's sign-in."""
    before = await _rows_of(seeded, "alice")
    assert not await _accounts("alice", seeded).change_password("the hash before", "a thief's hash")
    assert await _rows_of(seeded, "alice") == before


async def test_erasing_leaves_nothing(seeded: Database) -> None:
    """After `erase` the account cannot be had any more, and when the batches are done no table has a row of it."""
    told: list[str] = []
    await _accounts("alice", seeded).erase(lambda: told.append("erased"))
    assert told == ["erased"]
    with pytest.raises(NotFoundError):
        await _accounts("alice", seeded).get()
    erasure = ErasureRepository(make_context("alice"), seeded)
    while not await erasure.erase_of_user():
        pass
    assert not any((await _rows_of(seeded, "alice")).values())
    with pytest.raises(NotFoundError):
        await _accounts("alice", seeded).get()


@pytest.mark.parametrize("page", [1, 2, 500])
async def test_an_export_is_all_there_is_of_the_user(seeded: Database, page: int) -> None:
    """Every row of every table, whatever the page size, but no hash, and nothing of anybody else."""
    exported = [dict(row) async for row in _accounts("alice", seeded).export(page)]
    kinds = {table.name: kind for kind, table in EXPORTED}
    hidden = SECRET_COLUMNS | {"erased_at"}
    stored = await all_rows(seeded)
    expected = [
        {"kind": kinds[name]} | {key: value for key, value in row._mapping.items() if key not in hidden}
        for name, found in stored.items()
        for row in found
        if row._mapping["user_id"] == "alice"
    ]
    assert sorted(exported, key=repr) == sorted(expected, key=repr)
    assert "hash" not in repr(exported)
    assert "mallory" not in repr(exported)


def test_an_export_forgets_no_table() -> None:
    """Every table with rows of a user is exported; one that is added later fails this test until it is, too."""
    assert {table.name for _, table in EXPORTED} == {
        name for name, table in metadata.tables.items() if "user_id" in table.c
    }
    assert set(metadata.tables) == {table.name for _, table in EXPORTED}


def test_an_export_keeps_every_secret_back() -> None:
    """Each column whose name tells of a hash, a secret, a token or a key is among those that are left out."""
    telling = {
        column.name
        for table in metadata.tables.values()
        for column in table.columns
        if any(word in column.name for word in ("hash", "secret", "password", "token_", "key"))
    }
    assert telling == SECRET_COLUMNS


# Uploads.


class StalledRecords:
    """Records that stop coming before their last, until they are let go."""

    def __init__(self, count: int, *, error: Exception | None = None) -> None:
        self._count = count
        self._error = error
        self._loop = asyncio.get_running_loop()
        self.stalled = asyncio.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Let the last record come."""
        self._released.set()

    def __iter__(self) -> Iterator[tuple[int, UsageRecord]]:
        for line in range(1, self._count):
            yield line, usage_record(request_id=f"{line}")
        self._loop.call_soon_threadsafe(self.stalled.set)
        assert self._released.wait(WAIT_SECONDS)
        if self._error is not None:
            raise self._error
        yield self._count, usage_record(request_id=f"{self._count}")


@pytest.fixture
def chunk(monkeypatch: pytest.MonkeyPatch) -> int:
    """A small number of rows to a command, so that few records go in several."""
    monkeypatch.setattr(usage_records_module, "CHUNK", 10)
    return 10


def _records(count: int) -> list[tuple[int, UsageRecord]]:
    return [(line, usage_record(request_id=f"{line}")) for line in range(1, count + 1)]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 25])
async def test_an_upload_is_stored_as_a_whole(database: Database, chunk: int, count: int) -> None:
    """Whatever number of records comes, around the size of a chunk too, all are stored and counted."""
    await add_users(database, "alice")
    upload = await _usage("alice", database).add(iter(_records(count)), most=count)
    assert upload.accepted == count
    assert len(await _usage("alice", database).all()) == count
    stored = await all_rows(database)
    assert [row._mapping["completed_at"] is not None for row in stored["usage_uploads"]] == [True]


async def test_records_come_back_as_they_went_in(database: Database) -> None:
    """Every field is exact, the decimal to its trailing zeros, the time to its microseconds; in order of time."""
    await add_users(database, "alice")
    record = UsageRecord(
        timestamp=datetime(2026, 3, 1, 12, 30, 0, 1, tzinfo=UTC),
        request_id="a",
        model="large",
        operation="chat",
        prompt_fingerprint="f",
        input_tokens=2**53,
        output_tokens=0,
        cost_usd=usage_record("0.12345678901234567890123456789010").cost_usd,
        latency_ms=0.1,
        deferrable=True,
        label='名前, "quoted"\n',
    )
    earlier = usage_record("0.10")
    await _usage("alice", database).add([(1, record), (2, earlier)], most=MANY)
    found = await _usage("alice", database).all()
    assert found == [earlier, record]
    assert [str(each.cost_usd) for each in found] == ["0.10", "0.12345678901234567890123456789010"]
    assert found[1].timestamp.utcoffset() == timedelta(0)


async def test_an_upload_is_not_seen_before_it_is_complete(database: Database, chunk: int) -> None:
    """While records still come, none of the stored ones is listed, counted or erased; then all are there at once."""
    await add_users(database, "alice")
    repository = _usage("alice", database)
    records = StalledRecords(25)
    adding = asyncio.ensure_future(repository.add(records, most=MANY))
    await records.stalled.wait()
    stored = await all_rows(database)
    assert len(stored["usage_records"]) == 20
    assert await repository.all() == []
    assert await repository.page(limit=10, cursor=None) == ([], None)
    assert [line for line in await _exported("alice", database) if "input_tokens" in line] == []
    assert await repository.erase() == 0
    records.release()
    assert (await adding).accepted == 25
    assert len(await repository.all()) == 25


async def test_an_iterator_that_raises_leaves_nothing(database: Database, chunk: int) -> None:
    """A bad record after several stored chunks: its error comes through, and nothing of the upload is there."""
    await add_users(database, "alice")
    records = StalledRecords(25, error=InvalidRequestError("line 25: bad"))
    records.release()
    with pytest.raises(InvalidRequestError, match="line 25"):
        await _usage("alice", database).add(records, most=MANY)
    await _leaves_nothing("alice", database)


async def _settled(database: Database) -> None:
    """Wait until what was submitted so far is written."""
    await database.writer.run(lambda _connection: None)


async def _leaves_nothing(user_id: str, database: Database) -> None:
    """See that a given-up upload is out of sight at once, and that the eraser then takes all of it away."""
    await _settled(database)
    assert await _usage(user_id, database).all() == []
    assert [line for line in await _exported(user_id, database) if "input_tokens" in line] == []
    while not await ErasureRepository(make_context(user_id), database).erase_of_uploads():
        pass
    left = await _rows_of(database, user_id)
    assert left["usage_records"] == left["usage_uploads"] == []


async def _exported(user_id: str, database: Database) -> list[dict[str, Any]]:
    return [dict(row) async for row in _accounts(user_id, database).export()]


async def test_a_cancelled_upload_leaves_nothing(database: Database, chunk: int) -> None:
    """A client who goes away while records come leaves no row behind."""
    await add_users(database, "alice")
    records = StalledRecords(25)
    adding = asyncio.ensure_future(_usage("alice", database).add(records, most=MANY))
    await records.stalled.wait()
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    records.release()
    await _leaves_nothing("alice", database)


async def test_an_upload_cancelled_during_its_commit_leaves_nothing(
    database: Database, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that nobody waits for any more is stored, and what it stored is erased after it."""
    await add_users(database, "alice")
    submitted = asyncio.Event()
    run = database.writer.run

    def watched(*arguments: Any, **named: Any) -> asyncio.Future[Any]:
        submitted.set()
        return run(*arguments, **named)

    async with writer_held(database):
        monkeypatch.setattr(database.writer, "run", watched)
        adding = asyncio.ensure_future(_usage("alice", database).add(_records(5), most=MANY))
        await submitted.wait()
        adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    await _leaves_nothing("alice", database)


async def test_a_full_disk_in_the_middle_of_an_upload(database: Database, chunk: int) -> None:
    """The upload is refused as a whole; afterwards the same one, as large as the limit, is stored."""
    await add_users(database, "alice")
    repository = _usage("alice", database)
    big = "x" * 200
    stalled, released = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def records() -> Iterator[tuple[int, UsageRecord]]:
        for line in range(1, 11):
            yield line, usage_record(label=big)
        loop.call_soon_threadsafe(stalled.set)
        assert released.wait(WAIT_SECONDS)
        for line in range(11, 500):
            yield line, usage_record(label=big)

    adding = asyncio.ensure_future(repository.add(records(), most=499))
    await stalled.wait()
    async with disk_full(database):
        released.set()
        with pytest.raises(StorageUnavailableError, match="full"):
            await adding
    await _settled(database)
    assert await repository.all() == []
    assert (await repository.add(records(), most=499)).accepted == 499


async def test_the_limit_counts_all_records_of_the_user(database: Database, chunk: int) -> None:
    """Exactly `most` records fit, over all uploads; one more is refused with nothing kept; others' do not count."""
    await add_users(database, "alice", "bob")
    await _usage("bob", database).add(_records(25), most=25)
    repository = _usage("alice", database)
    await repository.add(_records(15), most=25)
    with pytest.raises(LimitExceededError, match="at most 25"):
        await repository.add(_records(11), most=25)
    await _settled(database)
    assert len(await repository.all()) == 15
    await repository.add(_records(10), most=25)
    assert len(await repository.all()) == 25


@pytest.mark.parametrize("page", [1, 2, 3, 6, 7])
async def test_all_records_come_in_the_order_of_their_time(
    database: Database, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """However many are read at once, every record of every upload comes once, the oldest first."""
    monkeypatch.setattr(usage_records_module, "READ_PAGE", page)
    await add_users(database, "alice", "bob")
    for user_id in ("alice", "bob"):
        for upload in range(2):
            moments = [SIGNED_UP + timedelta(days=(5 * line + 3 * upload) % 7) for line in range(3)]
            records = [
                (line, replace(usage_record(label=f"{upload} {line}"), timestamp=moment, request_id=user_id))
                for line, moment in enumerate(moments)
            ]
            await _usage(user_id, database).add(records, most=MANY)
    found = await _usage("alice", database).all()
    assert [record.timestamp for record in found] == sorted(record.timestamp for record in found)
    assert sorted(record.label for record in found) == [f"{upload} {line}" for upload in range(2) for line in range(3)]
    assert {record.request_id for record in found} == {"alice"}


async def test_an_upload_that_is_erased_while_all_are_read_is_not_read_by_half(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that go between two pages leave none of their upload's in what is read."""
    monkeypatch.setattr(usage_records_module, "READ_PAGE", 2)
    await add_users(database, "alice")
    repository = _usage("alice", database)
    await repository.add(_records(5), most=MANY)
    read = database.read_for

    async def read_then_erase(user_id: str, work: Callable[[Connection], Any]) -> Any:
        page = await read(user_id, work)
        monkeypatch.setattr(database, "read_for", read)
        assert await _usage("alice", database).erase() == 5
        return page

    monkeypatch.setattr(database, "read_for", read_then_erase)
    assert await repository.all() == []


async def test_erasing_records_counts_them(database: Database) -> None:
    """`erase` tells how many records there were, and another user's are there still."""
    await add_users(database, "alice", "bob")
    for user_id in ("alice", "bob"):
        await _usage(user_id, database).add(_records(3), most=MANY)
        await _usage(user_id, database).add(_records(2), most=MANY)
    assert await _usage("alice", database).erase() == 5
    assert await _usage("alice", database).erase() == 0
    assert await _usage("alice", database).all() == []
    assert len(await _usage("bob", database).all()) == 5


async def test_an_upload_of_an_account_that_is_erased_meanwhile_is_refused(database: Database, chunk: int) -> None:
    """Whether the account is only marked or its rows are gone already, the upload ends as for an unknown account."""
    for batches in (0, 99):
        user_id = f"alice-{batches}"
        await add_users(database, user_id)
        records = StalledRecords(25)
        adding = asyncio.ensure_future(_usage(user_id, database).add(records, most=MANY))
        await records.stalled.wait()
        await _accounts(user_id, database).erase(lambda: None)
        for _ in range(batches):
            await ErasureRepository(make_context(user_id), database).erase_of_user()
        records.release()
        with pytest.raises(NotFoundError):
            await adding
        await _settled(database)
        for _ in range(99):  # the sweep's, which goes on with an account that is only marked
            await ErasureRepository(make_context(user_id), database).erase_of_user()
        left = await _rows_of(database, user_id)
        assert left["usage_records"] == left["usage_uploads"] == []
    with pytest.raises(NotFoundError):
        await _usage("nobody", database).add(_records(3), most=MANY)


def test_only_the_base_of_the_repositories_reaches_the_database() -> None:
    """A repository that went to the database by itself would go without its user."""
    folder = Path(inspect.getfile(Repository)).parent
    base = Path(inspect.getfile(Repository)).name
    assert [path.name for path in folder.glob("*.py") if path.name != base and "_database" in path.read_text()] == []
