"""Which of some watched lines ran in phases that ended well: was a changed place run by any test?"""

from __future__ import annotations

import dis
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from .job import Job


class Watch:
    """Watches with `sys.monitoring`, before Python 3.12 with a tracer; code without a watched line runs undisturbed.

    Attributes:
        executed: path and line.
        working: False once another tracer has taken the only place there is, so that nothing can be told.

    Args:
        job: names the lines.
    """

    def __init__(self, job: Job) -> None:
        self.executed: set[tuple[str, int]] = set()
        self.working = True
        self._seen: set[tuple[str, int]] = set()
        self._relative = job.relative
        self._watched = {path: frozenset(lines) for path, lines in job.watched.items()}
        self._codes: dict[int, tuple[CodeType, bool]] = {}  # by id: a code's own hash is slow
        self._unwatched: set[str] = set()  # most calls are into these files
        self._monitoring: Any = getattr(sys, "monitoring", None)
        if self._monitoring is not None:
            self._monitor(self._monitoring)
        self.resume()

    def resume(self) -> None:
        """Traces again where a test has put its own tracer in the place, and taken it away."""
        if self._monitoring is not None:
            return
        tracer = sys.gettrace()
        if tracer is None:
            sys.settrace(self._called)
            threading.settrace(self._called)
        elif tracer != self._called:
            self.working = False

    def end_phase(self, passed: bool) -> None:
        """Keeps the lines of a phase that passed, forgets those of another."""
        if passed:
            self.executed |= self._seen
        self._seen = set()

    def _path(self, code: CodeType) -> str | None:
        """The file of code that holds a watched line, else None."""
        path = self._relative(code.co_filename)
        if path not in self._watched:
            self._unwatched.add(code.co_filename)
            return None
        if id(code) not in self._codes:
            lines = self._watched[path]
            self._codes[id(code)] = (code, any(line in lines for _, line in dis.findlinestarts(code)))
        return path if self._codes[id(code)][1] else None

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename in self._unwatched:
            return None
        path = self._path(frame.f_code)
        if path is None:
            return None
        lines = self._watched[path]

        def inside(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line" and frame.f_lineno in lines:
                self._seen.add((path, frame.f_lineno))
            return inside

        return inside

    def _monitor(self, monitoring: Any) -> None:
        tool = next((number for number in (3, 4, 1, 0) if monitoring.get_tool(number) is None), None)
        if tool is None:
            self.working = False
            return
        monitoring.use_tool_id(tool, "netra-repair")
        events = monitoring.events
        monitoring.register_callback(tool, events.PY_START, functools.partial(self._starts, monitoring, tool))
        monitoring.register_callback(tool, events.LINE, functools.partial(self._reaches, monitoring))
        monitoring.set_events(tool, events.PY_START)

    def _starts(self, monitoring: Any, tool: int, code: CodeType, _: int) -> Any:
        if self._path(code) is not None:
            monitoring.set_local_events(tool, code, monitoring.events.LINE)
        return monitoring.DISABLE

    def _reaches(self, monitoring: Any, code: CodeType, line: int) -> Any:
        path = self._path(code)
        if path is None or line not in self._watched[path] or (path, line) in self.executed:
            return monitoring.DISABLE
        self._seen.add((path, line))
        return None
