"""Proof that edits changed what they say and nothing else: by the bytes, and by the syntax trees before and after.

Nothing here looks at how an edit was made or spliced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import cache
from itertools import accumulate

import libcst as cst

from netra_repair.edits import Edit
from netra_repair.layout import deeply, parsed
from netra_repair.source import Source, Span, UnparsableSource
from netra_repair.statements import module_of, pieces_around

# What an edit does to the tree: what was written, and what is. A keyword that comes in was "" and is "name=".
_Change = tuple[str, str]


class _OtherDifference(Exception):
    """Raised when the trees differ in what no edit may change."""


def difference(before: Source, after: Source, edits: Sequence[Edit]) -> str | None:
    """Looks for anything that the planned edits do not say.

    Every byte outside the edits must be the same. In the syntax tree each edit must be one of these changes, and each
    change one of the edits: another name of an attribute, of what an import takes (also with an `as` that keeps the old
    one), of a part of a dotted path in a string that is an argument; a keyword before an argument, with parentheses
    around one that needs them then, or another keyword.

    Args:
        before: the file as it was.
        after: the file as it would be.
        edits: what was planned.

    Returns:
        None when there is nothing else; otherwise what it is, in words for the report.
    """
    if after.encoding != before.encoding:
        return f"the encoding has become {after.encoding}"
    elsewhere = _changed_elsewhere(before, after, edits)
    if elsewhere is not None:
        return elsewhere
    try:
        changes = Counter(change for piece in _pieces(before, after, edits) for change in _changes(*piece))
    except UnparsableSource as error:
        return error.reason
    except _OtherDifference as found:
        return str(found)
    planned = Counter((before.slice(edit.span), edit.text) for edit in set(edits))
    if changes == planned:
        return None
    old, new = next(iter(planned - changes or changes - planned))
    return f"the syntax tree does not show that {f'`{old}` becomes `{new}`' if old else f'`{new}` comes in'}"


def _changed_elsewhere(before: Source, after: Source, edits: Sequence[Edit]) -> str | None:
    """Walks over both files' bytes, from the end to the beginning, and compares what is between the edits."""
    at, there = len(before.data), len(after.data)
    for edit in sorted(set(edits), reverse=True):
        text = edit.text.encode(before.encoding)
        between = at - edit.span.end
        if between < 0 or there < between + len(text):
            return f"the edit at byte {edit.span.start} does not fit the file"
        if before.data[edit.span.end : at] != after.data[there - between : there]:
            return f"bytes behind the edit at byte {edit.span.start} have changed"
        there -= between + len(text)
        if after.data[there : there + len(text)] != text:
            return f"the edit at byte {edit.span.start} is not there"
        at = edit.span.start
    return None if before.data[:at] == after.data[:there] else "bytes before the first edit have changed"


def _pieces(before: Source, after: Source, edits: Sequence[Edit]) -> Iterator[tuple[cst.Module, cst.Module]]:
    """The statements around the edits, parsed as they were and as they would be; the whole file where that is unsure.

    Raises:
        UnparsableSource: when one of them is not Python.
        _OtherDifference: when a file that the running Python understood would not be understood any more.
    """
    module = module_of(before)
    if module is None:
        yield parsed(before.path, before.text), parsed(after.path, after.text)
        return
    if module_of(after) is None:
        raise _OtherDifference("cannot be parsed any more")
    ordered = sorted(set(edits))
    starts = [edit.span.start for edit in ordered]
    grown = (len(edit.text.encode(before.encoding)) - edit.span.end + edit.span.start for edit in ordered)
    moved = [*accumulate(grown, initial=0)]
    for piece in pieces_around(before, module, [edit.span for edit in ordered]):
        start, end = (place + moved[bisect_left(starts, place)] for place in (piece.span.start, piece.span.end))
        head = "if 1:\n" if piece.indented else ""
        old, new = before.slice(piece.span), after.slice(Span(start, end))
        yield parsed(before.path, head + old), parsed(after.path, head + new)


def _changes(before: cst.Module, after: cst.Module) -> Iterator[_Change]:
    """Goes through two trees side by side.

    Raises:
        _OtherDifference: at the first one that no edit may make.
    """
    waiting: list[tuple[object, object, cst.CSTNode]] = [(before, after, before)]
    while waiting:
        old, new, around = waiting.pop()
        if isinstance(old, cst.CSTNode) and isinstance(new, cst.CSTNode) and type(old) is type(new):
            accounted: set[str] = set()
            for names, change in _allowed(old, new):
                yield change
                accounted |= names
            rest = (name for name in _fields(type(old)) if name not in accounted)
            # Only these can be written out on their own.
            inner = old if isinstance(old, cst.BaseExpression | cst.BaseStatement | cst.BaseSmallStatement) else around
            waiting += [(getattr(old, name), getattr(new, name), inner) for name in rest]
        elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
            waiting += [(first, second, around) for first, second in zip(old, new, strict=True)]
        elif old != new:
            code = deeply(lambda: before.code_for_node(around))  # noqa: B023 - called at once
            first, _, _ = code.strip().partition("\n")
            raise _OtherDifference(f"the syntax tree differs at `{first[:60]}`")


@cache
def _fields(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _allowed(old: cst.CSTNode, new: cst.CSTNode) -> Iterator[tuple[frozenset[str], _Change]]:
    """The changes that an edit may make of a node, with the fields that they account for."""
    match old, new:
        case cst.Import(), cst.Import():
            if not old.deep_equals(new):
                raise _OtherDifference("another module is imported")
        case cst.ImportFrom(module=was), cst.ImportFrom(module=comes):
            if was is not None and not (comes is not None and was.deep_equals(comes)):
                raise _OtherDifference("names are imported from another module")
        case cst.ImportAlias(), cst.ImportAlias():
            yield from _imported(old, new)
        case cst.Attribute(attr=was), cst.Attribute(attr=comes) if was.value != comes.value:
            yield frozenset({"attr"}), (was.value, comes.value)
        case cst.Arg(keyword=None), cst.Arg(keyword=cst.Name(value=name)):
            opened = "(" if _is_put_in_parentheses(old.value, new.value) else ""
            yield frozenset({"keyword", "equal"}), ("", f"{name}={opened}")
            yield from _in_string(old.value, new.value)
        case cst.Arg(keyword=was), cst.Arg(keyword=comes):
            if was is not None and comes is not None and was.value != comes.value:
                yield frozenset({"keyword"}), (was.value, comes.value)
            yield from _in_string(old.value, new.value)
        case ((cst.GeneratorExp() | cst.NamedExpr()), cst.BaseExpression()) if _is_put_in_parentheses(old, new):
            yield frozenset({"lpar", "rpar"}), ("", ")")
        case cst.Call(), cst.Call():
            names = [argument.keyword.value for argument in new.args if argument.keyword is not None]
            if len(set(names)) < len(names):
                raise _OtherDifference(f"a call passes a keyword twice: {', '.join(names)}")


def _is_put_in_parentheses(old: cst.BaseExpression, new: cst.BaseExpression) -> bool:
    """As a bare generator and `a := 1` are, when a keyword comes before them."""
    return not old.lpar and len(new.lpar) == 1


def _imported(old: cst.ImportAlias, new: cst.ImportAlias) -> Iterator[tuple[frozenset[str], _Change]]:
    was, comes = old.evaluated_name, new.evaluated_name
    if old.asname is None and new.asname is not None:
        # Whatever else it is called is not what was planned.
        yield frozenset({"name", "asname"}), (was, f"{comes} as {was}")
    elif was != comes:
        if old.asname is None:
            raise _OtherDifference(f"`{was}` is no longer bound")
        yield frozenset({"name"}), (was, comes)


def _in_string(old: cst.BaseExpression, new: cst.BaseExpression) -> Iterator[tuple[frozenset[str], _Change]]:
    """Parts of a dotted path that have another name."""
    if not isinstance(old, cst.SimpleString) or not isinstance(new, cst.SimpleString) or old.value == new.value:
        return
    was, comes = old.raw_value.split("."), new.raw_value.split(".")
    if (old.prefix, old.quote, len(was)) != (new.prefix, new.quote, len(comes)):
        raise _OtherDifference(f"the string {old.value[:60]} has become another one")
    for one, other in zip(was, comes, strict=True):
        if one != other:
            yield frozenset({"value"}), (one, other)
