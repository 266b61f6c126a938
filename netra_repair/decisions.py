"""What a condition decides: the stretches of text that run, or do not, because of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from netra_repair.calls import called
from netra_repair.layout import Layout, Place

_ASSERTS = re.compile(r"(?:assert|assume|skip)\w*", re.IGNORECASE)
_LEAVES = frozenset({"skip", "skipTest", "fail", "xfail", "exit", "_exit", "importorskip"})
_STATEMENTS = (cst.BaseSmallStatement, cst.BaseCompoundStatement, cst.BaseSuite, cst.Lambda)
# Through these a value that is kept in a name is still the condition: `HAS = bool(hasattr(C, "m"))`.
_KEEPS = (
    cst.Arg,
    cst.Attribute,
    cst.BooleanOperation,
    cst.Call,
    cst.Comparison,
    cst.ComparisonTarget,
    cst.Subscript,
    cst.UnaryOperation,
)


def branches(layout: Layout, condition: cst.BaseExpression) -> Iterator[Place]:
    """The branches that depend on a condition, both the one and the other: of statements, ternaries, `and` and `or`,
    loops, comprehensions and `case … if`; also where the condition was given a name before.

    Args:
        layout: of the file.
        condition: any part of it.

    Returns:
        Their places, in no order.
    """
    for use in _uses(layout, condition):
        yield from _branches(layout, use)


def followers(layout: Layout, condition: cst.BaseExpression) -> Iterator[Place]:
    """What a condition decides beyond its branches.

    That is the rest of the block after an assertion of it, or after an `if` of it that leaves the block; and what a
    decorator with it (`skipif`), or `pytestmark`, stands for.

    Args:
        layout: of the file.
        condition: any part of it.

    Returns:
        Their places, in no order.
    """
    for use in _uses(layout, condition):
        yield from _followers(layout, use)


def decorated(layout: Layout, part: cst.CSTNode) -> Place | None:
    """The body of what a decorator decorates, when the node is part of a decorator."""
    for child, parent in layout.line_of_descent(part):
        if isinstance(child, cst.Decorator):
            return layout.outer(parent.body) if isinstance(parent, cst.FunctionDef | cst.ClassDef) else None
        if isinstance(child, _STATEMENTS):
            return None
    return None


def _uses(layout: Layout, condition: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
    """The condition, and the uses of a name that it is kept in."""
    yield condition
    target: cst.BaseExpression | None = None
    for child, parent in layout.line_of_descent(condition):
        match parent:
            case cst.Assign(targets=[cst.AssignTarget(target=target)]) if child is parent.value:
                break
            case cst.AnnAssign(target=target) | cst.NamedExpr(target=target) if child is parent.value:
                break
        if not isinstance(parent, _KEEPS):
            return
    if isinstance(target, cst.Name):
        for name in layout.of_type(cst.Name):
            if name.value == target.value and name is not target:
                yield name


def _branches(layout: Layout, condition: cst.BaseExpression) -> Iterator[Place]:
    for child, parent in layout.line_of_descent(condition):
        match parent:
            case cst.If() | cst.IfExp() if child is parent.test:
                yield layout.outer(parent.body)
                if parent.orelse is not None:
                    yield layout.outer(parent.orelse)
            case cst.While() if child is parent.test:
                yield layout.outer(parent.body)
            case cst.MatchCase() if child is parent.guard:
                yield layout.outer(parent.body)
            case cst.BooleanOperation() if child is parent.left:
                yield layout.outer(parent.right)
            case cst.CompIf():
                yield from _filtered(layout, parent)
            case _:
                pass
        if isinstance(parent, _STATEMENTS):
            return


def _filtered(layout: Layout, condition: cst.CompIf) -> Iterator[Place]:
    """What a comprehension evaluates after one of its conditions: what follows it, and the elements."""
    for child, parent in layout.line_of_descent(condition):
        match parent:
            case cst.CompFor():
                yield layout.outer(child)[1], layout.outer(parent)[1]
            case cst.DictComp(key=key, value=value):
                yield layout.outer(key)[0], layout.outer(value)[1]
                return
            case cst.GeneratorExp(elt=element) | cst.ListComp(elt=element) | cst.SetComp(elt=element):
                yield layout.outer(element)
                return
            case _:
                return


def _followers(layout: Layout, condition: cst.BaseExpression) -> Iterator[Place]:
    body = decorated(layout, condition)
    if body is not None:
        yield body
    for child, parent in layout.line_of_descent(condition):
        match parent:
            case cst.If() if child is parent.test and _leaves(parent):
                yield _rest_of_block(layout, parent)
            case cst.Assert() if child is parent.test:
                yield _rest_of_block(layout, parent)
            case cst.Expr(value=cst.Call() as call) if _ASSERTS.fullmatch(called(call)[0]):
                yield _rest_of_block(layout, parent)
            case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value="pytestmark"))]):
                yield _block(layout, parent)
            case _:
                pass
        if isinstance(parent, _STATEMENTS):
            return


def _leaves(statement: cst.If) -> bool:
    """Whether one of the branches ends by leaving the block."""
    suites = [statement.body, *([statement.orelse.body] if isinstance(statement.orelse, cst.Else) else [])]
    return any(_ends_by_leaving(suite) for suite in suites)


def _ends_by_leaving(suite: cst.BaseSuite) -> bool:
    last: cst.CSTNode = suite
    while isinstance(last, cst.IndentedBlock | cst.SimpleStatementSuite | cst.SimpleStatementLine):
        last = last.body[-1]
    match last:
        case cst.Return() | cst.Raise() | cst.Continue() | cst.Break():
            return True
        case cst.Expr(value=cst.Call() as call):
            return called(call)[0] in _LEAVES
        case _:
            return False


def _rest_of_block(layout: Layout, statement: cst.CSTNode) -> Place:
    for _, parent in layout.line_of_descent(statement):
        if isinstance(parent, cst.IndentedBlock | cst.SimpleStatementSuite | cst.Module):
            return layout.outer(statement)[1], layout.outer(parent)[1]
    raise AssertionError("every statement is in a block")


def _block(layout: Layout, statement: cst.CSTNode) -> Place:
    for _, parent in layout.line_of_descent(statement):
        if isinstance(parent, cst.IndentedBlock | cst.Module):
            return layout.outer(parent)
    raise AssertionError("every statement is in a block")
