"""Places that hand a class to a library for what that does to it: `mapper(User, table)` gives it attributes."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from functools import cached_property

from netra_repair.definitions import Definitions
from netra_repair.line_nodes import span_of
from netra_repair.outline_reader import parsed
from netra_repair.owners import Access, Owner, OwnerKind
from netra_repair.project import Project
from netra_repair.receivers import Receivers
from netra_repair.source import Source, UnreadableSource, bytes_of
from netra_repair.spellings import last_name
from netra_repair.words import words_of

_UNUSABLE = (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError)

# The arguments of what may be a call that is a statement of its own.
_CALL = re.compile(rb"^[ \t]*[\w.]+[ \t]*\(([^()#]+)", re.MULTILINE)


class HandingOver:
    """Finds statements that call a library's function with a class, and do nothing with what it gives.

    Args:
        project: whose sources.
        definitions: knows the MROs, and which modules are the project's.
        receivers: tells what an expression is.
    """

    def __init__(self, project: Project, definitions: Definitions, receivers: Receivers) -> None:
        self._project = project
        self._definitions = definitions
        self._receivers = receivers
        self._handed: dict[str, tuple[Source, dict[str, list[ast.expr]]]] = {}

    def of(self, owner: Owner) -> str | None:
        """A place that hands over a class, or one that it inherits from.

        Args:
            owner: a class or module of the project.

        Returns:
            File and line, "pkg/tables.py:7"; None when there is none.
        """
        if owner.kind is not OwnerKind.CLASS:
            return None
        above = [each for each in self._definitions.mro(owner) if each.is_inside]
        for name in dict.fromkeys(each.short_name for each in above):
            for path in self._naming.get(name.encode(), ()):
                if path not in self._handed:
                    self._handed[path] = self._read(path)
                source, handed = self._handed[path]
                for argument in handed.get(name, ()):
                    owners = self._receivers.of(source, span_of(source, argument)).owners
                    if any((each, Access.CLASS) in owners for each in above):
                        return f"{path}:{argument.lineno}"
        return None

    def forget(self) -> None:
        """Takes notice that files have been written: they are read again when they are needed."""
        self.__dict__.pop("_naming", None)
        self._handed.clear()

    def prepare(self) -> None:
        """Looks for the calls now, and not when the first owner is asked about."""
        _ = self._naming

    @cached_property
    def _naming(self) -> dict[bytes, list[str]]:
        """The files in which a word stands in such a call."""
        naming: defaultdict[bytes, list[str]] = defaultdict(list)
        for path in self._project.sources:
            for word in words_of(b" ".join(_CALL.findall(bytes_of(self._project.root / path)))):
                naming[word].append(path)
        return naming

    def _read(self, path: str) -> tuple[Source, dict[str, list[ast.expr]]]:
        """A file, and in it the arguments of calls of what other libraries define, by their last names."""
        try:
            source = Source.read(self._project.root, path)
            tree = parsed(source.text)
        except _UNUSABLE:
            return Source(path, b"", "utf-8", ""), {}
        modules: dict[str, str] = {}
        calls: list[tuple[str, list[ast.expr]]] = []
        for node in ast.walk(tree):
            match node:
                case ast.Import():
                    modules |= {each.asname or each.name.partition(".")[0]: each.name for each in node.names}
                case ast.ImportFrom(module=str(module), level=0):
                    modules |= {each.asname or each.name: module for each in node.names}
                case ast.Expr(value=ast.Call(func=called, args=arguments)):
                    while isinstance(called, ast.Attribute):
                        called = called.value
                    if isinstance(called, ast.Name):
                        calls.append((called.id, arguments))
        handed: defaultdict[str, list[ast.expr]] = defaultdict(list)
        for root, arguments in calls:
            if self._is_of_a_library(modules.get(root)):
                for argument in arguments:
                    handed[last_name(argument)].append(argument)
        return source, handed

    def _is_of_a_library(self, module: str | None) -> bool:
        if module is None or module.partition(".")[0] in sys.stdlib_module_names:
            return False
        found = self._definitions.named(module) or self._definitions.named(module.partition(".")[0])
        return found is None or not found.is_inside
