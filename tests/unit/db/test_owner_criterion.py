"""The second wall in SQLite: a statement over users' rows that does not hold the user is refused unexecuted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Executable,
    Insert,
    Update,
    and_,
    bindparam,
    column,
    delete,
    event,
    exists,
    func,
    insert,
    lateral,
    literal,
    literal_column,
    not_,
    or_,
    select,
    table,
    text,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from netra_backend.app.db.bulk import execute_many
from netra_backend.app.db.engine import Database
from netra_backend.app.db.errors import UnownedStatementError
from netra_backend.app.db.owner_criterion import OWNED, criterion_of
from netra_backend.app.db.repositories.repository import own, present
from netra_backend.app.db.roles import Role, act_as
from netra_backend.app.db.system_operations import find_user_by_email
from netra_backend.app.db.tables import events, metadata, runs, threads, usage_uploads, users
from netra_backend.app.runs.ledger import AppendEvents, Ledger
from netra_backend.app.services.run_state import RunStatus
from tests.support.database import SIGNED_UP, add_users, all_rows, on_sqlite, user_row, writing_engine
from tests.support.stored_runs import claimed_run, completion

pytestmark = [
    on_sqlite,
    pytest.mark.filterwarnings("ignore:SELECT statement has a cartesian product"),
    pytest.mark.filterwarnings("ignore:Column 'threads.user_id' is marked as a member of the primary key"),
]

Work = Callable[[Connection], Any]
OWNER: Final = {"owner_id": "alice"}
THREAD: Final = {"thread_id": "new", "created_at": SIGNED_UP, "updated_at": SIGNED_UP, "last_seq": 0}
other = threads.alias("other")
of_run = and_(runs.c.user_id == threads.c.user_id, runs.c.thread_id == threads.c.thread_id)


@pytest.fixture
async def seeded(database: Database) -> Database:
    """A database in which alice and mallory have a thread of the same id, with a run that has ended."""
    ledger = Ledger(database, lambda _entries: None)
    for user_id in ("alice", "mallory"):
        await add_users(database, user_id)
        run = await claimed_run(database, user_id)
        await ledger.write(AppendEvents(run, (completion(run),), RunStatus.COMPLETED))
    return database


async def as_alice(database: Database, statement: Executable, **parameters: Any) -> Any:
    """What a statement gives in a transaction of alice's."""

    def work(connection: Connection) -> Any:
        result = connection.execute(statement, {**OWNER, **parameters})
        return result.all() if result.returns_rows else result.rowcount

    return await database.writer.run(work, user_id="alice")


REFUSED: Final[dict[str, Executable]] = {
    "everything": select(threads),
    "by another column": select(threads).where(threads.c.thread_id == "t"),
    "or": select(threads).where(or_(own(threads), threads.c.thread_id == "t")),
    "or with true": select(threads).where(or_(own(threads), true())),
    "not": select(threads).where(not_(own(threads))),
    "unequal": select(threads).where(threads.c.user_id != bindparam("owner_id")),
    "greater": select(threads).where(threads.c.user_id >= bindparam("owner_id")),
    "one of several": select(threads).where(threads.c.user_id.in_(["alice", "mallory"])),
    "one of a tuple": select(threads).where(tuple_(threads.c.user_id, threads.c.thread_id) > ("alice", "")),
    "like": select(threads).where(threads.c.user_id.like("alice%")),
    "somebody else": select(threads).where(threads.c.user_id == "mallory"),
    "itself": select(threads).where(threads.c.user_id == threads.c.user_id),
    "a computed user": select(threads).where(threads.c.user_id == func.lower("MALLORY")),
    "the alias only": select(threads, other).where(other.c.user_id == bindparam("owner_id")),
    "an alias": select(other),
    "two tables, one held": select(threads, runs).where(own(threads)),
    "a join by the id alone": select(runs).join(threads, runs.c.thread_id == threads.c.thread_id).where(own(threads)),
    "the left of an outer join": select(threads).outerjoin(runs, and_(of_run, own(threads))),
    "the right of an outer join": select(threads, runs)
    .outerjoin(runs, runs.c.thread_id == threads.c.thread_id)
    .where(own(threads)),
    "a full join": select(threads, runs).outerjoin(runs, and_(of_run, own(runs)), full=True).where(own(threads)),
    "a subquery": select(select(threads.c.title).subquery()),
    "a subquery held outside": select(sub := select(threads).subquery()).where(sub.c.user_id == bindparam("owner_id")),
    "a with": select(select(threads.c.title).cte("w")),
    "a with that is not used": select(literal(1)).add_cte(select(threads.c.title).cte("w")),
    "a with that deletes": select(literal(1)).add_cte(delete(events).returning(events.c.seq).cte("w")),
    "a recursive with": select(
        (begin := select(threads.c.thread_id).cte("w", recursive=True)).union_all(select(begin.c.thread_id))
    ),
    "a scalar subquery": select(select(func.count()).select_from(runs).scalar_subquery()).select_from(threads).where(
        own(threads)
    ),
    "a subquery in a criterion": select(threads).where(
        own(threads), threads.c.thread_id.in_(select(runs.c.thread_id))
    ),
    "a subquery in an order": select(threads)
    .where(own(threads))
    .order_by(select(func.max(events.c.seq)).scalar_subquery()),
    "an exists": select(literal(1)).where(exists().where(threads.c.thread_id == "t")),
    "half of a union": union_all(select(threads.c.title).where(own(threads)), select(runs.c.message)),
    "not correlated": select(threads).where(
        own(threads), select(runs.c.run_id).where(of_run).correlate(None).exists()
    ),
    "a lateral": select(threads, lateral(select(runs.c.message).where(of_run))).where(own(threads)),
    "a table by its name": select(table("threads", column("title"))),
    "a table in a text": select(literal_column("1")).select_from(text("threads")),
    "a column of text": select(literal_column("(SELECT group_concat(title) FROM threads)")),
    "a criterion of text": select(threads).where(own(threads), text("1 = 1) OR (1 = 1")),
    "text": text("SELECT * FROM threads WHERE user_id = 'alice'"),
    "text in capitals": text("DELETE FROM THREADS"),
    "an update": update(threads).values(title="mine"),
    "an update by the id": update(threads).where(threads.c.thread_id == "t").values(title="mine"),
    "an update of the owner": update(threads).where(own(threads)).values(user_id="mallory"),
    "an update from another table": update(threads)
    .where(threads.c.user_id == runs.c.user_id, runs.c.user_id == bindparam("owner_id"))
    .values(title="mine"),
    "a subquery in an update": update(threads)
    .where(own(threads))
    .values(title=select(func.max(runs.c.message)).scalar_subquery()),
    "a delete": delete(events),
    "a delete by a subquery": delete(events).where(events.c.thread_id.in_(select(threads.c.thread_id))),
    "an insert for somebody else": insert(threads).values(user_id="mallory", **THREAD),
    "an insert for nobody": insert(threads).values(THREAD),
    "an insert of many": insert(threads).values([{"user_id": "alice", **THREAD}, {"user_id": "mallory", **THREAD}]),
    "an insert of what is stored": insert(threads).from_select(
        list(threads.c.keys()), select(threads).where(own(threads))
    ),
    "an insert that updates": sqlite_insert(threads)
    .values(user_id="alice", **THREAD)
    .on_conflict_do_update(index_elements=["user_id", "thread_id"], set_={"title": "mine"}),
}  # fmt: skip

ALLOWED: Final[dict[str, Executable]] = {
    "no table": select(literal(1)),
    "a table of nobody's": select(table("alembic_version", column("version_num"))),
    "own": select(threads).where(own(threads)),
    "by a value": select(threads).where(threads.c.user_id == "alice"),
    "the other way round": select(threads).where(bindparam("owner_id") == threads.c.user_id),
    "and more": select(threads).where(and_(own(threads), or_(threads.c.last_seq > 0, threads.c.last_seq < 0))),
    "an alias": select(other).where(other.c.user_id == bindparam("owner_id")),
    "two of them": select(threads, other).where(own(threads), other.c.user_id == threads.c.user_id),
    "a join": select(threads, runs).join(runs, of_run).where(own(threads)),
    "a join, held at its other end": select(threads, runs).join(runs, of_run).where(own(runs)),
    "an outer join": select(threads, runs).outerjoin(runs, of_run).where(own(threads)),
    "both in an outer join": select(threads, runs)
    .outerjoin(runs, and_(own(runs), runs.c.thread_id == threads.c.thread_id))
    .where(own(threads)),
    "a chain": select(events.c.seq)
    .join(runs, and_(runs.c.user_id == events.c.user_id, runs.c.run_id == events.c.run_id))
    .join(threads, of_run)
    .where(own(threads)),
    "a subquery": select(select(threads.c.title).where(own(threads)).subquery()),
    "a with": select(select(threads.c.title).where(own(threads)).cte("w")),
    "a correlated subquery": select(threads).where(own(threads), select(runs.c.run_id).where(of_run).exists()),
    "a subquery of the user's": select(threads).where(
        own(threads), threads.c.thread_id.in_(select(runs.c.thread_id).where(own(runs)))
    ),
    "present": select(runs).where(own(runs), present(runs.c.thread_id)),
    "a union": union_all(select(threads.c.title).where(own(threads)), select(runs.c.message).where(own(runs))),
    "a count": select(func.count()).select_from(threads).where(own(threads)),
    "locked": select(threads).where(own(threads)).with_for_update(),
    "an update": update(threads).where(own(threads)).values(title="mine").returning(threads.c.title),
    "a delete": delete(events).where(own(events)),
    "an insert": insert(threads).values(user_id="alice", **THREAD),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_a_statement_that_may_reach_somebody_else_is_refused(seeded: Database, name: str) -> None:
    """However it is written, it is refused, nothing of it was executed, and the next one is served."""
    before = await all_rows(seeded)
    with pytest.raises(UnownedStatementError):
        await as_alice(seeded, REFUSED[name])
    assert await all_rows(seeded) == before
    assert len(await as_alice(seeded, select(threads).where(own(threads)))) == 1


@pytest.mark.parametrize("name", ALLOWED)
async def test_a_statement_that_holds_the_user_is_executed(seeded: Database, name: str) -> None:
    """However it holds the user, it is executed, and gives nothing of anybody else."""
    given_ = await as_alice(seeded, ALLOWED[name])
    assert given_ not in ([], 0)
    assert "mallory" not in repr(given_)


async def test_the_values_are_compared_each_time(seeded: Database) -> None:
    """A statement that was right for one user is refused for another, though it is the same one."""
    statement = select(threads).where(threads.c.user_id == bindparam("whose"))
    assert len(await as_alice(seeded, statement, whose="alice")) == 1
    with pytest.raises(UnownedStatementError, match="another user"):
        await as_alice(seeded, statement, whose="mallory")
    for user_id in ("alice", "mallory"):
        equal = select(threads).where(threads.c.user_id == user_id)
        if user_id == "alice":
            assert len(await as_alice(seeded, equal)) == 1
        else:
            with pytest.raises(UnownedStatementError, match="another user"):
                await as_alice(seeded, equal)


MANY: Final[list[tuple[Insert | Update | Delete, tuple[str, ...], list[tuple[Any, ...]]]]] = [
    (
        insert(usage_uploads),
        ("user_id", "upload_id", "created_at"),
        [("alice", "u", SIGNED_UP), ("mallory", "u", SIGNED_UP)],
    ),
    (
        delete(runs).where(runs.c.run_id == bindparam("r"), runs.c.user_id == bindparam("u")),
        ("u", "r"),
        [("alice", "r"), ("mallory", "r")],
    ),
]


@pytest.mark.parametrize(("statement", "names", "rows"), MANY, ids=["insert", "delete"])
async def test_every_row_of_many_is_compared(
    seeded: Database, statement: Insert | Update | Delete, names: tuple[str, ...], rows: list[tuple[Any, ...]]
) -> None:
    """One row of somebody else's among many refuses them all; the user's own are written."""

    def work(chosen: list[tuple[Any, ...]]) -> Work:
        return lambda connection: execute_many(connection, statement, names, chosen)

    before = await all_rows(seeded)
    with pytest.raises(UnownedStatementError, match="another user"):
        await seeded.writer.run(work(rows), user_id="alice")
    assert await all_rows(seeded) == before
    await seeded.writer.run(work(rows[:1]), user_id="alice")


async def test_the_drivers_own_text_is_read_too(seeded: Database) -> None:
    """Text that goes to the driver as it is, is refused where it names a table with rows of users."""
    for words in (
        "SELECT 1 FROM Events",
        'DELETE FROM "threads"',
        "UPDATE main.users SET email = 1",
        "DROP TABLE runs",
    ):
        with pytest.raises(UnownedStatementError, match="it is text"):
            await seeded.writer.run(lambda connection, words=words: connection.exec_driver_sql(words), user_id="alice")  # type: ignore[misc]  # mypy does not see the default
    await seeded.writer.run(lambda connection: connection.exec_driver_sql("SELECT 1").close(), user_id="alice")


async def test_a_definition_of_data_is_refused(seeded: Database) -> None:
    """Who acts for a user cannot change the schema."""
    with pytest.raises(UnownedStatementError):
        await seeded.writer.run(lambda connection: threads.drop(connection, checkfirst=False), user_id="alice")


@pytest.mark.parametrize("name", sorted(OWNED))
async def test_whoever_acts_for_nobody_reaches_no_row(seeded: Database, name: str) -> None:
    """A transaction without a user is refused every table, whatever the statement says."""
    of = metadata.tables[name]
    for statement in (select(of), select(of).where(of.c.user_id == "alice"), select(of).where(of.c.user_id == "")):
        for run in (seeded.read, seeded.writer.run):
            with pytest.raises(UnownedStatementError):
                await run(lambda connection, s=statement: connection.execute(s).all())  # type: ignore[misc]  # mypy does not see the default


async def test_the_actor_ends_with_the_transaction(seeded: Database) -> None:
    """Neither a user's transaction nor a system operation leaves anything to the next one on the connection."""

    def begin(user_id: str | None) -> None:
        with seeded.storage.read_engine.connect() as connection:
            with connection.begin():
                if user_id is None:
                    assert find_user_by_email(connection, "alice@example.org") is not None
                else:
                    act_as(connection, Role.USER, user_id)
                    assert len(connection.execute(select(threads).where(threads.c.user_id == user_id)).all()) == 1
            with connection.begin(), pytest.raises(UnownedStatementError, match="nobody's"):
                connection.execute(select(threads).where(threads.c.user_id == "alice"))

    await asyncio.to_thread(begin, "alice")
    await asyncio.to_thread(begin, None)


async def test_what_follows_a_system_operation_is_nobodys_again(seeded: Database) -> None:
    """The role that reaches every row is taken on by the operations of the closed list, and only while they go on."""

    def work(connection: Connection) -> None:
        assert find_user_by_email(connection, "alice@example.org") is not None
        with pytest.raises(UnownedStatementError):
            connection.execute(select(users))

    await seeded.read(work)
    await seeded.writer.run(work)


async def test_the_ledger_names_the_user_of_every_row(seeded: Database) -> None:
    """The ledger writes for everybody, but a statement of its own that names no user is refused."""

    def by_run_alone(connection: Connection) -> None:
        act_as(connection, Role.LEDGER)
        connection.execute(select(runs).where(runs.c.run_id == "r"))

    def by_user(connection: Connection) -> int:
        act_as(connection, Role.LEDGER)
        return len(connection.execute(select(runs).where(runs.c.user_id == "mallory")).all())

    with pytest.raises(UnownedStatementError, match="does not name the owner of runs"):
        await seeded.writer.run(by_run_alone)
    assert await seeded.writer.run(by_user) == 1


async def test_a_structure_is_read_once(seeded: Database) -> None:
    """What a statement is held to is worked out for the first one of its structure only."""

    def work(connection: Connection) -> list[Any]:
        found = []

        @event.listens_for(connection, "before_cursor_execute")
        def note(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
            found.append(criterion_of(context.compiled))

        for number in range(5):
            named = select(threads.c.title).where(own(threads), threads.c.thread_id == f"t{number}")
            connection.execute(named, OWNER)
        event.remove(connection, "before_cursor_execute", note)
        return found

    found = await seeded.writer.run(work, user_id="alice")
    assert len(found) == 5
    assert len(set(map(id, found))) == 1


# Whatever passes is sound: statements drawn at random, executed over rows of two users.

_ATOMS: Final[list[ColumnElement[bool]]] = [
    own(threads),
    own(runs),
    threads.c.user_id == runs.c.user_id,
    runs.c.user_id == threads.c.user_id,
    threads.c.thread_id == runs.c.thread_id,
    threads.c.user_id == "mallory",
    threads.c.last_seq > 0,
    exists().where(other.c.user_id == threads.c.user_id),
    exists().where(other.c.user_id == threads.c.user_id).correlate(None),
    exists().where(other.c.user_id == bindparam("owner_id")),
]
_criteria = st.recursive(
    st.sampled_from(_ATOMS),
    lambda inner: st.one_of(
        st.builds(and_, inner, inner),
        st.builds(or_, inner, inner),
        st.builds(not_, inner),
    ),
    max_leaves=4,
)


@given(
    where=st.lists(_criteria, max_size=3),
    on=_criteria,
    how=st.sampled_from(["none", "inner", "outer", "full", "cross"]),
)
def test_whatever_passes_gives_nothing_of_anybody_else(
    sound: Callable[[Executable], list[Any] | None], where: list[ColumnElement[bool]], on: Any, how: str
) -> None:
    """A join in any form, with any criteria, is refused or gives the user's own rows only."""
    columns = [threads.c.user_id, runs.c.user_id.label("of_run")]
    if how == "none":
        columns = columns[:1]
        where = [one for one in where if "runs" not in str(one)]
    statement = select(*columns)
    if how in ("inner", "outer", "full"):
        statement = statement.join_from(threads, runs, on, isouter=how != "inner", full=how == "full")
    rows = sound(statement.where(*where))
    assert rows is None or {value for row in rows for value in row} <= {"alice", None}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, backend: Any) -> Any:
    """Executes a statement for alice in a database with rows of two users; None where it was refused."""
    with writing_engine(tmp_path_factory.mktemp("sound")) as engine:
        with engine.begin() as connection:
            for user_id in ("alice", "mallory"):
                user_row(connection, user_id)
                connection.execute(insert(threads), [{"user_id": user_id, **THREAD, "thread_id": id_} for id_ in "tu"])
        with engine.connect() as connection:

            def execute(statement: Executable) -> list[Any] | None:
                with connection.begin():
                    act_as(connection, Role.USER, "alice")
                    try:
                        return list(connection.execute(statement, OWNER))
                    except UnownedStatementError:
                        return None

            yield execute
