"""What a proof is doing at the moment, and its display."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_TERMINAL_S = 0.25
_PLAIN_S = 3.0


@dataclass(slots=True)
class Status:
    """How far a proof has come; the proof writes it, a display reads it."""

    phase: str = "starting"
    done: int = 0
    total: int = 0
    failed: int = 0
    leaks: int = 0

    def enter(self, phase: str, total: int) -> None:
        """Begins a phase of `total` steps."""
        self.phase, self.total = phase, total
        self.done = self.failed = self.leaks = 0

    def __str__(self) -> str:
        text = f"{self.phase}: {self.done} of {self.total}" if self.total else self.phase
        if self.failed:
            text += f", {self.failed} failed"
        return f"{text}, {self.leaks} leaks" if self.leaks else text


@asynccontextmanager
async def shown(status: Status, console: Console) -> AsyncIterator[None]:
    """Shows the status while the block runs: as a bar on a terminal, else as a line every few seconds."""
    display = asyncio.create_task(_bar(status, console) if console.is_terminal else _lines(status, console))
    try:
        yield
    finally:
        display.cancel()
        await asyncio.wait([display])


async def _lines(status: Status, console: Console) -> None:
    told = ""
    while True:
        if str(status) != told:
            told = str(status)
            console.print(told, highlight=False, markup=False)
        await asyncio.sleep(_PLAIN_S)


async def _bar(status: Status, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task(status.phase, total=None)
        while True:
            failed = f", {status.failed} failed" if status.failed else ""
            leaks = f", {status.leaks} leaks" if status.leaks else ""
            bar.update(
                task, description=status.phase + failed + leaks, completed=status.done, total=status.total or None
            )
            bar.refresh()
            await asyncio.sleep(_TERMINAL_S)
