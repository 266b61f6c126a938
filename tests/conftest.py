"""What every test runs under."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings
from pytest_asyncio import is_async_test

from tests.support.database import PostgresDatabases
from tests.support.postgres import PostgresServer, postgres

# `--hypothesis-profile=long` is for nights. No deadline: a slow machine is no counterexample.
settings.register_profile("quick", max_examples=50, deadline=None, print_blob=True)
settings.register_profile(
    "long", max_examples=5_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of a process, started by the first that needs it."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: PostgresServer) -> Iterator[PostgresDatabases]:
    """Databases on that server."""
    databases = PostgresDatabases(postgres_server)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def _blocking_calls() -> BlockBuster:
    return BlockBuster(["netra_backend", "netra_golden_path"])


@pytest.fixture(autouse=True)
def blockbuster(request: pytest.FixtureRequest, _blocking_calls: BlockBuster) -> Iterator[BlockBuster | None]:
    """Raises `BlockingError` where our code blocks the event loop of an asynchronous test.

    Blocking means sleeping, file, socket and SQLite calls and contended locks; calls in worker threads, and those that
    the test itself or a library makes without us on the stack, are let through. A test that has to block takes this
    fixture and calls `deactivate()`.

    Yields:
        The active detector; None in a synchronous test.
    """
    if not is_async_test(request.node):
        yield None
        return
    _blocking_calls.activate()
    try:
        yield _blocking_calls
    finally:
        _blocking_calls.deactivate()
