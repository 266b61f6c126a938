"""What a fix came to: tests before and after, batches, what was kept and what was rolled back."""

from __future__ import annotations

from dataclasses import dataclass

from netra_repair.causes import RootCause
from netra_repair.findings import Findings
from netra_repair.plan import Plan, RefusedSite


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs of the same tests.

    Attributes:
        restored: failed before, pass now.
        regressed: passed before, do anything else now (skip, expected failure and not being collected count); flaky
            ones left out.
        otherwise: failed before and fail now, for another reason: progress, not success.
        unchanged: failed before and fail now for the same reason.
        flaky: ended differently in two runs of the same code; they prove nothing.
        passed: pass before and now.
    """

    restored: tuple[str, ...]
    regressed: tuple[str, ...]
    otherwise: tuple[str, ...]
    unchanged: tuple[str, ...]
    flaky: tuple[str, ...]
    passed: int


@dataclass(frozen=True, slots=True)
class CauseRepair:
    """What became of one cause.

    Attributes:
        key: of the cause.
        plan: what was kept, and what was refused or rolled back, with reasons.
        broken: node ids of the tests that it broke.
        restored: those of them that pass now.
        batches: how many batches of files were verified.
        rolled_back: how many of them were taken back.
        uncovered: sites that were changed and that no test ran: proven by types and binding only.
    """

    key: str
    plan: Plan
    broken: tuple[str, ...]
    restored: tuple[str, ...]
    batches: int
    rolled_back: int
    uncovered: int

    @property
    def success_rate(self) -> float | None:
        """Share of the broken tests that pass now; None when it broke none."""
        return len(self.restored) / len(self.broken) if self.broken else None


@dataclass(frozen=True, slots=True)
class Repair:
    """What a fix came to.

    Attributes:
        findings: of the scan it began with.
        causes: in the order they were worked on.
        comparison: all tests before and after.
        remaining: how many sites the engine still reports after the fix, refused ones included.
        refused: sites that no plan touched, over all causes.
        diff: the unified diff of everything that was kept.
        run: the id for `netra repair undo`; None when nothing was written to the project.
        seconds: wall time.
        later: causes that came to light only after others were repaired, worked on or not; no key of the scan's is
            among them.
    """

    findings: Findings
    causes: tuple[CauseRepair, ...]
    comparison: Comparison
    remaining: int
    refused: tuple[RefusedSite, ...]
    diff: str
    run: str | None
    seconds: float
    later: tuple[RootCause, ...] = ()
