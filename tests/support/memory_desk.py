"""A desk in memory: the far side of a connection, with the order of things that the ledger keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson

from netra_backend.app.realtime.hub import Hub, Subscription, ThreadKey
from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.principal import AuthenticationError, Principal
from netra_backend.app.services.refusals import NotFoundError
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import Accepted, Submission
from netra_backend.app.services.user_execution_context import (
    NoActiveContextError,
    UserExecutionContext,
    current,
)

MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def log_entry(
    seq: int,
    *,
    user_id: str = "ann",
    thread_id: str = "t",
    run_id: str = "r",
    type_: EventType = EventType.AGENT_THINKING,
    data: object = None,
    final: bool = False,
) -> LogEntry:
    """An entry of a log.

    Args:
        seq: its number.
        user_id: whose log it is.
        thread_id: of which thread.
        run_id: of which run.
        type_: what happened.
        data: the details, a JSON object; a text that tells the seq when not given.
        final: whether it is the run's last.
    """
    text = orjson.dumps({"text": f"entry {seq}"} if data is None else data).decode()
    return LogEntry(user_id, thread_id, seq, type_, run_id, "q", None, "supervisor", MOMENT, text, final)


@dataclass
class MemoryLog:
    """A log reader over a desk's entries; what it reads was committed, though perhaps not published yet."""

    desk: MemoryDesk
    key: ThreadKey

    async def read(self, after_seq: int, limit: int) -> Sequence[LogEntry]:
        """See `LogReader`."""
        self.desk.reading.set()
        await self.desk.reads.wait()
        if self.desk.log_failure is not None:
            raise self.desk.log_failure
        if self.key not in self.desk.logs:
            raise NotFoundError
        return [entry for entry in self.desk.logs[self.key] if entry.seq > after_seq][:limit]

    async def bounds(self) -> tuple[int, int]:
        """See `LogReader`."""
        if self.key not in self.desk.logs:
            raise NotFoundError
        erased_to, log = self.desk.expired.get(self.key, 0), self.desk.logs[self.key]
        return erased_to, log[-1].seq if log else erased_to


@dataclass
class MemoryDesk:
    """Accounts, logs and runs of all users.

    Attributes:
        tokens: the sign-ins that hold.
        logs: the committed entries of every thread.
        expired: up to which seq retention has erased the log of a thread.
        runs: the runs that can be cancelled, by (user_id, run_id).
        commits: cleared, what was submitted is not yet on disk.
        reads: cleared, log reads take long.
        submissions: what was asked, and the user whose context was bound then.
        failure: raised by the next call instead of an answer.
        log_failure: raised by every read of a log instead of an answer.
    """

    hub: Hub
    tokens: dict[str, Principal] = field(default_factory=dict)
    logs: dict[ThreadKey, list[LogEntry]] = field(default_factory=dict)
    expired: dict[ThreadKey, int] = field(default_factory=dict)
    runs: set[tuple[str, str]] = field(default_factory=set)
    commits: asyncio.Event = field(default_factory=asyncio.Event)
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    authentications: asyncio.Event = field(default_factory=asyncio.Event)
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    submitting: asyncio.Event = field(default_factory=asyncio.Event)
    authenticating: asyncio.Event = field(default_factory=asyncio.Event)
    submissions: list[tuple[UserExecutionContext, Submission, str | None]] = field(default_factory=list)
    failure: Exception | None = None
    log_failure: Exception | None = None
    writer: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for gate in (self.commits, self.reads, self.authentications):
            gate.set()

    async def holds(self, principal: Principal) -> bool:
        """Whether a sign-in still holds."""
        return any(held.session_id == principal.session_id for held in self.tokens.values())

    def sign_in(self, user_id: str, *, seconds: float = 3600) -> str:
        """A token of a new sign-in of a user, good for so many seconds."""
        token = f"token-of-{user_id}-{uuid4().hex}"
        self.tokens[token] = Principal(user_id, str(uuid4()), datetime.now(UTC) + timedelta(seconds=seconds))
        return token

    def commit(self, key: ThreadKey, count: int = 1, *, published: bool = True) -> None:
        """Append entries to a log, and publish them in one batch."""
        log = self.logs.setdefault(key, [])
        last = log[-1].seq if log else self.expired.get(key, 0)
        new = [log_entry(last + number, user_id=key[0], thread_id=key[1]) for number in range(1, count + 1)]
        log.extend(new)
        if published:
            self.hub.publish(new)

    def erase(self, key: ThreadKey) -> None:
        """Erase a thread, as its user may by another connection."""
        del self.logs[key]
        self.hub.forget(key)

    def expire(self, key: ThreadKey, to_seq: int) -> None:
        """Erase the beginning of a log, as retention does."""
        self.logs[key] = [entry for entry in self.logs[key] if entry.seq > to_seq]
        self.expired[key] = to_seq

    async def authenticate(self, token: str) -> Principal:
        """See `Desk`."""
        self.authenticating.set()
        await self.authentications.wait()
        self._fail()
        if token not in self.tokens:
            raise AuthenticationError("the token is not valid; sign in again")
        return self.tokens[token]

    async def submit(
        self, context: UserExecutionContext, submission: Submission, acknowledge: Callable[[Accepted], None]
    ) -> Accepted:
        """See `Desk`; a caller that is cancelled does not recall what it submitted."""
        bound = None
        with suppress(NoActiveContextError):
            bound = current().user_id
        self.submissions.append((context, submission, bound))
        self._fail()
        stored: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        write = self._write(context, submission, acknowledge, stored)
        self.writer.append(asyncio.create_task(write, context=Context()))
        self.submitting.set()
        return await stored

    async def _write(
        self,
        context: UserExecutionContext,
        submission: Submission,
        acknowledge: Callable[[Accepted], None],
        stored: asyncio.Future[Accepted],
    ) -> None:
        await self.commits.wait()
        key = (context.user_id, context.thread_id)
        log = self.logs.setdefault(key, [])
        message_id = submission.client_message_id or str(uuid4())
        before = next((entry for entry in log if orjson.loads(entry.data).get("client_message_id") == message_id), None)
        entry = before or log_entry(
            len(log) + 1,
            user_id=context.user_id,
            thread_id=context.thread_id,
            run_id=context.run_id,
            type_=EventType.USER_MESSAGE,
            data={"text": submission.text, "client_message_id": message_id},
        )
        accepted = Accepted(message_id, entry.thread_id, entry.run_id, entry.seq, before is not None)
        if before is None:
            log.append(entry)
        acknowledge(accepted)
        if before is None:
            self.hub.publish([entry])
        if not stored.cancelled():
            stored.set_result(accepted)

    async def cancel(self, context: UserExecutionContext, run_id: str) -> RunStatus:
        """See `Desk`."""
        self._fail()
        if (context.user_id, run_id) not in self.runs:
            raise NotFoundError
        self.runs.remove((context.user_id, run_id))
        return RunStatus.CANCELLED

    def log(self, context: UserExecutionContext) -> MemoryLog:
        """See `Desk`."""
        return MemoryLog(self, (context.user_id, context.thread_id))

    def _fail(self) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure


class WatchedHub(Hub):
    """A hub that tells who watches.

    Attributes:
        subscribed: every subscription there is now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.subscribed: list[Subscription] = []

    def subscribe(self, subscription: Subscription) -> None:
        """See `Hub.subscribe`."""
        super().subscribe(subscription)
        self.subscribed.append(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """See `Hub.unsubscribe`."""
        super().unsubscribe(subscription)
        if subscription in self.subscribed:
            self.subscribed.remove(subscription)

    def forget(self, key: ThreadKey) -> None:
        """See `Hub.forget`."""
        super().forget(key)
        self.subscribed = [subscription for subscription in self.subscribed if subscription.key != key]
