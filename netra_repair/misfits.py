"""Calls whose arguments may not fit: whether the code around means that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import libcst as cst

from netra_repair.calls import called, keywords
from netra_repair.layout import Layout, Place
from netra_repair.references import Guard
from netra_repair.regions import Region


def expects_misfit(layout: Layout, regions: Iterable[Region], call: cst.Call) -> bool:
    """Whether a test expects a TypeError, and does nothing there but a call: `with raises(TypeError): f(1)`.

    Args:
        layout: of the file.
        regions: all that are guarded there.
        call: in it.
    """
    match [parent for _, parent in layout.line_of_descent(call)]:
        case [cst.Lambda() as whole, cst.Arg(), cst.Call(args=[_, _]), *_]:
            start, end = layout.outer(whole.body)
        case (
            [cst.Expr(), cst.SimpleStatementLine(body=[_]), cst.IndentedBlock(body=[_]), cst.With(items=[item]), *_]
            | [cst.Expr(), cst.SimpleStatementSuite(body=[_]), cst.With(items=[item]), *_]
        ):  # fmt: skip
            start, end = layout.outer(item)[1], layout.outer(call)[1]
        case _:
            return False
    arguments = [layout.outer(argument) for argument in call.args]
    return not any(_calls_in(layout, arguments)) and any(
        region.guard is Guard.RAISES and "TypeError" in region.errors and region.start == start <= end <= region.end
        for region in regions
    )


def may_be_of_others(layout: Layout, region: Region, call: cst.Call) -> bool:
    """Whether the TypeError that a `try` expects may be that of what it does beside a call.

    Who expects that a call does not fit tries nothing else, or calls the same in another way then, or something else
    with the same objects; or tests it.

    Args:
        layout: of the file.
        region: that expects a TypeError.
        call: in it.
    """
    own = layout.outer(call)
    functions = [parent for _, parent in layout.line_of_descent(call) if isinstance(parent, cst.FunctionDef)]
    if not region.handlers or any(function.name.value.startswith("test") for function in functions):
        return False
    others = (
        other
        for other in _calls_in(layout, [(region.start, region.end)])
        if not own[0] <= layout.outer(other)[0] < own[1] and not _is_raised(layout, other)
    )
    end = layout.outer(functions[0])[1] if functions else len(layout.source.text)
    return any(others) and not _is_made_up_for(layout, region, call, end)


def _is_made_up_for(layout: Layout, region: Region, call: cst.Call, end: int) -> bool:
    """Whether what a call should have done is done where it failed, or after that with other arguments.

    Args:
        layout: of the file.
        region: that expects that it fails.
        call: in it.
        end: of the function around.
    """
    name, _ = called(call)
    later = _calls_in(layout, [(region.end, end)])
    if _stand_at(layout, {name}, region.handlers) or any(
        called(other)[0] == name and _shape(other) != _shape(call) for other in later
    ):
        return True
    own = layout.outer(call)
    objects = {each.value for each in layout.of_type(cst.Name) if _is_inside(layout.outer(each), own)}
    instead = (
        layout.outer(other)
        for other in _calls_in(layout, region.handlers)
        if called(other)[0] != "isinstance" and not _is_raised(layout, other)
    )
    return _stand_at(layout, objects, list(instead))


def _calls_in(layout: Layout, places: Sequence[Place]) -> Iterator[cst.Call]:
    """The calls that stand at one of some places."""
    for call in layout.of_type(cst.Call):
        if any(_is_inside(layout.outer(call), place) for place in places):
            yield call


def _is_raised(layout: Layout, call: cst.Call) -> bool:
    return any(isinstance(parent, cst.Raise) for _, parent in layout.line_of_descent(call))


def _stand_at(layout: Layout, names: Collection[str], places: Sequence[Place]) -> bool:
    """Whether one of some names stands at one of some places."""
    found = (layout.outer(each) for each in layout.of_type(cst.Name) if each.value in names)
    return any(_is_inside(each, place) for each in found for place in places)


def _shape(call: cst.Call) -> tuple[int, frozenset[str]]:
    """How many arguments a call passes by position, and the keywords of the others."""
    return sum(argument.keyword is None for argument in call.args), frozenset(keywords(call))


def _is_inside(place: Place, other: Place) -> bool:
    return other[0] <= place[0] and place[1] <= other[1]
