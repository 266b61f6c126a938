"""SARIF 2.1.0: what the standard requires, what code scanning needs, and fixes that fit."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.causes import RootCause, Site
from netra_repair.diagnostics import CauseKind
from netra_repair.edits import Edit, spliced
from netra_repair.findings import Findings
from netra_repair.plan import Plan
from netra_repair.refusals import Reason, Refusal
from netra_repair.repair import Repair
from netra_repair.report.sarif import render
from netra_repair.source import Position, Source, Span
from tests.support import repair_values as values

_FINGERPRINT = "netraSite/v1"


def run_of(report: Findings | Repair, *plans: Plan) -> Any:
    """The one run of a report's log."""
    log = json.loads(render(report, values.read, plans))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    return run


def place_of(result: Any) -> tuple[str, Any]:
    """File and region of a result."""
    (location,) = result["locations"]
    physical = location["physicalLocation"]
    return unquote(physical["artifactLocation"]["uri"]), physical["region"]


def text_of(source: Source, region: Any) -> str:
    """The text that a region marks."""
    start = source.offset(Position(region["startLine"], region["startColumn"]))
    end = source.offset(Position(region["endLine"], region["endColumn"]))
    return source.slice(Span(start, end))


def alone(site: Site, cause: RootCause | None = None) -> Findings:
    """A scan that found one site of a cause."""
    return replace(values.findings(), causes=(replace(cause or values.factory_cause(), sites=(site,)),))


def fingerprints(text: str, path: str = "tests/test_login.py") -> list[str]:
    """The fingerprints of all sites of a file with this text."""
    source = Source.of(path, text.encode())
    sites = []
    for found in re.finditer(r"(?<=Context\.)create_for_user", text):
        start = source.offset_of_index(found.start())
        reference = replace(
            values.reference("tests/test_login.py", values.GONE),
            path=path,
            name=Span(start, start + len(values.GONE)),
            position=source.position(start),
        )
        sites.append(values.site(reference))
    scan = replace(values.findings(), causes=(replace(values.factory_cause(), sites=tuple(sites)),))
    (run,) = json.loads(render(scan, lambda _: source))["runs"]
    return [result["partialFingerprints"][_FINGERPRINT] for result in run["results"]]


def test_the_run_says_who_made_it() -> None:
    """Tool, version, rules with help, the meaning of columns and of the base of paths are there."""
    run = run_of(values.findings())
    driver = run["tool"]["driver"]
    assert driver["name"] == "netra repair"
    assert driver["version"]
    assert [rule["id"] for rule in driver["rules"]] == [f"netra/{kind.value}" for kind in CauseKind]
    for rule in driver["rules"]:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["name"])
        for words in ("shortDescription", "fullDescription", "help"):
            assert rule[words]["text"].endswith(".")
    assert run["columnKind"] == "unicodeCodePoints"
    assert set(run["originalUriBaseIds"]) == {"%SRCROOT%"}


def test_one_result_for_each_defect() -> None:
    """Each site that is wrong is one result with rule, level, message, place, fingerprint and the key of its cause."""
    run = run_of(values.findings())
    rules = run["tool"]["driver"]["rules"]
    assert Counter(result["properties"]["cause"] for result in run["results"]) == {
        "app.context.Context.create_for_user": 5,
        "app.ids.make_id": 1,
        "pandas.core.frame.DataFrame.merge(keys=)": 1,
    }
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] == "error"
        assert result["message"]["text"]
        assert result["partialFingerprints"][_FINGERPRINT]


def test_regions_mark_the_name() -> None:
    """In every file that can be read the region, in code points, is exactly the attribute's name, also after emoji."""
    seen = []
    for result in run_of(values.findings())["results"]:
        path, region = place_of(result)
        if path in values.TEXTS:
            seen.append(text_of(values.read(path), region))
    assert seen == [values.GONE] * 5 + ["make_id"]


def test_paths_are_relative_and_encoded() -> None:
    """Files are named by a relative URI reference: forward slashes, whatever is not safe per cent-encoded."""
    uris = {
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in run_of(values.findings())["results"]
    }
    assert uris == {
        "tests/test_login.py",
        "tests/test%20our%20%28old%29%20100%25/test_guard.py",
        "tests/test_ids.py",
        "app/t%C3%A4ble.py",
    }


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: "/" not in text))
def test_any_file_name_comes_back(name: str) -> None:
    """Whatever a file is called, its URI is ASCII, and unquoting gives the name."""
    site = values.site(replace(values.reference("tests/test_ids.py", "make_id"), path=f"a/{name}"))
    (result,) = run_of(alone(site))["results"]
    assert place_of(result)[0] == f"a/{name}"
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert re.fullmatch(r"(?:[A-Za-z0-9_.~/-]|%[0-9A-F]{2})+", uri)


def test_a_project_below_the_working_folder_is_named_from_there() -> None:
    """Where the root was given as a folder of the repository, paths begin with it."""
    run = run_of(replace(values.findings(), root="sub/project"))
    assert place_of(run["results"][1])[0] == "sub/project/tests/test_login.py"


def test_related_locations_are_where_owner_and_replacement_are_defined() -> None:
    """A result leads to the class and to the method that was chosen, but never out of the project."""
    first, *_, last = run_of(values.findings(), values.plan())["results"]
    spots = [
        (
            spot["physicalLocation"]["artifactLocation"]["uri"],
            spot["physicalLocation"]["region"],
            spot["message"]["text"],
        )
        for spot in first["relatedLocations"]
    ]
    assert spots == [
        ("app/context.py", {"startLine": 4}, "class `app.context.Context` is defined here"),
        ("app/context.py", {"startLine": 6}, "`from_request` is defined here"),
    ]
    assert "relatedLocations" not in last


def test_fixes_give_the_bytes_of_the_plan() -> None:
    """Applying all replacements of a file, by line and column, gives what the plan's own splices give."""
    plan = values.plan()
    edits: dict[str, set[Edit]] = {}
    for result in run_of(values.findings(), plan)["results"]:
        for fix in result.get("fixes", []):
            assert fix["description"]["text"] == "Put `from_request` in place of `create_for_user`"
            (change,) = fix["artifactChanges"]
            path = unquote(change["artifactLocation"]["uri"])
            for replacement in change["replacements"]:
                region = replacement["deletedRegion"]
                source = values.read(path)
                start = source.offset(Position(region["startLine"], region["startColumn"]))
                end = source.offset(Position(region["endLine"], region["endColumn"]))
                edits.setdefault(path, set()).add(Edit(Span(start, end), replacement["insertedContent"]["text"]))
    assert sorted(edits) == [file.path for file in plan.files]
    for file in plan.files:
        source = values.read(file.path)
        assert Source.of(file.path, spliced(source, edits[file.path])).digest == file.after_sha256


def test_a_refused_site_says_why_and_has_no_fix() -> None:
    """A site that could not be rewritten is still an error; its message tells the reason, and it has no fix."""
    results = run_of(values.findings(), values.plan())["results"]
    (refused,) = [result for result in results if result["properties"]["refusal"] == "star-arguments"]
    assert "Not rewritten (star-arguments): `*fields` may hold anything" in refused["message"]["text"]
    assert "fixes" not in refused


@pytest.mark.parametrize("reason", [Reason.GUARDED, Reason.ABSENCE_TEST, Reason.UNREACHABLE])
def test_what_the_code_means_is_no_result(reason: Reason) -> None:
    """A site whose code expects the absence is not wrong; an alert for it could only be dismissed."""
    site = replace(values.factory_cause().sites[1], refusal=Refusal(reason, "by intent"))
    assert run_of(alone(site))["results"] == []


def test_what_nobody_could_prove_is_no_result() -> None:
    """A site without proof is listed elsewhere and accused nowhere."""
    site = replace(values.factory_cause().sites[1], proofs=(), receiver=None, access=None)
    assert run_of(alone(site))["results"] == []


@pytest.mark.parametrize(
    ("reason", "level"),
    [
        (Reason.SOME_OF_A_UNION, "warning"),
        (Reason.DYNAMIC_OWNER, "note"),
        (Reason.NOT_A_LOAD, "note"),
        (Reason.TIE, "error"),
        (Reason.DIRTY, "error"),
    ],
)
def test_levels_follow_what_is_known(reason: Reason, level: str) -> None:
    """What fails for sure is an error whatever keeps the tool from rewriting it; what may fail is less."""
    site = replace(values.factory_cause().sites[1], refusal=Refusal(reason, "because"))
    (result,) = run_of(alone(site))["results"]
    assert result["level"] == level


def test_after_a_fix_only_what_is_left_is_told() -> None:
    """Rewritten sites are gone, those left have no fixes, and in a rewritten file a whole line without columns."""
    results = run_of(values.repair())["results"]
    assert [place_of(result) for result in results[:2]] == [
        ("tests/test_login.py", {"startLine": 16}),
        ("tests/test_ids.py", {"startLine": 1, "startColumn": 21, "endLine": 1, "endColumn": 28}),
    ]
    assert not any("fixes" in result for result in results)
    assert len(run_of(values.repair(run=None))["results"]) == 7


def test_fingerprints_survive_moved_lines_and_new_indentation() -> None:
    """Lines that come before, and spaces inside the line, change no fingerprint; other words on the line do."""
    line = "x = Context.create_for_user(1)"
    (before,) = fingerprints(f"{line}\n")
    assert fingerprints(f"# more\n\nif True:\n    {line.replace(' = ', '  =  ')}\n") == [before]
    assert fingerprints(line.replace("1", "2")) != [before]
    assert fingerprints(line.replace("x =", "return")) != fingerprints(line.replace("x = ", "return"))
    assert fingerprints(line, "tests/other.py") != [before]


def test_equal_lines_have_fingerprints_of_their_own() -> None:
    """Sites on equal lines, or on one line, are told apart by their order, and stay so when lines are added."""
    line = "pair = Context.create_for_user(1), Context.create_for_user(1)\n"
    four = fingerprints(line * 2)
    assert len(set(four)) == 4
    assert fingerprints(f"import os\n{line}\n\n{line}") == four


@given(st.lists(st.sampled_from(["a", "b", ""]), max_size=6))
def test_adding_lines_never_changes_fingerprints(added: list[str]) -> None:
    """Whatever lines without a site come before, fingerprints are the same."""
    text = "\n".join([*added, "Context.create_for_user(1)", "Context.create_for_user(2)"])
    assert fingerprints(text) == fingerprints("Context.create_for_user(1)\nContext.create_for_user(2)\n")


def test_warnings_are_notifications_and_nothing_analysed_is_no_success() -> None:
    """What must be known is told with the invocation, and a scan of no file did not succeed."""
    (invocation,) = run_of(values.findings())["invocations"]
    assert invocation["executionSuccessful"] is True
    texts = [each["message"]["text"] for each in invocation["toolExecutionNotifications"]]
    assert "2 tests are skipped everywhere" in texts
    (failed,) = run_of(replace(values.findings(), files=0, causes=()))["invocations"]
    assert failed["executionSuccessful"] is False
