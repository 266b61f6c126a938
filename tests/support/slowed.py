"""Databases whose every step takes a while, below the driver: what asks them cannot tell why it waits."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from sqlalchemy import event, make_url

from netra_backend.app.db.storage import Storage
from tests.support.database import Backend, PostgresDatabases
from tests.support.severed_connection import way_to

LONGEST_PAUSE_S: Final = 0.002
STEPS: Final = 40
"""After how many instructions of SQLite's machine a statement pauses; one row by its key takes about as many."""


class Pauses:
    """Waits of random lengths, from a seed; many threads may take them.

    Attributes:
        are_on: whether they are taken.
        count: how many were taken.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._lock = threading.Lock()
        self.are_on = False
        self.count = 0

    def __call__(self) -> None:
        """Wait."""
        if not self.are_on:
            return
        with self._lock:
            seconds = self._random.uniform(0, LONGEST_PAUSE_S)
            self.count += 1
        time.sleep(seconds)


@contextmanager
def slowed(backend: Backend, folder: Path, seed: int) -> Iterator[tuple[str, Callable[[Storage], None], Pauses]]:
    """A way to a folder's database that takes its time, once the pauses are on.

    Args:
        backend: the kind of database.
        folder: whose.
        seed: of the waits.

    Yields:
        The URL by which to open it, what to tell the storage that was opened, and the waits.
    """
    pauses = Pauses(seed)
    url = make_url(backend.url(folder))
    if not isinstance(backend, PostgresDatabases):
        yield url.render_as_string(hide_password=False), lambda storage: _slow_down(storage, pauses), pauses
        return
    with way_to(backend.server.port, pauses) as way:
        yield url.set(port=way.port).render_as_string(hide_password=False), lambda _storage: None, pauses


def _slow_down(storage: Storage, pauses: Pauses) -> None:
    """Let SQLite's machine pause within its statements."""

    def pause() -> int:
        pauses()
        return 0  # go on

    def lent(connection: sqlite3.Connection, _record: Any, _proxy: Any) -> None:
        connection.set_progress_handler(pause, STEPS)

    for engine in (storage.read_engine, storage.write_engine):
        event.listen(engine, "checkout", lent)
