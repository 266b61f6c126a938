"""The audit of the dependencies: a vulnerability fails it, missing data does not, and neither goes unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts import audit_dependencies
from scripts.audit_dependencies import NOT_AUDITED, audit, judge

GOOD: dict[str, Any] = {"name": "good", "version": "1", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "unknown", "skip_reason": "not found"}
BAD: dict[str, Any] = {"name": "bad", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3", "4"]}]}
HOPELESS: dict[str, Any] = {"name": "worse", "version": "5", "vulns": [{"id": "CVE-2", "fix_versions": []}]}


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([GOOD, GOOD], 0, "2 dependencies have no known vulnerability"),
        ([GOOD, SKIPPED], 0, "1 dependencies have no known vulnerability, 1 could not be audited"),
        ([SKIPPED, SKIPPED], 0, f"{NOT_AUDITED}: it knows none of the 2 packages"),
        ([GOOD, BAD, SKIPPED], 1, "bad 2: CVE-1, fixed in 3, 4"),
        ([BAD, HOPELESS], 1, "bad 2: CVE-1, fixed in 3, 4\nworse 5: CVE-2, fixed in none"),
    ],
)
def test_a_report_is_judged(packages: list[dict[str, Any]], code: int, words: str) -> None:
    """Only a known vulnerability fails, and how many packages were looked at is said."""
    assert judge({"dependencies": packages}) == (code, words)


def test_a_tool_that_fails_is_told(tmp_path: Path) -> None:
    """What pip-audit says when it has no report is handed on, and fails nothing."""
    code, words = audit(tmp_path / "no.lock")
    assert code == 0
    assert words.startswith(NOT_AUDITED)
    assert "no.lock" in words


def test_a_tool_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that swallows everything ends the audit, not the check."""
    monkeypatch.setattr(audit_dependencies, "LIMIT_SECONDS", 0)
    assert audit(audit_dependencies.LOCK) == (0, f"{NOT_AUDITED}: no answer within 0 s")
