"""What it costs to hold every statement of SQLite to its user: the same statements with the check and without it.

python -m benchmarks.owner_criterion
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, bindparam, event, select

from netra_backend.app.db.engine import open_storage
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.owner_criterion import refuse_unowned
from netra_backend.app.db.repositories.repository import own
from netra_backend.app.db.roles import Role, act_as
from netra_backend.app.db.tables import threads
from netra_backend.app.runs.ledger import AppendEvents, ClaimRun, SubmitMessage, Written, apply_commands
from netra_backend.app.services.agent_events import AgentEvent, EventType
from netra_backend.app.services.run_state import RunStatus
from netra_backend.app.services.submission import IfBusy
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.database import user_row
from tests.support.stored_runs import DEADLINE

ROUNDS: Final = 15
READS: Final = 2_000
BATCHES: Final = 20
JOURNEYS_PER_BATCH: Final = 50

_GET: Final = select(threads).where(own(threads), threads.c.thread_id == bindparam("thread_id"))


def read(connection: Connection) -> int:
    """Read one row by its key, again and again; returns how many statements that were."""
    act_as(connection, Role.USER, "alice")
    for _ in range(READS):
        connection.execute(_GET, {"owner_id": "alice", "thread_id": "t"}).all()
    return READS


def write(connection: Connection) -> int:
    """Store messages, claim their runs and end them, many in a batch; returns how many journeys that were."""
    for _ in range(BATCHES):
        contexts = [
            UserExecutionContext.from_request("alice", str(uuid4()), str(uuid4())) for _ in range(JOURNEYS_PER_BATCH)
        ]
        messages = [
            SubmitMessage(
                context=context,
                text="hello",
                client_message_id=context.run_id,
                names_thread=True,
                if_busy=IfBusy.ENQUEUE,
                agent="echo",
                deadline=DEADLINE,
            )
            for context in contexts
        ]
        apply_commands(connection, messages)
        claimed = apply_commands(connection, [ClaimRun("alice", context.run_id) for context in contexts])
        runs = [written.run for written in claimed if isinstance(written, Written)]
        ends = [
            AgentEvent(context=context, type=EventType.AGENT_COMPLETED, agent="echo", data="{}", final=True)
            for context in contexts
        ]
        apply_commands(
            connection,
            [AppendEvents(run, (end,), RunStatus.COMPLETED) for run, end in zip(runs, ends, strict=True)],
        )
    return BATCHES * JOURNEYS_PER_BATCH


def microseconds(engine: Any, work: Callable[[Connection], int]) -> float:
    """What one of its statements, or journeys, takes; nothing is committed, so that no disk is measured."""
    with engine.connect() as connection:
        transaction = connection.begin()
        began = time.perf_counter()
        count = work(connection)
        seconds = time.perf_counter() - began
        transaction.rollback()
    return seconds / count * 1e6


def main() -> None:
    """Measure, the two in turn, and tell the least: the machine may be busy otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(f"sqlite:///{Path(folder) / 'netra.sqlite3'}", reader_threads=1)
        upgrade(storage)
        with storage.write_engine.begin() as connection:
            user_row(connection, "alice")
        for name, work in (("a read by key", read), ("a journey in a batch of the ledger", write)):
            checked, unchecked = [], []
            for _ in range(ROUNDS):
                checked.append(microseconds(storage.write_engine, work))
                event.remove(storage.write_engine, "before_cursor_execute", refuse_unowned)
                unchecked.append(microseconds(storage.write_engine, work))
                event.listen(storage.write_engine, "before_cursor_execute", refuse_unowned, retval=True)
            with_check, without = min(checked), min(unchecked)
            print(
                f"{name}: {with_check:.2f} µs with the check, {without:.2f} µs without: "
                f"{with_check - without:+.2f} µs, {(with_check / without - 1) * 100:+.1f} %"
            )
        storage.release()


if __name__ == "__main__":
    main()
