"""The command: its exit codes, what it says where, and what it writes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from netra_repair import cli, session
from tests.support.sample_project import CAUSE, TEST, contents, mended, repair, write

CLEAN, FINDINGS, COULD_NOT_RUN = 0, 1, 2
CALL = 'Ctx.create(user_id="ann", thread_id="t-1")'
GONE = "app.ctx.Ctx.gone"
MORE = f"from app.ctx import Ctx\n\n\ndef more():\n    return Ctx.gone(), {CALL}\n"
PASSING = "def test_it():\n    assert 1\n"


@pytest.fixture(autouse=True)
def _quick_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's tests need no plugins."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two causes, that nobody changes, with a scan's reports beside it."""
    return write(tmp_path_factory.mktemp("cli") / "project", {"app/more.py": MORE})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["scan", "--nothing"], "--nothing"),
        (["scan", "--timeout", "0"], "expected a number of seconds above 0, got '0'"),
        (["scan", "--timeout", "inf"], "got 'inf'"),
        (["scan", "--timeout", "soon"], "got 'soon'"),
        (["fix", "--batch-size", "0"], "expected a whole number from 1, got '0'"),
        (["fix", "--batch-size", "-1"], "got '-1'"),
        (["scan", "-o", "xml"], "expected one of text, json, sarif, github, html, got 'xml'"),
        (["fix", "--to", "made"], "--to made needs exactly one CAUSE, got 0"),
        (["fix", "a", "b", "--to", "made"], "--to made needs exactly one CAUSE, got 2"),
        (["plan"], "CAUSE"),
        (["runs", "--", "-x"], "leave out --"),
        (["apply", "plan.json"], "plan.json cannot be read"),
        (["verify", "plan.json"], "plan.json cannot be read"),
        (["undo", "nothing"], "nothing"),
        (["resume", "nothing"], "nothing"),
    ],
)
def test_a_command_that_cannot_be_run_says_why(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be understood ends with 2, and what was expected and what came on the error stream."""
    write(tmp_path)
    own, behind = (words, []) if "--" not in words else (words[: words.index("--")], words[words.index("--") :])
    root = ["--root", str(tmp_path)] if own and own[0] in ("apply", "verify", "undo", "resume", "runs") else []
    assert cli.main([*own, *root, *behind]) == COULD_NOT_RUN
    answer = capsys.readouterr()
    assert said in answer.err
    assert answer.out == ""


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for help the command ends with 0, and says when tests are run and what is written."""
    assert cli.main(["--help"]) == CLEAN
    told = " ".join(capsys.readouterr().out.split())
    assert "`scan` and `plan` run no tests unless" in told
    assert "Only `apply` and `fix --apply` write" in told


def test_a_scan_without_causes_is_clean(tmp_path: Path) -> None:
    """Where nothing is missing the scan ends with 0."""
    answer = repair(write(tmp_path, {TEST: PASSING}), "scan")
    assert (answer.code, "no root cause found" in answer.told) == (CLEAN, True)


def test_a_scan_with_causes_has_findings(scanned: Path) -> None:
    """A scan that finds causes ends with 1, in text, JSON, SARIF, GitHub's commands and HTML alike."""
    beside = scanned.parent
    outputs = [
        word for form in ("json", "sarif", "github", "html", "text") for word in ("-o", f"{form}:{beside}/{form}")
    ]
    answer = repair(scanned, "scan", *outputs)
    assert (answer.code, answer.out) == (FINDINGS, "")
    found = json.loads((beside / "json").read_text())
    assert sorted(cause["key"] for cause in found["causes"]) == [CAUSE, GONE]
    assert json.loads((beside / "sarif").read_text())["version"] == "2.1.0"
    assert (beside / "github").read_text().startswith("::")
    assert (beside / "html").read_text().startswith("<!doctype html>")
    assert "2 root causes" in (beside / "text").read_text()


def test_a_report_on_the_standard_output_stands_alone(scanned: Path) -> None:
    """A report for machines on the standard output is all that is there, and it names the root as it was given."""
    answer = repair(scanned.parent, "scan", "--root", "project", "-o", "json")
    assert answer.code == FINDINGS
    assert json.loads(answer.out)["root"] == "project"
    assert str(scanned) not in answer.out


def test_the_next_commands_name_the_root(scanned: Path) -> None:
    """What the report tells to type next works from the folder that the scan was started in."""
    answer = repair(scanned.parent, "scan", "--root", "project", "-v")
    assert answer.code == FINDINGS
    assert f"netra repair fix {CAUSE} --diff --root project" in answer.told


def test_a_check_is_one_line_for_each_cause(scanned: Path) -> None:
    """For hooks and CI the scan says one line for each cause, most places first, and nothing else."""
    answer = repair(scanned, "scan", "--check")
    assert answer.code == FINDINGS
    assert answer.out.splitlines() == ["class `Ctx` has no attribute `create`", "class `Ctx` has no attribute `gone`"]


def test_a_scan_of_what_no_engine_reads_could_not_run(tmp_path: Path) -> None:
    """Where no file was analysed nothing is proven: that is said, and a scan and a fix end with 2."""
    (tmp_path / "test_latin.py").write_bytes(b"# coding: latin-1\n# \xe9\ndef test_it():\n    assert 1\n")
    for command in ("scan", "fix"):
        answer = repair(tmp_path, command)
        assert answer.code == COULD_NOT_RUN
        assert "no file was analysed; the report says" in answer.err
        assert "test_latin.py" in answer.out


def test_a_report_that_cannot_be_written_is_said(scanned: Path) -> None:
    """A report whose folder is not there is named, without a traceback."""
    for form in ("json", "text"):
        answer = repair(scanned, "scan", "-o", f"{form}:nowhere/report")
        assert answer.code == COULD_NOT_RUN
        assert "nowhere/report cannot be written" in answer.err


def test_a_cause_is_named_by_a_unique_part(scanned: Path) -> None:
    """A part of several keys is refused with their names, and a part of none says what lists them."""
    answer = repair(scanned, "plan", "Ctx")
    assert answer.code == COULD_NOT_RUN
    assert f"'Ctx' is a part of 2 causes: {CAUSE}, {GONE}; write more of the key" in answer.err
    answer = repair(scanned, "plan", "absent")
    assert answer.code == COULD_NOT_RUN
    assert "`netra repair scan` lists" in answer.err


def test_a_plan_without_a_choice_has_findings(scanned: Path) -> None:
    """Where a person must choose no plan is written, and the command ends with 1."""
    before = contents(scanned)
    answer = repair(scanned, "plan", "Ctx.gone")
    assert (answer.code, contents(scanned)) == (FINDINGS, before)
    assert GONE in answer.told or "no attribute `gone`" in answer.told


def test_a_plan_is_verified_applied_and_undone(tmp_path: Path) -> None:
    """A plan goes through all commands: each ends with 0, and only apply and undo write to the sources."""
    root = write(tmp_path / "project")
    before = contents(root)
    planned = repair(tmp_path, "plan", "create", "--to", "from_request", "--root", "project", "-o", "plan.json")
    assert planned.code == CLEAN, planned.told
    assert "netra repair apply plan.json --root project" in planned.told
    assert '+    assert Ctx.from_request(user_id="ann"' in planned.out
    verified = repair(tmp_path, "verify", "plan.json", "--root", "project")
    assert verified.code == CLEAN, verified.told
    assert "success rate 0" in verified.told
    assert contents(root) == before
    applied = repair(tmp_path, "apply", "plan.json", "--root", "project")
    assert applied.code == CLEAN
    assert contents(root) == before | {TEST: mended(before[TEST])}
    listed = repair(tmp_path, "runs", "--root", "project")
    run = listed.out.split()[0]
    assert f"netra repair undo {run} --root project" in applied.told
    assert CAUSE in listed.out
    assert repair(tmp_path, "apply", "plan.json", "--root", "project").code == COULD_NOT_RUN
    assert repair(tmp_path, "verify", "plan.json", "--root", "project").code == COULD_NOT_RUN
    assert repair(tmp_path, "undo", run, "--root", "project").code == CLEAN
    assert contents(root) == before


def test_what_stands_behind_two_dashes_is_for_pytest(tmp_path: Path) -> None:
    """Arguments behind -- reach pytest, and with them the tests are run and joined."""
    root = write(tmp_path)
    answer = repair(root, "scan", "-o", "json", "--", "-k", "user")
    [cause] = json.loads(answer.out)["causes"]
    assert cause["tests"] == [f"{TEST}::test_user"]
    refused = repair(root, "scan", "--", "--no-such-option")
    assert refused.code == COULD_NOT_RUN
    assert "--no-such-option" in refused.err


def test_a_fix_shows_first_and_writes_when_it_is_told(tmp_path: Path) -> None:
    """Without --apply the fix ends with 1 and shows its diff; with it nothing is left to do."""
    root = write(tmp_path)
    before = contents(root)
    shown = repair(root, "fix", CAUSE, "--to", "from_request", "--diff")
    assert (shown.code, contents(root)) == (FINDINGS, before)
    assert '+    assert Ctx.from_request(user_id="ann"' in shown.out
    done = repair(root, "fix", CAUSE, "--to", "from_request", "--apply", "--diff")
    assert done.code == CLEAN, done.told
    assert contents(root) == before | {TEST: mended(before[TEST])}
    assert '+    assert Ctx.from_request(user_id="ann"' in done.out


def test_a_diff_in_a_pipe_is_what_the_files_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The diff of files in other codes can be applied: its lines are the bytes of the files, not the terminal's."""
    text = f"# coding: latin-1\nfrom app.ctx import Ctx\n\nNAME = {CALL}, 'é'\n"
    root = write(tmp_path, {"app/latin.py": text.encode("latin-1")})
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    plan = tmp_path / "plan.json"
    assert cli.main(["plan", CAUSE, "--to", "from_request", "--root", str(root), "-o", str(plan)]) == CLEAN
    stream.flush()
    written = stream.buffer.getvalue()
    assert b'+NAME = Ctx.from_request(user_id="ann", thread_id="t-1"), \'\xe9\'\n' in written
    patch = written[written.index(b"diff --git") : written.index(b"wrote ")]
    subprocess.run(["git", "apply", "-"], cwd=root, input=patch, check=True)  # noqa: S607  # the git that people have
    assert (root / "app/latin.py").read_bytes() == mended(text.encode("latin-1"))


def test_a_narrow_standard_output_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code of the standard output cannot show is written as an escape."""
    root = write(tmp_path, {"app/größe.py": f"from app.ctx import Ctx\n\nNAME = {CALL}\n"})
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["scan", "--root", str(root), "-v"]) == FINDINGS
    stream.flush()
    assert b"app/gr\\xf6\\xdfe.py" in stream.buffer.getvalue()


def test_an_interrupted_command_could_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Interrupted by its user the command ends with 2 and one line."""

    def interrupted(root: Path, python: Path | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "discover", interrupted)
    answer = repair(write(tmp_path), "scan")
    assert answer.code == COULD_NOT_RUN
    assert answer.err.splitlines()[-1] == "netra repair: interrupted"
