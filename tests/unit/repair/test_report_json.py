"""The report for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.findings import Findings
from netra_repair.repair import Repair
from netra_repair.report.json_report import SCHEMA_VERSION, render
from tests.support import repair_values as values

PLACE = {"path", "line", "column", "end_column", "start", "end"}
REFERENCE = PLACE | {
    *("attribute", "use", "scope", "awaited", "in_string", "guard", "expression", "receiver_span", "call", "arguments")
}
CANDIDATE = {"name", "member", "score", "fits", "sites", "evidence"}
OWNER = {"name", "kind", "file", "line", "inside"}
# The keys of version 1, by where they are: a list is entered by its first item. Adding is free, losing one is not.
KEYS = {
    (): {"schema_version", "tool", "kind", "root", "scan", "causes", "plans", "fix"},
    ("tool",): {"name", "version"},
    ("scan",): {
        *("checker", "python", "files", "seconds", "warnings", "set_aside", "left_out", "blind", "unresolved"),
        *("unexplained", "suite"),
    },
    ("scan", "set_aside"): PLACE | {"reason", "detail"},
    ("scan", "left_out"): {"path", "reason", "detail"},
    ("scan", "blind"): {"path", "reason"},
    ("scan", "unresolved"): {"module", "places"},
    ("scan", "suite"): {"exit_code", "seconds", "interrupted", "foreign", "notes", "outcomes", "cases"},
    ("scan", "suite", "cases"): {"test", "outcome", "collected", "seconds", "reason", "raised"},
    ("causes",): {
        *("key", "headline", "kind", "owner", "attribute", "parameter", "sites", "unproven", "tests", "mentions"),
        *("past", "family", "ranking"),
    },
    ("causes", "owner"): OWNER,
    ("causes", "sites"): REFERENCE | {"receiver", "access", "proofs", "refusal", "tests"},
    ("causes", "sites", "receiver"): OWNER,
    ("causes", "sites", "refusal"): {"reason", "detail"},
    ("causes", "sites", "arguments"): {"start", "end", "keyword", "star", "name", "pure"},
    ("causes", "unproven"): REFERENCE,
    ("causes", "past"): {"verdict", "detail", "commit", "renamed_to", "signature", "renamed_parameters"},
    ("causes", "ranking"): {"decision", "reason", "margin", "candidates"},
    ("causes", "ranking", "candidates"): CANDIDATE,
    ("causes", "ranking", "candidates", "member"): {
        *("name", "owner", "kind", "is_async", "signature", "deprecated", "instance_only", "summary", "note", "line")
    },
    ("causes", "ranking", "candidates", "member", "signature"): {"name", "kind", "required"},
    ("causes", "ranking", "candidates", "evidence"): {"clue", "weight", "detail"},
    ("plans",): {"cause", "kind", "replacement", "candidate", "files", "refused"},
    ("plans", "candidate"): CANDIDATE,
    ("plans", "files"): {"path", "before_sha256", "after_sha256", "sites"},
    ("plans", "files", "sites"): PLACE | {"replacement", "before", "after", "note", "edits"},
    ("plans", "files", "sites", "edits"): {"start", "end", "text"},
    ("plans", "refused"): PLACE | {"reason", "detail"},
    ("fix",): {"run", "seconds", "success_rate", "tests", "causes", "later", "remaining", "refused", "diff"},
    ("fix", "success_rate", "before"): {"passed", "total", "percent"},
    ("fix", "tests"): {"restored", "regressed", "otherwise", "unchanged", "flaky", "passed"},
    ("fix", "causes"): {"key", "success_rate", "broken", "restored", "batches", "rolled_back", "uncovered"},
    ("fix", "causes", "success_rate", "after"): {"passed", "total", "percent"},
    ("fix", "refused"): PLACE | {"reason", "detail"},
}


def written(report: Findings | Repair) -> Any:
    """A report as it comes back from its text."""
    return json.loads(render(report))


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_documented_key_is_there(path: tuple[str, ...]) -> None:
    """The keys of the schema's first version are exactly these; whoever reads the report may rely on them."""
    value = written(values.repair())
    for key in path:
        value = value[key]
        value = value[0] if isinstance(value, list) else value
    assert set(value) == KEYS[path]


def test_a_scan_has_no_fix() -> None:
    """A scan and a fix have the same shape; `kind` tells them apart, and a scan's plans are those it is given."""
    scan = json.loads(render(values.findings(), [values.plan()]))
    assert (scan["schema_version"], scan["kind"], scan["fix"]) == (SCHEMA_VERSION, "scan", None)
    assert scan["plans"] == written(values.repair())["plans"]
    assert written(values.repair())["kind"] == "fix"


def test_every_value_of_a_scan_is_told() -> None:
    """Nothing that a scan, a cause or a fix holds is missing in the report."""
    assert {field.name for field in fields(Findings)} - {"root", "causes"} == set(written(values.findings())["scan"])
    assert {field.name for field in fields(values.factory_cause())} <= set(written(values.findings())["causes"][0])
    told = {"findings": "scan", "comparison": "tests"}
    assert {told.get(field.name, field.name) for field in fields(Repair)} - {"scan"} <= set(
        written(values.repair())["fix"]
    )


def test_places_count_from_one_in_code_points_and_bytes_from_zero() -> None:
    """A site after emoji and accents has its column in code points, and its offsets in bytes give the name back."""
    sites = written(values.findings())["causes"][0]["sites"]
    site = next(
        site for site in sites if (site["path"], site["line"], site["column"]) == ("tests/test_login.py", 12, 33)
    )
    assert site["end_column"] == 33 + len(values.GONE)
    data = values.TEXTS[site["path"]].encode()
    assert data[site["start"] : site["end"]].decode() == values.GONE
    assert values.TEXTS[site["path"]].splitlines()[11][32 : 32 + len(values.GONE)] == values.GONE


def test_edits_of_a_plan_give_the_files_it_promises() -> None:
    """Whoever applies the edits of the report to the bytes of a file gets the call that stands in `after`."""
    for file in written(values.repair())["plans"][0]["files"]:
        data = values.TEXTS[file["path"]].encode()
        edits = [edit for site in file["sites"] for edit in site["edits"]]
        for edit in sorted(edits, key=lambda edit: -int(edit["start"])):
            data = data[: edit["start"]] + edit["text"].encode() + data[edit["end"] :]
        assert all(site["after"] in data.decode() for site in file["sites"])


def test_nothing_tells_of_the_machine() -> None:
    """No absolute path is in the report: not of installed classes, not of what an exception quotes."""
    told = [text for text in texts_in(written(values.repair())) if values.MACHINE in text or text.startswith("/")]
    assert told == []
    owner = written(values.findings())["causes"][2]["owner"]
    assert (owner["file"], owner["inside"]) == ("site-packages/pandas/core/frame.py", False)


def test_the_root_is_as_it_was_given() -> None:
    """The project's root is the one path that is told as the user wrote it, absolute or not."""
    assert written(replace(values.findings(), root="/srv/x"))["root"] == "/srv/x"


def test_the_order_depends_on_nothing_but_the_report() -> None:
    """Tests come in the order of their names, however they ran, and the same report gives the same text."""
    scan = values.findings()
    assert scan.suite is not None
    turned = replace(scan.suite, cases=dict(reversed(scan.suite.cases.items())))
    assert render(replace(scan, suite=turned)) == render(scan) == render(values.findings())


def test_rates_are_told_with_their_counts() -> None:
    """A rate stands beside the numbers it comes from."""
    fix = written(values.repair())["fix"]
    assert fix["success_rate"]["before"] == {"passed": 2, "total": 8, "percent": 25.0}
    assert fix["causes"][0]["success_rate"]["after"] == {"passed": 3, "total": 4, "percent": 75.0}


@given(st.text(st.characters()))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    """Whatever a warning holds, lone surrogates too, the report can be written in any code and read again."""
    report = render(replace(values.findings(), warnings=(text,)))
    assert json.loads(report.encode("ascii"))["scan"]["warnings"] == [text]
