"""Which files import which, and so which tests a change can touch. Read from the syntax alone; nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from netra_repair.failures import SuiteResult


class ImportGraph:
    """The imports between a project's files.

    Counted as an import is also what may be one: a text that begins with a module's dotted name (`patch`, settings,
    entry points), or is a file's path (scripts that a test starts).

    Args:
        root: the project's root.
        modules: the dotted name of the module in every Python file of the project, by its path relative to the root.
    """

    def __init__(self, root: Path, modules: Mapping[str, str]) -> None:
        self._root = root
        self._modules = modules
        self._files: dict[str, list[str]] = {}
        for path, module in modules.items():
            self._files.setdefault(module, []).append(path)
        self._imports: dict[str, frozenset[str]] = {}

    def dependents(self, changed: str, among: Iterable[str]) -> frozenset[str]:
        """The files that import a file, directly or through others.

        Args:
            changed: the file.
            among: test files; with each go the conftest.py files of its folder and of those above it.

        Returns:
            Those of `among`; the file itself when it is one of them.
        """
        return frozenset(path for path in among if changed in self._reached(path))

    def _reached(self, test_file: str) -> set[str]:
        """A test file, its conftest.py files, and everything that they import."""
        waiting = [test_file, *self._conftests(test_file)]
        reached = set(waiting)
        while waiting:
            new = self._imported(waiting.pop()) - reached
            reached |= new
            waiting += new
        return reached

    def _conftests(self, path: str) -> list[str]:
        folders = path.split("/")[:-1]
        candidates = ["/".join([*folders[:count], "conftest.py"]) for count in range(len(folders) + 1)]
        return [candidate for candidate in candidates if candidate in self._modules]

    def _imported(self, path: str) -> frozenset[str]:
        if path not in self._imports:
            self._imports[path] = frozenset(self._read(path))
        return self._imports[path]

    def _read(self, path: str) -> Iterator[str]:
        module = self._modules.get(path)
        if module is None:
            return
        yield from self._with_packages(module.rpartition(".")[0])  # their __init__.py files run first
        try:
            tree = ast.parse((self._root / path).read_bytes())
        except (OSError, ValueError, SyntaxError):
            return  # what cannot be parsed imports nothing
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        for node in ast.walk(tree):
            for name in _named(node, package):
                yield from self._with_packages(name)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in self._modules:
                yield node.value

    def _with_packages(self, name: str) -> Iterator[str]:
        """The files of a dotted name: of the module, as far as it is one, and of the packages around it."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            yield from self._files.get(".".join(parts[:count]), ())


def _named(node: ast.AST, package: str) -> list[str]:
    """The dotted names that a node may import."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            parts = package.split(".") if package else []
            around = ".".join(parts[: len(parts) + 1 - level]) if level else ""
            source = ".".join(filter(None, (around, module)))
            return [f"{source}.{alias.name}" if source else alias.name for alias in names]
        case ast.Constant(value=str(text)):
            return [text, f"{text}.__main__"] if text.replace(".", "a").isidentifier() else []
        case _:
            return []


def related(
    result: SuiteResult, changed: Collection[str], failing: Collection[str], graph: ImportGraph
) -> tuple[str, ...]:
    """The tests that a batch of changes is verified with.

    Args:
        result: the run before, with every test of the project.
        changed: the files of the batch, relative to the root.
        failing: node ids of tests that the cause broke.
        graph: the project's imports.

    Returns:
        For `Suite.run`: the changed test files, those that import a changed file, those that are not Python (their
        imports cannot be told), and the failing tests elsewhere. () for all tests: when that is all, or when a changed
        file is imported by no test file and so only all tests can tell.
    """
    files = list(dict.fromkeys(test.partition("::")[0] for test in result.cases))
    affected = {path for path in files if not path.endswith(".py")}
    for path in changed:
        dependents = graph.dependents(path, files)
        if not dependents:
            return ()
        affected |= dependents
    if affected.issuperset(files):
        return ()
    elsewhere = [test for test in failing if test.partition("::")[0] not in affected]
    return (*(path for path in files if path in affected), *elsewhere)
