"""How long this process is the only one that serves the database."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from .errors import DatabaseInUseError, StorageUnavailableError
from .storage import Storage

LOOK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.2
LEASE_SECONDS: Final = 5.0
"""How long an answer of the database counts: less than it takes the database to give the lock to somebody else, when
the way to it is cut and neither side is told."""

_logger = logging.getLogger(__name__)


class Tenure:
    """The right to begin runs, and to take up those of a server that is dead, since no other server lives.

    On SQLite it is the file's lock and cannot be lost. On PostgreSQL it is a lock that ends with its connection; when
    that breaks, no run is begun until it is there again, and none at all once another server has it. What is written
    for runs that go on is fenced by their attempts, as always.

    A database that nobody serves, as the commands `netra db` use it, has no tenure to lose.

    Args:
        storage: the database.
        clock: monotonic, in seconds.

    Attributes:
        failure: why it is over for good; None as long as it is not.
    """

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._clock = clock
        self._is_needed = False
        self._is_held = False
        self._asked_at = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: DatabaseInUseError | None = None

    def begin(self, wait_seconds: float) -> None:
        """Become the one that serves; blocks, and raises as `Storage.serve`."""
        self._storage.serve(wait_seconds)
        self._is_needed = self._storage.is_shared
        self._is_held = True
        self._asked_at = self._clock()

    async def watch(self, lost: Callable[[], object]) -> None:
        """Watch over it from now on, in a thread.

        Args:
            lost: called on the event loop once another server has it: this one must end.

        Raises:
            DatabaseInUseError: another server has it already.
        """
        if self._is_needed:
            loop = asyncio.get_running_loop()
            await asyncio.to_thread(self._look, 0.0)
            self._thread = threading.Thread(target=self._work, args=(loop, lost), name="netra-tenure", daemon=True)
            self._thread.start()

    def _work(self, loop: asyncio.AbstractEventLoop, lost: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                self._look(LOOK_SECONDS)
            except DatabaseInUseError as error:
                self._is_held = False
                self.failure = error
                _logger.critical("this server ends: its connection to the database was lost, and %s", error)
                loop.call_soon_threadsafe(lost)
                return
            except Exception:  # nobody begins runs meanwhile, and the next look may do better
                self._is_held = False
                _logger.exception("whether this server has the database for itself cannot be told now")
            if not self._is_held:
                self._stop.wait(RETRY_SECONDS)

    def _look(self, seconds: float) -> None:
        asked_at = self._clock()
        self._is_held = self._storage.watch(seconds, self._stop)
        self._asked_at = asked_at

    @property
    def is_held(self) -> bool:
        """Whether runs may be begun."""
        return not self._is_needed or (self._is_held and self._clock() - self._asked_at < LEASE_SECONDS)

    def check(self) -> None:
        """See that runs may be begun; raises StorageUnavailableError when another server may live."""
        if not self.is_held:
            raise StorageUnavailableError("the lock that keeps other servers away is lost")

    def end(self) -> None:
        """Watch no more; blocks for a moment."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
