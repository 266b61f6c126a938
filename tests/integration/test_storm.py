"""Callers who go away at random moments, over a database that takes its time; `make storm` does it for longer."""

from __future__ import annotations

from pathlib import Path

from blockbuster import BlockBuster

from tests.support.database import Backend
from tests.support.storms import Goodbye, stormy

CANCELLATIONS = 20
SEED = 16


async def test_nobody_is_answered_for_somebody_who_went_away(
    backend: Backend, tmp_path: Path, blockbuster: BlockBuster
) -> None:
    """However callers go away, each later answer is its own user's, and the pool is whole, idle and nobody's."""
    blockbuster.deactivate()  # the app is built in this process, which reads and makes files
    backend.lay(tmp_path)
    reports = {
        goodbye: report
        async for goodbye, report in stormy(backend, tmp_path, cancellations=CANCELLATIONS, seed=SEED, users=3)
    }
    assert {goodbye: report.details for goodbye, report in reports.items()} == {goodbye: [] for goodbye in Goodbye}
    for report in reports.values():
        assert report.cancelled >= CANCELLATIONS
        assert report.in_statement > 0
        assert report.answered > 0
