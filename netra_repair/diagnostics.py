"""What a type checker says, in our words. Every checker's own words are translated into these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netra_repair.source import Position


class CauseKind(StrEnum):
    """What does not fit between a place in the code and what is defined."""

    MISSING_ATTRIBUTE = "missing-attribute"
    MISSING_IMPORT = "missing-import"
    UNEXPECTED_KEYWORD = "unexpected-keyword"
    POSITIONAL_COUNT = "positional-count"
    MISSING_ARGUMENT = "missing-argument"

    @property
    def is_attribute(self) -> bool:
        """Whether a name is missing; the other kinds are about the arguments of a call."""
        return self in (CauseKind.MISSING_ATTRIBUTE, CauseKind.MISSING_IMPORT)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding of a checker.

    Attributes:
        kind: what does not fit.
        path: relative to the project's root.
        start: of what the checker marks: the whole `receiver.name` for an attribute, the keyword or the argument for
            a call.
        end: just after it: for an attribute the end of its name, where all checkers agree.
        name: the missing attribute, or the parameter; "" where the kind has none (too many positional arguments).
        callee: for the kinds of calls the called function, fully qualified by its defining class; else None.
        patch_target: whether the place is the text of a `mock.patch("…")`.
        message: the checker's own words, one line, for the report only: nothing is decided by it.
        checker: who said it, "pyrefly 1.4.1".
    """

    kind: CauseKind
    path: str
    start: Position
    end: Position
    name: str
    callee: str | None
    patch_target: bool
    message: str
    checker: str


@dataclass(frozen=True, slots=True)
class Blind:
    """A file that a checker could not read or did not understand wholly.

    Attributes:
        path: relative to the project's root.
        reason: why, for the report.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a checker found in a project.

    Attributes:
        diagnostics: in order of path and position.
        blind: the files it could not read; the syntax scan covers them.
        unresolved: modules whose import it could not resolve, with the number of places: a sign that the environment
            lacks
            the project's dependencies.
        files: how many files it analysed; 0 means that nothing was analysed, and then nothing is proven.
    """

    diagnostics: tuple[Diagnostic, ...]
    blind: tuple[Blind, ...]
    unresolved: tuple[tuple[str, int], ...]
    files: int
