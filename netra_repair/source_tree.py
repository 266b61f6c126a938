"""The Python files of a project, and which of them are never edited."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from netra_repair.findings import LeftOut
from netra_repair.folders import BUILT, INSTALLED, MARKS_OF_ENVIRONMENTS, OF_TOOLS
from netra_repair.refusals import Reason, Refusal

_SUFFIXES = (".py", ".pyi")

_SKIPPED = OF_TOOLS | INSTALLED
_VENDORED = frozenset(
    "vendor _vendor vendored _vendored third_party _third_party thirdparty 3rdparty extern _extern".split()
)
_PROJECT_FILES = frozenset({"pyproject.toml", "setup.py", "setup.cfg"})

_HEAD = 1024  # bytes of a file that are searched for a mark
# Comments, blank lines and a docstring before the first statement.
_LEADING = re.compile(rb'(?:[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)|[ \t]*[rR]?("""|\'\'\')(?:.|\n)*?(?:\1|\Z))*')
_GENERATED_BY = re.compile(
    rb"^[ \t#*]*@generated\b|(?-i:DO NOT (?:EDIT|MODIFY))|^#.*\bdo not (?:edit|modify)\b|"
    rb"^#+[ \t]*(?:this )?(?:file |code |module )?(?:is |was |has been )?(?:automatically |auto-?)?generated\b",
    re.IGNORECASE | re.MULTILINE,
)
_GENERATED_NAME = re.compile(r"_pb2(?:_grpc)?\.pyi?$")
_DJANGO_MIGRATION = re.compile(r"(?:^|/)migrations/\d{4}_\w+\.py$")
_ALEMBIC_MIGRATION = re.compile(rb"^down_revision\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SourceTree:
    """What lies in a project's folder.

    Attributes:
        sources: every Python file, relative to the root, with forward slashes, sorted.
        left_out: those of them that are analysed but never edited, with the reason.
        projects: the folders below the root that are projects of their own, by their `pyproject.toml` or setup file.
    """

    sources: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    projects: tuple[str, ...]

    @classmethod
    def read(cls, root: Path) -> SourceTree:
        """Walks a project's folder.

        Environments, caches and installed packages are skipped. Hidden folders, `build` and `dist` count where git
        tracks Python files in them, and the latter two also where they are packages. Links to folders are not
        followed.

        Args:
            root: the project's root, resolved.

        Returns:
            What was found.
        """
        walk = _Walk(root)
        walk.below("", None)
        while doubtful := walk.doubtful:
            walk.doubtful = []
            tracked = _tracked(root, doubtful)
            for folder in doubtful:
                if folder in tracked or _is_built_package(root / folder):
                    walk.below(folder, None)
        paths = sorted(walk.found)
        refusals = ((path, _refusal(root, path, *walk.found[path])) for path in paths)
        left_out = tuple(LeftOut(path, refusal) for path, refusal in refusals if refusal is not None)
        return cls(tuple(paths), left_out, tuple(sorted(walk.projects)))


@dataclass
class _Walk:
    """A walk in progress: files with whether they are links, and the repository inside the project they belong to."""

    root: Path
    found: dict[str, tuple[bool, str | None]] = field(default_factory=dict)
    projects: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)

    def below(self, folder: str, repository: str | None) -> None:
        """Walks one folder and those in it; `folder` is relative with forward slashes, "" for the root."""
        try:
            with os.scandir(self.root / folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            return  # not readable for us: nothing there can be analysed or edited
        names = {entry.name for entry in listed}
        if folder and not names.isdisjoint(MARKS_OF_ENVIRONMENTS):
            return
        if folder and ".git" in names:
            repository = folder
        if folder and not names.isdisjoint(_PROJECT_FILES):
            self.projects.append(folder)
        for entry in listed:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name in _SKIPPED or entry.name.endswith(".egg-info"):
                    continue
                if entry.name.startswith(".") or entry.name in BUILT:
                    self.doubtful.append(path)
                else:
                    self.below(path, repository)
            elif entry.name.endswith(_SUFFIXES) and entry.is_file():
                self.found[path] = (entry.is_symlink(), repository)


def _tracked(root: Path, folders: list[str]) -> frozenset[str]:
    """Those of the folders in which git tracks a Python file; none where there is no git."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "--literal-pathspecs", "ls-files", "-z", "--", *folders]
    try:
        # Found on the PATH like any other tool of the user's.
        answer = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True, timeout=60)  # nosec B603  # git
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    parents: set[str] = set()
    for path in os.fsdecode(answer.stdout).split("\0"):
        if path.endswith(_SUFFIXES):
            parents.update(str(parent) for parent in PurePosixPath(path).parents)
    return frozenset(parents).intersection(folders)


def _is_built_package(folder: Path) -> bool:
    return folder.name in BUILT and (folder / "__init__.py").is_file()


def _refusal(root: Path, path: str, is_link: bool, repository: str | None) -> Refusal | None:
    if is_link:
        return _of_link(root, root / path)
    if repository is not None:
        return Refusal(Reason.VENDORED, f"{repository} is a repository of its own; repair it there")
    vendored = _VENDORED.intersection(PurePosixPath(path).parts[:-1])
    if vendored:
        return Refusal(Reason.VENDORED, f"it lies in {min(vendored)}, a copy of someone else's code; update that copy")
    if _GENERATED_NAME.search(path):
        return Refusal(Reason.GENERATED, "its name says that it is generated; change what it is generated from")
    return _of_head(path, _head(root / path))


def _of_link(root: Path, file: Path) -> Refusal:
    target = Path(os.path.realpath(file))
    if target.is_relative_to(root):
        where = target.relative_to(root).as_posix()
        return Refusal(Reason.SYMLINK, f"it is a link to {where}, which is edited instead")
    return Refusal(Reason.SYMLINK, f"it is a link to {target}, outside the project")


def _of_head(path: str, head: bytes) -> Refusal | None:
    leading = _LEADING.match(head)
    if leading is not None and (mark := _GENERATED_BY.search(leading[0])):
        words = mark[0].decode(errors="replace").strip("# \t")
        return Refusal(Reason.GENERATED, f"its head says {words!r}; change what it is generated from")
    if _DJANGO_MIGRATION.search(path) or _ALEMBIC_MIGRATION.search(head):
        return Refusal(Reason.GENERATED, "it is a migration, which records the past; decide by hand")
    return None


def _head(file: Path) -> bytes:
    try:
        with open(file, "rb", buffering=0) as stream:
            return stream.read(_HEAD)
    except OSError:
        return b""  # whoever reads it later says why it cannot be read
