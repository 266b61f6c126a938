"""A journal that keeps what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from netra_backend.app.services.agent_events import AgentEvent, EventType, LogEntry
from netra_backend.app.services.refusals import StaleRunError
from netra_backend.app.services.run_state import RunStatus


@dataclass
class RecordingJournal:
    """Obeys the `Journal` port without a database, with the same refusals.

    Attributes:
        events: what it took, in order.
        earlier: what it says that earlier attempts have logged.
        deltas: the streamed text.
        flushed: how many events were on disk at the end of the last flush.
        outcome: how the run ended; None while it has not.
        error: the code it failed with.
        stale_after: the run is taken over once so many events were taken.
        closed: whether the attempt is over.
        max_event_bytes: data beyond it is refused by `append`, as a journal's limit does.
    """

    events: list[AgentEvent] = field(default_factory=list)
    earlier: Sequence[LogEntry] = ()
    deltas: list[str] = field(default_factory=list)
    flushed: int = 0
    outcome: RunStatus | None = None
    error: str | None = None
    stale_after: int | None = None
    max_event_bytes: int = 256 * 1024
    closed: bool = False

    async def append(self, event: AgentEvent) -> None:
        """See `Journal.append`; ValueError for an event that is too large."""
        if len(event.data) > self.max_event_bytes:
            raise ValueError(f"{event.type}: its data is larger than {self.max_event_bytes}")
        self._take(event)

    async def flush(self) -> None:
        """See `Journal.flush`."""
        self._check()
        self.flushed = len(self.events)

    async def finish(self, event: AgentEvent, outcome: RunStatus, error: str | None = None) -> None:
        """See `Journal.finish`."""
        self._take(event)
        self.outcome, self.error = outcome, error
        self.flushed = len(self.events)

    async def confirm(self) -> None:
        """See `Journal.confirm`."""
        self._check()

    def close(self) -> None:
        """See `Journal.close`."""
        self.closed = True

    def delta(self, text: str) -> None:
        """See `Journal.delta`."""
        self.deltas.append(text)

    def types(self) -> list[EventType]:
        """The types of the events, in order."""
        return [event.type for event in self.events]

    def data(self, index: int) -> dict[str, Any]:
        """The details of an event."""
        details: dict[str, Any] = orjson.loads(self.events[index].data)
        return details

    def _take(self, event: AgentEvent) -> None:
        self._check()
        self.events.append(event)

    def _check(self) -> None:
        if (
            self.closed
            or self.outcome is not None
            or (self.stale_after is not None and len(self.events) >= self.stale_after)
        ):
            raise StaleRunError("the run was taken over")
