"""Whether the value of a call is awaited: right there, or where it goes under a name, in a display or to the loop."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from netra_repair.calls import called
from netra_repair.layout import Layout

# They take coroutines and nothing else.
_TAKE_COROUTINES = frozenset(
    "as_completed create_task ensure_future gather run_coroutine_threadsafe run_until_complete shield wait_for".split()
)
# They do so in `asyncio`; elsewhere, what is called so takes anything.
_OF_ASYNCIO = frozenset({"run", "wait"})
_HOLD_ASYNCIO = frozenset({"asyncio", "runner"})
_COLLECT = frozenset({"add", "append", "appendleft", "insert", "put", "put_nowait"})
# Through these a value stays what it is, or one of several.
_KEEPS = (
    cst.BooleanOperation,
    cst.Element,
    cst.GeneratorExp,
    cst.IfExp,
    cst.List,
    cst.ListComp,
    cst.Set,
    cst.SetComp,
    cst.StarredElement,
    cst.Tuple,
)
# How far a value is followed from name to name.
_STEPS = 4


def is_awaited(layout: Layout, call: cst.Call) -> bool:
    """Whether what a call gives is used as a coroutine.

    `await c.m()`, `c.m().__await__()`, `asyncio.run(c.m())`, `asyncio.gather(*[c.m() for …])`, `task = c.m()` and
    `await task` later on, `return c.m()` of a function that others await.

    Args:
        layout: of the file.
        call: in it.

    Returns:
        Whether the text shows that it is awaited.
    """
    text = layout.source.text
    return ("await" in text or "asyncio" in text) and _is_awaited(layout, call, _STEPS)


def _is_awaited(layout: Layout, value: cst.CSTNode, steps: int) -> bool:
    for child, parent in layout.line_of_descent(value):
        match parent:
            case cst.Await() | cst.Attribute(attr=cst.Name(value="__await__")):
                return True
            case cst.Arg():
                continue
            case cst.Call() as taking:
                return child is not taking.func and (
                    _takes_coroutines(taking) or _followed(layout, _collection(taking), steps)
                )
            case cst.Assign(targets=targets):
                return any(_followed(layout, target.target, steps) for target in targets)
            case cst.AnnAssign(target=target):
                return _followed(layout, target, steps)
            case cst.NamedExpr(target=target):
                if _followed(layout, target, steps):
                    return True
            case cst.For(iter=iterated, target=target) if child is iterated:
                return _followed(layout, target, steps)
            case cst.Return():
                return _is_result_awaited(layout, parent, steps)
            case _ if not isinstance(parent, _KEEPS):
                return False
    return False


def _takes_coroutines(call: cst.Call) -> bool:
    name, holder = called(call)
    return name in _TAKE_COROUTINES or (name in _OF_ASYNCIO and (holder or "").lower() in _HOLD_ASYNCIO)


def _collection(call: cst.Call) -> cst.BaseExpression | None:
    """What a call puts its argument into."""
    match call.func:
        case cst.Attribute(value=held, attr=cst.Name(value=name)) if name in _COLLECT:
            return held
    return None


def _followed(layout: Layout, name: cst.BaseExpression | None, steps: int) -> bool:
    """Whether what a name holds is awaited somewhere in the same function; for an attribute, in the file."""
    if steps == 0 or not isinstance(name, cst.Name | cst.Attribute):
        return False
    function = _function(layout, name) if isinstance(name, cst.Name) else None
    return any(_is_awaited(layout, use, steps - 1) for use in _uses(layout, name, function))


def _uses(
    layout: Layout, name: cst.Name | cst.Attribute, function: cst.FunctionDef | None
) -> Iterator[cst.BaseExpression]:
    spelled = layout.text(name)
    for use in layout.of_type(type(name)):
        if use is name or layout.text(use) != spelled:
            continue
        if function is None or any(parent is function for _, parent in layout.line_of_descent(use)):
            yield use


def _is_result_awaited(layout: Layout, statement: cst.Return, steps: int) -> bool:
    function = _function(layout, statement)
    if steps == 0 or function is None or function.asynchronous is not None:
        return False
    calls = (call for call in layout.of_type(cst.Call) if called(call)[0] == function.name.value)
    return any(_is_awaited(layout, call, steps - 1) for call in calls)


def _function(layout: Layout, node: cst.CSTNode) -> cst.FunctionDef | None:
    return next((parent for _, parent in layout.line_of_descent(node) if isinstance(parent, cst.FunctionDef)), None)
