"""The audit of the lock: what fails, and what is only told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.audit_dependencies import judge

FAULT = {"id": "PYSEC-2026-1", "fix_versions": ["2.0"], "aliases": [], "description": "bad"}


def _answer(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_fails() -> None:
    """What is wrong with a package is told with the version that mends it, and fails the check."""
    verdict = judge(
        _answer({"name": "a", "version": "1.0", "vulns": [FAULT]}, {"name": "b", "version": "1", "vulns": []}), ""
    )
    assert verdict.has_failed
    assert "a 1.0: PYSEC-2026-1, mended in 2.0" in verdict.told


def test_nothing_known_is_said_by_silence() -> None:
    """When every package was looked up and nothing is known, there is nothing to say."""
    verdict = judge(_answer({"name": "a", "version": "1.0", "vulns": []}), "")
    assert (verdict.told, verdict.has_failed) == ("", False)


def test_data_that_knows_nothing_is_no_audit() -> None:
    """When no package could be looked up, that is told in so many words, though pip-audit itself passes."""
    verdict = judge(_answer({"name": "a", "skip_reason": "not found"}, {"name": "b", "skip_reason": "not found"}), "")
    assert "NOT audited" in verdict.told
    assert not verdict.has_failed


def test_packages_that_were_passed_over_are_named() -> None:
    """Packages that the data does not know are named beside those that it knows."""
    verdict = judge(_answer({"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "?"}), "")
    assert verdict.told.endswith(": b")
    assert not verdict.has_failed


@pytest.mark.parametrize(
    ("complaint", "has_failed"),
    [
        ("ERROR: Could not connect to PyPI's vulnerability feed\nERROR: Tip: your network may be blocking it", False),
        ("requests.exceptions.ConnectionError: Name or service not known", False),
        ("ERROR: requirement x is not pinned", True),
        ("", True),
    ],
)
def test_only_missing_data_is_forgiven(complaint: str, has_failed: bool) -> None:
    """Data that cannot be had is told and fails nothing; an audit that cannot be made otherwise fails."""
    verdict = judge("", complaint)
    assert verdict.has_failed is has_failed
    assert verdict.told.startswith("pip-audit: ")
