"""Unified diffs of images, on bytes: what `git apply` and `patch` take, whatever the encoding and the line ends.

The lines that change are known from the edits, so nothing has to be compared.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from netra_repair.edits import Edit
from netra_repair.images import Image, spliced_part
from netra_repair.source import Span

_CONTEXT = 3
# What git puts between quotes, so that a name with a line feed in it cannot pass for a line of the patch.
_ESCAPES = {b'"': b'\\"', b"\\": b"\\\\", b"\n": b"\\n", b"\t": b"\\t", b"\r": b"\\r"}
_QUOTED = re.compile(rb'["\\\x00-\x1f\x7f]')


def unified(images: Iterable[Image]) -> bytes:
    """The diff as bytes, each file's lines in the file's own encoding.

    Args:
        images: the files; one whose bytes stay the same gives nothing.

    Returns:
        A patch for the project's root: `git apply` or `patch -p1` there.
    """
    return b"".join(line for image in images for line in (*_header(image), *_body(image)))


def displayed(images: Iterable[Image]) -> str:
    """The diff as text, for people: each file's lines decoded by the file's own encoding."""
    return "".join(
        b"".join(_header(image)).decode("utf-8", "replace")
        + b"".join(_body(image)).decode(image.source.encoding, "replace")
        for image in images
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """Lines that go and lines that come in their place; the first one's index counts from 0 in the old file."""

    first: int
    old: Sequence[bytes]
    new: Sequence[bytes]

    @property
    def end(self) -> int:
        return self.first + len(self.old)


def _header(image: Image) -> Iterator[bytes]:
    if image.after == image.source.data:
        return
    old, new = _name(f"a/{image.path}"), _name(f"b/{image.path}")
    # As git does: the tab tells patch that the blanks before it belong to the name.
    end = b"\t\n" if b" " in old else b"\n"
    yield b"diff --git " + old + b" " + new + b"\n"
    yield b"--- " + old + end
    yield b"+++ " + new + end


def _name(path: str) -> bytes:
    raw = os.fsencode(path)
    if not _QUOTED.search(raw):
        return raw
    return b'"' + _QUOTED.sub(lambda found: _ESCAPES.get(found[0]) or b"\\%03o" % ord(found[0]), raw) + b'"'


def _body(image: Image) -> Iterator[bytes]:
    lines = _split(image.source.data)
    shift = 0
    for hunk in _hunks(_changes(image, lines)):
        first = max(0, hunk[0].first - _CONTEXT)
        end = min(len(lines), hunk[-1].end + _CONTEXT)
        grown = sum(len(change.new) - len(change.old) for change in hunk)
        yield b"@@ -%s +%s @@\n" % (_range(first, end - first), _range(first + shift, end - first + grown))
        shift += grown
        at = first
        for change in hunk:
            yield from (_line(b" ", line) for line in lines[at : change.first])
            yield from (_line(b"-", line) for line in change.old)
            yield from (_line(b"+", line) for line in change.new)
            at = change.end
        yield from (_line(b" ", line) for line in lines[at:end])


def _split(data: bytes) -> list[bytes]:
    """Lines as git and patch see them: only a line feed ends one, a carriage return before it is part of the line."""
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _changes(image: Image, lines: Sequence[bytes]) -> list[_Change]:
    starts = [0, *accumulate(len(line) for line in lines)]
    last_line = max(0, len(lines) - 1)

    def line_of(offset: int) -> int:
        return min(bisect_right(starts, offset) - 1, last_line)

    groups: list[tuple[int, int, list[Edit]]] = []
    for edit in image.edits:
        first, last = line_of(edit.span.start), line_of(edit.span.end)
        if groups and first <= groups[-1][1]:
            before, until, edits = groups[-1]
            groups[-1] = (before, max(until, last), [*edits, edit])
        else:
            groups.append((first, last, [edit]))
    changes = []
    for first, last, edits in groups:
        part = Span(starts[first], starts[min(last + 1, len(lines))])
        changes.append(_Change(first, lines[first : last + 1], _split(spliced_part(image.source, part, edits))))
    return [change for change in changes if change.old != change.new]


def _hunks(changes: Iterable[_Change]) -> list[list[_Change]]:
    hunks: list[list[_Change]] = []
    for change in changes:
        if hunks and change.first - hunks[-1][-1].end <= 2 * _CONTEXT:
            hunks[-1].append(change)
        else:
            hunks.append([change])
    return hunks


def _range(first: int, count: int) -> bytes:
    return b"%d,%d" % (first + 1 if count else first, count)


def _line(sign: bytes, line: bytes) -> bytes:
    return sign + line if line.endswith(b"\n") else sign + line + b"\n\\ No newline at end of file\n"
