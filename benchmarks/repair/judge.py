"""Runs a package's tests as its own developers would, and says how each ended; nothing of the tool is asked."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.repair.packages import CACHE, PYTEST_OPTIONS, Package, run_environment

TESTS_LIMIT_S = 120.0


def outcomes(package: Package, root: Path, files: Sequence[str] = (), *, must_end: bool = False) -> dict[str, str]:
    """How the tests of a copy of the tree end.

    Args:
        package: whose tests.
        root: the copy.
        files: test files; all that the benchmark runs when empty.
        must_end: whether tests that run into the time limit are an error.

    Returns:
        "passed", "failed" or "skipped" by node id. A test that could not be collected, or that came after a crash, is
        not there; none is after the time limit.

    Raises:
        subprocess.TimeoutExpired: when the tests must end and do not.
    """
    with tempfile.TemporaryDirectory(prefix="netra-outcomes-") as folder:
        target = Path(folder, "outcomes.json")
        environment = run_environment(package, root) | {"NETRA_OUTCOMES_TO": str(target)}
        environment["PYTHONPATH"] += f":{Path(__file__).parent}"
        command = [str(package.python), "-m", "pytest", "-p", "outcomes", *PYTEST_OPTIONS]
        command += ["--continue-on-collection-errors", *(f"--ignore={file}" for file in package.left_out)]
        try:
            subprocess.run(
                [*command, *(files or package.tests)],
                cwd=root,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TESTS_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            if must_end:
                raise
            return {}
        if not target.exists():
            return {}
        found: dict[str, str] = json.loads(target.read_text())
        return found


def baseline(package: Package) -> dict[str, str]:
    """How the unmodified tree's tests end; run once, then from the cache."""
    target = CACHE / "baselines" / f"{package.name}-{package.version}.json"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(outcomes(package, package.tree)))
    found: dict[str, str] = json.loads(target.read_text())
    return found


def broken(before: Mapping[str, str], after: Mapping[str, str], files: Sequence[str]) -> tuple[str, ...]:
    """Node ids in some files that passed and do anything else now, not being there included."""
    return tuple(
        sorted(
            test
            for test, outcome in before.items()
            if outcome == "passed" and after.get(test) != "passed" and test.partition("::")[0] in files
        )
    )
