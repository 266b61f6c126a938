"""A unified diff, taken apart for display."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class LineKind(StrEnum):
    """What a line of a diff is."""

    FILE = "file"
    HUNK = "hunk"
    ADDED = "added"
    REMOVED = "removed"
    CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a diff.

    Attributes:
        kind: what it is.
        text: with its mark, without its line end.
    """

    kind: LineKind
    text: str


@dataclass(frozen=True, slots=True)
class FileDiff:
    """What a diff says of one file.

    Attributes:
        path: of the new file, without the "b/"; escapes that git puts into strange names are left as they are.
        lines: from the first line about the file on.
    """

    path: str
    lines: tuple[DiffLine, ...]

    def count(self, kind: LineKind) -> int:
        """How many lines of a kind there are."""
        return sum(line.kind is kind for line in self.lines)


def files(diff: str) -> tuple[FileDiff, ...]:
    """Takes a diff apart by file, in its own order."""
    parts: list[list[DiffLine]] = []
    for line in lines(diff):
        if not parts or (line.kind is LineKind.FILE and parts[-1][-1].kind is not LineKind.FILE):
            parts.append([])
        parts[-1].append(line)
    return tuple(FileDiff(_path(part), tuple(part)) for part in parts)


def lines(diff: str) -> Iterator[DiffLine]:
    """Tells what each line is, by the lengths that hunks declare: a removed "-- x" looks like the name of a file.

    Args:
        diff: a unified diff; lines end with a line feed only, whatever else they hold.

    Yields:
        Its lines in order.
    """
    old = new = 0
    for text in diff.removesuffix("\n").split("\n") if diff else ():
        if old <= 0 and new <= 0 and not text.startswith("\\"):
            hunk = _HUNK.match(text)
            if hunk:
                old, new = (int(length or 1) for length in hunk.groups())
            yield DiffLine(LineKind.HUNK if hunk else LineKind.FILE, text)
            continue
        kind = {"+": LineKind.ADDED, "-": LineKind.REMOVED}.get(text[:1], LineKind.CONTEXT)
        if not text.startswith("\\"):
            old -= kind is not LineKind.ADDED
            new -= kind is not LineKind.REMOVED
        yield DiffLine(kind, text)


def _path(part: list[DiffLine]) -> str:
    names = [
        line.text[4:].partition("\t")[0] for line in part if line.kind is LineKind.FILE and line.text[:4] == "+++ "
    ]
    return names[-1].strip('"').removeprefix("b/") if names else ""
