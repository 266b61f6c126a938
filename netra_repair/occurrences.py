"""Where the project's text names attributes: found once for all names, so that single names need no search."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from netra_repair.line_nodes import lines_of
from netra_repair.project import Project
from netra_repair.source import Span, bytes_of

_IDENTIFIER = rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*"
_NAME = rb"(" + _IDENTIFIER + rb")"
_DOTTED = re.compile(rb"(?<![\w.\x80-\xff\])}'\"])" + _IDENTIFIER + rb"(?:\." + _IDENTIFIER + rb")*\Z")
_LONGEST = 200  # bytes of a dotted name that are looked at
_READ = re.compile(rb"\.[ \t]*" + _NAME)
# `x.name = …`, `x.name += …`, `x.name: T = …`, `x.name, y = …`, `for x.name in …`.
_ASSIGNED = re.compile(
    rb"\.[ \t]*" + _NAME + rb"(?=[ \t]*(?:(?:[-+*/|&^%@]|//|\*\*|<<|>>)?=(?!=)|:[^=\n(){}]*=(?!=)"
    rb"|,[^=\n()]*=(?!=)|[ \t]in\b))"
)
# `setattr(x, "name", …)`, `object.__setattr__(x, "name", …)`.
_SET = re.compile(rb"setattr(?:__)?\s*\([^'\"]{0,200}['\"]" + _NAME + rb"['\"]")
# In a file with one of these, a name in quotes may be made by a patch.
_MADE_BY_PATCH = re.compile(rb"\b(?:create[ \t]*=[ \t]*True|raising[ \t]*=[ \t]*False)\b")
_QUOTED = re.compile(rb"['\"](?:[\w.]*\.)?" + _NAME + rb"['\"]")


class Occurrences:
    """An index of attribute names by file.

    Args:
        project: whose sources.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._read: dict[str, dict[str, int]] = {}
        self._written: dict[str, set[str]] = {}
        self._stale = set(project.sources)

    def reading(self, name: str) -> list[str]:
        """The files whose text has the name behind a dot, in order."""
        self.prepare()
        return sorted(self._read.get(name, ()))

    def reads(self, name: str) -> int:
        """How often the name stands behind a dot, in all files."""
        self.prepare()
        return sum(self._read.get(name, {}).values())

    def writing(self, name: str) -> list[str]:
        """The files whose text may set an attribute of the name, in order; the syntax tree says whether it does."""
        self.prepare()
        return sorted(self._written.get(name, ()))

    def lines(self, path: str, name: str) -> Sequence[int]:
        """The lines, from 1, on which one of the files may have the name behind a dot."""
        return lines_of(self._data(path), re.compile(rb"(?<![\w\x80-\xff])%b(?![\w\x80-\xff])" % name.encode()))

    def writes(self, path: str, name: str) -> list[tuple[int, Span | None]]:
        """Where one of the files may set an attribute of the name.

        Returns:
            The offsets of the name's first byte, each with what stands left of the dot where that is a plain dotted
            name, "self" or "pkg.ctx.Ctx", and else None.
        """
        data, wanted = self._data(path), name.encode()
        return [
            (match.start(1), _dotted_before(data, match.start()) if pattern is _ASSIGNED else None)
            for pattern in _writing(data)
            for match in pattern.finditer(data)
            if match[1] == wanted
        ]

    def defining(self, name: str) -> bool:
        """Whether the text of a file may give a class or module something of the name."""
        self.prepare()
        word = re.escape(name.encode())
        made = re.compile(rb"\b(?:def|class)[ \t]+" + word + rb"\b|^[ \t]*" + word + rb"[ \t]*[:=](?!=)", re.MULTILINE)
        return name in self._written or any(made.search(self._data(path)) for path in self._project.sources)

    def prepare(self) -> None:
        """Looks for the names in the files that were not read yet, or have been written: every answer needs it."""
        for path in self._stale:
            data = self._data(path)
            for name, count in Counter(_READ.findall(data)).items():
                self._read.setdefault(name.decode("utf-8", "replace"), {})[path] = count
            for name in {name for pattern in _writing(data) for name in pattern.findall(data)}:
                self._written.setdefault(name.decode("utf-8", "replace"), set()).add(path)
        self._stale.clear()

    def forget(self, paths: Iterable[str]) -> None:
        """Reads files again before the next answer.

        Args:
            paths: relative to the project's root.
        """
        self._stale.update(paths)

    def _data(self, path: str) -> bytes:
        return bytes_of(self._project.root / path)


def _writing(data: bytes) -> Iterator[re.Pattern[bytes]]:
    """The patterns that may find something in a text; most texts have not a word of the others."""
    yield _ASSIGNED
    if b"setattr" in data:
        yield _SET
    if (b"create" in data or b"raising" in data) and _MADE_BY_PATCH.search(data):
        yield _QUOTED


def _dotted_before(data: bytes, dot: int) -> Span | None:
    """The plain dotted name that ends at a dot."""
    start = max(dot - _LONGEST, 0)
    name = _DOTTED.search(data, start, dot)
    return Span(name.start(), dot) if name is not None and name.start() > start else None
