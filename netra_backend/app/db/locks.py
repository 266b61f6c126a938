"""The rows that a batch of the ledger locks before it reads any, on a database that many nodes write to.

Always in the same order, users before threads and each by its key, so that the batches of two nodes wait for each
other and do not deadlock. Who has a thread's lock is the only one who may number its log and step its runs; who has a
user's is the only one who may make a thread of it or look for a message of that user. SQLite has one writer at a time
and no row locks: nothing is done there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, select

from .keys import KEYS, as_keys, is_key
from .tables import runs, threads, users

_USERS: Final = (
    select(users.c.user_id)
    .join_from(KEYS, users, is_key(users.c.user_id))
    .order_by(users.c.user_id)
    .with_for_update(of=users, key_share=True)
)
_THREADS: Final = (
    select(threads.c.user_id, threads.c.thread_id)
    .join_from(KEYS, threads, is_key(threads.c.user_id, threads.c.thread_id))
    .order_by(threads.c.user_id, threads.c.thread_id)
    .with_for_update(of=threads, key_share=True)
)
_THREADS_OF_RUNS: Final = select(runs.c.user_id, runs.c.thread_id).join_from(
    KEYS, runs, is_key(runs.c.user_id, runs.c.run_id)
)


def lock_rows(
    connection: Connection,
    users_named: Collection[tuple[str]],
    threads_named: Collection[tuple[str, str]],
    runs_named: Collection[tuple[str, str]],
) -> None:
    """Lock users, threads, and the threads of runs; those that do not exist are left out.

    Args:
        connection: inside a transaction, which keeps the locks until its end.
        users_named: each id alone in a tuple.
        threads_named: (user_id, thread_id).
        runs_named: (user_id, run_id).
    """
    if connection.dialect.name != "postgresql":
        return
    if users_named:
        connection.execute(_USERS, {"keys": as_keys(users_named)}).close()
    wanted = set(threads_named)
    if runs_named:  # a run never changes its thread
        found = connection.execute(_THREADS_OF_RUNS, {"keys": as_keys(runs_named)})
        wanted.update((user_id, thread_id) for user_id, thread_id in found)
    if wanted:
        connection.execute(_THREADS, {"keys": as_keys(wanted)}).close()
