"""The repair command says what is wrong with what it was given, and neither guesses nor harms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sample_project import CAUSE, FILES, ROOT, TEST, contents, mended, repair, write

OK, FINDINGS_REMAIN, COULD_NOT_ANALYSE = 0, 1, 2

CALL = 'Ctx.create(user_id="ann", thread_id="t-1")'
GOOD = f"from app.ctx import Ctx\n\n\ndef test_more():\n    assert {CALL}.user_id == 'ann'\n"


def planned(project: Path) -> Path:
    """A plan of the project's one cause."""
    answer = repair(project, "plan", CAUSE, "--to", "from_request", "-o", "plan.json")
    assert (project / "plan.json").is_file(), answer.told
    return project / "plan.json"


def applied(project: Path) -> None:
    """Plans and applies the project's one cause."""
    planned(project)
    answer = repair(project, "apply", "plan.json")
    assert answer.code == OK, answer.told
    (project / "plan.json").unlink()


def test_a_file_that_does_not_parse_is_listed_and_left(tmp_path: Path) -> None:
    """A file with a syntax error is named with the reason and keeps its bytes; the others are mended."""
    broken = f"from app.ctx import Ctx\n\n\ndef test_a():\n    {CALL}\n\n\ndef broken(:\n".encode()
    project = write(tmp_path, {"tests/test_broken.py": broken})
    answer = repair(project, "scan")
    assert answer.code == FINDINGS_REMAIN
    assert "tests/test_broken.py" in answer.told
    assert "syntax" in answer.told.lower()
    applied(project)
    assert (project / "tests/test_broken.py").read_bytes() == broken
    assert (project / TEST).read_bytes() == mended(FILES[TEST].encode())


def test_a_file_in_no_known_code_is_listed_and_left(tmp_path: Path) -> None:
    """A file whose bytes are not of the codec it declares is named with the reason and keeps its bytes."""
    strange = f"# \xff\n{GOOD}".encode("latin-1")
    project = write(tmp_path, {"tests/test_strange.py": strange})
    answer = repair(project, "scan")
    assert answer.code == FINDINGS_REMAIN
    assert "tests/test_strange.py" in answer.told
    assert "cannot read it" in answer.told
    applied(project)
    assert (project / "tests/test_strange.py").read_bytes() == strange
    assert (project / TEST).read_bytes() == mended(FILES[TEST].encode())


def test_every_other_byte_is_kept(tmp_path: Path) -> None:
    """Whatever a file's code and line endings are, only the bytes of the name change."""
    odd = {
        "tests/test_latin.py": f"# -*- coding: latin-1 -*-\n# é\n{GOOD}".encode("latin-1"),
        "tests/test_crlf.py": GOOD.replace("\n", "\r\n").encode(),
        "tests/test_mark.py": GOOD.encode("utf-8-sig"),
        "tests/test_mixed.py": GOOD.replace("\n", "\r\n", 3).encode(),
        "tests/test_unfinished.py": GOOD.rstrip().encode(),
        "tests/test_feed.py": GOOD.replace("\n\n\n", "\n\x0c\n# \u2028 ☃ 🦊\n").encode(),
    }
    project = write(tmp_path, odd)
    before = contents(project)
    applied(project)
    assert contents(project) == before | {path: mended(before[path]) for path in (TEST, *odd)}


def test_a_file_of_five_megabytes(tmp_path: Path) -> None:
    """A call at the end of a file of five megabytes is found and mended in time, and nothing else in it changes."""
    rows = "".join(f'    ("{number:06}", "{"x" * 5_000}"),\n' for number in range(1_000))
    large = f"ROWS = [\n{rows}]\n{GOOD}".encode()
    assert len(large) > 5_000_000
    project = write(tmp_path, {"tests/test_large.py": large})
    applied(project)
    assert (project / "tests/test_large.py").read_bytes() == mended(large)


def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    """A file that nobody may write is refused with its reason and keeps its bytes and mode; the others are mended."""
    project = write(tmp_path, {"tests/test_kept.py": GOOD})
    (project / "tests/test_kept.py").chmod(0o444)
    answer = repair(project, "plan", CAUSE, "--to", "from_request", "-o", "plan.json")
    assert "tests/test_kept.py" in answer.told
    assert "read-only" in answer.told
    assert repair(project, "apply", "plan.json").code == OK
    assert (project / "tests/test_kept.py").read_text() == GOOD
    assert (project / "tests/test_kept.py").stat().st_mode & 0o777 == 0o444
    assert (project / TEST).read_bytes() == mended(FILES[TEST].encode())


def test_a_file_that_changed_since_the_plan_stops_everything(tmp_path: Path) -> None:
    """When one file is not as the plan saw it, nothing is written at all, and the file is named."""
    project = write(tmp_path, {"tests/test_more.py": GOOD})
    planned(project)
    (project / "tests/test_more.py").write_text(f"# changed\n{GOOD}")
    before = contents(project)
    answer = repair(project, "apply", "plan.json")
    assert answer.code == COULD_NOT_ANALYSE
    assert "tests/test_more.py" in answer.told
    assert contents(project) == before


def test_a_run_killed_at_any_step_is_taken_back_or_finished(tmp_path: Path) -> None:
    """Killed before any of its steps, a run can be undone or resumed, and either way every byte is as it should be."""
    project = write(tmp_path / "project", {"tests/test_more.py": GOOD})
    planned(project)
    before = contents(project)
    after = before | {path: mended(before[path]) for path in (TEST, "tests/test_more.py")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_runs", project, tmp_path / "copies"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    died: list[str | None] = json.loads(done.stdout)
    assert {"open", "write", "replace", "unlink", "pwrite"} <= set(died)
    for step, name in enumerate(died):
        assert contents(tmp_path / f"copies/undo-{step}") == before, name
        assert contents(tmp_path / f"copies/resume-{step}") == after, name


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"schema_version": 99}', '{"schema_version": 1}', '"\\ud800"'],
    ids=["empty", "no JSON", "a list", "another version", "fields missing", "a lone surrogate"],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, content: str) -> None:
    """A file that is no plan is refused by its name, and nothing is written."""
    project = write(tmp_path, {"plan.json": content})
    before = contents(project)
    answer = repair(project, "apply", "plan.json")
    assert answer.code == COULD_NOT_ANALYSE
    assert "plan.json" in answer.err
    assert "Traceback" not in answer.err
    assert contents(project) == before


def test_a_plan_cannot_write_outside_the_project(tmp_path: Path) -> None:
    """A plan whose path was bent to lead out of the project is refused, and nothing is written."""
    (tmp_path / "outside.py").write_bytes(FILES[TEST].encode())
    project = write(tmp_path / "project")
    plan = planned(project)
    assert TEST in plan.read_text()
    plan.write_text(plan.read_text().replace(TEST, "../outside.py"))
    before = contents(tmp_path)
    answer = repair(project, "apply", "plan.json")
    assert answer.code == COULD_NOT_ANALYSE
    assert "outside.py" in answer.told
    assert contents(tmp_path) == before


def test_no_git_is_said(tmp_path: Path) -> None:
    """Without git the scan works, and says that nothing is known of the past."""
    answer = repair(write(tmp_path), "scan", "-v")
    assert answer.code == FINDINGS_REMAIN
    assert CAUSE in answer.told
    assert "not a git repository" in answer.told


def test_a_file_with_uncommitted_work_is_refused(tmp_path: Path) -> None:
    """In a git repository a file with uncommitted changes is refused and keeps its bytes."""
    project = write(tmp_path, {"tests/test_more.py": GOOD})
    git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@localhost"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], cwd=project, check=True)
    (project / "tests/test_more.py").write_text(f"# not committed\n{GOOD}")
    answer = repair(project, "plan", CAUSE, "--to", "from_request", "-o", "plan.json")
    assert "not committed" in answer.told
    repair(project, "apply", "plan.json")
    assert (project / "tests/test_more.py").read_text() == f"# not committed\n{GOOD}"
    assert (project / TEST).read_bytes() == mended(FILES[TEST].encode())


def test_no_tests_is_said(tmp_path: Path) -> None:
    """Without tests the fix says that nothing shows what the change does, and writes nothing of its own accord."""
    project = write(tmp_path, {"app/use.py": f"from app.ctx import Ctx\n\nCTX = {CALL}\n"})
    (project / TEST).unlink()
    before = contents(project)
    answer = repair(project, "fix", CAUSE, "--to", "from_request")
    assert answer.code != OK
    assert "no test was run" in answer.told
    assert contents(project) == before


def test_missing_dependencies_are_said_and_nothing_is_guessed(tmp_path: Path) -> None:
    """Where the environment lacks a dependency the module is named, and a class made from it is not judged."""
    project = write(
        tmp_path,
        {
            "app/model.py": "import absent_dependency\n\n\nclass Model(absent_dependency.Base):\n    pass\n",
            "app/use.py": "from app.model import Model\n\nMODEL = Model.create(user_id='ann')\n",
        },
    )
    answer = repair(project, "scan", "-o", "text", "-o", "json:found.json")
    assert answer.code == FINDINGS_REMAIN
    assert "absent_dependency" in answer.told
    changed = [site for site in json.loads((project / "found.json").read_text())["causes"] if "Model" in site["key"]]
    assert changed == []


def test_a_failing_test_whose_reason_is_an_absent_dependency_is_not_explained_away(tmp_path: Path) -> None:
    """Tests that fail because a dependency is absent are told as such: no cause takes them."""
    project = write(tmp_path, {"tests/test_absent.py": "import absent_dependency\n\n\ndef test_it():\n    assert 1\n"})
    answer = repair(project, "scan", "--tests")
    assert answer.code == FINDINGS_REMAIN
    assert "absent_dependency" in answer.told


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    """An interpreter that cannot be run is named, and nothing is analysed."""
    answer = repair(write(tmp_path), "scan", "--python", "/nowhere/python")
    assert answer.code == COULD_NOT_ANALYSE
    assert "/nowhere/python" in answer.err


def test_a_project_without_python_is_said(tmp_path: Path) -> None:
    """A folder without a Python file is no success: nothing was analysed."""
    answer = repair(tmp_path, "scan")
    assert answer.code == COULD_NOT_ANALYSE
    assert "no Python" in answer.told


@pytest.mark.parametrize("path", ["nowhere", "../elsewhere"])
def test_a_path_that_is_not_there_is_said(tmp_path: Path, path: str) -> None:
    """A path that is not in the project is named, and nothing is analysed."""
    (tmp_path / "elsewhere").mkdir()
    answer = repair(write(tmp_path / "project"), "scan", path)
    assert answer.code == COULD_NOT_ANALYSE
    assert path in answer.err


def test_a_cause_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A cause that nobody found is named, and what lists those that were."""
    answer = repair(write(tmp_path), "plan", "app.ctx.Ctx.gone")
    assert answer.code == COULD_NOT_ANALYSE
    assert "app.ctx.Ctx.gone" in answer.err
    assert "netra repair scan" in answer.err


def test_a_replacement_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A replacement that the class does not have either is refused, and no plan is written."""
    project = write(tmp_path)
    answer = repair(project, "plan", CAUSE, "--to", "from_nowhere", "-o", "plan.json")
    assert answer.code != OK
    assert "from_nowhere" in answer.told
    assert "from_request" in answer.told


def test_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A run that nobody made is named, and nothing is written."""
    project = write(tmp_path)
    before = contents(project)
    for run in ("nothing", "../../etc"):
        answer = repair(project, "undo", run)
        assert answer.code == COULD_NOT_ANALYSE
        assert run in answer.err
    assert contents(project) == before
