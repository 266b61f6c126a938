"""Issue 674 rebuilt: 86 test files, 109 calls of a factory that never existed, 700 right calls of the same name."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from netra_repair import plan_file
from netra_repair.edits import Edit, spliced
from netra_repair.source import Source, Span
from tests.support.drifted_suite import CAUSE, GONE, MEANT, DriftedSuite, Kind, write
from tests.support.sample_project import Answer, repair

TEST_LIMIT_S = 30


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> DriftedSuite:
    """The suite as it was written; nobody changes it."""
    return write(tmp_path_factory.mktemp("drifted") / "suite")


def outcomes(project: Path) -> dict[str, str]:
    """How every test of a project ends, by node id, and every file that cannot be collected, told by pytest itself."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "--continue-on-collection-errors"),
            *("-p", "no:cacheprovider"),
        ],
        cwd=project,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "400"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TEST_LIMIT_S,
        check=False,
    )
    told = [line.split(" - ")[0].split(" ", 1) for line in done.stdout.splitlines()]
    return {words[1]: words[0] for words in told if words[0] in {"PASSED", "FAILED", "ERROR", "SKIPPED"}}


def failing(ends: dict[str, str]) -> set[str]:
    """The tests and files that did not pass."""
    return {name for name, end in ends.items() if end != "PASSED"}


def test_the_suite_is_the_one_of_the_issue(suite: DriftedSuite) -> None:
    """86 files hold 109 calls: 105 by three keywords, 3 by position, 1 that fits nothing; 700 are right."""
    assert len({call.path for call in suite.calls}) == len(suite.changed) == 86
    assert Counter(call.kind for call in suite.calls) == {Kind.KEYWORDS: 105, Kind.POSITIONS: 3, Kind.MISFIT: 1}
    assert len(suite.right) == 700
    assert len(suite.absence) == 2
    assert all(suite.now()[path] == data for path, data in suite.before.items())


def test_every_call_is_where_the_truth_says(suite: DriftedSuite) -> None:
    """Splicing the name at the offsets of the fixable calls gives the bytes that are expected, in every file."""
    for path, data in suite.before.items():
        edits = [
            Edit(Span(call.offset, call.offset + len(GONE)), MEANT)
            for call in suite.calls
            if call.path == path and call.kind is not Kind.MISFIT
        ]
        if path.endswith(".py"):
            assert spliced(Source.of(path, data), edits) == suite.after[path]


def test_every_call_of_the_name_is_counted(suite: DriftedSuite) -> None:
    """Python's own parser finds the 109 and the 700, and besides only the two that assert absence by calling."""
    found = Counter[str]()
    for path, data in suite.before.items():
        if path.endswith(".py"):
            calls = [node.func for node in ast.walk(ast.parse(data)) if isinstance(node, ast.Call)]
            found[path] += sum(isinstance(called, ast.Attribute) and called.attr == GONE for called in calls)
    known = Counter(call.path for call in (*suite.calls, *suite.right)) + Counter(suite.absence)
    assert +found == known


def test_a_seed_gives_the_same_suite_again(suite: DriftedSuite, tmp_path: Path) -> None:
    """The same seed writes the same bytes; another one, files of other names."""
    assert write(tmp_path / "again").before == suite.before
    other = write(tmp_path / "other", seed=1)
    assert other.before.keys() != suite.before.keys()
    assert len(other.calls) == 109


def test_without_the_migrated_files_nobody_calls_the_factory(tmp_path: Path) -> None:
    """Without the files that break the tie no test and no source outside the class calls any factory that fits."""
    alone = write(tmp_path, with_migrated=False)
    calls = [path for path, data in alone.before.items() if f".{MEANT}(".encode() in data]
    assert calls == ["netra_backend/app/services/user_execution_context.py"]
    assert len(alone.calls) == 109


def test_only_what_calls_it_fails_before(suite: DriftedSuite) -> None:
    """Before the fix all tests that reach one of the 109 fail, none of them passes, and all others pass."""
    before = outcomes(suite.root)
    reached = suite.broken | suite.misfits
    hidden = {test for test in reached if test.split("::")[0] in suite.hidden}
    assert failing(before) == (reached - hidden) | set(suite.hidden)
    assert len(before) > 300


def test_the_expected_bytes_mend_all_but_the_misfit(suite: DriftedSuite, tmp_path: Path) -> None:
    """With the bytes that are expected after the fix every test passes but the one that fits nothing."""
    project = tmp_path / "mended"
    shutil.copytree(suite.root, project)
    for path in suite.changed:
        (project / path).write_bytes(suite.after[path])
    after = outcomes(project)
    assert failing(after) == suite.misfits
    assert after.keys() >= suite.broken


@dataclass(frozen=True)
class Fixed:
    """A suite after the fix.

    Attributes:
        suite: the truth about it.
        answer: what the command said.
        report: its report as JSON.
    """

    suite: DriftedSuite
    answer: Answer
    report: dict[str, Any]


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Fixed:
    """A copy of the suite after `netra repair fix --apply`."""
    folder = tmp_path_factory.mktemp("fixed")
    suite = write(folder / "suite")
    report = folder / "report.json"
    answer = repair(suite.root, "fix", CAUSE, "--apply", "--batch-size", "43", "-o", f"json:{report}", "-o", "text:-")
    assert report.is_file(), answer.told[-500:]
    return Fixed(suite, answer, json.loads(report.read_text()))


def differing(suite: DriftedSuite, wanted: Mapping[str, bytes]) -> list[str]:
    """The files of the suite that are not as they should be."""
    return [path for path, data in suite.now().items() if data != wanted[path]]


def test_the_fix_changes_what_it_should_and_nothing_else(fixed: Fixed) -> None:
    """After the fix every file is, byte for byte, what it has to be: 108 names changed, none of the 700 touched."""
    assert differing(fixed.suite, fixed.suite.after) == []
    strays = {
        path.relative_to(fixed.suite.root).as_posix()
        for path in fixed.suite.root.rglob("*")
        if path.is_file() and not {".netra-repair", "__pycache__"} & set(path.parts)
    }
    assert strays == fixed.suite.before.keys()


def test_the_fix_takes_the_fixable_tests_from_none_to_all(fixed: Fixed) -> None:
    """Of the tests that the missing method broke none passed before, and all that can be mended pass after."""
    outcome = fixed.report["fix"]["causes"][0]
    suite = fixed.suite
    assert outcome["key"] == CAUSE
    assert outcome["success_rate"]["before"]["percent"] == 0
    hidden = {test for test in suite.broken if test.split("::")[0] in suite.hidden}
    assert set(outcome["restored"]) - hidden - set(suite.hidden) == suite.broken - hidden
    assert set(suite.hidden) <= set(outcome["restored"]) or hidden <= set(outcome["restored"])
    assert set(outcome["broken"]) - set(outcome["restored"]) == suite.misfits
    assert fixed.report["fix"]["tests"]["regressed"] == []


def test_the_misfit_is_refused_with_its_reason(fixed: Fixed) -> None:
    """The one call whose keywords no factory has is refused by place, reason and keyword; findings remain."""
    [misfit] = [call for call in fixed.suite.calls if call.kind is Kind.MISFIT]
    [plan] = fixed.report["plans"]
    refused = {(each["path"], each["start"]): each for each in plan["refused"]}
    assert refused[misfit.path, misfit.offset]["reason"] == "unknown-keyword"
    assert "tenant" in refused[misfit.path, misfit.offset]["detail"]
    assert {path for path, _ in refused} == {misfit.path, *fixed.suite.absence}
    assert fixed.answer.code == 1
    assert misfit.path in fixed.answer.told


def test_the_fix_is_found_by_proof_and_not_by_name(fixed: Fixed) -> None:
    """The cause holds the 109 calls and the two that assert absence, each proven, and none of the 700."""
    [cause] = [cause for cause in fixed.report["causes"] if cause["key"] == CAUSE]
    sites = {(site["path"], site["start"]) for site in cause["sites"]}
    assert {(call.path, call.offset) for call in fixed.suite.calls} <= sites
    assert {path for path, _ in sites} == {call.path for call in fixed.suite.calls} | set(fixed.suite.absence)
    assert not sites & {(call.path, call.offset) for call in fixed.suite.right}
    assert all(site["proofs"] for site in cause["sites"])


def test_receivers_that_nobody_can_tell_are_listed(fixed: Fixed) -> None:
    """The right calls on untyped parameters are listed as unproven, and no place that is proven."""
    [cause] = [cause for cause in fixed.report["causes"] if cause["key"] == CAUSE]
    unproven = {(each["path"], each["start"]) for each in cause["unproven"]}
    assert len(unproven & {(call.path, call.offset) for call in fixed.suite.right}) >= 100
    assert not unproven & {(site["path"], site["start"]) for site in cause["sites"]}


def test_talk_of_the_method_is_counted(fixed: Fixed) -> None:
    """Where comments, docstrings, strings and text files speak of the method, they are counted."""
    [cause] = [cause for cause in fixed.report["causes"] if cause["key"] == CAUSE]
    assert cause["mentions"] >= 10


def test_the_run_can_be_undone(fixed: Fixed) -> None:
    """Undone, every byte of every file is what it was before the fix."""
    copy = fixed.suite.root.with_name("undone")
    shutil.copytree(fixed.suite.root, copy)
    answer = repair(copy, "undo", fixed.report["fix"]["run"])
    assert answer.code == 0, answer.told[-500:]
    assert differing(replace(fixed.suite, root=copy), fixed.suite.before) == []


def test_a_second_fix_has_nothing_to_do(fixed: Fixed) -> None:
    """After the fix there is nothing left to plan for the same cause, and nothing is written."""
    answer = repair(fixed.suite.root, "plan", CAUSE)
    assert answer.code == 1
    assert not (fixed.suite.root / "plan.json").exists()
    assert differing(fixed.suite, fixed.suite.after) == []


def test_types_alone_prove_all_but_one(suite: DriftedSuite, tmp_path: Path) -> None:
    """Without a run of the tests every call is planned but the one whose import may give another class: Any."""
    answer = repair(suite.root, "plan", CAUSE, "-o", str(tmp_path / "plan.json"))
    assert answer.code == 0, answer.told[-500:]
    [plan] = plan_file.read(tmp_path / "plan.json")
    planned = {(file.path, site.site.reference.name.start) for file in plan.files for site in file.sites}
    wanted = {(call.path, call.offset) for call in suite.calls if call.kind is not Kind.MISFIT}
    assert planned <= wanted
    assert {suite.before[path][:3] for path, _ in wanted - planned} == {b"try"}
    assert differing(suite, suite.before) == []


def test_without_the_migrated_files_the_tie_is_refused(tmp_path: Path) -> None:
    """When nothing breaks the tie of three factories, nothing is planned, all are named and `--to` is asked for."""
    suite = write(tmp_path / "suite", with_migrated=False)
    answer = repair(suite.root, "plan", CAUSE, "-o", str(tmp_path / "plan.json"))
    assert answer.code == 1
    for word in ("from_request", "from_agent_execution_context", "from_request_supervisor", "--to"):
        assert word in answer.told
    assert differing(suite, suite.before) == []
    named = repair(suite.root, "plan", CAUSE, "--to", MEANT, "-o", str(tmp_path / "plan.json"), "--")
    assert named.code == 0, named.told[-500:]
    assert repair(suite.root, "apply", str(tmp_path / "plan.json")).code == 0
    assert differing(suite, suite.after) == []
