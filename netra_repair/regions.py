"""Stretches of text that are guarded."""

from __future__ import annotations

from dataclasses import dataclass

from netra_repair.layout import Place
from netra_repair.references import Guard


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of text that is guarded.

    Attributes:
        start: its first character, as an index into the file's text.
        end: after its last one.
        guard: how.
        attribute: the only attribute it is for; None for all of them.
        receiver: the only object it is for, as it is written, without white space; None for all of them.
        errors: the exceptions it expects, by their last name; empty where it is not about exceptions.
        handlers: where the `except` clauses stand that do, if it is a `try`.
    """

    start: int
    end: int
    guard: Guard
    attribute: str | None = None
    receiver: str | None = None
    errors: frozenset[str] = frozenset()
    handlers: tuple[Place, ...] = ()
