"""A copy of a project to work in: whatever tests and tools do there, the project's own files stay as they are."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from netra_repair.errors import ProjectError
from netra_repair.folders import BUILT, MARKS_OF_ENVIRONMENTS, OF_TOOLS
from netra_repair.project import Project

_GIB = 1 << 30
_STOPPED = (signal.SIGTERM, signal.SIGHUP)


class Workspace:
    """A copy of a project's files in a temporary folder, gone at the end of the `with` block.

    Real copies, no hard links: tests may write. Links that point inside the project lead to the copy, links that point
    elsewhere lead there still, as they do in the project itself. Version control, virtual environments, caches and
    outputs of builds are not copied. SIGTERM and SIGHUP end the block like an exception, unless the program handles
    them itself.

    Args:
        project: what to copy.
        limit: the most bytes to copy.
    """

    def __init__(self, project: Project, limit: int = 8 * _GIB) -> None:
        self._origin = project
        self._limit = limit
        self._folder: Path | None = None
        self._copied: dict[str, tuple[_Entry, _State]] = {}
        self._handlers: dict[signal.Signals, signal.Handlers] = {}

    def __enter__(self) -> Self:
        """Makes the copy.

        Returns:
            Itself.

        Raises:
            ProjectError: when the project is too large, cannot be read, or there is no room for it.
        """
        self._take_signals()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the copy."""
        self._remove()

    @property
    def root(self) -> Path:
        """The copy's root; its last part is that of the project's own."""
        if self._folder is None:
            raise RuntimeError("the workspace is used outside of its with block")
        return self._folder / self._origin.root.name

    @property
    def project(self) -> Project:
        """The copy as a project, with the interpreter and the installed packages of the original."""
        paths = (self.root / path.relative_to(self._origin.root) for path in self._origin.search_paths)
        return replace(self._origin, root=self.root, search_paths=tuple(paths))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is different in the copy and may show in its tests."""
        if (self._origin.root / ".git").exists():
            return ("tests ran in a copy without .git; those that call git see no repository",)
        return ()

    @contextmanager
    def as_it_is(self) -> Iterator[None]:
        """Takes back what is done in the copy in the block: by tests, which may stumble over what earlier ones left.

        What is new goes; what was changed or removed comes back: sources as they were at the beginning of the block,
        since the changes that are tested stand in them, other files as the project has them.

        Raises:
            ProjectError: when that cannot be done.
        """
        try:
            edited = dict(self._edited())
        except OSError as error:
            raise _not_restored(error) from error
        yield
        try:
            self._restore(edited)
        except OSError as error:
            raise _not_restored(error) from error

    def _edited(self) -> Iterator[tuple[str, tuple[_State, bytes]]]:
        """The sources that are not as the project has them, with their state and content."""
        for path in self._origin.sources:
            target = self.root / path
            state = _state(target)
            if path in self._copied and state is not None and state != self._copied[path][1]:
                yield path, (state, target.read_bytes())

    def _restore(self, edited: Mapping[str, tuple[_State, bytes]]) -> None:
        """From the top downwards, so that nothing is reached through a link that a test made.

        Args:
            edited: the state and the content of the files that are not to be as the project has them.
        """
        _restore_folder(self.root.parent, stat.S_IRWXU, "", {self.root.name})
        _restore_folder(self.root, stat.S_IRWXU, "", self._copied)
        for path, (entry, state) in self._copied.items():
            target = self.root / path
            if stat.S_ISDIR(entry.mode):
                _restore_folder(target, stat.S_IMODE(state[0]), f"{path}/", self._copied)
            elif path in edited:
                own, content = edited[path]
                if _state(target) != own:
                    _discard(target)
                    target.write_bytes(content)
                    target.chmod(stat.S_IMODE(own[0]))
            elif _state(target) != state and os.path.lexists(self._origin.root / path):
                _discard(target)
                self._copied[path] = entry, _copy(entry, self._origin.root, self.root)

    def _make(self) -> None:
        try:
            entries = list(_entries(self._origin))
            self._check_room(sum(entry.size for entry in entries))
            self._folder = Path(tempfile.mkdtemp(prefix="netra-repair-")).resolve()
            self.root.mkdir()
            for entry in entries:
                with suppress(FileNotFoundError):  # gone since it was listed: a log, a lock of an editor
                    self._copied[entry.path] = entry, _copy(entry, self._origin.root, self.root)
        except OSError as error:
            raise ProjectError(
                f"{self._origin.root} cannot be copied: {error.filename}: {error.strerror}",
                "make it readable, or set TMPDIR to a folder with room",
            ) from error

    def _check_room(self, size: int) -> None:
        if size > self._limit:
            raise ProjectError(
                f"{self._origin.root} holds {size / _GIB:.1f} GiB; at most {self._limit / _GIB:.1f} GiB are copied",
                "work on a checkout without the data that the tests do not need",
            )
        place = tempfile.gettempdir()
        free = shutil.disk_usage(place).free
        if size > free:
            raise ProjectError(
                f"{self._origin.root} holds {size / _GIB:.1f} GiB; {place} has room for {free / _GIB:.1f} GiB",
                "make room, or set TMPDIR to a folder that has it",
            )

    def _take_signals(self) -> None:
        # Python lets the main thread alone set handlers; a program that has its own unwinds in its own way.
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPED:
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._handlers[number] = signal.SIG_DFL
                    signal.signal(number, _stop)

    def _remove(self) -> None:
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)  # what has begun to end need not be told again
        if self._folder is not None:
            _remove_folder(self._folder)
            self._folder = None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A folder, file or link to copy: its path below the root, its mode, and its size when it is a file."""

    path: str
    mode: int
    size: int


# What shows that a file, folder or link is as it was: its mode; of a file, also its size, and when its content and
# anything else of it was changed, in ns; of a link, where it leads.
_State = tuple[int, int, int, int] | tuple[int, str] | tuple[int]


def _state(path: Path) -> _State | None:
    """The state of a path; None when there is nothing."""
    try:
        return _state_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _state_of(path: Path) -> _State:
    found = path.lstat()
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return (mode, os.readlink(path)) if stat.S_ISLNK(mode) else (mode,)


def _entries(project: Project) -> Iterator[_Entry]:
    """What to copy, folders before what is in them."""
    with_sources = {path.partition("/")[0] for path in project.sources}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(project.root / folder) as found:
            for item in sorted(found, key=lambda item: item.name):
                if item.name in OF_TOOLS or (not folder and item.name in BUILT - with_sources):
                    continue
                path = f"{folder}/{item.name}" if folder else item.name
                mode = item.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    if _is_environment(item.path):
                        continue
                    waiting.append(path)
                elif not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                    continue  # sockets, pipes and devices have no content
                yield _Entry(path, mode, item.stat(follow_symlinks=False).st_size if stat.S_ISREG(mode) else 0)


def _is_environment(folder: str) -> bool:
    return any(os.path.lexists(os.path.join(folder, mark)) for mark in MARKS_OF_ENVIRONMENTS)


def _copy(entry: _Entry, origin: Path, root: Path) -> _State:
    source, target = origin / entry.path, root / entry.path
    if stat.S_ISLNK(entry.mode):
        target.symlink_to(_link(source, origin, root))
    elif stat.S_ISDIR(entry.mode):
        target.mkdir()
        target.chmod(stat.S_IMODE(entry.mode) | stat.S_IRWXU)
    else:
        shutil.copy2(source, target)
    return _state_of(target)


def _not_restored(error: OSError) -> ProjectError:
    return ProjectError(
        f"what the tests did to the copy cannot be taken back: {error.filename}: {error.strerror}",
        "let them write to a temporary folder",
    )


def _restore_folder(folder: Path, mode: int, prefix: str, known: Collection[str]) -> None:
    """Makes a folder what it was, but for the files that are to be in it.

    Args:
        folder: where it stands.
        mode: its permissions.
        prefix: what the known paths in it begin with.
        known: everything that is not new.
    """
    if folder.is_symlink() or not folder.is_dir():
        _discard(folder)
        folder.mkdir()
    folder.chmod(mode)
    with os.scandir(folder) as found:
        strays = [Path(item.path) for item in found if f"{prefix}{item.name}" not in known]
    for stray in strays:
        _discard(stray)


def _link(source: Path, origin: Path, root: Path) -> str:
    """Where a link is to point in the copy."""
    said = os.readlink(source)
    meant = os.path.normpath(source.parent / said)
    if not Path(meant).is_relative_to(origin):
        return meant
    return str(root / Path(meant).relative_to(origin)) if os.path.isabs(said) else said


def _discard(path: Path) -> None:
    """Removes a file, a link, or a folder with what is in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        _remove_folder(path)
    else:
        path.unlink(missing_ok=True)


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError:
        # A test may have left folders without permissions, or a process that still writes.
        with suppress(OSError):
            folder.chmod(stat.S_IRWXU)
        for path, folders, _ in os.walk(folder):
            for below in (Path(path, name) for name in folders):
                if not below.is_symlink():
                    with suppress(OSError):
                        below.chmod(stat.S_IRWXU)
        shutil.rmtree(folder, ignore_errors=True)


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
