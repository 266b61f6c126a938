"""What a computed name can be, as far as a module's text tells: the parameters, loops and constants around a node."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

_ANY = ".*"


@dataclass(frozen=True, slots=True)
class Around:
    """What names mean at a node.

    Attributes:
        given: the parameters around it, with the function that they are of; "" for `self` and `cls`.
        tables: constants of the module that hold texts, as a regular expression of these.
        passed: for functions that only their own module calls, what a parameter is given there.
        loops: the variables of the loops around it, with what they go through.
        outer: the outermost function around it, which others call; the class for its `__init__`; "" for none.
    """

    given: Mapping[str, str]
    tables: Mapping[str, str]
    passed: Mapping[tuple[str, str], str]
    loops: Mapping[str, str] = field(default_factory=dict)
    outer: str = ""

    def spelling(self, key: ast.expr | None, value: ast.expr | None) -> str:
        """A regular expression of the names that a key can be, where `value` is put under it."""
        match key, value:
            case ast.Name(id=name), ast.Subscript(value=ast.Name(id=table), slice=ast.Name(id=index)):
                if name == index and table in self.tables:
                    return self.tables[table]
        match key:
            case ast.Name(id=name):
                return self.loops.get(name) or self.passed.get((self.given.get(name, ""), name), _ANY)
            case ast.Constant(value=str(text)):
                return re.escape(text)
            case ast.JoinedStr(values=parts):
                return "".join(self.spelling(part, None) for part in parts)
            case ast.FormattedValue(value=part, conversion=-1, format_spec=None):
                return self.spelling(part, None)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.spelling(left, None) + self.spelling(right, None)
        return _ANY

    def within(self, loop: ast.For) -> Around:
        """What they mean in the body of a loop."""
        match loop:
            case ast.For(target=ast.Name(id=name), iter=values):
                return replace(self, loops={**self.loops, name: self._through(values)})
            case ast.For(
                target=ast.Tuple(elts=[ast.Name(id=name), _]),
                iter=ast.Call(func=ast.Attribute(value=ast.Name(id=table), attr="items")),
            ):
                return replace(self, loops={**self.loops, name: self.tables.get(table, _ANY)})
        return self

    def _through(self, values: ast.expr) -> str:
        if isinstance(values, ast.Name):
            return self.tables.get(values.id, _ANY)
        return _texts(values) or _ANY


def _texts(display: ast.expr | None) -> str | None:
    """A regular expression of the texts of a display, the keys of a mapping; None when it may hold others."""
    match display:
        case ast.Dict(keys=elements):
            texts: list[ast.expr | None] = elements
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            texts = [*items]
        case _:
            return None
    found = [each.value for each in texts if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return f"(?:{'|'.join(map(re.escape, found))})" if found and len(found) == len(texts) else None


def _tables(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """The constants of a module that hold texts: names that are bound once, and never changed by name."""
    bound: dict[str, list[ast.expr | None]] = defaultdict(list)
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                bound[name].append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                bound[name].append(value)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append" | "extend" | "update" | "add")):
                bound[name].append(None)
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store()) | ast.AugAssign(target=ast.Name(id=name)):
                bound[name].append(None)
    found = {name: _texts(values[0]) for name, values in bound.items() if len(values) == 1}
    return {name: texts for name, texts in found.items() if texts is not None}


def _passed(nodes: Sequence[ast.AST]) -> dict[tuple[str, str], str]:
    """What the private functions of a module are given for their parameters, where every call gives texts."""
    functions: dict[str, list[tuple[list[str], bool]]] = defaultdict(list)
    calls: dict[str, list[ast.Call]] = defaultdict(list)
    names = Counter(last_name(node) for node in nodes if isinstance(node, ast.Name | ast.Attribute))
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("_"):
            arguments = [each.arg for each in [*node.args.posonlyargs, *node.args.args]]
            functions[node.name].append((arguments, arguments[:1] in (["self"], ["cls"])))
        elif isinstance(node, ast.Call):
            calls[last_name(node.func)].append(node)
    found: dict[tuple[str, str], str] = {}
    for function, definitions in functions.items():
        # Only where it is never handed on as a value, and no call spreads what it passes.
        if len(definitions) > 1 or not calls[function] or names[function] > len(calls[function]):
            continue
        [(parameters, is_method)] = definitions
        for index, parameter in enumerate(parameters):
            given = [_argument(call, index - is_method, parameter) for call in calls[function]]
            texts = _texts(ast.List([each for each in given if each is not None], ast.Load()))
            if texts is not None and None not in given:
                found[function, parameter] = texts
    return found


def _argument(call: ast.Call, index: int, name: str) -> ast.expr | None:
    """What a call passes for a parameter; None when it does not say."""
    if any(isinstance(each, ast.Starred) for each in call.args):
        return None
    if 0 <= index < len(call.args):
        return call.args[index]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def walked(tree: ast.Module) -> Iterator[tuple[ast.AST, Around]]:
    """Every node of a module, with what names mean there."""
    nodes: list[ast.AST] = [tree]
    below: list[range] = []  # where the children of each node stand among the nodes: they are looked for once
    for node in nodes:
        first = len(nodes)
        nodes += ast.iter_child_nodes(node)
        below.append(range(first, len(nodes)))
    waiting: list[tuple[int, Around, str]] = [(0, Around({}, _tables(nodes), _passed(nodes)), "")]
    while waiting:
        number, around, class_ = waiting.pop()
        node = nodes[number]
        yield node, around
        inner = ""
        if isinstance(node, ast.ClassDef):
            inner = node.name
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            named = [each.arg for each in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
            function = class_ if class_ and node.name == "__init__" else node.name
            given = {**around.given, **dict.fromkeys(named, function)}
            if class_ and named and not any(last_name(each) == "staticmethod" for each in node.decorator_list):
                given[named[0]] = ""  # the class itself, or an instance of it
            around = replace(around, given=given, outer=around.outer or function)
        elif isinstance(node, ast.If | ast.Try):
            inner = class_
        elif isinstance(node, ast.For):
            around = around.within(node)
        waiting += [(child, around, inner) for child in below[number]]


def last_name(expression: ast.expr) -> str:
    """The name itself, or what stands behind the last dot; "" for any other expression."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
