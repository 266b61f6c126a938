"""The tables. Every row that belongs to a user has the user's id first in its primary key."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps it as ISO 8601 text of one width, so that texts sort as times do."""

    impl = String(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else self.impl_instance)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return None if value is None else value.astimezone(UTC)


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal number, exact; SQLite's own numbers are binary floats, so it is kept as text there."""

    impl = String(64)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Numeric() if dialect.name == "postgresql" else self.impl_instance)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | str | None:
        return value if value is None or dialect.name == "postgresql" else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return Decimal(value) if isinstance(value, str) else value


Id: Final = String(256).with_variant(String(256, collation="C"), "postgresql")
"""An id. Compared by its bytes on PostgreSQL too: quicker, and an upgrade of the system's locales changes no index."""

Whole: Final = Integer().with_variant(BigInteger(), "postgresql")
"""A whole number of up to 64 bits, which is what SQLite's integers are."""


def _id(name: str, **options: Any) -> Column[str]:
    return Column(name, Id, nullable=False, **options)


def _owner(*references: ForeignKey) -> Column[str]:
    return Column("user_id", Id, *references, primary_key=True)


def _user() -> ForeignKey:
    return ForeignKey("users.user_id", ondelete="CASCADE")


ERASED_MESSAGE: Final = ""
"""What stands for a message that retention has erased; no message is empty."""

users = Table(
    "users",
    metadata,
    _id("user_id", primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("password_hash", String(256), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("erased_at", UtcDateTime, comment="from then on nobody can be this user; the rows go in batches"),
)

sessions = Table(
    "sessions",
    metadata,
    _owner(_user()),
    _id("session_id", primary_key=True),
    Column("refresh_hash", String(64), nullable=False),
    Column("spent_hash", String(64), comment="of the refresh token before: who brings it again is not the user"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index(None, "session_id"),
    sqlite_with_rowid=False,
)

threads = Table(
    "threads",
    metadata,
    _owner(_user()),
    _id("thread_id", primary_key=True),
    Column("title", String(200)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("last_seq", Whole, nullable=False, default=0),
    Column(
        "erased_to_seq", Whole, nullable=False, server_default="0", comment="the log up to here was erased by retention"
    ),
    Column("erased_at", UtcDateTime, comment="from then on the thread is not there; its rows go in batches"),
    Index(None, "user_id", "created_at", "thread_id"),
    sqlite_with_rowid=False,
)

# Runs and events are kept in the order they come, with their keys in an index: rows of many users at once then fall on
# few pages, and the pages that a commit touches are what it costs. The other tables are kept by their keys.

runs = Table(
    "runs",
    metadata,
    _owner(),
    _id("run_id", primary_key=True),
    _id("thread_id"),
    _id("request_id"),
    _id("client_message_id"),
    Column(
        "message_scope",
        Id,
        nullable=False,
        comment="the thread that the client named, or empty: client_message_id is unique in it",
    ),
    Column("message", Text, nullable=False),
    Column("message_seq", Whole, nullable=False),
    Column("agent", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, default=0, comment="raised by each claim: the fencing token"),
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("deadline", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column(
        "handed_back",
        Integer,
        nullable=False,
        server_default="0",
        comment="attempts that a server has ended since it was told to stop",
    ),
    UniqueConstraint("user_id", "message_scope", "client_message_id"),
    Index(None, "user_id", "thread_id"),  # for the end of a thread, which its runs refer to
    ForeignKeyConstraint(["user_id", "thread_id"], ["threads.user_id", "threads.thread_id"], ondelete="CASCADE"),
)
_ERASED: Final = threads.c.erased_at.is_not(None)
Index("ix_threads_erased", threads.c.user_id, threads.c.thread_id, sqlite_where=_ERASED, postgresql_where=_ERASED)
_UNFINISHED: Final = runs.c.finished_at.is_(None)
Index("ix_runs_unfinished", runs.c.user_id, runs.c.thread_id, sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)

events = Table(
    "events",
    metadata,
    _owner(),
    _id("thread_id", primary_key=True),
    Column("seq", Whole, primary_key=True),
    Column("type", String(32), nullable=False),
    _id("run_id"),
    _id("request_id"),
    Column("parent_request_id", Id),
    Column("agent", String(64)),
    Column("timestamp", UtcDateTime, nullable=False),
    Column("data", Text, nullable=False),
    Column("final", Boolean, nullable=False),
    ForeignKeyConstraint(["user_id", "thread_id"], ["threads.user_id", "threads.thread_id"], ondelete="CASCADE"),
)

usage_uploads = Table(
    "usage_uploads",
    metadata,
    _owner(_user()),
    _id("upload_id", primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime, comment="its records are seen from then on, all at once"),
    Column("erased_at", UtcDateTime, comment="from then on its records are not there; they go in batches"),
    sqlite_with_rowid=False,
)
_ERASED_UPLOAD: Final = usage_uploads.c.erased_at.is_not(None)
Index(
    "ix_usage_uploads_erased",
    usage_uploads.c.user_id,
    usage_uploads.c.upload_id,
    sqlite_where=_ERASED_UPLOAD,
    postgresql_where=_ERASED_UPLOAD,
)

usage_records = Table(
    "usage_records",
    metadata,
    _owner(),
    _id("upload_id", primary_key=True),
    Column("line", Whole, primary_key=True),
    Column("timestamp", UtcDateTime, nullable=False),
    _id("request_id"),
    _id("model"),
    _id("operation"),
    _id("prompt_fingerprint"),
    Column("input_tokens", Whole, nullable=False),
    Column("output_tokens", Whole, nullable=False),
    Column("cost_usd", ExactDecimal, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("deferrable", Boolean, nullable=False),
    Column("label", String(200), nullable=False),
    ForeignKeyConstraint(
        ["user_id", "upload_id"], ["usage_uploads.user_id", "usage_uploads.upload_id"], ondelete="CASCADE"
    ),
    sqlite_with_rowid=False,
)
