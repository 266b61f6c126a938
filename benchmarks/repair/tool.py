"""The tool under measurement, as its users start it, and what its JSON report says about one drift."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.repair.drift import Drift, Kind, Spot
from benchmarks.repair.measure import Measured, measured
from benchmarks.repair.packages import Package, run_environment

REPOSITORY = Path(__file__).resolve().parents[2]
REPAIR = (sys.executable, "-c", "import sys; from netra_repair.cli import main; sys.exit(main())")
LIMIT_S = 240.0

# What the tool calls the causes that a drift of each kind has.
CAUSES = {
    Kind.PARAMETER: ("unexpected-keyword",),
    Kind.KEYWORD_ONLY: ("positional-count",),
    Kind.CLASS_TO_INSTANCE: ("missing-argument",),
}
ATTRIBUTE_CAUSES = ("missing-attribute",)


@dataclass(frozen=True)
class Report:
    """What a run of the tool said.

    Attributes:
        run: its time, memory and exit code.
        content: the JSON report; None when it wrote none.
    """

    run: Measured
    content: dict[str, Any] | None

    @property
    def error(self) -> str:
        """Why there is nothing to judge, else ""."""
        if self.run.exit_code is None:
            return f"stopped after {self.run.seconds:.0f} s"
        if self.content is None or self.run.exit_code not in (0, 1):
            return f"exit code {self.run.exit_code}: {' / '.join(self.run.output.strip().splitlines()[-3:])}"
        return ""

    @property
    def causes(self) -> list[dict[str, Any]]:
        """Every cause of every round."""
        content = self.content or {}
        return [*content.get("causes", ()), *((content.get("fix") or {}).get("later", ()))]

    @property
    def files(self) -> int:
        """How many files were analysed."""
        return int((self.content or {})["scan"]["files"])

    @property
    def plans(self) -> list[dict[str, Any]]:
        """What was done about each cause."""
        plans: list[dict[str, Any]] = (self.content or {}).get("plans", [])
        return plans


def run(command: str, package: Package, root: Path, report: Path, tests: Sequence[str], *words: str) -> Report:
    """Runs the tool on a copy of a package.

    Args:
        command: "fix" or "scan".
        package: whose environment the tests need.
        root: the copy.
        report: where its JSON goes.
        tests: test files.
        words: further options.
    """
    arguments = [*_command(command, root, package.python, report), *words, "--", "-p", "no:cacheprovider", *tests]
    environment = run_environment(package, root) | {"PYTHONPATH": str(REPOSITORY)}
    return _reported(measured(arguments, root, LIMIT_S, environment), report)


def scan(root: Path, python: Path, report: Path, limit_s: float) -> Report:
    """Scans any project, without its tests.

    Args:
        root: the project.
        python: its interpreter.
        report: where the JSON goes.
        limit_s: after how many seconds it is stopped.

    Raises:
        RuntimeError: when there is no report.
    """
    found = _reported(measured(_command("scan", root, python, report), REPOSITORY, limit_s), report)
    if found.error:
        raise RuntimeError(f"the scan of {root.name}: {found.error}")
    return found


def _command(command: str, root: Path, python: Path, report: Path) -> list[str]:
    return [*REPAIR, command, "--root", str(root), "--python", str(python), "-o", f"json:{report}"]


def _reported(found: Measured, report: Path) -> Report:
    return Report(found, json.loads(report.read_text()) if report.exists() else None)


def own_causes(report: Report, drift: Drift) -> list[dict[str, Any]]:
    """The causes that speak of a drift, most of its places first."""
    kinds = CAUSES.get(drift.kind, ATTRIBUTE_CAUSES)
    mine = [
        cause
        for cause in report.causes
        if cause["kind"] in kinds
        and cause["attribute"] == drift.attribute
        and (drift.kind is not Kind.PARAMETER or cause["parameter"] == drift.spots[0].old)
    ]
    return sorted(mine, key=lambda cause: -len(cause["sites"]))


def seen(report: Report, drift: Drift, lines: dict[Spot, int]) -> set[Spot]:
    """The places to mend that the report lists with a proven receiver, refused ones included.

    Args:
        report: of the tool.
        drift: what was injected.
        lines: of each spot, from 1. Offsets move between rounds, lines do not.
    """
    places = {(place["path"], place["line"]) for place, _ in _listed(report, drift)}
    spans = [
        (site["path"], site["call"]["start"], site["call"]["end"])
        for cause in own_causes(report, drift)
        for site in cause["sites"]
        if site["call"] is not None
    ]
    return {
        spot
        for spot in drift.spots
        if (spot.file, lines[spot]) in places
        or any(path == spot.file and start <= spot.start < end for path, start, end in spans)
    }


def listed(report: Report, drift: Drift) -> int:
    """How many places the report lists for a drift, proven ones only."""
    return len({(place["path"], place["line"], place["column"]) for place, _ in _listed(report, drift)})


def reasons(report: Report, drift: Drift, left: Iterable[Spot], lines: dict[Spot, int]) -> dict[str, int]:
    """Why places to mend were left alone: the refusal's reason, the ranking's decision, or that nobody saw them."""
    refusals = {(place["path"], place["line"]): reason for place, reason in _listed(report, drift) if reason}
    unproven = {(place["path"], place["line"]) for cause in own_causes(report, drift) for place in cause["unproven"]}
    proven = seen(report, drift, lines)
    decisions = [cause["ranking"]["decision"] for cause in own_causes(report, drift)]
    counts: Counter[str] = Counter()
    for spot in left:
        place = (spot.file, lines[spot])
        if place in refusals:
            counts[refusals[place]] += 1
        elif spot in proven:
            counts[f"decision: {decisions[0]}" if decisions else "not carried out"] += 1
        elif place in unproven:
            counts["listed without proof"] += 1
        else:
            counts["not seen"] += 1
    return dict(counts)


def _listed(report: Report, drift: Drift) -> Iterator[tuple[dict[str, Any], str]]:
    """Places of a drift's causes and plans, with the reason for which they were refused, or ""."""
    mine = own_causes(report, drift)
    keys = {cause["key"] for cause in mine}
    for cause in mine:
        for site in cause["sites"]:
            yield site, (site["refusal"] or {}).get("reason", "")
    for plan in report.plans:
        if plan["cause"] in keys:
            for file in plan["files"]:
                for site in file["sites"]:
                    yield {"path": file["path"], **site}, ""
            for site in plan["refused"]:
                yield site, site["reason"]


def clusters(report: Report, tests: Iterable[str]) -> dict[str, str]:
    """The clusters of failing tests: the causes that explain them.

    Args:
        report: of a scan.
        tests: node ids. A test whose file, or a conftest.py around it, could not be loaded is explained by what
            explains that.
    """
    keys: dict[str, set[str]] = {}
    for cause in report.causes:
        for case in cause["tests"]:
            keys.setdefault(case.removesuffix("conftest.py"), set()).add(_with_family(cause))
    found = {test: {key for case in _around(test) for key in keys.get(case, ())} for test in tests}
    return {test: " & ".join(sorted(causes)) for test, causes in found.items() if causes}


def _with_family(cause: Mapping[str, Any]) -> str:
    """The key of a cause, under the name of the method that its own overrides."""
    own = f"{cause['owner']['name']}.{cause['attribute']}"
    return (cause["family"] or own) + str(cause["key"]).removeprefix(own)


def _around(test: str) -> Iterator[str]:
    """A node id, its file and the folders around that, each with a slash at its end."""
    file = test.partition("::")[0]
    yield from (test, file, "")
    yield from (f"{folder}/" for folder in map(str, PurePosixPath(file).parents) if folder != ".")
