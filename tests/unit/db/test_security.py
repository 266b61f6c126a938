"""The second wall between users: PostgreSQL's roles and row-level security hold when a statement forgets the user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Row, Table, delete, insert, make_url, null, select, text, update
from sqlalchemy.exc import DBAPIError

from netra_backend.app.db.engine import Database, open_storage
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.repositories.repository import Repository
from netra_backend.app.db.repositories.usage_records import UsageRecordRepository
from netra_backend.app.db.roles import Role, act_as
from netra_backend.app.db.security import GRANTS
from netra_backend.app.db.storage import Storage
from netra_backend.app.db.system_operations import insert_session
from netra_backend.app.db.tables import events, metadata, runs, sessions, threads, usage_records, usage_uploads, users
from netra_backend.app.runs.ledger import AppendEvents, Ledger
from netra_backend.app.services.run_state import RunStatus
from tests.support.database import (
    SIGNED_UP,
    PostgresDatabases,
    add_users,
    administer,
    all_rows,
    database_url,
    on_postgresql,
)
from tests.support.made_contexts import make_context
from tests.support.stored_runs import claimed_run, completion
from tests.support.usage_records import usage_record

pytestmark = on_postgresql

TABLES: Final = sorted(metadata.tables.values(), key=lambda table: table.name)
NAMES: Final = [table.name for table in TABLES]


@pytest.fixture
async def seeded(database: Database) -> Database:
    """A database in which alice and mallory have rows in every table."""
    for user_id in ("alice", "mallory"):
        await add_users(database, user_id)
        await database.writer.run(
            lambda connection, user_id=user_id: insert_session(  # type: ignore[misc]  # mypy does not see the default
                connection,
                user_id=user_id,
                password_hash=f"hash-of-{user_id}",
                session_id=f"session-of-{user_id}",
                refresh_hash="r",
                created_at=SIGNED_UP,
                expires_at=SIGNED_UP,
                most=100,
            )
        )
        run = await claimed_run(database, user_id)
        ledger = Ledger(database, lambda _entries: None)
        await ledger.write(AppendEvents(run, (completion(run),), RunStatus.COMPLETED))
        await UsageRecordRepository(make_context(user_id), database).add([(1, usage_record())], most=9)
    stored = await all_rows(database)
    assert all({row._mapping["user_id"] for row in found} == {"alice", "mallory"} for found in stored.values())
    return database


@pytest.fixture
def storage(seeded: Database, tmp_path: Path) -> Iterator[Storage]:
    """The same database, for transactions of a test's own."""
    storage = open_storage(database_url(tmp_path), reader_threads=1)
    yield storage
    storage.release()


class Forgetful(Repository):
    """A repository whose statements have lost their owner criterion."""

    async def all(self, table: Table) -> list[Row[Any]]:
        """Every row of a table."""
        return list(await self._rows(select(table)))

    async def change(self, work: Callable[[Connection], int]) -> int:
        """A change without an owner."""
        return await self._write(work)


async def test_a_read_without_its_owner_criterion_finds_nothing_foreign(seeded: Database) -> None:
    """A repository that selects every row of a table gets its own user's, and those are there."""
    for table in TABLES:
        found = await Forgetful(make_context("mallory"), seeded).all(table)
        assert {row._mapping["user_id"] for row in found} == {"mallory"}, table


@pytest.mark.parametrize(
    "statement",
    [
        update(threads).values(title="mine"),
        update(users).values(password_hash="mine"),
        update(usage_uploads).values(completed_at=None, erased_at=None),
        *(delete(metadata.tables[name]) for name in NAMES),
    ],
    ids=str,
)
async def test_a_change_without_its_owner_criterion_reaches_nothing_foreign(seeded: Database, statement: Any) -> None:
    """Updating or deleting every row changes one's own only."""
    before = await all_rows(seeded)
    repository = Forgetful(make_context("mallory"), seeded)
    assert await repository.change(lambda connection: connection.execute(statement).rowcount) >= 1
    after = await all_rows(seeded)
    assert after != before
    for name, stored in before.items():
        theirs = [row for row in stored if row._mapping["user_id"] == "alice"]
        assert [row for row in after[name] if row._mapping["user_id"] == "alice"] == theirs


async def test_a_row_cannot_be_made_for_somebody_else(seeded: Database) -> None:
    """An insert that names another user is refused."""
    row = {"user_id": "alice", "thread_id": "planted", "created_at": SIGNED_UP, "updated_at": SIGNED_UP, "last_seq": 0}
    with pytest.raises(DBAPIError, match="row-level security"):
        await Forgetful(make_context("mallory"), seeded).change(
            lambda connection: connection.execute(insert(threads), row).rowcount
        )


@pytest.mark.parametrize("table", [events, runs, usage_records], ids=str)
async def test_what_is_written_by_others_cannot_be_changed_by_the_user(seeded: Database, table: Table) -> None:
    """A user's own transaction cannot rewrite the log, a run or a record; it may only erase what the user has said."""
    repository = Forgetful(make_context("mallory"), seeded)
    for column in table.c:
        if column is runs.c.message:  # retention
            continue
        statement = update(table).values({column: null()})
        with pytest.raises(DBAPIError, match="permission denied"):
            await repository.change(lambda connection, s=statement: connection.execute(s).rowcount)  # type: ignore[misc]  # mypy does not see the default


def test_a_transaction_without_a_user_finds_nothing(storage: Storage) -> None:
    """A connection that nobody has told for whom it works has no rows: not to read, not to write, not as the owner."""
    for table in TABLES:
        for engine in (storage.read_engine, storage.write_engine):
            with engine.begin() as connection:
                assert connection.execute(select(table)).all() == []
        with storage.migrating() as connection:
            assert connection.execute(select(table)).all() == []
            assert connection.execute(delete(table)).rowcount == 0


def test_the_user_ends_with_the_transaction(storage: Storage) -> None:
    """The next transaction on the same connection is nobody's again."""
    with storage.write_engine.connect() as connection:
        with connection.begin():
            act_as(connection, Role.USER, "alice")
            assert len(connection.execute(select(threads)).all()) == 1
        with connection.begin():
            assert connection.execute(select(threads)).all() == []
            assert connection.exec_driver_sql("SELECT current_user").scalar_one() == Role.USER


READABLE: Final[dict[Role, dict[str, set[str]]]] = {
    Role.LEDGER: {
        "runs": set(runs.c.keys()),
        "threads": {"user_id", "thread_id", "last_seq", "erased_at"},
        "users": {"user_id", "erased_at"},
    },
    Role.SYSTEM: {
        "users": set(users.c.keys()),
        "sessions": set(sessions.c.keys()),
        "threads": {"user_id", "thread_id", "erased_to_seq", "erased_at"},
        "runs": set(runs.c.keys()),
        "events": {"user_id", "thread_id", "seq", "timestamp"},
        "usage_uploads": {"user_id", "completed_at", "erased_at"},
    },
}


@pytest.mark.parametrize("role", list(READABLE))
def test_the_other_roles_read_what_they_need_and_no_more(storage: Storage, role: Role) -> None:
    """The ledger cannot read a log, a record or an account; the system operations nothing that was said, and no
    record."""
    for column in (column for table in TABLES for column in table.columns):
        with storage.write_engine.begin() as connection:
            act_as(connection, role)
            if column.name in READABLE[role].get(column.table.name, ()):
                assert len(connection.execute(select(column)).all()) >= 2
            else:
                with pytest.raises(DBAPIError, match="permission denied"):
                    connection.execute(select(column))


SWITCHES: Final = (
    "ALTER TABLE events DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE events NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY netra_user ON events",
    "CREATE POLICY open ON events USING (true)",
    "ALTER ROLE netra_user BYPASSRLS",
    "GRANT ALL ON events TO PUBLIC",
    "ALTER TABLE events OWNER TO netra_user",
    "SET SESSION AUTHORIZATION postgres",
    "TRUNCATE events",
)


@pytest.mark.parametrize("role", list(Role))
def test_no_role_can_switch_it_off(storage: Storage, role: Role) -> None:
    """Every way to lift the wall is closed to every role; reading with `row_security` off is an error, not a hole."""
    for statement in SWITCHES:
        with storage.write_engine.begin() as connection:
            act_as(connection, role, "mallory")
            # Where a role has nothing to grant PostgreSQL only warns; then nothing may have changed.
            with suppress(DBAPIError), connection.begin_nested():
                connection.exec_driver_sql(statement).close()
            connection.exec_driver_sql("SET LOCAL ROLE netra_user").close()
            found = connection.execute(select(events.c.user_id)).scalars()
            assert set(found) == {"mallory"}, statement
    with storage.write_engine.begin() as connection:
        act_as(connection, Role.USER, "mallory")
        connection.exec_driver_sql("SET LOCAL row_security = off").close()
        with pytest.raises(DBAPIError, match="row-level security"):
            connection.execute(select(events))


LIFTS: Final = (
    "SET row_security = off",
    "SET LOCAL row_security = off",
    "ALTER ROLE SESSION_USER SET row_security = off",
    "RESET ROLE",
    "SET ROLE NONE",
    "SET LOCAL ROLE NONE",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION DEFAULT",
    "RESET SESSION AUTHORIZATION",
    "RESET ALL",
    "RESET netra.user_id",
    "SET netra.user_id = ''",
)
"""What a session may say to be somebody else, or nobody. To name another user, or a role that is above users, is a
matter of whoever can run any SQL as this login: the wall is against mistakes in statements (docs/decisions/0006)."""


@pytest.mark.parametrize("statement", LIFTS)
@pytest.mark.parametrize("owns_tables", [True, False], ids=["the owner", "a login that owns nothing"])
def test_no_session_can_step_out_of_it(
    storage: Storage, backend: PostgresDatabases, tmp_path: Path, owns_tables: bool, statement: str
) -> None:
    """Whatever a session says, refused or not: it then reads nothing foreign, and without a user nothing at all."""
    login = storage if owns_tables else _poor_login(backend, tmp_path)
    with login.write_engine.connect() as connection, connection.begin():
        act_as(connection, Role.USER, "mallory")
        with suppress(DBAPIError), connection.begin_nested():
            connection.exec_driver_sql(statement).close()
        for table in TABLES:
            found: set[str] = set()
            with suppress(DBAPIError), connection.begin_nested():  # refused, which is no hole
                found = set(connection.execute(select(table.c.user_id)).scalars())
            assert found <= {"mallory"}, table
    if not owns_tables:
        login.release()


def _poor_login(backend: PostgresDatabases, folder: Path) -> Storage:
    """The same database for a login as docs/databases.md has it in production: it may take on the roles, and owns
    nothing."""
    name = f"poor_{uuid4().hex}"
    backend.server.login(name)
    with backend.server.admin() as engine, engine.connect() as connection:
        roles = ", ".join(Role)
        connection.exec_driver_sql(f"GRANT {roles} TO {name} WITH INHERIT FALSE, SET TRUE")
    url = make_url(database_url(folder)).set(username=name)
    return open_storage(url.render_as_string(hide_password=False), reader_threads=1)


async def test_the_roles_are_nobody_special(seeded: Database) -> None:
    """No role logs in, is a superuser, is above row-level security, makes roles or owns anything; no login inherits."""

    def work(connection: Connection) -> None:
        about = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'netra\\_%%' AND (rolsuper OR rolcanlogin OR "
        about += "rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication OR rolinherit)"
        assert connection.exec_driver_sql(about).all() == []
        owned = (
            "SELECT relname FROM pg_class WHERE relowner IN (SELECT oid FROM pg_roles WHERE rolname LIKE 'netra\\_%%')"
        )
        assert connection.exec_driver_sql(owned).all() == []
        inherited = "SELECT 1 FROM pg_auth_members WHERE inherit_option AND roleid::regrole::text LIKE 'netra\\_%%'"
        assert connection.exec_driver_sql(inherited).all() == []

    await administer(seeded, work)


async def test_every_table_has_the_wall(seeded: Database) -> None:
    """Row-level security is on and forced on every table but the schema's version, with the policies of the grants."""

    def work(connection: Connection) -> None:
        open_tables = (
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
            " AND NOT (relrowsecurity AND relforcerowsecurity)"
        )
        assert connection.exec_driver_sql(open_tables).scalars().all() == ["alembic_version"]
        policies = connection.exec_driver_sql("SELECT tablename, policyname, roles::text, qual FROM pg_policies").all()
        expected = {(table, str(role), f"{{{role}}}") for role in Role for table in GRANTS[role]}
        assert {(table, policy, roles) for table, policy, roles, _ in policies} == expected
        for _, policy, _, condition in policies:
            assert ("netra.user_id" in condition) == (policy == Role.USER)

    await administer(seeded, work)
    assert set(GRANTS[Role.USER]) == set(NAMES)


async def test_an_upgrade_mends_the_wall(seeded: Database) -> None:
    """What somebody has opened by hand, and then marked as changed, the next upgrade closes again."""

    def open_it(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE events NO FORCE ROW LEVEL SECURITY"))
        connection.execute(text("GRANT SELECT ON events TO netra_ledger"))
        connection.execute(text("COMMENT ON TABLE alembic_version IS NULL"))

    await administer(seeded, open_it)
    await asyncio.to_thread(upgrade, seeded.storage)
    await test_every_table_has_the_wall(seeded)
    with pytest.raises(DBAPIError, match="permission denied"):
        await seeded.writer.submit(_read_as_ledger, None)


def _read_as_ledger(connection: Connection, commands: Any) -> list[Any]:
    act_as(connection, Role.LEDGER)
    return [connection.execute(select(events)).all() for _ in commands]
