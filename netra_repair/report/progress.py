"""The display of what the tool is doing at the moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress
from rich.console import Console

from netra_repair.progress import Progress


@contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """Shows progress while the block runs: as a bar that goes away on a terminal, else as one line for each step.

    Args:
        console: on the stream for messages, so that reports can be piped.

    Yields:
        What to tell it to.
    """
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, name: str, total: int | None = None) -> None:
        text = name if total is None else f"{name} ({total:,})"
        self._console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def advance(self, count: int = 1) -> None:
        """A line for each would drown the rest."""


class _Bar:
    def __init__(self, bar: progress.Progress) -> None:
        self._bar = bar
        self._task: progress.TaskID | None = None

    def step(self, name: str, total: int | None = None) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=total)

    def advance(self, count: int = 1) -> None:
        if self._task is not None:
            self._bar.advance(self._task, count)
