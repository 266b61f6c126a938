"""How candidates are called elsewhere in the project: the same keywords at living calls tell which one is meant."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netra_repair.outline_reader import parsed
from netra_repair.source import Position, Source, Span, UnreadableSource

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
        calls: a sample of the calls in other files than the owner's, in order of path and position, without those
            whose receiver is known to be something else.
    """

    mentions: int
    calls: tuple[UsedCall, ...]


def usages(
    root: Path,
    paths: Iterable[str],
    names: Collection[str],
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
        apart_from: files whose calls prove nothing: where the candidates are defined and call each other.
        alone: whether a name that stands without a receiver counts too, as a function that was imported.
        prove: asks for the type of a receiver; None to take every call for what it looks like.
        limit: about how many calls are looked at in all; of more, files evenly spread over the tree are read.

    Returns:
        The usage of every name, which is empty for one that is nowhere.
    """
    if not names:
        return {}
    pattern = _pattern(names, alone=alone)
    mentions = dict.fromkeys(names, 0)
    calling: dict[str, dict[str, int]] = {name: {} for name in names}
    words = [name.encode() for name in names]
    for path in sorted(paths):
        for name, is_call in _mentioned(root / path, words, pattern):
            mentions[name] += 1
            if is_call and path not in apart_from:
                calling[name][path] = calling[name].get(path, 0) + 1
    share = max(limit // len(names), 1)
    chosen = sorted({path for files in calling.values() for path in _spread(files, share)})
    found: dict[str, list[UsedCall]] = {name: [] for name in names}
    for path in chosen:
        wanted = frozenset(name for name in names if path in calling[name])
        for name, call in _calls(root, path, wanted, pattern, prove, alone=alone):
            found[name].append(call)
    return {name: Usage(mentions[name], tuple(found[name])) for name in names}


def _pattern(names: Iterable[str], *, alone: bool) -> re.Pattern[bytes]:
    """A name behind a dot, or alone but not where it is defined, and whether a parenthesis follows."""
    words = b"|".join(re.escape(name.encode()) for name in sorted(names))
    before = rb"(?:\.[ \t]*|(?<![\w.])(?<!def )(?<!class ))" if alone else rb"\.[ \t]*"
    return re.compile(before + rb"(" + words + rb")\b(?=([ \t]*\()?)")


def _mentioned(file: Path, words: Sequence[bytes], pattern: re.Pattern[bytes]) -> Iterator[tuple[str, bool]]:
    try:
        data = file.read_bytes()
    except OSError:
        return
    if not any(word in data for word in words):
        return
    for found in pattern.finditer(data):
        yield found[1].decode(), found[2] is not None


def _spread(files: Mapping[str, int], share: int) -> list[str]:
    """Files evenly spread over the sorted list, about as many as hold so many calls."""
    paths = sorted(files)
    wanted = min(math.ceil(share * len(paths) / max(sum(files.values()), 1)), len(paths))
    return [paths[index * len(paths) // wanted] for index in range(wanted)]


def _calls(
    root: Path, path: str, names: frozenset[str], pattern: re.Pattern[bytes], prove: Prove | None, *, alone: bool
) -> Iterator[tuple[str, UsedCall]]:
    try:
        source = Source.read(root, path)
        tree = parsed(source.text)
    except (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = sorted({source.data.count(b"\n", 0, found.start()) + 1 for found in pattern.finditer(source.data)})
    made = [(name, call) for call in _nodes(tree, lines) if (name := _called(call, alone=alone)) in names]
    for name, call in sorted(made, key=lambda each: (each[1].lineno, each[1].col_offset)):
        proven = _proven(source, call, prove)
        if proven is not False:
            yield name, _used(source, call, proven is True)


def _nodes(tree: ast.AST, lines: Sequence[int]) -> Iterator[ast.Call]:
    """The calls on some lines; what lies wholly beside them is not walked."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            yield node
        for child in ast.iter_child_nodes(node):
            first, last = getattr(child, "lineno", None), getattr(child, "end_lineno", None)
            # Positions inside f-strings are not to be trusted before Python 3.12.
            if not isinstance(child, ast.JoinedStr) and (
                first is None or last is None or any(first <= line <= last for line in lines)
            ):
                waiting.append(child)


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
    receiver = call.func.value
    if receiver.end_lineno is None or receiver.end_col_offset is None:
        return None
    start = source.offset_of_utf8(receiver.lineno, receiver.col_offset)
    end = source.offset_of_utf8(receiver.end_lineno, receiver.end_col_offset)
    return prove(source, Span(start, end))


def _used(source: Source, call: ast.Call, proven: bool) -> UsedCall:
    receiver = ""
    match call.func:
        case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            receiver = name
    return UsedCall(
        source.path,
        source.position(source.offset_of_utf8(call.lineno, call.col_offset)),
        receiver,
        frozenset(keyword.arg for keyword in call.keywords if keyword.arg is not None),
        proven,
    )
