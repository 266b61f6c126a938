"""Places that hand a class to a library for what that does to it: `mapper(User, table)` gives it attributes."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from netra_repair.definitions import Definitions
from netra_repair.line_nodes import span_of
from netra_repair.outline_reader import parsed
from netra_repair.owners import Access, Owner, OwnerKind
from netra_repair.project import Project
from netra_repair.receivers import Receivers
from netra_repair.source import Source, UnreadableSource, bytes_of
from netra_repair.spellings import last_name
from netra_repair.words import Words

_UNUSABLE = (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError)


class HandingOver:
    """Finds statements that call a library's function with a class, and do nothing with what it gives.

    Args:
        project: whose sources.
        definitions: knows the MROs, and which modules are the project's.
        receivers: tells what an expression is.
        words: knows which files have a name at all.
    """

    def __init__(self, project: Project, definitions: Definitions, receivers: Receivers, words: Words) -> None:
        self._project = project
        self._definitions = definitions
        self._receivers = receivers
        self._words = words

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
        names = {each.short_name for each in above}
        spelled = b"|".join(re.escape(name.encode()) for name in names)
        call = re.compile(rb"^[ \t]*[\w.]+[ \t]*\([^()#]*\b(?:" + spelled + rb")\b", re.MULTILINE)
        for path in self._words.files(*names):
            if call.search(bytes_of(self._project.root / path)) is None:
                continue
            try:
                source = Source.read(self._project.root, path)
                handed = list(self._handed(parsed(source.text), names))
            except _UNUSABLE:
                continue
            for argument in handed:
                owners = self._receivers.of(source, span_of(source, argument)).owners
                if any((each, Access.CLASS) in owners for each in above):
                    return f"{path}:{argument.lineno}"
        return None

    def _handed(self, tree: ast.Module, names: set[str]) -> Iterator[ast.expr]:
        """The arguments of some names in calls of what other libraries define."""
        modules: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules |= {each.asname or each.name.partition(".")[0]: each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules |= {each.asname or each.name: node.module for each in node.names}
        for node in ast.walk(tree):
            match node:
                case ast.Expr(value=ast.Call(func=called, args=arguments)):
                    root = called
                    while isinstance(root, ast.Attribute):
                        root = root.value
                    if isinstance(root, ast.Name) and self._is_of_a_library(modules.get(root.id)):
                        yield from (each for each in arguments if last_name(each) in names)

    def _is_of_a_library(self, module: str | None) -> bool:
        if module is None or module.partition(".")[0] in sys.stdlib_module_names:
            return False
        found = self._definitions.named(module) or self._definitions.named(module.partition(".")[0])
        return found is None or not found.is_inside
