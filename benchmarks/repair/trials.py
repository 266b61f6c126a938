"""One trial: a fresh copy of a package drifts, the tool mends it, and bytes and tests say what that was worth."""

from __future__ import annotations

import ast
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.repair import tool
from benchmarks.repair.drift import Drift, Expectation, History, Kind, Spot, write_tree
from benchmarks.repair.judge import baseline, broken, outcomes
from benchmarks.repair.packages import Package
from benchmarks.repair.score import Change, Result, SiteCount, adjusted_rand_index, all_spots, changes, sites
from benchmarks.repair.selection import true_clusters
from benchmarks.repair.syntax import SourceFile


@dataclass(frozen=True)
class GroupResult:
    """How the failing tests of several drifts at once were told apart.

    Attributes:
        id: of the drifts.
        package: whose tree.
        tests: how many failing tests have one true cause.
        shared: how many several drifts break: they have no one answer and are left out.
        ari: the adjusted Rand index; 0 when there is no result.
        seconds: wall time of the tool.
        error: why there is no result, else "".
    """

    id: str
    package: str
    tests: int
    shared: int
    ari: float
    seconds: float
    error: str = ""


def mend(package: Package, drift: Drift) -> Result:
    """Lets the tool repair one drift, and judges it.

    Args:
        package: whose tree.
        drift: what is injected.
    """
    with tempfile.TemporaryDirectory(prefix="netra-trial-", ignore_cleanup_errors=True) as folder:
        root, before, report = Path(folder, package.name), Path(folder, "before"), Path(folder, "report.json")
        write_tree(package, [drift], drift.history, root)
        shutil.copytree(root, before, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        said = tool.run("fix", package, root, report, drift.test_files, "--apply")
        found, exact = compared(before, root, drift)
        mended = outcomes(package, root, drift.test_files)
        lines = {spot: _line(before, spot) for spot in all_spots(drift)}
    return _result(package, drift, said, found, exact, mended, lines)


def compared(before: Path, after: Path, drift: Drift) -> tuple[list[Change], bool]:
    """What stands at a drift's spots, and whether nothing else changed.

    Args:
        before: the drifted tree.
        after: the tree now.
        drift: what was injected.
    """
    found: list[Change] = []
    exact = True
    for path in sorted(path for path in before.rglob("*") if path.is_file() and not path.is_symlink()):
        name = path.relative_to(before).as_posix()
        now = after / name
        old, new = path.read_bytes(), now.read_bytes() if now.exists() else b""
        if old == new:
            continue
        spots = [spot for spot in all_spots(drift) if spot.file == name]
        here = changes(old, new, [*spots, *_of_aliases(name, old, drift)])
        exact = exact and here is not None
        found += here or []
    return found, exact


def _of_aliases(path: str, data: bytes, drift: Drift) -> Iterator[Spot]:
    """The arguments of calls by the drifted method's plain name, which an assignment or an import may have given it.

    The truth knows attributes only. What is right there, nobody says.
    """
    try:
        source = SourceFile(path, data)
    except (SyntaxError, ValueError):
        return  # test data that is broken on purpose
    for call in source.calls.values():
        if not isinstance(call.func, ast.Name) or call.func.id != drift.attribute:
            continue
        if drift.kind is Kind.KEYWORD_ONLY:
            yield from (Spot(path, source.start_of(value), "", "") for value in call.args)
        elif drift.kind is Kind.PARAMETER:
            old = drift.spots[0].old
            yield from (Spot(path, source.start_of(word), old, "") for word in call.keywords if word.arg == old)


def _result(
    package: Package,
    drift: Drift,
    said: tool.Report,
    found: list[Change],
    exact: bool,
    mended: dict[str, str],
    lines: dict[Spot, int],
) -> Result:
    mine = tool.own_causes(said, drift)
    candidates = mine[0]["ranking"]["candidates"] if mine else []
    changed = {change.spot: change.text for change in found if change.text != change.spot.old}
    chosen = sorted({plan["replacement"] for plan in said.plans if plan["files"]})
    if not exact:
        chosen.append("(inexact)")
    passing = {test for test, outcome in mended.items() if outcome == "passed"}
    ranked = candidates[0]["name"] if candidates else "" if mine else None
    right = (
        bool(chosen) and exact and all(text.replace(" ", "") == spot.new for spot, text in changed.items() if spot.new)
    )
    if drift.kind is Kind.KEYWORD_ONLY and right and changed:
        ranked = drift.answer  # one star may ask for several keywords: the edits say what was meant
    still = {test for test, outcome in baseline(package).items() if outcome == "passed"} - set(drift.broken)
    return Result(
        id=drift.id,
        package=drift.package,
        kind=drift.kind.value,
        expected=drift.expected.value,
        history=drift.history.value,
        sites=sites(drift, found),
        seen=len(tool.seen(said, drift, lines)),
        listed=tool.listed(said, drift),
        exact=exact,
        reported=len(said.causes),
        ranked=ranked,
        chosen=", ".join(chosen),
        answer=drift.answer,
        right_choice=right,
        reasons=tool.reasons(said, drift, [spot for spot in drift.spots if spot not in changed], lines),
        broken=len(drift.broken),
        restorable=len(drift.restorable),
        restored=len(passing & (drift.restorable if drift.expected is Expectation.REPAIR else set(drift.broken))),
        regressed=tuple(sorted(test for test in still - passing if test.partition("::")[0] in drift.test_files)),
        seconds=round(said.run.seconds, 2),
        peak_mib=round(said.run.peak_mib),
        error=said.error,
    )


def cluster(package: Package, group: tuple[Drift, ...]) -> GroupResult:
    """Lets the tool tell apart the failing tests of several drifts at once."""
    files = sorted({file for drift in group for file in drift.test_files})
    alone = {drift.id: _broken_by(package, [drift], files) for drift in group}
    lost = _broken_by(package, group, files)
    with tempfile.TemporaryDirectory(prefix="netra-trial-", ignore_cleanup_errors=True) as folder:
        root = Path(folder, package.name)
        write_tree(package, group, History.NONE, root)
        said = tool.run("scan", package, root, Path(folder, "report.json"), files)
    wanted = {test: cause for test, cause in true_clusters(alone).items() if test in lost}
    # Where arguments were reordered nothing is missing: what the tool explains by no cause is right to be together.
    nameless = {drift.id for drift in group if drift.kind is Kind.REORDER}
    found = {test: "no cause" for test, cause in wanted.items() if cause in nameless} | tool.clusters(said, wanted)
    return GroupResult(
        id=" + ".join(drift.id for drift in group),
        package=package.name,
        tests=len(wanted),
        shared=len(lost) - len(wanted),
        ari=0.0 if said.error else adjusted_rand_index(wanted, found),
        seconds=round(said.run.seconds, 2),
        error=said.error,
    )


def _broken_by(package: Package, drifts: Sequence[Drift], files: Sequence[str]) -> set[str]:
    """The tests of some files that drifts break."""
    with tempfile.TemporaryDirectory(prefix="netra-trial-", ignore_cleanup_errors=True) as folder:
        root = Path(folder, package.name)
        write_tree(package, drifts, History.NONE, root)
        return set(broken(baseline(package), outcomes(package, root, files), files))


def _line(root: Path, spot: Spot) -> int:
    return (root / spot.file).read_bytes()[: spot.start].count(b"\n") + 1


def append(path: Path, result: Result | GroupResult) -> None:
    """One line of a journal, so that an interrupted run goes on where it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"what": type(result).__name__, **asdict(result)}) + "\n")


def read(path: Path) -> list[Result | GroupResult]:
    """The results of a journal."""
    if not path.exists():
        return []
    return [_parsed(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _parsed(data: dict[str, Any]) -> Result | GroupResult:
    what = data.pop("what")
    if what == GroupResult.__name__:
        return GroupResult(**data)
    return Result(**{**data, "sites": SiteCount(**data["sites"])})


def results(found: Iterable[Result | GroupResult]) -> list[Result]:
    """Those of single drifts."""
    return [result for result in found if isinstance(result, Result)]


def groups(found: Iterable[Result | GroupResult]) -> list[GroupResult]:
    """Those of drifts together."""
    return [result for result in found if isinstance(result, GroupResult)]
