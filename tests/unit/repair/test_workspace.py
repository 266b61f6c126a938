"""Workspaces: real copies that are gone afterwards, and a project that stays as it was."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from netra_repair.errors import ProjectError
from netra_repair.project import Project
from netra_repair.workspace import Workspace
from tests.support.repair_plans import AWKWARD, write_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project's folder."""
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workspaces are made in a test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def project_of(root: Path, *search_paths: str) -> Project:
    """The folder as a project: every Python file outside of hidden folders is a source."""
    sources = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    return Project(
        root=root,
        python=Path(sys.executable),
        python_version="3.11.7",
        search_paths=tuple(root / path for path in search_paths or ("",)),
        site_packages=(root / ".venv/lib",),
        sources=tuple(sources),
        left_out=(),
    )


def files_below(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_copy_holds_the_files_to_the_byte_with_their_modes(root: Path) -> None:
    """Sources, data and empty folders come along, with their modes and times; nothing is shared with the original."""
    write_files(root, {**AWKWARD, "data/big.bin": bytes(300_000), "run.sh": b"#!/bin/sh\n", ".env": b"A=1\n"})
    (root / "run.sh").chmod(0o755)
    (root / "locked.txt").write_bytes(b"x")
    (root / "locked.txt").chmod(0o444)
    (root / "empty").mkdir()
    os.utime(root / "run.sh", (1e9, 1e9))
    with Workspace(project_of(root)) as workspace:
        assert files_below(workspace.root) == files_below(root)
        assert (workspace.root / "empty").is_dir()
        assert stat.S_IMODE((workspace.root / "run.sh").stat().st_mode) == 0o755
        assert stat.S_IMODE((workspace.root / "locked.txt").stat().st_mode) == 0o444
        assert (workspace.root / "run.sh").stat().st_mtime == 1e9
        (workspace.root / "data/big.bin").write_bytes(b"changed")
        (workspace.root / "plain.py").unlink()
        assert files_below(root)["data/big.bin"] == bytes(300_000)
        assert files_below(root)["plain.py"] == AWKWARD["plain.py"]


def test_what_tests_do_to_the_copy_is_taken_back(root: Path) -> None:
    """New files, folders and links go, what was changed or removed comes back; sources keep the changes from before."""
    write_files(root, {"shop.py": b"a = 1\n", "stock.py": b"b = 1\n", "pkg/gone.py": b"c = 1\n", "pkg/kept.py": b""})
    write_files(root, {"data/a.txt": b"a", "data/b.txt": b"b", "more/c.txt": b"c"})
    (root / "link").symlink_to("data/a.txt")
    (root / "tool.sh").write_bytes(b"#!/bin/sh\n")
    (root / "tool.sh").chmod(0o755)
    with Workspace(project_of(root)) as workspace:
        copy = workspace.root
        for path in ("shop.py", "pkg/gone.py"):
            (copy / path).write_bytes(b"mended\n")
        with workspace.as_it_is():
            write_files(copy, {"new.txt": b"", "out/deep/new.txt": b"", "data/new.py": b"", "shop.py": b"by a test\n"})
            (copy / "stock.py").write_bytes(b"by a test\n")
            shutil.rmtree(copy / "pkg")
            (copy / "data/c").symlink_to(root / "data")
            (copy / "data/a.txt").write_bytes(b"A")
            (copy / "data/b.txt").unlink()
            shutil.rmtree(copy / "more")
            (copy / "link").unlink()
            (copy / "link").mkdir()
            (copy / "tool.sh").chmod(0o644)
            (copy / "data").chmod(0)
        mended = {"shop.py": b"mended\n", "pkg/gone.py": b"mended\n"}
        assert files_below(copy) == {**files_below(root), **mended}
        assert os.readlink(copy / "link") == "data/a.txt"
        assert stat.S_IMODE((copy / "tool.sh").stat().st_mode) == 0o755
        assert stat.S_IMODE((copy / "data").stat().st_mode) & 0o700 == 0o700
        assert not (copy / "out").exists()
        assert files_below(root)["data/a.txt"] == b"a"


def test_no_link_that_a_test_made_is_followed(root: Path, tmp_path: Path) -> None:
    """What stands behind a link keeps its content and its mode, whatever folder the link has replaced."""
    write_files(root, {"data/sub/a.txt": b"a", "loop/b.txt": b"b"})
    write_files(tmp_path, {"other/sub/a.txt": b"theirs"})
    (tmp_path / "other/sub").chmod(0o500)
    with Workspace(project_of(root)) as workspace, workspace.as_it_is():
        for name, target in (("data", str(tmp_path / "other")), ("loop", "loop")):
            shutil.rmtree(workspace.root / name)
            (workspace.root / name).symlink_to(target)
    assert files_below(tmp_path / "other") == {"sub/a.txt": b"theirs"}
    assert stat.S_IMODE((tmp_path / "other/sub").stat().st_mode) == 0o500


def test_a_source_that_a_test_swaps_is_not_written_through(root: Path, tmp_path: Path) -> None:
    """An edited source comes back with content and mode, whatever stands in its place; what that leads to stays."""
    write_files(tmp_path, {"theirs.py": b"theirs\n"})
    write_files(root, {"linked.py": b"", "hard.py": b"", "quiet.py": b"a = 1\n", "run.py": b"", "as_folder.py": b""})
    with Workspace(project_of(root)) as workspace:
        copy = workspace.root
        for path in ("linked.py", "hard.py", "run.py", "as_folder.py"):
            (copy / path).write_bytes(b"edited\n")
        (copy / "run.py").chmod(0o755)
        with workspace.as_it_is():
            for path in ("linked.py", "hard.py", "run.py", "as_folder.py"):
                (copy / path).unlink()
            (copy / "linked.py").symlink_to(tmp_path / "theirs.py")
            os.link(tmp_path / "theirs.py", copy / "hard.py")
            (copy / "run.py").write_bytes(b"other!\n")
            (copy / "as_folder.py").mkdir()
            times = (copy / "quiet.py").stat()
            (copy / "quiet.py").write_bytes(b"a = 2\n")
            os.utime(copy / "quiet.py", ns=(times.st_atime_ns, times.st_mtime_ns))
        edited = dict.fromkeys(("linked.py", "hard.py", "run.py", "as_folder.py"), b"edited\n")
        assert files_below(copy) == {**edited, "quiet.py": b"a = 1\n"}
        assert not (copy / "linked.py").is_symlink()
        assert stat.S_IMODE((copy / "run.py").stat().st_mode) == 0o755
    assert (tmp_path / "theirs.py").read_bytes() == b"theirs\n"


def test_the_folder_above_the_copy_is_put_right_too(root: Path) -> None:
    """A link to the project in place of the copy's own folder leads nobody into the project."""
    write_files(root, {"shop.py": b"a = 1\n"})
    with Workspace(project_of(root)) as workspace:
        (workspace.root / "shop.py").write_bytes(b"edited\n")
        with workspace.as_it_is():
            shutil.rmtree(workspace.root.parent)
            workspace.root.parent.symlink_to(root.parent)
        assert files_below(workspace.root) == {"shop.py": b"edited\n"}
    assert files_below(root) == {"shop.py": b"a = 1\n"}


def test_a_copy_that_is_gone_comes_back(root: Path) -> None:
    """Tests may remove the whole copy; what the project has lost meanwhile stays as the copy had it."""
    write_files(root, {"shop.py": b"a = 1\n", "data/a.txt": b"a", "b.txt": b"b"})
    with Workspace(project_of(root)) as workspace:
        (root / "b.txt").unlink()
        with workspace.as_it_is():
            (workspace.root / "b.txt").write_bytes(b"changed")
        assert files_below(workspace.root) == {"shop.py": b"a = 1\n", "data/a.txt": b"a", "b.txt": b"changed"}
        with workspace.as_it_is():
            shutil.rmtree(workspace.root)
        assert files_below(workspace.root) == {"shop.py": b"a = 1\n", "data/a.txt": b"a"}


def test_what_cannot_be_taken_back_is_told(root: Path) -> None:
    """A file of the project that became a folder meanwhile cannot be copied again: a clear error, no traceback."""
    write_files(root, {"shop.py": b"", "a.txt": b"a"})
    with Workspace(project_of(root)) as workspace:
        (root / "a.txt").unlink()
        (root / "a.txt").mkdir()
        with pytest.raises(ProjectError, match="cannot be taken back"), workspace.as_it_is():
            (workspace.root / "a.txt").unlink()


LEFT_OUT: Mapping[str, bytes] = {
    ".git/HEAD": b"",
    "sub/.git": b"gitdir: elsewhere",
    "env/pyvenv.cfg": b"",
    "env/lib/python/site-packages/x.py": b"",
    "conda/conda-meta/history": b"",
    "web/node_modules/x/index.js": b"",
    "pkg/__pycache__/a.pyc": b"",
    ".mypy_cache/x": b"",
    ".pytest_cache/x": b"",
    ".ruff_cache/x": b"",
    ".tox/py/x": b"",
    ".nox/py/x": b"",
    ".netra-repair/runs/1/journal.jsonl": b"",
    "build/lib/x.txt": b"",
    "dist/x.whl": b"",
}


def test_what_is_no_part_of_the_project_stays_behind(root: Path) -> None:
    """Version control, environments, caches and outputs of builds are not copied; packages of such names are."""
    own = {"pkg/a.py": b"", "pkg/build/b.py": b"", "pkg/dist/c.txt": b"", "sub/d.py": b"", "env.py": b""}
    write_files(root, {**own, **LEFT_OUT})
    with Workspace(project_of(root)) as workspace:
        assert files_below(workspace.root) == own
        assert workspace.notes == ("tests ran in a copy without .git; those that call git see no repository",)


def test_a_package_called_build_is_no_output(root: Path) -> None:
    """A folder at the top with sources of the project in it comes along whatever it is called."""
    write_files(root, {"build/__init__.py": b"", "build/data.txt": b"x"})
    with Workspace(project_of(root)) as workspace:
        assert files_below(workspace.root) == {"build/__init__.py": b"", "build/data.txt": b"x"}
        assert workspace.notes == ()


def test_links_inside_lead_to_the_copy_and_links_outside_stay(root: Path) -> None:
    """No link of the copy leads back into the project, a link to data elsewhere finds it, no cycle is followed."""
    write_files(root, {"a.py": b"1", "pkg/b.py": b"2"})
    outside = root.parent / "outside"
    write_files(outside, {"data.txt": b"3"})
    (root / "near.py").symlink_to("a.py")
    (root / "pkg/up.py").symlink_to("../a.py")
    (root / "absolute.py").symlink_to(root / "pkg/b.py")
    (root / "folder").symlink_to(root / "pkg")
    (root / "pkg/cycle").symlink_to("..")
    (root / "broken").symlink_to("nowhere")
    (root / "data").symlink_to("../outside")
    with Workspace(project_of(root)) as workspace:
        copy = workspace.root
        assert (copy / "near.py").resolve() == copy / "a.py"
        assert (copy / "pkg/up.py").resolve() == copy / "a.py"
        assert (copy / "absolute.py").resolve() == copy / "pkg/b.py"
        assert (copy / "folder").resolve() == copy / "pkg"
        assert (copy / "pkg/cycle").resolve() == copy
        assert (copy / "broken").is_symlink()
        assert (copy / "data/data.txt").resolve() == outside / "data.txt"
    assert (outside / "data.txt").read_bytes() == b"3"


def test_sockets_and_pipes_are_passed_over(root: Path) -> None:
    """What has no content and would block a reader is not copied."""
    write_files(root, {"a.py": b""})
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.getcwd()
        os.chdir(root)  # the path of a socket is short
        server.bind("socket")
        os.chdir(folder)
        with Workspace(project_of(root)) as workspace:
            assert os.listdir(workspace.root) == ["a.py"]


def test_the_copy_is_a_project_of_its_own(root: Path) -> None:
    """Import roots lead into the copy, the interpreter and the installed packages are those of the project."""
    write_files(root, {"src/pkg/a.py": b"", "tests/test_a.py": b""})
    project = project_of(root, "", "src")
    with Workspace(project) as workspace:
        copy = workspace.root
        assert workspace.project == replace(project, root=copy, search_paths=(copy, copy / "src"))
        assert copy.name == root.name
        assert workspace.project.module_of("src/pkg/a.py") == project.module_of("src/pkg/a.py")


def test_a_project_that_is_too_large_is_refused_before_anything_is_copied(root: Path, temporary: Path) -> None:
    """The limit counts what would be copied, and the error says how much that is and what to do."""
    write_files(root, {"a.py": b"x" * 600, "env/pyvenv.cfg": b"y" * 10_000})
    with Workspace(project_of(root), limit=600):
        pass
    with pytest.raises(ProjectError, match="GiB are copied; work on a checkout without the data"):
        Workspace(project_of(root), limit=599).__enter__()
    assert os.listdir(temporary) == []


def leave_by(error: type[BaseException], root: Path) -> None:
    """Makes a workspace, leaves a folder without permissions in it, and raises."""
    with Workspace(project_of(root)) as workspace:
        shut = workspace.root / "shut"
        write_files(shut, {"x": b""})
        shut.chmod(0)
        raise error


def test_nothing_is_left_after_an_exception(root: Path, temporary: Path) -> None:
    """Whatever ends the block, and whatever the tests left in the copy, the copy is gone."""
    write_files(root, {"a.py": b""})
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            leave_by(error, root)
        assert os.listdir(temporary) == []


def test_a_file_that_cannot_be_copied_leaves_nothing(
    root: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the middle of copying is told with the file, and what was copied is removed."""
    write_files(root, {"a.py": b"whole"})

    def fail(source: Path, target: Path) -> None:
        target.write_bytes(b"hal")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))

    monkeypatch.setattr(shutil, "copy2", fail)
    with pytest.raises(ProjectError, match=r"a\.py: No space left on device"):
        Workspace(project_of(root)).__enter__()
    assert os.listdir(temporary) == []


def test_a_workspace_in_a_thread_leaves_signals_alone(root: Path) -> None:
    """Only the main thread may set handlers; elsewhere the copy is made without."""
    write_files(root, {"a.py": b""})
    seen: list[object] = []
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with Workspace(project_of(root)):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


KILLED = """
import sys, tempfile
from pathlib import Path
from netra_repair.project import Project
from netra_repair.workspace import Workspace
tempfile.tempdir = sys.argv[2]
root = Path(sys.argv[1])
with Workspace(Project(root, Path(sys.executable), "3.11.7", (root,), (), ("a.py",), ())) as workspace:
    print(workspace.root, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_ends_the_program_ends_the_copy(root: Path, temporary: Path, number: signal.Signals) -> None:
    """A stopped program removes its copy, and still ends as one that was stopped."""
    write_files(root, {"a.py": b""})
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root), str(temporary)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as program:
        assert program.stdout
        copy = Path(os.fsdecode(program.stdout.readline().rstrip()))
        assert (copy / "a.py").exists()
        program.send_signal(number)
        assert program.wait() in (128 + number, -number)
    assert os.listdir(temporary) == []
