"""What one change of a file took away from a class or module, and what it put in its place."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from netra_repair.members import bound_signature
from netra_repair.outline_reader import parameters_of, parsed
from netra_repair.owners import Owner, OwnerKind, ParameterKind, Signature
from netra_repair.source import Source

# Share of equal tokens from which on two bodies are the same function under another name: wherever it stands; when it
# stands between the same neighbours; and when it takes the same parameters there.
_SAME_BODY = 0.8
_SAME_PLACE = 0.5
_SAME_PARAMETERS = 0.3
# A body of fewer tokens says little: `return self._name`.
_SHORT = 12
# How many call sites a commit must have changed, and what share of them in the same way.
_MIGRATED = 2
_MIGRATED_SHARE = 0.8

_TOKEN = re.compile(r"\w+|[^\w\s]")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """What a class or module had at one time.

    Attributes:
        members: what it defined, in order; the last definition of each name.
        bases: the last names of its bases.
    """

    members: Mapping[str, ast.stmt]
    bases: tuple[str, ...] = ()

    def signature(self, name: str, *, in_class: bool) -> Signature | None:
        """What a call of a member took; None when it was no function."""
        node = self.members.get(name)
        if not isinstance(node, _Function):
            return None
        parameters = parameters_of(node.args)
        static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in node.decorator_list)
        return bound_signature(parameters) if in_class and not static else Signature(parameters)


@dataclass(frozen=True, slots=True)
class Successor:
    """What took the place of a removed member.

    Attributes:
        name: the new one.
        evidence: what shows it, in words.
    """

    name: str
    evidence: str


def body_of(source: Source | None, owner: Owner) -> Body | None:
    """Finds a class or module in a file as it was.

    Args:
        source: the file; None when it was not there.
        owner: the class or module as it is now.

    Returns:
        What it had; None when it was not there, or the file does not parse.
    """
    tree = _tree(source)
    if tree is None or owner.kind is OwnerKind.MODULE:
        return None if tree is None else Body(_defined(tree.body))
    classes = dict(_classes(tree.body, ""))
    named = [name for name in classes if f".{owner.name}".endswith(f".{name}")]
    if not named:
        return None
    node = classes[max(named, key=len)]
    return Body(_defined(node.body), tuple(_last_name(base) for base in node.bases))


def origin_of(source: Source | None, taken_out: Body | None, member: str) -> Body | None:
    """Finds the class that a new one was taken out of, such as a base that its methods moved to.

    Args:
        source: the file before the change; None when it was not there.
        taken_out: the class that is new; None when there is none.
        member: what the old class had.

    Returns:
        The old class; None unless exactly one had the member, and half of what is in the new one.
    """
    tree = _tree(source)
    if tree is None or taken_out is None:
        return None
    bodies = (_defined(node.body) for _, node in _classes(tree.body, ""))
    common = [
        body for body in bodies if member in body and 2 * len(body.keys() & taken_out.members) > len(taken_out.members)
    ]
    return Body(common[0]) if len(common) == 1 else None


def successor(
    before: Body, after: Body, name: str, hunks: Iterable[tuple[Sequence[str], Sequence[str]]]
) -> Successor | None:
    """Finds what a removed member was renamed to, or what its callers were changed to.

    Args:
        before: the class or module before the change.
        after: the same after it.
        name: a member of `before` that is not in `after`.
        hunks: the lines that the same change took out and put in, of all files.

    Returns:
        The successor; None when nothing shows one, or two are equally likely.
    """
    added = [each for each in after.members if each not in before.members]
    migrated = _migrated(name, hunks)
    if migrated is not None and migrated[0] in after.members:
        return Successor(migrated[0], f"{migrated[1]} of its calls were changed to `{migrated[0]}` in the same commit")
    old = before.members[name]
    alike = sorted(((_likeness(old, after.members[each]), each) for each in added), reverse=True)
    if alike and alike[0][0] >= _SAME_BODY and (len(alike) == 1 or alike[1][0] < _SAME_BODY):
        return Successor(alike[0][1], f"`{alike[0][1]}` got {alike[0][0]:.0%} of its body in the same commit")
    beside = _in_its_place(list(before.members), list(after.members), name)
    if beside is not None and _agree(old, after.members[beside], _likeness(old, after.members[beside])):
        return Successor(beside, f"`{beside}` was put in its place in the same commit")
    return None


def renamed_parameters(before: Signature | None, after: Signature | None) -> tuple[tuple[str, str], ...]:
    """The parameters that got another name: same position, other name.

    Args:
        before: what was taken.
        after: what is taken.

    Returns:
        Pairs of old and new name; empty when the number of positions differs, for then none is certain.
    """
    if before is None or after is None:
        return ()
    pairs: list[tuple[str, str]] = []
    for kinds in (
        (ParameterKind.POSITIONAL_ONLY, ParameterKind.POSITIONAL_OR_KEYWORD),
        (ParameterKind.KEYWORD_ONLY,),
    ):
        old = [each.name for each in before.parameters if each.kind in kinds]
        new = [each.name for each in after.parameters if each.kind in kinds]
        gone = [each for each in old if each not in new]
        come = [each for each in new if each not in old]
        by_order = kinds[0] is ParameterKind.POSITIONAL_ONLY
        if by_order and len(old) == len(new):
            pairs += [(a, b) for a, b in zip(old, new, strict=True) if a in gone and b in come]
        elif not by_order and len(gone) == len(come) == 1:
            pairs += [(gone[0], come[0])]
    return tuple(pairs)


def _tree(source: Source | None) -> ast.Module | None:
    try:
        return None if source is None else parsed(source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _classes(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield f"{prefix}{node.name}", node
            yield from _classes(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try):
            yield from _classes([*node.body, *node.orelse], prefix)


def _defined(body: Iterable[ast.stmt]) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
            case ast.If() | ast.Try():
                found |= _defined([*node.body, *node.orelse])
    return found


def _last_name(base: ast.expr) -> str:
    match base:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _last_name(value)
    return ""


def _likeness(old: ast.stmt, new: ast.stmt) -> float:
    """Share of equal tokens of two functions' bodies; 0 for other statements and for bodies that say nothing."""
    if not isinstance(old, _Function) or not isinstance(new, _Function):
        return 0.0
    left, right = _tokens(old), _tokens(new)
    if min(len(left), len(right)) < _SHORT:
        same = left == right and len(left) >= _SHORT // 2 and ast.dump(old.args) == ast.dump(new.args)
        return 1.0 if same else 0.0
    return _ratio(old, new)


def _ratio(old: _Function, new: _Function) -> float:
    return SequenceMatcher(None, _tokens(old), _tokens(new), autojunk=False).ratio()


def _tokens(function: _Function) -> list[str]:
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    text = "\n".join(ast.unparse(each) for each in body)
    return ["_" if token == function.name else token for token in _TOKEN.findall(text)]


def _in_its_place(before: Sequence[str], after: Sequence[str], name: str) -> str | None:
    """The one new name that stands between the neighbours that the old one had; None when its place is not clear."""
    at = before.index(name)
    left = next((each for each in reversed(before[:at]) if each in after), None)
    right = next((each for each in before[at + 1 :] if each in after), None)
    start = 0 if left is None else after.index(left) + 1
    end = len(after) if right is None else after.index(right)
    gone = before[before.index(left) + 1 if left is not None else 0 : before.index(right) if right else len(before)]
    between = after[start:end]
    return between[0] if len(between) == 1 and list(gone) == [name] else None


def _agree(old: ast.stmt, new: ast.stmt, likeness: float) -> bool:
    """Whether two definitions at the same place are the same thing."""
    if isinstance(old, _Function) and isinstance(new, _Function):
        same_parameters = bool(parameters_of(old.args)[1:]) and ast.dump(old.args) == ast.dump(new.args)
        return likeness >= _SAME_PLACE or (same_parameters and _ratio(old, new) >= _SAME_PARAMETERS)
    match old, new:
        case ast.AnnAssign(), ast.AnnAssign():
            return ast.dump(old.annotation) == ast.dump(new.annotation) and _same(old.value, new.value)
        case ast.Assign(), ast.Assign():
            return _same(old.value, new.value)
    return False


def _same(old: ast.expr | None, new: ast.expr | None) -> bool:
    return (None if old is None else ast.dump(old)) == (None if new is None else ast.dump(new))


def _migrated(name: str, hunks: Iterable[tuple[Sequence[str], Sequence[str]]]) -> tuple[str, int] | None:
    """The name that calls were changed to, and how many; a line counts when only the name differs up to the call."""
    use = re.compile(rf"\.{re.escape(name)}\b")
    votes: Counter[str] = Counter()
    for removed, added in hunks:
        for line in removed:
            for found in use.finditer(line):
                start = line[: found.start() + 1].strip()
                votes.update(_continued(start, line[found.end() :], added))
    if not votes:
        return None
    new, count = votes.most_common(1)[0]
    return (new, count) if count >= _MIGRATED and count >= _MIGRATED_SHARE * votes.total() else None


def _continued(start: str, rest: str, added: Collection[str]) -> Iterator[str]:
    """The identifiers that stand in the added lines where the name stood, the nearest line only."""
    for line in added:
        text = line.strip()
        if text.startswith(start):
            found = re.match(r"\w+", text[len(start) :])
            if found is not None and text[len(start) + found.end() :].startswith(rest.strip()[:1]):
                yield found.group()
                return
