"""The journal of one running run: its events on their way to the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from netra_backend.app.db.errors import StorageUnavailableError
from netra_backend.app.services.agent_events import AgentEvent, LogEntry
from netra_backend.app.services.refusals import EventRefusedError, RefusedError, StaleRunError
from netra_backend.app.services.run_state import RunStatus

from .ledger import AppendEvents, Ledger, Written
from .run_record import RunRecord

RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)

_logger = logging.getLogger(__name__)


class RunJournal:
    """Writes a run's events in order without making the agent wait for the disk.

    What is taken in one turn of the event loop goes in one command; one command of a run is under way at a time, so
    that a refused one can be repeated without changing the order. While the database cannot be written, events are
    kept and tried again: a run that was accepted is not lost to a full disk. What the database refuses for good is
    dropped, with what waited behind it; then the run can only be ended as failed.

    Args:
        ledger: writes.
        run: as claimed.
        publish_delta: shows streamed text to whoever watches.
        earlier: what earlier attempts have logged.
        max_uncommitted: how many events may wait for the disk before `append` makes the agent wait.
        max_uncommitted_bytes: how much data may wait so; one event always may.
        max_event_bytes: how large the data of one event may be.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: RunRecord,
        publish_delta: Callable[[str, str, str, str], None],
        *,
        earlier: Sequence[LogEntry] = (),
        max_uncommitted: int,
        max_uncommitted_bytes: int = 1024 * 1024,
        max_event_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._run = run
        self._publish_delta = publish_delta
        self.earlier = earlier
        self._max_uncommitted = max_uncommitted
        self._max_uncommitted_bytes = max_uncommitted_bytes
        self._uncommitted_bytes = 0
        self._max_event_bytes = max_event_bytes
        self._loop = asyncio.get_running_loop()
        self._waiting: list[AgentEvent] = []
        self._refused: AppendEvents | None = None
        self._taken = 0
        self._committed = 0
        self._refusals = 0
        self._outcome: RunStatus | None = None
        self._error: str | None = None
        self._failure: BaseException | None = None
        self._sending = False
        self._progress: list[asyncio.Future[None]] = []

    async def append(self, event: AgentEvent) -> None:
        """Take an event; see `Journal.append`."""
        self._take(event)
        while (
            self._taken - self._committed > self._max_uncommitted
            or self._uncommitted_bytes > self._max_uncommitted_bytes
        ):
            await self._wait_for_progress()

    async def flush(self) -> None:
        """Wait for the disk; see `Journal.flush`."""
        if self._failure is not None:
            raise self._failure
        target = self._taken
        while self._committed < target:
            await self._wait_for_progress()

    async def finish(self, event: AgentEvent, outcome: RunStatus, error: str | None = None) -> None:
        """Take the last event; see `Journal.finish`."""
        if isinstance(self._failure, EventRefusedError) and outcome is not RunStatus.COMPLETED:
            self._failure = None  # whoever had to hear of it has; this event is another one
        self._take(event)
        self._outcome, self._error = outcome, error
        await self.flush()

    async def confirm(self) -> None:
        """Ask the database, by a write of nothing, whether the attempt holds; see `Journal.confirm`."""
        refusals = 0
        while True:
            try:
                await self._ledger.write(AppendEvents(self._run, ()))
                return
            except StorageUnavailableError:
                await asyncio.sleep(RETRY_SECONDS[min(refusals, len(RETRY_SECONDS) - 1)])
                refusals += 1

    def close(self) -> None:
        """Take nothing more; see `Journal.close`."""
        self._failure = self._failure or StaleRunError("the attempt is over")

    def delta(self, text: str) -> None:
        """Show streamed text; see `Journal.delta`. Nothing is shown of a run that is over for this attempt."""
        if self._failure is not None or self._outcome is not None:
            return
        self._publish_delta(self._run.user_id, self._run.thread_id, self._run.run_id, text)

    def _take(self, event: AgentEvent) -> None:
        if self._failure is not None:
            raise self._failure
        if self._outcome is not None:
            raise StaleRunError("the run has had its last event")
        size = len(event.data.encode())
        if size > self._max_event_bytes:
            raise ValueError(
                f"{event.type} of {event.agent}: its data has {size} bytes, "
                f"at most {self._max_event_bytes} are stored; return less, or a reference"
            )
        self._waiting.append(event)
        self._taken += 1
        self._uncommitted_bytes += size
        if not self._sending:
            self._sending = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        command, self._refused = self._refused, None
        if command is None:
            command = AppendEvents(self._run, tuple(self._waiting), self._outcome, self._error)
            self._waiting.clear()
        try:
            future = self._ledger.write(command)
        except StorageUnavailableError as error:
            self._fail(error)  # the server is shutting down; the run is taken up at the next start
            return
        future.add_done_callback(partial(self._sent, command))

    def _sent(self, command: AppendEvents, future: asyncio.Future[Written]) -> None:
        error = future.exception()
        if isinstance(error, StorageUnavailableError):
            delay = RETRY_SECONDS[min(self._refusals, len(RETRY_SECONDS) - 1)]
            self._refusals += 1
            self._refused = command
            self._loop.call_later(delay, self._send)
            return
        if error is not None and not isinstance(error, RefusedError) and len(command.events) > 1:
            first, *rest = command.events  # what came before the one at fault is stored
            self._waiting[:0] = rest
            self._refused = AppendEvents(self._run, (first,))
            self._send()
            return
        if error is not None:
            self._fail(error if isinstance(error, RefusedError) else self._drop(command, error))
            return
        self._refusals = 0
        self._committed += len(command.events)
        self._uncommitted_bytes -= sum(len(event.data.encode()) for event in command.events)
        if self._waiting:
            self._send()
        else:
            self._sending = False
        self._wake()

    def _drop(self, command: AppendEvents, error: BaseException) -> EventRefusedError:
        """Forget what cannot be stored, and what waited for it."""
        (event,) = command.events
        told = (event.type, event.agent, self._run.run_id)
        _logger.error("the database refuses the event %s of %s of run %s for good", *told, exc_info=error)
        self._waiting.clear()
        self._taken = self._committed
        self._uncommitted_bytes = 0
        self._outcome = self._error = None
        self._sending = False
        return EventRefusedError(type(getattr(error, "orig", None) or error).__name__)

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        for waiter in self._progress:
            if not waiter.done():
                waiter.set_exception(error)
        self._progress.clear()

    def _wake(self) -> None:
        for waiter in self._progress:
            if not waiter.done():
                waiter.set_result(None)
        self._progress.clear()

    async def _wait_for_progress(self) -> None:
        if self._failure is not None:
            raise self._failure
        waiter = self._loop.create_future()
        self._progress.append(waiter)
        await waiter
