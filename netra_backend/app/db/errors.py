"""What the database says no with."""

from __future__ import annotations

from typing import Any

from netra_backend.app.services.refusals import RefusedError


class StorageUnavailableError(RefusedError):
    """Raised when the database cannot be written or read now: disk full, locked, gone. Nothing was stored."""

    code = "storage_unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database cannot be used now ({reason}); nothing was stored; try again")
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason,)


class OutcomeUnknownError(StorageUnavailableError):
    """Raised when the server is shut down while the database does not say what became of a commit."""

    code = "outcome_unknown"

    def __init__(self) -> None:
        super().__init__("the connection was lost during a commit")
        self.message = (
            "the connection to the database was lost while it was storing this, and the server is shutting down: it "
            "may be stored or not; look, or send it again with the same client_message_id"
        )

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class UnownedStatementError(Exception):
    """Raised when a statement over users' rows does not hold the user for whom it is: it was not executed.

    It is a fault of ours and tells nothing of any row; the client hears of an internal error.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault

    def __str__(self) -> str:
        return f"a statement over rows of users was refused: {self.fault}"


class DatabaseOpenError(Exception):
    """Raised when a database cannot be opened at start. The message says why and what to do."""


class DatabaseInUseError(DatabaseOpenError):
    """Raised when another server uses the same database: each would take the other's runs for those of a dead one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"another server is using {self.name}; stop that one, or give this one a database of its own "
            "(--data-dir, --database-url)"
        )


class DatabaseDamagedError(DatabaseOpenError):
    """Raised when an SQLite file is not whole: to serve it would make the damage greater, and show it to users."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path = path
        self.found = found

    def __str__(self) -> str:
        return (
            f"the database {self.path} is damaged ({self.found}), and nothing was changed; put a backup in its place, "
            f"without {self.path}-wal and {self.path}-shm"
        )


class SchemaVersionError(DatabaseOpenError):
    """Raised when the database was written by a newer Netra than this one."""

    def __init__(self, found: str, known: str) -> None:
        super().__init__(found, known)
        self.found = found
        self.known = known

    def __str__(self) -> str:
        return (
            f"the database is at schema version {self.found}, which this Netra does not know (its newest is "
            f"{self.known}): a newer Netra has written it. Start that version again, or restore a backup made before "
            "the upgrade"
        )
