"""How much is stored for a user."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, LargeBinary, cast, func, select

from netra_backend.app.db.tables import events, usage_records

from .repository import Repository, own

USAGE_RECORD_BYTES: Final = 256
"""What a usage record is counted as; each is about so large, and to measure a million of them takes its time."""

_OCTETS: Final = {
    "sqlite": func.length(cast(events.c.data, LargeBinary)),
    "postgresql": func.octet_length(events.c.data),
}
_LOGGED: Final = {
    dialect: select(func.coalesce(func.sum(octets), 0)).where(own(events)) for dialect, octets in _OCTETS.items()
}
_USAGE_RECORDS: Final = select(func.count()).select_from(usage_records).where(own(usage_records))


class StoredBytesRepository(Repository):
    """Measures what is stored for the context's user."""

    async def total(self) -> int:
        """The bytes of all events of the user's threads, messages included, and of the usage records."""

        def work(connection: Connection) -> int:
            logged = self._execute(connection, _LOGGED[connection.dialect.name]).scalar_one()
            return int(logged) + USAGE_RECORD_BYTES * int(self._execute(connection, _USAGE_RECORDS).scalar_one())

        return await self._read(work)
