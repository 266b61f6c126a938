"""The proof that edits changed what they say and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.edits import Edit, spliced
from netra_repair.references import Use
from netra_repair.source import Source, Span, UnreadableSource
from netra_repair.syntax import Syntax
from netra_repair.tree import difference

FILE = """# é ё 😀
from pkg.ctx import gone, gone as old, other
\x0cclass Test(Base):
    \"\"\"Ctx.gone is gone.\"\"\"
    @patch("pkg.ctx.Ctx.gone")
    def test(self):
        x = Ctx.gone(a, key=b) ; y = "Ctx.gone"\r
        f"{Ctx.gone}"  # Ctx.gone
        return f(Ctx.gone)(gone=gone)
"""


def source_of(code: str | bytes) -> Source:
    return Source.of("m.py", code.encode() if isinstance(code, str) else code)


def renamed(code: str, name: str = "gone", new: str = "found") -> list[Edit]:
    """Edits of every reference; a name that an import binds stays bound."""
    source = source_of(code)
    edits = []
    for reference in Syntax(source).references([name]):
        behind = source.text[source.index_of_offset(reference.name.end) :]
        bound = reference.use is Use.IMPORT and not behind.startswith(" as ")
        edits.append(Edit(reference.name, f"{new} as {name}" if bound else new))
    return edits


def told(code: str, edits: list[Edit]) -> str | None:
    """What is said of splicing the edits into the code."""
    before = source_of(code)
    return difference(before, source_of(spliced(before, edits)), edits)


def insertions(code: str, *pairs: tuple[str, str]) -> list[Edit]:
    """Edits that put texts in front of pieces of code."""
    places = [(len(code[: code.index(piece)].encode()), text) for piece, text in pairs]
    return [Edit(Span(at, at), text) for at, text in places]


def replacement(code: str, old: str, new: str) -> Edit:
    """The edit of the first place where a piece of code stands."""
    start = len(code[: code.index(old)].encode())
    return Edit(Span(start, start + len(old.encode())), new)


def test_what_was_planned_is_no_difference() -> None:
    """New names of attributes, imports and patched paths, and new and other keywords, are what edits do."""
    names = renamed(FILE)
    assert len(names) == 6
    keywords = [replacement(FILE, "key", "clef"), *insertions(FILE, ("a, key", "first="))]
    assert told(FILE, []) is None
    assert told(FILE, names) is None
    assert told(FILE, [*keywords, *names, *names]) is None


@pytest.mark.parametrize("value", ["a for a in b", "a := b"])
def test_a_bare_argument_gets_parentheses_with_its_keyword(value: str) -> None:
    """A generator and an assignment expression may get both, and neither gets one without the other."""
    code = f"Ctx.gone({value})"
    start, end = 9, 9 + len(value)
    opening, closing = Edit(Span(start, start), "key=("), Edit(Span(end, end), ")")
    assert told(code, [opening, closing]) is None
    assert told(code, [Edit(Span(start, start), "key="), Edit(Span(start, start + 1), "(a"), closing])
    for edits in ([opening], [closing], [Edit(Span(start, start), "("), closing], [Edit(Span(start, start), "key=")]):
        assert told(code, edits)


@given(st.data())
def test_another_number_of_changes_is_a_difference(data: st.DataObject) -> None:
    """An edit that was left out, or that nobody planned, is told, whichever it is."""
    edits = renamed(FILE)
    made = data.draw(st.sets(st.sampled_from(edits)))
    planned = data.draw(st.sets(st.sampled_from(edits)))
    before = source_of(FILE)
    found = difference(before, source_of(spliced(before, made)), list(planned))
    assert (found is None) == (made == planned)


@given(st.integers(0, len(FILE.encode())), st.sampled_from([b"", b"x", b" ", b"\n", b"\x0c", b"\r"]), st.integers(0, 2))
def test_any_other_byte_is_a_difference(at: int, text: bytes, gone: int) -> None:
    """A byte more, less or other outside the edits, blanks, line ends and form feeds included, is told."""
    before = source_of(FILE)
    edits = renamed(FILE)
    after = spliced(before, edits)
    changed = after[:at] + text + after[at + gone :]
    try:
        later = source_of(changed)
    except UnreadableSource:
        return  # the middle of a character: nothing that could be compared
    assert (difference(before, later, edits) is None) == (changed == after)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # Splices that are off by one.
        (".gone(a", ".foundea"),
        ("gone(", "found"),
        ("Ctx.gone(", "Ctfound("),
        # What an edit may not do, planned or not.
        ('"Ctx.gone"', '"Ctx.found"'),
        ("gone is gone", "found is gone"),
        ("  # Ctx.gone", "  # Ctx.found"),
        ("return f", "return g"),
        ("Test", "Tests"),
        ("pkg.ctx import", "pkg.new import"),
        ("other", "others"),
        ("import gone,", "import found,"),
        ("gone as old", "gone as new"),
        ("import gone,", "import found as lost,"),
        ("(a, ", "(b, "),
        ("gone(a", "gone(*a"),
        ("a, key=b", "key=b, a=a"),
        ("(a, key=b)", "(a)"),
        ("(a, key=b)", "(a, key=b, c=d)"),
        ("(a, key", "(key=a, key"),
        ("gone(a, key=b) ", "gone(a, key=b)  "),
        ("\r\n", "\n"),
        ("\x0c", ""),
        ("\x0c", "\x0c\x0c"),
        ("    def", "\tdef"),
        ("@patch(", "@spatch("),
        ('"pkg.ctx.Ctx.gone"', "'pkg.ctx.Ctx.gone'"),
        ('"pkg.ctx.Ctx.gone"', '"pkg.ctx.Ctx"'),
        ('"pkg.ctx.Ctx.gone"', 'r"pkg.ctx.Ctx.gone"'),
        ("y = ", "y.gone = "),
        ("x = ", "x: int = "),
        ("é", "e"),
        ("Ctx.gone(a", "Ctx.g o(a"),
        ('"""Ctx', '""Ctx'),
    ],
)
def test_what_no_edit_may_do_is_told_even_when_it_was_planned(old: str, new: str) -> None:
    """Only names and keywords may change: an edit that does anything else is told, with and without being planned."""
    before = source_of(FILE)
    edit = replacement(FILE, old, new)
    after = source_of(spliced(before, [edit]))
    found = difference(before, after, [])
    assert found
    assert "\n" not in found
    assert difference(before, after, [edit])
    assert difference(before, after, renamed(FILE))


@pytest.mark.parametrize(
    ("code", "edit", "words"),
    [
        ("Ctx.gone(a)", Edit(Span(4, 8), "gone"), "does not show that"),
        ("Ctx.gone(a)", Edit(Span(9, 9), "key ="), "does not show that"),
        ("Ctx.gone(a)", Edit(Span(9, 9), ""), "does not show that"),
        ("Ctx.gone(a)", Edit(Span(3, 8), ".found"), "does not show that"),
        ("Ctx.gone(a, b=c)", Edit(Span(9, 9), "b="), "passes a keyword twice: b, b"),
        ("Ctx.gone(a for a in b)", Edit(Span(9, 9), "b="), "cannot be parsed"),
        ("Ctx.gone(a, b)", Edit(Span(9, 9), "b="), "cannot be parsed"),
        ("Ctx.gone(a)", Edit(Span(4, 8), "found and"), "differs at `Ctx.gone(a)`"),
        ("Ctx.gone(a)", Edit(Span(4, 8), "found.again"), "differs at `Ctx.gone`"),
        ("x = 1", Edit(Span(4, 5), "2"), "differs at `1`"),
        ("def f(x: gone): pass", Edit(Span(9, 13), "'a'"), "differs at `def f(x: gone): pass`"),
        ("f(a, b)", Edit(Span(3, 3), " "), "differs at `f(a, b)`"),
        ("# c\n\nx = gone\n", Edit(Span(9, 13), "'a'"), "differs at `x = gone`"),
        ("if a:\n    b = gone\n", Edit(Span(14, 18), "'a'"), "differs at `b = gone`"),
        ("import a.gone", Edit(Span(9, 13), "found"), "another module"),
        ("from a.gone import b", Edit(Span(7, 11), "found"), "another module"),
        ("from .gone import b", Edit(Span(6, 10), "found"), "another module"),
        ("from . import b", Edit(Span(6, 6), "."), "differs at"),
        ("from a import *", Edit(Span(14, 15), "b"), "differs at"),
        ("x = 'a.gone'", Edit(Span(7, 11), "found"), "differs at"),
        ("# coding: latin-1\n", Edit(Span(10, 17), "utf-8"), "the encoding has become utf-8"),
    ],
)
def test_a_difference_is_told_in_words(code: str, edit: Edit, words: str) -> None:
    """What is wrong with an edit is said so that a report can carry it."""
    found = told(code, [edit])
    assert found
    assert words in found


def test_edits_that_do_not_fit_the_file_are_told() -> None:
    """Edits that overlap, or belong to a longer file, prove nothing."""
    before, after = source_of("x = Ctx.gone"), source_of("x = Ctx.found")
    for edits in (
        [Edit(Span(8, 12), "found"), Edit(Span(10, 12), "und")],
        [Edit(Span(80, 84), "found")],
        [Edit(Span(8, 12), "found and much more")],
        [Edit(Span(7, 12), "found")],
    ):
        assert difference(before, after, edits)


def test_files_that_do_not_parse_are_told() -> None:
    """Without a tree there is no proof, though the bytes are those of the plan."""
    code = "def f(:\n    Ctx.gone\n"
    assert "cannot be parsed" in (told(code, [replacement(code, "gone", "found")]) or "")


def test_newer_grammar_is_proven_too() -> None:
    """The proof does not depend on the grammar of the Python that runs the tool."""
    code = "type A[T = int] = C.gone\ndef f[*U](): return f'{C.gone(f'{C.gone}')}'\n"
    assert len(renamed(code)) == 3
    assert told(code, renamed(code)) is None


def test_deep_nesting_is_no_obstacle() -> None:
    """Trees are compared without recursion, and a difference deep inside is still told."""
    code = "x = " + "a + " * 400 + "b.gone"
    assert told(code, renamed(code)) is None
    assert "differs" in (told(code, [replacement(code, "+ b", "- b")]) or "")
