"""The statements that every message passes find their rows by index, however many there are."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, event

from netra_backend.app.db.engine import Database
from netra_backend.app.runs.ledger import AppendEvents, CancelRun, ClaimRun, Command, Written, apply_commands
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import IfBusy
from tests.support.database import see_all, user_row
from tests.support.stored_runs import completion, message


def _plan(connection: Connection, statement: str, parameters: Any) -> list[str]:
    """The steps of a statement's plan."""
    one = parameters[0] if isinstance(parameters, list) else parameters
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return [str(row[-1]).lstrip(" ->") for row in connection.exec_driver_sql(f"{explain} {statement}", one)]


async def test_no_statement_of_the_ledger_reads_a_whole_table(database: Database) -> None:
    """From the message to the last event, and for every policy, a users' table is searched and never scanned."""

    def work(connection: Connection) -> list[str]:
        user_row(connection, "alice")
        executed: list[tuple[str, Any]] = []

        @event.listens_for(connection, "before_cursor_execute")
        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
            executed.append((statement, parameters))

        def apply(*commands: Command) -> Written:
            (outcome, *_) = apply_commands(connection, commands)
            assert isinstance(outcome, Written)
            return outcome

        submitted = apply(message("alice")).run
        claimed = apply(ClaimRun("alice", submitted.run_id)).run
        apply(AppendEvents(claimed, (completion(claimed),), RunStatus.COMPLETED))
        waiting = apply(message("alice", if_busy=IfBusy.REJECT)).run
        apply(message("alice", if_busy=IfBusy.INTERRUPT))
        apply(CancelRun("alice", waiting.run_id, "enough"))
        event.remove(connection, "before_cursor_execute", note)
        assert len(executed) > 20
        if connection.dialect.name == "sqlite":
            see_all(connection)  # what is explained is text
        return [step for statement, parameters in executed for step in _plan(connection, statement, parameters)]

    steps = await database.writer.run(work)
    assert [step for step in steps if re.match(r"(SCAN|Seq Scan on) (users|threads|runs|events)\b", step)] == []
    assert any(re.match(r"SEARCH (events|runs)|Index Scan using \w+ on runs", step) for step in steps)
