"""The project that is repaired: its files, its interpreter, and where its imports start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from netra_repair import import_roots
from netra_repair.errors import ProjectError
from netra_repair.findings import LeftOut
from netra_repair.interpreters import Interpreter
from netra_repair.source_tree import SourceTree


@dataclass(frozen=True)
class Project:
    """A folder with Python code.

    Attributes:
        root: the folder, resolved.
        python: the project's interpreter.
        python_version: of that interpreter, "3.11.7".
        search_paths: import roots inside the project, in order of search.
        site_packages: where the interpreter finds everything else outside the standard library.
        sources: every Python file, relative to the root, with forward slashes, sorted.
        left_out: those of them that are analysed, but never edited.
        platform: the interpreter's `sys.platform`.
        ambiguous: folders with names of modules that mean one file there and another one elsewhere; see `ImportRoots`.
    """

    root: Path
    python: Path
    python_version: str
    search_paths: tuple[Path, ...]
    site_packages: tuple[Path, ...]
    sources: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    platform: str = "linux"
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def module_of(self, path: str) -> str:
        """The dotted name of a file's module, below the innermost import root that contains it.

        Args:
            path: the file, relative to the root.

        Returns:
            "pkg.ctx" for `src/pkg/ctx.py`, "pkg" for `src/pkg/__init__.py`.
        """
        file = self.root / path
        holding = [base for base in self.search_paths if file.is_relative_to(base)]
        base = max(holding, key=lambda base: len(base.parts), default=self.root)
        parts = file.relative_to(base).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)

    def selected(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The sources at or below some paths.

        Args:
            paths: files and folders; relative ones start at the working directory, or at the root when there is
                nothing of that name. None means all.

        Returns:
            The sources, sorted.

        Raises:
            ProjectError: when a path does not exist, lies outside the project, or has no Python source.
        """
        if not paths:
            return self.sources
        chosen: set[str] = set()
        for path in paths:
            place = self._relative(path)
            below = [source for source in self.sources if PurePosixPath(source).is_relative_to(place)]
            if not below:
                raise ProjectError(
                    f"{path} has no Python file of the project", "name a file or folder with Python sources"
                )
            chosen.update(below)
        return tuple(sorted(chosen))

    def _relative(self, path: str) -> PurePosixPath:
        places = [place for base in (Path.cwd(), self.root) if os.path.lexists(place := base / path)]
        for place in places:
            # The folder is resolved, the last part is not: a link in the project is a file of the project.
            place = Path(os.path.realpath(place.parent), place.name) if place.name != ".." else place.resolve()
            if place.is_relative_to(self.root):
                return PurePosixPath(place.relative_to(self.root).as_posix())
        if places:
            raise ProjectError(f"{path} lies outside the project {self.root}", "name a path inside it")
        raise ProjectError(f"{path} does not exist", "name a file or folder of the project")


def discover(root: Path, python: Path | None = None) -> Project:
    """Finds out what there is to repair.

    Args:
        root: the project's folder.
        python: its interpreter; None for that of its virtual environment, see `Interpreter.of_project`.

    Returns:
        The project.

    Raises:
        ProjectError: when the root is no folder or has no Python file, or the interpreter does not run.
    """
    if not root.is_dir():
        raise ProjectError(f"{root} is no folder", "name the folder of the project")
    root = root.resolve()
    tree = SourceTree.read(root)
    if not tree.sources:
        raise ProjectError(f"{root} has no Python file", "name the folder of a Python project")
    interpreter = Interpreter.at(python) if python is not None else Interpreter.of_project(root)
    roots = import_roots.find(root, tree, interpreter.import_paths)
    return Project(
        root=root,
        python=interpreter.path,
        python_version=interpreter.version,
        search_paths=roots.paths,
        site_packages=tuple(path for path in interpreter.import_paths if path.resolve() not in roots.paths),
        sources=tree.sources,
        left_out=tree.left_out,
        platform=interpreter.platform,
        ambiguous=roots.ambiguous,
    )
