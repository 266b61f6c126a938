"""Excerpts: a file without the functions and classes that hold no place of interest.

What a place is guarded by, imported from or kept in stands around it or at the module's own level; the functions beside
it say nothing of it. Left out, they need no parsing, which LibCST takes some twenty times as long for as `ast`.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netra_repair.outline_reader import parsed
from netra_repair.source import Source

# In a function that sets names of the module, a place elsewhere may find its guard.
_REACHES_OUT = re.compile(r"(?:^|[:;])[ \t\f]*global[ \t]", re.MULTILINE)

Stretch = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Block:
    """A function or class with its decorators, on lines of its own.

    Attributes:
        start: the beginning of its first line, as an index into the file's text.
        end: the beginning of the line behind it.
        inner: what stands directly in the body of a class.
        is_filled: whether the body of a class holds something else as well.
    """

    start: int
    end: int
    inner: tuple[Block, ...] = ()
    is_filled: bool = True


class Excerpts:
    """The blocks of one file.

    Args:
        blocks: those of the module, in order of position.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks

    @classmethod
    def of(cls, source: Source) -> Excerpts | None:
        """Finds the blocks of a file.

        Args:
            source: the file.

        Returns:
            Its blocks; None when only the whole file tells enough: it does not parse here, or a function of it sets
            names of the module.
        """
        if _REACHES_OUT.search(source.text):
            return None
        try:
            return cls(tuple(_blocks(source, parsed(source.text).body)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    def left_out(self, places: Iterable[int]) -> tuple[Stretch, ...]:
        """What need not be parsed.

        Args:
            places: indexes into the file's text.

        Returns:
            The stretches of whole lines that hold none of the places, in order.
        """
        return tuple(_left_out(self._blocks, sorted(places)))


def blanked(text: str, stretches: Iterable[Stretch]) -> str:
    """A text in which comments of the same length stand for some of its lines.

    Args:
        text: of a file.
        stretches: of whole lines.

    Returns:
        The text; every other character stands where it stood.
    """
    parts: list[str] = []
    behind = 0
    for start, end in stretches:
        solid = len(text[start:end].rstrip("\r\n"))
        parts += [text[behind:start], "#" * solid, text[start + solid : end]]
        behind = end
    return "".join([*parts, text[behind:]])


def _blocks(source: Source, body: Iterable[ast.stmt]) -> Iterator[Block]:
    lines = source.line_starts
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            last = node.end_lineno or node.lineno
            inner = tuple(_blocks(source, node.body)) if isinstance(node, ast.ClassDef) else ()
            end = lines[last] if last < len(lines) else len(source.text)
            yield Block(lines[first - 1], end, inner, len(inner) < len(node.body))


def _left_out(blocks: Sequence[Block], places: Sequence[int]) -> Iterator[Stretch]:
    for block in blocks:
        first, behind = bisect_left(places, block.start), bisect_left(places, block.end)
        if first == behind:
            yield block.start, block.end
        elif block.inner:
            inner = list(_left_out(block.inner, places[first:behind]))
            # A body needs a statement: a place in the head of a class leaves all of its methods out.
            keeps_none = not block.is_filled and len(inner) == len(block.inner)
            yield from inner[1:] if keeps_none else inner
