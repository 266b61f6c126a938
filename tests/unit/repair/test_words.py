"""Which files have a word."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netra_repair.project import Project
from netra_repair.words import Words
from tests.support.repair_plans import write_files

FILES = {
    "b.py": b"x.name = other_name\n",
    "a.py": "# name, größe\nclass Größe: ...\n".encode(),
    "c.py": b"names = 'name'; name2 = 1\n",
    "d.py": "# -*- coding: latin-1 -*-\nnamed = 'é'\n".encode("latin-1"),
}


@pytest.fixture
def words(tmp_path: Path) -> Words:
    """The words of a project, one of whose sources has gone since it was looked at."""
    write_files(tmp_path, FILES)
    return Words(Project(tmp_path, Path(sys.executable), "3.11.7", (tmp_path,), (), (*sorted(FILES), "gone.py"), ()))


@pytest.mark.parametrize(
    ("asked", "files"),
    [
        (["name"], ["a.py", "b.py", "c.py"]),
        (["other_name"], ["b.py"]),
        (["Größe"], ["a.py"]),
        (["other"], []),
        (["nam"], []),
        (["named", "names", "absent"], ["c.py", "d.py"]),
        ([], []),
    ],
)
def test_files_that_have_a_word(words: Words, asked: list[str], files: list[str]) -> None:
    """Whole words are found in code, strings and comments of any encoding, and files come in the project's order."""
    assert words.files(*asked) == files


def test_a_file_that_was_written_is_read_again(words: Words, tmp_path: Path) -> None:
    """After files have been written, what they say now is found, and what they said before is not."""
    assert words.files("other_name") == ["b.py"]
    (tmp_path / "b.py").write_text("x.renamed = 1\n")
    assert words.files("other_name") == ["b.py"]
    words.forget()
    assert (words.files("other_name"), words.files("renamed")) == ([], ["b.py"])
