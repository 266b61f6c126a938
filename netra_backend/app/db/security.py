"""What each role may do on PostgreSQL: grants, and forced row-level security on every table.

A change here reaches an existing database with the next `upgrade`, which compares the fingerprint of these statements
with the one it has left there.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, text

from .roles import USER_SETTING, Role
from .tables import events, metadata, runs, sessions, threads, usage_records, usage_uploads, users

_CHANGES_OF_RUN: Final = "status, attempt, error, started_at, finished_at, handed_back"

GRANTS: Final = {
    Role.USER: {
        users.name: "SELECT, UPDATE (email, password_hash, erased_at), DELETE",
        sessions.name: "SELECT, DELETE",
        threads.name: "SELECT, INSERT, UPDATE (title, updated_at, erased_to_seq, erased_at), DELETE",
        runs.name: "SELECT, UPDATE (message), DELETE",
        events.name: "SELECT, DELETE",
        usage_uploads.name: "SELECT, INSERT, UPDATE (completed_at, erased_at), DELETE",
        usage_records.name: "SELECT, INSERT, DELETE",
    },
    Role.LEDGER: {
        # `created_at` is never updated: PostgreSQL wants the right to update something of who locks the row
        users.name: "SELECT (user_id, erased_at), UPDATE (created_at)",
        threads.name: "SELECT (user_id, thread_id, last_seq, erased_at), INSERT, UPDATE (updated_at, last_seq)",
        runs.name: f"SELECT, INSERT, UPDATE ({_CHANGES_OF_RUN})",  # a claim hands the message to the agent
        events.name: "INSERT",
    },
    Role.SYSTEM: {
        users.name: "SELECT, INSERT, UPDATE (created_at)",  # never updated: as above
        sessions.name: "SELECT, INSERT, UPDATE (refresh_hash, spent_hash, expires_at), DELETE",
        threads.name: "SELECT (user_id, thread_id, erased_to_seq, erased_at)",
        runs.name: "SELECT",
        events.name: "SELECT (user_id, thread_id, seq, timestamp)",  # when, never what
        usage_uploads.name: "SELECT (user_id, completed_at, erased_at), UPDATE (erased_at)",
    },
}
"""For each role what it may do with each table; nothing with a table that is not named."""

# A scalar subquery is computed once for a statement, the bare call for each row.
_OF_THE_USER: Final = f"user_id = (SELECT current_setting('{USER_SETTING}', true))"


def _statements() -> list[str]:
    statements = ["GRANT SELECT ON alembic_version TO PUBLIC"]
    for table in sorted(metadata.tables):
        roles = ", ".join(Role)
        statements += [
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"REVOKE ALL ON {table} FROM PUBLIC, {roles}",
        ]
        for role in Role:
            statements.append(f"DROP POLICY IF EXISTS {role} ON {table}")
            if granted := GRANTS[role].get(table):
                rows = _OF_THE_USER if role is Role.USER else "true"
                statements += [
                    f"GRANT {granted} ON {table} TO {role}",
                    f"CREATE POLICY {role} ON {table} TO {role} USING ({rows}) WITH CHECK ({rows})",
                ]
    return statements


def secure(connection: Connection) -> None:
    """Make the roles that are missing, and bring policies and grants up to date.

    Args:
        connection: of the tables' owner, in a transaction; of anybody when there is nothing to do.
    """
    made = [role for role in Role if _make(connection, role)]  # all, when a dump was restored on another server
    statements = _statements()
    fingerprint = sha256("\n".join(statements).encode()).hexdigest()
    found = "SELECT obj_description('alembic_version'::regclass, 'pg_class')"
    if made or connection.exec_driver_sql(found).scalar_one() != fingerprint:
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(f"COMMENT ON TABLE alembic_version IS '{fingerprint}'")


def _make(connection: Connection, role: Role) -> bool:
    """Make a role of the whole server, if it is missing, and let the login take it on if it may grant it."""
    exists = text("SELECT count(*) FROM pg_roles WHERE rolname = :role")
    is_missing = not connection.execute(exists, {"role": str(role)}).scalar_one()
    if is_missing:
        # Another database's first start may come between; its role is the same one.
        connection.exec_driver_sql(
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOINHERIT NOBYPASSRLS; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    grant = text(
        "SELECT pg_has_role(session_user, :role, 'MEMBER WITH ADMIN OPTION')"
        " AND NOT pg_has_role(session_user, :role, 'SET')"
    )
    if connection.execute(grant, {"role": str(role)}).scalar_one():
        connection.exec_driver_sql(f"GRANT {role} TO SESSION_USER WITH INHERIT FALSE, SET TRUE")
    return is_missing
