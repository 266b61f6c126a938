"""What the database says no with."""

from __future__ import annotations

from netra_backend.app.services.refusals import RefusedError


class StorageUnavailableError(RefusedError):
    """Raised when the database cannot be written or read now: disk full, locked, gone. Nothing was stored."""

    code = "storage_unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database cannot be used now ({reason}); nothing was stored; try again")
        self.reason = reason

    def __reduce__(self) -> tuple[type[StorageUnavailableError], tuple[str]]:
        return type(self), (self.reason,)


class SchemaVersionError(Exception):
    """Raised when the database was written by a newer Netra than this one."""

    def __init__(self, found: str, known: str) -> None:
        super().__init__(
            f"the database is at schema version {found}, which this Netra does not know (its newest is {known}): "
            "a newer Netra has written it. Start that version again, or restore a backup made before the upgrade"
        )
        self.found = found
        self.known = known

    def __reduce__(self) -> tuple[type[SchemaVersionError], tuple[str, str]]:
        return type(self), (self.found, self.known)
