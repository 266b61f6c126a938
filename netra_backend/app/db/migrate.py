"""Bringing a database up to date, by Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from .errors import SchemaVersionError


def upgrade(engine: Engine) -> None:
    """Bring an empty or older database to the newest schema.

    Args:
        engine: may write.

    Raises:
        SchemaVersionError: a newer Netra has written the database; nothing was changed.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    with engine.begin() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found not in known:
            raise SchemaVersionError(found, scripts.get_current_head() or "none")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
