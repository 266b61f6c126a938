"""Excerpts: what a part of a file says of a place is what the whole file says of it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netra_repair.excerpts import Excerpts, blanked
from netra_repair.source import Source, Span
from netra_repair.syntax import Syntax

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("netra_repair", "tests/unit/repair", "benchmarks/repair")
OWN = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))

# Shapes of statements that a place stands in, beside and below.
PIECES = [
    "import pkg\nfrom pkg import x\n",
    "x.gone(1)\n",
    "def f(a):\n    return x.gone(a, b=2)\n",
    "async def g():\n    await x.gone(\n        1,\n    )\n",
    "@x.gone\n@other(x.gone(1))\ndef decorated():\n    pass\n",
    "class Only:\n    def one(self):\n        return x.gone\n\n    @x.gone\n    def two(self):\n        pass\n",
    "class Only2(x.gone): \n    def one(self):\n        pass\n",
    "class Filled:\n    '''Speaks of x.gone.'''\n\n    y = x.gone()\n\n    def one(self):\n        x.gone()\n",
    "class Outer:\n    class Inner:\n        async def deep(self):\n            async with x.gone() as y: y.gone()\n",
    "class Outer2:\n    class Inner:\n        def deep(self): x.gone\n    class Beside(x.gone): pass\n",
    "def out():\n    def inner():\n        x.gone()\n    return inner\n",
    "try:\n    x.gone()\nexcept AttributeError:\n    pass\n",
    "def guarded():\n    try:\n        x.gone()\n    except AttributeError:\n        pass\n",
    "if hasattr(x, 'gone'):\n    x.gone()\n\n    def inside():\n        x.gone()\n",
    "def early():\n    if not hasattr(x, 'gone'):\n        return\n    x.gone()\n",
    "class Test:\n    def test_raises(self):\n        with pytest.raises(AttributeError):\n            x.gone()\n",
    "def asserted():\n    assert not hasattr(x, 'gone')\n    getattr(x, 'gone', None)\n",
    "import sys\nif sys.version_info < (3, 8):\n    def old():\n        x.gone()\n",
    "def text():\n    return f'é {x.gone()!r}', '''\nclass NoClass:\n    x.gone()\n'''\n",
    "def one_line(): x.gone(); y.gone()\n",
    "# about x.gone\n\n\n",
    "x = (\n    1,\n)\n",
    "@decorated\nclass Decorated:\n    @property\n    def one(self):\n        return x.gone\n",
]  # fmt: skip


def around(source: Source, offset: int) -> Syntax:
    """What is parsed for a place: the part of the file that `Files.around` takes."""
    excerpts = Excerpts.of(source)
    return Syntax.parse(source, "pkg.m", excerpts.left_out([source.index_of_offset(offset)]) if excerpts else ())


def same_everywhere(source: Source, names: set[str], most: int = 1000) -> int:
    """Compares both at places of some names; how many there were."""
    whole = Syntax.parse(source, "pkg.m")
    references = list(whole.references(names))
    Random(674).shuffle(references)
    for reference in references[:most]:
        part = around(source, reference.name.start)
        assert part.ending_at(reference.name.end) == whole.ending_at(reference.name.end)
        assert part.call_covering(reference.expression) == whole.call_covering(reference.expression)
    return len(references)


@example(pieces=[PIECES[5]], newline="\n", is_open=True)
@example(pieces=PIECES, newline="\r\n", is_open=True)
@given(
    pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=6),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    is_open=st.booleans(),
)
def test_a_part_says_what_the_whole_says(pieces: list[str], newline: str, is_open: bool) -> None:
    """Reference, arguments, guard and scope are the same, whatever stands around, in every form of line ends."""
    text = "".join(pieces)
    text = (text.rstrip("\n") if is_open else text).replace("\n", newline)
    same_everywhere(Source.of("pkg/m.py", text.encode()), {"gone"})


@pytest.mark.parametrize("path", Random(674).sample(OWN, 10), ids=lambda path: path.name)
def test_real_files_say_the_same_in_part(path: Path) -> None:
    """Also in this repository's own files."""
    source = Source.of(path.relative_to(ROOT).as_posix(), path.read_bytes())
    names = {"append", "path", "name", "parametrize", "value", "join", "items", "get", "start", "line", "add", "of"}
    same_everywhere(source, names, 12)


def test_only_what_holds_a_place_is_parsed() -> None:
    """Functions, classes and methods beside the place become comments, at the same positions; the rest stays."""
    text = "import a\ndef f():\n    pass\nclass C:\n    x = 1\n    def g(self):\n        pass\n"
    text += "    def h(self):\n        a.b\ny = 1\n"
    source = Source.of("m.py", text.encode())
    excerpts = Excerpts.of(source)
    assert excerpts is not None
    left = blanked(text, excerpts.left_out([text.index("a.b")]))
    assert len(left) == len(text)
    kept = [line for line in left.split("\n") if "#" not in line]
    assert kept == ["import a", "class C:", "    x = 1", "    def h(self):", "        a.b", "y = 1", ""]


def test_a_class_of_methods_keeps_one() -> None:
    """A place in the head of a class with only methods keeps one of them, since a body needs a statement."""
    source = Source.of("m.py", b"class C(a.gone):\n    def f(self):\n        pass\n    def g(self):\n        pass\n")
    part = around(source, 8)
    [reference] = part.references({"gone"})
    assert source.slice(reference.name) == "gone"


@pytest.mark.parametrize(
    "text",
    ["def f():\n    global x\n    x = a.gone\n", "def f(): x = 1; global y\n", "def f(:\n", "x = '\0'\n", "(" * 300],
    ids=["global", "global on a line", "broken", "null", "deep"],
)  # fmt: skip
def test_where_only_the_whole_file_tells(text: str) -> None:
    """A function that sets names of the module, and what `ast` does not read, need the whole file."""
    assert Excerpts.of(Source.of("m.py", text.encode())) is None


def test_a_guard_beside_the_place_counts() -> None:
    """What the module itself checks guards a place in a function, in a part as in the whole."""
    text = "has = hasattr(x, 'gone')\ndef other():\n    pass\nif has:\n    def f():\n        x.gone()\n"
    source = Source.of("m.py", text.encode())
    at = source.offset_of_index(text.index("gone()"))
    reference = around(source, at).ending_at(at + 4)
    assert reference is not None
    assert reference == Syntax.parse(source, "pkg.m").ending_at(at + 4)
    assert reference.scope == "f"
    assert around(source, at).call_covering(Span(at, at + 4)) is not None
