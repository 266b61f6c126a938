"""Places that name a missing attribute on something that nobody can tell: listed for people, never changed."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from netra_repair.candidates import Decision
from netra_repair.causes import RootCause
from netra_repair.files import Files
from netra_repair.line_nodes import nodes_on, span_of
from netra_repair.occurrences import Occurrences
from netra_repair.outline_reader import parsed
from netra_repair.receivers import Receivers
from netra_repair.references import Reference, Use
from netra_repair.source import Source, Span, UnreadableSource

# How many receivers are asked for in a scan. Rare names come first: of one that is everywhere (`get`) what is left of
# the number is listed.
_MAX_ASKED = 1000

# In a scan with more causes, only for those for which something stands out.
_FEW = 50

_USES = {ast.Store: Use.ASSIGNMENT, ast.Del: Use.DELETION}

# A file, and the offset of a name in it.
Spot = tuple[str, int]

# By name the places of each file.
Found = dict[str, list[tuple[Source, Sequence[Reference]]]]


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

    def found(self, causes: Sequence[RootCause], known: Collection[Spot]) -> Found:
        """Looks for the places of causes of missing attributes; the engine works on their receivers from now on.

        Args:
            causes: of one scan.
            known: places that are sites of a cause, or refused.

        Returns:
            By name the places of each file. When there are very many, those of the names that occur in the fewest
            files.
        """
        # Of many causes most are dynamic code, and nobody will change what nothing can stand for.
        worth = [cause for cause in causes if cause.ranking.decision is not Decision.NONE or len(causes) <= _FEW]
        left = _MAX_ASKED
        found: Found = {}
        names = {cause.attribute for cause in worth if cause.kind.is_attribute}
        for name in sorted(names, key=lambda each: (len(self._occurrences.reading(each)), each)):
            found[name] = list(self._of(name, known, left))
            left -= sum(len(references) for _, references in found[name])
        return found

    def listed(self, causes: Iterable[RootCause], found: Found) -> list[RootCause]:
        """Adds to causes those of the places whose receivers nobody can tell.

        Args:
            causes: of one scan.
            found: for these causes.

        Returns:
            The causes in the same order.
        """
        unproven = {name: tuple(self._untold(files)) for name, files in found.items()}
        return [replace(cause, unproven=unproven.get(cause.attribute, ())) for cause in causes]

    def _untold(self, files: Iterable[tuple[Source, Sequence[Reference]]]) -> Iterator[Reference]:
        for source, references in files:
            for each in references:
                if each.receiver is not None and not self._receivers.of(source, each.receiver).owners:
                    yield each

    def _of(self, name: str, known: Collection[Spot], limit: int) -> Iterator[tuple[Source, Sequence[Reference]]]:
        for path in self._occurrences.reading(name):
            if not limit:
                return
            try:
                source = self._files.source(path)
                found = self._looked_up(source, name)
            except (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # it cannot be read, or not by this interpreter
            unknown = [each for each in found if (path, each.name.start) not in known][:limit]
            self._receivers.ask_ahead(source, (each.receiver for each in unknown if each.receiver is not None))
            limit -= len(unknown)
            yield source, unknown

    def _looked_up(self, source: Source, name: str) -> list[Reference]:
        """Wherever a file looks the name up; in order."""
        lines = self._occurrences.lines(source.path, name)
        nodes = (node for node in nodes_on(parsed(source.text), lines) if isinstance(node, ast.Attribute))
        found = [_reference(source, node) for node in nodes if node.attr == name]
        return sorted(found, key=lambda each: each.name.start)


def _reference(source: Source, node: ast.Attribute) -> Reference:
    """A reference without its surroundings."""
    expression = span_of(source, node)
    start = expression.end - len(node.attr.encode(source.encoding))
    return Reference(
        source.path,
        node.attr,
        Span(start, expression.end),
        source.position(start),
        span_of(source, node.value),
        expression,
        _USES.get(type(node.ctx), Use.REFERENCE),
    )
