"""Where names of attributes stand in the text: a first look that may show too much, but nothing too little."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netra_repair.occurrences import Occurrences
from netra_repair.project import Project
from netra_repair.source import Source
from netra_repair.syntax import Syntax
from tests.support.repair_plans import write_files


def occurrences(root: Path, **files: bytes) -> Occurrences:
    """The index of a project of some modules."""
    write_files(root, {f"{name}.py": data for name, data in files.items()})
    sources = tuple(sorted(f"{name}.py" for name in files))
    return Occurrences(Project(root, Path(sys.executable), "3.11.7", (root,), (), (*sources, "gone.py"), ()))


def test_files_that_read_a_name(tmp_path: Path) -> None:
    """Every file that has the name behind a dot is found, in order; the name alone is none."""
    found = occurrences(tmp_path, b=b"x.name\n", a=b"(x\n . name)\n", c=b"name = 1\n", d=b"x.names\n", e=b"1 / x.name")
    assert found.reading("name") == ["a.py", "b.py", "e.py"]
    assert found.reading("absent") == []


WRITES = [
    "x.name = 1",
    "x.y.name=1",
    "x.name += 1",
    "x.name //= 1",
    "x.name: int = 1",
    "x.name: dict[str, int] = {}",
    "x.name, y = 1, 2",
    "y, x.name = 1, 2",
    "x.name = y = 1",
    "y = x.name = 1",
    "for x.name in ():\n    pass",
    "setattr(x, 'name', 1)",
    "setattr(\n    x,\n    'name',\n    1,\n)",
]


@pytest.mark.parametrize("text", WRITES)
def test_what_the_syntax_tree_takes_for_a_write_is_found(tmp_path: Path, text: str) -> None:
    """No place that sets the name is missed."""
    written = Syntax.parse(Source.of("a.py", f"{text}\n".encode())).writers(("name",))
    found = occurrences(tmp_path, a=f"x = y = print\n{text}\n".encode()).writing("name")
    assert found == ["a.py"]
    assert [writer.attribute for writer in written] == ["name"]


@pytest.mark.parametrize("text", [*WRITES, "x.other, x.name = 1, 2", "x.name, x.name = 1, 2", "x.other = x.name = 1"])
def test_where_the_name_is_written(tmp_path: Path, text: str) -> None:
    """Every place that the syntax tree takes for a write is among the offsets, with its receiver or none."""
    source = Source.of("a.py", f"x = y = print\n{text}\n".encode())
    places = dict(occurrences(tmp_path, a=source.data).writes("a.py", "name"))
    for writer in Syntax.parse(source).writers(("name",)):
        start = writer.name.start
        assert start in places
        receiver = places[start]
        if receiver is not None:
            assert receiver == writer.receiver


@pytest.mark.parametrize(
    ("text", "receivers"),
    [
        ("self.name = 1", ["self"]),
        ("a.b.Ctx.name = 1", ["a.b.Ctx"]),
        ("größe.name = 1", ["größe"]),
        ("f().name = 1", [None]),
        ("a[0].name = 1", [None]),
        ("(a or b).name = 1", [None]),
        ("f(a).b.name = 1", [None]),
        ("x.other, x.name = 1, 2", ["x"]),
        ("x.name, y.name = 1, 2", ["x", "y"]),
        ("setattr(x, 'name', 1)", [None]),
        (f"{'a' * 300}.name = 1", [None]),
        ("x.names = 1", []),
        ("x.other = 1", []),
    ],
)
def test_plain_receivers_are_told_without_parsing(tmp_path: Path, text: str, receivers: list[str | None]) -> None:
    """What stands left of the dot is given where it is a plain dotted name, and never a part of something else."""
    source = Source.of("a.py", f"\n{text}".encode())
    found = occurrences(tmp_path, a=source.data).writes("a.py", "name")
    assert [span and source.slice(span) for _, span in found] == receivers


def test_a_patch_that_creates_is_a_write(tmp_path: Path) -> None:
    """Where a patch may create an attribute, its quoted name is a place."""
    text = b"patch('pkg.C.name', create=True)\n"
    assert [at for at, _ in occurrences(tmp_path, a=text).writes("a.py", "name")] == [text.index(b"name")]
    assert occurrences(tmp_path, a=b"patch('pkg.C.name')\n").writes("a.py", "name") == []


def test_lines_that_name_it(tmp_path: Path) -> None:
    """Every line with the whole name is told, behind a dot or alone, and no line of a longer name."""
    found = occurrences(tmp_path, a="x.name; y.name\nx.names\n(x\n . name)\nname\nx.éname\n".encode())
    assert list(found.lines("a.py", "name")) == [1, 4, 5]
    assert list(found.lines("gone.py", "name")) == []


@pytest.mark.parametrize("text", ["x.name == 1", "x.name", "f(x.name)", "name = 1", "{x.name: 1}", "x.name(y=1)"])
def test_what_only_reads_is_left_out(tmp_path: Path, text: str) -> None:
    """Places that only read the name are no writes, so that their files need not be parsed."""
    assert occurrences(tmp_path, a=f"{text}\n".encode()).writing("name") == []


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    """After a file was written its new names are found, once it is said."""
    found = occurrences(tmp_path, a=b"x.old\n", b=b"x.old\n")
    assert found.reading("new") == []
    (tmp_path / "a.py").write_bytes(b"x.new = 1\n")
    assert found.reading("new") == []
    found.forget(["a.py"])
    assert found.reading("new") == found.writing("new") == ["a.py"]


def test_names_of_other_scripts(tmp_path: Path) -> None:
    """A name that is not ASCII is found."""
    assert occurrences(tmp_path, a="x.größe = 1\n".encode()).writing("größe") == ["a.py"]
