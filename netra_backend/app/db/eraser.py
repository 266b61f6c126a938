"""The eraser: takes away, in the background and in batches, what users have erased and what retention does not keep."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

from netra_backend.app.services.user_execution_context import UserExecutionContext, spawn_unbound

from .engine import Database
from .errors import StorageUnavailableError
from .repositories.erasure import BATCH, ErasureRepository
from .system_operations import (
    find_erased_threads,
    find_erased_users,
    find_old_threads,
    find_users_with_erased_uploads,
)

SWEEP: Final = timedelta(hours=1)
SOONEST_SWEEP: Final = timedelta(seconds=1)
SWEEPS_PER_RETENTION: Final = 24
PAGE: Final = 500

_logger = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Eraser:
    """Erases by batches, one of this process at a time, so that other users' commits go between them.

    What a user erases is unseen before anything is done here. A batch that a crash cut off was not done, and the next
    sweep, the first of which comes at the start, goes on from there; so it does when two nodes erase the same.

    Args:
        database: where the rows are.
        retention: how long the log of a run that has ended is kept; None for the thread's life.
        now: the clock, aware UTC.
        batch: rows in one transaction.
    """

    def __init__(
        self,
        database: Database,
        *,
        retention: timedelta | None = None,
        now: Callable[[], datetime] = _utc_now,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._retention = retention
        self._now = now
        self._batch = batch
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Sweep now, and from time to time, until `close`."""
        self._sweeping = self._spawn(self._sweep_for_ever(), "eraser")

    async def close(self) -> None:
        """End after the batch under way; the next start goes on."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def erase_user(self, context: UserExecutionContext) -> None:
        """Take away all rows of the context's user, who was erased; raises StorageUnavailableError."""
        await self._all(self._repository(context).erase_of_user)

    async def finish_thread(self, context: UserExecutionContext) -> None:
        """Take away the rows of the context's thread, which was erased; returns once they are gone.

        They go though the caller is cancelled; what the database refuses now is left to the next sweep.
        """
        await self._in_background(self._repository(context).erase_of_thread)

    async def finish_user(self, context: UserExecutionContext) -> None:
        """Take away all rows of the context's user, who was erased; otherwise as `finish_thread`."""
        await self._in_background(self._repository(context).erase_of_user)

    async def finish_usage_records(self, context: UserExecutionContext) -> None:
        """Take away the usage records of the context's user that were erased; otherwise as `finish_thread`."""
        await self._in_background(self._repository(context).erase_of_uploads)

    async def sweep(self) -> None:
        """Take away everything that was erased, and what retention does not keep; raises StorageUnavailableError.

        What cannot be erased otherwise is logged and left.
        """
        for user_id in await self._database.read(find_erased_users):
            _logger.info("erasing the rest of user %s", user_id)
            await self._try(f"user {user_id}", self._repository(_context(user_id)).erase_of_user)
        for user_id, thread_id in await self._database.read(find_erased_threads):
            _logger.info("erasing the rest of thread %s", thread_id)
            repository = self._repository(_context(user_id, thread_id))
            await self._try(f"thread {thread_id} of user {user_id}", repository.erase_of_thread)
        for user_id in await self._database.read(find_users_with_erased_uploads):
            repository = self._repository(_context(user_id))
            await self._try(f"usage records of user {user_id}", repository.erase_of_uploads)
        if self._retention is not None:
            await self._expire(self._now() - self._retention)

    async def _expire(self, before: datetime) -> None:
        after = ("", "")
        while page := await self._database.read(partial(find_old_threads, before=before, after=after, limit=PAGE)):
            for user_id, thread_id in page:
                repository = self._repository(_context(user_id, thread_id))
                await self._try(f"thread {thread_id} of user {user_id}", partial(repository.expire, before))
            after = page[-1]

    def _repository(self, context: UserExecutionContext) -> ErasureRepository:
        return ErasureRepository(context, self._database, batch=self._batch)

    async def _try(self, what: str, batch: Callable[[], Awaitable[bool]]) -> None:
        """Take away all of something; one that cannot be erased must not keep the others from it."""
        try:
            await self._all(batch)
        except StorageUnavailableError:
            raise
        except Exception:
            _logger.exception("%s could not be erased; the next sweep tries again", what)

    async def _all(self, batch: Callable[[], Awaitable[bool]]) -> None:
        is_last = False
        while not is_last:
            async with self._turn:
                is_last = await batch()

    async def _in_background(self, batch: Callable[[], Awaitable[bool]]) -> None:
        await asyncio.wait({self._spawn(self._finish(batch), "erasure")})

    async def _finish(self, batch: Callable[[], Awaitable[bool]]) -> None:
        try:
            await self._all(batch)
        except StorageUnavailableError as error:
            _logger.warning("an erasure is left to the next sweep: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = spawn_unbound(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("an erasure failed; the next sweep tries again", exc_info=error)

    async def _sweep_for_ever(self) -> None:
        pause = SWEEP if self._retention is None else min(SWEEP, self._retention / SWEEPS_PER_RETENTION)
        while True:
            try:
                await self.sweep()
            except StorageUnavailableError as error:
                _logger.warning("nothing could be erased now: %s", error)
            except Exception:  # what there is to erase could not be found: it must not end all erasing
                _logger.exception("a sweep failed; the next one tries again")
            await asyncio.sleep(max(pause, SOONEST_SWEEP).total_seconds())


def _context(user_id: str, thread_id: str | None = None) -> UserExecutionContext:
    return UserExecutionContext.from_request(user_id, thread_id or str(uuid4()), str(uuid4()))
