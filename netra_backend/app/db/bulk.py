"""Inserting many rows at once, as the driver takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert

Row = Sequence[Any]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, one value for each column.

    SQLAlchemy's own way takes a mapping for each row and looks every name up again, which costs more than the insert;
    here the statement and the conversions of its columns are worked out once.

    Args:
        connection: inside a transaction.
        table: where to.
        rows: the values in the order of the table's columns.
    """
    if not rows:
        return
    sql, conversions = _prepared(connection.dialect, table)
    converted = []
    for row in rows:
        values = list(row)
        for position, convert in conversions:
            values[position] = convert(values[position])
        converted.append(tuple(values))
    connection.exec_driver_sql(sql, converted)


@lru_cache
def _prepared(dialect: Dialect, table: Table) -> tuple[str, tuple[tuple[int, Callable[[Any], Any]], ...]]:
    sql = str(insert(table).compile(dialect=dialect, column_keys=[column.name for column in table.columns]))
    processors = [column.type.dialect_impl(dialect).bind_processor(dialect) for column in table.columns]
    return sql, tuple((position, convert) for position, convert in enumerate(processors) if convert is not None)
