"""A real `netra serve` as its own process, on a free loopback port, for tests."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 30.0
AGENTS = '{"gate": "tests.support.agents:GateAgent", "faulty": "tests.support.agents:FaultyAgent"}'


class Reachable(Protocol):
    """A server that a client can talk to."""

    @property
    def url(self) -> str:
        """Where it serves, `http://127.0.0.1:PORT`."""

    @property
    def websocket_url(self) -> str:
        """Where its socket is."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: where it serves, `http://127.0.0.1:PORT`.
        process: its own.
    """

    url: str
    process: Process

    @property
    def websocket_url(self) -> str:
        """Where its socket is."""
        return f"ws{self.url.removeprefix('http')}/ws"

    async def kill(self) -> None:
        """End it without a warning, as a crash does."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def serving(
    data_dir: Path, *, log: str = os.devnull, log_level: str = "WARNING", **settings: str
) -> AsyncIterator[Server]:
    """Run a server for the block, and end it after by its own process id.

    Args:
        data_dir: its data folder; a second server over the same one goes on where the first ended.
        log: the file where its log goes.
        log_level: the least severe that is written.
        settings: by the names of the environment without `NETRA_`, in lower case.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "NETRA_AGENTS": AGENTS,
        **{f"NETRA_{name.upper()}": value for name, value in settings.items()},
    }
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "netra_cli", "serve", "--port", "0", "--data-dir", str(data_dir),
        "--log-level", log_level, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=file,
    )  # fmt: skip
    os.close(file)
    try:
        if process.stdout is None:
            raise RuntimeError("the server's standard output is not piped")
        async with asyncio.timeout(START_LIMIT_S):
            line = (await process.stdout.readline()).decode()
        if not line.startswith("Netra is serving on "):
            raise RuntimeError(f"the server did not start: {line!r}, exit code {process.returncode}")
        yield Server(line.split()[-1], process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
