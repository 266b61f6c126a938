"""Lines of a text report: wrapped and indented on a terminal, whole everywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from netra_repair.report.words import printable

FIELD = 14
"""The column at which what a label names begins."""

_NARROWEST = 20
_EXAMPLES = 3

_Item = TypeVar("_Item")


class Page:
    """Prints a text report.

    On a terminal long lines are broken and keep their indentation. Elsewhere (a pipe, a file, a log) a line stays whole
    and holds no control codes, so that no name is cut and every line can be searched.

    Args:
        console: where to.
        verbose: whether lists are shown whole.
    """

    def __init__(self, console: Console, verbose: bool) -> None:
        self._console = console
        self.verbose = verbose

    def line(self, *parts: str | tuple[str, str], indent: int = 0, label: str = "") -> None:
        """Prints one line.

        Args:
            *parts: texts, or pairs of a text and a style. Anything in them that cannot be seen is escaped.
            indent: how many columns to leave free; a line that is broken goes on there.
            label: what stands in those columns of the first line.
        """
        pieces = [part if isinstance(part, tuple) else (part, "") for part in parts]
        text = Text.assemble(*((printable(piece), style) for piece, style in pieces))
        margin = label.ljust(indent)
        if not self._console.is_terminal:
            self._print(Text(margin) + text)
            return
        for line in text.wrap(self._console, max(self._console.width - indent, _NARROWEST), overflow="fold"):
            line.rstrip()
            self._print(Text.assemble((margin, "dim"), line))
            margin = " " * indent

    def command(self, words: str, indent: int, label: str = "") -> None:
        """Prints a command to type; it is never broken, so that it can be copied.

        Args:
            words: the command.
            indent: how many columns to leave free.
            label: what stands in those columns.
        """
        self._print(Text.assemble((label.ljust(indent), "dim"), (printable(words), "bold")))

    def gap(self) -> None:
        """Prints an empty line."""
        self._print(Text())

    def rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Prints a table without frame: all columns but the last are as wide as they need, and right-aligned.

        Args:
            rows: the heading first; the last cell of a row may be long.
        """
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        for row in rows:
            cells = "".join(f"{cell:>{width}}  " for cell, width in zip(row[:-1], widths, strict=True))
            self.line(row[-1], indent=len(cells), label=cells)

    def some(self, items: Sequence[_Item], indent: int) -> Iterator[_Item]:
        """The items to show: all, or the first few and then a line that tells how many more there are.

        Args:
            items: what could be shown.
            indent: where that line begins.

        Yields:
            What is to be shown.
        """
        shown = len(items) if self.verbose else _EXAMPLES
        yield from items[:shown]
        if len(items) > shown:
            self.line((f"… {len(items) - shown:,} more; -v lists them", "dim"), indent=indent)

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def labelled(label: str, items: Iterable[_Item]) -> Iterator[tuple[str, _Item]]:
    """Each item with what stands left of it: the label before the first, nothing before the others."""
    left = f"  {label}"
    for item in items:
        yield left, item
        left = ""
