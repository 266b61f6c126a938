"""A server of one's own: `netra serve` as its own process, with a temporary data folder, for one proof."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
TAIL_LINES = 30
LOG = "server.log"
SERVE = (sys.executable, "-m", "netra_cli", "serve", "--host", "127.0.0.1", "--port", "0", "--data-dir")

_CODE = str(Path(__file__).resolve().parent.parent)
_READY = re.compile(r"Netra is serving on (https?://\S+)")


class DeploymentFailed(Exception):
    """Raised when the server does not start, or ends before it is told to."""

    def __init__(self, reason: str, tail: str = "") -> None:
        super().__init__(reason, tail)
        self.reason = reason
        self.tail = tail

    def __str__(self) -> str:
        return f"{self.reason}; its last words:\n{self.tail}" if self.tail else self.reason


class Deployment:
    """A running server.

    Attributes:
        url: where it serves.
        pid: its process.
    """

    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self.url = url
        self.pid = process.pid
        self._process = process
        self._log = log

    async def failure(self) -> DeploymentFailed | None:
        """Tells why the server is no longer there, with its last words; None while it runs."""
        code = self._process.returncode
        return None if code is None else await _failed(f"the server ended with {code}", self._log)


def admitting(users: int, journeys: int) -> dict[str, str]:
    """The limits that let so many users make so many journeys each, as the server's environment."""
    return {
        "NETRA_MAX_CONNECTIONS": str(users * 2 + 64),
        "NETRA_MAX_CONNECTIONS_PER_USER": "8",
        "NETRA_MESSAGES_PER_MINUTE": str(max(600, users * journeys * 2)),
    }


@asynccontextmanager
async def started(limits: Mapping[str, str], command: Sequence[str] = SERVE) -> AsyncIterator[Deployment]:
    """Starts a server for the block, and ends it and removes its data after, whatever happens in the block.

    Args:
        limits: the server's settings, as environment; no other setting of the caller's environment reaches it.
        command: what to run; the data folder is appended.

    Raises:
        DeploymentFailed: when the server does not start.
    """
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="netra-golden-path-")
    try:
        log = Path(folder, LOG)
        with await asyncio.to_thread(log.open, "wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(Path(folder, "data")),
                cwd=folder,
                env=_environment(limits),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C is for the prover, which then ends the server
            )
        stdout = cast(asyncio.StreamReader, process.stdout)
        drain: asyncio.Task[None] | None = None
        try:
            url = await _ready(process, stdout, log)
            drain = asyncio.create_task(_drain(stdout))
            yield Deployment(process, url, log)
        finally:
            await _end(process)
            await (_drain(stdout) if drain is None else drain)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _ready(process: asyncio.subprocess.Process, stdout: asyncio.StreamReader, log: Path) -> str:
    """Waits for the line that tells the address."""
    try:
        async with asyncio.timeout(START_LIMIT_S):
            async for line in stdout:
                if match := _READY.search(line.decode(errors="replace")):
                    return match[1]
            code = await process.wait()
    except TimeoutError:
        raise await _failed(f"the server did not start within {START_LIMIT_S:g} s", log) from None
    raise await _failed(f"the server ended with {code} before it was ready", log)


async def _drain(stdout: asyncio.StreamReader) -> None:
    """Reads on, so that the server never waits for a reader of its standard output."""
    while await stdout.read(65536):
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the process by its own id: asks, and insists after a while."""
    if process.returncode is None:
        process.terminate()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
    await process.wait()


async def _failed(reason: str, log: Path) -> DeploymentFailed:
    return DeploymentFailed(reason, await asyncio.to_thread(_tail, log))


def _environment(limits: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NETRA_")}
    path = os.pathsep.join(part for part in (_CODE, os.environ.get("PYTHONPATH")) if part)
    return {**kept, **limits, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _tail(log: Path) -> str:
    with log.open(errors="replace") as lines:
        return "".join(deque(lines, TAIL_LINES)).strip()
