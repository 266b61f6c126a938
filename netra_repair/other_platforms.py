"""Names that a module or class has on another platform or version of Python only: nothing is missing there."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from netra_repair.conditions import truth


def defined_elsewhere(
    tree: ast.Module, class_line: int | None, name: str, version: tuple[int, ...] | None
) -> int | None:
    """Finds a definition in a branch that does not run here.

    Args:
        tree: of the file.
        class_line: of the statement of the class whose name it is; None for the module's own.
        name: what is looked for.
        version: of the project's interpreter; None when it is not known.

    Returns:
        The line of the definition, from 1; None when there is none.
    """
    body: Iterable[ast.stmt] = tree.body
    if class_line is not None:
        classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.lineno == class_line)
        body = next((node.body for node in classes), [])
    for block in _skipped(body, version):
        for statement in _statements(block):
            if name in _bound(statement):
                return statement.lineno
    return None


def _skipped(body: Iterable[ast.stmt], version: tuple[int, ...] | None) -> Iterator[list[ast.stmt]]:
    """The branches of a body, not of what is defined in it, that do not run."""
    for statement in _statements(body):
        taken = truth(statement.test, version) if isinstance(statement, ast.If) else None
        if isinstance(statement, ast.If) and taken is not None:
            yield statement.orelse if taken else statement.body


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body and of the blocks in it, not of what is defined in it."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(statement, part, ()))
            for handler in getattr(statement, "handlers", ()):
                yield from _statements(handler.body)


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a simple statement or a definition binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name.partition(".")[0] for alias in names}
        case ast.Assign(targets=targets):
            return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()
