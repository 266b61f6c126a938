"""Runs of a server that crashes and comes back, over a real database file, beside a simple model of them."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from netra_backend.app.agents.registry import AgentRegistry
from netra_backend.app.agents.supervisor import Supervisor
from netra_backend.app.db.engine import Database
from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.realtime.hub import Hub, Subscription
from netra_backend.app.runs.admission import Admission
from netra_backend.app.runs.dispatch_local import LocalDispatcher
from netra_backend.app.runs.ledger import Command, HandBackRun, Ledger, Written
from netra_backend.app.runs.rate_limit import RateLimit
from netra_backend.app.runs.run_journal import RunJournal
from netra_backend.app.runs.run_service import RunService
from netra_backend.app.runs.stored_bytes import StoredBytes
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.refusals import NotFoundError, ThreadBusyError
from netra_backend.app.services.submission import IfBusy, Submission
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.database import add_users, all_rows, database_url, open_database

USERS: Final = ("ann", "ben")
THREADS: Final = ("s", "t")
MAX_ATTEMPTS: Final = 2
PATIENCE_S: Final = 3

pytestmark = pytest.mark.timeout(300)

# What a run logs as it is let go on, step by step. A crash in step 2 leaves the outcome of its first tool unknown.
STEPS: Final = (
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "tool_executing",
    "tool_completed",
    "agent_completed",
)
CHARGING: Final = 2


class Permits:
    """How many steps each run may do; they outlive a crash."""

    def __init__(self) -> None:
        self._granted: defaultdict[str, int] = defaultdict(int)
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.charges: defaultdict[str, int] = defaultdict(int)

    def grant(self, run_id: str) -> None:
        """Let a run do one more step."""
        self._granted[run_id] += 1
        self._changed[run_id].set()

    async def wait(self, run_id: str, step: int) -> None:
        """Wait until a run may do a step."""
        while self._granted[run_id] < step:
            self._changed[run_id].clear()
            await self._changed[run_id].wait()


class PuppetAgent:
    """Does its steps as it is let."""

    def __init__(self, permits: Permits) -> None:
        self._permits = permits

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Think, call a tool that may not be repeated, then one that may, and answer."""

        async def may(step: int) -> None:
            await self._permits.wait(context.run_id, step)

        async def charge() -> JsonValue:
            self._permits.charges[context.run_id] += 1
            await may(3)
            return None

        async def look() -> JsonValue:
            await may(5)
            return None

        await may(1)
        await emit.thinking("hm")
        await may(2)
        await emit.tool("charge", charge)
        await may(4)
        await emit.tool("look", look, idempotent=True)
        await may(6)
        return message


class MortalLedger(Ledger):
    """A ledger whose process can die: from then on nothing reaches the disk."""

    is_dead = False

    def write(self, command: Command, on_commit: Callable[[Written], None] | None = None) -> asyncio.Future[Written]:
        """Write; see `Ledger.write`. A dead one never answers."""
        if self.is_dead and isinstance(command, HandBackRun):
            raise StorageUnavailableError("the process is dead")  # nobody is there to wait
        if self.is_dead:
            return asyncio.get_running_loop().create_future()
        return super().write(command, on_commit)


class Life:
    """One process, from its start to its death."""

    def __init__(self, folder: Path, permits: Permits) -> None:
        self.database = Database(database_url(folder), reader_threads=1)
        self.hub = Hub()
        self.ledger = MortalLedger(self.database, self.hub.publish)
        admission = Admission(max_running=100, max_running_per_user=100)
        registry = AgentRegistry()
        registry.register("puppet", lambda: PuppetAgent(permits))
        self.dispatcher = LocalDispatcher(
            self.ledger,
            admission,
            Supervisor(registry).execute,
            lambda run, earlier: RunJournal(
                self.ledger, run, lambda *_: None, earlier=earlier, max_uncommitted=9, max_event_bytes=9_999
            ),
            max_attempts=MAX_ATTEMPTS,
        )
        self.runs = RunService(
            self.ledger,
            self.dispatcher,
            admission,
            RateLimit(10_000, lambda: 0.0),
            StoredBytes(self.database, 10**9),
            check_agent=lambda _name: None,
            default_agent="puppet",
            run_timeout=timedelta(hours=1),
            max_unfinished_per_user=100,
        )

    async def die(self) -> None:
        """End without a word; what was on its way to the disk may land."""
        self.ledger.is_dead = True
        await self.dispatcher.close(0)
        await self.database.close()


@dataclass
class ModelRun:
    """A run of the model: the steps it was let do, how often it was begun, and how it ended."""

    user: str
    thread: str
    run_id: str
    permits: int = 0
    attempt: int = 0
    status: str = "queued"
    message_id: str = ""


@dataclass
class Reader:
    """A client that reads a thread, and comes back where it was."""

    user: str
    thread: str
    seen: list[tuple[int, str, str]]
    first: int
    subscription: Subscription | None = field(default=None, repr=False)


class LifeOfRuns(RuleBasedStateMachine):
    """Random messages, permits, cancellations, crashes and readers; after each step the log is what the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.permits = Permits()
        self.model: list[ModelRun] = []
        self.logs: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        self.readers: list[Reader] = []
        self._do(self._sign_up())
        self.life = Life(self.folder, self.permits)

    async def _sign_up(self) -> None:
        async with open_database(self.folder) as database:
            await add_users(database, *USERS)

    def teardown(self) -> None:
        """End the life; pytest would find what is left."""
        self._do(self.life.die())
        self.loop.close()
        shutil.rmtree(self.folder)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    # What the model makes of a step.

    def _end(self, run: ModelRun, status: str, type_: str) -> None:
        run.status = status
        self.logs[run.user, run.thread].append((type_, run.run_id))

    def _begin_next(self) -> None:
        for user in USERS:
            for thread in THREADS:
                own = [run for run in self.model if (run.user, run.thread) == (user, thread)]
                waiting = [run for run in own if run.status == "queued"]
                if waiting and not any(run.status == "running" for run in own):
                    waiting[0].status, waiting[0].attempt = "running", 1
                    self.logs[user, thread].append(("agent_started", waiting[0].run_id))

    def _unfinished(self, user: str, thread: str) -> list[ModelRun]:
        own = [run for run in self.model if (run.user, run.thread) == (user, thread)]
        return [run for run in own if run.status in ("queued", "running")]

    # The steps.

    @rule(user=st.sampled_from(USERS), thread=st.sampled_from(THREADS), if_busy=st.sampled_from(IfBusy))
    def submit(self, user: str, thread: str, if_busy: IfBusy) -> None:
        """A message is stored, refused, or takes the place of what is unfinished in its thread."""
        run = ModelRun(user, thread, f"run-{len(self.model)}", message_id=f"m{len(self.model)}")
        busy = self._unfinished(user, thread)
        try:
            self._do(self._submit(run, if_busy))
        except ThreadBusyError:
            assert busy
            assert if_busy is IfBusy.REJECT
            return
        assert not (busy and if_busy is IfBusy.REJECT)
        if if_busy is IfBusy.INTERRUPT:
            for before in busy:
                self._end(before, "cancelled", "run_cancelled")
        self.model.append(run)
        self.logs[user, thread].append(("user_message", run.run_id))
        self._begin_next()

    async def _submit(self, run: ModelRun, if_busy: IfBusy) -> bool:
        context = UserExecutionContext.from_request(run.user, run.thread, run.run_id)
        submission = Submission(text="hello", client_message_id=run.message_id, names_thread=True, if_busy=if_busy)
        return (await self.life.runs.submit(context, submission)).repeated

    @precondition(lambda self: self.model)
    @rule(number=st.integers(0, 99), if_busy=st.sampled_from(IfBusy))
    def submit_again(self, number: int, if_busy: IfBusy) -> None:
        """A message that comes again is the same message, whatever became of it."""
        assert self._do(self._submit(self.model[number % len(self.model)], if_busy))

    @precondition(lambda self: any(run.status == "running" for run in self.model))
    @rule(number=st.integers(0, 99))
    def go_on(self, number: int) -> None:
        """A run does one more step."""
        running = [run for run in self.model if run.status == "running"]
        self._grant(running[number % len(running)])

    def _grant(self, run: ModelRun) -> None:
        self._permit(run)
        type_ = STEPS[run.permits - 1]
        if type_ == "agent_completed":
            self._end(run, "completed", type_)
            self._begin_next()
        else:
            self.logs[run.user, run.thread].append((type_, run.run_id))

    def _permit(self, run: ModelRun) -> None:
        run.permits += 1

        async def grant() -> None:
            self.permits.grant(run.run_id)

        self._do(grant())

    @precondition(lambda self: self.model)
    @rule(number=st.integers(0, 99), stranger=st.booleans())
    def cancel(self, number: int, stranger: bool) -> None:
        """The owner's cancel is final; to another user there is no such run; one that has ended stays as it is."""
        run = self.model[number % len(self.model)]
        user = next(other for other in USERS if other != run.user) if stranger else run.user
        context = UserExecutionContext.from_request(user, run.thread, run.run_id)
        try:
            status = self._do(self.life.runs.cancel(context, run.run_id))
        except NotFoundError:
            assert stranger
            return
        assert not stranger
        if run.status in ("queued", "running"):
            self._end(run, "cancelled", "run_cancelled")
            self._begin_next()
        assert status == run.status

    @rule()
    def crash(self) -> None:
        """The process dies and another takes up what was left."""
        self._restart(None)

    @precondition(lambda self: any(run.status == "running" for run in self.model))
    @rule(number=st.integers(0, 99), turns=st.integers(0, 6))
    def crash_in_a_step(self, number: int, turns: int) -> None:
        """The process dies while a run does a step: either it is on disk, or it was never done."""
        running = [run for run in self.model if run.status == "running"]
        run = running[number % len(running)]
        self._permit(run)

        async def some_turns() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self._do(some_turns())
        self._restart(run)

    def _restart(self, in_step: ModelRun | None) -> None:
        self._do(self.life.die())
        stored = self._stored_after_death(in_step)
        self.life = Life(self.folder, self.permits)
        for run in [run for run in self.model if run.status == "running"]:
            step = run.permits
            if run is in_step:
                log = self.logs[run.user, run.thread]
                before, after = list(log), [*log, (STEPS[step - 1], run.run_id)]
                if stored == after:
                    log.append(after[-1])
                    if step == len(STEPS):
                        run.status = "completed"
                        continue
                else:
                    assert stored == before
                    step -= 1
            is_exhausted = run.attempt == MAX_ATTEMPTS
            run.attempt += not is_exhausted
            if is_exhausted or step == CHARGING:
                self._end(run, "failed", "agent_failed")
                continue
            if step < run.permits:  # it does now what it could not do before
                self.logs[run.user, run.thread].append((STEPS[run.permits - 1], run.run_id))
                if run.permits == len(STEPS):
                    run.status = "completed"
        self._begin_next()
        for reader in self.readers:
            reader.subscription = None
        self._do(self.life.runs.recover(self.life.database))

    def _stored_after_death(self, run: ModelRun | None) -> list[tuple[str, str]] | None:
        if run is None:
            return None

        async def look() -> list[tuple[str, str]]:
            database = Database(database_url(self.folder), reader_threads=1)
            try:
                return (await _logs(database))[run.user, run.thread]
            finally:
                await database.close()

        found: list[tuple[str, str]] = self._do(look())
        return found

    @precondition(lambda self: self.logs)
    @rule(number=st.integers(0, 99), after=st.integers(0, 99))
    def read(self, number: int, after: int) -> None:
        """Somebody begins to read a thread, from anywhere in its log."""
        user, thread = sorted(self.logs)[number % len(self.logs)]
        after %= len(self.logs[user, thread]) + 1
        self.readers.append(Reader(user, thread, [], after))

    # What must hold after each.

    @invariant()
    def the_log_is_as_the_model_says(self) -> None:
        """Each thread's log, each run's status and attempt, and what every reader has seen."""
        self._do(self._compare())

    async def _compare(self) -> None:
        for reader in self.readers:
            if reader.subscription is None:
                await self._resume(reader)
        logs = {key: log for key, log in self.logs.items() if log}
        runs = {run.run_id: (run.user, run.status, run.attempt) for run in self.model}
        found: Any = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while found != (logs, runs):
                    found = await _logs(self.life.database), await _runs(self.life.database)
                    await self.life.database.writer.run(lambda _connection: None)  # what is stored is published then
        except TimeoutError:
            assert found == (logs, runs)
        for reader in self.readers:
            log = self.logs[reader.user, reader.thread]
            whole = [(seq, type_, run_id) for seq, (type_, run_id) in enumerate(log, start=1)]
            assert reader.seen == whole[reader.first :]
        assert all(count == 1 for count in self.permits.charges.values())

    async def _resume(self, reader: Reader) -> None:
        def deliver(text: str) -> None:
            frame = json.loads(text)
            reader.seen.append((frame["seq"], frame["type"], frame["run_id"]))

        async def send(text: str) -> None:
            deliver(text)

        reader.subscription = Subscription((reader.user, reader.thread), deliver)
        self.life.hub.subscribe(reader.subscription)
        context = UserExecutionContext.from_request(reader.user, reader.thread, "reading")
        last = reader.seen[-1][0] if reader.seen else reader.first
        await reader.subscription.catch_up(EventLog(context, self.life.database), last, send)


async def _runs(database: Database) -> dict[str, tuple[str, str, int]]:
    rows = [row._mapping for row in (await all_rows(database))["runs"]]
    return {row["run_id"]: (row["user_id"], row["status"], row["attempt"]) for row in rows}


async def _logs(database: Database) -> dict[tuple[str, str], list[tuple[str, str]]]:
    logs: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in (await all_rows(database))["events"]:
        entry = row._mapping
        log = logs[entry["user_id"], entry["thread_id"]]
        log.append((entry["type"], entry["run_id"]))
        assert entry["seq"] == len(log)
    return logs


TestLifeOfRuns = LifeOfRuns.TestCase
TestLifeOfRuns.settings = settings(max_examples=settings().max_examples // 3, stateful_step_count=25)
