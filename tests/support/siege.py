"""A server that is besieged by bad input while other users go on working, and what it must not show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from netra_golden_path.client import Target
from netra_golden_path.invariants import ServiceLevels
from netra_golden_path.prover import Options, prove
from tests.support.server import Server, serving

CONTROL_USERS: Final = 2
REST_S: Final = 0.5
"""How long the others wait before they begin anew: the machine is for who besieges, too."""
LIMIT_S: Final = 60.0
MEBIBYTE: Final = 1024 * 1024
FAULTS: Final = (
    '"level": "error"',
    '"level": "critical"',
    "Traceback",
    "Exception",
    "never retrieved",
    "never awaited",
)
"""What a line of the log holds that tells of something nobody has thought of."""


@dataclass
class Siege:
    """A server under siege.

    Attributes:
        server: the server.
        journeys: how many journeys the others have made meanwhile, every one as it should be.
        leaks: how often one of them was told of another.
        faults: what was wrong, in words.
        rss_before: of the server's process in bytes, when it was warm.
        rss_after: the same, at the end.
    """

    server: Server
    journeys: int = 0
    leaks: int = 0
    faults: list[str] = field(default_factory=list)
    rss_before: int = 0
    rss_after: int = 0

    def warm(self) -> None:
        """What the server needs for itself it has by now: from here on it must not grow."""
        self.rss_before = self._rss()

    def _rss(self) -> int:
        return int(psutil.Process(self.server.process.pid).memory_info().rss)

    @property
    def growth_mib(self) -> float:
        """By how much the server has grown since it was warm."""
        return (self.rss_after - self.rss_before) / MEBIBYTE

    def __str__(self) -> str:
        memory = f"{self.rss_before / MEBIBYTE:.0f} -> {self.rss_after / MEBIBYTE:.0f} MiB"
        told = "; ".join(self.faults) or "nothing wrong"
        return f"{self.journeys} journeys of others, {self.leaks} leaks, memory {memory}: {told}"


@asynccontextmanager
async def besieged(data_dir: Path, **settings: str) -> AsyncIterator[Siege]:
    """A server whose other users make journeys during the block; its log and its memory are looked at after it.

    Args:
        data_dir: its data folder.
        settings: of the server, as for `serving`.
    """
    log = data_dir.with_name(f"{data_dir.name}.log")
    async with serving(data_dir, log, **settings) as server:
        siege = Siege(server)
        is_over = asyncio.Event()
        others = asyncio.create_task(_journeys(siege, is_over))
        try:
            yield siege
        finally:
            is_over.set()
            await others
        siege.rss_after = siege._rss()
        if server.process.returncode is not None:
            siege.faults.append(f"the server ended with {server.process.returncode}")
    lines = (await asyncio.to_thread(log.read_text, errors="replace")).splitlines()
    siege.faults += [f"in the log: {line[:300]}" for line in lines if any(fault in line for fault in FAULTS)]


async def _journeys(siege: Siege, is_over: asyncio.Event) -> None:
    """The golden path, again and again, at least once."""
    target = Target.of(siege.server.url)
    while not siege.journeys or not is_over.is_set():
        levels = ServiceLevels.none(LIMIT_S)
        report = await prove(Options(target=target, users=CONTROL_USERS, ramp_s=0, levels=levels, limit_s=LIMIT_S))
        siege.journeys += report.measurements.journey.count
        siege.leaks += report.leaks
        if not report.passed:
            siege.faults.append(f"the golden path of others: {report.as_json().decode()[:2000]}")
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_S):
                await is_over.wait()
