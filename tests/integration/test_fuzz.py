"""A short round of what `make fuzz` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz.frames import fuzz_frames
from benchmarks.fuzz.over_http import fuzz_http
from benchmarks.fuzz.watch import MIB, watched
from tests.support.person import a_person


async def test_frames_that_nobody_means_do_no_harm(tmp_path: Path) -> None:
    """Whatever is sent to the socket is answered or closed as the wire says, and others are served all the time."""
    async with watched(tmp_path) as watch, a_person(watch.server) as person:
        watch.warm()
        outcome = await fuzz_frames(watch.server, person, 3_000, seed=1)
        assert watch.growth_bytes < 64 * MIB
    assert outcome.sent >= 3_000
    assert (outcome.faults, watch.faults, watch.read_log()) == ([], [], [])
    assert len(outcome.answers) > 10
    assert watch.answers


@pytest.mark.timeout(180)
async def test_requests_that_nobody_means_do_no_harm(tmp_path: Path) -> None:
    """All checks of schemathesis hold over the OpenAPI document, and others are served all the time."""
    async with watched(tmp_path) as watch:
        outcome = await fuzz_http(watch.server.url, examples=2, seed=1, phases="fuzzing")
    assert outcome.passed, outcome.told
    assert outcome.cases > 40
    assert (watch.faults, watch.read_log()) == ([], [])
