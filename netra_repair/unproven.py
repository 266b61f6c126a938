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

# In a scan with more causes, only for those that have a candidate.
_FEW = 50

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
            The causes in the same order. When there are very many places, those of the names that occur in the fewest
            files.
        """
        # Of many causes most are dynamic code, and nobody will change what has no candidate.
        worth = [cause for cause in causes if cause.ranking.candidates or len(causes) <= _FEW]
        left = _MAX_ASKED
        found: dict[str, tuple[Reference, ...]] = {}
        names = {cause.attribute for cause in worth if cause.kind.is_attribute}
        for name in sorted(names, key=lambda each: (len(self._occurrences.reading(each)), each)):
            found[name], asked = self._of(name, known, left)
            left -= asked
        return [replace(cause, unproven=found.get(cause.attribute, ())) for cause in causes]

    def _of(self, name: str, known: Collection[Spot], limit: int) -> tuple[tuple[Reference, ...], int]:
        """The places of one name, and for how many was asked."""
        references: list[Reference] = []
        asked = 0
        for path in self._occurrences.reading(name):
            try:
                source = self._files.source(path)
                found = self._looked_up(source, name)
            except (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # it cannot be read, or not by this interpreter
            length = len(name.encode(source.encoding))
            unknown = [each for each in found if (path, each[1] - length) not in known][: limit - asked]
            self._receivers.ask_ahead(source, (receiver for receiver, _ in unknown))
            ends = [end for receiver, end in unknown if not self._receivers.of(source, receiver).owners]
            references += self._references(path, ends)
            asked += len(unknown)
            if asked == limit:
                break
        return tuple(references), asked

    def _looked_up(self, source: Source, name: str) -> list[tuple[Span, int]]:
        """What stands left of the dot wherever a file looks the name up, and where the name ends; in order."""
        found = [
            (span_of(source, node.value), span_of(source, node).end)
            for node in nodes_on(parsed(source.text), self._occurrences.lines(source.path, name))
            if isinstance(node, ast.Attribute) and node.attr == name
        ]
        return sorted(found, key=lambda each: each[1])

    def _references(self, path: str, ends: Sequence[int]) -> Iterator[Reference]:
        if not ends:
            return
        with suppress(UnusableSource):
            syntax = self._files.around(path, [end - 1 for end in ends])
            yield from filter(None, map(syntax.ending_at, ends))
