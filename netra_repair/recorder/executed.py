"""Which of some watched lines ran in phases that ended well, and which of their lookups and calls succeeded there.

A line says little of what stands in it: `a and b.c` may stop before the dot, and what `b.c` raises may be caught, in
the test or by what it tests. So each lookup and each call of a line is told by itself, where Python knows its columns.
"""

from __future__ import annotations

import dis
import functools
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from .places import HAS_COLUMNS, end_of, is_from_below

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from .job import Job

    Line = tuple[str, int]
    Ends = dict[int, tuple[int, int]]

# What looks an attribute up, and what calls; the names differ between versions.
_TELLING = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "CALL", "CALL_KW", "CALL_FUNCTION_EX")


class Watch:
    """Watches with `sys.monitoring`, before Python 3.12 with a tracer; code without a watched line runs undisturbed.

    Attributes:
        executed: path and line.
        evaluated: path, line and column just behind a lookup or call that did not raise by itself; columns from 1 of
            code points.
        working: False once another tracer has taken the only place there is, so that nothing can be told.

    Args:
        job: names the lines.
    """

    def __init__(self, job: Job) -> None:
        self.executed: set[Line] = set()
        self.evaluated: set[tuple[str, int, int]] = set()
        self.working = True
        self._seen: set[Line] = set()
        self._succeeded: Counter[tuple[str, int, int]] = Counter()
        self._relative = job.relative
        self._watched = {path: frozenset(lines) for path, lines in job.watched.items()}
        self._codes: dict[int, tuple[CodeType, bool, Ends]] = {}  # by id: a code's own hash is slow
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
        """Keeps what a phase that passed has seen, forgets that of another."""
        if passed:
            self.executed |= self._seen
            self.evaluated.update(end for end, count in self._succeeded.items() if count > 0)
        self._seen = set()
        self._succeeded = Counter()

    def _path(self, code: CodeType) -> str | None:
        """The file of code that holds a watched line, else None."""
        path = self._relative(code.co_filename)
        if path not in self._watched:
            self._unwatched.add(code.co_filename)
            return None
        if id(code) not in self._codes:
            lines = self._watched[path]
            holds = any(line in lines for _, line in dis.findlinestarts(code))
            self._codes[id(code)] = (code, holds, _ends(code, lines) if holds else {})
        return path if self._codes[id(code)][1] else None

    def _count(self, path: str, code: CodeType, offset: int, number: int) -> None:
        """Counts a lookup or call that begins, or takes one back that failed."""
        end = self._codes[id(code)][2].get(offset)
        if end is not None:
            self._succeeded[(path, *end)] += number

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename in self._unwatched:
            return None
        path = self._path(frame.f_code)
        if path is None:
            return None
        lines = self._watched[path]

        def inside(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line":
                frame.f_trace_opcodes = frame.f_lineno in lines
                if frame.f_trace_opcodes:
                    self._seen.add((path, frame.f_lineno))
            elif event == "opcode":
                self._count(path, frame.f_code, frame.f_lasti, 1)
            elif event == "exception" and frame.f_trace_opcodes and not is_from_below(argument[2]):
                self._count(path, frame.f_code, frame.f_lasti, -1)
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
        monitoring.register_callback(tool, events.INSTRUCTION, functools.partial(self._runs, monitoring))
        monitoring.register_callback(tool, events.RAISE, self._raises)
        monitoring.set_events(tool, events.PY_START | events.RAISE)

    def _starts(self, monitoring: Any, tool: int, code: CodeType, _: int) -> Any:
        if self._path(code) is not None:
            monitoring.set_local_events(tool, code, monitoring.events.LINE | monitoring.events.INSTRUCTION)
        return monitoring.DISABLE

    def _reaches(self, monitoring: Any, code: CodeType, line: int) -> Any:
        path = self._path(code)
        if path is None or line not in self._watched[path] or (path, line) in self.executed:
            return monitoring.DISABLE
        self._seen.add((path, line))
        return None

    def _runs(self, monitoring: Any, code: CodeType, offset: int) -> Any:
        path = self._path(code)
        if path is None or offset not in self._codes[id(code)][2]:
            return monitoring.DISABLE
        self._count(path, code, offset, 1)
        return None

    def _raises(self, code: CodeType, offset: int, error: BaseException) -> None:
        if id(code) not in self._codes or is_from_below(error.__traceback__):
            return
        path = self._path(code)
        if path is not None:
            self._count(path, code, offset, -1)


def _ends(code: Any, lines: frozenset[int]) -> Ends:
    """Line and column just behind each lookup and call of some lines; nothing before Python 3.11.

    By the offsets of the instruction and of the caches behind it, where some versions say that it failed.
    """
    found: Ends = {}
    if not HAS_COLUMNS:
        return found
    instructions = list(dis.get_instructions(code))
    behind = [*(each.offset for each in instructions[1:]), len(code.co_code)]
    for index, instruction in enumerate(instructions):
        positions: Any = instruction.positions
        if instruction.opname in _TELLING and positions is not None and positions.lineno in lines:
            end = end_of(code, positions.end_lineno, positions.end_col_offset)
            if end is not None:
                found.update(dict.fromkeys(range(instruction.offset, behind[index]), end))
    return found
