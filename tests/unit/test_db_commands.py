"""`netra db backup`, `export` and `erase`: what they say when they cannot, and how they exit."""

from __future__ import annotations

import json
import shlex
import subprocess
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, update

from netra_backend.app.db.engine import open_storage
from netra_backend.app.db.migrate import upgrade
from netra_backend.app.db.tables import users
from netra_cli import main
from tests.support.database import see_all, user_row
from tests.support.postgres import PostgresServer

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine's own, and a folder of the test's."""
    monkeypatch.delenv("NETRA_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the users alice and bob."""
    folder = tmp_path / "data"
    folder.mkdir()
    storage = open_storage(f"sqlite:///{folder / 'netra.sqlite3'}", reader_threads=1)
    upgrade(storage)
    with storage.write_engine.begin() as connection:
        user_row(connection, "alice")
        user_row(connection, "bob")
    storage.release()
    return folder


def db(*words: str) -> int:
    """The exit code of `netra db`."""
    code: object
    try:
        code = main(["db", *words])
    except SystemExit as stop:
        code = stop.code
    assert isinstance(code, int)
    return code


def _users(data: Path) -> list[str]:
    storage = open_storage(f"sqlite:///{data / 'netra.sqlite3'}", reader_threads=1)
    try:
        with storage.read_engine.begin() as connection:
            see_all(connection)
            return list(connection.execute(select(users.c.user_id)).scalars())
    finally:
        storage.release()


@pytest.mark.parametrize("words", [["backup"], ["export"], ["erase"], ["erase", "--yes"], ["backup", "a", "b"]])
def test_missing_words_are_told(capsys: Output, words: list[str]) -> None:
    """Without its word an action does nothing and exits with 2 and the usage."""
    assert db(*words) == 2
    assert "usage: netra db" in capsys.readouterr().err


@pytest.mark.parametrize("action", [["backup", "copy"], ["export", "alice"]])
def test_a_database_that_is_not_there_is_not_made(capsys: Output, tmp_path: Path, action: list[str]) -> None:
    """Who only reads makes no empty database, but says where none is."""
    assert db(*action, "--data-dir", str(tmp_path / "nowhere")) == 1
    told = f"netra db: expected a database at {tmp_path}/nowhere/netra.sqlite3, got no such file"
    assert capsys.readouterr().err.startswith(told)
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_another_schema_is_not_exported(capsys: Output, tmp_path: Path) -> None:
    """An export does not change the schema; it says how to."""
    (tmp_path / "netra.sqlite3").touch()
    assert db("export", "alice", "--data-dir", str(tmp_path)) == 1
    assert "run `netra db upgrade`" in capsys.readouterr().err


def test_an_erasure_wants_to_be_meant(capsys: Output, data: Path) -> None:
    """Without --yes nobody is erased, and what would have been is told, with 2."""
    assert db("erase", "alice@example.org", "--data-dir", str(data)) == 2
    assert "expected --yes: user 'alice@example.org' and everything" in capsys.readouterr().err
    assert _users(data) == ["alice", "bob"]


@pytest.mark.parametrize("name", ["alice", "alice@example.org", " ALICE@Example.org "])
def test_a_user_is_erased_by_id_or_email(capsys: Output, data: Path, name: str) -> None:
    """The user is gone and nobody else; the id is told, and that backups still hold the user."""
    assert db("erase", name, "--yes", "--data-dir", str(data)) == 0
    assert capsys.readouterr().out == (
        "user alice is erased, with everything that was stored for the user; earlier backups still hold it\n"
    )
    assert _users(data) == ["bob"]


@pytest.mark.parametrize("action", [["export"], ["erase", "--yes"]])
@pytest.mark.parametrize("name", ["carol", "carol@example.org", "none", "", "a\nb"])
def test_an_unknown_user_is_told(capsys: Output, data: Path, action: list[str], name: str) -> None:
    """A user whom nobody knows, or who could not be, is named with what was expected, and with 1."""
    assert db(*action, name, "--data-dir", str(data)) == 1
    output, messages = capsys.readouterr()
    assert output == ""
    assert messages.startswith(f"netra db: USER: expected the e-mail or the id of a user, got {name!r}")
    assert _users(data) == ["alice", "bob"]


def test_an_erasure_that_was_cut_off_is_repeated(data: Path) -> None:
    """A user who is marked as erased and still has rows is erased by the id."""
    storage = open_storage(f"sqlite:///{data / 'netra.sqlite3'}", reader_threads=1)
    with storage.write_engine.begin() as connection:
        see_all(connection)
        marked = update(users).where(users.c.user_id == "alice").values(erased_at=datetime.now(UTC), email="alice")
        connection.execute(marked)
    storage.release()
    assert db("export", "alice", "--data-dir", str(data)) == 1
    assert db("erase", "alice", "--yes", "--data-dir", str(data)) == 0
    assert _users(data) == ["bob"]


def test_an_export_is_json_lines(capsysbinary: pytest.CaptureFixture[bytes], data: Path) -> None:
    """Each line is a row that says of which kind it is; the hash is not there."""
    assert db("export", "alice", "--data-dir", str(data)) == 0
    output, messages = capsysbinary.readouterr()
    (line,) = output.splitlines()
    assert json.loads(line) == {
        "kind": "account",
        "user_id": "alice",
        "email": "alice@example.org",
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    assert messages == b"1 rows of user alice\n"


def test_postgresql_is_backed_up_by_its_own_tool(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """The command that is told holds no password, and with one from elsewhere it makes a dump with the users in it;
    the owner's own would be refused."""
    url = make_url(postgres_server.url(postgres_server.create()))
    monkeypatch.setenv("NETRA_DATABASE_URL", url.render_as_string(hide_password=False))
    storage = open_storage(url.render_as_string(hide_password=False), reader_threads=1)
    upgrade(storage)
    with storage.write_engine.begin() as connection:
        user_row(connection, "alice")
    storage.release()
    assert db("backup", str(tmp_path / "a dump")) == 2
    assert not (tmp_path / "a dump").exists()
    messages = capsys.readouterr().err
    assert url.password is not None
    assert f":{url.password}@" not in messages
    command = messages.splitlines()[0].partition(": pg_dump ")[2]
    program = postgres_server.program("pg_dump")
    run = partial(subprocess.run, capture_output=True, text=True, check=False, env={"PGPASSWORD": url.password})
    words = shlex.split(command)
    assert run([program, *words]).returncode == 0
    restored = subprocess.run(
        [postgres_server.program("pg_restore"), "--data-only", "--file=-", str(tmp_path / "a dump")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "alice@example.org" in restored.stdout
    as_owner = [word.replace("postgresql://postgres@", f"postgresql://{url.username}@") for word in words]
    refused = run([program, *as_owner])
    assert refused.returncode != 0
    assert "row-level security" in refused.stderr
