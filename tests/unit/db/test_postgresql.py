"""PostgreSQL: lost connections, several nodes at once, and clear words when it cannot be used."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import URL, Connection, make_url, text

from netra_backend.app.db import postgresql
from netra_backend.app.db.engine import Database, open_storage
from netra_backend.app.db.errors import DatabaseOpenError, OutcomeUnknownError, StorageUnavailableError
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.repositories.threads import ThreadRepository
from netra_backend.app.db.roles import Role
from netra_backend.app.runs.ledger import AppendEvents, ClaimRun, Ledger, Written
from netra_backend.app.services.refusals import StaleRunError
from netra_backend.app.services.run_state import RunStatus
from tests.support.database import (
    Backend,
    PostgresDatabases,
    add_users,
    administer,
    all_rows,
    database_url,
    on_postgresql,
    open_database,
    user_row,
)
from tests.support.made_contexts import make_context
from tests.support.postgres import INSTALLS, PostgresServer, postgres
from tests.support.severed_connection import Cut, Way, way_to
from tests.support.stored_runs import Published, completion, happening, message

pytestmark = on_postgresql

PATIENCE: Final = 20
"""Seconds after which something that should happen is given up; reached only by a test that fails."""


# Connections that are lost.


async def _disconnect_all(database: Database) -> None:
    """End every connection of a database's server processes, as a restart of the server does."""
    end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
               " AND pid <> pg_backend_pid()")  # fmt: skip
    await administer(database, lambda connection: connection.execute(end).all())


async def test_connections_that_died_while_nobody_used_them_are_replaced(database: Database) -> None:
    """After the server has ended all connections, the next write and the next read succeed as if nothing had been."""
    await add_users(database, "alice")
    threads = ThreadRepository(make_context("alice"), database)
    await threads.create("t1", None)
    await asyncio.gather(*(threads.get("t1") for _ in range(4)))
    await _disconnect_all(database)
    await threads.create("t2", None)
    assert [thread.thread_id for thread in (await threads.page(limit=9, cursor=None))[0]] == ["t2", "t1"]


async def test_a_connection_that_dies_in_the_middle_of_a_batch_costs_nothing(database: Database) -> None:
    """What the dead connection had not committed is applied again on a new one, once."""
    await add_users(database, "alice")
    attempts: list[int] = []

    def work(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        attempts.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        user_row(connection, "bob")
        if len(attempts) == 1:
            asyncio.run_coroutine_threadsafe(_disconnect_all(database), loop).result(PATIENCE)
        connection.execute(text("SELECT 1"))

    loop = asyncio.get_running_loop()
    await database.writer.run(work)
    assert len(set(attempts)) == 2
    assert [row.user_id for row in (await all_rows(database))["users"]] == ["alice", "bob"]


@pytest.fixture
def way(backend: PostgresDatabases) -> Iterator[Way]:
    """A way to the server that a test may cut."""
    with way_to(backend.server.port) as way:
        yield way


@pytest.fixture
async def far(database: Database, tmp_path: Path, way: Way) -> AsyncIterator[Database]:
    """The same database at the end of that way."""
    url = make_url(database_url(tmp_path)).set(port=way.port, query={"sslmode": "disable", "gssencmode": "disable"})
    far = await asyncio.to_thread(Database, url.render_as_string(hide_password=False))
    yield far
    await far.close()


@pytest.mark.parametrize("cut", [Cut.ON_THE_WAY, Cut.ON_THE_WAY_BACK])
async def test_a_commit_whose_end_was_lost_is_done_once(far: Database, way: Way, cut: Cut) -> None:
    """Stored or not when the connection broke in its commit: message and answer are there once, and told once."""
    await add_users(far, "alice")
    published = Published()
    ledger = Ledger(far, published)
    acknowledged: list[Written] = []
    way.cut = cut
    async with asyncio.timeout(PATIENCE):
        stored = await ledger.write(message("alice", "t", "r"), acknowledged.append)
    assert way.was_cut.is_set()
    assert (len(acknowledged), stored.repeated) == (1, False)
    run = (await ledger.write(ClaimRun("alice", "r"))).run
    way.was_cut.clear()
    way.cut = cut
    async with asyncio.timeout(PATIENCE):
        await ledger.write(AppendEvents(run, (happening(run), completion(run)), RunStatus.COMPLETED))
    assert way.was_cut.is_set()
    rows = await all_rows(far)
    expected = [(1, "user_message"), (2, "agent_started"), (3, "agent_thinking"), (4, "agent_completed")]
    assert [(row.seq, row.type) for row in rows["events"]] == expected
    assert [(entry.seq, str(entry.type)) for entry in published.entries] == expected
    assert len(rows["runs"]) == 1


async def test_a_caller_waits_while_the_end_of_the_commit_is_unknown(far: Database, way: Way) -> None:
    """While the server cannot be asked the caller waits, and later ones are refused at once; then the truth is told."""
    await add_users(far, "alice")
    ledger = Ledger(far, Published())
    way.cut = Cut.ON_THE_WAY_BACK
    way.is_open = False
    writing = ledger.write(message("alice", "t", "r"))
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(way.was_cut.wait)
        with pytest.raises(StorageUnavailableError, match="nothing was stored"):
            await ledger.write(message("alice", "t", "later"))
        assert not writing.done()
        way.is_open = True
        assert not (await writing).repeated
    assert len((await all_rows(far))["runs"]) == 1


async def test_a_shutdown_says_that_the_end_of_a_commit_is_unknown(far: Database, way: Way) -> None:
    """A server that must stop before it knows does not claim that nothing was stored."""
    await add_users(far, "alice")
    way.cut = Cut.ON_THE_WAY_BACK
    way.is_open = False
    writing = Ledger(far, Published()).write(message("alice", "t", "r"))
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(way.was_cut.wait)
        await far.close()
        with pytest.raises(OutcomeUnknownError, match="may be stored or not"):
            await writing


async def test_a_server_that_is_gone_for_a_while(tmp_path: Path, backend: Backend) -> None:
    """While it is away everything is refused at once and truthfully; when it is back, everything goes on by itself."""
    with postgres({"fsync": "off"}) as server:
        url = server.url(server.create())
        database = await asyncio.to_thread(Database, url)
        await asyncio.to_thread(upgrade, database.storage)
        await add_users(database, "alice")
        threads = ThreadRepository(make_context("alice"), database)
        await threads.create("before", None)
        await asyncio.to_thread(server.stop, signal.SIGQUIT)  # as a crash: nothing is written any more
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                with pytest.raises(StorageUnavailableError, match=r"(?i)connection"):
                    await threads.create("during", None)
                with pytest.raises(StorageUnavailableError, match=r"(?i)connection"):
                    await threads.get("before")
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(PATIENCE):
            await threads.create("after", None)
            page, _ = await threads.page(limit=9, cursor=None)
        assert [thread.thread_id for thread in page] == ["after", "before"]
        await database.close()


# Several nodes.


@pytest.fixture
async def nodes(database: Database, tmp_path: Path) -> AsyncIterator[tuple[Database, Database]]:
    """Two nodes on one database, in which alice has an account."""
    await add_users(database, "alice")
    async with open_database(tmp_path) as other:
        yield database, other


async def test_two_nodes_number_one_log_without_holes(nodes: Sequence[Database]) -> None:
    """Messages and events of both nodes in the same threads: each log is 1 to n, as every client of theirs is told."""
    published = [Published() for _ in nodes]
    ledgers = [Ledger(node, told) for node, told in zip(nodes, published, strict=True)]

    async def talk(ledger: Ledger, thread_id: str) -> None:
        for _ in range(5):
            stored = await ledger.write(message("alice", thread_id))
            run = (await ledger.write(ClaimRun("alice", stored.run.run_id))).run
            last = ledger.write(AppendEvents(run, (happening(run), completion(run)), RunStatus.COMPLETED))
            await asyncio.gather(ledger.write(message("alice", thread_id)), last)

    thread_ids = ["a", "b", "c"]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(talk(ledger, thread_id) for ledger in ledgers for thread_id in thread_ids))
    for thread_id in thread_ids:
        told = [entry.seq for one in published for entry in one.entries if entry.thread_id == thread_id]
        assert sorted(told) == list(range(1, 2 * 5 * 5 + 1))


async def test_a_message_sent_to_two_nodes_is_stored_once(nodes: Sequence[Database]) -> None:
    """The same client_message_id at both nodes at once, in threads that are new, is one message with one run."""
    ledgers = [Ledger(node, Published()) for node in nodes]
    for number in range(20):
        for names_thread in (True, False):
            written = await asyncio.gather(
                *(
                    ledger.write(
                        message(
                            "alice",
                            f"t{number}" if names_thread else f"t{number}-{place}",
                            client_message_id=f"m{number}",
                            names_thread=names_thread,
                        )
                    )
                    for place, ledger in enumerate(ledgers)
                )
            )
            assert len({one.run.run_id for one in written}) == 1
            assert sorted(one.repeated for one in written) == [False, True]


async def test_a_run_is_claimed_by_one_node(nodes: Sequence[Database]) -> None:
    """Of two nodes that claim a run at once one has it, in attempt 1, and the other is told that it is too late."""
    ledgers = [Ledger(node, Published()) for node in nodes]
    for number in range(20):
        await ledgers[0].write(message("alice", "t", f"r{number}"))
        claims = [ledger.write(ClaimRun("alice", f"r{number}")) for ledger in ledgers]
        outcomes = await asyncio.gather(*claims, return_exceptions=True)
        assert Counter(type(outcome) for outcome in outcomes) == {Written: 1, StaleRunError: 1}
        assert [one.run.attempt for one in outcomes if isinstance(one, Written)] == [1]


async def test_two_transactions_in_each_others_way_are_both_done(nodes: Sequence[Database]) -> None:
    """A deadlock undoes one of the two; it is applied again, and both callers hear that all is stored."""
    for node, thread_id in zip(nodes, ("a", "b"), strict=True):
        await ThreadRepository(make_context("alice"), node).create(thread_id, None)
    together = threading.Barrier(2)
    tries: list[str] = []

    def renaming(first: str, second: str) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            rename = text("UPDATE threads SET title = coalesce(title, '') || :by WHERE thread_id = :thread_id")
            connection.execute(rename, {"thread_id": first, "by": first})
            tries.append(first)
            if len(tries) <= 2:
                together.wait(PATIENCE)
            connection.execute(rename, {"thread_id": second, "by": first})

        return work

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(
            nodes[0].writer.run(renaming("a", "b"), user_id="alice"),
            nodes[1].writer.run(renaming("b", "a"), user_id="alice"),
        )
    assert len(tries) >= 3
    titles = [row.title for row in (await all_rows(nodes[0]))["threads"]]
    assert [sorted(title) for title in titles] == [["a", "b"], ["a", "b"]]


# Starting.


def _told(url: str | URL) -> str:
    """What somebody is told whose database cannot be used."""
    storage = open_storage(url if isinstance(url, str) else url.render_as_string(hide_password=False), reader_threads=1)
    with pytest.raises(DatabaseOpenError) as caught:
        upgrade(storage)
    storage.release()
    return str(caught.value)


@pytest.fixture
def url(database: Database, tmp_path: Path) -> URL:
    """The URL of a database that is up to date."""
    return make_url(database_url(tmp_path))


def test_a_server_that_is_not_there(url: URL) -> None:
    """The words name the field, where it was looked for, and what to check."""
    told = _told(url.set(port=1))
    assert told.startswith("database_url: expected a PostgreSQL database that answers at 127.0.0.1:1/")
    assert "refused" in told
    assert "is the server running" in told


def test_a_wrong_password_is_not_told(url: URL) -> None:
    """Neither the wrong password nor the right one is in the words."""
    told = _told(url.set(password="a-wrong-password"))
    assert "password authentication failed" in told
    assert "a-wrong-password" not in told
    assert str(url.password) not in told


def test_a_database_that_does_not_exist(url: URL) -> None:
    """The words say which one."""
    assert '"nowhere" does not exist' in _told(url.set(database="nowhere"))


def test_a_server_that_is_too_old(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words say which version is needed and which was found."""
    monkeypatch.setattr(postgresql, "OLDEST_VERSION", 99)
    assert "expected PostgreSQL 99 or newer" in _told(url)


def test_a_database_of_another_encoding(url: URL, backend: PostgresDatabases) -> None:
    """A database that cannot hold every text is refused, with the way to make one that can."""
    with backend.server.admin() as engine, engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER netra")
    told = _told(url.set(database="latin"))
    assert "expected a database in UTF8" in told
    assert "got LATIN1" in told
    backend.server.drop("latin")


def test_a_user_without_rights_is_told_to_ask_the_owner(backend: PostgresDatabases) -> None:
    """Somebody who may connect and nothing else cannot make the schema, and is told who can."""
    name = backend.server.create()
    if not _exists(backend.server, "stranger"):
        backend.server.login("stranger")
    told = _told(backend.server.url(name, "stranger"))
    assert "permission denied" in told
    assert "netra db upgrade" in told
    backend.server.drop(name)


async def test_production_may_serve_with_a_user_who_owns_nothing(
    backend: PostgresDatabases, database: Database, url: URL
) -> None:
    """A login that may only take on the roles serves an up-to-date database; until it may, it is told the grant."""
    if not _exists(backend.server, "app"):
        backend.server.login("app")
    mine = url.set(username="app")
    told = await asyncio.to_thread(_told, mine)
    assert "GRANT netra_user, netra_ledger, netra_system TO" in told
    await administer(
        database, lambda connection: connection.exec_driver_sql(told.partition("of the roles: ")[2]).close()
    )
    app = await asyncio.to_thread(Database, mine.render_as_string(hide_password=False))
    await asyncio.to_thread(upgrade, app.storage)
    await add_users(app, "alice")
    await ThreadRepository(make_context("alice"), app).create("t", None)
    assert (await Ledger(app, Published()).write(message("alice", "t", "r"))).run.run_id == "r"
    await app.close()


def _exists(server: PostgresServer, role: str) -> bool:
    with server.admin() as engine, engine.connect() as connection:
        return bool(connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).all())


async def test_the_newest_server_does_as_well_and_a_restored_dump_is_mended(backend: Backend) -> None:
    """A whole run on the other version that tests can have; and again once its roles are gone, as on a new server."""
    with postgres(install=INSTALLS[1]) as server:
        name = server.create()
        for number in range(2):
            database = await asyncio.to_thread(Database, server.url(name))
            await asyncio.to_thread(upgrade, database.storage)
            user_id = f"user-{number}"
            await add_users(database, user_id)
            ledger = Ledger(database, Published())
            await ledger.write(message(user_id, "t", "r"))
            run = (await ledger.write(ClaimRun(user_id, "r"))).run
            await ledger.write(AppendEvents(run, (completion(run),), RunStatus.COMPLETED))
            assert (await ThreadRepository(make_context(user_id), database).get("t")).last_seq == 3
            await administer(database, _drop_roles)
            await database.close()


def _drop_roles(connection: Connection) -> None:
    roles = ", ".join(Role)
    connection.exec_driver_sql(f"DROP OWNED BY {roles}").close()
    connection.exec_driver_sql(f"DROP ROLE {roles}").close()


async def test_what_became_of_a_transaction(database: Database) -> None:
    """The server tells a transaction that goes on, one that was committed, one undone, and one it never had."""

    def work() -> list[bool | None]:
        storage = database.storage
        answers = []
        with storage.write_engine.connect() as asking:

            def ask(mark: str | None) -> None:
                assert mark is not None
                with asking.begin():
                    answers.append(storage.was_committed(asking, mark))

            with storage.write_engine.begin() as connection:
                committed = storage.mark(connection)
                ask(committed)
            ask(committed)
            with storage.write_engine.connect() as connection:
                undone = storage.mark(connection)
            ask(undone)
            ask(str(2**40))
        return answers

    assert await asyncio.to_thread(work) == [None, True, False, False]
