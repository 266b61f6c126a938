"""Progress: what is told while a proof runs."""

from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from netra_golden_path.progress import Status, shown


def test_a_status_tells_phase_count_and_trouble() -> None:
    """Failures and leaks are told when there are any, and a new phase counts anew."""
    status = Status()
    assert str(status) == "starting"
    status.enter("journeys", 20)
    status.done = 3
    assert str(status) == "journeys: 3 of 20"
    status.failed, status.leaks = 2, 1
    assert str(status) == "journeys: 3 of 20, 2 failed, 1 leaks"
    status.enter("another", 5)
    assert str(status) == "another: 0 of 5"


@pytest.mark.parametrize("is_terminal", [False, True])
async def test_the_status_is_shown_at_once(is_terminal: bool) -> None:
    """A line, or on a terminal a bar, appears as soon as the block begins."""
    text, status = io.StringIO(), Status()
    status.enter("journeys", 20)
    async with shown(status, Console(file=text, force_terminal=is_terminal, width=100)):
        while not text.getvalue():  # noqa: ASYNC110 the display writes at its first step
            await asyncio.sleep(0)
    assert "journeys" in text.getvalue()
    assert "20" in text.getvalue()
    assert ("\x1b" in text.getvalue()) is is_terminal


async def test_an_error_in_the_block_is_raised() -> None:
    """The display hides nothing."""

    async def fail() -> None:
        async with shown(Status(), Console(file=io.StringIO())):
            raise RuntimeError("in the block")

    with pytest.raises(RuntimeError, match="in the block"):
        await fail()
