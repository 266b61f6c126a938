"""Where modules lie, and their outlines, read one by one when they are asked for: the tree may be large."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from netra_repair.compiled import stub_of
from netra_repair.other_platforms import defined_elsewhere
from netra_repair.outline import Outline
from netra_repair.outline_reader import outlined, parsed
from netra_repair.source import Source, UnreadableSource

# Without these no condition is decided before a program runs.
_DECIDED = re.compile(r"\bsys\.|\bos\.name\b")
_SUFFIXES = (".py", "/__init__.py", ".pyi", "/__init__.pyi")
_COMPILED = (".so", ".pyd")  # with the interpreter before it: `native.cpython-311-x86_64-linux-gnu.so`


class Modules:
    """Finds modules by name and by file, and reads each once.

    Args:
        project_root: the project, resolved; files inside it are named relative to it.
        search_paths: the import roots inside it, in order.
        site_packages: where its environment keeps libraries, in order.
        stdlib: a folder of stubs of the standard library (typeshed's `stdlib`); None to read the environment's own
            standard library, or that of the interpreter that runs this tool.
        version: of the project's interpreter; None keeps the branches of all versions.
    """

    def __init__(
        self,
        project_root: Path,
        search_paths: Sequence[Path],
        site_packages: Sequence[Path] = (),
        *,
        stdlib: Path | None = None,
        version: tuple[int, ...] | None = None,
    ) -> None:
        self._root = project_root
        standard = [stdlib] if stdlib is not None else _standard_libraries(site_packages)
        # An environment in the project's folder is not the project's.
        self._libraries = [each for each in (*site_packages, *standard) if project_root in each.parents]
        self._roots = list(dict.fromkeys([*search_paths, *site_packages, *standard]))
        self._version = version
        self._outside: list[Path] = []
        self._by_name: dict[tuple[Path | None, str], Outline | None] = {}
        self._by_file: dict[str, Outline | None] = {}
        self._at: dict[Path, Outline | None] = {}

    def named(self, name: str, asking: Outline | None = None) -> Outline | None:
        """Finds a module by its dotted name.

        Args:
            name: absolute.
            asking: the module that imports it: a stub outside all roots imports the stubs beside it.

        Returns:
            Its outline, an empty one for a folder without `__init__`; None when there is no such module, or it cannot
            be read.
        """
        beside = None
        if asking is not None and self._outside:
            beside = next((top for top in self._outside if Path(asking.file).is_relative_to(top)), None)
        key = (beside, name)
        if key not in self._by_name:
            roots = self._roots if beside is None else [beside, *self._roots]
            spelled = all(part.isidentifier() for part in name.split("."))
            self._by_name[key] = self._find(name, roots) if spelled else None
        return self._by_name[key]

    def at(self, file: Path) -> Outline | None:
        """Reads a module by its file.

        Args:
            file: absolute, or relative to the project's root.

        Returns:
            Its outline; that of the `.py` beside a stub; None when it cannot be read.
        """
        if file not in self._at:
            self._at[file] = self._placed(file)
        return self._at[file]

    def _placed(self, file: Path) -> Outline | None:
        path = self._root / file
        if not path.is_relative_to(self._root) and (resolved := path.resolve()).is_relative_to(self._root):
            path = resolved
        if path.suffix == ".pyi" and path.with_suffix(".py").is_file():
            path = path.with_suffix(".py")
        shown = self.shown(path)
        if shown not in self._by_file:
            self._by_file[shown] = self._read(path, self._name_of(path)) if path.is_file() else None
        return self._by_file[shown]

    def stub(self, file: Path) -> Outline | None:
        """Reads a stub that lies beside its source, as it is.

        Args:
            file: absolute, or relative to the project's root.

        Returns:
            The outline of the stub itself; None when it cannot be read.
        """
        path = self._root / file
        return self._read(path, self._name_of(path))

    def read(self, file: str) -> Outline | None:
        """Gives the outline of a file that was read before, or can be read now.

        Args:
            file: as owners name it.

        Returns:
            The outline; None when it cannot be read.
        """
        if file in self._by_file:
            return self._by_file[file]
        return _compiled_outline(file[1:-1]) if file.startswith("<") else self.at(Path(file))

    def forget(self) -> None:
        """Reads every file again when it is asked for."""
        self._by_name.clear()
        self._by_file.clear()
        self._at.clear()

    def submodules(self, outline: Outline) -> Iterator[str]:
        """The names of the modules directly inside a package.

        Args:
            outline: of the package.

        Yields:
            Their last names, in order, each once.
        """
        folder = (self._root / outline.file).parent
        if outline.is_package and folder.is_dir():
            entries = list(folder.iterdir())
            found = {path.stem for path in entries if path.suffix in (".py", ".pyi")}
            found |= {path.name.partition(".")[0] for path in entries if path.suffix in _COMPILED}
            found |= {path.name for path in entries if (path / "__init__.py").is_file()}
            yield from sorted(name for name in found if name.isidentifier() and not name.startswith("__"))

    def shown(self, path: Path) -> str:
        """A file as owners name it: relative to the project's root when it is the project's, else absolute."""
        is_ours = path.is_relative_to(self._root) and not any(path.is_relative_to(each) for each in self._libraries)
        return path.relative_to(self._root).as_posix() if is_ours else path.as_posix()

    def _find(self, name: str, roots: Sequence[Path]) -> Outline | None:
        relative = name.replace(".", "/")
        top, _, rest = relative.partition("/")
        folder: Path | None = None
        for root in roots:
            for base in (root / relative, root / f"{top}-stubs" / rest if rest else root / f"{top}-stubs"):
                for suffix in _SUFFIXES:
                    path = Path(f"{base}{suffix}")
                    if path.is_file():
                        return self.at(path)
                if folder is None and base.is_dir():
                    folder = base
        if folder is not None:
            return Outline(name, self.shown(folder / "__init__.py"), True)
        return self._compiled(name)

    def _compiled(self, name: str) -> Outline | None:
        found = _compiled_outline(name)
        if found is not None:
            self._by_file[found.file] = found
        return found

    def _read(self, path: Path, name: str) -> Outline | None:
        shown = self.shown(path)
        try:
            source = Source.read(self._root, shown)
        except UnreadableSource:
            return None
        is_package = path.stem == "__init__"
        return outlined(source.text, name, shown, is_package=is_package, version=self._version)

    def elsewhere(self, file: str, class_line: int | None, name: str) -> int | None:
        """The line of a file where a name is defined for another platform or version, as for `defined_elsewhere`."""
        try:
            text = Source.read(self._root, file).text
            if name in text and _DECIDED.search(text):
                return defined_elsewhere(parsed(text), class_line, name, self._version)
        except (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # it tells nothing
        return None

    def _name_of(self, path: Path) -> str:
        """The dotted name of a file below the innermost root that holds it, else below the packages around it."""
        roots = [root for root in self._roots if path.is_relative_to(root)]
        if roots:
            parts = path.relative_to(max(roots, key=lambda root: len(root.parts))).with_suffix("").parts
        else:
            top = path.parent
            while any((top / name).is_file() for name in ("__init__.py", "__init__.pyi")):
                top = top.parent
            if top not in self._outside:
                self._outside.append(top)
            parts = path.relative_to(top).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        return ".".join([parts[0].removesuffix("-stubs"), *parts[1:]])


@cache
def _compiled_outline(name: str) -> Outline | None:
    """A compiled module of the interpreter that runs this tool: the same for every project."""
    text = stub_of(name)
    return None if text is None else outlined(text, name, f"<{name}>", is_package=False)


def _standard_libraries(site_packages: Sequence[Path]) -> list[Path]:
    """The source of the standard library: of the environment, else of the interpreter that runs this tool."""
    found = []
    for folder in site_packages:
        found += [folder.parent, *_base_of_environment(folder)]
    found.append(Path(sysconfig.get_path("stdlib")))
    return [folder for folder in found if (folder / "os.py").is_file()]


def _base_of_environment(site_packages: Path) -> Iterator[Path]:
    for folder in site_packages.parents[:3]:
        settings = folder / "pyvenv.cfg"
        if settings.is_file():
            for line in settings.read_text("utf-8", "replace").splitlines():
                key, _, value = line.partition("=")
                if key.strip() == "home":
                    home = Path(value.strip())
                    yield home.parent / "lib" / site_packages.parent.name
                    yield home / "Lib" if sys.platform == "win32" else home.parent / "Lib"
