"""The run service: messages in, runs ended early, and what an earlier process has left."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from netra_backend.app.agents.registry import AgentRegistry
from netra_backend.app.agents.supervisor import Supervisor
from netra_backend.app.db.engine import Database
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.db.repositories.threads import ThreadRepository
from netra_backend.app.db.system_operations import find_unfinished_runs
from netra_backend.app.runs.ledger import AppendEvents, CancelRun, ClaimRun, Ledger
from netra_backend.app.runs.rate_limit import RateLimit
from netra_backend.app.runs.run_record import RunRecord
from netra_backend.app.runs.run_service import RunService
from netra_backend.app.runs.stored_bytes import StoredBytes
from netra_backend.app.services.agent_events import LogEntry
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter, Execute, Journal
from netra_backend.app.services.refusals import (
    InvalidRequestError,
    MessageReusedError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    ShuttingDownError,
    StaleRunError,
    ThreadBusyError,
    TooManyRunsError,
    TooMuchStoredError,
)
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import Accepted, IfBusy, Submission
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.database import (
    Backend,
    add_users,
    all_rows,
    open_database,
    refuse_rows,
    storage_refused,
    writer_held,
)
from tests.support.dispatching import PATIENCE, HeldAgent, Office
from tests.support.stored_runs import completion, happening, message

TIMEOUT: Final = timedelta(minutes=10)
AGENTS: Final = ("echo", "parrot")


class Service(Office):
    """A run service with a dispatcher of its own."""

    def __init__(
        self,
        database: Database,
        execute: Execute,
        *,
        per_minute: int = 1_000,
        max_unfinished: int = 100,
        max_stored: int = 1_000_000,
        **places: int,
    ) -> None:
        super().__init__(database, execute, **places)
        self.now = 0.0
        self.stored_bytes = StoredBytes(database, max_stored)
        self.runs = RunService(
            self.ledger,
            self.dispatcher,
            self.admission,
            RateLimit(per_minute, lambda: self.now),
            self.stored_bytes,
            check_agent=_check_agent,
            default_agent="echo",
            run_timeout=TIMEOUT,
            max_unfinished_per_user=max_unfinished,
        )

    async def submit(self, user_id: str, thread_id: str, run_id: str, **fields: Any) -> Accepted:
        """Submit a message under ids of the test's choosing."""
        submission = replace(Submission(text="hello", names_thread=True), **fields)
        return await self.runs.submit(_context(user_id, thread_id, run_id), submission)

    async def cancel(self, user_id: str, run_id: str) -> RunStatus:
        """Cancel a run."""
        return await self.runs.cancel(_context(user_id, "t", run_id), run_id)

    async def measure(self, *user_ids: str) -> None:
        """Measure what users have stored, as their first messages do: later ones are submitted within a turn."""
        for user_id in user_ids:
            await self.stored_bytes.check(_context(user_id, "t", "r"))

    async def stored(self) -> dict[str, Any]:
        """The runs that are stored, by their ids."""
        return {row._mapping["run_id"]: row for row in (await all_rows(self.database))["runs"]}

    async def statuses(self) -> dict[str, str]:
        """Where the stored runs stand."""
        return {run_id: row.status for run_id, row in (await self.stored()).items()}


def _check_agent(name: str) -> None:
    if name not in AGENTS:
        raise InvalidRequestError("unknown", code="unknown_agent")


def _context(user_id: str, thread_id: str, run_id: str) -> UserExecutionContext:
    return UserExecutionContext.from_request(user_id, thread_id, run_id)


@pytest.fixture
async def database(database: Database) -> Database:
    """A database in which two users have accounts."""
    await add_users(database, "alice", "bob")
    return database


@pytest.fixture
def agent() -> HeldAgent:
    """An agent that waits to be released."""
    return HeldAgent()


@pytest.fixture
async def service(database: Database, agent: HeldAgent) -> Service:
    """A service with room for everybody."""
    service = Service(database, agent)
    await service.measure("alice", "bob")
    return service


# Submitting.


async def test_a_message_is_stored_acknowledged_delivered_and_answered(service: Service, agent: HeldAgent) -> None:
    """First it is on disk, then its sender is told, then its entries are delivered; its run is done."""
    happened: list[object] = []

    def acknowledge(accepted: Accepted) -> None:
        happened.append(accepted)
        assert service.published.entries == []

    submission = Submission(text="hello", client_message_id="m", names_thread=True)
    async with writer_held(service.database):
        submitting = asyncio.ensure_future(service.runs.submit(_context("alice", "t", "r"), submission, acknowledge))
        await asyncio.sleep(0)
        assert await service.stored() == {}
        assert happened == []
    accepted = await submitting
    assert happened == [accepted]
    assert accepted == Accepted("m", "t", "r", 1, repeated=False)
    agent.release("r")
    await service.ended("r")
    assert service.published.types("r") == ["user_message", "agent_started", "agent_completed"]


async def test_what_the_sender_leaves_out_is_filled_in(service: Service, agent: HeldAgent) -> None:
    """Without an id of its own a message gets a new UUID each time, the default agent, and the server's deadline."""
    before = datetime.now(UTC)
    first = await service.submit("alice", "t1", "r1")
    second = await service.submit("alice", "t2", "r2", agent="parrot")
    after = datetime.now(UTC)
    assert UUID(first.client_message_id) != UUID(second.client_message_id)
    stored = await service.stored()
    assert (stored["r1"].agent, stored["r2"].agent) == ("echo", "parrot")
    for run in stored.values():
        assert before + TIMEOUT <= run.deadline <= after + TIMEOUT
    agent.release("r1", "r2")
    await service.ended("r1", "r2")


async def test_a_message_sent_again_is_acknowledged_again_and_done_once(service: Service, agent: HeldAgent) -> None:
    """The second acknowledgement names the first run and says that it is a repetition; nothing more is delivered."""
    first = await service.submit("alice", "t", "r1", client_message_id="m")
    again = await service.submit("alice", "t", "r2", client_message_id="m")
    assert again == Accepted("m", "t", "r1", first.seq, repeated=True)
    await agent.began("r1")
    agent.release("r1")
    await service.ended("r1")
    late = await service.submit("alice", "t", "r3", client_message_id="m")
    assert (late.run_id, late.repeated) == ("r1", True)
    await service.idle()
    assert agent.run_ids == ["r1"]
    assert len(service.published.entries) == 3


async def test_another_text_under_the_same_id_is_refused(service: Service, agent: HeldAgent) -> None:
    """The refused message is neither acknowledged nor done, and the first one's run goes on."""
    await service.submit("alice", "t", "r1", client_message_id="m")
    with pytest.raises(MessageReusedError):
        await service.submit("alice", "t", "r2", client_message_id="m", text="another")
    await agent.began("r1")
    agent.release("r1")
    await service.ended("r1")
    assert agent.run_ids == ["r1"]


async def test_an_unknown_agent_is_refused_before_anything_is_stored_or_counted(
    database: Database, agent: HeldAgent
) -> None:
    """Nobody can be asked who is not there; the attempt costs none of the messages of the minute."""
    service = Service(database, agent, per_minute=1)
    with pytest.raises(InvalidRequestError):
        await service.submit("alice", "t", "r1", agent="nobody")
    assert await service.stored() == {}
    await service.submit("alice", "t", "r2")
    await service.dispatcher.close(0)


async def test_who_sends_too_fast_is_refused(database: Database, agent: HeldAgent) -> None:
    """Beyond the messages of a minute nothing is stored, other users are not concerned, and later it goes on."""
    service = Service(database, agent, per_minute=2)
    for number in range(2):
        await service.submit("alice", f"t{number}", f"r{number}")
    with pytest.raises(RateLimitedError):
        await service.submit("alice", "t2", "r2")
    await service.submit("bob", "t", "of-bob")
    service.now += 30
    await service.submit("alice", "t3", "r3")
    assert sorted(await service.stored()) == ["of-bob", "r0", "r1", "r3"]
    await service.dispatcher.close(0)


async def test_a_user_has_so_many_unfinished_runs(database: Database, agent: HeldAgent) -> None:
    """Waiting and running ones together reach the limit; beyond it nothing is stored, until one has ended."""
    service = Service(database, agent, max_unfinished=3, max_running_per_user=1)
    for number in range(3):
        await service.submit("alice", f"t{number}", f"r{number}")
    with pytest.raises(TooManyRunsError, match="3 unfinished runs") as refused:
        await service.submit("alice", "t3", "r3")
    first = min(run.deadline for run in service.admission.runs_of("alice")) - datetime.now(UTC)
    assert refused.value.retry_after is not None
    assert first.total_seconds() <= refused.value.retry_after <= TIMEOUT.total_seconds()
    await service.submit("bob", "t", "of-bob")
    assert "r3" not in await service.stored()
    agent.release("r0")
    await service.ended("r0")
    await agent.began("r1")
    await service.submit("alice", "t3", "r3")
    await service.dispatcher.close(0)


async def test_the_limit_holds_for_messages_that_come_at_once(database: Database, agent: HeldAgent) -> None:
    """However many of a user's messages are on their way to the disk together, no more become runs than may."""
    service = Service(database, agent, max_unfinished=3)
    await service.measure("alice")
    async with writer_held(database):
        submits = [asyncio.ensure_future(service.submit("alice", f"t{n}", f"r{n}")) for n in range(10)]
        await asyncio.sleep(0)  # each has been looked at before any is stored
    outcomes = await asyncio.gather(*submits, return_exceptions=True)
    await service.dispatcher.close(0)
    assert len(await service.stored()) == 3
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, TooManyRunsError) for outcome in outcomes) == 7


async def test_a_sender_who_goes_away_leaves_the_others_counted(database: Database, agent: HeldAgent) -> None:
    """Of messages on their way to the disk one is given up by its sender: the rest still count for the limit."""
    service = Service(database, agent, max_unfinished=2)
    await service.measure("alice")
    async with writer_held(database):
        first, second = (asyncio.ensure_future(service.submit("alice", f"t{n}", f"r{n}")) for n in range(2))
        await asyncio.sleep(0)  # both are on their way
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        third, fourth = (asyncio.ensure_future(service.submit("alice", f"t{n}", f"r{n}")) for n in (2, 3))
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(second, third, fourth, return_exceptions=True)
    await service.dispatcher.close(0)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted, TooManyRunsError]


async def test_a_user_has_so_many_bytes_stored(database: Database, agent: HeldAgent) -> None:
    """Beyond the limit nothing more is stored for that user, whatever else is stored for others; what is erased gives
    room again, and a new process measures the same."""
    service = Service(database, agent, max_stored=1_000)
    await service.submit("alice", "t1", "r1", text="x" * 600)
    service.stored_bytes.add([entry for entry in service.published.entries if entry.run_id == "r1"])
    await service.submit("alice", "t2", "r2", text="é" * 300)
    for counted in (service, Service(database, agent, max_stored=1_000)):
        counted.stored_bytes.add(counted.published.entries[-1:])
        with pytest.raises(TooMuchStoredError, match="at most 1,000 are kept"):
            await counted.submit("alice", "t3", "r3")
        await counted.submit("bob", "t", f"of-bob-{id(counted)}")
    await ThreadRepository(_context("alice", "t", "r"), database).delete("t1", lambda _run_ids: None)
    service.stored_bytes.forget("alice")
    await service.submit("alice", "t3", "r3")
    await service.dispatcher.close(0)


async def test_a_message_sent_again_is_told_the_truth_at_the_limit(database: Database, agent: HeldAgent) -> None:
    """Who resends a stored message because its acknowledgement was lost learns that it is stored, limit or not."""
    service = Service(database, agent, max_unfinished=1)
    await service.submit("alice", "t", "r1", client_message_id="m")
    again = await service.submit("alice", "t", "r2", client_message_id="m")
    await service.dispatcher.close(0)
    assert (again.run_id, again.repeated) == ("r1", True)


async def test_a_full_disk_refuses_the_message(service: Service, agent: HeldAgent) -> None:
    """What cannot be stored is not acknowledged and never done; sent again later, it is."""
    acknowledged: list[Accepted] = []
    submission = Submission(text="hello", client_message_id="m", names_thread=True)
    async with storage_refused(service.database):
        with pytest.raises(StorageUnavailableError):
            await service.runs.submit(_context("alice", "t", "r1"), submission, acknowledged.append)
    assert acknowledged == []
    await service.runs.submit(_context("alice", "t", "r2"), submission, acknowledged.append)
    agent.release("r2")
    await service.ended("r2")
    assert agent.run_ids == ["r2"]
    assert [accepted.repeated for accepted in acknowledged] == [False]


async def test_a_sender_who_goes_away_is_answered_all_the_same(service: Service, agent: HeldAgent) -> None:
    """Disconnect is not cancel: a message whose sender stops waiting is stored, and its run is done."""
    async with writer_held(service.database):
        submitting = asyncio.ensure_future(service.submit("alice", "t", "r"))
        await asyncio.sleep(0)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
    agent.release("r")
    await service.ended("r")
    await service.idle()
    assert agent.finished == ["r"]


async def test_an_acknowledgement_that_fails_costs_nobody_the_run(service: Service, agent: HeldAgent) -> None:
    """A stored message is done and delivered though telling its sender raised, and another user's is told."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)

    def acknowledge(_accepted: Accepted) -> None:
        raise ConnectionResetError

    submission = Submission(text="hello", names_thread=True)
    async with writer_held(service.database):
        broken = asyncio.ensure_future(service.runs.submit(_context("alice", "t", "r1"), submission, acknowledge))
        await asyncio.sleep(0)
        other = asyncio.ensure_future(service.submit("bob", "t", "r2"))
        await asyncio.sleep(0)
    agent.release("r1", "r2")
    assert (await asyncio.wait_for(other, PATIENCE)).run_id == "r2"
    await service.ended("r1", "r2")
    await asyncio.wait({broken}, timeout=PATIENCE)
    await service.idle()
    assert sorted(agent.finished) == ["r1", "r2"]
    assert service.published.types("r1") == ["user_message", "agent_started", "agent_completed"]


# A busy thread.


async def test_a_busy_thread_rejects(service: Service, agent: HeldAgent) -> None:
    """`reject` is refused while a run goes on, and taken after its end."""
    await service.submit("alice", "t", "r1")
    await agent.began("r1")
    with pytest.raises(ThreadBusyError):
        await service.submit("alice", "t", "r2", if_busy=IfBusy.REJECT)
    agent.release("r1", "r3")
    await service.ended("r1")
    await service.submit("alice", "t", "r3", if_busy=IfBusy.REJECT)
    await service.ended("r3")
    assert agent.run_ids == ["r1", "r3"]


async def test_interrupting_stops_the_task_and_forgets_the_waiting(service: Service, agent: HeldAgent) -> None:
    """The running run's task is stopped, the waiting one never begins, the new one is done; other threads go on."""
    for thread_id, run_id in (("t", "r1"), ("t", "r2"), ("u", "elsewhere")):
        await service.submit("alice", thread_id, run_id)
    await service.submit("bob", "t", "of-bob")
    await agent.began("r1", "elsewhere", "of-bob")
    await service.submit("alice", "t", "r3", if_busy=IfBusy.INTERRUPT)
    await agent.began("r3")
    assert agent.stopped == ["r1"]
    agent.release("r3", "elsewhere", "of-bob")
    await service.ended("r3", "elsewhere", "of-bob")
    assert "r2" not in agent.run_ids
    statuses = await service.statuses()
    assert (statuses.pop("r1"), statuses.pop("r2")) == ("cancelled", "cancelled")
    assert set(statuses.values()) == {"completed"}


async def test_interruptions_in_one_commit(database: Database, agent: HeldAgent) -> None:
    """Of messages that interrupt one another in a single commit the last one is done, and every place is given back."""
    service = Service(database, agent, max_running=1)
    await service.measure("alice", "bob")
    async with writer_held(database):
        submits = []
        for number in range(4):
            submit = service.submit("alice", "t", f"r{number}", if_busy=IfBusy.INTERRUPT)
            submits.append(asyncio.ensure_future(submit))
            await asyncio.sleep(0)
    await asyncio.gather(*submits)
    await agent.began("r3")
    agent.release("r3")
    await service.ended("r3")
    await service.idle()
    assert agent.finished == ["r3"]
    assert service.admission.running_count == 0
    assert await service.statuses() == {"r0": "cancelled", "r1": "cancelled", "r2": "cancelled", "r3": "completed"}


# Cancelling.


async def test_cancelling_is_final_and_stops_the_task(service: Service, agent: HeldAgent) -> None:
    """A running run is cancelled in the log and its task really stopped; its place and its thread are free."""
    await service.submit("alice", "t", "r1")
    await agent.began("r1")
    assert await service.cancel("alice", "r1") is RunStatus.CANCELLED
    await service.idle()
    assert agent.stopped == ["r1"]
    assert service.published.types("r1") == ["user_message", "agent_started", "run_cancelled"]
    assert await service.cancel("alice", "r1") is RunStatus.CANCELLED
    assert len(service.published.types("r1")) == 3
    await service.submit("alice", "t", "r2", if_busy=IfBusy.REJECT)
    agent.release("r2")
    await service.ended("r2")


async def test_an_agent_that_ignores_its_cancellation_cannot_write(database: Database) -> None:
    """An agent that goes on after the cancellation is refused by the log, which has ended with the cancellation."""
    began, refused = asyncio.Event(), asyncio.Event()

    async def stubborn(context: UserExecutionContext, agent: str, message: str, journal: Journal) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await journal.append(happening(context, "still here"))
                await journal.finish(completion(context), RunStatus.COMPLETED)
            except StaleRunError:
                refused.set()

    service = Service(database, stubborn)
    await service.submit("alice", "t", "r")
    await asyncio.wait_for(began.wait(), PATIENCE)
    await service.cancel("alice", "r")
    await asyncio.wait_for(refused.wait(), PATIENCE)
    await service.idle()
    assert service.published.types("r") == ["user_message", "agent_started", "run_cancelled"]
    assert service.admission.running_count == 0


async def test_a_waiting_run_that_is_cancelled_never_begins(service: Service, agent: HeldAgent) -> None:
    """What waits is taken back, and what is behind it moves up."""
    for run_id in ("r1", "r2", "r3"):
        await service.submit("alice", "t", run_id)
    await agent.began("r1")
    assert await service.cancel("alice", "r2") is RunStatus.CANCELLED
    agent.release("r1", "r3")
    await service.ended("r1", "r3")
    assert agent.run_ids == ["r1", "r3"]
    assert service.published.types("r2") == ["user_message", "run_cancelled"]


async def test_cancelling_in_the_commit_that_stores_the_run(database: Database, agent: HeldAgent) -> None:
    """A run that is submitted and cancelled in one commit is never done, and its place is given back."""
    service = Service(database, agent, max_running=1)
    await service.measure("alice", "bob")
    async with writer_held(database):
        submitting = asyncio.ensure_future(service.submit("alice", "t", "r1"))
        await asyncio.sleep(0)
        cancelling = asyncio.ensure_future(service.cancel("alice", "r1"))
        await asyncio.sleep(0)
    await asyncio.gather(submitting, cancelling)
    await service.submit("bob", "t", "r2")
    agent.release("r2")
    await service.ended("r2")
    await service.idle()
    assert agent.run_ids == ["r2"]
    assert service.admission.running_count == 0


async def test_an_ended_run_cannot_be_cancelled(service: Service, agent: HeldAgent) -> None:
    """The answer stays the answer: cancelling it later tells that it is completed."""
    await service.submit("alice", "t", "r")
    agent.release("r")
    await service.ended("r")
    assert await service.cancel("alice", "r") is RunStatus.COMPLETED
    assert service.published.types("r") == ["user_message", "agent_started", "agent_completed"]


@pytest.mark.parametrize("first", ["cancel", "finish"])
async def test_cancel_and_finish_at_once_end_the_run_once(service: Service, agent: HeldAgent, first: str) -> None:
    """In one commit the earlier of the two wins; the log has one final entry, the run's status is of it."""
    await service.submit("alice", "t", "r")
    await agent.began("r")
    cancelling: asyncio.Task[RunStatus] | None = None
    async with writer_held(service.database):
        for step in (first, "finish" if first == "cancel" else "cancel"):
            if step == "finish":
                agent.release("r")
            else:
                cancelling = asyncio.create_task(service.cancel("alice", "r"))
            for _ in range(3):
                await asyncio.sleep(0)  # turns in which the step is submitted
    assert cancelling is not None
    status = await cancelling
    await service.idle()
    assert status == ("cancelled" if first == "cancel" else "completed")
    assert [entry.final for entry in service.published.entries] == [False, False, True]
    assert await service.statuses() == {"r": status}


async def test_another_users_run_cannot_be_cancelled(service: Service, agent: HeldAgent) -> None:
    """To a stranger a run is as unknown as one that never was, and it goes on."""
    await service.submit("alice", "t", "r")
    await agent.began("r")
    refusals = []
    for run_id in ("r", "nowhere"):
        with pytest.raises(NotFoundError) as caught:
            await service.cancel("bob", run_id)
        refusals.append(str(caught.value))
    assert refusals[0] == refusals[1]
    agent.release("r")
    await service.ended("r")
    assert agent.stopped == []


async def test_stopping_all_of_a_user_stops_nobody_else(service: Service, agent: HeldAgent) -> None:
    """An erased user's running runs are stopped and the waiting ones forgotten; others' go on."""
    for run_id in ("r1", "r2"):
        await service.submit("alice", "t", run_id)
    await service.submit("alice", "u", "r3")
    await service.submit("bob", "t", "of-bob")
    await agent.began("r1", "r3", "of-bob")
    service.runs.stop_all(_context("alice", "t", "any"))
    agent.release("of-bob", "r2")
    await service.ended("of-bob")
    await service.idle()
    assert sorted(agent.stopped) == ["r1", "r3"]
    assert agent.finished == ["of-bob"]
    assert service.admission.unfinished_of("alice") == 0


# After a restart.


def _finals(entries: list[LogEntry]) -> dict[str, str]:
    return {entry.run_id: entry.type for entry in entries if entry.final}


async def test_a_start_takes_up_what_was_left(backend: Backend, tmp_path: Path) -> None:
    """What waited is done, what ran is run again and its log goes on, what had ended stays as it is; for every user."""
    async with open_database(tmp_path) as database:
        await add_users(database, "alice", "bob")
        ledger = Ledger(database, lambda _entries: None)
        for user_id in ("alice", "bob"):
            for state in ("queued", "running", "completed", "cancelled"):
                run_id = f"{user_id}-{state}"
                run = (await ledger.write(message(user_id, state, run_id))).run
                if state in ("running", "completed"):
                    run = (await ledger.write(ClaimRun(user_id, run_id))).run
                if state == "completed":
                    await ledger.write(AppendEvents(run, (completion(run),), RunStatus.COMPLETED))
                if state == "cancelled":
                    await ledger.write(CancelRun(user_id, run_id, "why"))
    async with open_database(tmp_path) as database:
        before = {key: found for key, found in (await all_rows(database)).items() if key == "users"}
        agent = HeldAgent(held=False)
        service = Service(database, agent)
        await service.runs.recover(database)
        taken_up = ["alice-queued", "alice-running", "bob-queued", "bob-running"]
        await service.ended(*taken_up)
        await service.idle()
        assert sorted(agent.run_ids) == taken_up
        assert _finals(service.published.entries) == dict.fromkeys(taken_up, "agent_completed")
        stored = await service.stored()
        for user_id in ("alice", "bob"):
            taken_over = stored[f"{user_id}-running"]
            assert (taken_over.status, taken_over.error, taken_over.attempt) == ("completed", None, 2)
            assert service.published.types(f"{user_id}-running") == ["agent_completed"]  # its start is logged already
            assert stored[f"{user_id}-completed"].status == "completed"
            assert stored[f"{user_id}-cancelled"].status == "cancelled"
        assert (await all_rows(database))["users"] == before["users"]
        again = Service(database, agent)
        await again.runs.recover(database)
        await again.idle()
        assert again.published.entries == []


async def test_messages_of_a_thread_are_taken_up_in_their_order(backend: Backend, tmp_path: Path) -> None:
    """Messages that one commit has stored are answered after a restart in the order in which they were sent."""
    run_ids = ["z", "m", "a", "k"]
    async with open_database(tmp_path) as database:
        await add_users(database, "alice")
        ledger = Ledger(database, lambda _entries: None)
        async with writer_held(database):
            writes = [ledger.write(message("alice", "t", run_id)) for run_id in run_ids]
        await asyncio.gather(*writes)
    async with open_database(tmp_path) as database:
        agent = HeldAgent(held=False)
        service = Service(database, agent)
        await service.runs.recover(database)
        await service.ended(*run_ids)
        assert agent.run_ids == run_ids


async def test_a_zombie_of_the_earlier_process_cannot_write(database: Database, agent: HeldAgent) -> None:
    """Whoever still holds a run that another attempt has taken over is refused, and the new attempt goes on."""
    zombie: RunRecord = (await Ledger(database, lambda _entries: None).write(message("alice", "t", "r"))).run
    zombie = (await Ledger(database, lambda _entries: None).write(ClaimRun("alice", "r"))).run
    service = Service(database, agent)
    await service.runs.recover(database)
    await agent.began("r")
    with pytest.raises(StaleRunError):
        await service.ledger.write(AppendEvents(zombie, (completion(zombie),), RunStatus.COMPLETED))
    agent.release("r")
    await service.ended("r")
    assert await service.statuses() == {"r": "completed"}


async def test_a_lost_hint_loses_nothing(service: Service, agent: HeldAgent) -> None:
    """A sweep begins what was stored and never offered, once, and leaves alone what waits or runs here already."""
    await service.submit("alice", "t", "running")
    await service.submit("alice", "t", "waiting")
    await agent.began("running")
    await service.store(message("bob", "t", "lost"))
    for _ in range(3):
        await service.runs.recover(service.database)
    await agent.began("lost")
    agent.release("running", "waiting", "lost")
    await service.ended("running", "waiting", "lost")
    await service.runs.recover(service.database)
    await service.idle()
    assert sorted(agent.finished) == ["lost", "running", "waiting"]
    assert {row.attempt for row in (await service.stored()).values()} == {1}


async def test_a_draining_server_takes_no_messages_and_hands_back(tmp_path: Path) -> None:
    """While it drains a message is refused and not stored; what does not end in time the next start takes over."""
    async with open_database(tmp_path) as database:
        await add_users(database, "alice")
        agent = HeldAgent()
        service = Service(database, agent)
        await service.submit("alice", "t1", "ends")
        await service.submit("alice", "t2", "stays")
        await agent.began("ends", "stays")
        draining = asyncio.ensure_future(service.runs.drain(1.0))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDownError):
            await service.submit("alice", "t3", "late")
        agent.release("ends")
        await draining
        assert await service.statuses() == {"ends": "completed", "stays": "running"}


async def test_recovering_an_empty_database_is_nothing(service: Service) -> None:
    """A first start has nothing to take up."""
    await service.runs.recover(service.database)
    assert service.published.entries == []


@pytest.mark.parametrize("turns", range(12))
async def test_a_process_that_ends_anywhere_loses_and_doubles_nothing(
    backend: Backend, tmp_path: Path, turns: int
) -> None:
    """Stopped after any number of turns, an accepted message is answered after a restart: once."""
    accepted: list[str] = []
    async with open_database(tmp_path) as database:
        await add_users(database, "alice")
        service = Service(database, HeldAgent(held=False), max_running=1)
        submits = [
            asyncio.ensure_future(
                service.runs.submit(
                    _context("alice", f"t{number % 2}", f"r{number}"),
                    Submission(text="hello", names_thread=True),
                    lambda told: accepted.append(told.run_id),
                )
            )
            for number in range(4)
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
            await database.writer.run(lambda _connection: None)  # a turn of the disk
        for submit in submits:
            submit.cancel()
        await service.dispatcher.close(0)
        await asyncio.gather(*submits, return_exceptions=True)
    async with open_database(tmp_path) as database:
        service = Service(database, HeldAgent(held=False))
        await service.runs.recover(database)
        await service.idle()
        statuses = await service.statuses()
        assert set(accepted) <= set(statuses)
        assert set(statuses.values()) <= {"completed"}
        log = (await all_rows(database))["events"]
        assert sorted(row._mapping["run_id"] for row in log if row._mapping["final"]) == sorted(statuses)
        for thread_id in ("t0", "t1"):
            seqs = [row._mapping["seq"] for row in log if row._mapping["thread_id"] == thread_id]
            assert seqs == list(range(1, len(seqs) + 1))


async def test_an_event_that_the_database_refuses_ends_the_run_at_once(database: Database) -> None:
    """In its first attempt, with the reason, whatever the agent makes of it; nothing is left to be taken up."""

    class Poisoner:
        async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
            await emit.thinking("good")
            await emit.tool("look", self.look)
            await emit.thinking("poison")
            with suppress(Exception):
                await emit.tool("look", self.look)
            return "done" if message == "go on" else await emit.tool("look", self.look)

        async def look(self) -> JsonValue:
            return None

    await refuse_rows(database, "INSERT", "events", "NEW.data LIKE '%poison%'")
    registry = AgentRegistry()
    registry.register("echo", Poisoner)
    service = Service(database, Supervisor(registry).execute)
    for text in ("go on", "stop"):
        run_id = (await service.submit("alice", text, text.replace(" ", "-"), text=text)).run_id
        await service.ended(run_id)
        assert service.published.types(run_id) == [
            "user_message",
            "agent_started",
            "agent_thinking",
            "tool_executing",
            "tool_completed",
            "agent_failed",
        ]
        final = service.published.final(run_id)
        assert final is not None
        told = json.loads(final.data)
        assert told["code"] == "agent_error"
        pattern = r"the database refuses an event of the run, .* \((IntegrityError|CheckViolation)\)"
        assert re.fullmatch(pattern, told["message"])
        row = (await service.stored())[run_id]
        assert (row.status, row.attempt, row.error) == ("failed", 1, "agent_error")
    assert await database.read(find_unfinished_runs) == []


async def test_what_is_stopped_at_the_end_is_done_at_the_next_start(backend: Backend, tmp_path: Path) -> None:
    """A run that did not end within the grace is run again by the next process; one that waited is done."""
    async with open_database(tmp_path) as database:
        await add_users(database, "alice")
        agent = HeldAgent()
        service = Service(database, agent)
        for run_id in ("r1", "r2"):
            await service.submit("alice", "t", run_id)
        await agent.began("r1")
        await service.dispatcher.close(0)
        assert agent.stopped == ["r1"]
    async with open_database(tmp_path) as database:
        service = Service(database, HeldAgent(held=False))
        await service.runs.recover(database)
        await service.ended("r1", "r2")
        assert _finals(service.published.entries) == {"r1": "agent_completed", "r2": "agent_completed"}


async def test_a_message_of_an_erased_account_is_refused(service: Service, agent: HeldAgent) -> None:
    """A submission for a user who is no more is refused as such, and no run of it is begun."""
    with pytest.raises(RefusedError):
        await service.submit("nobody", "t", "r")
    await service.idle()
    assert agent.contexts == []
