"""The smallest statements that have their lines to themselves."""

from __future__ import annotations

from itertools import pairwise

import libcst as cst
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.source import Source
from netra_repair.statements import module_of, pieces_around

# (code, the marked place's smallest piece)
MARKED = [
    ("a = 1\nb = «x»  # c\nc = 2\n", "b = x  # c\n"),
    ("b = «x»", "b = x"),
    ("b = [\n  «x»,\n  '''\n'''\n]\r\nc", "b = [\n  x,\n  '''\n'''\n]\r\n"),
    ("b = [\n  «x,\n  y»]\nc", "b = [\n  x,\n  y]\n"),
    ("def f():\n    a\n    «x»\n    b\n", "    x\n"),
    ("def f(a=«x»):\n    b\nc\n", "def f(a=x):\n    b\n"),
    ("@a\n@ «x»\nclass B:\n    b\nc\n", "@a\n@ x\nclass B:\n    b\n"),
    ("@a\nclass B:\n    @c\n    # d\n    def f(self): return «x»\n", "    @c\n    # d\n    def f(self): return x\n"),
    ("if a:\n    b\nelif «x»:\n    c\nelse:\n    d\n", "if a:\n    b\nelif x:\n    c\nelse:\n    d\n"),
    ("if a:\n    b\nelse:\n    c\n    «x»\nd\n", "    x\n"),
    ("try:\n    a\nexcept B:\n    «x»\nfinally:\n    c\n", "    x\n"),
    ("try:\n    a\nexcept «x»:\n    b\n", "try:\n    a\nexcept x:\n    b\n"),
    ("match a:\n    case 1:\n        «x»\n    case 2: pass\n", "        x\n"),
    ("if a: «x»\nb\n", "if a: x\n"),
    ("if a:\n    b; «x»\n", "if a:\n    b; x\n"),
    ("a = 1; «x»\nb\n", "a = 1; x\nb\n"),
    ("«x»;\nb\n", "x;\nb\n"),
    ("a\n\x0c«x»\rb\r", "\x0cx\r"),
    ("a = 1\n# «x»\nb = 2\n", "a = 1\n# x\nb = 2\n"),
    ("def f():\n  \x0c    «x»\n", "  \x0c    x\n"),
    ("é = '😀'; «x»\n", "é = '😀'; x\n"),
    ("def é():\n    '😀', «x»\n", "    '😀', x\n"),
]


@pytest.mark.parametrize(("marked", "piece"), MARKED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_smallest_statement_around_a_place_is_found(marked: str, piece: str, encoding: str) -> None:
    """Decorators, clauses and comments belong to a statement; one that shares a line is told with its neighbours."""
    start, end = marked.index("«"), marked.index("»") - 1
    source = Source.of("m.py", marked.replace("«", "").replace("»", "").encode(encoding))
    module = module_of(source)
    assert module
    (found,) = pieces_around(source, module, [source.span(start, end)])
    assert source.slice(found.span) == piece
    tree = cst.parse_module(("if 1:\n" if found.indented else "") + piece)
    assert len(tree.body) == 1 or found.span.end == len(source.data)


@given(st.data())
def test_pieces_hold_every_place_once(data: st.DataObject) -> None:
    """Whatever the places, each is in one piece, and no piece is inside another or overlaps one."""
    code = "".join(marked.replace("«", "").replace("»", "").rstrip("\r\n") + "\n" for marked, _ in MARKED)
    source = Source.of("m.py", code.encode())
    module = module_of(source)
    assert module
    places = data.draw(st.lists(st.integers(0, len(code)), max_size=6))
    spans = [source.span(place, place) for place in places]
    pieces = pieces_around(source, module, spans)
    assert all(one.span.end <= other.span.start for one, other in pairwise(pieces))
    for span in spans:
        assert any(piece.span.start <= span.start <= piece.span.end for piece in pieces)


@pytest.mark.parametrize(
    "code", ["def f(:\n", "type X = int\n" if not hasattr(__import__("ast"), "TypeAlias") else "(", "\0"]
)
def test_what_this_python_does_not_parse_has_no_module(code: str) -> None:
    """Neither broken code nor newer grammar raises; warnings about the user's code are not ours to give."""
    assert module_of(Source.of("m.py", code.encode())) is None
    assert module_of(Source.of("m.py", b"x = '\\d' is 1\n")) is not None
