"""What is open when a session ends, over either database."""

from __future__ import annotations

import pytest

from benchmarks.revocation import REVOCATIONS, measure
from tests.support.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_way_to_end_a_session_ends_what_is_open(server: Server) -> None:
    """Signing out, a changed password, a stolen refresh token and an erasure end sockets and streams."""
    figures = await measure(server, users=2)
    assert set(figures) == set(REVOCATIONS)
    assert all(len(figure["sockets"]) == len(figure["streams"]) == 2 for figure in figures.values())
