"""Erasure and retention: unseen at once, gone in batches, finished after a crash, and never more than was meant."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Index, PrimaryKeyConstraint, UniqueConstraint, update

from netra_backend.app.db.engine import Database
from netra_backend.app.db.eraser import Eraser
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.db.repositories.accounts import AccountRepository
from netra_backend.app.db.repositories.erasure import TABLES, ErasureRepository
from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.db.repositories.runs import RunRepository
from netra_backend.app.db.repositories.stored_bytes import USAGE_RECORD_BYTES, StoredBytesRepository
from netra_backend.app.db.repositories.threads import ThreadRepository
from netra_backend.app.db.repositories.usage_records import UsageRecordRepository
from netra_backend.app.db.system_operations import Rotation, find_user_by_email, insert_session, rotate_refresh_token
from netra_backend.app.db.tables import events, metadata, runs
from netra_backend.app.realtime.hub import Subscription
from netra_backend.app.runs.ledger import AppendEvents, CancelRun, ClaimRun, Ledger, Written
from netra_backend.app.services.refusals import NotFoundError, RefusedError
from netra_backend.app.services.run_state import RunStatus
from tests.support.database import SIGNED_UP, add_users, administer, all_rows, refuse_rows, storage_refused
from tests.support.made_contexts import make_context
from tests.support.stored_runs import completion, happening, message
from tests.support.usage_records import usage_record

LATER = datetime.now(UTC) + timedelta(days=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def _nothing() -> None:
    """Nobody has to be told."""


async def _run(database: Database, user_id: str, thread_id: str = "t", *, steps: int = 2, text: str = "hello") -> str:
    """A whole run: its message, its start, so many thoughts, its end; gives its id."""
    ledger = Ledger(database, lambda _entries: None)
    stored = await ledger.write(message(user_id, thread_id, text=text))
    run = (await ledger.write(ClaimRun(user_id, stored.run.run_id))).run
    thoughts = tuple(happening(run, f"step {number}") for number in range(steps))
    await ledger.write(AppendEvents(run, (*thoughts, completion(run)), RunStatus.COMPLETED))
    return run.run_id


async def _seed(database: Database, *user_ids: str) -> None:
    """Rows of the users in every table, an unfinished run among them."""
    for user_id in user_ids:
        await add_users(database, user_id)
        await database.writer.run(partial(_sign_in, user_id))
        for thread_id in ("t", "u"):
            await _run(database, user_id, thread_id)
        await Ledger(database, lambda _entries: None).write(message(user_id, "t", f"waiting-{user_id}"))
        records = [(line, usage_record()) for line in range(1, 8)]
        await UsageRecordRepository(make_context(user_id), database).add(records, most=99)
    stored = await all_rows(database)
    assert set(stored) == set(metadata.tables)
    for name, found in stored.items():  # a new table that nobody seeds here would be erased by chance only
        assert {row._mapping["user_id"] for row in found} == set(user_ids), name


def _sign_in(user_id: str, connection: Connection) -> None:
    assert insert_session(
        connection,
        user_id=user_id,
        password_hash=f"hash-of-{user_id}",
        session_id=f"session-of-{user_id}",
        refresh_hash=f"refresh-of-{user_id}",
        created_at=SIGNED_UP,
        expires_at=LATER,
        most=100,
    )


async def _of(database: Database, user_id: str) -> dict[str, list[Any]]:
    stored = await all_rows(database)
    return {name: [row for row in found if row._mapping["user_id"] == user_id] for name, found in stored.items()}


def test_every_table_belongs_to_users() -> None:
    """A table without the user's id, or with another primary key, could not be erased: it fails here."""
    assert {table.name for table in TABLES} | {"users"} == set(metadata.tables)
    for table in metadata.tables.values():
        assert next(iter(table.primary_key)).name == "user_id", table.name


_KEYS = (PrimaryKeyConstraint, UniqueConstraint)


def test_every_reference_can_be_followed_back() -> None:
    """Columns that refer to another table begin an index of all rows: without one, to erase a row of that table reads
    all rows of the user here, which took 80 ms for 100,000 runs while everybody's commits waited."""
    for table in metadata.tables.values():
        indexed = [
            *(
                key.columns.keys()
                for key in table.constraints
                if isinstance(key, PrimaryKeyConstraint | UniqueConstraint)
            ),
            *(index.columns.keys() for index in table.indexes if not _is_partial(index)),
        ]
        for key in table.foreign_key_constraints:
            assert any(names[: len(key.columns)] == key.column_keys for names in indexed), f"{table.name}: {key.name}"


def _is_partial(index: Index) -> bool:
    return index.dialect_options["postgresql"]["where"] is not None


@pytest.mark.parametrize("batch", [1, 3, 500])
async def test_an_erased_user_leaves_nothing(database: Database, batch: int) -> None:
    """No row of the user in any table of the metadata, whatever the batch, and every row of everybody else."""
    await _seed(database, "alice", "bob")
    before = await _of(database, "bob")
    await AccountRepository(make_context("alice"), database).erase(_nothing)
    await Eraser(database, batch=batch).finish_user(make_context("alice"))
    assert not any((await _of(database, "alice")).values())
    assert await _of(database, "bob") == before


@pytest.mark.parametrize("batch", [1, 3, 500])
async def test_an_erased_thread_leaves_nothing(database: Database, batch: int) -> None:
    """Its log and its runs are gone, and the user's other thread, and another user's of the same id, are whole."""
    await _seed(database, "alice", "bob")
    before = await all_rows(database)
    context = make_context("alice", thread_id="t")
    await ThreadRepository(context, database).delete("t", lambda _: None)
    await Eraser(database, batch=batch).finish_thread(context)
    after = await all_rows(database)
    for name, rows in before.items():
        kept = [row for row in rows if (row._mapping["user_id"], row._mapping.get("thread_id")) != ("alice", "t")]
        assert after[name] == kept, name


async def _gone(question: Any) -> None:
    with pytest.raises(RefusedError):
        await question


async def test_nothing_of_an_erased_user_is_readable_from_the_first_moment(database: Database) -> None:
    """Before a single row is gone nobody can be the user, by password, session or refresh token; what was on its way
    is refused; and the e-mail is free."""
    await _seed(database, "alice")
    ledger = Ledger(database, lambda _entries: None)
    running = (await ledger.write(ClaimRun("alice", "waiting-alice"))).run
    told: list[str] = []
    account = AccountRepository(make_context("alice"), database)
    await account.erase(lambda: told.append("stopped"))
    assert told == ["stopped"]
    assert len((await _of(database, "alice"))["events"]) == 12
    assert not await account.has_session("session-of-alice", SIGNED_UP)
    await _gone(account.get())
    assert await database.read(lambda connection: find_user_by_email(connection, "alice@example.org")) is None
    rotation = await database.writer.run(partial(_refresh, "alice"))
    assert rotation is not None
    assert rotation.is_over
    with pytest.raises(RefusedError):
        await ledger.write(AppendEvents(running, (happening(running),)))
    for thread_id in ("t", "u", "new"):
        with pytest.raises(NotFoundError):
            await ledger.write(message("alice", thread_id))
    with pytest.raises(NotFoundError):
        await ledger.write(CancelRun("alice", "waiting-alice", "too late"))
    other = make_context("alice", thread_id="u")
    await _gone(EventLog(other, database).read(0, 10))  # by a socket that is open at another node
    await _gone(EventLog(other, database).bounds())
    ended = next(row for row in (await _of(database, "alice"))["runs"] if row._mapping["thread_id"] == "u")
    await _gone(RunRepository(other, database).get(ended._mapping["run_id"]))
    assert "example.org" not in repr((await _of(database, "alice"))["users"])
    await add_users(database, "alice-again")


def _refresh(user_id: str, connection: Connection) -> Rotation | None:
    return rotate_refresh_token(
        connection,
        session_id=f"session-of-{user_id}",
        old_hash=f"refresh-of-{user_id}",
        was_issued=True,
        new_hash="n",
        now=SIGNED_UP,
        expires_at=LATER,
    )


async def test_nothing_of_an_erased_thread_is_readable_from_the_first_moment(database: Database) -> None:
    """Before a single row is gone the thread, its log, messages and runs are unknown, in lists and in an export too;
    a message that is sent again is refused, and so is one of the thread that the server had named."""
    await _seed(database, "alice")
    context = make_context("alice", thread_id="t")
    ledger = Ledger(database, lambda _entries: None)
    unnamed = message("alice", "named-by-server", client_message_id="m", names_thread=False)
    await ledger.write(unnamed)
    threads = ThreadRepository(context, database)
    for thread_id in ("t", "named-by-server"):
        await threads.delete(thread_id, lambda _: None)
    await _gone(threads.get("t"))
    await _gone(threads.rename("t", "x"))
    await _gone(threads.messages("t", limit=5, cursor=None))
    await _gone(threads.delete("t", lambda _: None))
    await _gone(EventLog(context, database).read(0, 10))
    await _gone(EventLog(context, database).bounds())
    await _gone(RunRepository(context, database).get("waiting-alice"))
    await _gone(ledger.write(ClaimRun("alice", "waiting-alice")))
    await _gone(ledger.write(message("alice", "t")))
    await _gone(ledger.write(message("alice", "another", client_message_id="m", names_thread=False)))
    page, _ = await threads.page(limit=10, cursor=None)
    assert [thread.thread_id for thread in page] == ["u"]
    exported = [row async for row in AccountRepository(context, database).export()]
    assert {row["thread_id"] for row in exported if "thread_id" in row} == {"u"}
    assert (await _of(database, "alice"))["events"]


async def test_what_a_crash_cut_off_is_finished_by_the_next_sweep(database: Database) -> None:
    """After some batches of a user and of a thread, a new eraser, which knows of nothing, takes away the rest."""
    await _seed(database, "alice", "bob")
    await AccountRepository(make_context("alice"), database).erase(_nothing)
    of_alice = ErasureRepository(make_context("alice"), database, batch=4)
    for _ in range(3):
        assert not await of_alice.erase_of_user()
    of_bob = make_context("bob", thread_id="t")
    await ThreadRepository(of_bob, database).delete("t", lambda _: None)
    assert not await ErasureRepository(of_bob, database, batch=2).erase_of_thread()
    eraser = Eraser(database, batch=3)
    await eraser.sweep()
    assert not any((await _of(database, "alice")).values())
    bob = await _of(database, "bob")
    assert [row._mapping["thread_id"] for row in bob["threads"]] == ["u"]
    assert {row._mapping["thread_id"] for name in ("runs", "events") for row in bob[name]} == {"u"}
    before = await all_rows(database)
    await eraser.sweep()
    assert await all_rows(database) == before


async def test_erased_usage_records_are_not_there_from_the_first_moment(database: Database) -> None:
    """Before a single row is gone they are in no list, no analysis, no export, and count neither for the bytes nor for
    the records that a user may have; after some batches a new eraser takes away the rest, and nothing else."""
    await _seed(database, "alice", "bob")
    context = make_context("alice")
    records = UsageRecordRepository(context, database)
    logged = await StoredBytesRepository(context, database).total() - 7 * USAGE_RECORD_BYTES
    assert await records.erase() == 7
    assert await records.erase() == 0
    assert len((await _of(database, "alice"))["usage_records"]) == 7
    assert await records.all() == []
    assert await records.page(limit=10, cursor=None) == ([], None)
    assert await StoredBytesRepository(context, database).total() == logged
    exported = [row["kind"] async for row in AccountRepository(context, database).export()]
    assert not {"usage_upload", "usage_record"} & set(exported)
    await records.add([(line, usage_record()) for line in range(1, 4)], most=3)
    assert not await ErasureRepository(context, database, batch=2).erase_of_uploads()
    bob = await _of(database, "bob")
    await Eraser(database, batch=3).sweep()
    assert [len((await _of(database, "alice"))[name]) for name in ("usage_uploads", "usage_records")] == [1, 3]
    assert len(await records.all()) == 3
    assert await _of(database, "bob") == bob
    await records.erase()
    await Eraser(database, batch=3).finish_usage_records(context)
    assert not (await _of(database, "alice"))["usage_uploads"]


async def test_what_cannot_be_erased_keeps_nothing_else_from_it(
    database: Database, aged: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One thread that the database does not give up is logged; others' threads, users and old logs go all the same."""
    await _seed(database, "alice", "bob", "carol")
    old = await _run(database, "bob", "old")
    older = await _run(database, "alice", "old")
    for run_id in (old, older):
        await aged(run_id)
    await refuse_rows(database, "DELETE", "events", "OLD.user_id = 'alice'")
    for user_id in ("alice", "bob"):
        await ThreadRepository(make_context(user_id), database).delete("t", lambda _: None)
    await UsageRecordRepository(make_context("alice"), database).erase()
    await AccountRepository(make_context("carol"), database).erase(_nothing)
    await Eraser(database, retention=timedelta(days=1)).sweep()
    assert not any((await _of(database, "carol")).values())
    assert {row._mapping["thread_id"] for row in (await _of(database, "bob"))["events"]} == {"u"}
    assert {row._mapping["thread_id"] for row in (await _of(database, "alice"))["events"]} == {"t", "u", "old"}
    assert (await _of(database, "alice"))["usage_records"] == []
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [text for text in told if "could not be erased" in text] == [
        "thread t of user alice could not be erased; the next sweep tries again",
        "thread old of user alice could not be erased; the next sweep tries again",
    ]


async def test_an_erasure_that_the_database_refuses_is_left_to_the_next_sweep(database: Database) -> None:
    """Whoever asked is not kept waiting for a database that cannot be written, and nothing is forgotten."""
    await _seed(database, "alice")
    await AccountRepository(make_context("alice"), database).erase(_nothing)
    eraser = Eraser(database)
    async with storage_refused(database):
        await eraser.finish_user(make_context("alice"))
        with pytest.raises(StorageUnavailableError):
            await eraser.sweep()
    await eraser.sweep()
    assert not any((await _of(database, "alice")).values())


async def test_an_erasure_goes_on_when_its_caller_goes_away(database: Database) -> None:
    """A client who hangs up in the middle of an erasure does not stop it."""
    await _seed(database, "alice")
    await AccountRepository(make_context("alice"), database).erase(_nothing)
    eraser = Eraser(database, batch=1)
    asking = asyncio.ensure_future(eraser.finish_user(make_context("alice")))
    await asyncio.sleep(0)  # one turn, in which it begins
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await Eraser(database).sweep()
    await eraser.close()
    assert not any((await _of(database, "alice")).values())


async def test_others_commit_between_the_batches(database: Database) -> None:
    """While a user with many rows is erased, another user's messages are stored long before the erasure ends."""
    await add_users(database, "alice", "bob")
    records = ((line, usage_record()) for line in range(1, 3_001))
    await UsageRecordRepository(make_context("alice"), database).add(records, most=9_999)
    await AccountRepository(make_context("alice"), database).erase(_nothing)
    ledger = Ledger(database, lambda _entries: None)
    erasing = asyncio.ensure_future(Eraser(database, batch=50).finish_user(make_context("alice")))
    for number in range(20):
        await ledger.write(message("bob", f"thread-{number}"))
        assert not erasing.done()
    await erasing
    assert (await _of(database, "alice"))["usage_records"] == []


async def test_an_upload_under_way_ends_with_its_user(database: Database) -> None:
    """What a request writes for the user while the batches go is erased with the rest."""
    await _seed(database, "alice")
    await AccountRepository(make_context("alice"), database).erase(_nothing)
    erasure = ErasureRepository(make_context("alice"), database, batch=500)
    for _ in TABLES:
        assert not await erasure.erase_of_user()
    await ThreadRepository(make_context("alice"), database).create("late", None)
    await Eraser(database).finish_user(make_context("alice"))
    assert not any((await _of(database, "alice")).values())


# Retention.


@pytest.fixture
async def aged(database: Database) -> Callable[[str], Any]:
    """Lets a run, with its events, be of long ago."""

    def work(run_id: str, connection: Connection) -> None:
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(finished_at=LONG_AGO))
        connection.execute(update(events).where(events.c.run_id == run_id).values(timestamp=LONG_AGO))

    async def age(run_id: str) -> None:
        await administer(database, partial(work, run_id))

    return age


async def _told(database: Database, after_seq: int, thread_id: str = "t") -> list[dict[str, Any]]:
    """What a reader of alice's thread is sent who has everything up to a seq."""
    told: list[dict[str, Any]] = []

    async def send(text: str) -> None:
        told.append(json.loads(text))

    log = EventLog(make_context("alice", thread_id=thread_id), database)
    await Subscription(("alice", thread_id), told.append).catch_up(log, after_seq, send)  # type: ignore[arg-type]
    return told


def _gap(from_seq: int, to_seq: int) -> dict[str, Any]:
    return {"type": "gap", "thread_id": "t", "from_seq": from_seq, "to_seq": to_seq, "reason": "retention"}


@pytest.mark.parametrize("batch", [1, 2, 500])
async def test_old_runs_are_erased_and_readers_are_told(database: Database, aged: Any, batch: int) -> None:
    """The log begins after the last old run; whoever reads from before gets one gap and then the rest; the listing
    tells it; the message is gone from the run too; and the numbers go on."""
    await add_users(database, "alice")
    old = await _run(database, "alice", text="old secret")
    await _run(database, "alice", text="young")
    await aged(old)
    await Eraser(database, retention=timedelta(days=30), batch=batch).sweep()
    assert "old secret" not in repr((await _of(database, "alice"))["events"])
    assert "old secret" not in repr((await _of(database, "alice"))["runs"])
    for after_seq in range(5):
        frames = await _told(database, after_seq)
        assert frames[0] == _gap(after_seq + 1, 5)
        assert [frame["seq"] for frame in frames[1:]] == [6, 7, 8, 9, 10]
    assert [frame["seq"] for frame in await _told(database, 5)] == [6, 7, 8, 9, 10]
    threads = ThreadRepository(make_context("alice"), database)
    assert (await threads.get("t")).erased_to_seq == 5
    assert (await threads.messages("t", limit=1, cursor=None)).gap == (1, 5)
    page = await threads.messages("t", limit=1, cursor=None)
    assert [entry.seq for entry in page.entries] == [6]
    assert (await threads.messages("t", limit=1, cursor=page.next_cursor)).gap is None
    assert (await RunRepository(make_context("alice"), database).get(old)).status == RunStatus.COMPLETED
    written = await Ledger(database, lambda _entries: None).write(message("alice"))
    assert written.run.message_seq == 11


async def test_a_log_that_is_all_erased_tells_one_gap_and_goes_on(database: Database, aged: Any) -> None:
    """A thread whose every entry was erased is still there; its reader gets one gap, and the next number after it."""
    await add_users(database, "alice")
    await aged(await _run(database, "alice"))
    eraser = Eraser(database, retention=timedelta(days=30))
    await eraser.sweep()
    assert await _told(database, 0) == [_gap(1, 5)]
    assert await _told(database, 3) == [_gap(4, 5)]
    assert await _told(database, 5) == []
    run_id = await _run(database, "alice")
    assert [frame["seq"] for frame in (await _told(database, 0))[1:]] == [6, 7, 8, 9, 10]
    await aged(run_id)
    await eraser.sweep()
    assert await _told(database, 2) == [_gap(3, 10)]


@pytest.mark.parametrize("batch", [1, 3, 500])
async def test_an_unfinished_run_keeps_all_that_came_after_it(database: Database, aged: Any, batch: int) -> None:
    """Between two old runs one waits: what came before its message is erased, and nothing from there on."""
    await add_users(database, "alice")
    ledger = Ledger(database, lambda _entries: None)
    await aged(await _run(database, "alice"))
    waiting = await ledger.write(message("alice"))
    await aged(await _run(database, "alice"))
    eraser = Eraser(database, retention=timedelta(days=30), batch=batch)
    await eraser.sweep()
    assert (await _told(database, 0))[0] == _gap(1, 5)
    assert [frame["seq"] for frame in (await _told(database, 0))[1:]] == [6, 7, 8, 9, 10, 11]
    await ledger.write(CancelRun("alice", waiting.run.run_id, "enough"))
    await eraser.sweep()
    assert len(await _told(database, 0)) == 8
    await aged(waiting.run.run_id)
    await eraser.sweep()
    assert await _told(database, 0) == [_gap(1, 12)]


async def test_without_retention_nothing_is_erased(database: Database, aged: Any) -> None:
    """The log is kept for the thread's life unless an operator says otherwise."""
    await add_users(database, "alice")
    await aged(await _run(database, "alice"))
    before = await all_rows(database)
    await Eraser(database).sweep()
    assert await all_rows(database) == before


async def test_a_message_whose_text_was_erased_is_still_the_same_message(database: Database, aged: Any) -> None:
    """A client that sends a message again after its text was erased is answered as the first time."""
    await add_users(database, "alice")
    ledger = Ledger(database, lambda _entries: None)
    first: Written = await ledger.write(message("alice", client_message_id="m", text="hello"))
    run = (await ledger.write(ClaimRun("alice", first.run.run_id))).run
    await ledger.write(AppendEvents(run, (completion(run),), RunStatus.COMPLETED))
    await aged(run.run_id)
    await Eraser(database, retention=timedelta(days=30)).sweep()
    again = await ledger.write(message("alice", client_message_id="m", text="hello"))
    assert (again.repeated, again.run.run_id) == (True, run.run_id)


async def test_an_erased_thread_after_retention_leaves_no_run(database: Database, aged: Any) -> None:
    """The runs whose messages retention has erased go with their thread."""
    await add_users(database, "alice")
    await aged(await _run(database, "alice"))
    await Eraser(database, retention=timedelta(days=30)).sweep()
    context = make_context("alice", thread_id="t")
    await ThreadRepository(context, database).delete("t", lambda _: None)
    await Eraser(database).finish_thread(context)
    left = await _of(database, "alice")
    assert (left["threads"], left["runs"], left["events"]) == ([], [], [])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "claim", "step", "end", "cancel", "cancel", "age", "age", "expire"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


class Model:
    """What was written, and what of it may be gone: one thread of alice's."""

    def __init__(self, database: Database, thread_id: str, batch: int) -> None:
        self.database = database
        self.thread_id = thread_id
        self.ledger = Ledger(database, lambda entries: self.written.extend((e.seq, e.run_id) for e in entries))
        self.written: list[tuple[int, str]] = []
        self.open: list[Any] = []
        self.finished: set[str] = set()
        self.old: set[str] = set()
        self.eraser = Eraser(database, retention=timedelta(days=30), batch=batch)

    async def do(self, action: str, which: int, age: Callable[[str], Any]) -> None:
        """One step; one that makes no sense now does nothing."""
        if action == "submit":
            self.open.append((await self.ledger.write(message("alice", self.thread_id))).run)
        elif action == "expire":
            await self.eraser.sweep()
        elif action == "age" and self.finished:
            run_id = sorted(self.finished)[which % len(self.finished)]
            self.old.add(run_id)
            await age(run_id)
        elif self.open and action in ("claim", "step", "end", "cancel"):
            await self._of_run(action, which % len(self.open))

    async def _of_run(self, action: str, place: int) -> None:
        run = self.open[place]
        if action == "claim" and run.status is RunStatus.QUEUED:
            self.open[place] = (await self.ledger.write(ClaimRun("alice", run.run_id))).run
        elif action == "cancel":
            await self.ledger.write(CancelRun("alice", run.run_id, "enough"))
            self._ended(place)
        elif run.status is RunStatus.RUNNING:
            if action == "step":
                await self.ledger.write(AppendEvents(run, (happening(run),)))
            else:
                await self.ledger.write(AppendEvents(run, (completion(run),), RunStatus.COMPLETED))
                self._ended(place)

    def _ended(self, place: int) -> None:
        self.finished.add(self.open.pop(place).run_id)

    def erasable_to(self) -> int:
        """The longest beginning of the log whose runs have ended long ago."""
        seq = 0
        for number, run_id in self.written:
            if run_id not in self.old:
                break
            seq = number
        return seq

    async def check(self) -> None:
        """Whoever reads from any seq is told of every number once, in order, by an entry or by one gap."""
        for after_seq in range(len(self.written) + 1):
            frames = await _told(self.database, after_seq, self.thread_id)
            heard: list[int] = []
            for frame in frames:
                if frame["type"] == "gap":
                    assert not heard
                    heard.extend(range(frame["from_seq"], frame["to_seq"] + 1))
                else:
                    heard.append(frame["seq"])
            assert heard == list(range(after_seq + 1, len(self.written) + 1))


async def test_any_life_of_a_thread_under_retention(database: Database, aged: Any) -> None:
    """However runs begin, interleave, end, grow old and are swept: exactly the old beginning of the log is erased,
    nothing of an unfinished run, and every reader from every seq is told of each number once."""
    await add_users(database, "alice")
    numbers = iter(range(10_000))
    loop = asyncio.get_running_loop()

    async def live(steps: list[tuple[str, int]], batch: int) -> None:
        model = Model(database, f"thread-{next(numbers):05}", batch)
        try:
            await model.ledger.write(message("alice", model.thread_id))
            model.open.append((await model.ledger.write(ClaimRun("alice", model.written[0][1]))).run)
            for action, which in steps:
                await model.do(action, which, aged)
            await model.eraser.sweep()
            thread = await ThreadRepository(make_context("alice"), database).get(model.thread_id)
            assert thread.erased_to_seq == model.erasable_to()
            await model.check()
        finally:
            context = make_context("alice", thread_id=model.thread_id)
            await ThreadRepository(context, database).delete(model.thread_id, lambda _: None)
            await Eraser(database).finish_thread(context)

    @settings(max_examples=25)
    @given(steps=STEPS, batch=st.sampled_from([1, 3, 500]))
    def lives(steps: list[tuple[str, int]], batch: int) -> None:
        asyncio.run_coroutine_threadsafe(live(steps, batch), loop).result(60)

    await asyncio.to_thread(lives)
