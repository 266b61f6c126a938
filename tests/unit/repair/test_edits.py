"""Splices of a file's bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.edits import Edit, spliced
from netra_repair.source import Source, Span

FILE = "\ufeffé = Ctx.gone(ソ)\r\n\x0cx = '😀'; Ctx.gone\r"


@given(st.data())
def test_bytes_outside_the_edits_stay(data: st.DataObject) -> None:
    """Whatever the edits and their order, the result is the pieces between them with the new texts."""
    source = Source.of("m.py", FILE.encode())
    cuts = sorted(data.draw(st.sets(st.integers(0, len(source.text)), max_size=8)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    texts = data.draw(st.lists(st.sampled_from(["", "new", "ключ=", "x=\n"]), min_size=len(spans), max_size=len(spans)))
    edits = [Edit(source.span(*span), text) for span, text in zip(spans, texts, strict=True)]

    expected, behind = "", 0
    for (start, end), text in zip(spans, texts, strict=True):
        expected += source.text[behind:start] + text
        behind = end
    expected += source.text[behind:]
    repeated = data.draw(st.permutations([*edits, *edits[:1]]))
    assert spliced(source, repeated) == b"\xef\xbb\xbf" + expected.encode()


def test_texts_are_written_in_the_files_encoding() -> None:
    """A new name goes in as the file's codec writes it; one that it cannot write is refused."""
    source = Source.of("m.py", "# coding: latin-1\né.gone".encode("latin-1"))
    last = Span(len(source.data) - 4, len(source.data))
    assert spliced(source, [Edit(last, "prêt")]) == "# coding: latin-1\né.prêt".encode("latin-1")
    with pytest.raises(ValueError, match="encode"):
        spliced(source, [Edit(last, "ключ")])


@pytest.mark.parametrize(
    "edits",
    [
        [Edit(Span(0, 3), "a"), Edit(Span(2, 4), "b")],
        [Edit(Span(0, 3), "a"), Edit(Span(0, 3), "b")],
        [Edit(Span(0, 3), "a"), Edit(Span(1, 1), "b")],
        [Edit(Span(1, 1), "a"), Edit(Span(1, 1), "b")],
        [Edit(Span(5, 7), "a")],
        [Edit(Span(3, 2), "a")],
        [Edit(Span(-1, 2), "a")],
    ],
)
def test_edits_that_contradict_are_refused(edits: list[Edit]) -> None:
    """Overlapping edits, two insertions at one place, and places that are not there write nothing."""
    with pytest.raises(ValueError, match=r"m\.py: an edit at bytes"):
        spliced(Source.of("m.py", b"abcdef"), edits)


def test_an_insertion_stands_before_what_is_replaced_there() -> None:
    """A keyword in front of an argument whose first name changes is no conflict."""
    edits = [Edit(Span(2, 5), "new"), Edit(Span(2, 2), "key="), Edit(Span(5, 5), "!")]
    assert spliced(Source.of("m.py", b"f(old)"), edits) == b"f(key=new!)"
