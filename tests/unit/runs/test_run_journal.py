"""The journal: a run's events in order on their way to the disk, whatever the disk does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netra_backend.app.agents.base import JournalEmitter
from netra_backend.app.agents.replay import Replay
from netra_backend.app.db.engine import Database
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.db.repositories.threads import ThreadRepository
from netra_backend.app.realtime.messages import event_frame
from netra_backend.app.runs import run_journal as run_journal_module
from netra_backend.app.runs.ledger import AppendEvents, CancelRun, Command, Ledger, Written
from netra_backend.app.runs.run_journal import RunJournal
from netra_backend.app.runs.run_record import RunRecord
from netra_backend.app.services.agent_events import AgentEvent, EventType, LogEntry
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.refusals import EventRefusedError, StaleRunError
from netra_backend.app.services.run_state import RunStatus
from tests.support.database import add_users, all_rows, disk_full, refuse_rows, writer_held
from tests.support.made_contexts import make_context
from tests.support.stored_runs import Published, claimed_run, completion, context_of, happening, in_attempt

PATIENCE = 5
"""Seconds after which a wait that should end is given up; reached only by a test that fails."""


class WatchedLedger(Ledger):
    """The real ledger; remembers what it was asked to write, and tells of each refusal."""

    def __init__(self, database: Database, publish: Published) -> None:
        super().__init__(database, publish)
        self.commands: list[AppendEvents] = []
        self.refused = asyncio.Event()

    def write(self, command: Command, on_commit: Callable[[Written], None] | None = None) -> asyncio.Future[Written]:
        """Write; see `Ledger.write`."""
        assert isinstance(command, AppendEvents)
        self.commands.append(command)
        future = super().write(command, on_commit)
        future.add_done_callback(self._look)
        return future

    def _look(self, done: asyncio.Future[Written]) -> None:
        if done.exception() is not None:
            self.refused.set()


class Desk:
    """A claimed run, and a journal that writes it."""

    def __init__(
        self,
        database: Database,
        run: RunRecord,
        *,
        max_uncommitted: int = 100,
        max_uncommitted_bytes: int = 1_000_000,
        max_bytes: int = 1_000,
    ) -> None:
        self.database = database
        self.run = run
        self.published = Published()
        self.ledger = WatchedLedger(database, self.published)
        self.deltas: list[tuple[str, str, str, str]] = []
        self.journal = RunJournal(
            self.ledger,
            run,
            lambda *delta: self.deltas.append(delta),
            max_uncommitted=max_uncommitted,
            max_uncommitted_bytes=max_uncommitted_bytes,
            max_event_bytes=max_bytes,
        )

    async def say(self, *texts: object) -> None:
        """Append thoughts, one after the other."""
        for text in texts:
            await self.journal.append(happening(self.run, f"{text}"))

    @property
    def said(self) -> list[str]:
        """What was told of the run's events, in order."""
        return [_text(entry) for entry in self.published.entries]

    async def stored(self) -> list[str]:
        """What the log holds of the run after its start."""
        found = (await all_rows(self.database))["events"]
        data = [row._mapping["data"] for row in found if row._mapping["run_id"] == self.run.run_id]
        return [json.loads(text)["text"] for text in data[2:]]

    async def status(self) -> RunStatus:
        """Where the run stands in the database."""
        (row,) = (await all_rows(self.database))["runs"]
        return RunStatus(row._mapping["status"])


def _text(entry: LogEntry) -> str:
    return str(json.loads(entry.data)["text"])


@pytest.fixture
async def run(database: Database) -> RunRecord:
    """A claimed run of alice's."""
    await add_users(database, "alice")
    return await claimed_run(database)


@pytest.fixture
async def desk(database: Database, run: RunRecord) -> Desk:
    """A desk with plenty of room."""
    return Desk(database, run)


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_journal_module, "RETRY_SECONDS", (0.0,))


async def test_events_are_stored_in_their_order(desk: Desk) -> None:
    """After `flush` every event taken so far is in the log, in order, once."""
    numbers = [f"{number}" for number in range(50)]
    await desk.say(*numbers)
    await desk.journal.flush()
    assert await desk.stored() == desk.said == numbers


async def test_append_does_not_wait_for_the_disk(desk: Desk) -> None:
    """While nothing can be committed an agent goes on, and nothing is told before it is stored."""
    async with writer_held(desk.database):
        await desk.say("a", "b")
        assert desk.published.entries == []
        assert await desk.stored() == []
    await desk.journal.flush()
    assert desk.said == ["a", "b"]


async def test_what_is_taken_in_one_turn_goes_in_one_command(desk: Desk) -> None:
    """Events of one turn of the event loop share a command; those that come while it is under way share the next."""
    async with writer_held(desk.database):
        await desk.say("a", "b", "c")
        await asyncio.sleep(0)  # the turn ends
        await desk.say("d")
        await asyncio.sleep(0)
        await desk.say("e")
        await asyncio.sleep(0)
        assert len(desk.ledger.commands) == 1
    await desk.journal.flush()
    assert [[json.loads(event.data)["text"] for event in command.events] for command in desk.ledger.commands] == [
        ["a", "b", "c"],
        ["d", "e"],
    ]


async def test_events_of_several_tasks_keep_the_order_in_which_they_were_taken(desk: Desk) -> None:
    """Sub-agents that work side by side are logged as they spoke."""
    spoken: list[str] = []

    async def sub_agent(name: str) -> None:
        for number in range(10):
            spoken.append(f"{name}{number}")
            await desk.say(f"{name}{number}")
            await asyncio.sleep(0)

    await asyncio.gather(*(sub_agent(name) for name in "abc"))
    await desk.journal.flush()
    assert await desk.stored() == spoken


@pytest.mark.parametrize("bound", [1, 3])
async def test_an_agent_waits_when_too_much_is_not_stored(database: Database, run: RunRecord, bound: int) -> None:
    """At most `max_uncommitted` events wait for the disk before `append` waits, and it goes on with each commit."""
    desk = Desk(database, run, max_uncommitted=bound)
    returned: list[int] = []
    ahead: list[int] = []

    async def agent() -> None:
        for number in range(20):
            await desk.say(number)
            returned.append(number)
            ahead.append(len(returned) - len(desk.published.entries))

    async with writer_held(database):
        talking = asyncio.ensure_future(agent())
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # two turns: the agent has said what it may, and the journal has sent it
        assert len(returned) == bound
    await talking
    await desk.journal.flush()
    assert max(ahead) <= bound
    assert await desk.stored() == [f"{number}" for number in range(20)]


async def test_an_agent_waits_when_too_many_bytes_are_not_stored(database: Database, run: RunRecord) -> None:
    """A few large events make `append` wait as many small ones do, and each of them is stored."""
    desk = Desk(database, run, max_uncommitted_bytes=1_000)
    async with writer_held(database):
        saying = asyncio.ensure_future(desk.say(*(f"{number}" * 400 for number in range(6))))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not saying.done()
        assert sum(len(command.events) for command in desk.ledger.commands) <= 3
    await asyncio.wait_for(saying, PATIENCE)
    await desk.journal.flush()
    assert [text[:1] for text in desk.said] == ["0", "1", "2", "3", "4", "5"]


async def test_a_cancelled_append_is_logged_all_the_same(database: Database, run: RunRecord) -> None:
    """An event whose `append` was cancelled while it waited for room was taken: it is stored once, in its place."""
    desk = Desk(database, run, max_uncommitted=1)
    async with writer_held(database):
        await desk.say("a")
        waiting = asyncio.ensure_future(desk.say("b"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await desk.journal.flush()
    await desk.say("c")
    await desk.journal.flush()
    assert await desk.stored() == ["a", "b", "c"]


async def test_flushing_nothing_returns(desk: Desk) -> None:
    """A journal that has taken nothing, or whose events are all stored, has nothing to wait for."""
    await desk.journal.flush()
    await desk.say("a")
    await desk.journal.flush()
    async with writer_held(desk.database):
        await desk.journal.flush()


async def test_a_flush_waits_for_what_was_taken_before_it_only(desk: Desk) -> None:
    """`flush` returns once its events are stored, though later ones still wait."""
    async with writer_held(desk.database):
        await desk.say("a")
        await asyncio.sleep(0)  # the turn ends: what comes now goes in another command
        flushing = asyncio.ensure_future(desk.journal.flush())
        await asyncio.sleep(0)
        await desk.say("b")
        assert not flushing.done()
    await flushing
    assert desk.said == ["a"]
    await desk.journal.flush()
    assert desk.said == ["a", "b"]


async def test_finishing_stores_the_last_event_and_the_end_together(desk: Desk) -> None:
    """After `finish` the log ends with the final entry, and the run with its outcome; what waited is before it."""
    await desk.say("a", "b")
    await desk.journal.finish(completion(desk.run), RunStatus.FAILED, "why")
    assert await desk.stored() == ["a", "b", "done"]
    assert [entry.final for entry in desk.published.entries] == [False, False, True]
    (row,) = (await all_rows(desk.database))["runs"]
    assert (row._mapping["status"], row._mapping["error"]) == ("failed", "why")


async def test_finishing_while_a_command_is_under_way(desk: Desk) -> None:
    """The end goes with the last event, not with the command before it."""
    async with writer_held(desk.database):
        await desk.say("a")
        await asyncio.sleep(0)  # its command is under way
        finishing = asyncio.ensure_future(desk.journal.finish(completion(desk.run), RunStatus.COMPLETED))
        await asyncio.sleep(0)
    await finishing
    assert [command.outcome for command in desk.ledger.commands] == [None, RunStatus.COMPLETED]
    assert await desk.stored() == ["a", "done"]
    assert await desk.status() is RunStatus.COMPLETED


async def test_a_finish_is_stored_though_its_caller_goes_away(desk: Desk) -> None:
    """A cancelled `finish` has taken the last event: the run ends."""
    async with writer_held(desk.database):
        finishing = asyncio.ensure_future(desk.journal.finish(completion(desk.run), RunStatus.COMPLETED))
        await asyncio.sleep(0)
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
    await desk.published.until_final(desk.run.run_id)
    assert await desk.status() is RunStatus.COMPLETED


@pytest.mark.parametrize("under_way", [True, False])
async def test_nothing_comes_after_the_last_event(desk: Desk, under_way: bool) -> None:
    """What a forgotten task of the agent says after `finish` was called is refused, and the log ends with the end."""
    async with writer_held(desk.database):
        if under_way:
            await desk.say("a")
            await asyncio.sleep(0)  # its command is under way, so that the end has to wait
        finishing = asyncio.ensure_future(desk.journal.finish(completion(desk.run), RunStatus.COMPLETED))
        straying = asyncio.ensure_future(desk.say("stray"))
        await asyncio.sleep(0)
    await finishing
    (stray,) = await asyncio.gather(straying, return_exceptions=True)
    await asyncio.wait_for(_settled(desk), PATIENCE)
    assert (await desk.stored())[-1] == "done"
    assert isinstance(stray, StaleRunError)


async def _settled(desk: Desk) -> None:
    """Wait until what was submitted so far is written."""
    await desk.database.writer.run(lambda _connection: None)


async def test_a_finished_journal_takes_nothing_more(desk: Desk) -> None:
    """After the end is stored the run is stale to its own journal."""
    await desk.journal.finish(completion(desk.run), RunStatus.COMPLETED)
    with pytest.raises(StaleRunError):
        await asyncio.wait_for(_say_and_flush(desk, "late"), PATIENCE)
    assert await desk.stored() == ["done"]


async def _say_and_flush(desk: Desk, text: str) -> None:
    await desk.say(text)
    await desk.journal.flush()


async def _poison(desk: Desk) -> None:
    """Let the database refuse events that hold the word."""
    await refuse_rows(desk.database, "INSERT", "events", "NEW.data LIKE '%poison%'")


async def test_an_event_that_cannot_be_stored_fails_the_run(desk: Desk) -> None:
    """What the database refuses for good is not tried again: whoever writes or waits hears of it, the log is whole up
    to there, and the run can be ended as failed, but not as completed."""
    await _poison(desk)
    await _say_and_flush(desk, "good")
    async with writer_held(desk.database):
        await desk.say("before it", "poison", "beside it")
        await asyncio.sleep(0)  # its command is under way
        await desk.say("behind it")
        waiting = [asyncio.ensure_future(desk.journal.flush()) for _ in range(2)]
        await asyncio.sleep(0)
    completing = desk.journal.finish(completion(desk.run), RunStatus.COMPLETED)
    for refused in (*waiting, desk.say("late"), desk.journal.flush(), completing):
        with pytest.raises(EventRefusedError, match="refuses an event of the run"):
            await asyncio.wait_for(refused, PATIENCE)
    await asyncio.wait_for(desk.journal.finish(completion(desk.run), RunStatus.FAILED, "agent_error"), PATIENCE)
    with pytest.raises(StaleRunError):
        await desk.say("stray")
    assert await desk.stored() == desk.said == ["good", "before it", "done"]
    assert await desk.status() is RunStatus.FAILED


async def test_an_answer_that_cannot_be_stored_fails_the_run(desk: Desk) -> None:
    """The last event itself may be refused for good: then the run has not ended, and its end is another one."""
    await _poison(desk)
    answer = happening(desk.run, "poison", type_=EventType.AGENT_COMPLETED, final=True)
    with pytest.raises(EventRefusedError):
        await asyncio.wait_for(desk.journal.finish(answer, RunStatus.COMPLETED), PATIENCE)
    assert await desk.status() is RunStatus.RUNNING
    await asyncio.wait_for(desk.journal.finish(completion(desk.run), RunStatus.FAILED, "agent_error"), PATIENCE)
    assert await desk.stored() == ["done"]


async def test_any_character_can_be_stored(desk: Desk) -> None:
    """Text with a NUL, which PostgreSQL has no place for, is stored in its JSON spelling on every database."""
    emit = JournalEmitter(context_of(desk.run), "echo", desk.journal, Replay(()))
    text = "a\0b \ufffe \x1b \N{PILE OF POO}"
    await emit.thinking(text)
    tool = await emit.tool(text, _returning({text: [text]}), arguments={text: text})
    await desk.journal.flush()
    log = await EventLog(context_of(desk.run), desk.database).read(2, 10)
    thought, executing, completed = (json.loads(entry.data) for entry in log)
    assert thought == {"text": text}
    assert (executing["tool"], executing["arguments"]) == (text, {text: text})
    assert completed["result"] == tool == {text: [text]}
    assert [event_frame(entry) for entry in log] == [event_frame(entry) for entry in desk.published.entries]


def _returning(value: JsonValue) -> Callable[[], Awaitable[JsonValue]]:
    async def call() -> JsonValue:
        return value

    return call


async def test_a_disk_that_is_full_for_a_while_loses_nothing(database: Database, run: RunRecord) -> None:
    """What is refused for want of storage is kept and tried again, until all is stored exactly once and in order."""
    desk = Desk(database, run, max_uncommitted=1_000, max_bytes=100_000)
    texts = [f"{number} {'x' * 5_000}" for number in range(10)]
    async with disk_full(database):
        await desk.say(*texts[:4])
        await desk.ledger.refused.wait()
        desk.ledger.refused.clear()
        await desk.say(*texts[4:])
        finishing = asyncio.ensure_future(desk.journal.finish(completion(run), RunStatus.COMPLETED))
        await desk.ledger.refused.wait()
        assert desk.published.entries == []
        assert not finishing.done()
    await finishing
    assert await desk.stored() == desk.said == [*texts, "done"]
    assert await desk.status() is RunStatus.COMPLETED


async def test_the_pauses_grow_and_begin_anew(
    database: Database, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refusal in a row is followed by the next longer pause, the last one for ever; a commit starts over."""
    desk = Desk(database, run, max_bytes=100_000)
    pauses: list[float] = []
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon

    def call_later(delay: float, callback: Callable[[], None]) -> asyncio.Handle:
        pauses.append(delay)
        return call_soon(callback)

    monkeypatch.setattr(run_journal_module, "RETRY_SECONDS", (1, 2, 3))
    monkeypatch.setattr(loop, "call_later", call_later)
    for _ in range(2):
        async with disk_full(database):
            desk.ledger.refused.clear()  # one of the round before, when the room came late
            await desk.say("x" * 20_000)
            for _ in range(4):
                await desk.ledger.refused.wait()
                desk.ledger.refused.clear()
        await desk.journal.flush()
        assert pauses[:4] == [1, 2, 3, 3]
        assert set(pauses[4:]) <= {3}
        pauses.clear()


@pytest.mark.parametrize("how", ["append", "flush", "finish"])
async def test_a_journal_that_was_overtaken_stops(database: Database, run: RunRecord, how: str) -> None:
    """Under a stale attempt nothing is stored, whoever waits is told so, and everybody after that at once."""
    desk = Desk(database, in_attempt(run, 7), max_uncommitted=1)
    calls: dict[str, Callable[[], Awaitable[None]]] = {
        "append": lambda: desk.say("a", "b", "c"),
        "flush": lambda: _say_and_flush(desk, "a"),
        "finish": lambda: desk.journal.finish(completion(run), RunStatus.COMPLETED),
    }
    with pytest.raises(StaleRunError):
        await asyncio.wait_for(calls[how](), PATIENCE)
    with pytest.raises(StaleRunError):
        await desk.say("later")
    with pytest.raises(StaleRunError):
        await desk.journal.finish(completion(run), RunStatus.COMPLETED)
    with pytest.raises(StaleRunError):
        await desk.journal.append(happening(run))
    assert await desk.stored() == []
    assert await desk.status() is RunStatus.RUNNING


async def test_everybody_who_waits_is_told_that_the_run_has_ended(database: Database, run: RunRecord) -> None:
    """A run that is cancelled elsewhere wakes every task of its agent that waits for the disk."""
    desk = Desk(database, run, max_uncommitted=1)
    async with writer_held(database):
        cancelling = Ledger(database, lambda _entries: None).write(CancelRun("alice", run.run_id, "why"))
        waiting = [asyncio.ensure_future(_say_and_flush(desk, text)) for text in "abc"]
        await asyncio.sleep(0)
    await cancelling
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENCE)
    assert [type(outcome) for outcome in outcomes] == [StaleRunError] * 3


async def test_a_journal_of_an_erased_thread_stops(desk: Desk) -> None:
    """When the thread is erased with its run, the writer is told that the run is stale."""
    await ThreadRepository(make_context("alice"), desk.database).delete("t", lambda _run_ids: None)
    with pytest.raises(StaleRunError):
        await asyncio.wait_for(_say_and_flush(desk, "late"), PATIENCE)


async def test_a_journal_stops_when_the_server_does(desk: Desk) -> None:
    """Once the database is closed whoever waits is told so: the run is taken up at the next start."""
    await desk.database.writer.close()
    with pytest.raises(StorageUnavailableError, match="shutting down"):
        await asyncio.wait_for(_say_and_flush(desk, "late"), PATIENCE)


async def test_a_commit_that_is_under_way_when_the_server_stops_counts(desk: Desk) -> None:
    """`close` stores what the journal has sent, and its waiters hear of that commit, not of the closing."""
    async with writer_held(desk.database):
        flushing = asyncio.ensure_future(_say_and_flush(desk, "a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # two turns: it is taken, and sent
        closing = asyncio.ensure_future(desk.database.writer.close())
        await asyncio.sleep(0)
    await asyncio.gather(closing, flushing)
    assert await desk.stored() == ["a"]


@pytest.mark.parametrize("letter", ["x", "é", "界", "😀"], ids=["1 byte", "2 bytes", "3 bytes", "4 bytes"])
async def test_an_event_has_a_largest_size_in_bytes(desk: Desk, letter: str) -> None:
    """Data of exactly `max_event_bytes` bytes, in UTF-8, is stored; one letter more is refused, and the run goes on."""
    limit = 1_000
    size = len(letter.encode())
    largest = _event(desk.run, letter * ((limit - 2) // size) + "y" * ((limit - 2) % size))
    await desk.journal.append(largest)
    with pytest.raises(ValueError, match=f"at most {limit}"):
        await desk.journal.append(_event(desk.run, letter * (limit // size)))
    await desk.journal.finish(completion(desk.run), RunStatus.COMPLETED)
    stored = (await all_rows(desk.database))["events"]
    assert [row._mapping["data"] for row in stored][2:] == [largest.data, completion(desk.run).data]


def _event(run: RunRecord, text: str) -> AgentEvent:
    return AgentEvent(
        context=context_of(run),
        type=happening(run).type,
        agent="echo",
        data=json.dumps(text, ensure_ascii=False),
    )


async def test_a_last_event_that_is_too_large_is_refused_and_the_run_can_still_fail(desk: Desk) -> None:
    """The result of a run has the same limit; whoever is refused can end the run with less."""
    large = happening(desk.run, "x" * 2_000, final=True)
    with pytest.raises(ValueError, match="at most 1000"):
        await desk.journal.finish(large, RunStatus.COMPLETED)
    await desk.journal.finish(completion(desk.run), RunStatus.FAILED, "too_large")
    assert await desk.stored() == ["done"]
    assert await desk.status() is RunStatus.FAILED


async def test_a_foreign_event_stops_the_journal(desk: Desk) -> None:
    """An event of another user's context is not stored, and the run that emitted it is told to stop."""
    await desk.journal.append(happening(make_context("mallory", thread_id="t", run_id=desk.run.run_id)))
    with pytest.raises(StaleRunError):
        await desk.journal.flush()
    assert await desk.stored() == []


async def test_a_run_that_has_ended_streams_nothing_more(desk: Desk) -> None:
    """After a run's last event, what an agent still streams is shown to nobody."""
    await desk.journal.finish(completion(desk.run), RunStatus.COMPLETED)
    desk.journal.delta("late")
    assert desk.deltas == []


async def test_deltas_are_shown_and_not_stored(desk: Desk) -> None:
    """Streamed text goes to whoever watches the run's thread of the run's user, at once, and into no log."""
    desk.journal.delta("Hel")
    desk.journal.delta("lo")
    assert desk.deltas == [("alice", "t", desk.run.run_id, "Hel"), ("alice", "t", desk.run.run_id, "lo")]
    await desk.journal.flush()
    assert await desk.stored() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the examples share a database, not a thread
@given(turns=st.lists(st.integers(0, 4), min_size=1, max_size=8), bound=st.integers(1, 5))
async def test_whatever_the_rhythm_every_event_is_stored_once(
    database: Database, run: RunRecord, turns: list[int], bound: int
) -> None:
    """However many events come in each turn of the loop, and however few may wait, the log has them all in order."""
    thread_id = str(uuid4())
    desk = Desk(database, await claimed_run(database, thread_id=thread_id), max_uncommitted=bound)
    spoken: list[str] = []
    for turn, count in enumerate(turns):
        for number in range(count):
            spoken.append(f"{turn}.{number}")
            await desk.say(spoken[-1])
        await asyncio.sleep(0)
    await desk.journal.finish(completion(desk.run), RunStatus.COMPLETED)
    assert await desk.stored() == desk.said == [*spoken, "done"]
