"""The places of a syntax tree that name an attribute: where each stands, and what the code does with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import libcst as cst

from netra_repair.layout import Layout, Place
from netra_repair.references import Use
from netra_repair.string_targets import StringTarget, string_targets

_SEQUENCES = (cst.Element, cst.StarredElement, cst.Tuple, cst.List)


@dataclass(frozen=True, slots=True)
class Naming:
    """One place that names an attribute.

    Attributes:
        attribute: the name.
        place: where it stands.
        owner: what it is looked up on: an expression, the statement that imports it, or a dotted path in a string; None
            where nothing says it.
        expression: from where to where owner and name go.
        node: the part of the tree that it is.
        use: what the code does with it.
        call: the call of it.
        target: what a name in a string is there for.
    """

    attribute: str
    place: Place
    owner: cst.BaseExpression | cst.ImportFrom | str | None
    expression: Place
    node: cst.CSTNode
    use: Use
    call: cst.Call | None = None
    target: StringTarget | None = None


class Namings:
    """The places of one file that name attributes.

    Args:
        layout: of the file.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def of(self, names: Collection[str]) -> Iterator[Naming]:
        """The places that name one of some attributes, in no order."""
        for node in self._attributes:
            if node.attr.value in names:
                yield self._of_attribute(node)
        for statement, name in self._imports:
            if name.value in names:
                yield self._of_import(statement, name)
        for target in self.strings:
            if target.attribute in names:
                yield self._of_string(target)

    def ending_at(self, index: int) -> Naming | None:
        """The place that ends at a character of the file's text; a string's last name also ends at its quote."""
        match self._endings.get(index):
            case cst.Attribute() as node:
                return self._of_attribute(node)
            case StringTarget() as target:
                return self._of_string(target)
            case (statement, name):
                return self._of_import(statement, name)
            case None:
                return None

    @cached_property
    def strings(self) -> tuple[StringTarget, ...]:
        """All names in strings that are looked up as attributes."""
        return tuple(target for call in self._layout.of_type(cst.Call) for target in string_targets(self._layout, call))

    @cached_property
    def _attributes(self) -> tuple[cst.Attribute, ...]:
        """The attributes that are looked up: not the dotted names of modules in import statements."""
        return tuple(node for node in self._layout.of_type(cst.Attribute) if not self._is_of_an_import(node))

    @cached_property
    def _imports(self) -> tuple[tuple[cst.ImportFrom, cst.Name], ...]:
        return tuple(
            (statement, alias.name)
            for statement in self._layout.of_type(cst.ImportFrom)
            if not isinstance(statement.names, cst.ImportStar)
            for alias in statement.names
            if isinstance(alias.name, cst.Name)
        )

    @cached_property
    def _endings(self) -> dict[int, cst.Attribute | StringTarget | tuple[cst.ImportFrom, cst.Name]]:
        endings: dict[int, cst.Attribute | StringTarget | tuple[cst.ImportFrom, cst.Name]] = {}
        for target in self.strings:
            endings[target.place[1]] = endings[self._layout.inner(target.literal)[1]] = target
        endings |= {self._layout.outer(name)[1]: (statement, name) for statement, name in self._imports}
        return endings | {self._layout.outer(node.attr)[1]: node for node in self._attributes}

    def _is_of_an_import(self, node: cst.CSTNode) -> bool:
        while isinstance(node, cst.Attribute):
            parent = self._layout.parent(node)
            if parent is None or isinstance(parent, cst.ImportAlias | cst.ImportFrom):
                return True
            node = parent
        return False

    def _of_attribute(self, node: cst.Attribute) -> Naming:
        use, call = self._use(node)
        place = self._layout.outer(node.attr)
        return Naming(node.attr.value, place, node.value, self._layout.inner(node), node, use, call)

    def _of_import(self, statement: cst.ImportFrom, name: cst.Name) -> Naming:
        place = self._layout.outer(name)
        return Naming(name.value, place, statement, place, name, Use.IMPORT)

    def _of_string(self, target: StringTarget) -> Naming:
        owner = target.dotted if target.receiver is None else target.receiver
        expression = self._layout.inner(target.literal)
        return Naming(target.attribute, target.place, owner, expression, target.literal, Use.STRING, target=target)

    def _use(self, node: cst.Attribute) -> tuple[Use, cst.Call | None]:
        match self._layout.parent(node):
            case cst.Call() as call:
                return Use.CALL, call
            case cst.Decorator():
                return Use.DECORATOR, None
        target: cst.CSTNode = node
        for child, parent in self._layout.line_of_descent(node):
            target = child
            if not isinstance(parent, _SEQUENCES):
                break
        match self._layout.parent(target):
            case cst.AssignTarget():
                return Use.ASSIGNMENT, None
            case cst.AugAssign() | cst.AnnAssign() | cst.For() | cst.CompFor() as parent if parent.target is target:
                return Use.ASSIGNMENT, None
            case cst.AsName():
                return Use.ASSIGNMENT, None
            case cst.Del():
                return Use.DELETION, None
            case _:
                return Use.REFERENCE, None
