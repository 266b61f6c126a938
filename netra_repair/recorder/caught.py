"""What was raised and caught while a test ran: a tester of command lines or a server may keep it from the test."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .places import is_from_below
from .raised import raised_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from .job import Job
    from .places import Facts

_TELLING = (AttributeError, ImportError, TypeError)
_MOST = 200  # places; more than that tell nothing new


class Caught:
    """Hears every exception in the project's code that may speak of something undefined, once for each place.

    Keeps no exception, which would keep the variables of its frames alive, only facts of it.

    Attributes:
        facts: those of what a test has raised so far, whether or not it was caught.

    Args:
        job: knows which files are the project's.
    """

    def __init__(self, job: Job) -> None:
        self.facts: list[Facts] = []
        self._job = job
        self._heard: set[tuple[int, int]] = set()
        self._codes: list[Any] = []  # keeps their ids their own

    def forget(self) -> None:
        """Begins with another test."""
        self.facts = []
        self._heard.clear()
        self._codes.clear()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hears, also what is raised in new threads; costs time, more before Python 3.12."""
        monitoring: Any = getattr(sys, "monitoring", None)
        if monitoring is None:
            before = sys.gettrace()
            sys.settrace(self._called)
            threading.settrace(self._called)
            try:
                yield
            finally:
                sys.settrace(before)
                threading.settrace(before)
            return
        tool = next((number for number in (4, 3, 1, 0) if monitoring.get_tool(number) is None), None)
        if tool is None:
            yield
            return
        monitoring.use_tool_id(tool, "netra-repair")
        monitoring.register_callback(tool, monitoring.events.RAISE, self._raises)
        monitoring.set_events(tool, monitoring.events.RAISE)
        try:
            yield
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        if self._job.relative(frame.f_code.co_filename) is None:
            return None
        frame.f_trace_lines = False
        return self._inside

    def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "exception":
            self._hear(argument[1], argument[2])
        return self._inside

    def _raises(self, code: Any, offset: int, error: BaseException) -> None:
        if self._job.relative(code.co_filename) is not None:
            self._hear(error, error.__traceback__)

    def _hear(self, error: BaseException, traceback: TracebackType | None) -> None:
        if traceback is None or not isinstance(error, _TELLING):
            return
        with suppress(Exception):  # it would take the place of what was raised
            self._note(error, traceback)

    def _note(self, error: BaseException, traceback: TracebackType) -> None:
        """Takes what was raised in a frame of the project."""
        if is_from_below(traceback, lambda code: self._job.relative(code.co_filename) is not None):
            return  # heard there
        place = id(traceback.tb_frame.f_code), traceback.tb_lasti
        if place not in self._heard and len(self._heard) < _MOST:
            self._heard.add(place)
            self._codes.append(traceback.tb_frame.f_code)
            self.facts += raised_at(self._job, error, traceback)
