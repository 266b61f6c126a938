"""The script of issue 674, run as people run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.drifted_shapes import CONTEXT_IMPORT
from tests.support.drifted_suite import ROOT, class_and_siblings
from tests.support.sample_project import Answer, contents

SCRIPT = ROOT / "scripts/fix_user_execution_context_674.py"
KEYWORDS = 'user_id="ann", thread_id="t-1", run_id="r-1"'

DRIFTED = f"""{CONTEXT_IMPORT}


def test_ann():
    made = [UserExecutionContext.create_for_user({KEYWORDS}) for _ in range(3)]
    assert made[0].user_id == "ann"
    assert UserExecutionContext.create_for_user({KEYWORDS}).is_valid()
    assert UserExecutionContext.create_for_user({KEYWORDS}).verify_isolation()


def test_bob():
    assert UserExecutionContext.create_for_user(user_id="bob", tenant="x").user_id == "bob"
"""
MIGRATED = f"""{CONTEXT_IMPORT}


def test_ann():
    assert UserExecutionContext.from_request({KEYWORDS}).user_id == "ann"


def test_again():
    assert UserExecutionContext.from_request({KEYWORDS}).is_valid()
"""
OTHER = "class Other:\n    pass\n\n\nOther.gone()\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the real class, calls of the missing method, one of which fits nothing, and another cause."""
    files = dict(class_and_siblings()) | {
        "pyproject.toml": b'[tool.pytest.ini_options]\npythonpath = ["."]\naddopts = ["--import-mode=importlib"]\n',
        "tests/test_drifted.py": DRIFTED.encode(),
        "tests/test_migrated.py": MIGRATED.encode(),
        "tools/other.py": OTHER.encode(),
    }
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    return tmp_path


def run(project: Path, *words: str) -> Answer:
    """Runs the script in a project's root."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=project,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def test_a_dry_run_tells_and_writes_nothing(project: Path) -> None:
    """Without `--apply` the changes and the refusals are printed, and no byte of the project changes."""
    before = contents(project)
    answer = run(project)
    assert answer.code == 1, answer.told
    assert f"+ UserExecutionContext.from_request({KEYWORDS})" in answer.told
    assert "unknown-keyword" in answer.told
    assert "test_drifted.py:12" in answer.told
    assert "nothing was written" in answer.told
    assert contents(project) == before


def test_apply_changes_this_one_cause_below_the_paths(project: Path) -> None:
    """With `--apply` the calls that fit are changed; the one that does not, other causes and other files are not."""
    before = contents(project)
    answer = run(project, "--apply", "tests/test_drifted.py")
    assert answer.code == 1, answer.told
    changed = before["tests/test_drifted.py"].replace(b'create_for_user(user_id="ann"', b'from_request(user_id="ann"')
    assert contents(project) == before | {"tests/test_drifted.py": changed}
    assert "netra repair undo" in answer.told


def test_nothing_to_do_is_success(project: Path) -> None:
    """Where nothing calls the method the script says so, with how many files it looked at, and ends with 0."""
    answer = run(project, "tests/test_migrated.py")
    assert answer.code == 0
    assert "nothing calls" in answer.out
    assert "1 files" in answer.out


def test_a_path_that_is_not_there_is_no_success(project: Path) -> None:
    """A path that does not exist is named, and nothing counts as proven."""
    answer = run(project, "nowhere")
    assert answer.code == 2
    assert "nowhere" in answer.err
