"""References: what names an attribute, where it stands, and what the code does with it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.references import Guard, Reference, Star, Use
from netra_repair.source import Source, Span, UnparsableSource
from netra_repair.syntax import Syntax


def syntax_of(code: str, module: str = "pkg.tests.test_m", path: str = "pkg/tests/test_m.py") -> Syntax:
    return Syntax(Source.of(path, code.encode()), module)


def only(code: str, name: str = "gone") -> tuple[Reference, Syntax]:
    """The one reference in a piece of code."""
    syntax = syntax_of(code)
    (reference,) = syntax.references({name})
    return reference, syntax


def texts(syntax: Syntax, spans: list[Span | None]) -> list[str | None]:
    return [None if span is None else syntax.source.slice(span) for span in spans]


@pytest.mark.parametrize(
    ("code", "use", "receiver", "expression"),
    [
        ("Ctx.gone()", Use.CALL, "Ctx", "Ctx.gone"),
        ("(Ctx.gone)()", Use.CALL, "Ctx", "Ctx.gone"),
        ("(Ctx).gone()", Use.CALL, "Ctx", "(Ctx).gone"),
        ("a.b(c)[d].gone(e)", Use.CALL, "a.b(c)[d]", "a.b(c)[d].gone"),
        ("(await a or b). gone()", Use.CALL, "await a or b", "(await a or b). gone"),
        ("(\n  Ctx  # c\n  .gone\n)()", Use.CALL, "Ctx", "Ctx  # c\n  .gone"),
        ("super().gone()", Use.CALL, "super()", "super().gone"),
        ("'x'.gone()", Use.CALL, "'x'", "'x'.gone"),
        ("1 .gone()", Use.CALL, "1", "1 .gone"),
        ("x = Ctx.gone", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("Ctx.gone.other()", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("Ctx.gone[0]()", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("Ctx.gone[0] = 1", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("Ctx.gone.x = 1", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("x[Ctx.gone] = 1", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("f(Ctx.gone)", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("x: Ctx.gone = 1", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("x += Ctx.gone", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("for x in Ctx.gone: pass", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("match x:\n    case Ctx.gone: pass", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("match x:\n    case Ctx.gone(1): pass", Use.REFERENCE, "Ctx", "Ctx.gone"),
        ("@Ctx.gone\ndef f(): pass", Use.DECORATOR, "Ctx", "Ctx.gone"),
        ("@Ctx.gone(1)\ndef f(): pass", Use.CALL, "Ctx", "Ctx.gone"),
        ("Ctx.gone = 1", Use.ASSIGNMENT, "Ctx", "Ctx.gone"),
        ("a = Ctx.gone = 1", Use.ASSIGNMENT, "Ctx", "Ctx.gone"),
        ("a, [b, *(Ctx.gone)] = c", Use.ASSIGNMENT, "Ctx", "Ctx.gone"),
        ("Ctx.gone += 1", Use.ASSIGNMENT, "Ctx", "Ctx.gone"),
        ("Ctx.gone: int", Use.ASSIGNMENT, "Ctx", "Ctx.gone"),
        ("for a, Ctx.gone in b: pass", Use.ASSIGNMENT, "Ctx", "Ctx.gone"),
        ("[a for Ctx.gone in b]", Use.ASSIGNMENT, "Ctx", "Ctx.gone"),
        ("with a as (b, Ctx.gone): pass", Use.ASSIGNMENT, "Ctx", "Ctx.gone"),
        ("del a, Ctx.gone", Use.DELETION, "Ctx", "Ctx.gone"),
        ("from pkg . ctx import a, gone as b", Use.IMPORT, "pkg . ctx", "gone"),
        ("from .. import (\n    gone,\n)", Use.IMPORT, "..", "gone"),
        ("from . ctx import gone", Use.IMPORT, ". ctx", "gone"),
        ("patch('pkg.ctx.Ctx.gone')", Use.STRING, None, "'pkg.ctx.Ctx.gone'"),
        ("@mock.patch(target='pkg.gone', new=1)\ndef f(): pass", Use.STRING, None, "'pkg.gone'"),
        ("mocker.patch('''pkg.gone.other''')", Use.STRING, None, "'''pkg.gone.other'''"),
        ("monkeypatch.setattr('pkg.Ctx.gone', 1)", Use.STRING, None, "'pkg.Ctx.gone'"),
        ("mp.delattr(u'pkg.Ctx.gone')", Use.STRING, None, "u'pkg.Ctx.gone'"),
        ("monkeypatch.setattr(a.Ctx, 'gone', 1)", Use.STRING, "a.Ctx", "'gone'"),
        ("patch.object((Ctx), r'gone')", Use.STRING, "Ctx", "r'gone'"),
        ("self.mock.patch.object(attribute='gone', target=Ctx)", Use.STRING, "Ctx", "'gone'"),
        ("mocker.spy(Ctx, 'gone')", Use.STRING, "Ctx", "'gone'"),
        ("getattr(Ctx(), 'gone')()", Use.STRING, "Ctx()", "'gone'"),
        ("attrgetter('a', 'b.gone.c')", Use.STRING, None, "'b.gone.c'"),
        ("operator.methodcaller('gone', 1)", Use.STRING, None, "'gone'"),
    ],
)
def test_a_reference_says_what_the_code_does(code: str, use: Use, receiver: str | None, expression: str) -> None:
    """Each way to name an attribute is one reference, with its use, its receiver and its place."""
    reference, syntax = only(code)
    assert (reference.use, reference.attribute) == (use, "gone")
    assert texts(syntax, [reference.name, reference.receiver, reference.expression]) == ["gone", receiver, expression]
    assert reference.position == syntax.source.position(reference.name.start)
    assert (reference.call is None) == (reference.arguments is None) == (use is not Use.CALL)


@pytest.mark.parametrize(
    "code",
    [
        "gone()",
        "import pkg.gone, gone.x as y",
        "from pkg.gone import x",
        "from gone import *",
        "f(gone=1)",
        "def gone(): pass",
        "class A:\n    gone = 1",
        "x = 'Ctx.gone'  # Ctx.gone",
        "def f(x: 'Ctx.gone'): pass",
        "print('pkg.gone')",
        "gone.x",
        "Ctx.gone_too, Ctx.begone",
        "match x:\n    case Ctx(gone=1): pass",
        # Strings that are not the name, or not for sure.
        "getattr(Ctx, b'gone')",
        "getattr(Ctx, f'gone')",
        "getattr(Ctx, 'go' 'ne')",
        r"getattr(Ctx, '\x67one')",
        "getattr(Ctx, 'gone' if a else 'b')",
        "getattr(Ctx, *['gone'])",
        "getattr(*args, 'gone')",
        "getattr(Ctx, 'a.gone')",
        "getattr('gone')",
        "getattr(Ctx, name, 'gone')",
        "client.patch('/api/gone')",
        "patch('gone')",
        "patch('gone.x')",
        "patch('pkg..gone')",
        "patch.dict('pkg.gone')",
        "methodcaller('a.gone')",
        "methodcaller('a', 'gone')",
        "attrgetter(*'gone')",
    ],
)
def test_other_things_of_that_name_are_no_references(code: str) -> None:
    """Names, keywords, modules, annotations in quotes, comments and strings that nothing looks up are left out."""
    assert syntax_of(code).references(["gone"]) == ()


def test_arguments_are_told_as_they_are_written() -> None:
    """Spans hold stars, keyword and the value's own parentheses; no comma, no comment, no blank."""
    reference, syntax = only(
        "x.gone(user_id, ( # c\n a ) , # d\n key = self.user.name , * rest, ** more,\n  other=f(x), z=d[0].e,)"
    )
    assert reference.arguments is not None
    assert texts(syntax, [argument.span for argument in reference.arguments]) == [
        "user_id",
        "( # c\n a )",
        "key = self.user.name",
        "* rest",
        "** more",
        "other=f(x)",
        "z=d[0].e",
    ]
    assert texts(syntax, [argument.keyword_span for argument in reference.arguments]) == [
        argument.keyword for argument in reference.arguments
    ]
    assert [argument.keyword for argument in reference.arguments] == [None, None, "key", None, None, "other", "z"]
    assert [argument.name for argument in reference.arguments] == ["user_id", "a", "name", "rest", "more", None, None]
    assert [argument.star for argument in reference.arguments] == [
        Star.NONE,
        Star.NONE,
        Star.NONE,
        Star.SEQUENCE,
        Star.MAPPING,
        Star.NONE,
        Star.NONE,
    ]


@pytest.mark.parametrize(
    ("value", "pure"),
    [
        *(
            (value, True)
            for value in (
                "name",
                "(name)",
                "None",
                "...",
                "1",
                "-1.5",
                "2j",
                "'a' r'c'",
                "f'{a!r:{b}} c' 'd'",
                "(a, [b, {c}])",
                "{'a': b, 'c': 1}",
                "()",
                "lambda x, *y, z=1: f(x)",
            )
        ),
        *(
            (value, False)
            for value in (
                "self.name",
                "f()",
                "a[0]",
                "a + b",
                "-a",
                "not a",
                "a == b",
                "a if b else c",
                "a or b",
                "f'{a.b}'",
                "f'{a:{f()}}'",
                "[*a]",
                "{**a}",
                "[f()]",
                "{a: f()}",
                "[x for x in y]",
                "x for x in y",
                "(a := 1)",
                "a := 1",
                "(yield)",
                "await a",
                "*a",
                "**a",
                "lambda x=f(): x",
            )
        ),
    ],
)
def test_only_what_runs_no_code_is_pure(value: str, pure: bool) -> None:
    """Names, constants, f-strings and displays of such are pure; attributes, operators, calls and stars are not."""
    reference, syntax = only(f"async def f():\n    x.gone({value})")
    (argument,) = reference.arguments or ()
    assert syntax.source.slice(argument.span) == value
    assert argument.pure is pure
    assert argument.bare == (value in ("x for x in y", "a := 1"))


def test_the_surroundings_are_told() -> None:
    """Scopes are those in whose bodies a place is; awaited calls and f-strings are marked."""
    syntax = syntax_of(
        """
@x.gone()
class A(x.gone):
    @x.gone
    async def f(self, a=x.gone):
        def g() -> x.gone: await (x.gone())
        await x.gone
        lambda: f"{x.gone() !r:{x.gone}} { {'a': x.gone}['a'] }"
x.gone
"""
    )
    found = [
        (reference.position.line, reference.scope, reference.awaited, reference.in_string)
        for reference in syntax.references(["gone"])
    ]
    assert found == [
        (2, "", False, False),
        (3, "", False, False),
        (4, "A", False, False),
        (5, "A", False, False),
        (6, "A.f", False, False),
        (6, "A.f.g", True, False),
        (7, "A.f", False, False),
        *[(8, "A.f", False, True)] * 3,
        (9, "", False, False),
    ]


def test_what_goes_on_as_it_is_is_passed_on() -> None:
    """An attribute that is, or may be, an argument, kept, returned or in a display; none called, tested or a base."""
    syntax = syntax_of(
        """
subscribe(x.gone)
subscribe(to=x.gone)
subscribe(*x.gone)
subscribe(x.gone())
subscribe(x.gone.more)
class A(x.gone): pass
x.gone
if x.gone: kept = x.gone + 1
kept = x.gone
kept: T = x.gone
def f(): return x.gone
[x.gone], {"a": x.gone}, (x.gone, 1)
kept[x.gone], {x.gone: 1}, x.gone == 1
x.gone.kept = x.gone[0] = 1
check = same and x.other or x.gone
kept = same and x.other or x.gone
check = x.gone or other
check = other if x.gone else same
check = x.gone if same else other
subscribe(x.gone if same else other)
check(1)
check = x.gone if same else other
def f():
    count = same and x.gone or x.gone
    return count
def g():
    count()
    count = x.gone if same else other
    return lambda: count(1)
"""
    )
    passed_on = [reference.position.line for reference in syntax.references(["gone"]) if reference.passed_on]
    assert passed_on == [2, 3, 4, 10, 11, 12, *[13] * 3, 16, 20, 29]


def test_what_takes_only_callables_calls_later() -> None:
    """The first argument of `partial` and the target of a thread are called later, where imports say so."""
    syntax = syntax_of(
        """
from functools import partial
import functools, threading
partial(x.gone, 1), functools.partial(x.gone, 1, 2, a=3)
partial(f, x.gone)
partial(*x.gone)
threading.Thread(target=x.gone, args=x.gone)
own.partial(x.gone), Thread(target=x.gone), api.submit(x.gone)
x.gone(1), f(x.gone)
"""
    )
    found = list(syntax.references(["gone"]))
    later = [(each.position.line, len(each.called_later)) for each in found if each.called_later is not None]
    assert later == [(4, 1), (4, 3), (7, 0)]
    assert [each.position.line for each in found if each.needs_callable] == [4, 4, 7, 9]


def test_a_reference_is_found_by_where_it_ends() -> None:
    """The end of a name leads to the same reference; so does the quote behind a string's last name; no other place."""
    code = "from m import gone\nCtx . gone (1)\npatch('m.Ctx.gone')\nf'{a.gone}'\n"
    syntax = syntax_of(code)
    found = {reference.name.end: reference for reference in syntax.references(["gone"])}
    assert len(found) == 4
    quote = code.index("gone')") + 5
    for offset in range(len(code) + 1):
        reference = syntax.ending_at(offset)
        if offset == quote:
            assert reference == found[quote - 1]
        elif reference is None or reference.attribute == "gone":
            assert reference == found.get(offset)


def test_names_are_found_in_every_part_of_a_path() -> None:
    """Of a dotted path in a string each part but the first is an attribute of what stands before it."""
    syntax = syntax_of("patch('pkg.ctx.Ctx.gone')")
    named = {name: syntax.references([name]) for name in ("pkg", "ctx", "Ctx", "gone")}
    assert [syntax.imported_as(*found) if found else None for found in named.values()] == [
        None,
        "pkg",
        "pkg.ctx",
        "pkg.ctx.Ctx",
    ]


CALLS = "outer(inner.made(a, key=[b]), lambda: c)(d)\nplain(x for x in y)\nz[0](e)\n@deco(f)\nclass A(B, g=h): pass\n"


def place_of(marked: str) -> Span:
    """Where a piece of code that is no part of a longer word stands in CALLS."""
    match = re.search(rf"\b{re.escape(marked)}(?!\w)" if marked[0].isalpha() else re.escape(marked), CALLS)
    assert match
    return Span(*match.span())


@pytest.mark.parametrize(
    ("marked", "name", "receiver", "call"),
    [
        ("a", "made", "inner", "inner.made(a, key=[b])"),
        ("key", "made", "inner", "inner.made(a, key=[b])"),
        ("key=[b]", "made", "inner", "inner.made(a, key=[b])"),
        ("b", "made", "inner", "inner.made(a, key=[b])"),
        ("inner.made", "made", "inner", "inner.made(a, key=[b])"),
        ("(a, key=[b])", "made", "inner", "inner.made(a, key=[b])"),
        ("inner.made(a, key=[b])", "made", "inner", "inner.made(a, key=[b])"),
        ("inner.made(a, key=[b]), lambda: c", "outer", None, "outer(inner.made(a, key=[b]), lambda: c)"),
        ("c", "outer", None, "outer(inner.made(a, key=[b]), lambda: c)"),
        ("outer", "outer", None, "outer(inner.made(a, key=[b]), lambda: c)"),
        ("plain", "plain", None, "plain(x for x in y)"),
        ("f", "deco", None, "deco(f)"),
    ],
)
def test_the_innermost_call_around_a_place_is_found(marked: str, name: str, receiver: str | None, call: str) -> None:
    """Callee, arguments and parentheses belong to a call, and to no call further out."""
    syntax = syntax_of(CALLS)
    reference = syntax.call_covering(place_of(marked))
    assert reference
    assert (reference.attribute, reference.use) == (name, Use.CALL)
    assert texts(syntax, [reference.receiver, reference.call]) == [receiver, call]


@pytest.mark.parametrize("marked", ["d", "z", "e", "h", "B", "A"])
def test_a_place_in_no_call_that_has_a_name_has_none(marked: str) -> None:
    """What a call returns and subscripts are called without a name; class statements are no calls."""
    assert syntax_of(CALLS).call_covering(place_of(marked)) is None


IMPORTS = """
from pkg.ctx import Ctx, Ctx as Other
from .sibling import Sibling
from . import mod
from ..above import Above
from ....too.far import Far
import pkg.ctx
import a.b as ab, os
try:
    from fast import Either
except ImportError:
    from slow import Either
try:
    from fast import Maybe
except ImportError:
    Maybe = None
class Local:
    class Inner: pass
class Twice: pass
Twice = wrapped(Twice)
def f(Ctx2, os2=os):
    from deep import Deep
    Ctx2 = Ctx2
    {expression}.gone
"""


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("Ctx", "pkg.ctx.Ctx"),
        ("Other", "pkg.ctx.Ctx"),
        ("(Ctx)", "pkg.ctx.Ctx"),
        ("Sibling", "pkg.tests.sibling.Sibling"),
        ("mod", "pkg.tests.mod"),
        ("mod.Ctx", "pkg.tests.mod.Ctx"),
        ("Above", "pkg.above.Above"),
        ("pkg.ctx", "pkg.ctx"),
        ("pkg.ctx.Ctx", "pkg.ctx.Ctx"),
        ("ab.C", "a.b.C"),
        ("os", "os"),
        ("Deep", "deep.Deep"),
        ("Local", "pkg.tests.test_m.Local"),
        ("Local.Inner", "pkg.tests.test_m.Local.Inner"),
        *((other, None) for other in ("Far", "Either", "Maybe", "Twice", "Ctx2", "os2", "unknown", "self", "int")),
        *((other, None) for other in ("Ctx()", "Ctx[0]", "Ctx.made()", "(Ctx or Above)", "'x'", "f")),
    ],
)
def test_receivers_follow_from_imports(expression: str, name: str | None) -> None:
    """A name that is imported once, or is a class of the file, stands for that; anything else for nothing."""
    reference, syntax = only(IMPORTS.format(expression=expression))
    assert syntax.imported_as(reference) == name


@pytest.mark.parametrize(
    ("code", "module", "path", "name"),
    [
        ("from . import gone", "pkg.mod", "pkg/mod.py", "pkg"),
        ("from . import gone", "pkg", "pkg/__init__.py", "pkg"),
        ("from .sub import gone", "pkg", "src/pkg/__init__.pyi", "pkg.sub"),
        ("from ..x import gone", "pkg.a.mod", "pkg/a/mod.py", "pkg.x"),
        ("from .. import gone", "pkg.mod", "pkg/mod.py", None),
        ("from .x import gone", "mod", "mod.py", None),
        ("from .x import gone", "", "mod.py", None),
        ("from x . y import gone", "", "mod.py", "x.y"),
        ("from x import C\nfrom y import *\nC.gone", "m", "m.py", None),
        ("class C: pass\nC.gone", "", "mod.py", None),
        ("from x import C\npatch.object(C, 'gone')", "m", "m.py", "x.C"),
        ("from x import C\nattrgetter('gone')", "m", "m.py", None),
        ("from x import C\nnonlocal C\nC.gone", "m", "m.py", None),
    ],
)
def test_relative_imports_need_the_files_own_name(code: str, module: str, path: str, name: str | None) -> None:
    """Dots go up from the file's module; a package's own file starts in the package."""
    syntax = syntax_of(code, module, path)
    (reference,) = syntax.references(["gone"])
    assert syntax.imported_as(reference) == name


def test_writers_are_the_places_that_set_or_delete() -> None:
    """Assignments, deletions, `setattr`, `delattr` and patches that create are writers; reading is not."""
    code = """
C.gone = 1
setattr(C, "gone", 1)
del C.gone
delattr(C, "gone")
patch("m.C.gone", create=True)
monkeypatch.setattr(C, "gone", 1, raising=False)
C.gone()
patch("m.C.gone")
monkeypatch.setattr(C, "gone", 1)
monkeypatch.delattr(C, "gone")
hasattr(C, "gone")
C.gone[0] = 1
"""
    assert [found.position.line for found in syntax_of(code).writers(["gone", "other"])] == [2, 3, 4, 5, 6, 7]


def test_a_file_that_names_nothing_is_not_parsed() -> None:
    """References of names that do not occur are known without a tree; others are not."""
    syntax = syntax_of("def broken(:\n    x.gone\n")
    assert syntax.references(["other"]) == syntax.writers(["other"]) == syntax.references([]) == ()
    with pytest.raises(UnparsableSource):
        syntax.references(["gone"])
    with pytest.raises(UnparsableSource):
        Syntax.parse(syntax.source)


def test_a_name_at_an_uncertain_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference whose span does not hold its name is never given."""
    syntax = Syntax.parse(Source.of("m.py", b"x.gone\n"))
    monkeypatch.setattr("netra_repair.layout.Layout.outer", lambda self, node: (1, 5))
    with pytest.raises(UnparsableSource, match="not certain"):
        syntax.references(["gone"])


FRAGMENTS = st.sampled_from(
    [
        *"é = '😀'; |\x0c|\\\n|    |\n|\r\n|\r|# ソ\u2028\n|x = 1\n|if x: \n    pass\n|except E :\n".split("|"),
        *"Ctx.gone(a)|a.gone|f'{b.gone}'|patch('é.gone')|(c).gone\n|@d.gone\ndef f(): pass\n".split("|"),
        "from é import gone\n",
    ]
)


@given(st.lists(FRAGMENTS, max_size=12).map("".join), st.sampled_from(["utf-8", "utf-8-sig", "shift_jis", "latin-1"]))
def test_a_span_always_holds_its_name(code: str, encoding: str) -> None:
    """Whatever stands around it, and in whatever encoding, a reference points at its name, or the file is refused."""
    cookie = "" if encoding.startswith("utf-8") else f"# coding: {encoding}\n"
    source = Source.of("m.py", (cookie + code).encode(encoding, "replace"))
    syntax = Syntax(source)
    try:
        references = syntax.references(["gone"])
    except UnparsableSource:
        return
    for reference in references:
        assert source.slice(reference.name) == "gone"
        assert source.position(reference.name.start) == reference.position
        assert syntax.ending_at(reference.name.end) == reference
        assert source.slice(reference.expression).strip("'\"").endswith("gone")
        assert reference.guard in (None, Guard.EXCEPT)
