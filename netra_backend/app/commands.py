"""The backend's commands: `netra serve`."""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy.exc import DatabaseError

from netra_backend.app.agents.registry import AgentRegistryError
from netra_backend.app.config import Settings
from netra_backend.app.db.errors import DatabaseOpenError
from netra_backend.app.main import create_app
from netra_backend.app.realtime.messages import MAX_FRAME_BYTES
from netra_backend.app.services import fault_points
from netra_backend.app.telemetry import configure_logging

ACCEPTS_PER_TURN: Final = 16
"""uvloop takes one connection from a listener in a turn of the event loop; so many handles of it take as many."""

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""SQLite lets go of the interpreter at each row it writes; it waits so long to get it back from a busy event loop."""


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
    try:
        settings = Settings(**_options(argv))
    except SystemExit as stop:  # argparse has said why
        return int(stop.code or Exit.OK)
    except ValidationError as error:
        return _refuse(_told(error), Exit.USAGE)
    except SettingsError as error:
        return _refuse(f"{error}: expected JSON", Exit.USAGE)
    configure_logging(settings.log_level)
    try:
        fault_points.arm(settings.fault_points)
    except ValueError as error:
        return _refuse(f"NETRA_FAULT_POINTS: {error}", Exit.USAGE)
    _raise_file_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        return _refuse(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    with listener:
        return _serve(settings, listener)


def _serve(settings: Settings, listener: socket.socket) -> Exit:
    try:
        app = create_app(settings)
    except DatabaseError as error:
        return _refuse(f"the database {settings.database} cannot be opened: {error.orig}; restore a backup of it")
    except (DatabaseOpenError, AgentRegistryError, ValueError, OSError) as error:
        return _refuse(str(error))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace.total_seconds()) + 5,
        server_header=False,
        proxy_headers=False,
    )
    server = _Server(config, settings.host, lambda: app.state.close_connections())
    server.run(sockets=[listener, *(listener.dup() for _ in range(ACCEPTS_PER_TURN - 1))])
    return Exit.OK if server.started else Exit.FAILED


def _refuse(reason: str, code: Exit = Exit.FAILED) -> Exit:
    print(f"netra serve: {reason}", file=sys.stderr)
    return code


def _told(error: ValidationError) -> str:
    faults = []
    for fault in error.errors():
        name = "_".join(str(part) for part in fault["loc"]).upper()
        faults.append((f"NETRA_{name}: " if name else "") + fault["msg"].removeprefix("Value error, "))
    return "; ".join(faults)


class _Server(uvicorn.Server):
    """uvicorn, saying where it serves once it does."""

    def __init__(self, config: uvicorn.Config, host: str, close_connections: Callable[[], None]) -> None:
        super().__init__(config)
        self._close_connections = close_connections
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what never ends by itself, event streams above all, before uvicorn waits for it."""
        if self.started:
            self._close_connections()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            print(f"Netra is serving on http://{self._host}:{sockets[0].getsockname()[1]}", flush=True)


def _options(argv: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="netra serve",
        description="Run the server. Every setting is also an environment variable NETRA_…; an option goes first.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--host", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port; 0 takes a free one (default 8000)")
    parser.add_argument("--data-dir", type=Path, help="where the database and the key are (default netra-data)")
    parser.add_argument("--database-url", help="another database: sqlite:///PATH")
    parser.add_argument("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], help="(default INFO)")
    return vars(parser.parse_args(argv))


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
