"""The `netra` command, and `netra serve` as far as it goes without serving."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import netra_cli
from netra_backend.app.auth.keys import load_or_make_keys, read_keys
from netra_cli import COMMANDS, main

ROOT = Path(netra_cli.__file__).parent
KEY = "k3y-" * 12


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The process as it was: its environment, folder, logging, limits and signals."""
    for name in [name for name in os.environ if name.upper().startswith("NETRA_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    interval = sys.getswitchinterval()
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    sys.setswitchinterval(interval)
    for number, handler in signals.items():
        signal.signal(number, handler)


def code_of(*words: str) -> int:
    """The exit code of a command, whether it returns it or exits with it as argparse does."""
    code: object
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_lists_every_command(capsys: pytest.CaptureFixture[str], word: str) -> None:
    """Help goes to standard output, names each command with a summary, and exits with 0."""
    assert main([word]) == 0
    output, messages = capsys.readouterr()
    assert messages == ""
    assert output.startswith("usage: netra COMMAND [OPTIONS]")
    for name, command in COMMANDS.items():
        assert any(name in line and command.summary in line for line in output.splitlines())


def test_no_command_gets_the_help_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    """`netra` alone tells what there is, and has done nothing."""
    assert main([]) == 2
    assert "usage: netra COMMAND" in "".join(capsys.readouterr())


@pytest.mark.parametrize("word", ["server", "SERVE", "", "-v", "--version", "serve "])
def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str], word: str) -> None:
    """A command that does not exist is told on standard error with those that do, and exits with 2."""
    assert main([word, "--help"]) == 2
    output, messages = capsys.readouterr()
    assert output == ""
    assert f"there is no command {word!r}" in messages
    assert "golden-path" in messages


def test_the_words_of_the_process_are_taken_when_none_are_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`main()` reads the process' own arguments."""
    monkeypatch.setattr(sys, "argv", ["netra", "--help"])
    assert main() == 0
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_its_extra_too(name: str) -> None:
    """What the table names can be imported and called, and the extra it tells can be installed."""
    command = COMMANDS[name]
    assert callable(getattr(import_module(command.module), command.function))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert command.extra in extras


@pytest.mark.parametrize(
    ("command", "missing"),
    [("serve", "uvicorn"), ("golden-path", "orjson"), ("golden-path", "rich.console")],
)
def test_a_missing_extra_is_told(command: str, missing: str) -> None:
    """A part whose extra is not installed says which to install, in a line, and exits with 2."""
    program = f"import sys; sys.modules[{missing!r}] = None; import netra_cli; sys.exit(netra_cli.main([{command!r}]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    advice = f"install the extra: pip install 'netra[{COMMANDS[command].extra}]'"
    assert done.stderr == f"netra {command}: {missing} is not installed; {advice}\n"


def test_a_missing_module_of_ours_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation of Netra itself is not hidden behind advice that would not help."""
    monkeypatch.delitem(sys.modules, "netra_backend.app.commands", raising=False)
    monkeypatch.setitem(sys.modules, "netra_backend.app.config", None)
    with pytest.raises(ModuleNotFoundError, match=r"netra_backend\.app\.config"):
        main(["serve"])


def test_help_needs_nothing_but_python() -> None:
    """`netra --help` works where no extra is installed."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "netra_cli.py"), "--help"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: netra COMMAND" in done.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--bogus"], 2),
        (["--port", "http"], 2),
        (["--log-level", "LOUD"], 2),
        (["extra"], 2),
    ],
)
def test_serves_own_exit_codes(capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> None:
    """Help exits with 0, options that make no sense with 2 and the usage."""
    assert code_of("serve", *words) == code
    assert "usage: netra serve" in "".join(capsys.readouterr())


@pytest.mark.parametrize("words", [["--help"], ["--bogus"]])
def test_a_command_returns_its_code(words: list[str]) -> None:
    """Nothing below `main` exits the process: whoever calls it from Python gets the code."""
    assert main(["serve", *words]) in (0, 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--port", "99999"], ["NETRA_PORT: ", "65535"]),
        (["--host", "0.0.0.0"], ["NETRA_SECRET_KEY and NETRA_ALLOWED_ORIGINS", "--host 127.0.0.1"]),  # noqa: S104
    ],
)
def test_settings_that_make_no_sense_are_told(
    capsys: pytest.CaptureFixture[str], words: list[str], told: list[str]
) -> None:
    """A wrong setting is told by its name on standard error, with 2, and nothing was made."""
    assert code_of("serve", *words) == 2
    output, messages = capsys.readouterr()
    assert output == ""
    assert messages.startswith("netra serve: ")
    assert all(text in messages for text in told)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("NETRA_SECRET_KEY", KEY[:20], "NETRA_SECRET_KEY: expected at least 32 characters"),
        ("NETRA_MAX_CONNECTIONS", "none", "NETRA_MAX_CONNECTIONS: "),
        ("NETRA_LOG_LEVEL", "LOUD", "NETRA_LOG_LEVEL: "),
        ("NETRA_AGENTS", "poems:Poet", "agents"),
        ("NETRA_AGENTS", '{"poet": 5}', "NETRA_AGENTS_POET: "),
    ],
)
def test_a_wrong_environment_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    """A wrong variable is told by its name with 2, a secret is not repeated, and nothing was made."""
    monkeypatch.setenv(name, value)
    assert code_of("serve", "--port", "0") == 2
    messages = capsys.readouterr().err
    assert told in messages
    assert KEY[:12] not in messages
    assert "Traceback" not in messages
    assert list(Path.cwd().iterdir()) == []


def test_a_taken_port_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """An address that cannot be listened on is named, with 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert code_of("serve", "--port", str(port)) == 1
    assert f"netra serve: cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_made_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A data folder that is a file is named, with 1, and without a traceback."""
    (tmp_path / "file").write_text("")
    assert code_of("serve", "--port", "0", "--data-dir", str(tmp_path / "file" / "data")) == 1
    messages = capsys.readouterr().err
    assert "file" in messages
    assert "Traceback" not in messages


@pytest.mark.parametrize(
    ("agents", "told"),
    [
        ('{"poet": "nowhere_at_all:Poet"}', "there is no module 'nowhere_at_all'"),
        ('{"Poet": "json:loads"}', "cannot load the agent 'json:loads'"),
    ],
)
def test_an_agent_that_cannot_be_loaded_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, agents: str, told: str
) -> None:
    """A user's own agent that cannot be loaded is named before anything is served, with 1."""
    monkeypatch.setenv("NETRA_AGENTS", agents)
    assert code_of("serve", "--port", "0") == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["db", "upgrade"]])
def test_a_database_that_does_not_answer_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """A PostgreSQL server that is not there is named with 1, what to check and no password."""
    monkeypatch.setenv("NETRA_DATABASE_URL", "postgresql://ann:secret-word@127.0.0.1:1/netra")
    assert code_of(*command) == 1
    messages = capsys.readouterr().err
    told = f"netra {command[0]}: database_url: expected a PostgreSQL database that answers at 127.0.0.1:1/netra, got: "
    assert messages.startswith(told)
    assert "is the server running" in messages
    assert "secret-word" not in messages
    assert "Traceback" not in messages


@pytest.mark.parametrize("url", ["oracle://ann:secret-word@host/db", "ann:secret-word"])
def test_a_database_of_another_kind_is_told(capsys: pytest.CaptureFixture[str], url: str) -> None:
    """A URL that names no database of ours is told with the forms that do, and not repeated."""
    assert code_of("db", "upgrade", "--database-url", url) == 1
    messages = capsys.readouterr().err
    assert "database_url: expected sqlite:///PATH or postgresql://" in messages
    assert "secret-word" not in messages


def test_a_database_is_brought_up_to_date(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`netra db upgrade` makes the newest schema, twice as well as once, and tells its version."""
    for _ in range(2):
        assert code_of("db", "upgrade", "--data-dir", str(tmp_path / "data")) == 0
        assert re.fullmatch(rf"{tmp_path}/data/netra\.sqlite3 is at schema version \d{{4}}\n", capsys.readouterr().out)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("words", "code"), [([], 2), (["--help"], 0), (["upgrade", "--help"], 0), (["mend"], 2)])
def test_dbs_own_exit_codes(capsys: pytest.CaptureFixture[str], words: list[str], code: int) -> None:
    """Help exits with 0, words that make no sense with 2 and the usage."""
    assert code_of("db", *words) == code
    assert "usage: netra db" in "".join(capsys.readouterr())


def test_keys_are_listed_rotated_and_retired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each action tells which key signs and which still verify, and what a running server makes of it."""
    keys = load_or_make_keys(tmp_path / "secret.key")
    assert code_of("keys", "list", "--data-dir", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{keys.newest} signs\n"
    assert code_of("keys", "rotate", "--data-dir", str(tmp_path)) == 0
    rotated = read_keys(tmp_path / "secret.key")
    told = capsys.readouterr()
    assert told.out == f"{rotated.newest} signs\n{keys.newest} verifies what it has signed\n"
    assert "next start" in told.err
    assert code_of("keys", "retire", "--data-dir", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{rotated.newest} signs\n"


def test_keys_that_are_not_there_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file, or with a key of the environment's, nothing is made, and what to do is told."""
    assert code_of("keys", "rotate", "--data-dir", str(tmp_path)) == 1
    assert "a server makes it at its first start" in capsys.readouterr().err
    assert code_of("keys") == 2
    monkeypatch.setenv("NETRA_SECRET_KEY", KEY)
    assert code_of("keys", "rotate", "--data-dir", str(tmp_path)) == 2
    told = capsys.readouterr().err
    assert "NETRA_OLD_SECRET_KEYS" in told
    assert KEY not in told
    assert list(tmp_path.iterdir()) == []
