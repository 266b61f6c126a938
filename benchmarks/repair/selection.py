"""Which of the possible drifts are taken: each is tried on the real tests, and must break what it claims to break."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

from benchmarks.repair.drift import Drift, Expectation, History, Kind, load, mend, save, write_tree
from benchmarks.repair.injections import PER_PACKAGE, QUOTA, SEED, injections
from benchmarks.repair.judge import baseline, broken, outcomes
from benchmarks.repair.packages import CACHE, Package
from benchmarks.repair.truth import truth

GROUPS_PER_PACKAGE = 4
GROUP_SIZES = (2, 3, 4)
# Two drifts of a group may not break mostly the same tests: then there would be no clustering to judge.
MOST_SHARED = 0.25


def selected(package: Package, seed: int = SEED) -> list[Drift]:
    """The drifts of a package, with the tests that each breaks; from the cache when they were tried before."""
    target = CACHE / "drifts" / f"{package.name}-{package.version}-{seed}.json"
    if not target.exists():
        save(target, _tried(package, seed))
    return load(target)


def _tried(package: Package, seed: int) -> list[Drift]:
    """The quota of each kind, then renames until the package has its share."""
    candidates = list(injections(package, truth(package), seed))
    taken: list[Drift] = []
    names: set[str] = set()

    def take(kind: Kind, most: int) -> None:
        for drift in candidates:
            if sum(other.kind is kind for other in taken) >= most or len(taken) >= PER_PACKAGE:
                return
            if drift.kind is kind and drift.attribute not in names and (tried := _breaks(package, drift)):
                taken.append(tried)
                names.add(drift.attribute)

    for kind in sorted(QUOTA, key=lambda kind: QUOTA[kind]):  # the rare ones have the first pick
        take(kind, QUOTA[kind])
    take(Kind.RENAME, PER_PACKAGE)
    return taken


def _breaks(package: Package, drift: Drift) -> Drift | None:
    """The drift with the tests it breaks.

    Returns:
        None when it breaks none and should, or should not and does; when the tests do not end with it, which says
        nothing of any of them; and when mending every spot does not bring back every test that can come back: then the
        truth about it has a hole.
    """
    with tempfile.TemporaryDirectory(prefix="netra-drift-") as folder:
        root = Path(folder, package.name)
        write_tree(package, [drift], History.NONE, root)
        try:
            drifted = outcomes(package, root, drift.test_files, must_end=True)
        except subprocess.TimeoutExpired:
            return None
        lost = broken(baseline(package), drifted, drift.test_files)
        tried = replace(drift, broken=lost)
        if bool(lost) == (drift.expected is Expectation.SILENCE):
            return None
        if drift.expected is Expectation.REPAIR:
            mend(root, drift)
            still = broken(baseline(package), outcomes(package, root, drift.test_files), drift.test_files)
            if tried.restorable & set(still):
                return None
    return tried


def grouped(package: Package, drifts: Iterable[Drift], seed: int = SEED) -> Iterator[tuple[Drift, ...]]:
    """Drifts that are injected together, so that there is something to tell apart.

    Args:
        package: whose drifts.
        drifts: the selected ones.
        seed: decides which go together.
    """
    random = Random(f"{seed} groups {package.name}")
    able = [drift for drift in drifts if drift.expected is not Expectation.SILENCE and len(drift.broken) >= 2]
    random.shuffle(able)
    found = 0
    while able and found < GROUPS_PER_PACKAGE:
        group = [able.pop(0)]
        size = GROUP_SIZES[found % len(GROUP_SIZES)]
        for other in list(able):
            if len(group) < size and all(_apart(other, one) for one in group):
                group.append(other)
                able.remove(other)
        if len(group) > 1:
            found += 1
            yield tuple(group)


def _apart(one: Drift, two: Drift) -> bool:
    """Whether two drifts touch different lines of code and mostly different tests."""
    shared = set(one.broken) & set(two.broken)
    if len(shared) > MOST_SHARED * min(len(one.broken), len(two.broken)):
        return False
    if {Kind.MOVED, Kind.MOVED_RENAMED} & {one.kind, two.kind} and set(one.owners) & set(two.owners):
        return False
    return not any(a.file == b.file and a.start <= b.end and b.start <= a.end for a in one.splices for b in two.splices)


def true_clusters(broken: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Which drift breaks each test.

    Args:
        broken: by drift, the tests that it breaks alone, of all that are run: not only of the files that come to it.

    Returns:
        The drift of each test; those that several drifts break have no one answer and are left out.
    """
    counts = Counter(test for tests in broken.values() for test in tests)
    return {test: drift for drift, tests in broken.items() for test in tests if counts[test] == 1}
