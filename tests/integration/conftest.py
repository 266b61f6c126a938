"""One real server for all tests of a module, and two users on it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.person import Person, a_person
from tests.support.server import Server, serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with its default settings."""
    async with serving(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def ann(server: Server) -> AsyncIterator[Person]:
    """A user."""
    async with a_person(server) as person:
        yield person


@pytest_asyncio.fixture(loop_scope="module")
async def bob(server: Server) -> AsyncIterator[Person]:
    """Another user."""
    async with a_person(server) as person:
        yield person
