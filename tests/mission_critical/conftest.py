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
    """A server that gives up on a silent socket after half a second."""
    data_dir = tmp_path_factory.mktemp("data")
    async with serving(data_dir, authentication_timeout="PT0.5S", secret_key=SECRET_KEY) as running:
        yield running


SECRET_KEY = "a key that only this test's server and its forger know"
