"""One real server for all tests of a module, and two users on it for each test."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.nursery import Account, Nursery, nursing
from tests.support.people import ann, bob
from tests.support.person import a_person
from tests.support.server import Server, serving

__all__ = ["ann", "bob", "server"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with its default settings."""
    async with serving(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    """Where the servers come from."""
    async with nursing() as nursery:
        yield nursery


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """A data folder in which a user has registered."""
    data_dir = tmp_path_factory.mktemp("account") / "data"
    server = await nursery.start(data_dir)
    async with a_person(server) as ann:
        token = ann.access_token
    server.signal(signal.SIGTERM)
    assert await nursery.ended(server) == 0
    return Account(data_dir, token)
