"""The second wall between users in SQLite: a statement over users' rows that does not hold the user is not executed.

PostgreSQL's row-level security adds the user to every statement. SQLite has none, so each statement is read before it
is executed: every table with rows of users that it names, in whatever join, subquery or WITH, must be held to the user
by `user_id = …`, directly or over a table that is. What a statement is held to depends on its structure only, and is
worked out once for each; each execution then compares the values with the transaction's user.

It is a wall against mistakes in statements, as the other one is: who writes SQL to deceive it is not stopped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnClause,
    CompoundSelect,
    Connection,
    Delete,
    Insert,
    Select,
    TableClause,
    TextClause,
    Update,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ClauseElement, Grouping
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import (
    AliasedReturnsRows,
    FromClause,
    FromGrouping,
    Join,
    SelectStatementGrouping,
    TableValuedAlias,
    Values,
)

from .errors import UnownedStatementError
from .roles import Role, actor_of
from .tables import metadata

OWNER_COLUMN: Final = "user_id"
OWNED: Final = frozenset(table.name for table in metadata.tables.values() if OWNER_COLUMN in table.c)
"""The tables with rows of users."""

_NAMES: Final = re.compile(rf"\b(?:{'|'.join(sorted(OWNED))})\b", re.IGNORECASE)
_HARMLESS_TEXT: Final = re.compile(r"\*|[0-9]+")


@dataclass(frozen=True, slots=True)
class Criterion:
    """What a statement is held to.

    Attributes:
        reaches: whether it names a table with rows of users.
        user_parameters: the names of the parameters that must be the user.
        fault: why it may reach rows of other users than these parameters say; None when it may not.
        unnamed_fault: why it may reach rows of users that it does not name at all; None when it may not.
    """

    reaches: bool
    user_parameters: tuple[str, ...] = ()
    fault: str | None = None
    unnamed_fault: str | None = None


_of_prepared: dict[str, tuple[Criterion, tuple[int, ...]]] = {}


def refuse_unowned(
    connection: Connection,
    _cursor: Any,
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> tuple[str, Any]:
    """Refuse a statement that does not hold the transaction's user: a listener to `before_cursor_execute`.

    Returns:
        What is executed, unchanged: SQLAlchemy calls a listener that returns it without a layer between.

    Raises:
        UnownedStatementError: it was not executed.
    """
    actor = actor_of(connection)
    if actor is None or actor.role is Role.SYSTEM:
        return statement, parameters
    compiled = context.compiled
    criterion = _criterion_of_text(statement) if compiled is None else criterion_of(compiled)
    if not criterion.reaches:
        return statement, parameters
    if actor.role is Role.LEDGER:
        if criterion.unnamed_fault is not None:
            raise UnownedStatementError(criterion.unnamed_fault)
        return statement, parameters
    if criterion.fault is not None:
        raise UnownedStatementError(criterion.fault)
    if not actor.user_id:
        raise UnownedStatementError("the transaction is nobody's: expected one of a repository, or a system operation")
    if compiled is None:
        keys: Sequence[Any] = _of_prepared[statement][1]
        rows = parameters if executemany else (parameters,)
    else:
        keys, rows = criterion.user_parameters, context.compiled_parameters
    for row in rows:
        for key in keys:
            if row[key] != actor.user_id:
                raise UnownedStatementError("it names another user than the one whose transaction it is in")
    return statement, parameters


def criterion_of(compiled: Any) -> Criterion:
    """What a compiled statement is held to."""
    try:
        criterion: Criterion = compiled.netra_criterion
    except AttributeError:  # SQLAlchemy keeps what it has compiled; what was read of it is kept there too
        criterion = compiled.netra_criterion = _Reading(compiled).criterion()
    return criterion


def prepare(text: str, compiled: Any, order: Sequence[str]) -> None:
    """Make the text of a statement known, which is then executed by itself.

    Args:
        text: as it is executed.
        compiled: the statement.
        order: the names of its parameters.
    """
    criterion = criterion_of(compiled)
    _of_prepared[text] = criterion, tuple(order.index(name) for name in criterion.user_parameters)


def _criterion_of_text(text: str) -> Criterion:
    prepared = _of_prepared.get(text)
    return _criterion_of_unknown(text) if prepared is None else prepared[0]


@lru_cache(maxsize=1_000)
def _criterion_of_unknown(text: str) -> Criterion:
    if (named := _NAMES.search(text)) is None:
        return Criterion(reaches=False)
    fault = f"it is text over {named[0].lower()}: expected a statement of SQLAlchemy's, whose owner can be read"
    return Criterion(reaches=True, fault=fault, unnamed_fault=fault)


@dataclass(slots=True)
class _Equality:
    """That a table's owner is a user, or the owner in another table, in every row of `holds_for`; None: of all."""

    table: FromClause
    other: FromClause | BindParameter[Any] | None
    holds_for: frozenset[FromClause] | None


@dataclass(slots=True, eq=False)
class _Scope:
    """The tables of one SELECT, UPDATE or DELETE, and those that are held to a user."""

    tables: dict[FromClause, None] = field(default_factory=dict)  # a set in its order
    froms: set[FromClause] = field(default_factory=set)
    outer: _Scope | None = None
    held: set[FromClause] = field(default_factory=set)
    named: set[FromClause] = field(default_factory=set)

    def chain(self) -> Iterator[_Scope]:
        scope: _Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer


class _Reading:
    """Reads one statement."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._reaches = False
        self._user_parameters: dict[str, None] = {}
        self._fault: str | None = None
        self._unnamed_fault: str | None = None
        self._read: set[int] = set()

    def criterion(self) -> Criterion:
        statement = self._compiled.statement
        if isinstance(statement, ClauseElement):
            self._any(statement, None)
        text = self._compiled.string
        if not self._reaches and _NAMES.search(str(text)) is not None:  # a form that is not known here
            self._refuse(f"{type(statement).__name__} is not read here, and names a table with rows of users")
        return Criterion(self._reaches, tuple(self._user_parameters), self._fault, self._unnamed_fault)

    def _refuse(self, fault: str) -> None:
        self._reaches = True
        self._fault = self._fault or fault
        self._unnamed_fault = self._unnamed_fault or fault

    def _any(self, element: Any, scope: _Scope | None) -> None:
        """Read an element of an expression in a scope."""
        match element:
            case Select():
                self._select(element, scope)
            case CompoundSelect():
                for select in element.selects:
                    self._any(select, scope)
            case Insert():
                self._insert(element)
            case Update() | Delete():
                self._change(element)
            case FromClause() if not isinstance(element, FunctionElement):
                self._from(element, _Scope())
            case TextClause():
                self._text(element.text)
            case ColumnClause():
                self._column(element, scope)
            case _:
                for child in element.get_children():
                    self._any(child, scope)

    def _text(self, text: str) -> None:
        if not _HARMLESS_TEXT.fullmatch(text):
            self._fault = self._fault or "a part of it is text: expected SQLAlchemy's expressions only"
            if _NAMES.search(text):
                self._refuse("a part of it is text that names a table with rows of users")

    def _column(self, column: ColumnClause[Any], scope: _Scope | None) -> None:
        if column.is_literal:
            self._text(column.name)
        elif _is_owned(column.table) and not any(column.table in inner.tables for inner in _chain(scope)):
            self._refuse(f"{column.table} is not among the tables whose owner can be read")

    def _select(self, select: Select[Any], outer: _Scope | None) -> None:
        scope = _Scope(outer=outer)
        froms = list(select._compile_state_factory(select, self._compiled)._get_display_froms())
        if outer is not None and select._auto_correlate and len(froms) > 1:  # as the compiler does
            froms = [one for one in froms if one not in outer.froms]
        equalities: list[_Equality] = []
        for one in froms:
            equalities += self._from(one, scope)
        equalities += _equalities(select._where_criteria, None)
        self._hold(scope, equalities)
        for child in select.get_children():
            if not isinstance(child, FromClause) or isinstance(child, FunctionElement):
                self._any(child, scope)
            elif child not in scope.froms and not _is_table(child):  # a WITH that is only named
                self._from(child, _Scope())

    def _from(self, one: FromClause, scope: _Scope) -> list[_Equality]:
        """Take what stands in a FROM into a scope; returns what its joins say of it."""
        scope.froms.add(one)
        if _is_table(one):
            scope.tables[one] = None
            return []
        match one:
            case Join():
                left, right = _Scope(outer=scope.outer), _Scope(outer=scope.outer)
                inner = self._from(one.left, left) + self._from(one.right, right)
                for side in (left, right):
                    scope.tables |= side.tables
                    scope.froms |= side.froms
                if one.onclause is not None:
                    self._any(one.onclause, scope)
                holds_for = frozenset(right.tables) if one.isouter else None
                if not one.full and one.onclause is not None:
                    inner += _equalities((one.onclause,), holds_for)
                return inner
            case FromGrouping():
                return self._from(one.element, scope)
            case TableValuedAlias() | Values() | FunctionElement():
                for child in one.get_children():
                    self._any(child, None)
                return []
            case AliasedReturnsRows():
                if id(one) not in self._read:  # one that names itself is read once
                    self._read.add(id(one))
                    self._any(_inside(one.element), None)
                return []
        self._refuse(f"{type(one).__name__} in a FROM is not read here")
        return []

    def _insert(self, insert: Insert) -> None:
        if not _is_owned(insert.table):
            return
        self._reaches = True
        if insert.select is not None or insert._multi_values or insert._post_values_clause is not None:
            self._refuse(f"{insert.table.name} takes the values of new rows as parameters only")
        elif OWNER_COLUMN not in self._compiled.binds:
            self._refuse(f"a new row of {insert.table.name} has no parameter {OWNER_COLUMN}")
        else:
            self._user_parameters[OWNER_COLUMN] = None
        for child in insert.get_children():
            if not isinstance(child, FromClause | ColumnClause):
                self._any(child, None)

    def _change(self, change: Update | Delete) -> None:
        scope = _Scope()
        self._from(change.table, scope)
        if _is_owned(change.table) and isinstance(change, Update):
            values = {getattr(column, "key", column) for column in (change._values or {})}
            if OWNER_COLUMN in values or OWNER_COLUMN in self._compiled.binds:
                self._refuse(f"a row of {change.table} cannot be given to somebody else")
        self._hold(scope, _equalities(change._where_criteria, None))
        for child in change.get_children():
            if not isinstance(child, FromClause):
                self._any(child, scope)

    def _hold(self, scope: _Scope, equalities: list[_Equality]) -> None:
        """Find which tables of a scope are held to the user, or to any user that is named."""
        for equality in equalities:
            if isinstance(equality.other, BindParameter) and (name := self._compiled.bind_names.get(equality.other)):
                self._user_parameters[name] = None
        while _spread(scope, equalities):
            pass
        for table in filter(_is_owned, scope.tables):
            self._reaches = True
            if table not in scope.held:
                expected = f"expected {table}.{OWNER_COLUMN} to be the user of the transaction, in every row"
                self._fault = self._fault or f"it does not hold the owner of {table}: {expected}"
            if table not in scope.named:
                expected = f"expected {table}.{OWNER_COLUMN} to be given, in every row"
                self._unnamed_fault = self._unnamed_fault or f"it does not name the owner of {table}: {expected}"


def _spread(scope: _Scope, equalities: Iterable[_Equality]) -> bool:
    """Take one more table as held or named; False when there is none."""
    for equality in equalities:
        table, other = equality.table, equality.other
        if table not in scope.tables or (equality.holds_for is not None and table not in equality.holds_for):
            continue
        # The nearest table of that name is meant: a subquery may name one again that is held outside.
        nearest = next((inner for inner in scope.chain() if other in inner.tables), None)
        is_held = isinstance(other, BindParameter) or (nearest is not None and other in nearest.held)
        is_named = other is None or is_held or (nearest is not None and other in nearest.named)
        if (is_held and table not in scope.held) or (is_named and table not in scope.named):
            scope.named.add(table)
            if is_held:
                scope.held.add(table)
            return True
    return False


def _equalities(criteria: Iterable[Any], holds_for: frozenset[FromClause] | None) -> list[_Equality]:
    """What is said of owners by criteria of which all hold."""
    found: list[_Equality] = []
    for criterion in criteria:
        match criterion:
            case Grouping():
                found += _equalities((criterion.element,), holds_for)
            case BooleanClauseList(operator=operators.and_):
                found += _equalities(criterion.clauses, holds_for)
            case BinaryExpression(operator=operators.eq, left=left, right=right):
                for one, other in ((left, right), (right, left)):
                    if _is_owner(one) and (_is_owner(other) or isinstance(other, BindParameter | FunctionElement)):
                        value = other.table if _is_owner(other) else None
                        value = other if isinstance(other, BindParameter) else value
                        found.append(_Equality(one.table, value, holds_for))
    return found


def _is_owner(element: Any) -> bool:
    return isinstance(element, ColumnClause) and element.key == OWNER_COLUMN and _is_owned(element.table)


def _inside(element: Any) -> Any:
    return element.element if isinstance(element, SelectStatementGrouping) else element


def _is_table(one: Any) -> bool:
    return isinstance(one, TableClause) or (
        isinstance(one, AliasedReturnsRows) and isinstance(one.element, TableClause)
    )


def _is_owned(one: Any) -> bool:
    table = one.element if isinstance(one, AliasedReturnsRows) else one
    return isinstance(table, TableClause) and table.name in OWNED


def _chain(scope: _Scope | None) -> Iterable[_Scope]:
    return () if scope is None else scope.chain()
