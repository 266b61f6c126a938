"""The journal: what survives a crash, and what a damaged one may not do."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.apply import apply, resume, undo
from netra_repair.changes import Change, Side, Splice
from netra_repair.errors import JournalError
from netra_repair.journal import FOLDER, Run, State, runs
from tests.support.repair_plans import quick_folder, renaming, write_files

FILES = {"a.py": b"a = Ctx.gone\n", "pkg/b.py": b"b = Ctx.gone(1)\r\n"}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A project's folder."""
    folder = quick_folder(tmp_path)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def run(root: Path) -> Run:
    """An applied run of the project."""
    write_files(root, FILES)
    run = apply([renaming(root, FILES)], root, "netra test")
    assert run
    return run


def journal_of(root: Path, run: Run) -> Path:
    """The run's journal."""
    return root / FOLDER / "runs" / run.id / "journal.jsonl"


def test_killed_at_every_step_every_byte_can_be_brought_to_either_side(root: Path) -> None:
    """SIGKILL before every call that changes a file, in the middle of every write, and again in the repair of that."""
    # Every step of the second crash is some 3,400 trials in half a minute; here every eleventh.
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.crashes", str(root), "11"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["failures"] == []
    assert told["steps"] > 40
    assert told["trials"] > 2 * told["steps"]


def test_every_content_is_on_the_disk_before_it_is_needed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is synced before a file is touched, a file before it takes its place, its folder before the mark."""
    write_files(root, FILES)
    told: list[tuple[str, str]] = []

    def named(handle: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{handle}")).relative_to(root).as_posix()

    def fsync(handle: int, call: Any = os.fsync) -> None:
        told.append(("sync", named(handle)))
        call(handle)

    def replace(source: Path, target: Path, call: Any = os.replace) -> None:
        told.append(("replace", Path(target).relative_to(root).as_posix()))
        call(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    run = apply([renaming(root, FILES)], root, "netra test")
    assert run
    folder = f"{FOLDER}/runs/{run.id}"
    new = [f".netra-repair-{run.id}-0", f"pkg/.netra-repair-{run.id}-1"]
    assert told == [
        ("sync", "."),
        ("sync", FOLDER),
        ("sync", f"{FOLDER}/runs"),
        ("sync", f"{folder}/plan.json"),
        ("sync", f"{folder}/journal.new"),
        ("replace", f"{folder}/journal.jsonl"),
        ("sync", folder),
        ("sync", new[0]),
        ("sync", new[1]),
        ("replace", "a.py"),
        ("replace", "pkg/b.py"),
        ("sync", "."),
        ("sync", "pkg"),
        ("sync", f"{folder}/journal.jsonl"),
    ]


def test_git_does_not_see_the_state_folder(root: Path, run: Run) -> None:
    """A journal is nobody's change to commit."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("no git here")
    subprocess.run([git, "init", "-q"], cwd=root, check=True)
    seen = subprocess.run([git, "status", "--porcelain"], cwd=root, capture_output=True, check=True, text=True)
    assert run.is_finished
    assert seen.stdout == "?? a.py\n?? pkg/\n"


def test_runs_are_told_in_order_with_what_they_did(root: Path, run: Run) -> None:
    """Id, time, tool, causes, files and state of every run, oldest first."""
    later = apply([renaming(root, FILES, "found", "lost")], root, "netra later")
    assert later
    undo(root, later.id)
    told = [(one.id, one.tool, one.causes, len(one.changes), one.state) for one in runs(root)]
    assert told == [
        (run.id, "netra test", ("pkg.ctx.Ctx.gone",), 2, State.APPLIED),
        (later.id, "netra later", ("pkg.ctx.Ctx.found",), 2, State.UNDONE),
    ]
    assert runs(root / "pkg") == ()


@pytest.mark.parametrize("rest", [b"{", b'{"state": "applied", "at": "2026', b"\0" * 500, b""])
def test_what_a_crash_left_of_a_line_is_no_state(root: Path, run: Run, rest: bytes) -> None:
    """A line without its end was not written; the run goes on from the state before, and the next line is whole."""
    journal = journal_of(root, run)
    journal.write_bytes(journal.read_bytes().split(b"\n")[0] + b"\n" + rest)
    assert runs(root)[0].state is State.WRITING
    assert resume(root, run.id).state is State.APPLIED
    assert runs(root) == (run,)
    assert journal.read_bytes().count(b"\n") == 2


def test_a_run_without_a_whole_journal_is_none(root: Path, run: Run) -> None:
    """What died before its journal was in place has changed nothing, and is swept away by the next run."""
    half = root / FOLDER / "runs" / "20200101-000000-000000"
    write_files(half, {"journal.new": b"{", "plan.json": b"{"})
    assert runs(root) == (run,)
    apply([renaming(root, FILES, "found", "lost")], root, "netra test")
    assert not half.exists()


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"schema_version": 2, "run": {}}', b"\xff"])
def test_a_journal_that_cannot_be_read_is_named(root: Path, run: Run, line: bytes) -> None:
    """It is neither skipped nor guessed at, and the error says which file."""
    journal_of(root, run).write_bytes(line + b"\n")
    with pytest.raises(JournalError, match=rf"{run.id}/journal\.jsonl cannot be read"):
        runs(root)


def changed_journal(root: Path, run: Run, **fields: object) -> None:
    """Changes the first file's entry in the journal."""
    first, *rest = journal_of(root, run).read_bytes().split(b"\n")
    record = json.loads(first)
    record["run"]["changes"][0].update(fields)
    journal_of(root, run).write_bytes(b"\n".join([json.dumps(record).encode(), *rest]))


def test_a_journal_cannot_reach_out_of_the_project(root: Path, run: Run) -> None:
    """A journal that came along with somebody's project writes to no file outside of it."""
    inside = {path: (root / path).read_bytes() for path in FILES}
    for path in ("../outside.py", "/tmp/outside.py"):  # noqa: S108  # never written
        changed_journal(root, run, path=path)
        with pytest.raises(JournalError, match="expected a path relative to the project's root"):
            undo(root, run.id)
    assert {path: (root / path).read_bytes() for path in FILES} == inside


def test_a_journal_with_other_bytes_restores_nothing(root: Path, run: Run) -> None:
    """What would be written has to have the digest of what was there before."""
    inside = {path: (root / path).read_bytes() for path in FILES}
    changed_journal(root, run, splices=[{"start": 8, "old": "ZXZpbA==", "new": "Zm91bmQ="}])
    with pytest.raises(JournalError, match=r"the journal of a\.py does not give the bytes before"):
        undo(root, run.id)
    assert {path: (root / path).read_bytes() for path in FILES} == inside


@given(parts=st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=5), st.binary(max_size=5)), max_size=6))
def test_splices_lead_there_and_back(parts: list[tuple[bytes, bytes, bytes]]) -> None:
    """From either side's bytes the other side's are made, whatever grows, shrinks or touches."""
    before = b"".join(kept + old for kept, old, _ in parts)
    after = b"".join(kept + new for kept, _, new in parts)
    splices, at = [], 0
    for kept, old, new in parts:
        splices.append(Splice(at + len(kept), old, new))
        at += len(kept) + len(old)
    digest, other = (hashlib.sha256(data).hexdigest() for data in (before, after))
    change = Change("x.py", digest, other, tuple(splices))
    if before != after:
        assert change.turned(before, Side.AFTER) == after
        assert change.turned(after, Side.BEFORE) == before
