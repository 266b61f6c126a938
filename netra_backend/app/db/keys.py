"""Reaching rows by many keys at once: one JSON text of arrays leads the join.

A row-value `IN (VALUES …)` reads better, and makes SQLite scan the whole table. The two databases spell it differently;
that is told here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, String, and_, bindparam, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class _Elements(FunctionElement[Any]):
    """The elements of a JSON array, as rows of one column."""

    name = "elements"
    inherit_cache = True


class _Item(FunctionElement[str]):
    """The item at a place of a JSON array, as text."""

    name = "item"
    type = String()
    inherit_cache = True


KEYS: Final = _Elements(bindparam("keys")).table_valued("value", name="keys")
"""The rows of the parameter `keys`, a text that `as_keys` makes."""


def is_key(*columns: ColumnElement[str]) -> ColumnElement[bool]:
    """That columns are those of one of `KEYS`, in this order."""
    return and_(*(column == _Item(KEYS.c.value, literal_column(str(place))) for place, column in enumerate(columns)))


def as_keys(keys: Collection[tuple[str, ...]]) -> str:
    """The value of the parameter `keys`, in a stable order."""
    return orjson.dumps(sorted(keys)).decode()


def _spelled(compiler: Any, element: FunctionElement[Any], form: str, **options: Any) -> str:
    return form.format(*(compiler.process(clause, **options) for clause in element.clauses))


@compiles(_Elements, "sqlite")
def _elements_in_sqlite(element: _Elements, compiler: Any, **options: Any) -> str:
    return _spelled(compiler, element, "json_each({0})", **options)


@compiles(_Elements, "postgresql")
def _elements_in_postgresql(element: _Elements, compiler: Any, **options: Any) -> str:
    return _spelled(compiler, element, "jsonb_array_elements(CAST({0} AS JSONB))", **options)


@compiles(_Item, "sqlite")
def _item_in_sqlite(element: _Item, compiler: Any, **options: Any) -> str:
    return _spelled(compiler, element, "json_extract({0}, '$[{1}]')", **options)


@compiles(_Item, "postgresql")
def _item_in_postgresql(element: _Item, compiler: Any, **options: Any) -> str:
    return _spelled(compiler, element, "({0} ->> {1})", **options)
