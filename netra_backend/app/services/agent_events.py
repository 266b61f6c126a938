"""The events of a run, and the entries of a thread's log that they become."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .user_execution_context import UserExecutionContext


MAX_AGENT_NAME: Final = 64
"""Characters of the longest name of an agent."""


class EventType(StrEnum):
    """What a log entry tells. The text is its `type` on the wire."""

    USER_MESSAGE = "user_message"
    AGENT_STARTED = "agent_started"
    AGENT_THINKING = "agent_thinking"
    TOOL_EXECUTING = "tool_executing"
    TOOL_COMPLETED = "tool_completed"
    AGENT_COMPLETED = "agent_completed"
    AGENT_FAILED = "agent_failed"
    RUN_CANCELLED = "run_cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """Something that happened in a run, before the commit has given it its `seq`.

    Attributes:
        context: for whom and in which thread, run and request it happened.
        type: what happened.
        agent: the name of the agent it happened to; None for the user's message.
        data: its details, the text of a JSON object (docs/wire.md): text, so that nobody can change it after.
        final: whether it is the run's last event.
        timestamp: when it happened, aware UTC.
    """

    context: UserExecutionContext
    type: EventType
    agent: str | None
    data: str
    final: bool = False
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a thread's log, as it is stored; the fields are those of the wire.

    Attributes:
        data: the text of a JSON object.
    """

    user_id: str
    thread_id: str
    seq: int
    type: EventType
    run_id: str
    request_id: str
    parent_request_id: str | None
    agent: str | None
    timestamp: datetime
    data: str
    final: bool
