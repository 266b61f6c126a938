"""A backup of an SQLite file is the database of one moment, whatever is written meanwhile; it replaces no file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from netra_backend.app.db import backup as backup_module
from netra_backend.app.db.backup import BackupError, back_up
from netra_backend.app.db.errors import DatabaseOpenError

ROWS = 500


@pytest.fixture
def source(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database in WAL with a few dozen pages, and who writes to it."""
    with closing(sqlite3.connect(tmp_path / "source", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("CREATE TABLE pairs (number INTEGER PRIMARY KEY, text TEXT)")
        connection.executemany("INSERT INTO pairs VALUES (?, ?)", [(number, "x" * 400) for number in range(ROWS)])
        yield connection


def _texts(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {text for (text,) in connection.execute("SELECT DISTINCT text FROM pairs")}


def test_commits_do_not_make_it_begin_anew(
    source: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a commit between any two steps each step comes nearer to the end, and the copy is of one moment."""
    monkeypatch.setattr(backup_module, "PAGES_PER_STEP", 2)
    left: list[int] = []

    def write(remaining: int, total: int) -> None:
        left.append(remaining)
        source.execute("UPDATE pairs SET text = ?", (f"{len(left)}".rjust(400),))
        assert len(left) <= total

    back_up(tmp_path / "source", tmp_path / "copy", progress=write)
    assert len(left) > 10
    assert left == sorted(left, reverse=True)
    assert _texts(tmp_path / "copy") == {"x" * 400}
    assert _texts(tmp_path / "source") == {f"{len(left)}".rjust(400)}


def test_it_is_one_private_file(source: sqlite3.Connection, tmp_path: Path) -> None:
    """Nothing beside it is left, and only its owner can read it, whatever the umask."""
    before = os.umask(0)
    try:
        size = back_up(tmp_path / "source", tmp_path / "copy")
    finally:
        os.umask(before)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "copy").stat().st_size == size > 100_000
    assert {path.name for path in tmp_path.iterdir()} == {"source", "source-wal", "source-shm", "copy"}


@pytest.mark.parametrize("name", ["copy", "copy.partial"])
def test_it_replaces_nothing(source: sqlite3.Connection, tmp_path: Path, name: str) -> None:
    """A file of its name, or one that another backup is writing, is left as it is, and told."""
    (tmp_path / name).write_text("precious")
    with pytest.raises(BackupError, match=rf"{name}: expected .* got"):
        back_up(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / name).read_text() == "precious"
    assert len(list(tmp_path.glob("copy*"))) == 1


def test_a_file_that_comes_meanwhile_is_not_replaced(
    source: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is taken in one step at the end, so that of two who want it one is told no."""

    def take(_remaining: int, _total: int) -> None:
        (tmp_path / "copy").write_text("quicker")

    with pytest.raises(BackupError, match="existing file"):
        back_up(tmp_path / "source", tmp_path / "copy", progress=take)
    assert (tmp_path / "copy").read_text() == "quicker"
    assert len(list(tmp_path.glob("copy*"))) == 1


def test_what_cannot_be_copied_is_told(tmp_path: Path) -> None:
    """No database, a folder that is not there, and a damaged file are told apart, and leave nothing."""
    with pytest.raises(DatabaseOpenError, match=r"expected a database at .*nowhere, got no such file"):
        back_up(tmp_path / "nowhere", tmp_path / "copy")
    (tmp_path / "damaged").write_bytes(b"no database at all" * 500)
    with pytest.raises(DatabaseOpenError, match="damaged cannot be copied: file is not a database"):
        back_up(tmp_path / "damaged", tmp_path / "copy")
    with pytest.raises(BackupError, match="cannot be made: No such file or directory"):
        back_up(tmp_path / "damaged", tmp_path / "folder" / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_a_database_that_is_damaged_inside_makes_no_backup(source: sqlite3.Connection, tmp_path: Path) -> None:
    """A copy that does not pass SQLite's own check is not kept: it would be found out when it is needed."""
    source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    source.close()
    with (tmp_path / "source").open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(DatabaseOpenError, match="Restore an earlier backup"):
        back_up(tmp_path / "source", tmp_path / "copy")
    assert not list(tmp_path.glob("copy*"))
