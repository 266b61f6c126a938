"""The smallest whole statements around some places of a file, found by the running Python's own parser."""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netra_repair.source import Position, Source, Span

_REST_OF_LINE = re.compile(r"[ \t\f]*(?:#.*)?")


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """Whole lines of a file that hold one statement and nothing else.

    Attributes:
        span: the lines, from the beginning of the first to the beginning of the one behind the last.
        indented: whether the statement is inside another one.
    """

    span: Span
    indented: bool


def module_of(source: Source) -> ast.Module | None:
    """The file as the running Python parses it; None when it does not, which newer grammar is no fault of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the user's code, which others tell
        try:
            return ast.parse(source.data)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def pieces_around(source: Source, module: ast.Module, spans: Iterable[Span]) -> Sequence[Piece]:
    """Finds for each place the smallest statement that has its lines to itself.

    What comes before such a statement leaves the parser where any statement may begin, and what comes behind it begins
    with another one, or ends the block. So when its text changes, and parses again as one statement, nothing else in
    the file is parsed in another way.

    Args:
        source: the file.
        module: the same file, parsed.
        spans: the places.

    Returns:
        The pieces, in order of position, none inside another; the whole file where no statement holds a place.
    """
    found: set[Piece] = set()
    for span in spans:
        first, last = source.position(span.start).line, source.position(span.end).line
        found.add(_smallest(source, module.body, first, last, indented=False) or _whole(source))
    widest = sorted(found, key=lambda piece: (piece.span.start, -piece.span.end))
    outer: list[Piece] = []
    for piece in widest:
        if not outer or piece.span.start >= outer[-1].span.end:
            outer.append(piece)
    return outer


def _whole(source: Source) -> Piece:
    return Piece(Span(source.offset(Position(1, 1)), len(source.data)), indented=False)


def _smallest(source: Source, block: Sequence[ast.stmt], first: int, last: int, *, indented: bool) -> Piece | None:
    index = bisect_right(block, first, key=_begin) - 1
    if index < 0 or last > (end := block[index].end_lineno or 0):
        return None
    for inner in _blocks(block[index]):
        piece = _smallest(source, inner, first, last, indented=True)
        if piece is not None:
            return piece
    return _piece(source, block[index], _begin(block[index]), end, indented=indented)


def _begin(statement: ast.stmt) -> int:
    """The first line, with decorators."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _blocks(statement: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, None)
        if isinstance(block, list):
            yield block
    for name in ("handlers", "cases"):
        for part in getattr(statement, name, ()):
            yield from _blocks(part)


def _piece(source: Source, statement: ast.stmt, begin: int, end: int, *, indented: bool) -> Piece | None:
    """The statement's lines, unless it shares them with another one."""
    start = source.offset(Position(begin, 1))
    word = start if begin < statement.lineno else source.offset_of_utf8(begin, statement.col_offset)
    # To `ast` an `elif` is an `if` of its own.
    if source.slice(Span(start, word)).strip() or source.data.startswith(b"elif", word):
        return None
    behind = source.index_of_offset(source.offset_of_utf8(end, statement.end_col_offset or 0))
    rest = _REST_OF_LINE.match(source.text, behind)
    until = rest.end() if rest else behind
    if source.text[until : until + 1] not in ("", "\n", "\r"):
        return None
    newline = 2 if source.text.startswith("\r\n", until) else 1
    return Piece(Span(start, source.offset_of_index(min(until + newline, len(source.text)))), indented)
