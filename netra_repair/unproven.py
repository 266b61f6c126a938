"""Places that name a missing attribute on something that nobody can tell: listed for people, never changed."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from netra_repair.causes import RootCause
from netra_repair.files import Files
from netra_repair.line_nodes import nodes_on, span_of
from netra_repair.occurrences import Occurrences
from netra_repair.outline_reader import parsed
from netra_repair.receivers import Receivers
from netra_repair.references import Reference
from netra_repair.source import Source, Span, UnreadableSource, UnusableSource

# How many receivers are asked for in a scan. Rare names come first: of one that is everywhere (`get`) what is left of
# the number is listed.
_MAX_ASKED = 2000

# A file, and the offset of a name in it.
Spot = tuple[str, int]


class UnprovenReferences:
    """Looks for them in a project.

    Args:
        files: of the project.
        occurrences: where names stand in them.
        receivers: tells what stands left of a dot.
    """

    def __init__(self, files: Files, occurrences: Occurrences, receivers: Receivers) -> None:
        self._files = files
        self._occurrences = occurrences
        self._receivers = receivers

    def listed(self, causes: Sequence[RootCause], known: Collection[Spot]) -> list[RootCause]:
        """Adds the places to causes of missing attributes.

        Args:
            causes: of one scan.
            known: places that are sites of a cause, or refused.

        Returns:
            The causes in the same order, with the first 2,000 places in all that were asked for: those of the names
            that occur in the fewest files before those of others.
        """
        names = {cause.attribute for cause in causes if cause.kind.is_attribute}
        left = _MAX_ASKED
        found: dict[str, tuple[Reference, ...]] = {}
        for name in sorted(names, key=lambda each: (len(self._occurrences.reading(each)), each)):
            found[name], asked = self._of(name, known, left)
            left -= asked
        return [replace(cause, unproven=found.get(cause.attribute, ())) for cause in causes]

    def _of(self, name: str, known: Collection[Spot], limit: int) -> tuple[tuple[Reference, ...], int]:
        """The places of one name, and for how many was asked."""
        references: list[Reference] = []
        asked = 0
        for path in self._occurrences.reading(name):
            ends: list[int] = []
            for source, receiver, end in self._looked_up(path, name):
                start = end - len(name.encode(source.encoding))
                if (path, start) in known:
                    continue
                if asked == limit:
                    return tuple(references), asked
                asked += 1
                if not self._receivers.of(source, receiver).owners:
                    ends.append(end)
            references += self._references(path, ends)
        return tuple(references), asked

    def _looked_up(self, path: str, name: str) -> Iterator[tuple[Source, Span, int]]:
        """What stands left of the dot wherever a file looks the name up, and where the name ends."""
        try:
            source = self._files.source(path)
            tree = parsed(source.text)
        except (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError):
            return
        found = [
            (span_of(source, node.value), span_of(source, node).end)
            for node in nodes_on(tree, self._occurrences.lines(path, name))
            if isinstance(node, ast.Attribute) and node.attr == name
        ]
        yield from ((source, receiver, end) for receiver, end in sorted(found, key=lambda each: each[1]))

    def _references(self, path: str, ends: Sequence[int]) -> Iterator[Reference]:
        if not ends:
            return
        with suppress(UnusableSource):
            syntax = self._files.around(path, [end - 1 for end in ends])
            yield from filter(None, map(syntax.ending_at, ends))
