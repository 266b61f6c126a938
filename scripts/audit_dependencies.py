"""Holds the lock against what is known of vulnerabilities.

By itself pip-audit passes when its data knows none of the packages; here it is told how many were looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

LOCK: Final = "requirements/dev.lock"
AWAY: Final = ("Could not connect", "ConnectionError", "Max retries exceeded", "Name or service not known", "HTTPError")
"""What pip-audit says of data that cannot be had, as against a lock that cannot be read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What there is to say, and whether the check has failed."""

    told: str
    has_failed: bool


def judge(answer: str, complaint: str, lock: str = LOCK) -> Verdict:
    """The verdict on what pip-audit has answered.

    Args:
        answer: its standard output: JSON, when it came to its end.
        complaint: its standard error.
        lock: what was audited, for people.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (complaint.strip().splitlines() or ["no answer"])[-1][:200]
        if any(sign in complaint for sign in AWAY):
            return Verdict(f"pip-audit: {lock} was NOT audited, its data cannot be had now: {last}", has_failed=False)
        return Verdict(f"pip-audit: {last}", has_failed=True)
    found = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'none'}"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    if found:
        remedy = "raise it: make lock LOCK_ARGS='--upgrade-package NAME'"
        return Verdict("\n".join([*(f"pip-audit: {fault}" for fault in found), remedy]), has_failed=True)
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        return Verdict(
            f"pip-audit: {lock} was NOT audited, its data knows none of the {len(packages)} packages", has_failed=False
        )
    if unknown:
        return Verdict(
            f"pip-audit: not audited, for its data does not know them: {', '.join(unknown)}", has_failed=False
        )
    return Verdict("", has_failed=False)


def main(argv: Sequence[str]) -> int:
    """Audit the lock, or another requirements file; returns 1 when something known is wrong with it."""
    lock = argv[0] if argv else LOCK
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", lock, "--require-hashes", "--disable-pip",
        "--format", "json", "--progress-spinner", "off", "--timeout", "5",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # nosec B603  # pip-audit
    verdict = judge(ran.stdout, ran.stderr, lock)
    if verdict.told:
        print(verdict.told, file=sys.stderr)
    return 1 if verdict.has_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
