"""Brings a plan that was made for edited files back to the files as they were before those edits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from netra_repair.edits import Edit
from netra_repair.images import shown
from netra_repair.plan import FilePlan, SiteEdit
from netra_repair.references import Argument, Reference
from netra_repair.source import Source, Span


class Shifts:
    """Where the bytes of an edited file stood before.

    Args:
        edits: that have been made, in the positions of the file before them; equal ones, of two causes that agree on a
            place, count once, as when they are applied.
        encoding: the file's.
    """

    def __init__(self, edits: Iterable[Edit], encoding: str) -> None:
        self._edits = [(edit.span, len(edit.text.encode(encoding))) for edit in sorted(set(edits))]

    def span(self, span: Span) -> Span:
        """A span before the edits.

        Args:
            span: in the edited file.

        Returns:
            The same bytes' place before.

        Raises:
            ValueError: when one of its ends lies inside of what an edit wrote.
        """
        end = self._offset(span.end, is_start=False)
        return Span(self._offset(span.start, is_start=True) if span.start < span.end else end, end)

    def _offset(self, offset: int, *, is_start: bool) -> int:
        shift = 0
        for span, written in self._edits:
            start = span.start + shift
            # Where an edit only took something away, one place in the edited file stands for both of its sides.
            if offset < start or (offset == start and (written or not is_start)):
                break
            if offset < start + written:
                raise ValueError(f"byte {offset} lies inside of an earlier edit")
            shift += written - (span.end - span.start)
        return offset - shift


def rebased(file: FilePlan, original: Source, earlier: Sequence[Edit]) -> FilePlan:
    """A file's plan in the positions of the original.

    Args:
        file: made for the file after `earlier`.
        original: the file before them.
        earlier: the edits that were made in between, in the positions of the original.

    Returns:
        The same sites and edits, in the positions of the original; the hash of what they give is not known here.

    Raises:
        ValueError: when one of its edits reaches into what an earlier one wrote.
    """
    shifts = Shifts(earlier, original.encoding)
    sites = tuple(_site(site, original, shifts) for site in file.sites)
    return replace(file, before_sha256=original.digest, after_sha256="", sites=sites)


def _site(site: SiteEdit, original: Source, shifts: Shifts) -> SiteEdit:
    reference = _reference(site.site.reference, original, shifts)
    edits = tuple(Edit(shifts.span(edit.span), edit.text) for edit in site.edits)
    before, after = shown(original, reference, edits)
    return replace(site, site=replace(site.site, reference=reference), edits=edits, before=before, after=after)


def _reference(reference: Reference, original: Source, shifts: Shifts) -> Reference:
    name = shifts.span(reference.name)
    return replace(
        reference,
        name=name,
        position=original.position(name.start),
        receiver=reference.receiver and shifts.span(reference.receiver),
        expression=shifts.span(reference.expression),
        call=reference.call and shifts.span(reference.call),
        arguments=reference.arguments and tuple(_argument(argument, shifts) for argument in reference.arguments),
    )


def _argument(argument: Argument, shifts: Shifts) -> Argument:
    keyword = argument.keyword_span and shifts.span(argument.keyword_span)
    return replace(argument, span=shifts.span(argument.span), keyword_span=keyword)
