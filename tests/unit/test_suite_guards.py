"""The guards that tests/conftest.py puts round every test do guard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blockbuster import BlockBuster, BlockingError

import netra_backend


@pytest.fixture
def sleep() -> Callable[[], None]:
    """A function that blocks and that seems to stand in the backend."""
    names: dict[str, Callable[[], None]] = {}
    place = Path(netra_backend.__path__[0]) / "made_up.py"
    exec(compile("import time\ndef sleep():\n    time.sleep(0.001)", place, "exec"), names)  # noqa: S102 its text is here
    return names["sleep"]


async def test_a_blocking_call_of_ours_on_the_event_loop_fails_the_test(sleep: Callable[[], None]) -> None:
    """Backend code that blocks the event loop raises."""
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        sleep()


async def test_a_blocking_call_of_ours_in_a_thread_is_right(sleep: Callable[[], None]) -> None:
    """The same code may block in a worker thread."""
    await asyncio.to_thread(sleep)


async def test_the_test_itself_may_block() -> None:
    """A test may read files and wait, as long as none of our code is on the stack."""
    time.sleep(0.001)  # noqa: ASYNC251 the promise
    assert Path(__file__).read_text()  # noqa: ASYNC240 the promise


async def test_a_test_that_has_to_block_can_say_so(blockbuster: BlockBuster, sleep: Callable[[], None]) -> None:
    """Deactivating the detector is the way out, for one test."""
    blockbuster.deactivate()
    sleep()


def test_a_synchronous_test_is_not_watched(blockbuster: BlockBuster | None) -> None:
    """Only asynchronous tests pay for the detector."""
    assert blockbuster is None
