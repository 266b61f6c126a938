"""Attributes that are named by a string: `patch.object(C, "m")`, `getattr(C, "m")`, `patch("pkg.C.m")` and the like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

import libcst as cst

from netra_repair.calls import called, keywords
from netra_repair.layout import Layout, Place

_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_BUILTINS = frozenset({"getattr", "hasattr", "setattr", "delattr"})
_ASSERTIONS = frozenset({"assertHasAttr", "assertNotHasAttr"})
# What the arguments are called where they may be passed by keyword.
_OBJECT_KEYWORDS = frozenset({"target", "obj"})
_NAME_KEYWORDS = frozenset({"attribute", "name"})


class Probe(Enum):
    """What the call that holds the string does about an attribute that is absent."""

    NEEDS_IT = auto()
    ASKS = auto()
    HAS_A_DEFAULT = auto()
    CREATES_IT = auto()
    DELETES_IT = auto()


@dataclass(frozen=True, slots=True)
class StringTarget:
    """A name inside a string literal that is looked up as an attribute.

    Attributes:
        call: the call that looks it up.
        literal: the string.
        attribute: the name.
        place: where the name stands in the file's text: inside the quotes.
        receiver: the object it is looked up on, when that is an argument of the call.
        dotted: what stands before the name in the string, when that names the object: "pkg.C".
        probe: what happens where it is absent.
    """

    call: cst.Call
    literal: cst.SimpleString
    attribute: str
    place: Place
    receiver: cst.BaseExpression | None
    dotted: str | None
    probe: Probe


def string_targets(layout: Layout, call: cst.Call) -> Iterator[StringTarget]:
    """The names that a call looks up by string.

    Only literals that stand for themselves count: no escapes, no concatenation, no f-string, no bytes.

    Args:
        layout: of the file.
        call: any call.

    Returns:
        The names, in order of position; several for `patch("pkg.C.m")`: each part but the first one.
    """
    function, on = called(call)
    if function in _BUILTINS and on is None:
        return _on_object(layout, call, function)
    if function in _ASSERTIONS:
        return _on_object(layout, call, function)
    match function, on:
        case "object", "patch":
            return _on_object(layout, call, function)
        case (("setattr" | "delattr"), str()):
            dotted = _literal(_argument(call, 0, _OBJECT_KEYWORDS)) is not None
            return _in_dotted_path(layout, call) if dotted else _on_object(layout, call, function)
        case "spy", str():
            return _on_object(layout, call, function)
        case "patch", _:
            return _in_dotted_path(layout, call)
        case (("attrgetter" | "methodcaller"), _):
            return _looked_up_later(layout, call, function)
        case _:
            return iter(())


def _on_object(layout: Layout, call: cst.Call, function: str) -> Iterator[StringTarget]:
    receiver = _argument(call, 0, _OBJECT_KEYWORDS)
    literal = _literal(_argument(call, 1, _NAME_KEYWORDS))
    if receiver is None or literal is None:
        return
    name, start = _body(layout, literal)
    if name.isidentifier():
        probe = _probe(call, function)
        yield StringTarget(call, literal, name, (start, start + len(name)), receiver, None, probe)


def _in_dotted_path(layout: Layout, call: cst.Call) -> Iterator[StringTarget]:
    literal = _literal(_argument(call, 0, _OBJECT_KEYWORDS))
    if literal is None:
        return
    path, start = _body(layout, literal)
    if not _DOTTED.fullmatch(path):
        return
    last = path.rfind(".")
    at = path.find(".")
    while at >= 0:
        attribute = path[at + 1 :].partition(".")[0]
        # What the call does with an absent attribute, it does with the last one.
        probe = _probe(call, "patch") if at == last else Probe.NEEDS_IT
        place = (start + at + 1, start + at + 1 + len(attribute))
        yield StringTarget(call, literal, attribute, place, None, path[:at], probe)
        at = path.find(".", at + 1)


def _looked_up_later(layout: Layout, call: cst.Call, function: str) -> Iterator[StringTarget]:
    for argument in call.args[:1] if function == "methodcaller" else call.args:
        literal = _literal(argument.value)
        if literal is None or argument.keyword is not None or argument.star:
            continue
        path, start = _body(layout, literal)
        if not _DOTTED.fullmatch(path) or (function == "methodcaller" and "." in path):
            continue
        for part in re.finditer(r"\w+", path):
            place = (start + part.start(), start + part.end())
            yield StringTarget(call, literal, part[0], place, None, None, Probe.NEEDS_IT)


def _probe(call: cst.Call, function: str) -> Probe:
    builtin = isinstance(call.func, cst.Name)
    if function == "hasattr" or function in _ASSERTIONS:
        return Probe.ASKS
    if function == "getattr" and len(call.args) > 2:
        return Probe.HAS_A_DEFAULT
    if builtin and function in ("setattr", "delattr"):
        return Probe.CREATES_IT if function == "setattr" else Probe.DELETES_IT
    by_name = keywords(call)
    creates = _is(by_name.get("create"), "True") or _is(by_name.get("raising"), "False")
    return Probe.CREATES_IT if creates else Probe.NEEDS_IT


def _is(value: cst.BaseExpression | None, name: str) -> bool:
    return isinstance(value, cst.Name) and value.value == name


def _argument(call: cst.Call, index: int, keywords: frozenset[str]) -> cst.BaseExpression | None:
    for argument in call.args[: index + 1]:
        if argument.star:
            return None
    if index < len(call.args) and call.args[index].keyword is None:
        return call.args[index].value
    named = (argument for argument in call.args if argument.keyword is not None and argument.keyword.value in keywords)
    found = next(named, None)
    return None if found is None else found.value


def _literal(value: cst.BaseExpression | None) -> cst.SimpleString | None:
    """The value when it is one string. Names have no backslashes: what has escapes is never taken for one."""
    return value if isinstance(value, cst.SimpleString) and "b" not in value.prefix else None


def _body(layout: Layout, literal: cst.SimpleString) -> tuple[str, int]:
    """What stands between the quotes, and where in the file's text it begins."""
    start = layout.inner(literal)[0] + len(literal.prefix) + len(literal.quote)
    return literal.raw_value, start
