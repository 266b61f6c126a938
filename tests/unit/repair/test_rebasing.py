"""Positions before edits, for plans that were made after them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.edits import Edit, spliced
from netra_repair.rebasing import Shifts
from netra_repair.source import Source, Span

TEXT = "".join(chr(ord("a") + index % 26) for index in range(40))


@st.composite
def edits(draw: st.DrawFn) -> list[Edit]:
    """Edits of `TEXT` that do not touch each other, in order."""
    borders = sorted(draw(st.sets(st.integers(0, len(TEXT)), max_size=10)))
    pairs = zip(borders[::2], borders[1::2], strict=False)
    return [Edit(Span(start, end), draw(st.text("XYZé", max_size=5))) for start, end in pairs]


@given(edits())
def test_a_byte_that_no_edit_wrote_is_found_where_it_stood(first: list[Edit]) -> None:
    """Every character that survives the edits is traced back to its own place, also where two causes made the same."""
    source = Source.of("a.py", TEXT.encode())
    after = spliced(source, first)
    shifts = Shifts([*first, *first[::2]], "utf-8")
    gone = {index for edit in first for index in range(edit.span.start, edit.span.end)}
    kept = [index for index in range(len(TEXT)) if index not in gone]
    survivors = [offset for offset, byte in enumerate(after) if chr(byte) in TEXT]
    assert [shifts.span(Span(offset, offset + 1)) for offset in survivors] == [Span(index, index + 1) for index in kept]


@given(edits(), st.data())
def test_edits_of_the_edited_file_give_the_same_bytes_when_they_are_rebased(
    first: list[Edit], data: st.DataObject
) -> None:
    """Rebased edits beside the earlier ones give what both made one after the other."""
    source = Source.of("a.py", TEXT.encode())
    middle = Source.of("a.py", spliced(source, first))
    survivors = [offset for offset, byte in enumerate(middle.data) if chr(byte) in TEXT]
    if not survivors:
        return
    offset = data.draw(st.sampled_from(survivors))
    then = Edit(Span(offset, offset + 1), "new")
    shifts = Shifts(first, "utf-8")
    rebased = Edit(shifts.span(then.span), then.text)
    assert spliced(source, [*first, rebased]) == spliced(middle, [then])


def test_a_place_inside_of_what_an_edit_wrote_has_no_place_before() -> None:
    """What an earlier edit wrote cannot be traced back, and that is said."""
    shifts = Shifts([Edit(Span(4, 7), "longer")], "utf-8")
    with pytest.raises(ValueError, match="byte 6 lies inside of an earlier edit"):
        shifts.span(Span(6, 12))
