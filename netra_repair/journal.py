"""The journal: what every run changed, so that it can be finished after a crash, and undone at any time.

    .netra-repair/
        .gitignore                  everything here
        lock                        held while a run writes
        runs/RUN/plan.json          what was asked for
        runs/RUN/journal.jsonl      first line: the run, with every byte that goes and comes; then one line a state

The first line is on the disk before a file of the project is touched. Which files have been written is not journalled:
their digests say it, and cannot be wrong about it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from netra_repair.changes import Change
from netra_repair.disk import sync_folder, write_new
from netra_repair.errors import JournalError, ProjectError
from netra_repair.records import RecordError, decoded, encoded

SCHEMA_VERSION = 1
FOLDER = ".netra-repair"


class State(StrEnum):
    """How far a run has come."""

    WRITING = "writing"
    APPLIED = "applied"
    UNDOING = "undoing"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Run:
    """One application of plans to a project.

    Attributes:
        id: its name for `undo`; later runs sort after earlier ones.
        created: when, in ISO 8601 with offset.
        tool: name and version of the tool that wrote it.
        causes: keys of the causes whose plans were applied.
        changes: in order of path.
        state: how far it has come.
    """

    id: str
    created: str
    tool: str
    causes: tuple[str, ...]
    changes: tuple[Change, ...]
    state: State = State.WRITING

    @property
    def is_finished(self) -> bool:
        """Whether it neither waits to be resumed nor to be undone."""
        return self.state in (State.APPLIED, State.UNDONE)


@dataclass(frozen=True, slots=True)
class _Begin:
    schema_version: int
    run: Run


@dataclass(frozen=True, slots=True)
class _Mark:
    state: State
    at: str


def runs(root: Path) -> tuple[Run, ...]:
    """All runs of a project.

    Args:
        root: the project's root.

    Returns:
        The runs, oldest first. One that died before its journal was whole has changed nothing, and is not among them.

    Raises:
        JournalError: when a journal cannot be read, or was written by another version.
    """
    journals = sorted((root / FOLDER / "runs").glob("*/journal.jsonl"))
    return tuple(_read(path) for path in journals)


def check_finished(root: Path) -> None:
    """Makes sure that no run waits to be finished.

    Args:
        root: the project's root.

    Raises:
        JournalError: when one was interrupted; it says how to go on. Or as `runs`.
    """
    for run in runs(root):
        if not run.is_finished:
            raise JournalError(
                f"run {run.id} was interrupted while {run.state}",
                f"finish it with `netra repair resume {run.id}` or take it back with `netra repair undo {run.id}`",
            )


@contextmanager
def locked(root: Path) -> Iterator[Journal]:
    """Holds the project's journal for writing.

    Args:
        root: the project's root.

    Yields:
        The journal.

    Raises:
        ProjectError: when another process holds it.
        OSError: when the folder cannot be made.
    """
    folder = root / FOLDER
    _make_folder(folder)
    _make_folder(folder / "runs")
    (folder / ".gitignore").write_bytes(b"*\n")
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProjectError(f"another netra repair is writing to {root}", "wait until it is done") from error
        yield Journal(root)
    finally:
        os.close(handle)


class Journal:
    """A project's journal while it is held; made by `locked`.

    Args:
        root: the project's root.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._runs = root / FOLDER / "runs"

    def find(self, run_id: str) -> Run:
        """A run by its id.

        Args:
            run_id: which.

        Returns:
            The run.

        Raises:
            JournalError: when there is none of that id, or as `runs`.
        """
        known = runs(self._root)
        for run in known:
            if run.id == run_id:
                return run
        ids = ", ".join(run.id for run in known) or "none"
        raise JournalError(f"there is no run {run_id} in {self._runs}", f"name one of these: {ids}")

    def begin(self, causes: Sequence[str], changes: Sequence[Change], tool: str, plan: bytes) -> Run:
        """Writes down what is about to be done, and waits for the disk.

        Args:
            causes: keys of the causes.
            changes: what will be written.
            tool: name and version of this tool.
            plan: the content of `plan.json`.

        Returns:
            The run, which may be carried out now.

        Raises:
            JournalError: when an earlier run has not been finished.
            OSError: when the disk refuses.
        """
        check_finished(self._root)
        self._sweep()
        now = datetime.now(UTC)
        run = Run(f"{now:%Y%m%d-%H%M%S-%f}", now.isoformat(), tool, tuple(causes), tuple(changes))
        folder = self._runs / run.id
        try:
            _make_folder(folder)
            write_new(folder / "plan.json", plan)
            # The journal appears whole or not at all.
            write_new(folder / "journal.new", _line(_Begin(SCHEMA_VERSION, run)))
            os.replace(folder / "journal.new", folder / "journal.jsonl")
            sync_folder(folder)
        except BaseException:
            self.discard(run)
            raise
        return run

    def mark(self, run: Run, state: State) -> Run:
        """Adds a state to a run's journal, and waits for the disk.

        Args:
            run: which.
            state: the new one.

        Returns:
            The run in its new state.

        Raises:
            OSError: when the disk refuses; the run keeps its state.
        """
        line = _line(_Mark(state, datetime.now(UTC).isoformat()))
        path = self._runs / run.id / "journal.jsonl"
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            end = path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(handle, end)  # what a crash left of a line
            os.pwrite(handle, line, end)
            os.fsync(handle)
        finally:
            os.close(handle)
        return replace(run, state=state)

    def discard(self, run: Run) -> None:
        """Forgets a run of which nothing is left in the project's files."""
        # First what makes it a run: without it the rest is swept by the next one.
        (self._runs / run.id / "journal.jsonl").unlink(missing_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        for folder in self._runs.iterdir():
            if not (folder / "journal.jsonl").exists():
                shutil.rmtree(folder, ignore_errors=True)


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        path.mkdir()
        sync_folder(path.parent)


def _line(record: _Begin | _Mark) -> bytes:
    return json.dumps(encoded(record)).encode("ascii") + b"\n"


def _read(path: Path) -> Run:
    # What follows the last line feed is what a crash left of a line.
    first, *marks = path.read_bytes().split(b"\n")[:-1] or [b""]
    try:
        data = json.loads(first)
        if isinstance(data, dict) and data.get("schema_version") != SCHEMA_VERSION:
            raise RecordError("schema_version", str(SCHEMA_VERSION), data.get("schema_version"))
        run = decoded(_Begin, data).run
        states = [decoded(_Mark, json.loads(mark)).state for mark in marks]
    except (ValueError, RecursionError) as error:
        raise JournalError(
            f"{path} cannot be read: {error}",
            "use the version that wrote it, or delete its folder when it need not be undone",
        ) from error
    if run.id != path.parent.name:
        raise JournalError(f"{path} is the journal of {run.id}", f"rename its folder to {run.id}")
    return replace(run, state=states[-1]) if states else run
