"""What the syntax around an expression tells and a type server does not: bounds of type variables, class methods."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from netra_repair.excerpts import Excerpts
from netra_repair.layout import Layout
from netra_repair.source import Source, Span, UnparsableSource

# Methods that are class methods without saying so.
_IMPLICIT_CLASS_METHODS = frozenset({"__new__", "__init_subclass__", "__class_getitem__"})


class Surroundings:
    """The syntax of one file.

    Args:
        layout: its nodes and where they stand.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @classmethod
    def of(cls, source: Source, place: int | None = None) -> Surroundings | None:
        """Parses a file.

        Args:
            source: the file.
            place: the offset of the only place that is asked about; None for the whole file.

        Returns:
            Its surroundings; None when it does not parse.
        """
        excerpts = Excerpts.of(source) if place is not None else None
        left_out = excerpts.left_out([source.index_of_offset(place or 0)]) if excerpts is not None else ()
        try:
            return cls(Layout(source, left_out))
        except UnparsableSource:
            return cls.of(source) if left_out else None

    def bounds_of_statement(self, name: str, line: int) -> tuple[Span, ...]:
        """What a type variable is limited to that is made by `T = TypeVar("T", …)`.

        Args:
            name: of the variable.
            line: of the statement, from 1.

        Returns:
            Its bound or its constraints; nothing when it has none.
        """
        for node in self._layout.of_type(cst.Assign):
            targets = [each.target for each in node.targets]
            named = any(isinstance(target, cst.Name) and target.value == name for target in targets)
            if named and isinstance(node.value, cst.Call):
                span = self._layout.span(self._layout.outer(node))
                if self._layout.source.position(span.start).line == line:
                    return tuple(self._expression(value) for value in _limits(node.value))
        return ()

    def bounds_of_parameter(self, name: str, offset: int) -> tuple[Span, ...]:
        """What a type parameter (PEP 695) is limited to.

        Args:
            name: of the parameter.
            offset: of an expression in the function, class or alias that declares it.

        Returns:
            Its bound or its constraints; nothing when it has none.
        """
        for node in self._around(offset):
            for each in node.type_parameters.params if node.type_parameters is not None else ():
                if isinstance(each.param, cst.TypeVar) and each.param.name.value == name:
                    bound = each.param.bound
                    limits = [item.value for item in bound.elements] if isinstance(bound, cst.Tuple) else [bound]
                    return tuple(self._expression(value) for value in limits if value is not None)
        return ()

    def in_class_method(self, offset: int) -> bool:
        """Whether the innermost function around an offset is a class method."""
        function = next((node for node in self._around(offset) if isinstance(node, cst.FunctionDef)), None)
        if function is None:
            return False
        decorators = [each.decorator for each in function.decorators]
        return function.name.value in _IMPLICIT_CLASS_METHODS or any(
            isinstance(decorator, cst.Name) and decorator.value == "classmethod" for decorator in decorators
        )

    def _around(self, offset: int) -> Iterator[cst.FunctionDef | cst.ClassDef | cst.TypeAlias]:
        """The functions, classes and aliases around an offset, innermost first."""
        layout = self._layout
        at = layout.source.index_of_offset(offset)
        nodes: list[cst.FunctionDef | cst.ClassDef | cst.TypeAlias] = [
            *layout.of_type(cst.FunctionDef),
            *layout.of_type(cst.ClassDef),
            *layout.of_type(cst.TypeAlias),
        ]
        places = [(layout.outer(node), node) for node in nodes]
        around = [(start, node) for (start, end), node in places if start <= at < end]
        return (node for _, node in sorted(around, key=lambda each: each[0], reverse=True))

    def _expression(self, node: cst.BaseExpression) -> Span:
        """Where an expression stands; for one in quotes, what is inside them."""
        start, end = self._layout.inner(node)
        if isinstance(node, cst.SimpleString):
            start, end = start + len(node.prefix) + len(node.quote), end - len(node.quote)
        return self._layout.span((start, end))


def _limits(call: cst.Call) -> list[cst.BaseExpression]:
    """The bound of a `TypeVar(…)`, else its constraints."""
    bounds = [each.value for each in call.args if each.keyword is not None and each.keyword.value == "bound"]
    return bounds or [each.value for each in call.args[1:] if each.keyword is None and not each.star]
