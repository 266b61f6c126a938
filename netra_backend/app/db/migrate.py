"""Bringing a database up to date, by Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from .errors import DatabaseOpenError, SchemaVersionError
from .storage import Storage


def upgrade(storage: Storage) -> str:
    """Bring an empty or older database to the newest schema; safe when many nodes start at once.

    Args:
        storage: the database.

    Returns:
        The version that it now has.

    Raises:
        SchemaVersionError: a newer Netra has written the database; nothing was changed.
        DatabaseOpenError: the database cannot be reached, or may not be changed.
    """
    config, scripts = _scripts()
    known = {script.revision for script in scripts.walk_revisions()}
    newest = scripts.get_current_head() or "none"
    with storage.migrating() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found not in known:
            raise SchemaVersionError(found, newest)
        if found != newest:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        storage.secure(connection)
    return newest


def check(storage: Storage) -> None:
    """See that a database is of the newest schema, without changing it; raises DatabaseOpenError."""
    _, scripts = _scripts()
    newest = scripts.get_current_head()
    with storage.read_engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != newest:
        raise DatabaseOpenError(
            f"expected {storage.name} at schema version {newest}, got {found or 'a database without one'}; "
            "run `netra db upgrade`, or the Netra that has written it"
        )


def _scripts() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config, ScriptDirectory.from_config(config)
