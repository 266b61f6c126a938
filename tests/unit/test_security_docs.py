"""What the security documents promise to be shown by a test is shown by one that exists."""

from __future__ import annotations

import re

import pytest

from netra_backend.app.config import Settings
from netra_backend.app.telemetry import SecurityEvent


@pytest.fixture
def page(pytestconfig: pytest.Config) -> str:
    """docs/security.md."""
    return (pytestconfig.rootpath / "docs" / "security.md").read_text()


def test_every_test_that_is_named_exists(page: str, pytestconfig: pytest.Config) -> None:
    """A row of the table that names a test names a file of tests."""
    named = set(re.findall(r"`(tests/[^`]+)`", page))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (pytestconfig.rootpath / name).is_file()] == []


def test_every_setting_that_is_named_exists(page: str) -> None:
    """An operator who copies a setting's name from the page sets something."""
    named = set(re.findall(r"NETRA_([A-Z_]+[A-Z])", page))
    assert len(named) > 10
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_security_event_is_told(page: str) -> None:
    """Who watches the log finds every event on the page."""
    assert [event for event in SecurityEvent if f"`{event}`" not in page] == []
