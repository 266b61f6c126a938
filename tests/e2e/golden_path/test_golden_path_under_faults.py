"""The golden path while connections are dropped and the server is killed; `make soak` does it for longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from netra_golden_path.client import Target
from netra_golden_path.deployment import admitting, started
from netra_golden_path.faults import UNTRIED_ATTEMPTS, Kills, killing
from netra_golden_path.invariants import ServiceLevels
from netra_golden_path.prover import Options, prove
from tests.support.database import Backend, backend

__all__ = ["backend"]

USERS = 10
JOURNEYS = 8
DROPS = 2
KILLS = 3  # a machine that is busy with other things starts a server slowly, and the users must get on between
LIMIT_S = 60.0


@pytest.mark.timeout(120)
async def test_nothing_is_lost_when_the_server_is_killed_under_load(backend: Backend, tmp_path: Path) -> None:
    """Every message that was accepted ends once, every entry comes once and in order, and nobody sees another's."""
    settings = {f"NETRA_{name.upper()}": value for name, value in backend.settings(tmp_path).items()}
    kills = Kills()
    async with started({**settings, **admitting(USERS, JOURNEYS, DROPS), **UNTRIED_ATTEMPTS}) as deployment:
        options = Options(
            target=Target.of(deployment.url),
            users=USERS,
            journeys=JOURNEYS,
            ramp_s=0,
            levels=ServiceLevels.none(LIMIT_S),
            limit_s=LIMIT_S,
            drops=DROPS,
            outlives_server=True,
        )

        @asynccontextmanager
        async def disturbance() -> AsyncIterator[None]:
            nonlocal kills
            async with killing(deployment, 1, options.seed, most=KILLS) as kills:
                yield

        report = await prove(options, disturbance=disturbance)
    assert report.passed, report.as_json().decode()
    assert kills.count > 0
    assert report.measurements.losses > 0
    assert report.measurements.drops > 0
