"""The group-commit writer: many commands to a commit, each with its own fate."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from netra_backend.app.db.engine import Database, open_storage
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.db.storage import Storage
from netra_backend.app.db.writer import MAX_BATCH, GroupCommitWriter
from netra_backend.app.services.refusals import LimitExceededError, RefusedError
from tests.support.database import (
    Backend,
    add_users,
    administer,
    all_rows,
    database_url,
    disk_full,
    on_sqlite,
    open_database,
    storage_refused,
    user_row,
    writer_held,
    writing_engine,
)

PATIENCE: Final = 5
"""Seconds after which a future that should wake is given up; reached only by a test that fails."""


class Notes:
    """A table of notes, and the bulk operation that writes them: one statement for all of a batch."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, connection: Connection, commands: Sequence[str]) -> list[str | Exception]:
        """Store the notes; refuse those that begin with "refused", let the database refuse those it has already."""
        self.batches.append(list(commands))
        kept = [command for command in commands if not command.startswith("refused")]
        if kept:
            connection.execute(text("INSERT INTO notes VALUES (:note)"), [{"note": note} for note in kept])
        return [command if command in kept else RefusedError(command) for command in commands]


def make_notes(connection: Connection) -> None:
    """Make the empty table, which every role may use, and whose rows have a `rowid` in the order of their coming."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("CREATE TABLE notes (note TEXT UNIQUE)"))
    else:
        connection.execute(text("CREATE TABLE notes (note TEXT UNIQUE, rowid INTEGER GENERATED ALWAYS AS IDENTITY)"))
        connection.execute(text("GRANT ALL ON notes TO PUBLIC"))


@pytest.fixture
async def notes(database: Database) -> Notes:
    """The empty table."""
    await administer(database, make_notes)
    return Notes()


async def _stored(database: Database) -> list[str]:
    return await database.read(
        lambda connection: list(connection.execute(text("SELECT note FROM notes ORDER BY rowid")).scalars())
    )


async def test_what_arrives_during_a_commit_shares_the_next_one(database: Database, notes: Notes) -> None:
    """A thousand commands that wait are one transaction, in the order in which they came."""
    observed: list[int] = []
    database.writer.observe = lambda commands, _seconds: observed.append(commands)
    expected = [f"{number}" for number in range(MAX_BATCH)]
    async with writer_held(database):
        futures = [database.writer.submit(notes, note) for note in expected]
    assert await asyncio.gather(*futures) == expected
    assert observed == [1, MAX_BATCH]
    assert notes.batches == [expected]
    assert await _stored(database) == expected


async def test_a_batch_has_a_largest_size(database: Database, notes: Notes) -> None:
    """More than `MAX_BATCH` commands go in several commits, still in order."""
    observed: list[int] = []
    database.writer.observe = lambda commands, _seconds: observed.append(commands)
    expected = [f"{number}" for number in range(2 * MAX_BATCH + 7)]
    async with writer_held(database):
        futures = [database.writer.submit(notes, note) for note in expected]
    await asyncio.gather(*futures)
    assert observed == [1, MAX_BATCH, MAX_BATCH, 7]
    assert await _stored(database) == expected


async def test_an_observed_commit_tells_its_seconds(database: Database, notes: Notes) -> None:
    """The observer learns how long the commit took, never a negative time."""
    observed: list[float] = []
    database.writer.observe = lambda _commands, seconds: observed.append(seconds)
    await database.writer.submit(notes, "a")
    assert len(observed) == 1
    assert 0 <= observed[0] < PATIENCE


async def test_a_refused_command_is_refused_alone(database: Database, notes: Notes) -> None:
    """An outcome that is an exception reaches its own caller only, and its batch is committed once."""
    async with writer_held(database):
        futures = [database.writer.submit(notes, note) for note in ("a", "refused b", "c")]
    assert [await futures[0], await futures[2]] == ["a", "c"]
    with pytest.raises(RefusedError, match="refused b"):
        await futures[1]
    assert await _stored(database) == ["a", "c"]
    assert notes.batches == [["a", "refused b", "c"]]


def _breaks_uniqueness(connection: Connection) -> None:
    connection.execute(text("INSERT INTO notes VALUES ('unfinished')"))
    connection.execute(text("INSERT INTO notes VALUES ('a')"))


def _overflows(connection: Connection) -> None:
    connection.execute(text("INSERT INTO notes VALUES ('unfinished')"))
    connection.execute(text("INSERT INTO notes VALUES (CAST(CAST(:note AS INTEGER) AS TEXT))"), {"note": 2**70})


def _is_no_text(connection: Connection) -> None:
    connection.execute(text("INSERT INTO notes VALUES ('unfinished')"))
    connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": "\ud800"})


def _is_wrong_sql(connection: Connection) -> None:
    connection.execute(text("INSERT INTO notes VALUES ('unfinished')"))
    connection.execute(text("INSERT INTO nowhere VALUES ('a')"))


def _refuses(connection: Connection) -> None:
    connection.execute(text("INSERT INTO notes VALUES ('unfinished')"))
    raise LimitExceededError("too many")


def _ends_an_iterator(connection: Connection) -> None:
    connection.execute(text("INSERT INTO notes VALUES ('unfinished')"))
    next(iter(()))


def _is_cancelled(connection: Connection) -> None:
    connection.execute(text("INSERT INTO notes VALUES ('unfinished')"))
    raise asyncio.CancelledError


FAULTS: Final = (
    _breaks_uniqueness,
    _overflows,
    _is_no_text,
    _is_wrong_sql,
    _refuses,
    _ends_an_iterator,
    _is_cancelled,
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_command_fails_alone(
    database: Database, notes: Notes, fault: Callable[[Connection], None]
) -> None:
    """Whatever one command's work raises, its neighbours in the batch are stored, and nothing of its own is."""
    async with writer_held(database):
        before = database.writer.submit(notes, "a")
        faulty = database.writer.run(fault)
        after = database.writer.submit(notes, "c")
    async with asyncio.timeout(PATIENCE):
        assert await before == "a"
        assert await after == "c"
        with pytest.raises((Exception, asyncio.CancelledError)):
            await faulty
        assert await database.writer.submit(notes, "d") == "d"
    assert await _stored(database) == ["a", "c", "d"]


async def test_the_caller_learns_what_the_database_said(database: Database, notes: Notes) -> None:
    """A command that breaks a constraint fails with the database's own error, alone or in a batch."""
    await database.writer.submit(notes, "a")
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await database.writer.submit(notes, "a")
    async with writer_held(database):
        futures = [database.writer.submit(notes, note) for note in ("b", "a", "c")]
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await futures[1]
    assert await _stored(database) == ["a", "b", "c"]


async def test_an_operation_that_forgets_a_command_stores_nothing(database: Database, notes: Notes) -> None:
    """An operation must answer for each command: one answer too few, and its transaction is rolled back."""

    def forgetful(connection: Connection, commands: Sequence[str]) -> list[str | Exception]:
        connection.execute(text("INSERT INTO notes VALUES ('half')"))
        return list(commands[1:])

    async with writer_held(database):
        futures = [database.writer.submit(forgetful, note) for note in ("a", "b")]
        neighbour = database.writer.submit(notes, "c")
    assert [type(error) for error in await asyncio.gather(*futures, return_exceptions=True)] == [ValueError] * 2
    assert await neighbour == "c"
    assert await _stored(database) == ["c"]


async def test_on_commit_is_called_in_order_and_before_anybody_wakes(database: Database, notes: Notes) -> None:
    """For each command of a batch, of whatever kind: `on_commit` in the order of submission, then its caller."""
    happened: list[tuple[str, str]] = []

    async def submit(note: str, future: asyncio.Future[str]) -> None:
        await future
        happened.append(("woke", note))

    def committed(note: str) -> None:
        happened.append(("committed", note))

    def other(connection: Connection, commands: Sequence[str]) -> list[str | Exception]:
        return list(notes(connection, commands))

    async with writer_held(database):
        callers = []
        for number in range(20):
            operation = notes if number % 3 else other
            future = database.writer.submit(operation, f"{number}", committed)
            callers.append(asyncio.create_task(submit(f"{number}", future)))
    await asyncio.gather(*callers)
    order = [f"{number}" for number in range(20)]
    assert [note for what, note in happened if what == "committed"] == order
    assert [note for what, note in happened if what == "woke"] == order
    for note in order:
        assert happened.index(("committed", note)) < happened.index(("woke", note))


async def test_on_commit_comes_after_the_commit(database: Database, notes: Notes) -> None:
    """At the time of `on_commit` another connection reads what was written."""
    seen: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    def committed(_note: str) -> None:
        reading = asyncio.ensure_future(_stored(database))
        reading.add_done_callback(lambda done: seen.set_result(done.result()))

    async with writer_held(database):
        future = database.writer.submit(notes, "a", committed)
        assert await _stored(database) == []
        assert not future.done()
    assert await seen == ["a"]


async def test_a_refused_command_is_not_committed(database: Database, notes: Notes) -> None:
    """`on_commit` is not called for what was not stored."""
    committed: list[str] = []
    async with writer_held(database):
        futures = [database.writer.submit(notes, note, committed.append) for note in ("a", "refused", "b")]
    await asyncio.gather(*futures, return_exceptions=True)
    assert committed == ["a", "b"]


async def test_an_on_commit_that_fails_keeps_nobody_else_waiting(database: Database, notes: Notes) -> None:
    """When one command's `on_commit` raises, the others of the batch are still told of their commits."""
    told: list[str] = []
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context.get("exception")))

    def fails(note: str) -> None:
        raise ValueError(note)

    async with writer_held(database):
        first = database.writer.submit(notes, "a", told.append)
        faulty = database.writer.submit(notes, "b", fails)
        last = database.writer.submit(notes, "c", told.append)
    async with asyncio.timeout(PATIENCE):
        assert await first == "a"
        assert await last == "c"
        await asyncio.wait({faulty})  # stored it is: whether its future tells that or the failure is left open
    assert told == ["a", "c"]
    assert await _stored(database) == ["a", "b", "c"]


async def test_cancelling_does_not_recall_a_command(database: Database, notes: Notes) -> None:
    """Who stops waiting gets nothing, but the command is stored, its `on_commit` called and its neighbours told."""
    committed: list[str] = []
    async with writer_held(database):
        futures = [database.writer.submit(notes, note, committed.append) for note in ("a", "b", "c")]
        futures[1].cancel()
    assert [await futures[0], await futures[2]] == ["a", "c"]
    assert futures[1].cancelled()
    assert committed == ["a", "b", "c"]
    assert await _stored(database) == ["a", "b", "c"]


async def test_a_cancelled_refusal_is_right(database: Database, notes: Notes) -> None:
    """A command that is refused after its caller has gone disturbs nobody."""
    async with writer_held(database):
        refused = database.writer.submit(notes, "refused")
        refused.cancel()
        neighbour = database.writer.submit(notes, "a")
    assert await neighbour == "a"
    assert refused.cancelled()


async def test_a_full_disk_refuses_the_batch_and_keeps_nothing_of_it(database: Database, notes: Notes) -> None:
    """While the disk is full each command is told so and none is half stored; with room again, the next are stored."""
    committed: list[str] = []
    large = "x" * 20_000
    async with disk_full(database):
        async with writer_held(database):
            futures = [database.writer.submit(notes, note, committed.append) for note in ("a", large, "b")]
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailableError] * 3
        assert "full" in str(outcomes[0])
        assert committed == []
        assert await _stored(database) == []
    async with writer_held(database):
        futures = [database.writer.submit(notes, note, committed.append) for note in ("a", large, "b")]
    assert await asyncio.gather(*futures) == ["a", large, "b"]
    assert committed == ["a", large, "b"]
    assert await _stored(database) == ["a", large, "b"]


async def test_a_locked_database_is_unavailable_for_a_while(database: Database, notes: Notes) -> None:
    """While somebody else holds the write lock commands are refused with nothing stored; afterwards they go on."""
    async with storage_refused(database):
        with pytest.raises(StorageUnavailableError, match="locked"):
            await database.writer.submit(notes, "a")
        assert await _stored(database) == []
    assert await database.writer.submit(notes, "a") == "a"
    assert await _stored(database) == ["a"]


@on_sqlite
async def test_a_database_that_cannot_be_opened_is_unavailable_for_a_while(backend: Backend, tmp_path: Path) -> None:
    """While the folder is away commands are refused, each and at once; when it is back, they are stored."""
    there, away = tmp_path / "there", tmp_path / "away"
    there.mkdir()
    async with open_database(there) as database:
        await asyncio.to_thread(there.rename, away)
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                with pytest.raises(StorageUnavailableError, match="unable to open"):
                    await add_users(database, "alice")
        await asyncio.to_thread(away.rename, there)
        async with asyncio.timeout(PATIENCE):
            await add_users(database, "alice")
        assert len((await all_rows(database))["users"]) == 1


async def test_closing_commits_what_was_submitted(database: Database, notes: Notes) -> None:
    """`close` returns after the last commit; every future has its result by then."""
    expected = [f"{number}" for number in range(MAX_BATCH + 3)]
    async with writer_held(database):
        futures = [database.writer.submit(notes, note) for note in expected]
        closing = asyncio.ensure_future(database.writer.close())
        await asyncio.sleep(0)  # one turn of the loop, in which it begins
    await closing
    assert [future.result() for future in futures] == expected
    assert await _stored(database) == expected


async def test_nothing_is_taken_after_closing(database: Database, notes: Notes) -> None:
    """From the moment `close` is called a command is refused at once, and closing twice is right."""
    async with writer_held(database):
        kept = database.writer.submit(notes, "a")
        closing = asyncio.ensure_future(database.writer.close())
        await asyncio.sleep(0)  # one turn of the loop, in which it begins
        with pytest.raises(StorageUnavailableError, match="shutting down"):
            _ = database.writer.submit(notes, "b")
    await closing
    await database.writer.close()
    assert await kept == "a"
    assert await _stored(database) == ["a"]


async def test_a_writer_that_never_wrote_closes(database: Database) -> None:
    """`close` before the first command returns, and what comes afterwards is refused."""
    writer = GroupCommitWriter(database.storage)
    await writer.close()
    with pytest.raises(StorageUnavailableError):
        _ = writer.run(lambda _connection: None)
    assert not _writer_threads()


async def test_the_thread_ends_with_the_writer(database: Database) -> None:
    """The writer's thread starts with the first command, and does not outlive `close`."""
    writer = GroupCommitWriter(database.storage)
    assert not _writer_threads()
    await writer.run(lambda connection: user_row(connection, "alice"))
    assert len(_writer_threads()) == 1
    await writer.close()
    assert not _writer_threads()


def _writer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "netra-writer"]


CRASHING: Final = """
import asyncio, sys
from sqlalchemy import text
from netra_backend.app.db.engine import Database

async def main() -> None:
    database = Database(sys.argv[1])
    note = 0
    def write(connection, note):
        connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": str(note)})
        return note
    def told(note):
        sys.stdout.write(f"{note}\\n")
        sys.stdout.flush()
    while True:
        for _ in range(7):
            last = database.writer.run(lambda connection, note=note: write(connection, note))
            last.add_done_callback(lambda done: told(done.result()))
            note += 1
        await last

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_a_crash(backend: Backend, tmp_path: Path) -> None:
    """When the process is killed between two instructions, every command whose caller was told is in the database."""
    with writing_engine(tmp_path) as engine, engine.begin() as connection:
        make_notes(connection)
    child = subprocess.Popen(
        [sys.executable, "-c", CRASHING, database_url(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(50)]
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.stdout.close()
    child.wait()
    told += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    with writing_engine(tmp_path) as engine, engine.begin() as connection:
        stored = list(connection.execute(text("SELECT note FROM notes ORDER BY rowid")).scalars())
    assert stored == [str(number) for number in range(len(stored))]
    assert [str(number) for number in told] == stored[: len(told)]


@pytest.fixture(scope="module")
def notes_storage(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A database with the empty table, for all examples of a property."""
    folder = tmp_path_factory.mktemp("notes")
    with writing_engine(folder) as engine, engine.begin() as connection:
        make_notes(connection)
    storage = open_storage(database_url(folder), reader_threads=1)
    yield storage
    storage.release()


@given(kinds=st.lists(st.sampled_from(["stored", "refused", "raises"]), min_size=1, max_size=12))
def test_each_command_has_the_fate_it_would_have_alone(notes_storage: Storage, kinds: list[str]) -> None:
    """Whatever mixture forms a batch, each command is stored or refused as it would be without the others."""

    async def run(storage: Storage) -> None:
        notes = Notes()
        writer = GroupCommitWriter(storage)
        entered, leave = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def hold(connection: Connection) -> None:
            connection.execute(text("DELETE FROM notes"))
            connection.execute(text("INSERT INTO notes VALUES ('taken')"))
            loop.call_soon_threadsafe(entered.set)
            leave.wait(PATIENCE)

        holding = writer.run(hold)
        await entered.wait()
        names = {"stored": "{}", "refused": "refused {}", "raises": "taken"}
        commands = [names[kind].format(number) for number, kind in enumerate(kinds)]
        futures = [writer.submit(notes, command) for command in commands]
        leave.set()
        await holding
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        expected = {"stored": str, "refused": RefusedError, "raises": IntegrityError}
        assert [type(outcome) for outcome in outcomes] == [expected[kind] for kind in kinds]
        await writer.close()
        with storage.write_engine.begin() as connection:
            stored = list(connection.execute(text("SELECT note FROM notes ORDER BY rowid")).scalars())
        assert stored == ["taken", *(note for note, kind in zip(commands, kinds, strict=True) if kind == "stored")]

    asyncio.run(run(notes_storage))


async def test_commands_of_several_kinds_keep_their_order(database: Database) -> None:
    """What is submitted later is applied later, whatever kinds of commands share a commit."""
    applied: list[str] = []

    def note(connection: Connection, commands: Sequence[str]) -> list[str | Exception]:
        applied.extend(commands)
        return list(commands)

    def work(name: str) -> Callable[[Connection], None]:
        return lambda _connection: applied.append(name)

    async with writer_held(database):
        futures: list[asyncio.Future[Any]] = [
            database.writer.submit(note, "first"),
            database.writer.run(work("second")),
            database.writer.submit(note, "third"),
            database.writer.run(work("fourth")),
        ]
    await asyncio.gather(*futures)
    assert applied == ["first", "second", "third", "fourth"]
