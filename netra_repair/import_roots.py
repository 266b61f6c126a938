"""The folders of a project that its imports start from."""

from __future__ import annotations

import configparser
import os
import shlex
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from netra_repair.source_tree import SourceTree

_TEST_FILES = ("conftest.py", "test_*.py", "*_test.py")
# Modules that stand in many folders and that nobody means by their bare name.
_NEVER_IMPORTED = frozenset({"__init__", "__main__", "setup"})
# Tests that some distributions install beside themselves by mistake.
_STRAYS = frozenset({"test", "tests", "conftest"})
_TOP = PurePosixPath(".")


@dataclass(frozen=True, slots=True)
class ImportRoots:
    """Where the imports of a project start.

    Attributes:
        paths: the folders, in order of search: declared ones first, each before those around it; then those that only
            pytest, or a project within the project, puts there.
        ambiguous: folders, relative to the root, with the names of modules that mean one file there and another one
            elsewhere: which one, depends on who runs it.
    """

    paths: tuple[Path, ...]
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]


def find(root: Path, tree: SourceTree, installed: Sequence[Path]) -> ImportRoots:
    """Finds the import roots.

    Declared are the root, its `src` folder, pytest's `pythonpath` and editable installs that lead into the project.
    With pytest's `prepend` and `append` import modes the folder of a test that is in no package counts too, and so do
    the folders of projects within the project; but not one that would hide a module of the standard library, of an
    installed package or of a declared root from the rest of the project.

    Args:
        root: the project's root, resolved.
        tree: its files.
        installed: the import paths of its interpreter.

    Returns:
        The import roots.
    """
    settings = _pytest_settings(root)
    modules = _Modules(tree.sources)
    declared = {_TOP}
    if "src" in modules.folders and not modules.is_package(PurePosixPath("src")):
        declared.add(PurePosixPath("src"))
    for path in (*(root / path for path in _words(settings.get("pythonpath", ""))), *installed):
        folder = _inside(root, path)
        if folder is not None and str(folder) in modules.folders:
            declared.add(folder)
    loose = {folder for project in tree.projects for folder in modules.source_folders(PurePosixPath(project))}
    if "importlib" not in _import_mode(settings):
        loose |= modules.test_folders()
    return _arranged(root, modules, declared, loose - declared, _installed_modules(root, installed))


def _arranged(
    root: Path, modules: _Modules, declared: set[PurePosixPath], loose: set[PurePosixPath], installed: frozenset[str]
) -> ImportRoots:
    taken = installed | sys.stdlib_module_names
    taken = taken.union(*(modules.in_folder(folder) for folder in declared))
    owners: dict[str, int] = defaultdict(int)
    for folder in loose:
        for name in modules.in_folder(folder):
            owners[name] += 1
    added: list[PurePosixPath] = []
    ambiguous: list[tuple[str, tuple[str, ...]]] = []
    for folder in _deepest_first(loose):
        names = modules.in_folder(folder)
        hiding = names & taken
        unsure = hiding | {name for name in names if owners[name] > 1}
        if not hiding - {"conftest"}:
            added.append(folder)
        if unsure:
            ambiguous.append((str(folder), tuple(sorted(unsure))))
    return ImportRoots(tuple(root / folder for folder in (*_deepest_first(declared), *added)), tuple(ambiguous))


class _Modules:
    """Which modules lie in which folder, by the paths of the sources."""

    def __init__(self, sources: Iterable[str]) -> None:
        self._files: dict[PurePosixPath, set[str]] = defaultdict(set)
        self.folders: set[str] = set()
        for source in sources:
            path = PurePosixPath(source)
            self._files[path.parent].add(path.name)
            self.folders.update(str(parent) for parent in path.parents)
        self._packages: dict[PurePosixPath, set[str]] = defaultdict(set)
        for folder in self._files:
            if self.is_package(folder):
                self._packages[folder.parent].add(folder.name)

    def is_package(self, folder: PurePosixPath) -> bool:
        """Whether a folder is a package; one without `__init__` gives way to any other of its name."""
        return not self._files.get(folder, set()).isdisjoint(("__init__.py", "__init__.pyi"))

    def in_folder(self, folder: PurePosixPath) -> frozenset[str]:
        """The names that can be imported when the folder is an import root, tests left out."""
        files = (name for name in self._files.get(folder, ()) if not _is_test(name) or name == "conftest.py")
        stems = {name.partition(".")[0] for name in files}
        return frozenset(stems | self._packages.get(folder, set())) - _NEVER_IMPORTED

    def source_folders(self, project: PurePosixPath) -> set[PurePosixPath]:
        """The folder of a project and its `src`, where there is Python in them."""
        source = project / "src"
        found = {folder for folder in (project, source) if str(folder) in self.folders}
        return found - {source} if self.is_package(source) else found

    def test_folders(self) -> set[PurePosixPath]:
        """What pytest puts on the path: for each test the first folder upwards that is no package."""
        found: set[PurePosixPath] = set()
        for folder, names in self._files.items():
            if any(map(_is_test, names)):
                base = folder
                while self.is_package(base) and base != _TOP:
                    base = base.parent
                found.add(base)
        return found


def _is_test(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _TEST_FILES)


def _deepest_first(folders: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    return sorted(folders, key=lambda folder: (-len(folder.parts), str(folder)))


def _inside(root: Path, path: Path) -> PurePosixPath | None:
    real = Path(os.path.realpath(path))
    return PurePosixPath(real.relative_to(root).as_posix()) if real.is_relative_to(root) else None


def _installed_modules(root: Path, installed: Sequence[Path]) -> frozenset[str]:
    names: set[str] = set()
    for path in installed:
        folder = _inside(root, path)
        if folder is not None and not {"site-packages", "dist-packages"}.intersection(folder.parts):
            continue  # an editable install of the project itself
        with suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                if os.path.exists(f"{entry.path}/__init__.py") or entry.name.endswith((".py", ".so", ".pyd")):
                    names.add(entry.name.partition(".")[0])
    return frozenset(names) - _STRAYS


def _pytest_settings(root: Path) -> Mapping[str, Any]:
    """The settings of the first file that pytest would take; an ini file without its section is passed over."""
    for name, sections in (
        ("pytest.toml", ("pytest",)),
        (".pytest.toml", ("pytest",)),
        ("pytest.ini", ("pytest",)),
        (".pytest.ini", ("pytest",)),
        ("pyproject.toml", ("tool.pytest", "tool.pytest.ini_options")),
        ("tox.ini", ("pytest",)),
        ("setup.cfg", ("tool:pytest",)),
    ):
        tables = _tables(root / name)
        found = [tables[section] for section in sections if section in tables]
        if found:
            return {key: value for table in found for key, value in table.items()}
    return {}


def _tables(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """A settings file's tables by dotted name; none when it is not there or cannot be read: pytest will say so."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".toml":
            document = tomllib.loads(text)
            pytest = document.get("pytest", {})
            tool = document.get("tool", {}).get("pytest", {})
            tables = {"pytest": pytest, "tool.pytest": tool, "tool.pytest.ini_options": tool.get("ini_options", {})}
            return {name: table for name, table in tables.items() if table}
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(text)
        return {section: dict(parser[section]) for section in parser.sections()}
    except (OSError, ValueError, configparser.Error, AttributeError):
        return {}


def _words(value: Any) -> list[str]:
    """A setting that is a list, or a text of words."""
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError:
            return value.split()
    return [str(word) for word in value] if isinstance(value, list) else []


def _import_mode(settings: Mapping[str, Any]) -> str:
    words = _words(settings.get("addopts", ""))
    modes = [word.partition("=")[2] for word in words if word.startswith("--import-mode=")]
    following = [mode for option, mode in pairwise(words) if option == "--import-mode"]
    return " ".join(modes + following)
