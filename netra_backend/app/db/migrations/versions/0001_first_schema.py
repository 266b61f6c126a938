"""The first schema: accounts, threads, runs, the event log, usage records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(length=256).with_variant(sa.String(length=256, collation="C"), "postgresql")
TIME = sa.String(length=32).with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
EXACT = sa.String(length=64).with_variant(sa.Numeric(), "postgresql")
WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "sessions",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("session_id", ID, nullable=False),
        sa.Column("refresh_hash", sa.String(length=64), nullable=False),
        sa.Column(
            "spent_hash",
            sa.String(length=64),
            nullable=True,
            comment="of the refresh token before: who brings it again is not the user",
        ),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_sessions_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "session_id", name=op.f("pk_sessions")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_sessions_session_id"), "sessions", ["session_id"], unique=False)
    op.create_table(
        "threads",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("thread_id", ID, nullable=False),
        sa.Column("title", sa.String(length=200), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("last_seq", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_threads_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "thread_id", name=op.f("pk_threads")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_threads_user_id_created_at_thread_id"), "threads", ["user_id", "created_at", "thread_id"], unique=False
    )
    op.create_table(
        "usage_uploads",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("upload_id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column(
            "completed_at",
            TIME,
            nullable=True,
            comment="its records are seen from then on, all at once",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name=op.f("fk_usage_uploads_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "upload_id", name=op.f("pk_usage_uploads")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("thread_id", ID, nullable=False),
        sa.Column("seq", WHOLE, nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("parent_request_id", ID, nullable=True),
        sa.Column("agent", sa.String(length=64), nullable=True),
        sa.Column("timestamp", TIME, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "thread_id"],
            ["threads.user_id", "threads.thread_id"],
            name=op.f("fk_events_threads"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "thread_id", "seq", name=op.f("pk_events")),
    )
    op.create_table(
        "runs",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("thread_id", ID, nullable=False),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("client_message_id", ID, nullable=False),
        sa.Column(
            "message_scope",
            ID,
            nullable=False,
            comment="the thread that the client named, or empty: client_message_id is unique in it",
        ),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("message_seq", WHOLE, nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="raised by each claim: the fencing token"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("deadline", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id", "thread_id"],
            ["threads.user_id", "threads.thread_id"],
            name=op.f("fk_runs_threads"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint(
            "user_id",
            "message_scope",
            "client_message_id",
            name=op.f("uq_runs_user_id_message_scope_client_message_id"),
        ),
    )
    op.create_index(
        "ix_runs_unfinished",
        "runs",
        ["user_id", "thread_id"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "usage_records",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("upload_id", ID, nullable=False),
        sa.Column("line", WHOLE, nullable=False),
        sa.Column("timestamp", TIME, nullable=False),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("model", ID, nullable=False),
        sa.Column("operation", ID, nullable=False),
        sa.Column("prompt_fingerprint", ID, nullable=False),
        sa.Column("input_tokens", WHOLE, nullable=False),
        sa.Column("output_tokens", WHOLE, nullable=False),
        sa.Column("cost_usd", EXACT, nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.Column("deferrable", sa.Boolean(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "upload_id"],
            ["usage_uploads.user_id", "usage_uploads.upload_id"],
            name=op.f("fk_usage_records_usage_uploads"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "upload_id", "line", name=op.f("pk_usage_records")),
        sqlite_with_rowid=False,
    )
