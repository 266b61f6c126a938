"""One real server, over either database, for all tests of a module, and two users on it for each test."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import pytest_asyncio

from tests.support.database import Backend, backend
from tests.support.nursery import Home, Nursery, nursing
from tests.support.people import ann, bob
from tests.support.person import a_person
from tests.support.server import Server, serving

__all__ = ["ann", "backend", "bob", "server"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with its default settings."""
    data_dir = tmp_path_factory.mktemp("data")
    async with serving(data_dir, **backend.settings(data_dir)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    """Where the servers come from."""
    async with nursing() as nursery:
        yield nursery


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def furnished(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which a user has registered, to be copied."""
    home = Home(tmp_path_factory.mktemp("home") / "data")
    server = await nursery.start(home)
    async with a_person(server) as ann:
        token = ann.access_token
    server.signal(signal.SIGTERM)
    assert await nursery.ended(server) == 0
    return replace(home, access_token=token)


@pytest.fixture
def home(furnished: Home, tmp_path: Path) -> Home:
    """A home of the test's own."""
    return replace(furnished, data_dir=Path(copytree(furnished.data_dir, tmp_path / "data")))
