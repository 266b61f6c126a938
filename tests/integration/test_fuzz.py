"""Requests and frames that nobody means, while others go on working; `make fuzz` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.api_fuzz import fuzz_api
from tests.support.database import Backend, on_sqlite
from tests.support.frame_fuzz import fuzz_frames
from tests.support.fuzz import SETTINGS
from tests.support.siege import besieged

SEED = 5
EXAMPLES = 2
FRAMES = 1_000


@on_sqlite  # what is asked for is about the API; `make fuzz` takes minutes
@pytest.mark.timeout(180)
async def test_the_api_is_as_its_document_says_whatever_is_asked(backend: Backend, tmp_path: Path) -> None:
    """Every check of schemathesis holds for what the document describes, nothing fails, and others notice nothing."""
    async with besieged(tmp_path / "data", **SETTINGS, **backend.settings(tmp_path)) as siege:
        fuzzed = await fuzz_api(siege, examples=EXAMPLES, seed=SEED, phases="fuzzing")
    assert fuzzed.is_good, fuzzed.told
    assert siege.faults == []
    assert siege.leaks == 0


@pytest.mark.timeout(180)
async def test_a_socket_takes_whatever_frames_come(backend: Backend, tmp_path: Path) -> None:
    """Whatever frames come, each is answered or the socket is closed for it; nothing fails, others notice nothing."""
    async with besieged(tmp_path / "data", **SETTINGS, **backend.settings(tmp_path)) as siege:
        fuzzed = await fuzz_frames(siege, frames=FRAMES, seed=SEED)
    assert fuzzed.faults == []
    assert fuzzed.frames >= FRAMES
    assert siege.faults == []
    assert siege.leaks == 0
