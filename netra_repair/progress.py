"""What a long piece of work tells while it goes on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Somebody who wants to know; the work never asks what becomes of what it tells."""

    def step(self, name: str, total: int | None = None) -> None:
        """Begins a step and ends the one before.

        Args:
            name: what is being done, "checking".
            total: how many times `advance` will be called; None when nobody can tell.
        """

    def advance(self, count: int = 1) -> None:
        """Tells that so much more of the step is done."""


class Silence:
    """A progress that nobody sees."""

    def step(self, name: str, total: int | None = None) -> None:
        """Begins a step."""

    def advance(self, count: int = 1) -> None:
        """Tells that more of the step is done."""
