"""The runs of a user, for reading; the writing is the ledger's."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row, bindparam, select

from netra_backend.app.db.tables import runs

from .repository import Repository, own, present

_GET: Final = select(runs).where(own(runs), runs.c.run_id == bindparam("run_id"), present(runs.c.thread_id))


class RunRepository(Repository):
    """Reads the runs of the context's user."""

    async def get(self, run_id: str) -> Row[Any]:
        """One run, a row of `runs`; raises NotFoundError."""
        return await self._row(_GET, run_id=run_id)
