"""The syntax trees of an unpacked package, with byte offsets: where attributes are named, called and defined."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
_NEWLINE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A range of bytes in a file of the tree."""

    file: str
    start: int
    end: int


class SourceFile:
    """One file, parsed.

    Args:
        path: relative to the tree.
        data: its bytes, UTF-8 without a byte order mark, so that the syntax tree's columns are bytes of the file.

    Raises:
        SyntaxError: when it is not Python.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.tree = ast.parse(data)
        self._starts = [0, *(match.end() for match in _NEWLINE.finditer(data))]

    def offset(self, line: int, column: int) -> int:
        """The byte offset of a line (from 1) and a byte column (from 0)."""
        return self._starts[line - 1] + column

    def start_of(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        """Where a node begins."""
        return self.offset(node.lineno, node.col_offset)

    def end_of(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        """Just after a node."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.end_lineno, node.end_col_offset)

    def line_start(self, line: int) -> int:
        """Where a line (from 1) begins; the end of the file for the line after the last."""
        return self._starts[line - 1] if line <= len(self._starts) else len(self.data)

    def text(self, node: ast.expr | ast.stmt | ast.arg) -> str:
        """A node as it is written."""
        return self.data[self.start_of(node) : self.end_of(node)].decode()

    @cached_property
    def attributes(self) -> dict[int, ast.Attribute]:
        """Every `x.name`, by the offset where the name ends."""
        return {self.end_of(node): node for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)}

    @cached_property
    def calls(self) -> dict[int, ast.Call]:
        """Every call, by the offset just after its closing parenthesis."""
        return {self.end_of(node): node for node in ast.walk(self.tree) if isinstance(node, ast.Call)}

    @cached_property
    def callees(self) -> dict[int, ast.Call]:
        """Every call, by the offset where the called expression ends."""
        return {self.end_of(node.func): node for node in self.calls.values()}

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """Classes by qualified name; those inside functions are not among them."""
        return dict(_classes(self.tree, ""))

    def name_of(self, function: Function | ast.ClassDef) -> Place:
        """Where the name stands in a definition."""
        keyword = {ast.AsyncFunctionDef: rb"async\s+def\s+", ast.ClassDef: rb"class\s+"}.get(type(function), rb"def\s+")
        begin = self.start_of(function)
        match = re.compile(keyword).match(self.data, begin)
        assert match is not None
        return Place(self.path, match.end(), match.end() + len(function.name.encode()))

    def lines_of(self, function: Function) -> Place:
        """The whole definition, decorators and its own lines' endings included."""
        first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
        assert function.end_lineno is not None
        return Place(self.path, self.line_start(first), self.line_start(function.end_lineno + 1))


class Syntax:
    """All Python files of a tree that are plain UTF-8.

    Args:
        root: the tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, SourceFile] = {}
        for path in sorted(root.rglob("*.py")):
            data = path.read_bytes()
            name = path.relative_to(root).as_posix()
            try:
                data.decode("utf-8")
                if not data.startswith(b"\xef\xbb\xbf"):
                    self.files[name] = SourceFile(name, data)
            except (SyntaxError, UnicodeDecodeError, ValueError):
                continue  # test data that is broken on purpose

    @cached_property
    def named(self) -> dict[str, tuple[Place, ...]]:
        """Where attributes are read, by name: all of them, whether a test comes there or not."""
        found: dict[str, list[Place]] = defaultdict(list)
        for file in self.files.values():
            for end, node in file.attributes.items():
                if isinstance(node.ctx, ast.Load):
                    found[node.attr].append(Place(file.path, end - len(node.attr.encode()), end))
        return {name: tuple(sorted(places)) for name, places in found.items()}

    @cached_property
    def written(self) -> frozenset[str]:
        """Names of attributes that something assigns or deletes, or that a class body assigns."""
        names: set[str] = set()
        for file in self.files.values():
            for node in ast.walk(file.tree):
                if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                    names.add(node.attr)
                elif isinstance(node, ast.ClassDef):
                    names |= {word.id for word in _body_names(node) if not isinstance(word.ctx, ast.Load)}
        return frozenset(names)

    @cached_property
    def spoken(self) -> frozenset[str]:
        """Identifiers that stand as whole strings: what getattr, patches and tables of names are made of."""
        return frozenset(
            node.value
            for file in self.files.values()
            for node in ast.walk(file.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
        )

    @cached_property
    def identifiers(self) -> frozenset[str]:
        """Every word that is an identifier anywhere in the tree: a new name must not be among them."""
        word = re.compile(rb"[A-Za-z_][A-Za-z_0-9]*")
        return frozenset(match.decode() for file in self.files.values() for match in set(word.findall(file.data)))

    @cached_property
    def definitions(self) -> dict[str, tuple[tuple[str, str, Function], ...]]:
        """Methods by name, wherever a class defines them: file, class ("" for one inside a function), statement."""
        found: dict[str, list[tuple[str, str, Function]]] = defaultdict(list)
        for file in self.files.values():
            known = {id(node): name for name, node in file.classes.items()}
            for node in ast.walk(file.tree):
                if isinstance(node, ast.ClassDef):
                    for statement in _body_statements(node):
                        if isinstance(statement, Function):
                            found[statement.name].append((file.path, known.get(id(node), ""), statement))
        return {name: tuple(places) for name, places in found.items()}


def _classes(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """The classes of a body, those under `if` and `try` included."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        statement = waiting.pop(0)
        if isinstance(statement, ast.ClassDef):
            yield prefix + statement.name, statement
            yield from _classes(statement, f"{prefix}{statement.name}.")
        elif isinstance(statement, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            waiting += ast.iter_child_nodes(statement)


def _body_statements(cls: ast.ClassDef) -> Iterator[ast.AST]:
    """What runs when the class statement runs, without the insides of functions and nested classes."""
    waiting: list[ast.AST] = list(cls.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Function):
            waiting += node.decorator_list
        elif not isinstance(node, ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _body_names(cls: ast.ClassDef) -> Iterator[ast.Name]:
    for node in _body_statements(cls):
        if isinstance(node, ast.Name):
            yield node


def names_in_body(cls: ast.ClassDef) -> frozenset[str]:
    """The plain names that a class body reads: aliases, decorators like `@value.setter`, tables of functions."""
    return frozenset(node.id for node in _body_names(cls) if isinstance(node.ctx, ast.Load))
