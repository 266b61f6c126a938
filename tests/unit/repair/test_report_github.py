"""Workflow commands of GitHub Actions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netra_repair.findings import Findings
from netra_repair.repair import Repair
from netra_repair.report.github import render
from netra_repair.report.words import printable
from tests.support import repair_values as values

ORDERED = "file line endLine col endColumn title".split()


@dataclass(frozen=True)
class Command:
    """A workflow command as a runner understands it.

    Attributes:
        level: "error" or "warning".
        properties: by name, unescaped.
        message: unescaped.
    """

    level: str
    properties: dict[str, str]
    message: str


def parsed(text: str) -> list[Command]:
    """What a runner makes of a log: it cuts at "::", then at commas, then unescapes."""
    commands = []
    for line in text.split("\n")[:-1]:
        match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
        assert match is not None, line
        properties = dict(word.split("=", 1) for word in match[2].split(","))
        commands.append(
            Command(match[1], {key: unquote(value) for key, value in properties.items()}, unquote(match[3]))
        )
    return commands


def told(report: Findings | Repair, level: str = "error") -> list[Command]:
    """The commands of a level that a report gives."""
    return [command for command in parsed(render(report)) if command.level == level]


def test_one_error_for_each_cause() -> None:
    """A cause with many sites gives one annotation, at its first defect, with its reach, decision and next command."""
    first, second, third = told(values.findings())
    assert [*first.properties] == ORDERED
    assert first.properties == {
        "file": values.OLD,
        "line": "10",
        "endLine": "10",
        "col": "13",
        "endColumn": "28",
        "title": "class `Context` has no attribute `create_for_user`",
    }
    assert "6 sites in 2 files, 4 tests broken" in first.message
    assert "chosen: `from_request`" in first.message
    assert "netra repair fix app.context.Context.create_for_user" in first.message
    assert "tests/test_login.py:12:33" in first.message
    assert (second.properties["file"], third.properties["file"]) == ("tests/test_ids.py", "app/täble.py")


def test_a_guarded_site_is_no_error() -> None:
    """A cause whose only sites expect the absence gives no annotation."""
    cause = values.factory_cause()
    scan = replace(values.findings(), causes=(replace(cause, sites=cause.sites[:1]),))
    assert told(scan) == []


def test_after_a_fix_only_what_is_left_is_told() -> None:
    """Sites that were rewritten are gone; in a rewritten file only the line is told, where columns may have moved."""
    first, *_, regressed = told(values.repair())
    assert (first.properties["file"], first.properties["line"]) == ("tests/test_login.py", "16")
    assert "col" not in first.properties
    assert "1 star-arguments: `*fields`" in first.message
    assert regressed.properties == {"title": "1 test passed before the fix and not any more"}
    assert regressed.message == "tests/test_a.py::test_two"


def test_a_fix_that_wrote_nothing_leaves_everything() -> None:
    """As long as nothing was written every site stands, where it stood."""
    first, *_ = told(values.repair(run=None))
    assert (first.properties["line"], first.properties["col"]) == ("10", "13")


def test_warnings_are_told() -> None:
    """What must be known before trusting a scan is an annotation without a place."""
    warnings = told(values.findings(), "warning")
    assert warnings[0] == Command("warning", {"title": "netra repair"}, "2 tests are skipped everywhere")
    assert any("redis (14)" in warning.message for warning in warnings)
    (nothing, *_) = told(replace(values.findings(), files=0, causes=()), "warning")
    assert "nothing is proven" in nothing.message


def test_what_would_be_cut_is_counted() -> None:
    """GitHub shows ten errors of a step: with more causes the tenth annotation tells how many are not shown."""
    cause = values.import_cause()
    errors = told(replace(values.findings(), causes=tuple(replace(cause, attribute=f"id_{n}") for n in range(25))))
    assert len(errors) == 10
    assert errors[-1].message == "16 more of these are in the log and in the other reports"


@pytest.mark.parametrize(
    ("root", "file"),
    [
        (".", "tests/test_ids.py"),
        ("sub/project", "sub/project/tests/test_ids.py"),
        ("./sub/", "sub/tests/test_ids.py"),
        ("/srv/project", "tests/test_ids.py"),
        ("../other", "tests/test_ids.py"),
    ],
)
def test_files_are_told_from_the_working_folder(root: str, file: str) -> None:
    """Where the project is a folder of the repository, its files are named from the repository's root."""
    assert told(replace(values.findings(), root=root))[1].properties["file"] == file


@given(st.text(st.characters(), min_size=1))
@example("a::b")
@example("%0A%3A")
@example("x,line=1")
def test_no_name_breaks_out_of_its_command(name: str) -> None:
    """Whatever a cause, a file or a warning holds, it is one command a line, and comes back as it was shown."""
    site = values.import_cause().sites[0]
    reference = replace(site.reference, path=f"a{name}")
    cause = replace(values.import_cause(), attribute=name, sites=(replace(site, reference=reference),))
    (error,) = told(scan := replace(values.findings(), causes=(cause,), warnings=(name,)))
    assert error.properties["title"] == printable(f"module `app.ids` has no `{name}` to import")
    assert error.properties["file"] == printable(f"a{name}")
    assert told(scan, "warning")[0].message == printable(name, keep="\n")
