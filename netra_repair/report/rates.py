"""Success rates: how many of some tests pass."""

from __future__ import annotations

from dataclasses import dataclass

from netra_repair.repair import CauseRepair, Comparison


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of some tests pass.

    Attributes:
        passed: how many do.
        total: how many there are; 0 when nothing was run, and then there is no rate.
    """

    passed: int
    total: int

    @property
    def percent(self) -> float | None:
        """Of a hundred tests, how many pass; rounded down to a tenth, so that 100 means all. None without tests."""
        return self.passed * 1000 // self.total / 10 if self.total else None

    def __str__(self) -> str:
        return "–" if self.percent is None else f"{self.percent:g} %"


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """The rate of the same tests before and after a fix."""

    before: Rate
    after: Rate

    @classmethod
    def of_tests(cls, comparison: Comparison) -> BeforeAfter:
        """Of all tests that ended the same way twice; flaky ones prove nothing and are left out."""
        failing = len(comparison.otherwise) + len(comparison.unchanged)
        restored, regressed = len(comparison.restored), len(comparison.regressed)
        total = comparison.passed + restored + regressed + failing
        return cls(Rate(comparison.passed + regressed, total), Rate(comparison.passed + restored, total))

    @classmethod
    def of_cause(cls, outcome: CauseRepair) -> BeforeAfter:
        """Of the tests that one cause broke: none of them passed before."""
        return cls(Rate(0, len(outcome.broken)), Rate(len(outcome.restored), len(outcome.broken)))
