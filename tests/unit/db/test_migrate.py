"""Migrations: an empty or older file becomes the newest, a newer one is left alone."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from netra_backend.app.db.engine import Database
from netra_backend.app.db.errors import DatabaseInUseError, SchemaVersionError, StorageUnavailableError
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.tables import metadata
from tests.support.database import FILE, database_url, rows, user_row, writing_engine


@contextmanager
def _empty(folder: Path) -> Iterator[Engine]:
    """The engine of a database that nobody has brought up to date."""
    database = Database(database_url(folder))
    try:
        yield database.write_engine
    finally:
        asyncio.run(database.close())


def _schema(connection: Connection) -> list[tuple[object, ...]]:
    found = connection.execute(text("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"))
    return [tuple(row) for row in found]


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def test_an_empty_file_becomes_the_newest(tmp_path: Path) -> None:
    """Every table is made, in one transaction with the version."""
    with _empty(tmp_path) as engine:
        upgrade(engine)
        with engine.begin() as connection:
            assert _version(connection) == "0001"
            assert {name for _, name, *_ in _schema(connection)} >= set(metadata.tables)


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    """Alembic finds nothing to change between the migrated file and `tables.py`, types included."""
    with writing_engine(tmp_path) as engine, engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrations_make_the_very_same_statements(tmp_path: Path) -> None:
    """Primary keys, WITHOUT ROWID, cascades and partial indexes, which Alembic does not compare, are the same too."""
    with writing_engine(tmp_path) as engine, engine.begin() as connection:
        migrated = _details(connection)
    with _empty(tmp_path / "made") as engine, engine.begin() as connection:
        metadata.create_all(connection)
        assert _details(connection) == migrated


def _details(connection: Connection) -> dict[str, object]:
    """For each table: its columns, keys, indexes, and whether it has row ids."""
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
    """A file of the newest schema keeps its schema and its rows."""
    with writing_engine(tmp_path) as engine:
        with engine.begin() as connection:
            user_row(connection, "alice")
            before = _schema(connection), rows(connection)
        upgrade(engine)
        with engine.begin() as connection:
            assert (_schema(connection), rows(connection)) == before


def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """A version that this Netra does not know is refused with both versions, and not one byte of meaning changes."""
    with writing_engine(tmp_path) as engine:
        with engine.begin() as connection:
            user_row(connection, "alice")
            connection.execute(text("CREATE TABLE of_tomorrow (n INTEGER)"))
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            before = _schema(connection), rows(connection)
        with pytest.raises(SchemaVersionError, match=r"version 9999.*newest is 0001") as caught:
            upgrade(engine)
        assert (caught.value.found, caught.value.known) == ("9999", "0001")
        with engine.begin() as connection:
            assert (_schema(connection), rows(connection), _version(connection)) == (*before, "9999")


def test_a_migration_that_fails_leaves_nothing_half_made(tmp_path: Path) -> None:
    """When one of the tables cannot be made, none is, and the next attempt succeeds."""
    with _empty(tmp_path) as engine:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE usage_records (in_the_way INTEGER)"))
            before = _schema(connection)
        with pytest.raises(Exception, match="usage_records already exists"):
            upgrade(engine)
        with engine.begin() as connection:
            assert _schema(connection) == before
            connection.execute(text("DROP TABLE usage_records"))
        upgrade(engine)
        with engine.begin() as connection:
            assert _version(connection) == "0001"


def test_the_file_keeps_its_mode(tmp_path: Path) -> None:
    """Migrating does not replace the private file by one that others can read."""
    with _empty(tmp_path) as engine:
        upgrade(engine)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "error",
    [SchemaVersionError("9999", "0001"), StorageUnavailableError("disk full"), DatabaseInUseError("a path")],
)
def test_the_errors_survive_a_trip_to_another_process(error: Exception) -> None:
    """An error of the database is the same after pickling."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
