"""Erasure that is seen at once and done in batches, and how far retention has erased a thread's log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.String(length=32).with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column(
            "erased_at", TIME, nullable=True, comment="from then on nobody can be this user; the rows go in batches"
        ),
    )
    op.add_column(
        "threads",
        sa.Column(
            "erased_to_seq",
            WHOLE,
            nullable=False,
            server_default="0",
            comment="the log up to here was erased by retention",
        ),
    )
    op.add_column(
        "threads",
        sa.Column(
            "erased_at", TIME, nullable=True, comment="from then on the thread is not there; its rows go in batches"
        ),
    )
    op.create_index(
        "ix_threads_erased",
        "threads",
        ["user_id", "thread_id"],
        unique=False,
        sqlite_where=sa.text("erased_at IS NOT NULL"),
        postgresql_where=sa.text("erased_at IS NOT NULL"),
    )
