"""Two users of a module's server, new for each test; a conftest imports them beside its `server` fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.person import Person, a_person
from tests.support.server import Server

__all__ = ["ann", "bob"]


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
