"""Executing one statement for many rows, as the driver takes them best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Update

from .owner_criterion import prepare

Names = tuple[str, ...]
Convert = Callable[[Any], Any] | None
Place = tuple[int, Convert]


def execute_many(
    connection: Connection, statement: Insert | Update | Delete, names: Names, rows: Sequence[Sequence[Any]]
) -> int:
    """Execute a statement once for each row.

    SQLAlchemy's own way takes a mapping for each row and looks every name up again, which costs more than the
    statement; here its text, the order of its parameters and their conversions are worked out once. PostgreSQL takes
    the rows of an insert as one array for each column, in one statement (COPY is refused under row-level security).

    Args:
        connection: inside a transaction.
        statement: made once, so that it is found again; an insert is into the columns that are named.
        names: of the parameters.
        rows: their values, in the order of the names.

    Returns:
        How many rows were written in all.
    """
    if not rows:
        return 0
    if isinstance(statement, Insert) and connection.dialect.name == "postgresql":
        text, conversions = _prepared_arrays(connection.dialect, statement, names)
        columns = tuple(
            list(column) if convert is None else [convert(value) for value in column]
            for column, convert in zip(zip(*rows, strict=True), conversions, strict=True)
        )
        return connection.exec_driver_sql(text, columns).rowcount
    text, places = _prepared(connection.dialect, statement, names)
    parameters = [
        tuple(row[place] if convert is None else convert(row[place]) for place, convert in places) for row in rows
    ]
    return connection.exec_driver_sql(text, parameters).rowcount


@lru_cache
def _prepared(dialect: Dialect, statement: Insert | Update | Delete, names: Names) -> tuple[str, tuple[Place, ...]]:
    columns = list(names) if isinstance(statement, Insert) else None
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    text = str(compiled)
    if compiled.positional:
        order = list(compiled.positiontup or ())
    else:  # psycopg's `%(name)s`: taken in the order in which the names stand
        order = sorted(compiled.binds, key=lambda name: text.index(f"%({name})s"))
        for name in order:
            text = text.replace(f"%({name})s", "%s")
    prepare(text, compiled, order)
    conversions = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in order]
    return text, tuple(zip([names.index(name) for name in order], conversions, strict=True))


@lru_cache
def _prepared_arrays(dialect: Dialect, statement: Insert, names: Names) -> tuple[str, tuple[Convert, ...]]:
    types = [statement.table.c[name].type for name in names]
    quoted = [dialect.identifier_preparer.quote(name) for name in names]
    arrays = ", ".join(f"%s::{_element(dialect, type_)}[]" for type_ in types)
    text = f"INSERT INTO {statement.table.name} ({', '.join(quoted)}) SELECT * FROM unnest({arrays})"  # noqa: S608  # nosec B608  # names of our own tables, quoted
    return text, tuple(type_.dialect_impl(dialect).bind_processor(dialect) for type_ in types)


def _element(dialect: Dialect, type_: Any) -> str:
    """The type of an array's elements: a column's, without a collation, which a cast does not take."""
    return str(type_.compile(dialect=dialect)).partition(" COLLATE ")[0]
