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
