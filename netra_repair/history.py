"""What the project's git history says of a name: never there, removed, renamed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netra_repair.owners import Signature


class Verdict(StrEnum):
    """What became of the name."""

    NEVER_EXISTED = "never existed"
    REMOVED = "removed"
    RENAMED = "renamed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Past:
    """What was found.

    Attributes:
        verdict: what became of the name.
        detail: one sentence: the commit, or why nothing is known ("a shallow clone", "not a git repository").
        commit: the commit that removed or renamed it, abbreviated; else None.
        renamed_to: the name that its body went to in that commit; else None.
        signature: what it took when it was last there; else None.
        renamed_parameters: parameters that got another name when it was renamed or changed, old and new.
        beside: the names that stood beside it when it was last there: none of them is what it was renamed to.
    """

    verdict: Verdict
    detail: str
    commit: str | None = None
    renamed_to: str | None = None
    signature: Signature | None = None
    renamed_parameters: tuple[tuple[str, str], ...] = ()
    beside: tuple[str, ...] = ()
