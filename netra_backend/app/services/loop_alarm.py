"""An alarm for an event loop that is blocked: everybody waits then, and it does not show in any one user's times."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

BEATS_PER_LIMIT: Final = 4

_logger = logging.getLogger(__name__)


@contextmanager
def loop_alarm(seconds: float) -> Iterator[None]:
    """Log where the running event loop is blocked, as often as it is, while the block goes on.

    Args:
        seconds: how long one step of the loop may take; 0 for no alarm.
    """
    if not seconds:
        yield
        return
    alarm = _Alarm(asyncio.get_running_loop(), seconds)
    alarm.beat()
    watching = threading.Thread(target=alarm.watch, name="netra-loop-alarm", daemon=True)
    watching.start()
    try:
        yield
    finally:
        alarm.is_over.set()


class _Alarm:
    """The loop beats; a thread looks whether it does, and at the loop's stack when it does not."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._thread_id = threading.get_ident()
        self._last_beat = time.monotonic()
        self.is_over = threading.Event()

    def beat(self) -> None:
        self._last_beat = time.monotonic()
        if not self.is_over.is_set():
            self._loop.call_later(self._seconds / BEATS_PER_LIMIT, self.beat)

    def watch(self) -> None:
        told = 0.0
        while not self.is_over.wait(self._seconds / BEATS_PER_LIMIT):
            beat = self._last_beat
            silence = time.monotonic() - beat
            if silence > self._seconds and beat != told:
                told = beat
                stack = sys._current_frames().get(self._thread_id)
                where = "".join(traceback.format_stack(stack)) if stack else "the thread is gone\n"
                _logger.warning("the event loop has been blocked for %.2f s, here:\n%s", silence, where)
