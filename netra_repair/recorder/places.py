"""Where an exception was raised: the frames of its traceback, and the expression that failed."""

from __future__ import annotations

import linecache
import re
from itertools import islice
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

    from .job import Job

    Facts = dict[str, Any]
    Fallback = Callable[[str], tuple[str, int]]


HAS_COLUMNS = hasattr(CodeType, "co_positions")  # since Python 3.11
# What is asked for an attribute, and may pass that on.
FORWARDERS = ("__getattr__", "__getattribute__")


class Place(NamedTuple):
    """A frame of a traceback.

    Attributes:
        frame: the frame, with its variables.
        path: of its file relative to the project's root, with forward slashes; None for a library's.
        line: that failed, from 1.
        instruction: that failed: its offset in the code's bytes.
    """

    frame: FrameType
    path: str | None
    line: int
    instruction: int


def places_of(job: Job, traceback: TracebackType | None) -> Iterator[Place]:
    """The frames of a traceback, outermost first."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        line = traceback.tb_lineno or code.co_firstlineno
        yield Place(traceback.tb_frame, job.relative(code.co_filename), line, traceback.tb_lasti)
        traceback = traceback.tb_next


def without_forwarders(places: list[Place], name: str) -> list[Place]:
    """The frames up to the lookup itself, without the `__getattr__`s that were asked for the name."""
    while len(places) > 1:
        code, values = places[-1].frame.f_code, places[-1].frame.f_locals
        if code.co_name not in FORWARDERS:
            break
        if name not in [values.get(parameter) for parameter in code.co_varnames[: code.co_argcount]]:
            break
        places = places[:-1]
    return places


def is_from_below(traceback: TracebackType | None, counts: Callable[[CodeType], bool] | None = None) -> bool:
    """Whether what was raised came out of something that was called.

    Not where only a `__getattr__` was asked, for which the lookup itself failed.

    Args:
        traceback: from the frame that is asked about on.
        counts: which code counts as called; None for all.
    """
    inner = traceback.tb_next if traceback is not None else None
    while inner is not None:
        code = inner.tb_frame.f_code
        if code.co_name not in FORWARDERS and (counts is None or counts(code)):
            return True
        inner = inner.tb_next
    return False


def position(places: list[Place], kind: str, name: str, fallback: Fallback) -> Facts:
    """Where the project's code failed.

    Args:
        places: of the traceback.
        kind: of the cause.
        name: that is missing.
        fallback: from the missing name, path and line when no frame is the project's.

    Returns:
        The fields path, line, start, end and in_library of `failures.Raised`, positions as [line, column].
    """
    ours = [place for place in places if place.path is not None]
    if not ours:
        path, line = fallback(name)
        return {"path": path, "line": line, "start": None, "end": None, "in_library": True}
    place = ours[-1]
    in_library = place is not places[-1]
    start, end = _span(place)
    if start is not None and end is not None and not in_library:
        end = _end_of_name(place.frame.f_code.co_filename, kind, name, start, end)
    return {"path": place.path, "line": place.line, "start": start, "end": end, "in_library": in_library}


def _span(place: Place) -> tuple[list[int] | None, list[int] | None]:
    """Start and end of the failed expression, lines and columns of code points from 1; None before Python 3.11."""
    code: Any = place.frame.f_code
    if not HAS_COLUMNS or place.instruction < 0:
        return None, None
    line, end_line, column, end_column = next(islice(code.co_positions(), place.instruction // 2, None))
    if line is None or end_line is None or column is None or end_column is None:
        return None, None
    return _code_points(code, line, column), _code_points(code, end_line, end_column)


def end_of(code: CodeType, line: int | None, column: int | None) -> tuple[int, int] | None:
    """Where an instruction's expression ends, line and column of code points from 1; None when that is not known."""
    if line is None or column is None:
        return None
    _, points = _code_points(code, line, column)
    return line, points


def _code_points(code: CodeType, line: int, column: int) -> list[int]:
    """A position whose column came in bytes of UTF-8."""
    before = linecache.getline(code.co_filename, line).encode("utf-8", "surrogatepass")[:column]
    return [line, len(before.decode("utf-8", "replace")) + 1]


def _end_of_name(filename: str, kind: str, name: str, start: list[int], end: list[int]) -> list[int] | None:
    """Where the name ends, checked on the text; None when the text does not say so. A call keeps its own end."""
    if kind == "missing-attribute":
        before = linecache.getline(filename, end[0])[: end[1] - 1]
        spelled = re.sub(r"^_\w*?(?=__)", "", name)  # a private name as it is written in its class
        return end if re.search(rf"(?<!\w)(?:{re.escape(name)}|{re.escape(spelled)})$", before) else None
    if kind != "missing-import":
        return end
    imported = False
    for line in range(start[0], end[0] + 1):
        for word in re.finditer(r"\w+", linecache.getline(filename, line)):
            if imported and word.group() == name:
                return [line, word.end() + 1]
            imported = imported or (word.group() == "import" and [line, word.start() + 1] > start)
    return None
