"""What must hold while something is fuzzed: others are served, the log tells no fault, memory does not grow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tests.support.person import a_person
from tests.support.server import Server, serving

MIB: Final = 1024 * 1024
UNBOUNDED: Final = {
    "failed_sign_ins_per_minute": "10000000",
    "failed_sign_ins_per_hour": "10000000",
}
"""A throttle would refuse most cases before anything looks at them."""


@dataclass(slots=True)
class Watch:
    """What was seen meanwhile.

    Attributes:
        server: that is fuzzed.
        log: its log.
        answers: that a bystander has got, each the right one.
        begun_bytes: of memory that the server had when everything was warm.
    """

    server: Server
    log: Path
    answers: int = 0
    begun_bytes: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def resident_bytes(self) -> int:
        """Of memory that the server has now."""
        return int(psutil.Process(self.server.process.pid).memory_info().rss)

    def warm(self) -> None:
        """From now on memory must not grow."""
        self.begun_bytes = self.resident_bytes

    @property
    def growth_bytes(self) -> int:
        """How much memory has grown since everything was warm."""
        return self.resident_bytes - self.begun_bytes

    def read_log(self) -> list[str]:
        """Every line that tells a fault of the server's own, or is none of its lines."""
        return [line for line in self.log.read_text().splitlines() if _is_fault(line)]


def _is_fault(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return True
    return entry["level"] in ("error", "critical") or "exception" in entry


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watch]:
    """A server of its own for the block, with a bystander who works all the time; it raises when he is not served."""
    log = folder / "log"
    async with serving(folder / "data", log=str(log), log_level="INFO", **UNBOUNDED) as server:
        watch = Watch(server, log)
        standing = asyncio.create_task(_stand_by(watch))
        try:
            yield watch
        finally:
            is_served = not standing.done()
            standing.cancel()
            ended = (await asyncio.gather(standing, return_exceptions=True))[0]
            if not is_served and isinstance(ended, Exception):
                watch.faults.append(f"the bystander was not served: {ended!r}")
        if server.process.returncode is not None:
            watch.faults.append(f"the server ended with {server.process.returncode}")


async def _stand_by(watch: Watch) -> None:
    async with a_person(watch.server) as bystander, bystander.connected() as socket:
        while True:
            text = f"number {watch.answers}"
            frames = await socket.ask(text, agent="gate")
            assert frames[-1]["data"]["result"] == {"echo": text, "user_id": bystander.user_id}, frames[-1]
            assert (await bystander.http.get("/auth/me")).json()["user_id"] == bystander.user_id
            watch.answers += 1
            await asyncio.sleep(1)  # within what one user may send in a minute
