"""How much a user may have stored: counted along, and measured no more often than needed."""

from __future__ import annotations

import pytest

from netra_backend.app.db.engine import Database
from netra_backend.app.db.repositories.threads import ThreadRepository
from netra_backend.app.runs.ledger import Ledger
from netra_backend.app.runs.stored_bytes import FULL_SECONDS, StoredBytes
from netra_backend.app.services.refusals import TooMuchStoredError
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.database import add_users
from tests.support.stored_runs import message


async def test_a_full_user_is_measured_anew_only_after_a_while(database: Database) -> None:
    """Room that others made for a full user is seen after some seconds; until then nothing is measured."""
    now = [100.0]
    stored = StoredBytes(database, 500, lambda: now[0])
    context = UserExecutionContext.from_request("alice", "t", "r")
    await add_users(database, "alice")
    await Ledger(database, lambda _entries: None).write(message("alice", "t", text="x" * 600))
    with pytest.raises(TooMuchStoredError, match="at most 500 are kept"):
        await stored.check(context)
    await ThreadRepository(context, database).delete("t", lambda _run_ids: None)
    now[0] += FULL_SECONDS - 0.1
    with pytest.raises(TooMuchStoredError):
        await stored.check(context)
    now[0] += 0.2
    await stored.check(context)


async def test_whoever_erases_has_room_at_once(database: Database) -> None:
    """A full user who erases something is measured anew without waiting."""
    stored = StoredBytes(database, 500, lambda: 100.0)
    context = UserExecutionContext.from_request("alice", "t", "r")
    await add_users(database, "alice")
    await Ledger(database, lambda _entries: None).write(message("alice", "t", text="x" * 600))
    with pytest.raises(TooMuchStoredError):
        await stored.check(context)
    await ThreadRepository(context, database).delete("t", lambda _run_ids: None)
    stored.forget("alice")
    await stored.check(context)
