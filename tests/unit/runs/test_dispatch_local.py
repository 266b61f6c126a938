"""The dispatcher: stored runs become tasks, each for one user, and each place is given back."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from netra_backend.app.db.engine import Database
from netra_backend.app.db.repositories.threads import ThreadRepository
from netra_backend.app.runs import dispatch_local as dispatch_local_module
from netra_backend.app.runs.ledger import CancelRun, ClaimRun
from netra_backend.app.services.ports import Journal
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.user_execution_context import (
    NoActiveContextError,
    UserExecutionContext,
    current,
)
from tests.support.database import add_users, all_rows, storage_refused, writer_held
from tests.support.dispatching import PATIENCE, HeldAgent, Office
from tests.support.made_contexts import make_context
from tests.support.stored_runs import completion, message

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="empty")


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_local_module, "RETRY_SECONDS", (0.0,))


@pytest.fixture
async def database(database: Database) -> Database:
    """A database in which three users have accounts."""
    await add_users(database, "alice", "bob", "carol")
    return database


@pytest.fixture
def agent() -> HeldAgent:
    """An agent that waits to be released."""
    return HeldAgent()


@pytest.fixture
def office(database: Database, agent: HeldAgent) -> Office:
    """A dispatcher with room for everybody."""
    return Office(database, agent)


async def _statuses(database: Database) -> dict[str, str]:
    return {row._mapping["run_id"]: row._mapping["status"] for row in (await all_rows(database))["runs"]}


async def test_an_offered_run_is_claimed_and_done(office: Office, agent: HeldAgent) -> None:
    """The agent gets the run's own context, the message, and a journal under the claimed attempt."""
    run = await office.offer("alice", "t", "r")
    agent.release("r")
    await office.ended("r")
    (context,) = agent.contexts
    assert (context.user_id, context.thread_id, context.run_id) == ("alice", "t", "r")
    assert (context.request_id, context.deadline) == (run.request_id, run.deadline)
    assert agent.messages == ["hello"]
    assert [(claimed.run_id, claimed.attempt) for claimed in office.claimed] == [("r", 1)]
    assert office.published.types("r") == ["user_message", "agent_started", "agent_completed"]
    await office.idle()
    assert (office.admission.running_count, office.admission.waiting_count) == (0, 0)


async def test_a_run_starts_with_nobodys_context(database: Database) -> None:
    """A task begins in an empty context, whoever's is bound where the run is offered or a place is freed."""
    seen: dict[str, tuple[int, str, object]] = {}

    async def execute(context: UserExecutionContext, agent: str, message: str, journal: Journal) -> None:
        try:
            bound: object = current().user_id
        except NoActiveContextError:
            bound = None
        seen[context.run_id] = len(contextvars.copy_context()), VARIABLE.get(), bound
        VARIABLE.set(context.user_id)
        with context.bind():
            await journal.finish(completion(context), RunStatus.COMPLETED)

    office = Office(database, execute, max_running=1)
    VARIABLE.set("mallory's")
    with make_context("mallory").bind():
        for user_id in ("alice", "bob", "carol"):
            office.dispatcher.offer(await office.store(message(user_id, "t", f"of-{user_id}")))
        await office.ended("of-alice", "of-bob", "of-carol")
    await office.idle()
    assert seen == dict.fromkeys(("of-alice", "of-bob", "of-carol"), (0, "empty", None))


async def test_a_thread_does_its_runs_one_after_the_other(office: Office, agent: HeldAgent) -> None:
    """The second run of a thread begins after the first one's last event, the third after the second's."""
    for run_id in ("z", "m", "a"):
        await office.offer("alice", "t", run_id)
    for run_id in ("z", "m", "a"):
        await agent.began(run_id)
        assert agent.going_on == 1
        agent.release(run_id)
        await office.ended(run_id)
    assert agent.run_ids == ["z", "m", "a"]
    steps = [entry.type for entry in office.published.entries if entry.type != "user_message"]
    assert steps == ["agent_started", "agent_completed"] * 3


async def test_no_more_runs_go_on_than_there_are_places(database: Database) -> None:
    """With many runs of many users the places in all and of each user are never exceeded, and every run is done."""
    agent = HeldAgent(held=False)
    office = Office(database, agent, max_running=3, max_running_per_user=2)
    run_ids = [
        (await office.offer(user_id, f"t{number}")).run_id
        for number in range(5)
        for user_id in ("alice", "bob", "carol")
    ]
    await office.ended(*run_ids)
    await office.idle()
    assert agent.most <= 3
    assert sorted(agent.finished) == sorted(run_ids)


async def test_a_hog_does_not_delay_another(database: Database, agent: HeldAgent) -> None:
    """With a queue of one user's runs waiting for places, another user's run is among the next to begin."""
    office = Office(database, agent, max_running=2)
    hogs = [(await office.offer("alice", f"t{number}", f"hog-{number}")).run_id for number in range(50)]
    await agent.began(*hogs[:2])
    await office.offer("bob", "t", "guest")
    agent.release(*hogs[:2])
    await agent.began("guest")
    assert len(agent.run_ids) <= 4
    agent.release("guest", *hogs)
    await office.ended("guest", *hogs)


async def test_a_run_that_is_offered_twice_waits_once(database: Database, agent: HeldAgent) -> None:
    """Whether it waits or runs already, an offer of the same run changes nothing; another user's of its id does."""
    office = Office(database, agent, max_running=1)
    first, second = await office.store(message("alice", "t", "r1")), await office.store(message("alice", "t", "r2"))
    others = await office.store(message("bob", "t", "r2"))
    for run in (first, first, second, second, others, others):
        office.dispatcher.offer(run)
    assert (office.admission.running_count, office.admission.waiting_count) == (1, 2)
    office.dispatcher.stop("bob", "r2")
    assert office.admission.waiting_count == 1
    await office.dispatcher.close(0)


# Stopping.


async def test_stopping_really_stops_the_task(office: Office, agent: HeldAgent) -> None:
    """The agent's task is cancelled where it waits, its place is freed, and the thread's next run begins."""
    await office.offer("alice", "t", "r1")
    await office.offer("alice", "t", "r2")
    await agent.began("r1")
    office.dispatcher.stop("alice", "r1")
    await agent.began("r2")
    assert agent.stopped == ["r1"]
    assert office.admission.running_count == 1
    agent.release("r2")
    await office.ended("r2")


async def test_a_run_that_is_stopped_as_soon_as_it_starts_gives_its_place_back(
    database: Database, agent: HeldAgent
) -> None:
    """Stopped before its task has made its first step, a run is not done, and the next one has its place."""
    office = Office(database, agent, max_running=1)
    first = await office.store(message("alice", "t", "r1"))
    second = await office.store(message("alice", "t", "r2"))
    office.dispatcher.offer(first)
    office.dispatcher.stop("alice", "r1")
    office.dispatcher.offer(second)
    await agent.began("r2")
    assert agent.run_ids == ["r2"]
    agent.release("r2")
    await office.ended("r2")
    await office.idle()
    assert office.admission.running_count == 0


async def test_a_run_that_is_stopped_while_it_is_claimed(office: Office, agent: HeldAgent) -> None:
    """Stopped while its claim is on its way to the disk, a run is not done, and gives its place back."""
    first = await office.store(message("alice", "t", "r1"))
    second = await office.store(message("alice", "t", "r2"))
    async with writer_held(office.database):
        office.dispatcher.offer(first)
        await asyncio.sleep(0)  # its task has submitted the claim
        cancelling = office.ledger.write(CancelRun("alice", "r1", "why"))
        office.dispatcher.stop("alice", "r1")
        office.dispatcher.offer(second)
    await cancelling
    await agent.began("r2")
    assert agent.run_ids == ["r2"]
    assert (await _statuses(office.database))["r1"] == "cancelled"
    agent.release("r2")
    await office.ended("r2")


async def test_a_waiting_run_that_is_stopped_is_never_begun(office: Office, agent: HeldAgent) -> None:
    """A run that is taken back while it waits is forgotten; the one behind it is done."""
    for run_id in ("r1", "r2", "r3"):
        await office.offer("alice", "t", run_id)
    await agent.began("r1")
    office.dispatcher.stop("alice", "r2")
    agent.release("r1", "r3")
    await office.ended("r1", "r3")
    assert agent.run_ids == ["r1", "r3"]


async def test_a_task_that_cannot_be_stopped_is_left_behind(
    database: Database, agent: HeldAgent, caplog: pytest.LogCaptureFixture
) -> None:
    """A run whose task swallows its cancellation keeps neither its place nor its thread, and its later end frees
    nothing that is another's."""
    released, over = asyncio.Event(), asyncio.Event()

    async def execute(context: UserExecutionContext, name: str, message: str, journal: Journal) -> None:
        if context.run_id != "stubborn":
            await agent(context, name, message, journal)
            return
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()
        over.set()

    office = Office(database, execute, max_running=1, stop_seconds=0.02)
    with caplog.at_level(logging.CRITICAL):
        await office.offer("alice", "t", "stubborn")
        await office.offer("alice", "t", "next")
        await office.ledger.write(CancelRun("alice", "stubborn", "why"))
        office.dispatcher.stop("alice", "stubborn")
        await agent.began("next")
        released.set()
        await over.wait()
    assert office.admission.running_count == 1
    agent.release("next")
    await office.ended("next")
    await office.idle()
    assert office.admission.running_count == 0


async def test_stopping_what_is_unknown_is_nothing(office: Office, agent: HeldAgent) -> None:
    """A run that has ended, or never was, can be stopped without harm, again and again."""
    await office.offer("alice", "t", "r1")
    agent.release("r1")
    await office.ended("r1")
    await office.idle()
    for run_id in ("r1", "unknown", "r1"):
        office.dispatcher.stop("alice", run_id)
    await office.offer("alice", "t", "r2")
    await agent.began("r2")
    agent.release("r2")
    await office.ended("r2")


async def test_a_user_cannot_stop_anothers_run_of_the_same_id(office: Office, agent: HeldAgent) -> None:
    """Ids live in their user's namespace: stopping one's own run of an id leaves another user's alone."""
    await office.offer("alice", "t", "same")
    await agent.began("same")
    office.dispatcher.stop("bob", "same")
    agent.release("same")
    await office.ended("same")
    await office.idle()
    assert (agent.finished, agent.stopped) == (["same"], [])


async def test_two_users_runs_of_one_id_are_two_runs(database: Database, agent: HeldAgent) -> None:
    """Two users whose runs have the same id are served both, each is stopped alone, and both places are freed."""
    office = Office(database, agent)
    await office.offer("alice", "t", "same")
    await office.offer("bob", "t", "same")
    async with asyncio.timeout(PATIENCE):
        await office.published.until(lambda: len(office.published.types("same")) == 4)
    await agent.began("same")
    office.dispatcher.stop("alice", "same")
    agent.release("same")
    async with asyncio.timeout(PATIENCE):
        await office.published.until(lambda: office.published.final("same"))
    await office.idle()
    final = office.published.final("same")
    assert final is not None
    assert final.user_id == "bob"
    assert office.admission.running_count == 0


# The claim decides.


async def test_a_hint_that_is_given_twice_is_done_once(office: Office, agent: HeldAgent) -> None:
    """However often a run is offered, also after its end, it is claimed and done once."""
    run = await office.offer("alice", "t", "r")
    office.dispatcher.offer(run)
    await agent.began("r")
    office.dispatcher.offer(run)
    agent.release("r")
    await office.ended("r")
    office.dispatcher.offer(run)
    await office.offer("alice", "t", "next")
    agent.release("next")
    await office.ended("next")
    await office.idle()
    assert agent.run_ids == ["r", "next"]
    assert office.admission.running_count == 0


async def test_a_run_that_ended_while_it_waited_is_not_done(office: Office, agent: HeldAgent) -> None:
    """What was cancelled, claimed elsewhere or erased in the database is left alone, and its place is free again."""
    cancelled, claimed, erased = [await office.store(message("alice", thread)) for thread in ("t1", "t2", "t3")]
    await office.ledger.write(CancelRun("alice", cancelled.run_id, "why"))
    await office.ledger.write(ClaimRun("alice", claimed.run_id))
    await ThreadRepository(make_context("alice"), office.database).delete("t3", lambda _run_ids: None)
    for run in (cancelled, claimed, erased):
        office.dispatcher.offer(run)
    await office.idle()
    assert agent.contexts == []
    assert office.admission.running_count == 0


async def test_a_claim_is_tried_until_it_can_be_stored(office: Office, agent: HeldAgent) -> None:
    """While the database cannot be written an accepted run waits; once it can, the run is done, once."""
    run = await office.store(message("alice", "t", "r"))
    async with storage_refused(office.database):
        office.dispatcher.offer(run)
        for _ in range(3):
            await office.ledger.refused.wait()
            office.ledger.refused.clear()
        assert agent.contexts == []
    agent.release("r")
    await office.ended("r")
    assert agent.run_ids == ["r"]


async def test_a_run_whose_deadline_has_passed_is_not_begun(office: Office, agent: HeldAgent) -> None:
    """A run that is claimed too late is ended truthfully in place of being begun, and gives its place back."""
    run = await office.store(message("alice", "t", "r", deadline=datetime.now(UTC) - timedelta(hours=1)))
    office.dispatcher.offer(run)
    await office.ended("r")
    await office.idle()
    assert office.published.types("r") == ["user_message", "agent_failed"]
    assert await _statuses(office.database) == {"r": "timed_out"}
    assert (agent.contexts, office.admission.running_count) == ([], 0)


async def test_a_run_that_waits_ends_at_its_deadline(database: Database, agent: HeldAgent) -> None:
    """A run behind a long one ends as timed out when its time is over, though its turn never came; the others stay."""
    office = Office(database, agent, max_running=1)
    await office.offer("alice", "t", "long")
    await agent.began("long")
    soon = await office.store(message("bob", "t", "soon", deadline=datetime.now(UTC) + timedelta(seconds=0.05)))
    office.dispatcher.offer(soon)
    await office.offer("carol", "t", "later")
    await office.ended("soon")
    final = office.published.final("soon")
    assert final is not None
    assert json.loads(final.data) == {"code": "deadline_exceeded", "message": "the run waited longer than it may"}
    agent.release("long", "later")
    await office.ended("long", "later")
    await office.idle()
    assert agent.run_ids == ["long", "later"]
    assert await _statuses(database) == {"long": "completed", "soon": "timed_out", "later": "completed"}


async def test_a_run_that_somebody_else_erased_is_let_go_at_its_deadline(database: Database, agent: HeldAgent) -> None:
    """A waiting run whose thread was erased outside of this process gives its place in the queue back in the end."""
    office = Office(database, agent, max_running=1)
    await office.offer("alice", "t", "long")
    await agent.began("long")
    soon = await office.store(message("bob", "t", "soon", deadline=datetime.now(UTC) + timedelta(seconds=0.05)))
    await ThreadRepository(message("bob", "t").context, database).delete("t", lambda _run_ids: None)
    office.ledger.refused.clear()
    office.dispatcher.offer(soon)
    await asyncio.wait_for(office.ledger.refused.wait(), PATIENCE)
    await asyncio.sleep(0)  # whoever else hears of the refusal
    assert office.admission.waiting_count == 0
    agent.release("long")
    await office.ended("long")
    await office.idle()
    assert agent.run_ids == ["long"]


async def test_a_deadline_waits_for_the_disk(database: Database, agent: HeldAgent) -> None:
    """While the database cannot be written a waiting run whose time is over waits on, and ends once it can."""
    office = Office(database, agent, max_running=1)
    await office.offer("alice", "t", "long")
    await agent.began("long")
    soon = await office.store(message("bob", "t", "soon", deadline=datetime.now(UTC) + timedelta(seconds=0.05)))
    office.ledger.refused.clear()
    async with storage_refused(database):
        office.dispatcher.offer(soon)
        await asyncio.wait_for(office.ledger.refused.wait(), PATIENCE)
    await office.ended("soon")
    await office.dispatcher.close(0)
    assert (await _statuses(database))["soon"] == "timed_out"


async def test_a_run_that_is_cut_off_again_and_again_is_given_up(database: Database) -> None:
    """After its last attempt a run fails with the reason; its log holds one start and one end."""
    for attempt in (1, 2):
        agent = HeldAgent()
        office = Office(database, agent, max_attempts=2)
        if attempt == 1:
            await office.offer("alice", "t", "r")
        else:
            await office.take_up()
        await agent.began("r")
        assert [run.attempt for run in office.claimed] == [attempt]
        await office.crash()
    office = Office(database, HeldAgent(), max_attempts=2)
    await office.take_up()
    await office.ended("r")
    assert office.claimed == []
    log = (await all_rows(database))["events"]
    assert [row._mapping["type"] for row in log] == ["user_message", "agent_started", "agent_failed"]
    assert json.loads(log[-1]._mapping["data"]) == {
        "code": "attempts_exhausted",
        "message": "the server stopped 2 times while the run went on; it is not tried again",
    }
    assert await _statuses(database) == {"r": "failed"}


async def test_a_fault_of_ours_keeps_no_place(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """When `execute` itself raises, that is logged, the place is freed, and other runs are done."""
    done = HeldAgent(held=False)

    async def execute(context: UserExecutionContext, agent: str, message: str, journal: Journal) -> None:
        if context.user_id == "alice":
            raise ZeroDivisionError
        await done(context, agent, message, journal)

    office = Office(database, execute, max_running=1)
    with caplog.at_level(logging.CRITICAL):
        await office.offer("alice")
        await office.offer("bob", "t", "r")
        await office.ended("r")
        await office.idle()
    assert office.admission.running_count == 0


# Closing.


async def test_closing_lets_runs_end_in_time(office: Office, agent: HeldAgent) -> None:
    """Within the grace what goes on comes to its end; what waits is not begun, and is still queued in the database."""
    for run_id in ("r1", "r2"):
        await office.offer("alice", "t", run_id)
    await agent.began("r1")
    closing = asyncio.ensure_future(office.dispatcher.close(PATIENCE))
    await asyncio.sleep(0)
    await office.offer("bob", "t", "r3")
    assert not closing.done()
    agent.release("r1", "r2", "r3")
    await closing
    assert agent.run_ids == agent.finished == ["r1"]
    assert await _statuses(office.database) == {"r1": "completed", "r2": "queued", "r3": "queued"}


async def test_closing_stops_what_does_not_end_in_time(office: Office, agent: HeldAgent) -> None:
    """After the grace tasks are cancelled, `close` returns when they have ended, and nothing new was begun."""
    for run_id in ("r1", "r2"):
        await office.offer("alice", "t", run_id)
    await office.offer("bob", "t", "r3")
    await agent.began("r1", "r3")
    await asyncio.wait_for(office.dispatcher.close(0), PATIENCE)
    assert sorted(agent.stopped) == ["r1", "r3"]
    assert agent.run_ids == ["r1", "r3"]
    assert agent.going_on == 0
    assert await _statuses(office.database) == {"r1": "running", "r2": "queued", "r3": "running"}


async def test_closing_again_and_again_wears_no_run_out(database: Database) -> None:
    """A run that is stopped by as many orderly stops as it may have attempts, and more, is done at last; what it is
    given up for are crashes, also those between the stops."""
    for attempt in range(1, 6):
        agent = HeldAgent()
        office = Office(database, agent, max_attempts=2)
        if attempt == 1:
            await office.offer("alice", "t", "r")
        else:
            await office.take_up()
        await agent.began("r")
        assert [run.attempt for run in office.claimed] == [attempt]
        await (office.crash() if attempt == 3 else office.dispatcher.close(0))
    office = Office(database, HeldAgent(held=False), max_attempts=2)
    await office.take_up()
    await office.ended("r")
    await office.idle()
    assert await _statuses(database) == {"r": "completed"}


async def test_closing_before_a_task_has_begun(office: Office, agent: HeldAgent) -> None:
    """A run that is offered in the very moment of closing is done in time, or stays queued: it is not lost."""
    run = await office.store(message("alice", "t", "r"))
    office.dispatcher.offer(run)
    await asyncio.wait_for(office.dispatcher.close(0), PATIENCE)
    assert agent.going_on == 0
    assert (await _statuses(office.database))["r"] in ("queued", "running")


async def test_closing_an_idle_dispatcher_returns_at_once(office: Office) -> None:
    """Nobody waits for a grace that nobody needs, and closing again is right."""
    await asyncio.wait_for(office.dispatcher.close(3_600), PATIENCE)
    await asyncio.wait_for(office.dispatcher.close(3_600), PATIENCE)


async def test_closing_while_the_database_refuses(office: Office) -> None:
    """A claim that is being tried again does not keep the server from stopping, and its run is not lost."""
    run = await office.store(message("alice", "t", "r"))
    async with storage_refused(office.database):
        office.dispatcher.offer(run)
        await office.ledger.refused.wait()
        await asyncio.wait_for(office.dispatcher.close(0), PATIENCE)
    assert (await _statuses(office.database))["r"] in ("queued", "running")  # a try that was on its way may have landed
