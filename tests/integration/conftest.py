"""One real server for all tests of a module, and two users on it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.people import ann, bob
from tests.support.server import Server, serving

__all__ = ["ann", "bob", "server"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with its default settings."""
    async with serving(tmp_path_factory.mktemp("data")) as running:
        yield running
