"""A run as it is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from netra_backend.app.services.run_state import RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One row of `runs`; the fields are its columns.

    Attributes:
        attempt: raised by each claim: the fencing token.
        handed_back: how many of the attempts a server has ended since it was told to stop; none of them is a failure.
    """

    user_id: str
    run_id: str
    thread_id: str
    request_id: str
    client_message_id: str
    message_scope: str
    message: str
    message_seq: int
    agent: str
    status: RunStatus
    attempt: int
    error: str | None
    created_at: datetime
    deadline: datetime
    started_at: datetime | None
    finished_at: datetime | None
    handed_back: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What tells the run from all others: its user and its id."""
        return self.user_id, self.run_id

    @property
    def thread_key(self) -> tuple[str, str]:
        """What tells its thread from all others."""
        return self.user_id, self.thread_id

    @classmethod
    def from_columns(cls, columns: Iterable[Any]) -> RunRecord:
        """The record of a row of `runs`, its columns in the order of the fields."""
        values = dict(zip(cls.__slots__, columns, strict=True))
        return cls(**{**values, "status": RunStatus(values["status"])})
