"""What is called, and with which arguments."""

from __future__ import annotations

import libcst as cst

from netra_repair.layout import Layout
from netra_repair.references import Argument, Star

_STARS = {star.value: star for star in Star}


def called(call: cst.Call) -> tuple[str, str | None]:
    """How a call names what it calls.

    Returns:
        The last part of the callee's name ("" when it has none), and the part before the dot: None for a plain name,
        "" when that is no name.
    """
    match call.func:
        case cst.Name(value=name):
            return name, None
        case cst.Attribute(
            value=cst.Name(value=holder) | cst.Attribute(attr=cst.Name(value=holder)), attr=cst.Name(value=name)
        ):
            return name, holder
        case cst.Attribute(attr=cst.Name(value=name)):
            return name, ""
        case _:
            return "", None


def keywords(call: cst.Call) -> dict[str, cst.BaseExpression]:
    """The values that a call passes by keyword."""
    return {argument.keyword.value: argument.value for argument in call.args if argument.keyword is not None}


def arguments(layout: Layout, call: cst.Call) -> tuple[Argument, ...]:
    """The arguments of a call, in order."""
    return tuple(_argument(layout, argument) for argument in call.args)


def _argument(layout: Layout, argument: cst.Arg) -> Argument:
    keyword = argument.keyword
    start, end = layout.outer(argument)[0], layout.outer(argument.value)[1]
    return Argument(
        span=layout.span((start, end)),
        keyword=None if keyword is None else keyword.value,
        keyword_span=None if keyword is None else layout.span(layout.inner(keyword)),
        star=_STARS[argument.star],
        name=_name(argument.value),
        pure=not argument.star and is_pure(argument.value),
        bare=isinstance(argument.value, cst.GeneratorExp | cst.NamedExpr) and not argument.value.lpar,
    )


def _name(value: cst.BaseExpression) -> str | None:
    """What the caller calls the value: the last part of a dotted name."""
    inner = value
    while isinstance(inner, cst.Attribute):
        inner = inner.value
    if not isinstance(inner, cst.Name):
        return None
    return value.attr.value if isinstance(value, cst.Attribute) else inner.value


def is_pure(value: cst.BaseExpression) -> bool:
    """Whether evaluating the value has no side effect, and gives the same before and after any other pure one.

    Names, constants, lambdas, f-strings and displays of such are; anything that runs code of a class is not, attributes
    and operators included.
    """
    waiting: list[cst.CSTNode] = [value]
    while waiting:
        parts = _parts(waiting.pop())
        if parts is None:
            return False
        waiting += parts
    return True


def _parts(node: cst.CSTNode) -> list[cst.CSTNode] | None:
    """What a pure expression is made of; None for one that may not be pure."""
    match node:
        case cst.Name() | cst.Integer() | cst.Float() | cst.Imaginary() | cst.SimpleString() | cst.Ellipsis():
            return []
        case cst.UnaryOperation(operator=cst.Minus() | cst.Plus(), expression=cst.BaseNumber()):
            return []
        case cst.Lambda(params=parameters):
            ordinary = [*parameters.posonly_params, *parameters.params, *parameters.kwonly_params]
            return [parameter.default for parameter in ordinary if parameter.default is not None]
        case cst.ConcatenatedString(left=left, right=right):
            return [left, right]
        case cst.FormattedString(parts=parts):
            return list(parts)
        case cst.FormattedStringText():
            return []
        case cst.FormattedStringExpression(expression=expression, format_spec=specification):
            return [expression, *(specification or ())]
        case cst.Tuple(elements=elements) | cst.List(elements=elements) | cst.Set(elements=elements):
            return list(elements)
        case cst.Dict(elements=entries):
            return list(entries)
        case cst.Element(value=value):
            return [value]
        case cst.DictElement(key=key, value=value):
            return [key, value]
        case _:
            return None
