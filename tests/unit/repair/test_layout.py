"""Where the nodes of a syntax tree stand."""

from __future__ import annotations

import graphlib
import sys
import textwrap
import threading
from pathlib import Path

import libcst as cst
import pytest
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, ParentNodeProvider

from netra_repair.layout import Layout, deeply, parsed
from netra_repair.source import Source, Span, UnparsableSource

AWKWARD = '''# é 😀
@a.b(c)  # comment
async def f(x: "int" = (1), /, *args: *T, k=lambda: (yield), **kw) -> (a.b):
\t"""d\u2028oc"""
\tawait (a.b)((((c).d)), *e, **{"f": g[h:i, ...]}, j=(k for k in l))
\treturn (
\t    # 😀
\t    (a  # c
\t     . b)
\t    if not (c) else (d).e
\t)
if a: b = c; d.e()
class A[T: int = str, *U](B, metaclass=C): x: int = f"{a.b!r:{c.d}} {'é'}" f'{e["f"]}'
with (a.b as c, d): pass
try: pass
except (E, F) as g: del (a.b), c[0]
except (): raise a.b from c
match a.b:
    case C.d(e=f) | {"g": h, **i} if j: k += 1; l: int
[a.b for c in d if e.f if g for h in i]; {a: b for c in d}; (yield a); -a ** b; a @ b; not a; t"{a.b}"
type X[Y] = a.b
from .a import (b as c,); import a.b.c as d
print(*a, sep="")'''


def written(code: str, encoding: str = "utf-8") -> Source:
    return Source.of("m.py", code.encode(encoding))


def test_every_place_is_where_libcst_says() -> None:
    """Places without parentheses, and parents, are those of LibCST's own providers, node for node."""
    codes = [
        AWKWARD,
        AWKWARD.replace("\n", "\r\n"),
        *(Path(str(m.__file__)).read_text() for m in (graphlib, textwrap)),
    ]
    for code in codes:
        source = written(code)
        layout = Layout(source)
        wrapper = MetadataWrapper(layout.module, unsafe_skip_copy=True)
        parents = wrapper.resolve(ParentNodeProvider)
        for node, theirs in wrapper.resolve(ByteSpanPositionProvider).items():
            assert layout.parent(node) is parents.get(node)
            # LibCST counts the comma behind a starred element as its own.
            if isinstance(node, cst.BaseExpression) and not isinstance(node, cst.StarredElement):
                assert layout.span(layout.inner(node)) == Span(theirs.start, theirs.start + theirs.length)


def test_outer_places_hold_the_parentheses() -> None:
    """A node's outer place is what would be cut out with it."""
    source = written("x = ((  a.b ) )(c)")
    layout = Layout(source)
    (call,), (attribute,) = layout.of_type(cst.Call), layout.of_type(cst.Attribute)
    assert source.slice(layout.span(layout.outer(attribute))) == "((  a.b ) )"
    assert layout.text(attribute) == "a.b"
    assert source.slice(layout.span(layout.outer(call))) == "((  a.b ) )(c)"


@pytest.mark.parametrize(
    "code",
    [
        "\x0cx.gone(a)\n",
        "a = 1\n\x0c\x0cx.gone(a)\n\x0c\nx.gone(a)",
        "def f():\n    y = 1\n  \x0c    x.gone(a)\n",
        "a = 1\n\\\nx.gone(a)\n",
        "try:\n    x.gone(a)\nexcept E :\n    x.gone(a)\n",
        "x.gone(a)\r",
        "y = 1\rx.gone(a)\r",
        "\ufeff\ufeffx.gone(a)\n",
    ],
)
def test_what_libcst_loses_moves_no_place(code: str) -> None:
    """Form feeds, lone backslashes and carriage returns that LibCST drops are counted."""
    source = written(code)
    assert parsed("m.py", source.text).code != source.text, (
        "LibCST has learned to keep it: the example tests nothing any more"
    )
    layout = Layout(source)
    assert [layout.text(node) for node in layout.of_type(cst.Attribute)] == ["x.gone"] * code.count("x.gone")
    assert [layout.text(node) for node in layout.of_type(cst.Call)] == ["x.gone(a)"] * code.count("x.gone")
    places = [layout.inner(node)[0] for node in layout.of_type(cst.Attribute)]
    assert places == [index for index in range(len(source.text)) if source.text.startswith("x.gone", index)]


def test_a_tree_that_says_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the parser gives back other code than it got, no position of it is believed."""
    monkeypatch.setattr("netra_repair.layout.parsed", lambda path, text: cst.parse_module("a = 1\n"))
    with pytest.raises(UnparsableSource, match="does not give back"):
        Layout(written("b = 1\n"))


@pytest.mark.parametrize(
    "code",
    ["def f(:\n", "print 'x'\n", "x = 1\n\x1a", "if x:\n\ty\n        z\n", "x = (1\n", "\0", "x = '\n", "x = 'a' b'c'"],
)
def test_what_is_not_python_gives_a_reason(code: str) -> None:
    """A file that cannot be parsed raises with its path and the parser's words, in one line."""
    with pytest.raises(UnparsableSource, match="cannot be parsed: ") as caught:
        Layout(written(code))
    assert caught.value.path == "m.py"
    assert "\n" not in caught.value.reason


@pytest.mark.parametrize(
    "code", ["x = " + "a + " * 400 + "b.gone", "if a: pass\n" + "elif b: pass\n" * 500 + "else: b.gone"]
)
def test_deep_nesting_is_no_obstacle(code: str) -> None:
    """Code that Python runs, and that is nested deeper than its recursion limit, has places."""
    limit = sys.getrecursionlimit()
    layout = Layout(written(code))
    assert layout.text(layout.of_type(cst.Attribute)[0]) == "b.gone"
    assert sys.getrecursionlimit() == limit


def test_nesting_that_would_end_the_process_is_survived() -> None:
    """Parsing goes on a stack that is larger than the usual one, and leaves that as it was."""
    usual = threading.stack_size()
    source = written("x = " + "(" * 1_500 + "a" + ")" * 1_500)
    assert parsed("m.py", source.text).code == source.text
    assert threading.stack_size() == usual


def test_faults_come_through_from_the_deep_stack() -> None:
    """What fails with all the room fails for the caller, and leaves the limit as it was."""
    limit = sys.getrecursionlimit()

    def endless() -> None:
        if sys.getrecursionlimit() > limit:
            raise RuntimeError("deep")
        endless()

    with pytest.raises(RuntimeError, match="deep"):
        deeply(endless)
    assert sys.getrecursionlimit() == limit
