"""One real server, over either database, for all tests of a module, and two users on it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.database import Backend, backend
from tests.support.people import ann, bob
from tests.support.server import Server, serving

__all__ = ["ann", "backend", "bob", "server"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with its default settings."""
    data_dir = tmp_path_factory.mktemp("data")
    async with serving(data_dir, **backend.settings(data_dir)) as running:
        yield running
