"""Conditions that are decided before a program runs: the version of Python and the platform."""

from __future__ import annotations

import ast
import os
import sys


def truth(test: ast.expr, version: tuple[int, ...] | None) -> bool | None:
    """What a condition comes to.

    Args:
        test: the condition.
        version: of the project's interpreter; None when it is not known.

    Returns:
        Its truth on that version and this platform; None when it depends on anything else.
    """
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = truth(operand, version)
            return None if inner is None else not inner
        case ast.BoolOp(op=op, values=values):
            found = [truth(value, version) for value in values]
            decisive = isinstance(op, ast.Or)
            if decisive in found:
                return decisive
            return None if None in found else not decisive
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _compared(ast.unparse(left), op, right, version)
        case ast.Call(func=func, args=[ast.Constant(value=str(start))]) if (
            ast.unparse(func) == "sys.platform.startswith"
        ):
            return sys.platform.startswith(start)
    return None


def unseen_by_checkers(node: ast.If) -> list[ast.stmt]:
    """The block that runs and that type checkers skip.

    Args:
        node: any `if`.

    Returns:
        The `else` of an `if TYPE_CHECKING` (and …), the body of an `if not TYPE_CHECKING`; else nothing.
    """
    match node.test:
        case ast.UnaryOp(op=ast.Not(), operand=operand) if _is_type_checking(operand):
            return node.body
        case ast.BoolOp(op=ast.And(), values=values) if any(map(_is_type_checking, values)):
            return node.orelse
        case test if _is_type_checking(test):
            return node.orelse
    return []


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


def _compared(left: str, op: ast.cmpop, right: ast.expr, version: tuple[int, ...] | None) -> bool | None:
    try:
        value = ast.literal_eval(right)
    except ValueError:
        return None
    known: object
    if left in ("sys.version_info", "sys.version_info[:2]") and version is not None and isinstance(value, tuple):
        known = version[: len(value)] if isinstance(op, ast.Eq | ast.NotEq) else version
    elif left in ("sys.version_info[0]", "sys.version_info.major") and version is not None:
        known = version[0]
    elif left in ("sys.platform", "os.name"):
        known = sys.platform if left == "sys.platform" else os.name
    else:
        return None
    return _ordered(known, op, value)


def _ordered(left: object, op: ast.cmpop, right: object) -> bool | None:
    if isinstance(op, ast.Eq | ast.NotEq):
        return (left == right) is isinstance(op, ast.Eq)
    if type(left) is not type(right) or not isinstance(left, tuple | int) or not isinstance(right, tuple | int):
        return None
    less = left < right  # type: ignore[operator]  # of one type, by the line above
    match op:
        case ast.Lt():
            return less
        case ast.GtE():
            return not less
        case ast.LtE():
            return less or left == right
        case ast.Gt():
            return not less and left != right
    return None
