"""What the layers ask of each other: the agents' side of a run, and the data it may reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from .agent_events import AgentEvent, LogEntry
from .json_values import JsonValue
from .principal import Principal
from .run_state import RunStatus
from .submission import Accepted, Submission
from .usage_record import UsageRecord
from .user_execution_context import UserExecutionContext


class Emitter(Protocol):
    """What an agent tells the world through; made for one agent of one run."""

    async def thinking(self, text: str) -> None:
        """Log an `agent_thinking`. Returns before it is on disk; delivery follows the commit."""

    async def delta(self, text: str) -> None:
        """Stream a piece of text to whoever watches now. Not in the log, never replayed."""

    async def tool(
        self,
        name: str,
        call: Callable[[], Awaitable[JsonValue]],
        *,
        arguments: Mapping[str, JsonValue] | None = None,
        idempotent: bool = False,
    ) -> JsonValue:
        """Call a tool between its `tool_executing` and its `tool_completed`.

        Args:
            name: the tool's name.
            call: does the work; starts only after `tool_executing` is committed.
            arguments: what the log tells of the call.
            idempotent: whether it may be repeated when a crash has hidden its outcome; a run whose other tool was cut
                off by a crash fails, since nobody knows what that tool has done.

        Returns:
            What `call` returned. In a run that was taken over after a crash, the result that is stored, as its JSON
            reads; `call` is not called then.

        Raises:
            Exception: what `call` raised, after a `tool_completed` with status "error".
            EarlierFailureError: it raised before the crash; only the type's name is stored.
        """

    async def keyed_tool(
        self,
        name: str,
        call: Callable[[str], Awaitable[JsonValue]],
        *,
        arguments: Mapping[str, JsonValue] | None = None,
    ) -> JsonValue:
        """Call a tool that is idempotent by a key, as a payment with an idempotency key is; otherwise as `tool`.

        Args:
            name: the tool's name.
            call: does the work; gets the key, the `tool_call_id`, which is the same when a crash has it repeated.
            arguments: what the log tells of the call.
        """

    async def delegate(self, name: str, agent: Agent, message: str) -> JsonValue:
        """Run a sub-agent under a child context, between its own started and completed events.

        Args:
            name: the sub-agent's name, 1 to 64 printable characters.
            agent: built for this run.
            message: what it is asked.

        Returns:
            What its `run` returned. In a run that was taken over after a crash, the result that is stored; it is not
            run again then.

        Raises:
            ValueError: the name is of another form.
            Exception: what its `run` raised, after an `agent_failed` of the sub-agent.
            EarlierFailureError: it raised before the crash; only the type's name is stored.
        """


class Agent(Protocol):
    """An agent: built afresh for each run, so whatever it keeps on itself is that run's.

    A run that a crash has cut off is run again from its beginning with what is stored: thoughts that were logged are
    not logged again, tools and sub-agents that have ended are not called again. So what an agent does next may depend
    on its message and on what its tools returned; whatever else decides (time, chance, a model) belongs in a tool.
    """

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Answer one message.

        Args:
            context: for whom the work is done.
            message: the user's text, or what the delegating agent asks.
            emit: where thinking, tools and sub-agents are told.

        Returns:
            The answer, a JSON value; it becomes `data.result` of `agent_completed`.
        """


AgentFactory = Callable[[], Agent]


class UsageRecords(Protocol):
    """Where an agent reads the usage records of the context's user, and of nobody else."""

    async def load(self, context: UserExecutionContext) -> Sequence[UsageRecord]:
        """All records of the user, in the order of their time."""


class Journal(Protocol):
    """Where a run's events are written, in order, under the attempt that claimed it."""

    @property
    def earlier(self) -> Sequence[LogEntry]:
        """What earlier attempts have logged of the run, in order; nothing in its first."""

    async def append(self, event: AgentEvent) -> None:
        """Take an event; returns before it is on disk, unless too many of the run wait for theirs.

        Raises:
            StaleRunError: the run has ended or was taken over; whoever writes must stop.
            EventRefusedError: an event before it cannot be stored, now or ever; none of those that waited is. The run
                can only be ended as failed now.
        """

    async def flush(self) -> None:
        """Wait until every event taken so far is on disk; raises as `append`."""

    async def finish(self, event: AgentEvent, outcome: RunStatus, error: str | None = None) -> None:
        """Take the run's last event, end the run with it, and wait until both are on disk; raises as `append`."""

    async def confirm(self) -> None:
        """Wait until it is certain that the run is still this attempt's; raises as `append`."""

    def close(self) -> None:
        """Take nothing more: the attempt is over, whoever still writes gets a StaleRunError."""

    def delta(self, text: str) -> None:
        """Show a piece of text to whoever watches the run now."""


Execute = Callable[[UserExecutionContext, str, str, Journal], Awaitable[None]]
"""Does a claimed run: (context, the agent's name, the message, the journal). Ends it by `Journal.finish`."""


class LogReader(Protocol):
    """Reads the log of one thread of one user."""

    async def read(self, after_seq: int, limit: int) -> Sequence[LogEntry]:
        """Up to `limit` entries after a seq, in order. A number that is not the next one follows what was erased."""

    async def bounds(self) -> tuple[int, int]:
        """Up to which seq the log was erased, 0 when it was not, and the last seq that was given in it."""


class Desk(Protocol):
    """What a connection asks of the rest of the server."""

    async def authenticate(self, token: str) -> Principal:
        """Who an access token proves; raises AuthenticationError."""

    async def holds(self, principal: Principal) -> bool:
        """Whether the session of a token that was good is not over."""

    async def submit(
        self, context: UserExecutionContext, submission: Submission, acknowledge: Callable[[Accepted], None]
    ) -> Accepted:
        """Store a message; `acknowledge` is called before any of its entries is delivered. Raises RefusedError."""

    async def cancel(self, context: UserExecutionContext, run_id: str) -> RunStatus:
        """End a run of the context's user; raises NotFoundError."""

    def log(self, context: UserExecutionContext) -> LogReader:
        """The log of the context's thread."""
