"""Hold the lock against published vulnerabilities, by pip-audit; says so where their data cannot be had.

python scripts/audit_dependencies.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements" / "dev.lock"
LIMIT_SECONDS = 120
NOT_AUDITED = "dependencies were not audited: pip-audit cannot get its data from here"


def audit(lock: Path) -> tuple[int, str]:
    """Audit a lock.

    Args:
        lock: of names, versions and hashes.

    Returns:
        The exit code and what to say: 1 and every vulnerability, or 0. Where the data cannot be had, or not of all
        packages, that is said, and is no failure: a machine without a network must be able to check.
    """
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--require-hashes",
        "--format", "json", "--progress-spinner", "off", "--timeout", "10",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)  # noqa: S603 its own words
    except subprocess.TimeoutExpired:
        return 0, f"{NOT_AUDITED}: no answer within {LIMIT_SECONDS} s"
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return 0, f"{NOT_AUDITED}: {last[:200]}"
    return judge(report)


def judge(report: dict[str, Any]) -> tuple[int, str]:
    """What a report of pip-audit, as JSON, amounts to; see `audit`."""
    packages = report["dependencies"]
    told = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    skipped = sum("skip_reason" in package for package in packages)
    if told:
        return 1, "\n".join(told)
    if skipped == len(packages):
        return 0, f"{NOT_AUDITED}: it knows none of the {skipped} packages"
    partly = f", {skipped} could not be audited" if skipped else ""
    return 0, f"{len(packages) - skipped} dependencies have no known vulnerability{partly}"


if __name__ == "__main__":
    code, words = audit(LOCK)
    print(words, file=sys.stderr if code else sys.stdout)
    sys.exit(code)
