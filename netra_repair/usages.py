"""How candidates are called elsewhere in the project: the same keywords at living calls tell which one is meant."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from netra_repair.line_nodes import lines_of, nodes_on, span_of
from netra_repair.outline_reader import parsed
from netra_repair.source import Position, Source, Span, UnreadableSource, bytes_of

# Tells whether the receiver at a place is the owner or related to it: True, False, or None when nobody knows.
Prove = Callable[[Source, Span], bool | None]


@dataclass(frozen=True, slots=True)
class UsedCall:
    """A call of a candidate.

    Attributes:
        path: relative to the project's root.
        position: of the call.
        receiver: the last name left of the dot, "Ctx" of `ctx.Ctx.made()`; "" for any other expression and none.
        keywords: what is passed by name.
        proven: whether the receiver is known to be the owner's; False never stands here, such calls are left out.
    """

    path: str
    position: Position
    receiver: str
    keywords: frozenset[str]
    proven: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """How a name is used in the project.

    Attributes:
        mentions: how often it stands behind a dot, or alone where that was asked for, in all files and on all
            receivers; its own definition does not count.
        calls: a sample of the calls in other files than the owner's that pass the keywords which were asked for, in
            order of path and position, without those whose receiver is known to be something else.
    """

    mentions: int
    calls: tuple[UsedCall, ...]


def usages(
    root: Path,
    paths: Iterable[str],
    names: Collection[str],
    keywords: Collection[frozenset[str]],
    *,
    apart_from: Collection[str] = (),
    alone: bool = False,
    prove: Prove | None = None,
    limit: int = 400,
) -> dict[str, Usage]:
    """Finds how names are called.

    Args:
        root: the project's root.
        paths: its Python files, relative to the root.
        names: the candidates.
        keywords: only calls that pass just one of these sets by name are looked at; of none, no file is parsed.
        apart_from: files whose calls prove nothing: where the candidates are defined and call each other.
        alone: whether a name that stands without a receiver counts too, as a function that was imported.
        prove: asks for the type of a receiver; None to take every call for what it looks like.
        limit: about how many calls are looked at in all; of more, files evenly spread over the tree are read.

    Returns:
        The usage of every name, which is empty for one that is nowhere.
    """
    if not names:
        return {}
    mentions = dict.fromkeys(names, 0)
    calling: dict[str, dict[str, int]] = {name: {} for name in names}
    words = {name: name.encode() for name in names}
    passing = [[re.compile(rb"\b%b\s*=" % word.encode()) for word in each] for each in keywords]
    for path in sorted(paths):
        data = bytes_of(root / path)
        present = tuple(name for name, word in words.items() if word in data)
        if not present:
            continue
        tells = path not in apart_from and any(all(word.search(data) for word in each) for each in passing)
        for found in _pattern(present).finditer(data):
            if not _is_named(data, found.start(), alone=alone):
                continue
            name = found[1].decode()
            mentions[name] += 1
            if tells and found[2] is not None:
                calling[name][path] = calling[name].get(path, 0) + 1
    share = max(limit // len(names), 1)
    chosen = sorted({path for files in calling.values() for path in _spread(files, share)})
    calls: dict[str, list[UsedCall]] = {name: [] for name in names}
    for path in chosen:
        wanted = frozenset(name for name in names if path in calling[name])
        for name, call in _calls(root, path, wanted, keywords, prove, alone=alone):
            calls[name].append(call)
    return {name: Usage(mentions[name], tuple(calls[name])) for name in names}


@lru_cache(maxsize=4096)
def _pattern(names: tuple[str, ...]) -> re.Pattern[bytes]:
    """A name, and whether a parenthesis follows. It begins with the names: that is what a search is fast for."""
    words = b"|".join(re.escape(name.encode()) for name in sorted(names))
    return re.compile(rb"(" + words + rb")\b(?=([ \t]*\()?)")


def _is_named(data: bytes, start: int, *, alone: bool) -> bool:
    """Whether a name stands behind a dot, or alone but not where it is defined."""
    before = data[max(start - 40, 0) : start]
    if before.rstrip(b" \t").endswith(b"."):
        return True
    return alone and not before[-1:].isalnum() and before[-1:] != b"_" and not before.endswith((b"def ", b"class "))


def _spread(files: Mapping[str, int], share: int) -> list[str]:
    """Files evenly spread over the sorted list, about as many as hold so many calls."""
    paths = sorted(files)
    wanted = min(math.ceil(share * len(paths) / max(sum(files.values()), 1)), len(paths))
    return [paths[index * len(paths) // wanted] for index in range(wanted)]


def _calls(
    root: Path,
    path: str,
    names: frozenset[str],
    keywords: Collection[frozenset[str]],
    prove: Prove | None,
    *,
    alone: bool,
) -> Iterator[tuple[str, UsedCall]]:
    try:
        source = Source.read(root, path)
        tree = parsed(source.text)
    except (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = lines_of(source.data, _pattern(tuple(names)))
    calls = (node for node in nodes_on(tree, lines) if isinstance(node, ast.Call) and _passed(node) in keywords)
    made = [(name, call) for call in calls if (name := _called(call, alone=alone)) in names]
    for name, call in sorted(made, key=lambda each: (each[1].lineno, each[1].col_offset)):
        proven = _proven(source, call, prove)
        if proven is not False:
            yield name, _used(source, call, proven is True)


def _passed(call: ast.Call) -> frozenset[str]:
    return frozenset(keyword.arg for keyword in call.keywords if keyword.arg is not None)


def _called(call: ast.Call, *, alone: bool) -> str:
    match call.func:
        case ast.Attribute(attr=name):
            return name
        case ast.Name(id=name) if alone:
            return name
    return ""


def _proven(source: Source, call: ast.Call, prove: Prove | None) -> bool | None:
    if prove is None or not isinstance(call.func, ast.Attribute):
        return None
    return prove(source, span_of(source, call.func.value))


def _used(source: Source, call: ast.Call, proven: bool) -> UsedCall:
    receiver = ""
    match call.func:
        case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            receiver = name
    return UsedCall(
        source.path,
        source.position(source.offset_of_utf8(call.lineno, call.col_offset)),
        receiver,
        _passed(call),
        proven,
    )
