"""A small project with one drifted factory, for tests, and the repair command run on it."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from netra_repair import cli

ROOT = Path(__file__).resolve().parents[2]
CAUSE = "app.ctx.Ctx.create"
TEST = "tests/test_ctx.py"

FILES: Mapping[str, str] = {
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\ntestpaths = ["tests"]\n',
    "app/__init__.py": "",
    "app/ctx.py": '''"""For whom work is done."""


class Ctx:
    """Whose work it is, and in which thread."""

    def __init__(self, user_id: str, thread_id: str) -> None:
        self.user_id = user_id
        self.thread_id = thread_id

    @classmethod
    def from_request(cls, user_id: str, thread_id: str) -> "Ctx":
        """Make one."""
        return cls(user_id, thread_id)
''',
    TEST: """from app.ctx import Ctx


def test_user():
    assert Ctx.create(user_id="ann", thread_id="t-1").user_id == "ann"


def test_thread():
    assert Ctx.create(user_id="ann", thread_id="t-1").thread_id == "t-1"
""",
}


@dataclass(frozen=True)
class Answer:
    """What a command said.

    Attributes:
        code: its exit code.
        out: its standard output.
        err: its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """Both, on one line, so that a test need not know where lines are broken."""
        return " ".join(f"{self.out} {self.err}".split())


def write(folder: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """Writes the project.

    Args:
        folder: where to.
        files: more files, or other contents of its own ones, by relative path.

    Returns:
        The folder.
    """
    for path, content in {**FILES, **(files or {})}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def mended(content: bytes) -> bytes:
    """What a file of the project has to become: the missing name replaced, every other byte kept."""
    return content.replace(b"Ctx.create(", b"Ctx.from_request(")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of a project that is not a cache or the tool's own, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", ".netra-repair", "__pycache__", ".pytest_cache"} & set(path.parts)
    }


def repair(folder: Path, *words: str) -> Answer:
    """Runs `netra repair` in a project, in this process: starting another takes longer than most of what is asked.

    Args:
        folder: the project, and the folder it runs in.
        *words: what follows `netra repair`.

    Returns:
        Its answer.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        # The project's tests need nothing but pytest, and loading what the tests of this repository need takes longer.
        mock.patch.dict(os.environ, {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
    ):
        code = cli.main(words)
    return Answer(code, out.getvalue(), err.getvalue())
