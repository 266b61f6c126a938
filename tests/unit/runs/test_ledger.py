"""The ledger: every step of a run and every entry of a thread's log, written together or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from netra_backend.app.db.engine import Database
from netra_backend.app.db.repositories.accounts import AccountRepository
from netra_backend.app.db.tables import events, runs, threads
from netra_backend.app.db.writer import MAX_BATCH
from netra_backend.app.runs.ledger import (
    TITLE_CHARACTERS,
    AppendEvents,
    CancelRun,
    ClaimRun,
    Command,
    HandBackRun,
    Ledger,
    SubmitMessage,
    Written,
    apply_commands,
)
from netra_backend.app.runs.run_record import RunRecord
from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.refusals import (
    MessageReusedError,
    NotFoundError,
    RefusedError,
    StaleRunError,
    ThreadBusyError,
)
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import IfBusy
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.database import (
    Backend,
    add_users,
    all_rows,
    rows,
    see_all,
    user_row,
    writer_held,
    writing_engine,
)
from tests.support.made_contexts import make_context
from tests.support.stored_runs import (
    DEADLINE,
    Published,
    completion,
    happening,
    in_attempt,
    message,
    unstored_run,
)


class Book:
    """A migrated database with alice and bob, to which batches of commands are applied.

    Args:
        engine: of the connection that writes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def batch(self, *commands: Command) -> list[Written | Exception]:
        """Apply commands in one transaction."""
        with self._engine.begin() as connection:
            return apply_commands(connection, commands)

    def write(self, command: Command) -> Written:
        """Apply one command that must not be refused."""
        (outcome,) = self.batch(command)
        assert isinstance(outcome, Written), outcome
        return outcome

    def refusal(self, command: Command) -> Exception:
        """Apply one command that must be refused, and see that it has written nothing."""
        before = self.rows()
        (outcome,) = self.batch(command)
        assert isinstance(outcome, Exception), outcome
        assert self.rows() == before
        return outcome

    def claimed(self, user_id: str = "alice", thread_id: str = "t") -> RunRecord:
        """A run that goes on."""
        stored = self.write(message(user_id, thread_id))
        return self.write(ClaimRun(user_id, stored.run.run_id)).run

    def rows(self) -> object:
        """Everything that is stored."""
        with self._engine.begin() as connection:
            return rows(connection)

    def log(self, user_id: str = "alice", thread_id: str = "t") -> list[tuple[int, str, str, bool]]:
        """A thread's log: seq, type, run and whether final."""
        statement = (
            select(events.c.seq, events.c.type, events.c.run_id, events.c.final)
            .where(events.c.user_id == user_id, events.c.thread_id == thread_id)
            .order_by(events.c.seq)
        )
        with self._engine.begin() as connection:
            return [(row.seq, row.type, row.run_id, row.final) for row in connection.execute(statement)]

    def entries(self, user_id: str = "alice", thread_id: str = "t") -> list[LogEntry]:
        """A thread's log, whole."""
        statement = select(events).where(events.c.user_id == user_id, events.c.thread_id == thread_id)
        with self._engine.begin() as connection:
            return [LogEntry(*row) for row in connection.execute(statement.order_by(events.c.seq))]

    def run(self, run_id: str, user_id: str = "alice") -> RunRecord:
        """A run as it is stored."""
        columns = [runs.c[name] for name in RunRecord.__slots__]
        statement = select(*columns).where(runs.c.user_id == user_id, runs.c.run_id == run_id)
        with self._engine.begin() as connection:
            return RunRecord.from_columns(connection.execute(statement).one())


@pytest.fixture
def book(backend: Backend, tmp_path: Path) -> Iterator[Book]:
    """An empty book."""
    with writing_engine(tmp_path) as engine:
        with engine.begin() as connection:
            user_row(connection, "alice")
            user_row(connection, "bob")
        yield Book(engine)


def test_a_message_makes_thread_run_and_entry(book: Book) -> None:
    """The first message of a thread stores the thread, its queued run and the log's first entry, all alike."""
    command = message("alice", "t", "r", text="  What does\n it  cost? " + "x" * 100, client_message_id="m")
    written = book.write(command)
    assert written.run == book.run("r")
    assert list(written.entries) == book.entries()
    assert (written.repeated, written.interrupted) == (False, ())
    run = written.run
    assert (run.status, run.attempt, run.error, run.started_at, run.finished_at) == (
        RunStatus.QUEUED,
        0,
        None,
        None,
        None,
    )
    assert (run.message, run.client_message_id, run.message_scope, run.agent) == (command.text, "m", "t", "echo")
    assert (run.request_id, run.deadline, run.message_seq) == (command.context.request_id, DEADLINE, 1)
    (entry,) = written.entries
    assert (entry.seq, entry.type, entry.agent, entry.final) == (1, EventType.USER_MESSAGE, None, False)
    assert (entry.run_id, entry.request_id, entry.parent_request_id) == ("r", command.context.request_id, None)
    assert json.loads(entry.data) == {"text": command.text, "client_message_id": "m"}
    title = book_title(book)
    assert title.startswith("What does it cost? xxx")
    assert len(title) == TITLE_CHARACTERS


def book_title(book: Book) -> str:
    """The title of alice's thread t."""
    stored = book.rows()
    assert isinstance(stored, dict)
    return str(next(row.title for row in stored["threads"] if (row.user_id, row.thread_id) == ("alice", "t")))


def test_the_next_message_goes_on_counting(book: Book) -> None:
    """The log goes on in the same thread, whose title stays, and begins anew in another and for another user."""
    book.write(message("alice", "t", "r1", text="first"))
    assert book.write(message("alice", "t", "r2", text="second")).run.message_seq == 2
    assert book.write(message("alice", "other", "r3")).run.message_seq == 1
    assert book.write(message("bob", "t", "r1")).run.message_seq == 1
    assert book_title(book) == "first"


# The same message again.


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
@pytest.mark.parametrize("names_thread", [True, False])
def test_a_message_sent_again_is_the_same_message(book: Book, names_thread: bool, together: bool) -> None:
    """The run that was stored first is given back, marked as repeated, and nothing is written."""
    first = message("alice", "t", "r1", client_message_id="m", names_thread=names_thread)
    thread_id = "t" if names_thread else "t2"  # the server has named a new thread in the meantime
    second = message("alice", thread_id, "r2", client_message_id="m", names_thread=names_thread, if_busy=IfBusy.REJECT)
    if together:
        stored, again = book.batch(first, second)
    else:
        stored, again = book.write(first), book.write(second)
    assert isinstance(stored, Written)
    assert again == Written(stored.run, (), repeated=True)
    assert book.log() == [(1, "user_message", "r1", False)]
    assert book.log(thread_id="t2") == []


@pytest.mark.parametrize("cut", range(4))
def test_a_message_sent_again_tells_how_its_run_stands_now(book: Book, cut: int) -> None:
    """Whichever commands share a batch, a repeated message gives the run as the commands before have left it."""
    commands: list[Command] = [message("alice", "t", "r1", client_message_id="m"), ClaimRun("alice", "r1")]
    commands.append(message("alice", "t", "r2", client_message_id="m"))
    outcomes = [*book.batch(*commands[:cut]), *book.batch(*commands[cut:])]
    again = outcomes[-1]
    assert isinstance(again, Written)
    assert again.repeated
    assert (again.run.run_id, again.run.status, again.run.attempt) == ("r1", RunStatus.RUNNING, 1)
    assert again.run == book.run("r1")


def test_a_message_sent_again_interrupts_nothing(book: Book) -> None:
    """A resent message that asked to interrupt does not cancel its own run, nor any other."""
    first = message("alice", "t", "r1", client_message_id="m", if_busy=IfBusy.INTERRUPT)
    book.write(first)
    again = book.write(replace(first, context=UserExecutionContext.from_request("alice", "t", "r2")))
    assert (again.repeated, again.interrupted) == (True, ())
    assert book.run("r1").status is RunStatus.QUEUED


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_another_text_under_the_same_id_is_refused(book: Book, together: bool) -> None:
    """Of two texts under one id one would be lost, so the second is refused and the first stays."""
    first = message("alice", "t", "r1", text="one", client_message_id="m")
    second = message("alice", "t", "r2", text="two", client_message_id="m")
    if together:
        _, refusal = book.batch(first, second)
    else:
        book.write(first)
        refusal = book.refusal(second)
    assert isinstance(refusal, MessageReusedError)
    assert book.log() == [(1, "user_message", "r1", False)]


def test_a_client_message_id_counts_in_its_scope(book: Book) -> None:
    """One id is another message in another named thread, in a thread that the server named, and for another user."""
    commands = [
        message("alice", "t", "r1", client_message_id="m"),
        message("alice", "t2", "r2", client_message_id="m"),
        message("alice", "t3", "r3", client_message_id="m", names_thread=False),
        message("bob", "t", "r1", client_message_id="m"),
    ]
    for outcome in book.batch(*commands):
        assert isinstance(outcome, Written)
        assert not outcome.repeated


# A thread that is busy.


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_a_busy_thread_rejects_when_asked_to(book: Book, together: bool, running: bool) -> None:
    """While a run waits or goes on, `reject` is refused with nothing written; when it has ended, it is taken."""
    first: list[Command] = [message("alice", "t", "r1")]
    if running:
        first.append(ClaimRun("alice", "r1"))
    second = message("alice", "t", "r2", if_busy=IfBusy.REJECT)
    if together:
        refusal = book.batch(*first, second)[-1]
    else:
        book.batch(*first)
        refusal = book.refusal(second)
    assert isinstance(refusal, ThreadBusyError)
    assert {run_id for _, _, run_id, _ in book.log()} == {"r1"}
    assert isinstance(book.batch(CancelRun("alice", "r1", "why"), second)[-1], Written)


def test_another_thread_is_not_busy(book: Book) -> None:
    """`reject` looks at its own thread only, and another user's thread of that id is another one."""
    book.batch(message("alice", "t"), message("bob", "t2"))
    assert not book.write(message("alice", "t2", if_busy=IfBusy.REJECT)).interrupted


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_an_interrupting_message_cancels_what_is_unfinished(book: Book, together: bool) -> None:
    """Runs that wait and that go on end as cancelled, the oldest first, in the log before the message."""
    first: list[Command] = [
        message("alice", "t", "z-running"),
        message("alice", "t", "m-waiting"),
        message("alice", "t", "a-waiting"),
        message("alice", "t2", "elsewhere"),
        message("bob", "t", "of-bob"),
        ClaimRun("alice", "z-running"),
    ]
    second = message("alice", "t", "r2", if_busy=IfBusy.INTERRUPT)
    if together:
        written = book.batch(*first, second)[-1]
    else:
        book.batch(*first)
        written = book.write(second)
    assert isinstance(written, Written)
    assert written.interrupted == ("z-running", "m-waiting", "a-waiting")
    assert list(written.entries) == book.entries()[4:]
    assert book.log()[4:] == [
        (5, "run_cancelled", "z-running", True),
        (6, "run_cancelled", "m-waiting", True),
        (7, "run_cancelled", "a-waiting", True),
        (8, "user_message", "r2", False),
    ]
    for run_id in written.interrupted:
        assert book.run(run_id).status is RunStatus.CANCELLED
    assert book.run("elsewhere").status is RunStatus.QUEUED
    assert book.run("of-bob", "bob").status is RunStatus.QUEUED


def test_an_interrupted_runs_events_are_refused_in_the_same_batch(book: Book) -> None:
    """What an interrupted run says after the interruption is not in the log, though all came in one batch."""
    run = book.claimed()
    outcomes = book.batch(
        AppendEvents(run, (happening(run, "in time"),)),
        message("alice", "t", "r2", if_busy=IfBusy.INTERRUPT),
        AppendEvents(run, (happening(run, "too late"),)),
        AppendEvents(run, (completion(run),), RunStatus.COMPLETED),
    )
    assert [type(outcome) for outcome in outcomes] == [Written, Written, StaleRunError, StaleRunError]
    assert [type_ for _, type_, _, _ in book.log()] == [
        "user_message",
        "agent_started",
        "agent_thinking",
        "run_cancelled",
        "user_message",
    ]


def test_enqueued_messages_wait_side_by_side(book: Book) -> None:
    """`enqueue` touches nothing of what is there."""
    book.batch(
        message("alice", "t", "r1"), ClaimRun("alice", "r1"), message("alice", "t", "r2"), message("alice", "t", "r3")
    )
    assert [book.run(run_id).status for run_id in ("r1", "r2", "r3")] == ["running", "queued", "queued"]


# Claims and fencing.


def test_a_claim_raises_the_attempt_and_logs_it(book: Book) -> None:
    """The run is running in its first attempt, its start is stored, and `agent_started` says the attempt."""
    book.write(message("alice", "t", "r"))
    written = book.write(ClaimRun("alice", "r"))
    assert written.run == book.run("r")
    assert (written.run.status, written.run.attempt) == (RunStatus.RUNNING, 1)
    assert written.run.started_at is not None
    assert written.run.started_at >= written.run.created_at
    (entry,) = written.entries
    assert (entry.seq, entry.type, entry.agent, entry.final) == (2, EventType.AGENT_STARTED, "echo", False)
    assert json.loads(entry.data) == {"attempt": 1}
    assert entry.request_id == written.run.request_id


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_a_run_is_claimed_once(book: Book, together: bool) -> None:
    """Of two claims the second is refused, so that no run is done twice."""
    book.write(message("alice", "t", "r"))
    if together:
        _, refusal = book.batch(ClaimRun("alice", "r"), ClaimRun("alice", "r"))
    else:
        book.write(ClaimRun("alice", "r"))
        refusal = book.refusal(ClaimRun("alice", "r"))
    assert isinstance(refusal, StaleRunError)
    assert book.run("r").attempt == 1
    assert [type_ for _, type_, _, _ in book.log()] == ["user_message", "agent_started"]


@pytest.mark.parametrize("attempt", [0, 2])
def test_another_attempt_may_not_write(book: Book, attempt: int) -> None:
    """Events under an attempt that is not the run's are refused: whoever holds it was taken over."""
    run = book.claimed()
    refusal = book.refusal(AppendEvents(in_attempt(run, attempt), (completion(run),), RunStatus.COMPLETED))
    assert isinstance(refusal, StaleRunError)


def test_what_was_handed_back_does_not_wear_a_run_out(book: Book) -> None:
    """Attempts that a server has ended in order are not among those after which a run is given up; the last one only
    can be handed back, while it goes on, and nothing is logged of it."""
    run = book.claimed()
    for attempt in (1, 2, 3):
        assert isinstance(book.refusal(HandBackRun("alice", run.run_id, attempt + 1)), StaleRunError)
        handed_back = book.write(HandBackRun("alice", run.run_id, attempt))
        assert handed_back == Written(book.run(run.run_id), ())
        claimed = book.write(ClaimRun("alice", run.run_id, attempt, max_attempts=2)).run
        assert (claimed.status, claimed.attempt, claimed.handed_back) == (RunStatus.RUNNING, attempt + 1, attempt)
    assert book.write(ClaimRun("alice", run.run_id, 4, max_attempts=2)).run.attempt == 5  # cut off for the first time
    given_up = book.write(ClaimRun("alice", run.run_id, 5, max_attempts=2))
    assert (given_up.run.status, given_up.run.error) == (RunStatus.FAILED, "attempts_exhausted")
    assert "stopped 2 times" in given_up.entries[0].data
    assert [type_ for _, type_, _, _ in book.log()] == ["user_message", "agent_started", "agent_failed"]


def test_a_run_that_waits_may_not_be_written_to(book: Book) -> None:
    """Before the claim nobody holds the run."""
    run = book.write(message("alice", "t", "r")).run
    assert isinstance(book.refusal(AppendEvents(run, (happening(run),))), StaleRunError)
    assert isinstance(book.refusal(HandBackRun("alice", run.run_id, 0)), StaleRunError)


@pytest.mark.parametrize("outcome", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
def test_an_ended_run_stays_as_it_is(book: Book, outcome: RunStatus) -> None:
    """After its last event a run takes no event, no claim and no other end; cancelling it changes nothing."""
    run = book.claimed()
    error = "why" if outcome is RunStatus.FAILED else None
    if outcome is RunStatus.CANCELLED:
        ended = book.write(CancelRun("alice", run.run_id, "why")).run
    else:
        ended = book.write(AppendEvents(run, (completion(run),), outcome, error)).run
    assert ended == book.run(run.run_id)
    assert (ended.status, ended.error) == (outcome, error)
    assert ended.finished_at is not None
    for command in (
        AppendEvents(run, (happening(run),)),
        AppendEvents(ended, (completion(run),), RunStatus.COMPLETED),
        ClaimRun("alice", run.run_id),
        HandBackRun("alice", run.run_id, run.attempt),
    ):
        assert isinstance(book.refusal(command), StaleRunError)
    before = book.rows()
    assert book.write(CancelRun("alice", run.run_id, "again")) == Written(ended, ())
    assert book.rows() == before
    assert book.log()[-1] == (3, book.log()[-1][1], run.run_id, True)


def test_events_are_logged_as_they_happened(book: Book) -> None:
    """Order, data, time, agent and the request of a child context are what the agent said; seq follows on."""
    run = book.claimed()
    context = UserExecutionContext.from_request("alice", "t", run.run_id, run.request_id)
    child = context.create_child_context("data")
    said = (
        happening(context, "one"),
        happening(child, "two", type_=EventType.AGENT_STARTED),
        replace(happening(child, "three"), timestamp=DEADLINE, agent="data"),
    )
    written = book.write(AppendEvents(run, said))
    assert list(written.entries) == book.entries()[2:]
    assert [(entry.seq, entry.type, entry.agent, entry.data, entry.timestamp) for entry in written.entries] == [
        (seq, event.type, event.agent, event.data, event.timestamp) for seq, event in enumerate(said, start=3)
    ]
    assert [(entry.request_id, entry.parent_request_id) for entry in written.entries] == [
        (run.request_id, None),
        (child.request_id, run.request_id),
        (child.request_id, run.request_id),
    ]


@pytest.mark.parametrize(
    "foreign",
    [
        UserExecutionContext.from_request("bob", "t", "r"),
        UserExecutionContext.from_request("alice", "t2", "r"),
        UserExecutionContext.from_request("alice", "t", "r2"),
    ],
    ids=["of another user", "of another thread", "of another run"],
)
def test_an_event_of_another_run_is_refused_with_all_that_came_with_it(
    book: Book, foreign: UserExecutionContext
) -> None:
    """One event whose context is not the run's refuses the whole command, wherever it stands in it."""
    book.batch(message("alice", "t", "r"), message("alice", "t2", "r2"), message("bob", "t", "r"))
    run = book.write(ClaimRun("alice", "r")).run
    mixed = (happening(run), happening(foreign), completion(run))
    assert isinstance(book.refusal(AppendEvents(run, mixed, RunStatus.COMPLETED)), StaleRunError)


def test_cancelling_tells_why(book: Book) -> None:
    """A waiting run ends as cancelled, and the log tells the reason in its final entry."""
    book.write(message("alice", "t", "r"))
    written = book.write(CancelRun("alice", "r", "no longer wanted"))
    assert written.run == book.run("r")
    (entry,) = written.entries
    assert (entry.type, entry.final, json.loads(entry.data)) == (
        EventType.RUN_CANCELLED,
        True,
        {"reason": "no longer wanted"},
    )


def test_a_cancel_before_the_claim_wins_in_one_batch(book: Book) -> None:
    """Whichever of claim and cancel comes first in a batch, the run ends as cancelled and never goes on."""
    for run_id, order in (("r1", 1), ("r2", -1)):
        book.write(message("alice", "t", run_id))
        race: list[Command] = [CancelRun("alice", run_id, "why"), ClaimRun("alice", run_id)]
        book.batch(*race[::order])
        assert book.run(run_id).status is RunStatus.CANCELLED
        assert book.log()[-1][1:] == ("run_cancelled", run_id, True)


@pytest.mark.parametrize("user_id", ["alice", "nobody"])
def test_an_unknown_run_is_not_found(book: Book, user_id: str) -> None:
    """Another user's run is as unknown as one that never was, to whoever claims or cancels."""
    book.write(message("bob", "t", "of-bob"))
    refusals = [
        book.refusal(command)
        for run_id in ("of-bob", "nowhere")
        for command in (
            ClaimRun(user_id, run_id),
            CancelRun(user_id, run_id, "why"),
            HandBackRun(user_id, run_id, 0),
        )
    ]
    assert {(type(refusal), str(refusal)) for refusal in refusals} == {(NotFoundError, str(NotFoundError()))}


def test_an_erased_run_is_stale_to_whoever_writes_it(book: Book) -> None:
    """Events of a run that is no more are refused with StaleRunError, which tells the writer to stop."""
    run = unstored_run("alice", "erased")
    assert isinstance(book.refusal(AppendEvents(run, (completion(run),), RunStatus.COMPLETED)), StaleRunError)


def test_what_nobody_can_store_is_refused_by_name(book: Book) -> None:
    """A run cannot become queued again, or running by its own event."""
    run = book.claimed()
    for outcome in (RunStatus.QUEUED, RunStatus.RUNNING):
        assert isinstance(book.refusal(AppendEvents(run, (completion(run),), outcome)), StaleRunError)


def test_a_batch_may_be_as_large_as_the_writer_makes_it(book: Book) -> None:
    """The largest batch, of commands that each name rows of their own, is one that the database takes."""
    submits = [message("alice", f"t{number}", f"r{number}", if_busy=IfBusy.REJECT) for number in range(MAX_BATCH)]
    assert {type(outcome) for outcome in book.batch(*submits)} == {Written}
    claims = [ClaimRun("alice", f"r{number}") for number in range(MAX_BATCH)]
    assert {type(outcome) for outcome in book.batch(*claims)} == {Written}


def test_an_empty_batch_is_nothing(book: Book) -> None:
    """No command, no statement, no outcome."""
    before = book.rows()
    assert book.batch() == []
    assert book.rows() == before


# Through the writer.


async def test_entries_are_published_in_the_order_of_their_seq(database: Database) -> None:
    """Whoever is told hears each committed entry once, per thread by seq, after `on_commit` and before the caller."""
    await add_users(database, "alice", "bob")
    published = Published()
    ledger = Ledger(database, published)
    heard_by_on_commit: list[int] = []
    async with writer_held(database):
        futures = [
            ledger.write(message(user_id, "t"), lambda written: heard_by_on_commit.append(len(published.entries)))
            for user_id in ("alice", "bob") * 5
        ]
    for future in futures:
        written = await future
        assert set(written.entries) <= set(published.entries)
    assert heard_by_on_commit == list(range(10))
    for user_id in ("alice", "bob"):
        assert [entry.seq for entry in published.entries if entry.user_id == user_id] == [1, 2, 3, 4, 5]


async def test_nothing_is_published_of_a_refused_command(database: Database) -> None:
    """A refused or a repeated command tells nobody anything."""
    await add_users(database, "alice")
    published = Published()
    ledger = Ledger(database, published)
    await ledger.write(message("alice", "t", "r", client_message_id="m"))
    await ledger.write(message("alice", "t", "r2", client_message_id="m"))
    with pytest.raises(NotFoundError):
        await ledger.write(ClaimRun("alice", "nowhere"))
    assert [entry.seq for entry in published.entries] == [1]


async def test_a_message_of_an_erased_user_is_refused(database: Database) -> None:
    """A message on its way when its account was erased fails alone, with a refusal that a client can be told."""
    await add_users(database, "alice", "bob")
    await AccountRepository(make_context("bob"), database).erase(lambda: None)
    ledger = Ledger(database, lambda _entries: None)
    async with writer_held(database):
        of_alice = ledger.write(message("alice"))
        of_bob = ledger.write(message("bob"))
        also_of_alice = ledger.write(message("alice"))
    assert [(await of_alice).run.message_seq, (await also_of_alice).run.message_seq] == [1, 2]
    with pytest.raises(RefusedError):
        await of_bob
    assert all(row._mapping["user_id"] == "alice" for row in (await all_rows(database))["threads"])


# Beside a simple model.


@dataclass(frozen=True)
class Submit:
    """A message; its run is named after its place among the messages."""

    user: str
    thread: str
    message_id: str
    text: str
    names_thread: bool
    if_busy: IfBusy


@dataclass(frozen=True)
class Claim:
    """A claim of the run of a message, by a user whose run it may not be."""

    user: str
    run: str


@dataclass(frozen=True)
class Append:
    """Events of a run under some attempt; the last one may end it, and one of them may be another run's."""

    user: str
    run: str
    thread: str
    attempt: int
    count: int
    outcome: RunStatus | None
    foreign: bool


@dataclass(frozen=True)
class Cancel:
    """A cancellation."""

    user: str
    run: str


Step = Submit | Claim | Append | Cancel
Told = tuple[object, ...]
"""What a command gives: the refusal's type, or status, attempt, seqs, repeated and interrupted."""


@dataclass
class ModelRun:
    """A run of the model."""

    thread: str
    text: str
    status: RunStatus = RunStatus.QUEUED
    attempt: int = 0


@dataclass
class Model:
    """What the ledger promises, said as simply as it can be: one command after the other, in memory."""

    runs: dict[tuple[str, str], ModelRun] = field(default_factory=dict)
    messages: dict[tuple[str, str, str], str] = field(default_factory=dict)
    logs: dict[tuple[str, str], list[tuple[str, str, bool]]] = field(default_factory=dict)

    def apply(self, step: Step, run_id: str) -> Told:
        """What the step gives; `run_id` names the run of a message."""
        match step:
            case Submit():
                return self._submit(step, run_id)
            case Claim(user, name) | Cancel(user, name) if (user, name) not in self.runs:
                return (NotFoundError,)
            case Claim(user, name):
                run = self.runs[user, name]
                if run.status is not RunStatus.QUEUED:
                    return (StaleRunError,)
                run.status, run.attempt = RunStatus.RUNNING, run.attempt + 1
                return self._told(run, [self._log(user, run.thread, "agent_started", name)])
            case Cancel(user, name):
                run = self.runs[user, name]
                return self._told(run, [] if run.status.is_final else [self._cancel(user, name)])
            case Append():
                return self._append(step)

    def _told(self, run: ModelRun, seqs: list[int], repeated: bool = False, interrupted: Sequence[str] = ()) -> Told:
        return run.status, run.attempt, tuple(seqs), repeated, tuple(interrupted)

    def _log(self, user: str, thread: str, type_: str, run: str, final: bool = False) -> int:
        log = self.logs.setdefault((user, thread), [])
        log.append((type_, run, final))
        return len(log)

    def _cancel(self, user: str, name: str) -> int:
        self.runs[user, name].status = RunStatus.CANCELLED
        return self._log(user, self.runs[user, name].thread, "run_cancelled", name, final=True)

    def _submit(self, step: Submit, name: str) -> Told:
        key = (step.user, step.thread if step.names_thread else "", step.message_id)
        if key in self.messages:
            stored = self.runs[step.user, self.messages[key]]
            return self._told(stored, [], repeated=True) if stored.text == step.text else (MessageReusedError,)
        unfinished = [
            run_id
            for (user, run_id), run in self.runs.items()
            if (user, run.thread) == (step.user, step.thread) and not run.status.is_final
        ]
        if step.if_busy is IfBusy.REJECT and unfinished:
            return (ThreadBusyError,)
        interrupted = unfinished if step.if_busy is IfBusy.INTERRUPT else []
        seqs = [self._cancel(step.user, run_id) for run_id in interrupted]
        run = self.runs[step.user, name] = ModelRun(step.thread, step.text)
        self.messages[key] = name
        seqs.append(self._log(step.user, step.thread, "user_message", name))
        return self._told(run, seqs, interrupted=interrupted)

    def _append(self, step: Append) -> Told:
        run = self.runs.get((step.user, step.run))
        if run is None or run.status is not RunStatus.RUNNING or run.attempt != step.attempt:
            return (StaleRunError,)
        if step.foreign or step.thread != run.thread:
            return (StaleRunError,)
        last = step.count if step.outcome else None
        seqs = [
            self._log(step.user, run.thread, "agent_thinking", step.run, final=number == last)
            for number in range(1, step.count + 1)
        ]
        if step.outcome:
            run.status = step.outcome
        return self._told(run, seqs)


USERS: Final = ("ann", "ben", "cid")
THREADS: Final = ("t1", "t2")


def _steps() -> st.SearchStrategy[list[Step]]:
    user, thread = st.sampled_from(USERS), st.sampled_from(THREADS)
    # Names whose alphabetical order is not that of the messages, so that no order comes right by accident.
    run = st.integers(0, 6).map(_run_name)
    submit = st.builds(
        Submit,
        user=user,
        thread=thread,
        message_id=st.sampled_from("abc") | st.uuids().map(str),
        text=st.sampled_from(["hello", "hello", "hello", "another text"]),
        names_thread=st.booleans(),
        if_busy=st.sampled_from(IfBusy),
    )
    append = st.builds(
        Append,
        user=user,
        run=run,
        thread=thread,
        attempt=st.sampled_from([1, 1, 1, 0, 2]),
        count=st.integers(1, 3),
        outcome=st.sampled_from([None, RunStatus.COMPLETED, RunStatus.FAILED]),
        foreign=st.sampled_from([False, False, False, True]),
    )
    step = submit | submit | st.builds(Claim, user, run) | append | st.builds(Cancel, user, run)
    return st.lists(step, min_size=1, max_size=30)


def _run_name(number: int) -> str:
    return f"run-{'gdafbec'[number % 7]}-{number}"


def _to_command(step: Step, run_id: str) -> Command:
    match step:
        case Submit():
            return SubmitMessage(
                context=UserExecutionContext.from_request(step.user, step.thread, run_id, f"q-{run_id}"),
                text=step.text,
                client_message_id=step.message_id,
                names_thread=step.names_thread,
                if_busy=step.if_busy,
                agent="echo",
                deadline=DEADLINE,
            )
        case Claim(user, run):
            return ClaimRun(user, run)
        case Cancel(user, run):
            return CancelRun(user, run, "why")
        case Append():
            held = unstored_run(step.user, step.run, thread_id=step.thread, attempt=step.attempt)
            said = [happening(held) for _ in range(step.count)]
            if step.outcome:
                said[-1] = replace(said[-1], final=True)
            if step.foreign:
                said[0] = happening(UserExecutionContext.from_request("eve", step.thread, step.run))
            return AppendEvents(held, tuple(said), step.outcome)


def _told(outcome: Written | Exception) -> Told:
    if isinstance(outcome, Exception):
        return (type(outcome),)
    run = outcome.run
    seqs = tuple(entry.seq for entry in outcome.entries)
    return run.status, run.attempt, seqs, outcome.repeated, outcome.interrupted


@pytest.fixture(scope="module")
def users_engine(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A database with the model's users, whose transactions are rolled back after each example."""
    with writing_engine(tmp_path_factory.mktemp("model")) as engine:
        with engine.begin() as connection:
            for user_id in USERS:
                user_row(connection, user_id)
        yield engine


@given(steps=_steps(), cuts=st.sets(st.integers(1, 29)))
def test_the_ledger_does_as_the_model_says_however_commands_are_batched(
    users_engine: Engine, steps: list[Step], cuts: set[int]
) -> None:
    """Any commands of any users give what the simple model gives: one by one, all in one batch, and cut anywhere."""
    submits = [index for index, step in enumerate(steps) if isinstance(step, Submit)]
    names = {index: _run_name(number) for number, index in enumerate(submits)}
    model = Model()
    expected = [model.apply(step, names.get(index, "")) for index, step in enumerate(steps)]
    commands = [_to_command(step, names.get(index, "")) for index, step in enumerate(steps)]
    for borders in (set(range(1, len(steps))), set[int](), {cut for cut in cuts if cut < len(steps)}):
        places = [0, *sorted(borders), len(steps)]
        with users_engine.connect() as connection:
            outcomes: list[Written | Exception] = []
            for begin, end in pairwise(places):
                outcomes += apply_commands(connection, commands[begin:end])
            assert [_told(outcome) for outcome in outcomes] == expected
            see_all(connection)
            _compare(connection, model, outcomes)


def _compare(connection: Connection, model: Model, outcomes: list[Written | Exception]) -> None:
    """See that the database holds what the model holds, and that the promises of the log are kept in it."""
    logs: dict[tuple[str, str], list[tuple[str, str, bool]]] = {}
    stored = [LogEntry(*row) for row in connection.execute(select(events).order_by(*events.primary_key))]
    for entry in stored:
        log = logs.setdefault((entry.user_id, entry.thread_id), [])
        log.append((entry.type, entry.run_id, entry.final))
        assert entry.seq == len(log)
    assert logs == model.logs
    given_out = [entry for outcome in outcomes if isinstance(outcome, Written) for entry in outcome.entries]
    assert sorted(given_out, key=lambda entry: (entry.user_id, entry.thread_id, entry.seq)) == stored
    found = {
        (row.user_id, row.run_id): ModelRun(row.thread_id, row.message, RunStatus(row.status), row.attempt)
        for row in connection.execute(select(runs))
    }
    assert found == model.runs
    ended = {key for key, run in found.items() if run.status.is_final}
    finals = [(user, run) for (user, _), log in logs.items() for _, run, final in log if final]
    assert sorted(finals) == sorted(ended)
    for (user, _), log in logs.items():
        for place, (_, run, final) in enumerate(log):
            if final:
                assert all(later != run for _, later, _ in log[place + 1 :]), f"{user}'s {run} goes on after its end"
    for row in connection.execute(select(runs)):
        assert (row.finished_at is not None) == RunStatus(row.status).is_final
        assert (row.started_at is not None) == (row.attempt > 0)
    last = {(row.user_id, row.thread_id): row.last_seq for row in connection.execute(select(threads))}
    assert last == {key: len(log) for key, log in logs.items()}


async def test_users_who_write_at_once_get_logs_without_holes(database: Database) -> None:
    """Through the writer, with many tasks at once, each thread is numbered 1 to n and told in that order."""
    user_ids = [f"user-{number}" for number in range(5)]
    await add_users(database, *user_ids)
    published = Published()
    ledger = Ledger(database, published)

    async def talk(user_id: str, thread_id: str) -> None:
        for _ in range(3):
            stored = await ledger.write(message(user_id, thread_id))
            run = (await ledger.write(ClaimRun(user_id, stored.run.run_id))).run
            said = [ledger.write(AppendEvents(run, (happening(run),))) for _ in range(3)]
            last = ledger.write(AppendEvents(run, (completion(run),), RunStatus.COMPLETED))
            await asyncio.gather(*said, last)

    await asyncio.gather(*(talk(user_id, thread_id) for user_id in user_ids for thread_id in ("a", "b")))
    for user_id in user_ids:
        for thread_id in ("a", "b"):
            told = [entry for entry in published.entries if (entry.user_id, entry.thread_id) == (user_id, thread_id)]
            assert [entry.seq for entry in told] == list(range(1, 19))
            assert sum(entry.final for entry in told) == 3
    assert len((await all_rows(database))["events"]) == len(published.entries) == 5 * 2 * 18
