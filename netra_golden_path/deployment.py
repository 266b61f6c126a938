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
from urllib.parse import urlsplit

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
    """A server that is started, may be killed, and is started again over the same data at the same address.

    Args:
        command: what to run; the data folder is appended.
        folder: what it may write to.
        limits: the server's settings, as environment.

    Attributes:
        url: where it serves; empty before the first start.
    """

    def __init__(self, command: Sequence[str], folder: str, limits: Mapping[str, str]) -> None:
        self.url = ""
        self._command = (*command, str(Path(folder, "data")))
        self._folder = folder
        self._environment = _environment(limits)
        self._log = Path(folder, LOG)
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        return self._running.pid

    async def start(self) -> None:
        """Starts it and waits until it serves.

        Raises:
            DeploymentFailed: when it does not start.
        """
        at = ("--port", str(urlsplit(self.url).port)) if self.url else ()
        with await asyncio.to_thread(self._log.open, "ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                *at,
                cwd=self._folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C is for the prover, which then ends the server
            )
        stdout = cast(asyncio.StreamReader, self._process.stdout)
        self.url = await _ready(self._process, stdout, self._log)
        self._drain = asyncio.create_task(_drain(stdout))

    async def kill(self) -> None:
        """Kills it without a warning, as a lost machine ends."""
        if self._running.returncode is None:
            self._running.kill()
        await self._gone()

    async def end(self) -> None:
        """Ends it: asks, and insists after a while."""
        if self._process is not None:
            await _end(self._process)
            await self._gone()

    async def failure(self) -> DeploymentFailed | None:
        """Tells why the server is no longer there, with its last words; None while it runs."""
        code = self._running.returncode
        return None if code is None else await _failed(f"the server ended with {code}", self._log)

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the deployment was not started")
        return self._process

    async def _gone(self) -> None:
        await self._running.wait()
        await (_drain(cast(asyncio.StreamReader, self._running.stdout)) if self._drain is None else self._drain)
        self._drain = None


def admitting(users: int, journeys: int, drops: int = 0) -> dict[str, str]:
    """The limits that let so many users make so many journeys each, as the server's environment.

    Args:
        users: at once.
        journeys: of each.
        drops: connections that each loses in a journey, of which the server may learn a little later.
    """
    return {
        "NETRA_MAX_CONNECTIONS": str(users * (2 + drops) + 64),
        "NETRA_MAX_CONNECTIONS_PER_USER": str(8 + drops),
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
        deployment = Deployment(command, folder, limits)
        try:
            await deployment.start()
            yield deployment
        finally:
            await deployment.end()
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
