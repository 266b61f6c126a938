"""Real server processes that start in no time: forked from one that has imported everything.

`python -m tests.support.nursery` is that one; it takes requests as JSON lines. Tests use `Nursery`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.server import ROOT
from tests.support.set_clock import set_clock

AGENTS = json.dumps(
    {
        "steps": "tests.support.agents:StepsAgent",
        "stubborn": "tests.support.agents:StubbornAgent",
        "gate": "tests.support.agents:GateAgent",
    }
)
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class ForkedServer:
    """A running server.

    Attributes:
        url: where it serves; empty when it ended before it did.
        pid: its process.
    """

    url: str
    pid: int

    @property
    def websocket_url(self) -> str:
        """Where its socket is."""
        return f"ws{self.url.removeprefix('http')}/ws"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Nursery:
    """Starts servers and waits for their ends."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._alive: set[int] = set()

    async def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self._process.stdout.readline())

    async def start(self, home: Home, **settings: str) -> ForkedServer:
        """Start a server over its data; settings by the names of the environment, in lower case."""
        environment = {f"NETRA_{name.upper()}": value for name, value in {**home.settings, **settings}.items()}
        pid, line = await self._ask(
            start=str(home.data_dir),
            environment={"NETRA_AGENTS": AGENTS, **environment},
            clock=str(home.clock) if home.clock else None,
        )
        self._alive.add(pid)
        return ForkedServer(line.split()[-1] if line else "", pid)

    async def ended(self, server: ForkedServer) -> int:
        """Wait for its end: its exit code, or the number of the signal that ended it, negative."""
        self._alive.discard(server.pid)
        status: int = await self._ask(wait=server.pid)
        return status

    async def kill_all(self) -> None:
        """Leave none behind."""
        for pid in tuple(self._alive):
            server = ForkedServer("", pid)
            server.signal(signal.SIGKILL)
            await self.ended(server)


@dataclass(frozen=True, slots=True)
class Home:
    """Where a server keeps its data, of one user with an account and nothing else.

    Attributes:
        data_dir: its data folder.
        access_token: of the user.
        settings: what else it needs to find its data, by the names of the environment in lower case.
        clock: the file that sets its clock (`set_clock`), if any.
    """

    data_dir: Path
    access_token: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    clock: Path | None = None


@asynccontextmanager
async def nursing() -> AsyncIterator[Nursery]:
    """A nursery for the block."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.nursery", env=environment, stdin=PIPE, stdout=PIPE
    )
    nursery = Nursery(process)
    try:
        yield nursery
    finally:
        await nursery.kill_all()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def _serve(data_dir: str, environment: dict[str, str], clock: str | None, said: int) -> int:
    import netra_cli

    if clock is not None:
        set_clock(Path(clock))
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    words = ["serve", "--port", "0", "--data-dir", data_dir, "--log-level", "ERROR"]
    return netra_cli.main(words)


def _start(data_dir: str, environment: dict[str, str], clock: str | None) -> tuple[int, str]:
    said, saying = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(said)
        code = 1
        try:
            code = _serve(data_dir, environment, clock, saying)
        finally:
            os._exit(code)
    os.close(saying)
    with os.fdopen(said) as pipe:
        return pid, pipe.readline()


def _warm_up() -> None:
    """Import what a server imports at any time in its start."""
    import uvicorn

    import tests.support.agents  # noqa: F401
    from netra_backend.app.config import Settings
    from netra_backend.app.main import create_app

    with TemporaryDirectory() as folder:
        uvicorn.Config(create_app(Settings(data_dir=Path(folder)))).load()


def main() -> int:
    """Answer requests until there are no more."""
    _warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer: object = _start(request["start"], request["environment"], request["clock"])
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
