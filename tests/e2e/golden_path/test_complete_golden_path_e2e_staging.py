"""The golden path, end to end, over real sockets and a real server.

Against a server started for the tests; or against a deployed one when `STAGING_BASE_URL` and `STAGING_WEBSOCKET_URL`
are set, with users from `TEST_USERS_FILE` (JSON lines of `email` and `password`; registered on the spot without it),
and `TEST_USER_EMAIL` and `TEST_USER_PASSWORD` for the tests of one user. The accounts' usage records are replaced.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from netra_golden_path.client import Account, Target
from netra_golden_path.deployment import admitting, started
from netra_golden_path.prover import Options, prove
from tests.support.database import Backend, backend

__all__ = ["backend"]

USERS = 20
JOURNEYS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """The deployment that the environment names, or one started for these tests, over either database."""
    base_url = os.environ.get("STAGING_BASE_URL")
    if base_url:
        if backend.name != "sqlite":
            pytest.skip("the deployment has its own database")
        yield Target.of(base_url, os.environ.get("STAGING_WEBSOCKET_URL") or None)
        return
    settings = backend.settings(tmp_path_factory.mktemp("data"))
    limits = {f"NETRA_{name.upper()}": value for name, value in settings.items()}
    async with started({**limits, **admitting(USERS, JOURNEYS)}) as deployment:
        yield Target.of(deployment.url)


def users_of(path: str) -> tuple[Account, ...]:
    """The accounts of a file of JSON lines; none when there is no such file named."""
    if not path:
        return ()
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return tuple(Account(row["email"], row["password"]) for row in rows)


def single_user() -> tuple[Account, ...]:
    """The account that the environment names for the tests of one user; none when it names none."""
    email, password = os.environ.get("TEST_USER_EMAIL"), os.environ.get("TEST_USER_PASSWORD")
    return (Account(email, password),) if email and password else ()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.timeout(180)
class TestCompleteGoldenPathE2EStaging:
    """The main job, judged from outside by the prover."""

    async def test_single_user_golden_path_staging(self, target: Target) -> None:
        """One user logs in, connects, asks, watches the five events and gets the right answer."""
        report = await prove(Options(target=target, users=1, accounts=single_user()))
        assert report.passed, report.as_json().decode()
        assert report.success_rate == 100

    async def test_user_comes_back_to_the_same_threads_staging(self, target: Target) -> None:
        """A user who comes back, to old threads and new ones, finds all that was said there."""
        report = await prove(Options(target=target, users=1, journeys=4, accounts=single_user()))
        assert report.passed, report.as_json().decode()

    async def test_multi_user_golden_path_concurrency_staging(self, target: Target) -> None:
        """Many users at once each get their own right answer, and nobody anything of another's."""
        accounts = users_of(os.environ.get("TEST_USERS_FILE", ""))
        users = min(len(accounts), USERS) if accounts else USERS
        report = await prove(Options(target=target, users=users, journeys=JOURNEYS, accounts=accounts))
        assert report.passed, report.as_json().decode()
        assert report.leaks == 0
        assert report.missing_events == 0
        assert report.measurements.journey.count == users * JOURNEYS
