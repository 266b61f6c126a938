"""Counts of names in comments, docstrings, strings and text files."""

from __future__ import annotations

import io
import time
import tokenize
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.mentions import Mentions, counted
from netra_repair.source import Source, UnreadableSource

PIECES = st.sampled_from(
    [
        *(
            "gone ",
            "# gone\n",
            "'gone'",
            "'''gone\n'''",
            '"gone"',
            '"""gone\n"gone"""',
            "rb'gone\\'",
            "u'gone'",
            "gone_",
        ),
        *(
            "f'gone {gone} {{gone}}'",
            "'\\'gone'",
            "'don''t'",
            '"\\\\"',
            "é.gone",
            "0x",
            "def f():",
            "class A: ",
            "x = ",
        ),
        *("(", ")", "\n", "\n    ", "\\\n"),
    ]
)


def in_python(tmp_path: Path, code: str | bytes, *names: str) -> dict[str, Mentions]:
    """The counts in one Python file."""
    (tmp_path / "m.py").write_bytes(code if isinstance(code, bytes) else code.encode())
    return dict(counted(tmp_path, ["m.py"], names or ["gone"]))


@pytest.mark.parametrize(
    ("code", "mentions"),
    [
        ("Ctx.gone()  # Ctx.gone, gone; not gone_too or begone", Mentions(comments=2)),
        ('"""gone"""\nx.gone', Mentions(docstrings=1)),
        ('#!/bin/sh\n# gone\n\n"""gone"""', Mentions(comments=1, docstrings=1)),
        ('def f():  # gone\n    # gone\n    """gone\n    gone: 1"""', Mentions(comments=2, docstrings=2)),
        ("class A:\n    r'gone'\n    x = 'gone'", Mentions(docstrings=1, strings=1)),
        ("patch('m.Ctx.gone')", Mentions(strings=1)),
        ("x = {'a': 'gone'}", Mentions(strings=1)),
        ("f(\n    'gone',\n    'gone'\n)", Mentions(strings=2)),
        ("x = '''\n# gone'''", Mentions(strings=1)),
        ("x = '# gone' # 'gone'", Mentions(comments=1, strings=1)),
        (r"x = 'don\'t # gone'", Mentions(strings=1)),
        ("x = f'{a.gone} gone {a[\"gone\"]}'", Mentions(strings=1)),
        ("x = b'gone' u'gone' Rb'gone'", Mentions(strings=3)),
        ("x.gone(gone=gone)", Mentions()),
        ("def broken(:\n    'gone'  # gone", Mentions(comments=1, docstrings=1)),
        ("x = 'unterminated gone\n# gone", Mentions(comments=1)),
        ("x = 'gone\u2028# gone'", Mentions(strings=2)),
    ],
)
def test_names_are_counted_where_they_stand(tmp_path: Path, code: str, mentions: Mentions) -> None:
    """Whole words in comments, docstrings and strings are counted; code, the braces of f-strings included, is not."""
    assert in_python(tmp_path, code) == {"gone": mentions}


def test_names_are_counted_each_for_itself(tmp_path: Path) -> None:
    """One pass counts many names; those that nobody mentions have none, and a part of a longer name is none."""
    found = in_python(tmp_path, "# made made_up made\n'gone.made'", "made", "made_up", "gone", "other", "ключ")
    assert {name: mentions.total for name, mentions in found.items()} == {
        "made": 3,
        "made_up": 1,
        "gone": 1,
        "other": 0,
        "ключ": 0,
    }
    assert counted(tmp_path, ["m.py"], []) == {}


def test_other_encodings_are_read_as_python_reads_them(tmp_path: Path) -> None:
    """Names are found in each file's own encoding; a file that cannot be decoded, or is not there, has none."""
    assert in_python(tmp_path, "# coding: latin-1\n# é: gone, prêt".encode("latin-1"), "gone", "prêt") == {
        "gone": Mentions(comments=1),
        "prêt": Mentions(comments=1),
    }
    assert in_python(tmp_path, "\ufeff# ключ".encode(), "ключ") == {"ключ": Mentions(comments=1)}
    assert in_python(tmp_path, b"# gone \xff") == {"gone": Mentions()}
    assert counted(tmp_path, ["gone.py"], ["gone"]) == {"gone": Mentions()}


def test_text_files_of_the_project_are_counted(tmp_path: Path) -> None:
    """Documentation and configuration count wherever people keep them; environments, caches and data do not."""
    for path in (
        *("README.md", "docs/a b/plan.rst", "notes.txt", "pyproject.toml", ".github/workflows/ci.yml", "x/y.yaml"),
        *("data.json", "setup.cfg", "tox.ini"),
        *("venv/lib/x.md", "node_modules/x/README.md", ".git/x.txt", "src/__pycache__/x.txt", "build/x.md", "x.csv"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"gone, begone \xff gone\n")
    (tmp_path / "venv" / "pyvenv.cfg").write_bytes(b"gone")
    (tmp_path / "large.json").write_bytes(b"gone" + b" " * 2**23)
    (tmp_path / "loop.md").symlink_to("loop.md")
    assert counted(tmp_path, [], ["gone", "begone"]) == {"gone": Mentions(texts=18), "begone": Mentions(texts=9)}


@given(st.lists(PIECES, max_size=14).map("".join))
def test_pythons_tokenizer_finds_the_same_words(tmp_path_factory: pytest.TempPathFactory, code: str) -> None:
    """Where Python's own tokenizer gets through a file, it sees as many names in comments and strings."""
    try:
        Source.of("m.py", code.encode())
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, SyntaxError, UnreadableSource):
        return
    if any(token.type == tokenize.ERRORTOKEN and token.string.strip() for token in tokens):
        return
    comments = sum(token.string.split().count("gone") for token in tokens if token.type == tokenize.COMMENT)
    found = in_python(tmp_path_factory.getbasetemp(), code)["gone"]
    assert found.comments == comments
    plain = [token.string for token in tokens if token.type == tokenize.STRING and token.string[0] != "f"]
    formatted = sum(token.string.count("gone {") for token in tokens if token.string.startswith("f'gone"))
    assert found.docstrings + found.strings == sum(text.count("gone") for text in plain) + formatted


def test_files_without_the_name_cost_next_to_nothing(tmp_path: Path) -> None:
    """A large project is read, and not looked into where the name does not stand."""
    code = b"def made(self, value):\n    'Says what it makes.'\n    return self.value  # of the caller\n" * 3_000
    for number in range(30):
        (tmp_path / f"m{number}.py").write_bytes(code)
    begun = time.process_time()
    found = counted(tmp_path, [f"m{number}.py" for number in range(30)], ["gone", "lost"])
    assert time.process_time() - begun < 1
    assert {name: mentions.total for name, mentions in found.items()} == {"gone": 0, "lost": 0}
