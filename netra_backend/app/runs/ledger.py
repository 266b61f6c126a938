"""The ledger: every step of a run and every entry of a thread's log, written together or not at all.

The group-commit writer hands it all commands that wait. It loads the rows they speak of, folds the commands over them
in order, each accepted or refused by the state the ones before it have left, and flushes the result in few statements.
`seq` is given here, inside the commit, so that a thread's log has no hole and no two entries of one number.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, assert_never

import orjson
from sqlalchemy import ColumnElement, Connection, Select, bindparam, insert, select, update

from netra_backend.app.db.bulk import execute_many
from netra_backend.app.db.engine import Database
from netra_backend.app.db.keys import KEYS, as_keys, is_key
from netra_backend.app.db.locks import lock_rows
from netra_backend.app.db.repositories.event_log import EventLog
from netra_backend.app.db.roles import Role, act_as
from netra_backend.app.db.tables import ERASED_MESSAGE, events, runs, threads, users
from netra_backend.app.services.agent_events import AgentEvent, EventType, LogEntry
from netra_backend.app.services.fault_points import is_armed, reach
from netra_backend.app.services.refusals import (
    MessageReusedError,
    NotFoundError,
    RefusedError,
    StaleRunError,
    ThreadBusyError,
    TooManyRunsError,
)
from netra_backend.app.services.run_state import STEPS, FailureCode, RunStatus
from netra_backend.app.services.submission import IfBusy
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .run_record import RunRecord

TITLE_CHARACTERS: Final = 80
MAX_ATTEMPTS: Final = 3
PAGE: Final = 500

Key = tuple[str, str]
"""(user_id, run_id) or (user_id, thread_id)."""

# Each statement is made once: building and caching an expression costs more than executing it.


def _runs(key: ColumnElement[bool], names: Iterable[str] = RunRecord.__slots__) -> Select[Any]:
    """The runs of the keys, each with the last seq of its thread, and when the thread was erased."""
    of_run = (threads.c.user_id == runs.c.user_id) & (threads.c.thread_id == runs.c.thread_id)
    columns = (runs.c[name] for name in names)
    return select(*columns, threads.c.last_seq, threads.c.erased_at).join_from(KEYS, runs, key).join(threads, of_run)


_RUNS_BY_ID: Final = _runs(is_key(runs.c.user_id, runs.c.run_id))
_RUN_STATES_BY_ID: Final = _runs(
    is_key(runs.c.user_id, runs.c.run_id), names=("user_id", "run_id", "thread_id", "status", "attempt")
)
_RUNS_BY_MESSAGE: Final = _runs(is_key(runs.c.user_id, runs.c.message_scope, runs.c.client_message_id))
_UNFINISHED_RUNS_BY_THREAD: Final = _runs(is_key(runs.c.user_id, runs.c.thread_id) & runs.c.finished_at.is_(None))
_THREADS_BY_ID: Final = select(
    threads.c.user_id, threads.c.thread_id, threads.c.last_seq, threads.c.erased_at
).join_from(KEYS, threads, is_key(threads.c.user_id, threads.c.thread_id))
_USERS_BY_ID: Final = select(users.c.user_id).join_from(
    KEYS, users, is_key(users.c.user_id) & users.c.erased_at.is_(None)
)
_INSERT_RUN: Final = insert(runs)
_RUN_COLUMNS: Final = tuple(runs.c.keys())
_RUN: Final = attrgetter(*_RUN_COLUMNS)
_INSERT_EVENT: Final = insert(events)
_ENTRY_COLUMNS: Final = tuple(events.c.keys())
_ENTRY: Final = attrgetter(*_ENTRY_COLUMNS)
_INSERT_THREAD: Final = insert(threads)
_THREAD_COLUMNS: Final = ("user_id", "thread_id", "title", "created_at", "updated_at", "last_seq")
_CHANGED_OF_RUN: Final = ("status", "attempt", "error", "started_at", "finished_at", "handed_back")
_RUN_CHANGE: Final = ("of_user", "of_run", "from_status", "from_attempt", *_CHANGED_OF_RUN)
_UPDATE_RUN: Final = (
    update(runs)
    .where(runs.c.user_id == bindparam("of_user"), runs.c.run_id == bindparam("of_run"))
    .where(runs.c.status == bindparam("from_status"), runs.c.attempt == bindparam("from_attempt"))
    .values({column: bindparam(column) for column in _CHANGED_OF_RUN})
)
_THREAD_CHANGE: Final = ("of_user", "of_thread", "updated_at", "last_seq")
_UPDATE_THREAD: Final = (
    update(threads)
    .where(threads.c.user_id == bindparam("of_user"), threads.c.thread_id == bindparam("of_thread"))
    .values(updated_at=bindparam("updated_at"), last_seq=bindparam("last_seq"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitMessage:
    """Store a user's message and its queued run.

    Attributes:
        context: names the user, the thread (made when new), and the new run and request.
        text: the message.
        client_message_id: the client's own id of the message: the same one again is the same message.
        names_thread: whether the client named the thread; else the id counts among the user's new threads.
        if_busy: what to do while the thread has an unfinished run.
        agent: the name of the agent that shall answer.
        deadline: when the run is given up, aware UTC.
        reached_limit: how many unfinished runs the user may have, when there are as many: then only a message that
            was stored before is answered; None while there are fewer.
        retry_after: seconds after which there are fewer for certain.
    """

    context: UserExecutionContext
    text: str
    client_message_id: str
    names_thread: bool
    if_busy: IfBusy
    agent: str
    deadline: datetime
    reached_limit: int | None = None
    retry_after: float = 0.0

    @property
    def scope(self) -> str:
        """Where `client_message_id` is unique: the thread, or the user's threads that the server named."""
        return self.context.thread_id if self.names_thread else ""


@dataclass(frozen=True, slots=True)
class ClaimRun:
    """Begin a queued run, or take over one whose process is dead: its attempt is raised.

    The first claim logs `agent_started`. One that comes after the deadline, or after the last attempt, ends the run
    instead: whoever claims looks at the status of what is written.

    Attributes:
        attempt: the last one that the claimer knows of; a run that has had another since is somebody else's.
        max_attempts: after so many the run is given up; those that were handed back are not counted.
    """

    user_id: str
    run_id: str
    attempt: int = 0
    max_attempts: int = MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class AppendEvents:
    """Log events of a running run, and end it when the last one is final.

    Attributes:
        run: as claimed; its attempt is the fencing token.
        events: in order.
        outcome: the final status that the last event brings; None while the run goes on.
        error: why the run failed.
    """

    run: RunRecord
    events: tuple[AgentEvent, ...]
    outcome: RunStatus | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class HandBackRun:
    """Note that a server which was told to stop has ended an attempt; the run goes on in its next one.

    Attributes:
        attempt: which; refused when it is not the run's last one.
    """

    user_id: str
    run_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelRun:
    """End an unfinished run as cancelled; one that has ended stays as it is."""

    user_id: str
    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExpireRun:
    """End an unfinished run whose deadline has passed; refused while it has not, or when the run has ended."""

    user_id: str
    run_id: str


Command = SubmitMessage | ClaimRun | AppendEvents | HandBackRun | CancelRun | ExpireRun


@dataclass(frozen=True, slots=True)
class Written:
    """What a command has written.

    Attributes:
        run: as it now stands.
        entries: the log entries, with their seq.
        repeated: whether a message was stored before, so that nothing was written.
        interrupted: the ids of the runs that a message has cancelled.
    """

    run: RunRecord
    entries: tuple[LogEntry, ...]
    repeated: bool = False
    interrupted: tuple[str, ...] = ()


class Ledger:
    """Writes runs and logs through the group-commit writer.

    Args:
        database: where they are.
        publish: told of the committed entries, on the event loop, in the order of the commits.
    """

    def __init__(self, database: Database, publish: Callable[[Sequence[LogEntry]], None]) -> None:
        self._database = database
        self._writer = database.writer
        self._publish = publish

    def write(self, command: Command, on_commit: Callable[[Written], None] | None = None) -> Future[Written]:
        """Hand in a command; the future fails with a RefusedError or a StorageUnavailableError.

        Args:
            command: what is to be done.
            on_commit: called after the commit, before its entries are published.

        Raises:
            StorageUnavailableError: nothing is taken any more; or a run is to be begun, and another server may live.
        """
        if isinstance(command, ClaimRun):
            self._database.tenure.check()

        def committed(written: Written) -> None:
            _reach("after", written.entries)
            try:
                if on_commit is not None:
                    on_commit(written)
            finally:  # they are stored: whoever watches must not see a hole
                if written.entries:
                    self._publish(written.entries)

        return self._writer.submit(apply_commands, command, committed)

    async def entries_of(self, run: RunRecord) -> list[LogEntry]:
        """What is logged of a run but its message, in order; raises NotFoundError, StorageUnavailableError."""
        context = UserExecutionContext.from_request(run.user_id, run.thread_id, run.run_id, run.request_id)
        log = EventLog(context, self._database)
        found: list[LogEntry] = []
        after_seq = run.message_seq
        while page := await log.read(after_seq, PAGE):
            found.extend(entry for entry in page if entry.run_id == run.run_id)
            after_seq = page[-1].seq
        return found


def apply_commands(connection: Connection, commands: Sequence[Command]) -> list[Written | Exception]:
    """Apply commands in order, inside the caller's transaction; see `BulkOperation`."""
    act_as(connection, Role.LEDGER)
    fold = _Fold(connection, commands)
    outcomes = [fold.apply(command) for command in commands]
    fold.flush()
    for outcome in outcomes:
        if isinstance(outcome, Written):
            _reach("before", outcome.entries)
    return outcomes


def _reach(when: str, entries: Sequence[LogEntry]) -> None:
    if is_armed():
        for entry in entries:
            reach(f"{when}_commit:{entry.type}")


class _Fold:
    """The rows that a batch of commands speaks of, and what the commands make of them."""

    def __init__(self, connection: Connection, commands: Sequence[Command]) -> None:
        self._connection = connection
        self._now = datetime.now(UTC)
        self._runs: dict[Key, RunRecord] = {}
        self._stored: dict[Key, RunRecord] = {}
        self._by_message: dict[tuple[str, str, str], RunRecord] = {}
        self._last_seq: dict[Key, int] = {}
        self._stored_threads: dict[Key, int] = {}
        self._users: set[str] = set()
        self._erased: set[tuple[str, ...]] = set()  # keys of threads and messages
        self._titles: dict[Key, str] = {}
        self._entries: list[LogEntry] = []
        self._load(commands)

    def _load(self, commands: Sequence[Command]) -> None:
        messages: set[tuple[str, str, str]] = set()
        claimed_runs: dict[Key, RunRecord] = {}
        named_runs: set[Key] = set()
        busy_threads: set[Key] = set()
        named_threads: set[Key] = set()
        for command in commands:
            match command:
                case SubmitMessage(context=context):
                    messages.add((context.user_id, command.scope, command.client_message_id))
                    named_threads.add((context.user_id, context.thread_id))
                    if command.if_busy is not IfBusy.ENQUEUE:
                        busy_threads.add((context.user_id, context.thread_id))
                case AppendEvents(run=run):
                    claimed_runs[run.key] = run
                case ClaimRun() | HandBackRun() | CancelRun() | ExpireRun():
                    named_runs.add((command.user_id, command.run_id))
        submitting_users = {(user_id,) for user_id, _ in named_threads}
        claimed_threads = {run.thread_key for run in claimed_runs.values()}
        lock_rows(self._connection, submitting_users, named_threads | claimed_threads, named_runs)
        self._load_states({key: run for key, run in claimed_runs.items() if key not in named_runs})
        self._load_runs(_RUNS_BY_ID, named_runs)
        self._load_runs(_RUNS_BY_MESSAGE, messages)
        self._load_runs(_UNFINISHED_RUNS_BY_THREAD, busy_threads)
        self._stored = dict(self._runs)
        self._load_threads(named_threads - self._last_seq.keys())
        self._load_users({user_id for user_id, _ in named_threads})
        self._stored_threads = dict(self._last_seq)

    def _load_runs(self, statement: Select[Any], keys: Collection[tuple[str, ...]]) -> None:
        if not keys:
            return
        for *columns, last_seq, erased_at in self._connection.execute(statement, {"keys": as_keys(keys)}):
            run = RunRecord.from_columns(columns)
            if erased_at is not None:
                self._erased.add(run.thread_key)
                self._erased.add((run.user_id, run.message_scope, run.client_message_id))
                continue
            self._last_seq[run.thread_key] = last_seq
            self._runs[run.key] = run
            self._by_message[run.user_id, run.message_scope, run.client_message_id] = run

    def _load_states(self, claimed: dict[Key, RunRecord]) -> None:
        """What may have changed of runs that were claimed; the rest their claimers have, and it never changes."""
        if not claimed:
            return
        rows = self._connection.execute(_RUN_STATES_BY_ID, {"keys": as_keys(claimed.keys())})
        for user_id, run_id, thread_id, status, attempt, last_seq, erased_at in rows:
            if erased_at is not None:
                continue
            run = claimed[user_id, run_id]
            if (thread_id, status, attempt) != (run.thread_id, run.status, run.attempt):
                run = replace(run, thread_id=thread_id, status=RunStatus(status), attempt=attempt)
            self._last_seq[user_id, thread_id] = last_seq
            self._runs[user_id, run_id] = run

    def _load_threads(self, keys: Collection[Key]) -> None:
        if not keys:
            return
        found = self._connection.execute(_THREADS_BY_ID, {"keys": as_keys(keys)})
        for user_id, thread_id, last_seq, erased_at in found:
            if erased_at is None:
                self._last_seq[user_id, thread_id] = last_seq
            else:
                self._erased.add((user_id, thread_id))

    def _load_users(self, user_ids: set[str]) -> None:
        if user_ids:
            keys = {"keys": as_keys([(user_id,) for user_id in user_ids])}
            self._users.update(self._connection.execute(_USERS_BY_ID, keys).scalars())

    def apply(self, command: Command) -> Written | Exception:
        """The command's result by the state the ones before it have left."""
        try:
            match command:
                case SubmitMessage():
                    return self._submit(command)
                case ClaimRun():
                    return self._claim(command)
                case AppendEvents():
                    return self._append(command)
                case HandBackRun():
                    return self._hand_back(command)
                case CancelRun():
                    return self._cancel(command)
                case ExpireRun():
                    return self._expire(command)
                case _ as never:
                    assert_never(never)
        except RefusedError as refusal:
            return refusal

    def _submit(self, command: SubmitMessage) -> Written:
        context = command.context
        thread_key = (context.user_id, context.thread_id)
        message_key = (context.user_id, command.scope, command.client_message_id)
        if context.user_id not in self._users or not self._erased.isdisjoint((thread_key, message_key)):
            raise NotFoundError
        if message := self._by_message.get(message_key):
            stored = self._runs[message.key]
            if stored.message not in (command.text, ERASED_MESSAGE):
                raise MessageReusedError(
                    f"client_message_id {command.client_message_id!r} was already used for another text; "
                    "send a new message under a new id"
                )
            return Written(stored, (), repeated=True)
        if command.reached_limit is not None:
            raise TooManyRunsError(
                f"you have {command.reached_limit} unfinished runs; cancel one, or wait for one to end: "
                f"the first must within {command.retry_after:.0f} s",
                retry_after=command.retry_after,
            )
        interrupted = self._make_way(thread_key, command.if_busy)
        if thread_key not in self._last_seq:
            self._last_seq[thread_key] = 0
            self._titles[thread_key] = " ".join(command.text.split())[:TITLE_CHARACTERS]
        run = RunRecord(
            user_id=context.user_id,
            run_id=context.run_id,
            thread_id=context.thread_id,
            request_id=context.request_id,
            client_message_id=command.client_message_id,
            message_scope=command.scope,
            message=command.text,
            message_seq=self._last_seq[thread_key] + 1,
            agent=command.agent,
            status=RunStatus.QUEUED,
            attempt=0,
            error=None,
            created_at=self._now,
            deadline=command.deadline,
            started_at=None,
            finished_at=None,
        )
        self._runs[run.key] = run
        self._by_message[message_key] = run
        data = {"text": command.text, "client_message_id": command.client_message_id}
        entry = self._log(run, EventType.USER_MESSAGE, data, agent=None)
        cancelled = tuple(cancellation for _, cancellation in interrupted)
        return Written(run, (*cancelled, entry), interrupted=tuple(run_id for run_id, _ in interrupted))

    def _make_way(self, thread_key: Key, if_busy: IfBusy) -> list[tuple[str, LogEntry]]:
        if if_busy is IfBusy.ENQUEUE:
            return []
        unfinished = [run for run in self._runs.values() if run.thread_key == thread_key and not run.status.is_final]
        if unfinished and if_busy is IfBusy.REJECT:
            raise ThreadBusyError(
                "the thread has an unfinished run; wait for it, cancel it, or send with if_busy 'enqueue'"
            )
        unfinished.sort(key=lambda run: run.message_seq)
        return [(run.run_id, self._end_as_cancelled(run, "interrupted by a newer message")) for run in unfinished]

    def _claim(self, command: ClaimRun) -> Written:
        run = self._run(command.user_id, command.run_id)
        if run.status.is_final or run.attempt != command.attempt:
            raise StaleRunError(
                f"run {run.run_id} is {run.status} in attempt {run.attempt} and cannot be claimed after attempt "
                f"{command.attempt}"
            )
        if run.deadline <= self._now:
            return self._time_out(run)
        failed = run.attempt - run.handed_back
        if failed >= command.max_attempts:
            message = f"the server stopped {failed} times while the run went on; it is not tried again"
            return self._give_up(run, RunStatus.FAILED, FailureCode.ATTEMPTS_EXHAUSTED, message)
        is_begun = run.status is RunStatus.RUNNING
        run = self._step(run, RunStatus.RUNNING)
        if is_begun:  # the log goes on where it ends
            return Written(run, ())
        entry = self._log(run, EventType.AGENT_STARTED, {"attempt": run.attempt}, agent=run.agent)
        return Written(run, (entry,))

    def _append(self, command: AppendEvents) -> Written:
        run = self._runs.get(command.run.key)
        if run is None:
            raise StaleRunError(f"run {command.run.run_id} was erased")
        if run.status is not RunStatus.RUNNING or run.attempt != command.run.attempt:
            raise StaleRunError(
                f"run {run.run_id} is {run.status} in attempt {run.attempt}; "
                f"attempt {command.run.attempt} may not write to it"
            )
        for event in command.events:
            context = event.context
            if (context.user_id, context.thread_id, context.run_id) != (run.user_id, run.thread_id, run.run_id):
                raise StaleRunError(f"an event of another run was emitted into run {run.run_id}")
        if command.outcome is not None:
            if not command.outcome.is_final:
                raise StaleRunError(f"run {run.run_id} cannot become {command.outcome} by an event of its own")
            run = self._step(run, command.outcome, command.error)
        return Written(run, tuple(self._log_event(event) for event in command.events))

    def _hand_back(self, command: HandBackRun) -> Written:
        run = self._run(command.user_id, command.run_id)
        if run.status is not RunStatus.RUNNING or run.attempt != command.attempt:
            raise StaleRunError(
                f"run {run.run_id} is {run.status} in attempt {run.attempt}; "
                f"attempt {command.attempt} cannot be handed back"
            )
        run = replace(run, handed_back=run.handed_back + 1)
        self._runs[run.key] = run
        return Written(run, ())

    def _cancel(self, command: CancelRun) -> Written:
        run = self._run(command.user_id, command.run_id)
        if run.status.is_final:
            return Written(run, ())
        entry = self._end_as_cancelled(run, command.reason)
        return Written(self._runs[run.key], (entry,))

    def _expire(self, command: ExpireRun) -> Written:
        run = self._run(command.user_id, command.run_id)
        if run.status.is_final or run.deadline > self._now:
            raise StaleRunError(f"run {run.run_id} is {run.status} and its deadline is {run.deadline.isoformat()}")
        return self._time_out(run)

    def _time_out(self, run: RunRecord) -> Written:
        waited = "waited" if run.status is RunStatus.QUEUED else "took"
        message = f"the run {waited} longer than it may"
        return self._give_up(run, RunStatus.TIMED_OUT, FailureCode.DEADLINE_EXCEEDED, message)

    def _give_up(self, run: RunRecord, status: RunStatus, code: FailureCode, message: str) -> Written:
        run = self._step(run, status, code)
        data = {"code": code, "message": message}
        return Written(run, (self._log(run, EventType.AGENT_FAILED, data, agent=run.agent, final=True),))

    def _end_as_cancelled(self, run: RunRecord, reason: str) -> LogEntry:
        run = self._step(run, RunStatus.CANCELLED)
        return self._log(run, EventType.RUN_CANCELLED, {"reason": reason}, agent=run.agent, final=True)

    def _run(self, user_id: str, run_id: str) -> RunRecord:
        run = self._runs.get((user_id, run_id))
        if run is None:
            raise NotFoundError
        return run

    def _step(self, run: RunRecord, status: RunStatus, error: str | None = None) -> RunRecord:
        if status not in STEPS[run.status]:
            raise StaleRunError(f"run {run.run_id} is {run.status} and cannot become {status}")
        if status is RunStatus.RUNNING:
            changed = replace(run, status=status, attempt=run.attempt + 1, started_at=run.started_at or self._now)
        else:
            changed = replace(run, status=status, error=error, finished_at=self._now)
        self._runs[run.key] = changed
        return changed

    def _log(
        self, run: RunRecord, type_: EventType, data: dict[str, Any], *, agent: str | None, final: bool = False
    ) -> LogEntry:
        text = _json(data)
        seq = self._next_seq(run.user_id, run.thread_id)
        return self._enter(
            LogEntry(
                run.user_id, run.thread_id, seq, type_, run.run_id, run.request_id, None, agent, self._now, text, final
            )
        )

    def _log_event(self, event: AgentEvent) -> LogEntry:
        context = event.context
        return self._enter(
            LogEntry(
                context.user_id,
                context.thread_id,
                self._next_seq(context.user_id, context.thread_id),
                event.type,
                context.run_id,
                context.request_id,
                context.parent_request_id,
                event.agent,
                event.timestamp,
                event.data,
                event.final,
            )
        )

    def _next_seq(self, user_id: str, thread_id: str) -> int:
        seq = self._last_seq[user_id, thread_id] = self._last_seq[user_id, thread_id] + 1
        return seq

    def _enter(self, entry: LogEntry) -> LogEntry:
        self._entries.append(entry)
        return entry

    def flush(self) -> None:
        """Write what the commands have made, in one statement for each kind of change."""
        self._flush_threads()
        new = [_RUN(run) for key, run in self._runs.items() if key not in self._stored]
        execute_many(self._connection, _INSERT_RUN, _RUN_COLUMNS, new)
        changed = [
            (
                *(run.user_id, run.run_id, before.status, before.attempt),
                *(run.status, run.attempt, run.error, run.started_at, run.finished_at, run.handed_back),
            )
            for key, before in self._stored.items()
            if (run := self._runs[key]) is not before
        ]
        if execute_many(self._connection, _UPDATE_RUN, _RUN_CHANGE, changed) != len(changed):
            raise StaleRunError("a run has changed since it was read")
        execute_many(self._connection, _INSERT_EVENT, _ENTRY_COLUMNS, [_ENTRY(entry) for entry in self._entries])

    def _flush_threads(self) -> None:
        now = self._now
        new = []
        grown = []
        for key, last_seq in self._last_seq.items():
            stored = self._stored_threads.get(key)
            if stored is None:
                new.append((*key, self._titles[key], now, now, last_seq))
            elif last_seq != stored:
                grown.append((*key, now, last_seq))
        execute_many(self._connection, _INSERT_THREAD, _THREAD_COLUMNS, new)
        execute_many(self._connection, _UPDATE_THREAD, _THREAD_CHANGE, grown)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
