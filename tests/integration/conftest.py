"""One real server, over either database, for all tests of a module, and two users on it for each test."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import pytest_asyncio

from tests.support.database import Backend, PostgresDatabases, backend
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
async def furnished(nursery: Nursery, backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home in which a user has registered, to be copied."""
    folder = tmp_path_factory.mktemp("home") / "data"
    home = Home(folder, settings=backend.settings(folder))
    server = await nursery.start(home)
    async with a_person(server) as ann:
        token = ann.access_token
    server.signal(signal.SIGTERM)
    assert await nursery.ended(server) == 0
    return replace(home, access_token=token)


@pytest.fixture
def home(furnished: Home, backend: Backend, tmp_path: Path) -> Iterator[Home]:
    """A home of the test's own."""
    folder = Path(copytree(furnished.data_dir, tmp_path / "data"))
    if not isinstance(backend, PostgresDatabases):
        yield replace(furnished, data_dir=folder)
        return
    template = furnished.settings["database_url"].rpartition("/")[2]
    name = backend.server.create(template)
    yield replace(furnished, data_dir=folder, settings={"database_url": backend.server.url(name)})
    backend.server.drop(name)
