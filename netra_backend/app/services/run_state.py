"""The life of a run: its states, the steps between them, and why it may fail."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class RunStatus(StrEnum):
    """Where a run stands. The text is what the database and the API hold."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended; a run that has ended never changes again."""
        return not STEPS[self]


_ENDS: Final = frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT})
STEPS: Final[dict[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.QUEUED: _ENDS | {RunStatus.RUNNING},
    RunStatus.RUNNING: _ENDS | {RunStatus.RUNNING, RunStatus.COMPLETED},  # running again: taken over
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.TIMED_OUT: frozenset(),
}


class FailureCode(StrEnum):
    """Why a run failed: `data.code` of its `agent_failed`, and its `error`."""

    AGENT_ERROR = "agent_error"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    TOOL_OUTCOME_UNKNOWN = "tool_outcome_unknown"
    REPLAY_DIVERGED = "replay_diverged"
