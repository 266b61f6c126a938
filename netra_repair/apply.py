"""Carries plans out on a project's files, all or nothing, and takes them back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netra_repair import plan_file
from netra_repair.changes import Change, Side, change_of
from netra_repair.disk import is_writable, stage, sync_folder
from netra_repair.errors import JournalError, PlanError, WriteError
from netra_repair.images import Image, images, real_path
from netra_repair.journal import FOLDER, Journal, Run, State, check_finished, locked, runs
from netra_repair.plan import Plan
from netra_repair.source import Source
from netra_repair.tree import difference


def apply(plans: Sequence[Plan], root: Path, tool: str) -> Run | None:
    """Carries out plans: every file of them, or none.

    Everything is checked and journalled before the first file is touched; then all new contents are written beside
    their files, and at last put in their places. Whatever goes wrong on the way is taken back.

    Args:
        plans: of one or several causes.
        root: the project's root.
        tool: name and version of this tool, for the journal.

    Returns:
        The run, for `undo`; None when the plans change nothing.

    Raises:
        PlanError: when a plan does not fit the files; nothing is written.
        JournalError: when an earlier run was interrupted; nothing is written.
        ProjectError: when another process is writing.
        WriteError: when the disk refuses; what was written is taken back, unless the message says otherwise.
    """
    check_finished(root)
    changed = [image for image in images(plans, root) if image.after != image.source.data]
    for image in changed:
        _prove(image, root)
    if not changed:
        return None
    with _journal(root, "no file was changed") as journal:
        causes = [plan.cause for plan in plans if plan.files]
        changes = [change_of(image) for image in changed]
        run = journal.begin(causes, changes, tool, plan_file.to_bytes(plans, tool))
        try:
            _write(_pending(run, root, Side.AFTER), Side.AFTER)
            return journal.mark(run, State.APPLIED)
        except BaseException as error:
            _take_back(journal, run, root)
            if isinstance(error, _StrayFiles):
                raise PlanError(f"{error} while the plan was applied; no file was changed", "apply it again") from error
            raise


def undo(root: Path, run_id: str) -> Run:
    """Puts back every byte that a run changed.

    Args:
        root: the project's root.
        run_id: the run, finished or interrupted; it may have been interrupted while it was undone.

    Returns:
        The run, undone.

    Raises:
        JournalError: when a file is neither as the run left it nor as it was before, then nothing is written; when
            there is no such run, or it has been undone.
        ProjectError: when another process is writing.
        WriteError: when the disk refuses; the run can be undone again.
    """
    with _journal(root, f"run {run_id} stays interrupted") as journal:
        run = journal.find(run_id)
        if run.state is State.UNDONE:
            raise JournalError(f"run {run_id} has been undone already", "there is nothing to do")
        return _carry(journal, run, root, Side.BEFORE)


def resume(root: Path, run_id: str) -> Run:
    """Finishes a run that was interrupted, so that all its files are as planned.

    Args:
        root: the project's root.
        run_id: the interrupted run.

    Returns:
        The run, applied.

    Raises:
        JournalError: when a file is neither as the run leaves it nor as it was before, then nothing is written; when
            there is no such run, or it was not interrupted.
        ProjectError: when another process is writing.
        WriteError: when the disk refuses; the run can be resumed again.
    """
    with _journal(root, f"run {run_id} stays interrupted") as journal:
        run = journal.find(run_id)
        if run.is_finished:
            raise JournalError(f"run {run_id} was not interrupted, it is {run.state}", "there is nothing to resume")
        return _carry(journal, run, root, Side.AFTER)


@dataclass(frozen=True, slots=True)
class _Work:
    """A file of a run.

    Attributes:
        change: what the run changes in it.
        real: where it lies.
        temporary: where its new content is written first.
        at: the side it was found on; None when it was on neither.
    """

    change: Change
    real: Path
    temporary: Path
    at: Side | None


class _StrayFiles(Exception):
    """Raised when files are neither as a run found them nor as it leaves them."""

    def __init__(self, works: Sequence[_Work]) -> None:
        super().__init__(works)
        self.works = works

    def __str__(self) -> str:
        gone = [work.change.path for work in self.works if not work.real.exists()]
        changed = [work.change.path for work in self.works if work.real.exists()]
        return " and ".join(
            f"{', '.join(paths)} {'have' if len(paths) > 1 else 'has'} {verb}"
            for paths, verb in ((changed, "changed"), (gone, "gone"))
            if paths
        )


@contextmanager
def _journal(root: Path, left: str) -> Iterator[Journal]:
    """The held journal; what the disk refuses inside becomes a WriteError that says what is left."""
    try:
        with locked(root) as journal:
            yield journal
    except OSError as error:
        raise WriteError(
            f"{error.filename or root} cannot be written: {error.strerror}; {left}",
            "make room or give the permission, and do it again",
        ) from error


def _prove(image: Image, root: Path) -> None:
    if not is_writable(real_path(root, image.path)):
        raise PlanError(f"{image.path} is read-only", "make it writable, or take it out of the plan")
    found = difference(image.source, Source.of(image.path, image.after), image.edits)
    if found is not None:
        raise PlanError(f"{image.path} would change in more than the plan says: {found}", "make the plan again")


def _carry(journal: Journal, run: Run, root: Path, side: Side) -> Run:
    try:
        works = _pending(run, root, side)
        if side is Side.BEFORE and run.state is not State.UNDOING:
            run = journal.mark(run, State.UNDOING)
        _write(works, side)
    except _StrayFiles as error:
        raise JournalError(f"{error} since run {run.id}; no file was changed", _remedy(error, run, root)) from error
    return journal.mark(run, State.UNDONE if side is Side.BEFORE else State.APPLIED)


def _remedy(stray: _StrayFiles, run: Run, root: Path) -> str:
    """What to do about files that changed: often it was a later run."""
    paths = {work.change.path for work in stray.works}
    for later in reversed(runs(root)):
        if later.id > run.id and later.state is State.APPLIED and paths & {change.path for change in later.changes}:
            return f"undo run {later.id} first, which changed the same files later"
    return "bring the files back to how the run left them, or change them by hand"


def _pending(run: Run, root: Path, side: Side) -> list[_Work]:
    """The files of a run that are still on the other side; nothing is left of an interrupted attempt after it."""
    works = _works(run, root)
    for work in works:
        work.temporary.unlink(missing_ok=True)
    if strays := [work for work in works if work.at is None]:
        raise _StrayFiles(strays)
    return [work for work in works if work.at is not side]


def _works(run: Run, root: Path) -> list[_Work]:
    works = []
    for index, change in enumerate(run.changes):
        try:
            real = real_path(root, change.path)
        except ValueError as error:
            raise JournalError(
                f"run {run.id}: {error}", "delete the run's folder: it is not of this project"
            ) from error
        temporary = real.with_name(f"{FOLDER}-{run.id}-{index}")
        works.append(_Work(change, real, temporary, _side(real, change)))
    return works


def _side(real: Path, change: Change) -> Side | None:
    try:
        return change.side(real.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(works: Sequence[_Work], side: Side) -> None:
    """Brings files to a side: first every new content beside its file, then all into their places."""
    try:
        for work in works:
            with _naming(work.real):
                stage(work.real, work.change.turned(_other(work, side), side), work.temporary, durable=True)
        for work in works:
            _other(work, side)  # the last look before the point of no return: an editor may have saved meanwhile
            os.replace(work.temporary, work.real)
        for folder in dict.fromkeys(work.real.parent for work in works):
            sync_folder(folder)
    finally:
        for work in works:
            work.temporary.unlink(missing_ok=True)


def _other(work: _Work, side: Side) -> bytes:
    """The bytes of a file that is still on the other side."""
    try:
        data = work.real.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _StrayFiles([work]) from error
    if work.change.side(data) is not side.other:
        raise _StrayFiles([work])
    return data


def _take_back(journal: Journal, run: Run, root: Path) -> None:
    try:
        _write([work for work in _works(run, root) if work.at is Side.AFTER], Side.BEFORE)
        journal.discard(run)
    except (OSError, _StrayFiles) as error:
        raise WriteError(
            f"the plan could not be applied, nor taken back wholly: {error}",
            f"`netra repair undo {run.id}` when the cause is gone",
        ) from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Lets an error of a file's handle say which file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
