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
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert "test_a_block_is_told_with_its_place" in record.getMessage()
        assert "blocked for 0." in record.getMessage()


async def test_a_loop_that_waits_is_not_blocked(caplog: pytest.LogCaptureFixture) -> None:
    """Waiting is no block, and without a limit nobody watches."""
    with caplog.at_level(logging.WARNING), loop_alarm(0.1), loop_alarm(0):
        assert [thread.name for thread in threading.enumerate()].count("netra-loop-alarm") == 1
        await asyncio.sleep(0.25)
    assert caplog.records == []
