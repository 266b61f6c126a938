"""The runs of a user, for reading; the writing is the ledger's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from netra_backend.app.db.tables import runs
from netra_backend.app.services.refusals import NotFoundError

from .repository import Repository


class RunRepository(Repository):
    """Reads the runs of the context's user."""

    async def get(self, run_id: str) -> Row[Any]:
        """One run, a row of `runs`; raises NotFoundError."""
        statement = select(runs).where(self._own(runs), runs.c.run_id == run_id)
        row = await self._database.read(lambda connection: connection.execute(statement).one_or_none())
        if row is None:
            raise NotFoundError
        return row

    async def unfinished(self) -> list[str]:
        """The ids of the user's runs that have not ended."""
        statement = select(runs.c.run_id).where(self._own(runs), runs.c.finished_at.is_(None))
        return list(await self._database.read(lambda connection: connection.execute(statement).scalars().all()))
