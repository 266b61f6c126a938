"""Alembic's environment: the connection comes from `migrate.upgrade`, inside its transaction."""

from __future__ import annotations

from alembic import context

from netra_backend.app.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # one transaction around all: the caller's
)
context.run_migrations()
