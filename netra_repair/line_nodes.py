"""The nodes of an `ast` tree on some lines: found without walking the rest."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from netra_repair.source import Source, Span


def lines_of(data: bytes, pattern: re.Pattern[bytes]) -> Sequence[int]:
    """The lines, from 1, on which a pattern's matches begin.

    Args:
        data: of a file.
        pattern: what is looked for.
    """
    lines: list[int] = []
    line, behind = 1, 0
    for found in pattern.finditer(data):
        line += data.count(b"\n", behind, found.start())
        behind = found.start()
        if not lines or lines[-1] != line:
            lines.append(line)
    return lines


def nodes_on(tree: ast.AST, lines: Sequence[int]) -> Iterator[ast.AST]:
    """The nodes that reach over one of some lines.

    Positions inside f-strings are not to be trusted before Python 3.12: what is in them is left out.

    Args:
        tree: of a file.
        lines: from 1, in order.

    Yields:
        The nodes, in no order; those without a position, too.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            first, last = getattr(child, "lineno", None), getattr(child, "end_lineno", None)
            if isinstance(child, ast.JoinedStr):
                continue
            if decorators := getattr(child, "decorator_list", None):
                first = decorators[0].lineno
            if first is None or last is None or bisect_left(lines, first) < bisect_right(lines, last):
                waiting.append(child)


def span_of(source: Source, node: ast.expr) -> Span:
    """The bytes of an expression; ValueError when the tree is of another text."""
    start = source.offset_of_utf8(node.lineno, node.col_offset)
    return Span(start, source.offset_of_utf8(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset))
