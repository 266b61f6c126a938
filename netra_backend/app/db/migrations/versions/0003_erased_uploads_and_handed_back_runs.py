"""Uploads that are erased at once and go in batches; how often a stopping server has handed a run back; an index.

Without the index the end of each thread read all runs of its user, since they refer to threads.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.String(length=32).with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column(
        "usage_uploads",
        sa.Column(
            "erased_at", TIME, nullable=True, comment="from then on its records are not there; they go in batches"
        ),
    )
    op.create_index(
        "ix_usage_uploads_erased",
        "usage_uploads",
        ["user_id", "upload_id"],
        unique=False,
        sqlite_where=sa.text("erased_at IS NOT NULL"),
        postgresql_where=sa.text("erased_at IS NOT NULL"),
    )
    op.add_column(
        "runs",
        sa.Column(
            "handed_back",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="attempts that a server has ended since it was told to stop",
        ),
    )
    op.create_index(op.f("ix_runs_user_id_thread_id"), "runs", ["user_id", "thread_id"], unique=False)
