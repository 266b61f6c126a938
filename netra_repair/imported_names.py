"""What the names of a file stand for, by its imports and its own classes alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import libcst as cst
from libcst.metadata import Assignment, MetadataWrapper, QualifiedNameSource, Scope, ScopeProvider

from netra_repair.layout import Layout, deeply


class ImportedNames:
    """Resolves dotted names of one file.

    Args:
        layout: of the file.
        module: the file's own dotted name; "" when it is not known, and then nothing that depends on it is resolved.
    """

    def __init__(self, layout: Layout, module: str) -> None:
        self._layout = layout
        self._module = module

    def module(self, statement: cst.ImportFrom) -> str | None:
        """The module that `from … import` takes names from; None when that is relative to a module nobody knows."""
        spelled = "" if statement.module is None else "".join(self._layout.text(statement.module).split())
        return self._absolute("." * len(statement.relative) + spelled)

    def qualified(self, expression: cst.BaseExpression) -> str | None:
        """What a dotted name stands for.

        Args:
            expression: any expression of the file.

        Returns:
            The fully qualified name; None when it is no dotted name, is no import and no class of this file, is bound
            more than once, or when a star import may bind it too.
        """
        root = expression
        while isinstance(root, cst.Attribute):
            root = root.value
        if not isinstance(root, cst.Name) or self._has_star_import:
            return None
        scope = self._scope(expression)
        if scope is None:
            return None
        found = list(scope.get_qualified_names_for(expression))
        if len(found) != 1:
            return None
        if found[0].source is QualifiedNameSource.IMPORT:
            return self._absolute(found[0].name)
        if found[0].source is QualifiedNameSource.LOCAL and _is_a_class(scope, root.value) and self._module:
            return f"{self._module}.{found[0].name}"
        return None

    def _absolute(self, name: str) -> str | None:
        relative = name.lstrip(".")
        up = len(name) - len(relative)
        if not up:
            return name
        # In a package's own __init__ one dot is the package itself.
        up -= self._layout.source.path.rpartition("/")[2].startswith("__init__.")
        parts = self._module.split(".")
        if not self._module or up >= len(parts):
            return None
        return ".".join(filter(None, (*parts[: len(parts) - up], relative)))

    def _scope(self, node: cst.CSTNode) -> Scope | None:
        scope = self._scopes.get(node)
        for _, parent in self._layout.line_of_descent(node):
            scope = scope or self._scopes.get(parent)
        return scope

    @cached_property
    def _scopes(self) -> Mapping[cst.CSTNode, Scope | None]:
        wrapper = MetadataWrapper(self._layout.module, unsafe_skip_copy=True)
        try:
            return deeply(lambda: wrapper.resolve(ScopeProvider))
        except Exception:
            # On code that parses and that Python would not compile, like a `nonlocal` of the module, LibCST raises
            # whatever it likes.
            return {}

    @cached_property
    def _has_star_import(self) -> bool:
        return any(isinstance(statement.names, cst.ImportStar) for statement in self._layout.of_type(cst.ImportFrom))


def _is_a_class(scope: Scope, name: str) -> bool:
    """Whether a name is bound once, by a class statement."""
    bound = list(scope[name])
    return len(bound) == 1 and isinstance(bound[0], Assignment) and isinstance(bound[0].node, cst.ClassDef)
