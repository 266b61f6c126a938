"""Edits of a file's bytes. Decided on the syntax tree, made as splices of the original bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netra_repair.source import Source, Span


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """One splice.

    Attributes:
        span: the bytes that go; an empty span is an insertion.
        text: what comes in their place.
    """

    span: Span
    text: str


def spliced(source: Source, edits: Iterable[Edit]) -> bytes:
    """Applies edits to a file's bytes; every byte outside the spans stays.

    Args:
        source: the file.
        edits: in any order; equal ones count once.

    Returns:
        The new bytes, in the file's own encoding.

    Raises:
        ValueError: when two edits overlap or insert at the same place, a span lies outside the file, or a text cannot
            be written in the file's encoding.
    """
    parts: list[bytes] = []
    done = 0
    inserted: int | None = None
    for edit in sorted(set(edits)):
        start, end = edit.span.start, edit.span.end
        if not done <= start <= end <= len(source.data) or inserted == end:
            raise ValueError(f"{source.path}: an edit at bytes {start}–{end} overlaps another or the end")
        parts += [source.data[done:start], edit.text.encode(source.encoding)]
        done = end
        inserted = start if start == end else None
    return b"".join([*parts, source.data[done:]])
