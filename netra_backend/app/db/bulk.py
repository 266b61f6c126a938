"""Executing one statement for many rows, as the driver takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Update

Names = tuple[str, ...]
Place = tuple[int, Callable[[Any], Any] | None]


def execute_many(
    connection: Connection, statement: Insert | Update | Delete, names: Names, rows: Sequence[Sequence[Any]]
) -> int:
    """Execute a statement once for each row.

    SQLAlchemy's own way takes a mapping for each row and looks every name up again, which costs more than the
    statement; here its text, the order of its parameters and their conversions are worked out once.

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
    text, places = _prepared(connection.dialect, statement, names)
    parameters = [
        tuple(row[place] if convert is None else convert(row[place]) for place, convert in places) for row in rows
    ]
    return connection.exec_driver_sql(text, parameters).rowcount


@lru_cache
def _prepared(dialect: Dialect, statement: Insert | Update | Delete, names: Names) -> tuple[str, tuple[Place, ...]]:
    columns = list(names) if isinstance(statement, Insert) else None
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    order = compiled.positiontup or ()
    types = [compiled.binds[name].type for name in order]
    conversions = [type_.dialect_impl(dialect).bind_processor(dialect) for type_ in types]
    return str(compiled), tuple(zip([names.index(name) for name in order], conversions, strict=True))
