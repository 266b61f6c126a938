"""What cancelled requests did to others, each built here as a defect that the storm finds, and absent from ours.

The rows are those of the table of published incidents that this project holds itself against.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from blockbuster import BlockBuster
from sqlalchemy import Connection, make_url

from benchmarks.cancellation import AGENTS, GENEROUS, Outcome, run
from netra_backend.app.config import Settings
from netra_backend.app.db.engine import Database
from netra_backend.app.db.roles import Role, act_as
from tests.support.database import Backend, backend
from tests.support.severed_connection import way_to

__all__ = ["backend"]

REQUESTS = 120
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def _free_to_block(blockbuster: BlockBuster | None) -> None:
    """The app starts, and the database is slow, in the test's own process."""
    if blockbuster is not None:
        blockbuster.deactivate()


@contextmanager
def _slow(backend: Backend, folder: Path) -> Iterator[Settings]:
    """Settings of a server whose database is slow below its driver."""
    told = backend.settings(folder).get("database_url")
    if told is None:
        yield Settings(data_dir=folder, agents=AGENTS, **GENEROUS)
        return
    url = make_url(told)
    with way_to(url.port or 0) as way:
        way.delay = 0.004
        slow = url.set(port=way.port).render_as_string(hide_password=False)
        yield Settings(data_dir=folder, database_url=slow, agents=AGENTS, **GENEROUS)


async def _storm(backend: Backend, folder: Path, patience: float = 5.0) -> Outcome:
    with _slow(backend, folder) as settings:
        return await run(settings, REQUESTS, seed=7, delay=0.001, longest=0.1, patience=patience)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ours(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a storm leaves of our build."""
    return await _storm(backend, tmp_path_factory.mktemp("ours"))


class _Lane:
    """A connection as the client of that time had it: whoever asks reads the next reply, whosever it is."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        self.questions: set[asyncio.Task[None]] = set()


def _one_reply_behind(patch: pytest.MonkeyPatch) -> None:
    """A cancelled reader leaves its reply in the connection, and the connection goes back into the pool."""
    read = Database._in_reader
    lanes: asyncio.Queue[_Lane] = asyncio.Queue()
    for _ in range(4):
        lanes.put_nowait(_Lane())

    async def in_reader(self: Database, *question: Any) -> Any:
        lane = await lanes.get()

        async def reply() -> None:
            try:
                lane.replies.put_nowait((await read(self, *question), None))
            except Exception as error:
                lane.replies.put_nowait((None, error))

        try:
            asking = asyncio.create_task(reply())
            lane.questions.add(asking)
            asking.add_done_callback(lane.questions.discard)
            value, error = await lane.replies.get()
        finally:
            lanes.put_nowait(lane)
        if error is not None:
            raise error
        return value

    patch.setattr(Database, "_in_reader", in_reader)


async def test_row_1_a_cancelled_read_does_not_shift_the_replies(
    ours: Outcome, backend: Backend, tmp_path: Path
) -> None:
    """After a storm everybody still reads the own nonce; a build whose connections are one reply behind is found."""
    assert ours.is_clean, ours
    assert ours.cancelled
    with pytest.MonkeyPatch.context() as patch:
        _one_reply_behind(patch)
        defective = await _storm(backend, tmp_path / "defective", patience=0)
    assert defective.foreign


def _left_in_the_middle(patch: pytest.MonkeyPatch) -> None:
    """A cancelled reader leaves its connection as it is: inside a transaction, and not given back."""
    left: list[Connection] = []  # what the garbage collector would otherwise give back
    threads = ThreadPoolExecutor(4)

    async def in_reader(self: Database, role: Role, user_id: str, work: Any) -> Any:
        loop = asyncio.get_running_loop()
        self.storage.read_engine.pool._timeout = 0.01  # type: ignore[attr-defined]  # a QueuePool's; else 30 s

        def take() -> Connection:
            connection = self.storage.read_engine.connect()
            left.append(connection)
            act_as(connection, role, user_id)
            return connection

        connection = await loop.run_in_executor(threads, take)
        value = await loop.run_in_executor(threads, work, connection)
        await loop.run_in_executor(threads, connection.close)
        return value

    original = Database.release

    def release(self: Database) -> None:
        for connection in left:
            connection.close()
        original(self)

    patch.setattr(Database, "_in_reader", in_reader)
    patch.setattr(Database, "release", release)


async def test_row_16_a_cancelled_statement_leaves_no_transaction_open(
    ours: Outcome, backend: Backend, tmp_path: Path
) -> None:
    """After a storm the pool is full and no connection inside a transaction; a build that leaves them is found."""
    assert (ours.checked_out, ours.in_transaction, ours.missing) == (0, 0, 0)
    assert ours.cancelled
    with pytest.MonkeyPatch.context() as patch:
        _left_in_the_middle(patch)
        defective = await _storm(backend, tmp_path / "defective", patience=0)
    assert defective.checked_out
    assert defective.failed
    assert backend.name == "sqlite" or defective.in_transaction
