"""The backend's commands: `netra serve`, `netra db` and `netra keys`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import DatabaseError

from netra_backend.app.agents.registry import AgentRegistryError
from netra_backend.app.api.http_protocol import http_protocol
from netra_backend.app.api.websocket_protocol import WebSocketProtocol
from netra_backend.app.auth.keys import KEY_FILE, KeyRing, read_keys, retire, rotate
from netra_backend.app.config import Settings
from netra_backend.app.db.backup import BackupError, back_up
from netra_backend.app.db.engine import Database, open_storage
from netra_backend.app.db.eraser import Eraser
from netra_backend.app.db.errors import DatabaseInUseError, DatabaseOpenError
from netra_backend.app.db.migrate import check, upgrade
from netra_backend.app.db.repositories.accounts import AccountRepository, export_line
from netra_backend.app.db.system_operations import find_erased_users, find_user_by_email
from netra_backend.app.main import create_app
from netra_backend.app.realtime.messages import MAX_FRAME_BYTES
from netra_backend.app.services import fault_points
from netra_backend.app.services.context_errors import InvalidContextError
from netra_backend.app.services.refusals import NotFoundError, RefusedError
from netra_backend.app.services.user_execution_context import UserExecutionContext
from netra_backend.app.telemetry import configure_logging

ACCEPTS_PER_TURN: Final = 16
"""uvloop takes one connection from a listener in a turn of the event loop; so many handles of it take as many."""

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""SQLite lets go of the interpreter at each row it writes; it waits so long to get it back from a busy event loop."""


CLOSING_SECONDS: Final = 6
"""How long connections have at least to end once they were told to; a socket's own limit is a second less."""

LAST_SECONDS: Final = 1.0
"""How long what is left at the very end may take."""

STOP_LIMIT_SECONDS: Final = 20.0
"""What a stop may take beside the graces."""

_logger = logging.getLogger(__name__)


class Exit(IntEnum):
    """How the command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2


def serve(argv: Sequence[str]) -> int:
    """Run the server until it is told to stop.

    Args:
        argv: the words after `netra serve`.

    Returns:
        0 after a clean stop, 1 when it could not start, 2 for settings that make no sense.
    """
    parsed = _parsed("serve", _serve_options, argv)
    if isinstance(parsed, Exit):
        return parsed
    settings, _ = parsed
    configure_logging(settings.log_level)
    try:
        fault_points.arm(settings.fault_points)
    except ValueError as error:
        return _refuse("serve", f"NETRA_FAULT_POINTS: {error}", Exit.USAGE)
    if settings.fault_points:
        _logger.warning("this server fails on purpose: NETRA_FAULT_POINTS is %s", settings.fault_points)
    _raise_file_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        return _refuse("serve", f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    with listener:
        return _serve(settings, listener)


def db(argv: Sequence[str]) -> int:
    """Look after the database.

    Args:
        argv: the words after `netra db`.

    Returns:
        0 when it is done, 1 when it could not be done, 2 for words or settings that make no sense.
    """
    parsed = _parsed("db", _db_options, argv)
    if isinstance(parsed, Exit):
        return parsed
    settings, words = parsed
    try:
        return _ACTIONS[words.pop("action")](settings, **words)
    except DatabaseError as error:
        return _refuse("db", _unopened(settings, error))
    except RefusedError as refusal:
        return _refuse("db", refusal.message)
    except (DatabaseOpenError, BackupError, ValueError, OSError) as error:
        return _refuse("db", str(error))


def keys(argv: Sequence[str]) -> int:
    """Look after the keys that sign, where they are kept in the data folder.

    Args:
        argv: the words after `netra keys`.

    Returns:
        0 when it is done, 1 when it could not be done, 2 for words or settings that make no sense.
    """
    parsed = _parsed("keys", _keys_options, argv)
    if isinstance(parsed, Exit):
        return parsed
    settings, words = parsed
    if settings.secret_key is not None:
        return _refuse(
            "keys",
            "NETRA_SECRET_KEY is set, so the keys are yours to rotate: set it to the new key and NETRA_OLD_SECRET_KEYS "
            "to the one before, and start the server again",
            Exit.USAGE,
        )
    try:
        ring = _KEY_ACTIONS[words["action"]](settings.data_dir / KEY_FILE)
    except (ValueError, OSError) as error:
        return _refuse("keys", str(error))
    signs, *verify = ring.ids
    print(f"{signs} signs" + "".join(f"\n{kid} verifies what it has signed" for kid in verify))
    if words["action"] != "list":
        print("a server that is running takes this at its next start", file=sys.stderr)
    return Exit.OK


_KEY_ACTIONS: Final[dict[str, Callable[[Path], KeyRing]]] = {"list": read_keys, "rotate": rotate, "retire": retire}


def _upgrade(settings: Settings) -> Exit:
    if settings.database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    storage = open_storage(settings.database, reader_threads=1)
    try:
        version = upgrade(storage)
    finally:
        storage.release()
    print(f"{storage.name} is at schema version {version}")
    return Exit.OK


def _back_up(settings: Settings, file: Path) -> Exit:
    url = make_url(settings.database)
    if url.get_backend_name() == "postgresql":
        return _refuse("db", _pg_dump(url, file), Exit.USAGE)
    size = back_up(Path(url.database or ""), file)
    print(f"{file} is a whole copy of {url.database}, {size} bytes")
    return Exit.OK


def _pg_dump(url: URL, file: Path) -> str:
    """What to do instead of `netra db backup` on PostgreSQL; never with a password."""
    shown = url.set(drivername="postgresql", username="postgres").difference_update_query(["password"])
    shown = URL.create("postgresql", shown.username, None, shown.host, shown.port, shown.database, shown.query)
    command = shlex.join(["pg_dump", "--format=custom", f"--file={file}", shown.render_as_string()])
    return (
        f"PostgreSQL makes its own backups, also while Netra is serving: {command}\n"
        "Do it as a superuser or another role with BYPASSRLS: row-level security holds for the tables' owner too, so "
        "the owner's pg_dump is refused, and with --enable-row-security it would be empty"
    )


def _export(settings: Settings, user: str, output: Path | None) -> Exit:
    database = Database(settings.database, reader_threads=1, is_read_only=True)
    try:
        check(database.storage)
        context = asyncio.run(_context_of(database, user))
        if output is None:
            count = asyncio.run(_write_export(database, context, sys.stdout.buffer))
        else:
            with open(output, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                count = asyncio.run(_write_export(database, context, file))
    except FileExistsError:
        return _refuse("db", f"{output}: expected a name that is not taken, got an existing file; name another")
    finally:
        database.release()
    print(f"{count} rows of user {context.user_id}", file=sys.stderr)
    return Exit.OK


async def _write_export(database: Database, context: UserExecutionContext, file: BinaryIO) -> int:
    count = 0
    async for row in AccountRepository(context, database).export():
        file.write(export_line(row))
        count += 1
    file.flush()
    return count


def _erase(settings: Settings, user: str, yes: bool) -> Exit:
    if not yes:
        return _refuse(
            "db",
            f"expected --yes: user {user!r} and everything that is stored for the user would be erased for good; "
            "nothing was done",
            Exit.USAGE,
        )
    try:
        database = Database(settings.database, reader_threads=1)
    except DatabaseInUseError as error:
        return _refuse(
            "db",
            f"a server is using {error.name}: stop it first, or erase the account there (DELETE /auth/me); "
            "nothing was erased",
        )
    try:
        upgrade(database.storage)
        user_id = asyncio.run(_erase_user(database, user))
    finally:
        database.release()
    print(f"user {user_id} is erased, with everything that was stored for the user; earlier backups still hold it")
    return Exit.OK


async def _erase_user(database: Database, user: str) -> str:
    try:
        context = await _context_of(database, user, is_erased=True)
        await AccountRepository(context, database).erase(lambda: None)
        await Eraser(database).erase_user(context)
    finally:
        await database.writer.close()
    return context.user_id


async def _context_of(database: Database, user: str, *, is_erased: bool = False) -> UserExecutionContext:
    """The context of the user who has an e-mail or an id.

    Args:
        database: where the user is.
        user: the e-mail or the id.
        is_erased: whether it may also be one whose erasure was cut off.

    Raises:
        ValueError: there is no such user.
    """
    account = await database.read(lambda connection: find_user_by_email(connection, user.strip().casefold()))
    user_id = user if account is None else account.user_id
    unknown = f"USER: expected the e-mail or the id of a user, got {user!r}, whom the database does not know"
    try:
        context = UserExecutionContext.from_request(user_id, str(uuid4()), str(uuid4()))
    except InvalidContextError:
        raise ValueError(unknown) from None
    if is_erased and user_id in await database.read(find_erased_users):
        return context
    try:
        await AccountRepository(context, database).get()
    except NotFoundError:
        raise ValueError(unknown) from None
    return context


_ACTIONS: Final[dict[str, Callable[..., Exit]]] = {
    "upgrade": _upgrade,
    "backup": _back_up,
    "export": _export,
    "erase": _erase,
}
_ACTION_WORDS: Final[tuple[str, ...]] = ("action", "file", "user", "output", "yes")


def _parsed(
    command: str, options: Callable[[Sequence[str]], dict[str, Any]], argv: Sequence[str]
) -> tuple[Settings, dict[str, Any]] | Exit:
    """The settings that a command's words and the environment give, and what the words say of its action.

    Returns:
        How the command ends when they make no sense, the reason told.
    """
    try:
        given = options(argv)
        words = {name: given.pop(name) for name in _ACTION_WORDS if name in given}
        return Settings(**given), words
    except SystemExit as stop:  # argparse has said why
        return Exit(int(stop.code or Exit.OK))
    except ValidationError as error:
        return _refuse(command, _told(error), Exit.USAGE)
    except SettingsError as error:
        return _refuse(command, f"{error}: expected JSON", Exit.USAGE)


def _unopened(settings: Settings, error: DatabaseError) -> str:
    url = make_url(settings.database).difference_update_query(["password", "sslpassword"])
    name = url.render_as_string(hide_password=True)
    return f"the database {name} cannot be opened: {error.orig}; restore a backup of it"


def uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How uvicorn runs an app."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http=http_protocol(settings.head_timeout.total_seconds()),
        ws=WebSocketProtocol,
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=max(CLOSING_SECONDS, int(settings.shutdown_grace.total_seconds())),
        server_header=False,
        proxy_headers=False,
    )


def _serve(settings: Settings, listener: socket.socket) -> Exit:
    try:
        app = create_app(settings)
    except DatabaseError as error:
        return _refuse("serve", _unopened(settings, error))
    except (DatabaseOpenError, AgentRegistryError, ValueError, OSError) as error:
        return _refuse("serve", str(error))
    config = uvicorn_config(app, settings)
    graces = 2 * settings.shutdown_grace + settings.stop_grace  # runs have the one, then requests
    server = _Server(
        config,
        settings.host,
        drain=lambda: app.state.drain(),
        close_connections=lambda: app.state.close_connections(),
        failure=lambda: app.state.failure(),
        stop_limit=graces.total_seconds() + STOP_LIMIT_SECONDS,
    )
    server.run(sockets=[listener, *(listener.dup() for _ in range(ACCEPTS_PER_TURN - 1))])
    if server.started and (failure := app.state.failure()) is not None:
        return _refuse("serve", str(failure))
    return Exit.OK if server.started else Exit.FAILED


def _refuse(command: str, reason: str, code: Exit = Exit.FAILED) -> Exit:
    print(f"netra {command}: {reason}", file=sys.stderr)
    return code


def _told(error: ValidationError) -> str:
    faults = []
    for fault in error.errors():
        name = "_".join(str(part) for part in fault["loc"]).upper()
        faults.append((f"NETRA_{name}: " if name else "") + fault["msg"].removeprefix("Value error, "))
    return "; ".join(faults)


class _Server(uvicorn.Server):
    """uvicorn, saying where it serves once it does, and ending within a limit.

    Args:
        config: uvicorn's.
        host: where it serves, for people.
        drain: lets runs end; returns when they have, or are handed back.
        close_connections: tells sockets and streams that the server is going away.
        failure: why the server must end by itself, once it must.
        stop_limit: seconds after which the process ends itself, whatever still holds it.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        host: str,
        *,
        drain: Callable[[], Awaitable[None]],
        close_connections: Callable[[], None],
        failure: Callable[[], Exception | None],
        stop_limit: float,
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._close_connections = close_connections
        self._failure = failure
        self._stop_limit = stop_limit
        self._host = f"[{host}]" if ":" in host else host

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but no signal is raised again after the shutdown: a stop that was asked for is a clean one."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: as uvicorn's, and when the server may not go on."""
        return await super().on_tick(counter) or self._failure() is not None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in, let runs end, then end what never ends by itself, event streams above all."""
        watchdog = threading.Timer(self._stop_limit, _end, ("something holds it",))
        watchdog.daemon = True
        watchdog.start()
        if self.started:
            for listener in (*self.servers, *(sockets or ())):
                listener.close()
            draining = asyncio.ensure_future(self._drain())
            while not draining.done() and not self.force_exit:
                await asyncio.wait({draining}, timeout=0.1)
            self._close_connections()
        await super().shutdown(sockets)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop; tasks that do not let themselves be cancelled are left behind then."""
        await super().serve(sockets)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            _, stubborn = await asyncio.wait(tasks, timeout=LAST_SECONDS)
            if stubborn:  # asyncio would wait for them for ever
                _end(f"tasks swallow their cancellation: {', '.join(map(str, stubborn))}", Exit.OK)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            print(f"Netra is serving on http://{self._host}:{sockets[0].getsockname()[1]}", flush=True)


def _end(why: str, code: Exit = Exit.FAILED) -> None:
    """End the process at once. What was acknowledged is on disk; runs that went on are taken over at the next start."""
    _logger.error("the server does not stop by itself, so it is ended: %s", why)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _serve_options(argv: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="netra serve",
        description="Run the server. Every setting is also an environment variable NETRA_…; an option goes first.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--host", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port; 0 takes a free one (default 8000)")
    _add_database_options(parser)
    parser.add_argument("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], help="(default INFO)")
    return vars(parser.parse_args(argv))


def _db_options(argv: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="netra db", description="Look after the database.")
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    upgrading = actions.add_parser(
        "upgrade",
        help="bring the database to the newest schema",
        description="Bring the database to the newest schema, with its roles and what they may do. A server does it "
        "when it starts, if its user may; here the owner's URL can be given.",
        argument_default=argparse.SUPPRESS,
    )
    backing_up = actions.add_parser(
        "backup",
        help="copy an SQLite database, also while a server is using it",
        description="Copy an SQLite database, as it is at one moment, into a new file with mode 0600. A server may be "
        "using it. On PostgreSQL the command for pg_dump is told.",
        argument_default=argparse.SUPPRESS,
    )
    backing_up.add_argument("file", type=Path, metavar="FILE", help="the new file; one that exists is never replaced")
    exporting = actions.add_parser(
        "export",
        help="write everything that is stored for a user as JSON lines",
        description="Write everything that is stored for a user as JSON lines, but no hash of a password or a token. A "
        "server may be using the database.",
        argument_default=argparse.SUPPRESS,
    )
    exporting.add_argument("user", metavar="USER", help="the user's e-mail or id")
    exporting.add_argument(
        "--output", type=Path, default=None, help="a new file, with mode 0600 (default: standard output)"
    )
    erasing = actions.add_parser(
        "erase",
        help="erase a user with everything that is stored for the user",
        description="Erase a user with everything that is stored for the user, for good. An SQLite database must not "
        "be in use by a server.",
        argument_default=argparse.SUPPRESS,
    )
    erasing.add_argument("user", metavar="USER", help="the user's e-mail or id")
    erasing.add_argument("--yes", action="store_true", default=False, help="do it: there is no way back")
    for action in (upgrading, backing_up, exporting, erasing):
        _add_database_options(action)
    return vars(parser.parse_args(argv))


def _keys_options(argv: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="netra keys", description="Look after the keys that sign tokens, where they are kept in the data folder."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    for name, told in (
        ("list", "tell the ids of the keys, the newest first"),
        ("rotate", "make a new key that signs; what the others have signed is still good"),
        ("retire", "remove all keys but the newest; what they have signed is worth nothing any more"),
    ):
        action = actions.add_parser(
            name, help=told, description=f"{told[0].upper()}{told[1:]}.", argument_default=argparse.SUPPRESS
        )
        action.add_argument("--data-dir", type=Path, help="where the keys are (default netra-data)")
    return vars(parser.parse_args(argv))


def _add_database_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, help="where the database and the key are (default netra-data)")
    parser.add_argument(
        "--database-url",
        help="another database: sqlite:///PATH or postgresql://USER@HOST/NAME; a password is better kept in "
        "NETRA_DATABASE_URL or ~/.pgpass, since others see a command's words",
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _raise_file_limit() -> None:
    """Each connection is an open file; the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
