"""Applying and undoing: all or nothing, to the byte, whatever the disk says."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netra_repair import plan_file
from netra_repair.apply import apply, resume, undo
from netra_repair.edits import Edit
from netra_repair.errors import JournalError, PlanError, ProjectError, WriteError
from netra_repair.journal import FOLDER, Run, State, locked, runs
from netra_repair.plan import Plan
from tests.support.repair_plans import AWKWARD, quick_folder, renaming, write_files

FILES = {"a.py": b"a = Ctx.gone\n", "pkg/b.py": b"b = Ctx.gone(1)\r\n", "pkg/sub/c.py": b"# c\nc = Ctx.gone"}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A project's folder."""
    folder = quick_folder(tmp_path)
    yield folder
    shutil.rmtree(folder)


def held(root: Path) -> dict[str, bytes]:
    """Every file of the project, left-over temporary ones included, the state folder not."""
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(f"{FOLDER}/")}


def applied(root: Path, plan: Plan) -> Run:
    """Applies a plan that changes something."""
    run = apply([plan], root, "netra test")
    assert run
    return run


def test_awkward_files_change_by_the_plan_alone_and_come_back_to_the_byte(root: Path) -> None:
    """Byte order marks, line ends, encodings, form feeds, separators and ends of files survive both ways."""
    files = {path: data for path, data in AWKWARD.items() if path != "mixed.py"}
    files["large.py"] = (b"x = '" + b"filler " * 15_000 + b"'\n") * 50 + b"y = Ctx.gone\n"
    write_files(root, files)
    run = applied(root, renaming(root, files, new="come_back"))
    assert held(root) == {path: data.replace(b".gone", b".come_back") for path, data in files.items()}
    assert (run.state, runs(root)) == (State.APPLIED, (run,))
    assert (root / FOLDER / "runs" / run.id / "journal.jsonl").stat().st_size < 50_000
    assert undo(root, run.id).state is State.UNDONE
    assert held(root) == files


def test_mode_owner_and_attributes_stay(root: Path) -> None:
    """A replaced file is still executable, still its owner's, and keeps its extended attributes where there are any."""
    write_files(root, FILES)
    (root / "a.py").chmod(0o751)
    if os.geteuid() == 0:
        os.chown(root / "a.py", 12345, 54321)
    with suppress(OSError):
        os.setxattr(root / "a.py", "user.colour", b"blue")
    before, attributes = (root / "a.py").stat(), os.listxattr(root / "a.py")
    run = applied(root, renaming(root, FILES))
    for _ in range(2):
        after = (root / "a.py").stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert os.listxattr(root / "a.py") == attributes
        with suppress(JournalError):
            undo(root, run.id)


def test_nothing_to_change_leaves_no_trace(root: Path) -> None:
    """A plan without edits is no run, and makes no folder."""
    write_files(root, FILES)
    empty = renaming(root, FILES, old="never_there")
    assert apply([empty], root, "netra test") is None
    assert apply([], root, "netra test") is None
    assert set(os.listdir(root)) == {"a.py", "pkg"}


def test_a_plan_that_does_not_fit_one_file_changes_none(root: Path) -> None:
    """The digests of all files are looked at before the first is touched."""
    write_files(root, FILES)
    plan = renaming(root, FILES)
    (root / "pkg/sub/c.py").write_bytes(b"# C\nc = Ctx.gone")
    changed = held(root)
    with pytest.raises(PlanError, match=r"pkg/sub/c\.py has changed since the plan was made"):
        apply([plan], root, "netra test")
    assert held(root) == changed
    assert runs(root) == ()


def test_a_read_only_file_is_refused(root: Path) -> None:
    """What is not meant to be written is not replaced either, though the folder would allow it."""
    write_files(root, FILES)
    (root / "pkg/b.py").chmod(0o444)
    with pytest.raises(PlanError, match=r"pkg/b\.py is read-only"):
        apply([renaming(root, FILES)], root, "netra test")
    assert held(root) == FILES


def test_edits_that_mean_more_than_the_plan_says_are_refused(root: Path) -> None:
    """A plan whose text was changed by hand into another statement fits the bytes, but not the syntax tree."""
    write_files(root, {"a.py": b"Ctx.gone\n"})
    plan = renaming(root, ["a.py"])
    site = plan.files[0].sites[0]
    smuggled = replace(site, edits=(Edit(site.edits[0].span, "found; import os"),), after="found; import os")
    with pytest.raises(PlanError, match=r"a\.py would change in more than the plan says"):
        apply([replace(plan, files=(replace(plan.files[0], sites=(smuggled,)),))], root, "netra test")
    assert held(root) == {"a.py": b"Ctx.gone\n"}


def test_a_plan_file_is_applied_without_the_sites_a_person_took_out(root: Path) -> None:
    """From planning by way of a file and a person to the bytes."""
    write_files(root, {"a.py": b"Ctx.gone\nCtx.gone\n"})
    (plan,) = plan_file.from_bytes(plan_file.to_bytes([renaming(root, ["a.py"])], "netra test"), "plan")
    kept = replace(plan, files=(replace(plan.files[0], sites=plan.files[0].sites[1:]),))
    run = applied(root, kept)
    assert held(root) == {"a.py": b"Ctx.gone\nCtx.found\n"}
    assert plan_file.read(root / FOLDER / "runs" / run.id / "plan.json") == (kept,)


def test_the_real_file_is_replaced_not_the_link_to_it(root: Path) -> None:
    """A link inside the project stays a link."""
    write_files(root, {"real/a.py": b"Ctx.gone\n"})
    (root / "link.py").symlink_to("real/a.py")
    applied(root, renaming(root, ["link.py"]))
    assert (root / "link.py").is_symlink()
    assert (root / "real/a.py").read_bytes() == b"Ctx.found\n"


def test_a_name_of_equal_length_does_not_leave_compiled_code_of_the_other(root: Path) -> None:
    """Python compares size and whole second; both contents are run though they come within the same second."""
    write_files(root, {"probe.py": b"class C:\n    gone = 'gone'\n    back = 'back'\n\n\nprint(C.gone)\n"})
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    told, seconds = [], []

    def look() -> None:
        program = [sys.executable, "-c", "import sys; sys.path.insert(0, '.'); import probe"]
        done = subprocess.run(program, cwd=root, env=environment, capture_output=True, check=True, text=True)
        told.append(done.stdout.strip())
        seconds.append(int((root / "probe.py").stat().st_mtime))

    look()
    for _ in range(2):
        run = applied(root, renaming(root, ["probe.py"], new="back"))
        look()
        undo(root, run.id)
        look()
    assert told == ["gone", "back", "gone", "back", "gone"]
    assert seconds == sorted(set(seconds))


def test_what_an_editor_saves_at_the_last_moment_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes while the new contents are written is left as the editor left it, and nothing is applied."""
    write_files(root, FILES)
    plan = renaming(root, FILES)

    def fchmod(handle: int, mode: int, call: Callable[[int, int], None] = os.fchmod) -> None:
        (root / "a.py").write_bytes(b"a = 'typed'\n")
        call(handle, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fchmod", fchmod)
        with pytest.raises(PlanError, match=r"a\.py has changed while the plan was applied; no file was changed"):
            apply([plan], root, "netra test")
    assert held(root) == {**FILES, "a.py": b"a = 'typed'\n"}
    assert runs(root) == ()
    write_files(root, FILES)
    run = applied(root, plan)
    after = held(root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fchmod", fchmod)
        with pytest.raises(JournalError, match=r"a\.py has changed since run"):
            undo(root, run.id)
    assert held(root) == {**after, "a.py": b"a = 'typed'\n"}


def test_undo_touches_nothing_when_one_file_has_changed_since(root: Path) -> None:
    """Somebody's later work is not thrown away, and no half is taken back."""
    write_files(root, FILES)
    run = applied(root, renaming(root, FILES))
    (root / "pkg/b.py").write_bytes(b"b = Ctx.found(2)\r\n")
    (root / "a.py").unlink()
    changed = held(root)
    with pytest.raises(JournalError, match=rf"pkg/b\.py has changed and a\.py has gone since run {run.id}"):
        undo(root, run.id)
    assert held(root) == changed
    assert runs(root) == (run,)


def test_undo_names_the_later_run_that_is_in_the_way(root: Path) -> None:
    """Runs over the same files are undone from the last to the first."""
    write_files(root, FILES)
    first = applied(root, renaming(root, FILES))
    second = applied(root, renaming(root, FILES, "found", "lost"))
    with pytest.raises(JournalError, match=f"undo run {second.id} first"):
        undo(root, first.id)
    undo(root, second.id)
    undo(root, first.id)
    assert held(root) == FILES
    assert [run.state for run in runs(root)] == [State.UNDONE, State.UNDONE]


def test_undo_of_files_that_are_back_already_is_done(root: Path) -> None:
    """A file that version control has brought back needs nothing more."""
    write_files(root, FILES)
    run = applied(root, renaming(root, FILES))
    write_files(root, {"a.py": FILES["a.py"]})
    undo(root, run.id)
    assert held(root) == FILES


def test_runs_that_cannot_be_undone_or_resumed_say_why(root: Path) -> None:
    """Unknown, already undone, not interrupted."""
    write_files(root, FILES)
    run = applied(root, renaming(root, FILES))
    with pytest.raises(JournalError, match=f"there is no run nonsense .* name one of these: {run.id}"):
        undo(root, "nonsense")
    with pytest.raises(JournalError, match="was not interrupted, it is applied"):
        resume(root, run.id)
    undo(root, run.id)
    with pytest.raises(JournalError, match="has been undone already"):
        undo(root, run.id)
    with pytest.raises(JournalError, match="was not interrupted, it is undone"):
        resume(root, run.id)


def test_two_cannot_write_at_once(root: Path) -> None:
    """While one holds the journal, every other is told so and changes nothing."""
    write_files(root, FILES)
    run = applied(root, renaming(root, FILES))
    plan = renaming(root, FILES, "found", "lost")
    after = held(root)
    with locked(root):
        attempts = (partial(apply, [plan], root, "t"), partial(undo, root, run.id), partial(resume, root, run.id))
        for attempt in attempts:
            with pytest.raises(ProjectError, match="another netra repair is writing"):
                attempt()
    assert held(root) == after
    applied(root, plan)


class Failing:
    """Makes the nth call that changes a file fail, or every one from it on."""

    def __init__(self, at: int, error: BaseException, *, lasting: bool) -> None:
        self.at = at
        self.error = error
        self.lasting = lasting
        self.calls = 0

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call that may fail."""

        def failing(*args: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.at + 1 or (self.lasting and self.calls > self.at):
                raise self.error
            return call(*args, **named)

        return failing


CALLS = ("open", "write", "pwrite", "fsync", "fchmod", "ftruncate", "replace", "unlink", "mkdir")


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.EROFS, "Read-only file system"), True),
        (KeyboardInterrupt(), False),
    ],
    ids=["once", "lasting", "interrupt"],
)
def test_whatever_fails_the_files_are_as_before_or_can_be_brought_back(
    root: Path, error: BaseException, lasting: bool
) -> None:
    """An error at any step leaves the old bytes; where even taking back fails, it says so, and undo does it later."""
    taken_back = 0
    for step in range(1000):
        project = root / str(step)
        write_files(project, FILES)
        failing = Failing(step, error, lasting=lasting)
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, failing.wrap(getattr(os, name)))
            try:
                run = apply([renaming(project, FILES)], project, "netra test")
                break
            except (WriteError, KeyboardInterrupt) as caught:
                told = str(caught)
        if left := runs(project):
            assert lasting or isinstance(error, KeyboardInterrupt), told
            undo(project, left[0].id)
        else:
            taken_back += 1
        assert held(project) == FILES, told
    else:
        pytest.fail("no end of steps")
    assert run
    assert held(project) == {path: data.replace(b"gone", b"found") for path, data in FILES.items()}
    assert step > 40
    assert taken_back > 10


LIMITED = """
import os, resource, sys
from pathlib import Path
from netra_repair.apply import apply
from netra_repair.errors import WriteError
from tests.support.repair_plans import renaming
root = Path(sys.argv[1])
plan = renaming(root, sys.argv[4:])
limit, user = int(sys.argv[2]), int(sys.argv[3])
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    apply([plan], root, "netra test")
except WriteError as error:
    print(error)
"""


def limited(root: Path, *, size: int = 0, user: int = 0) -> str:
    """What applying says in a process that may write no larger file, or that is another user."""
    program = [sys.executable, "-c", LIMITED, str(root), str(size), str(user), *FILES, "large.py"]
    folder = Path(__file__).parents[3]
    return subprocess.run(program, cwd=folder, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize("size", [100_000, 100])
def test_a_full_disk_changes_nothing(root: Path, size: int) -> None:
    """When the content of one file, or the journal itself, does not fit, every file is as before and no run is left."""
    files = {**FILES, "large.py": b"x = '" + b"filler " * 20_000 + b"'\ny = Ctx.gone\n"}
    write_files(root, files)
    told = limited(root, size=size)
    assert "File too large; no file was changed; make room" in told
    assert ("large.py" in told) == (size > 100)
    assert held(root) == files
    assert runs(root) == ()
    applied(root, renaming(root, files))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_folder_that_may_not_be_written_changes_nothing(root: Path) -> None:
    """A file that could be changed in a folder that may not be is refused by name, and the others stay as they were."""
    files = {**FILES, "large.py": b"y = Ctx.gone\n"}
    write_files(root, files)
    for path in [root, *root.rglob("*")]:
        os.chown(path, 65534, 65534)
    (root / "pkg/sub").chmod(stat.S_IRUSR | stat.S_IXUSR)
    told = limited(root, user=65534)
    assert "pkg/sub/" in told
    assert "Permission denied; no file was changed" in told
    assert held(root) == files
    assert runs(root) == ()


def test_limits_are_what_the_tests_believe() -> None:
    """A process without a limit on the size of files is the ground the tests above stand on."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] in (resource.RLIM_INFINITY, 2**63 - 1)
