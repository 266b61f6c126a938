"""The alarm for a blocked event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from netra_backend.app.services.loop_alarm import loop_alarm


async def test_a_block_is_told_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """While a step of the loop takes too long the log tells where, once for each block."""
    with caplog.at_level(logging.WARNING), loop_alarm(0.02):
        for _ in range(2):
            started = time.monotonic()
            while time.monotonic() - started < 0.15:
                pass  # a block, in this very function
            await asyncio.sleep(0.03)
    told = [record.getMessage() for record in caplog.records]  # a busy machine may block the loop elsewhere, too
    here = [text for text in told if "test_a_block_is_told_with_its_place" in text]
    assert len(here) == 2
    assert all("blocked for 0." in text for text in here)


async def test_a_loop_that_waits_is_not_blocked(caplog: pytest.LogCaptureFixture) -> None:
    """Waiting is no block, and without a limit nobody watches."""
    with caplog.at_level(logging.WARNING), loop_alarm(0.6), loop_alarm(0):
        assert [thread.name for thread in threading.enumerate()].count("netra-loop-alarm") == 1
        await asyncio.sleep(0.9)
    assert caplog.records == []
