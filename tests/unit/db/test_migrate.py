"""Migrations: an empty or older file becomes the newest, a newer one is left alone."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text

from netra_backend.app.db import migrate
from netra_backend.app.db.engine import open_storage
from netra_backend.app.db.errors import (
    DatabaseInUseError,
    OutcomeUnknownError,
    SchemaVersionError,
    StorageUnavailableError,
)
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.roles import Role, act_as
from netra_backend.app.db.storage import Storage
from netra_backend.app.db.tables import metadata, threads, users
from tests.support.database import (
    FILE,
    WAIT_SECONDS,
    Backend,
    database_url,
    on_postgresql,
    on_sqlite,
    rows,
    see_all,
    user_row,
    writing_engine,
)

pytestmark = pytest.mark.usefixtures("backend")

NEWEST: Final = "0003"


@contextmanager
def _opened(folder: Path) -> Iterator[Storage]:
    """A folder's database, which nobody brings up to date."""
    storage = open_storage(database_url(folder), reader_threads=1)
    try:
        yield storage
    finally:
        storage.release()


@contextmanager
def _newest(folder: Path) -> Iterator[Storage]:
    """A folder's database of the newest schema."""
    with _opened(folder) as storage:
        upgrade(storage)
        yield storage


def _schema(connection: Connection) -> object:
    """All that there is in the database but rows."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"))
        return [tuple(row) for row in found]
    found = connection.execute(
        text(
            "SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length, collation_name,"
            " is_nullable, column_default FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
        )
    )
    columns = [tuple(row) for row in found]
    indexes = connection.execute(text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"))
    keys = text(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
    )
    return columns, [tuple(row) for row in indexes], [tuple(row) for row in connection.execute(keys)]


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def test_an_empty_database_becomes_the_newest(tmp_path: Path) -> None:
    """Every table is made, in one transaction with the version."""
    with _opened(tmp_path) as storage:
        assert upgrade(storage) == NEWEST
        with storage.migrating() as connection:
            assert _version(connection) == NEWEST
            assert set(inspect(connection).get_table_names()) >= set(metadata.tables)


def test_an_older_database_keeps_its_rows(tmp_path: Path) -> None:
    """Threads and users of the first schema are there after the upgrade, none of them erased, their logs whole."""
    config, _ = migrate._scripts()
    with _opened(tmp_path) as storage:
        with storage.migrating() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            moment = {"moment": "2026-01-01T00:00:00.000000+00:00"}
            connection.execute(text("INSERT INTO users VALUES ('alice', 'a@b.c', 'h', :moment)"), moment)
            connection.execute(text("INSERT INTO threads VALUES ('alice', 't', NULL, :moment, :moment, 7)"), moment)
        assert upgrade(storage) == NEWEST
        with storage.write_engine.begin() as connection:
            act_as(connection, Role.USER, "alice")
            (thread,) = connection.execute(select(threads).where(threads.c.user_id == "alice")).all()
            (user,) = connection.execute(select(users).where(users.c.user_id == "alice")).all()
    assert (thread.last_seq, thread.erased_to_seq, thread.erased_at) == (7, 0, None)
    assert (user.email, user.erased_at) == ("a@b.c", None)


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    """Alembic finds nothing to change between the migrated database and `tables.py`, types included."""
    with _newest(tmp_path) as storage, storage.migrating() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrations_make_the_very_same_schema(tmp_path: Path) -> None:
    """Collations, keys, WITHOUT ROWID, cascades and partial indexes, which Alembic does not compare, are alike too."""
    with _newest(tmp_path) as storage, storage.migrating() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
        migrated = _details(connection)
    with _opened(tmp_path / "made") as storage, storage.migrating() as connection:
        metadata.create_all(connection)
        assert _details(connection) == migrated


def _details(connection: Connection) -> object:
    """The schema, but for the order of columns in SQLite's texts; for its tables also whether they have row ids."""
    if connection.dialect.name == "postgresql":
        return _schema(connection)
    details: dict[str, object] = {}
    for name in metadata.tables:
        about = {
            pragma: sorted(tuple(row) for row in connection.exec_driver_sql(f"PRAGMA {pragma}('{name}')"))
            for pragma in ("table_info", "foreign_key_list")
        }
        statements = connection.execute(
            text("SELECT sql FROM sqlite_master WHERE tbl_name = :name AND type = 'index'"), {"name": name}
        ).scalars()
        table = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": name}).scalar()
        details[name] = about, sorted(str(sql) for sql in statements), "WITHOUT ROWID" in str(table)
    return details


def test_upgrading_again_changes_nothing(tmp_path: Path) -> None:
    """A database of the newest schema keeps its schema and its rows."""
    with writing_engine(tmp_path) as engine, engine.begin() as connection:
        user_row(connection, "alice")
        before = rows(connection), _schema(connection)
    with _opened(tmp_path) as storage:
        upgrade(storage)
    with writing_engine(tmp_path) as engine, engine.begin() as connection:
        assert (rows(connection), _schema(connection)) == before


def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """A version that this Netra does not know is refused with both versions, and not one byte of meaning changes."""
    with writing_engine(tmp_path) as engine, engine.begin() as connection:
        user_row(connection, "alice")
        see_all(connection)
        connection.execute(text("CREATE TABLE of_tomorrow (n INTEGER)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        before = rows(connection), _schema(connection)
    with _opened(tmp_path) as storage:
        with pytest.raises(SchemaVersionError, match=rf"version 9999.*newest is {NEWEST}") as caught:
            upgrade(storage)
        assert (caught.value.found, caught.value.known) == ("9999", NEWEST)
    with writing_engine(tmp_path) as engine, engine.begin() as connection:
        assert (rows(connection), _schema(connection), _version(connection)) == (*before, "9999")
        connection.execute(text("UPDATE alembic_version SET version_num = :newest"), {"newest": NEWEST})


def test_a_migration_that_fails_leaves_nothing_half_made(tmp_path: Path) -> None:
    """When one of the tables cannot be made, none is, and the next attempt succeeds."""
    with _opened(tmp_path) as storage:
        with storage.migrating() as connection:
            connection.execute(text("CREATE TABLE usage_records (in_the_way INTEGER)"))
            before = _schema(connection)
        with pytest.raises(Exception, match=r'usage_records"? already exists'):
            upgrade(storage)
        with storage.migrating() as connection:
            assert _schema(connection) == before
            connection.execute(text("DROP TABLE usage_records"))
        assert upgrade(storage) == NEWEST


@on_postgresql
def test_many_nodes_may_start_at_once(backend: Backend, tmp_path: Path) -> None:
    """Of several that find an empty database together, one makes the schema, and all have it."""
    together = threading.Barrier(4)

    def start() -> str:
        with _opened(tmp_path) as storage:
            together.wait(WAIT_SECONDS)
            return upgrade(storage)

    database_url(tmp_path)  # made here, not by four at once
    with ThreadPoolExecutor(4) as nodes:
        assert [future.result() for future in [nodes.submit(start) for _ in range(4)]] == [NEWEST] * 4


@on_sqlite
def test_the_file_keeps_its_mode(backend: Backend, tmp_path: Path) -> None:
    """Migrating does not replace the private file by one that others can read."""
    with _newest(tmp_path):
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "error",
    [
        SchemaVersionError("9999", "0001"),
        StorageUnavailableError("disk full"),
        DatabaseInUseError("a path"),
        OutcomeUnknownError(),
    ],
)
def test_the_errors_survive_a_trip_to_another_process(error: Exception) -> None:
    """An error of the database is the same after pickling."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
