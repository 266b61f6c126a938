"""How a file uses what a name gives: whether it needs the value at once, and where it calls it."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from netra_repair.layout import Layout
from netra_repair.source import Span

# Whatever stands directly in one of these is computed with, shown, or gone through.
_COMPUTING = (
    cst.UnaryOperation,
    cst.BinaryOperation,
    cst.Comparison,
    cst.ComparisonTarget,
    cst.Subscript,
    cst.StarredElement,
    cst.Await,
    cst.AugAssign,
    cst.FormattedStringExpression,
)
_TESTING = (cst.If, cst.While, cst.Assert, cst.IfExp, cst.CompIf)
_ITERATING = (cst.For, cst.CompFor)
_SAME = (cst.Equal, cst.NotEqual, cst.Is, cst.IsNot)


def uses_value(layout: Layout, end: int) -> bool:
    """Whether what an attribute gives is tested, compared, computed with, shown or iterated over.

    Args:
        layout: of the file.
        end: the index in the file's text where the attribute's name ends.

    Returns:
        Whether it is; what is passed on, kept, returned or used as a decorator is not.
    """
    return any(_is_used(layout, node) for node in _ending_at(layout, end))


def is_looked_for(layout: Layout, end: int) -> bool:
    """Whether what an attribute gives is looked for in something: `self.changed in event.callbacks`.

    Args:
        layout: of the file.
        end: the index in the file's text where the attribute's name ends.
    """
    return any(_is_sought(layout, node) for node in _ending_at(layout, end))


def is_recognized(layout: Layout, end: int) -> bool:
    """Whether what an attribute gives is compared for being the same as something else: `part.func == self.changed`.

    Args:
        layout: of the file.
        end: the index in the file's text where the attribute's name ends.

    Returns:
        Whether it is; not in a chain, and only where the other one is an attribute, an item, or what a call gives: a
        literal, or a name for one, is compared with values.
    """
    return any(_is_recognized(layout, node) for node in _ending_at(layout, end))


def calls_of(layout: Layout, name: str) -> Iterator[Span]:
    """Where a plain name stands that is called.

    Args:
        layout: of the file.
        name: the name.

    Yields:
        The bytes of the name, for each call of it.
    """
    for call in layout.of_type(cst.Call):
        if isinstance(call.func, cst.Name) and call.func.value == name:
            yield layout.span(layout.inner(call.func))


def _ending_at(layout: Layout, end: int) -> Iterator[cst.Attribute]:
    return (node for node in layout.of_type(cst.Attribute) if layout.inner(node.attr)[1] == end)


def _is_sought(layout: Layout, node: cst.CSTNode) -> bool:
    match layout.parent(node):
        case cst.Comparison(left=left, comparisons=[cst.ComparisonTarget(operator=cst.In() | cst.NotIn())]):
            return left is node
        case _:
            return False


def _is_recognized(layout: Layout, node: cst.CSTNode) -> bool:
    parent = layout.parent(node)
    whole = layout.parent(parent) if isinstance(parent, cst.ComparisonTarget) else parent
    match whole:
        case cst.Comparison(left=left, comparisons=[cst.ComparisonTarget(operator=operator, comparator=right)]):
            other = right if left is node else left
            return isinstance(operator, _SAME) and isinstance(other, cst.Attribute | cst.Call | cst.Subscript)
        case _:
            return False


def _is_used(layout: Layout, node: cst.CSTNode) -> bool:
    for child, parent in layout.line_of_descent(node):
        if isinstance(parent, cst.BooleanOperation):
            if child is parent.left:
                return True
            continue  # the last part may be what the whole gives: `handler or Ctx.made`
        if isinstance(parent, _TESTING):
            return child is parent.test
        if isinstance(parent, _ITERATING):
            return child is parent.iter
        return isinstance(parent, _COMPUTING)
    return False
