"""What a run of the project's tests said, as values: outcomes, and what was raised where."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from netra_repair.diagnostics import CauseKind
from netra_repair.owners import Access
from netra_repair.recorder.selection import Selection
from netra_repair.source import Position


class Outcome(StrEnum):
    """How a test ended, over its set-up, call and tear-down."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception of a failure's chain that speaks of something undefined.

    Attributes:
        kind: what does not fit.
        name: the missing attribute, the name that could not be imported, or the parameter; "" when the message names
            none.
        receiver: the fully qualified class or module that was asked, as the interpreter saw it (a leaf class, a
            mock's spec);
            None for call errors and when it is not known.
        access: what stood left of the dot.
        bases: the fully qualified names of the receiver's MRO from itself to `object`; () for a module.
        callee: for call errors the function's `__qualname__` as the message gives it ("Base.from_request"); else None.
        path: the file of the expression that failed, relative to the project's root: the frame of the exception, or
            when that is
            in a library (mock, monkeypatch) the nearest frame of the project.
        line: of that expression, from 1.
        start: of the expression; None before Python 3.11, which has no columns.
        end: just after it; None as above. For an attribute: the end of its name, unless the lookup happened in a
            library.
        in_library: whether the exception was raised in a frame outside the project (mock.patch, getattr in a library).
        message: the exception's text, cut to 300 characters; for the report only.
    """

    kind: CauseKind
    name: str
    receiver: str | None
    access: Access | None
    bases: tuple[str, ...]
    callee: str | None
    path: str
    line: int
    start: Position | None
    end: Position | None
    in_library: bool
    message: str


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one test, or the collection of one file, ended.

    Attributes:
        test: its node id; for a file that could not be collected, the file.
        outcome: how it ended.
        collected: False for a file that could not be collected.
        raised: what was raised on the way, outermost first, also under a skip or an expected failure.
        seconds: how long it took.
        reason: class and text of the exception that ended it, cut to 300 characters; "" when none did.
        caught: what was raised in the project's code while it ran, whether or not anybody caught it, also in the Python
            programs that it started; only of a test that failed while this was listened to.
    """

    test: str
    outcome: Outcome
    collected: bool
    raised: tuple[Raised, ...]
    seconds: float
    reason: str = ""
    caught: tuple[Raised, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether pytest counts it against the run."""
        return self.outcome in (Outcome.FAILED, Outcome.ERROR)

    @property
    def broken(self) -> bool:
        """Whether it failed, or was skipped or expected to fail while something undefined was raised."""
        return self.failed or (bool(self.raised) and self.outcome is not Outcome.PASSED)


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """One run of the tests.

    Attributes:
        cases: by node id, in the order they ran.
        exit_code: pytest's; 5 when nothing was collected; negative for a signal.
        seconds: wall time.
        foreign: project modules that were imported from another folder than the one the tests ran in, so that nothing
            is proven.
        output: the end of what pytest printed, for messages.
        interrupted: why the run ended before its last test, naming what ran; None when it came to its end. The tests
            that did not run are not among the cases.
        executed: of the watched lines, file and line of those that ran in a test or fixture that passed, or in an
            import; None when none were watched, or another tracer was in the way.
        evaluated: of the watched lines, file and the position just behind each lookup and call that did not fail by
            itself in a test or fixture that passed, or in an import; None as above, and before Python 3.11, which has
            no columns.
        notes: faults of the recorder itself, for the report.
    """

    cases: dict[str, CaseResult]
    exit_code: int
    seconds: float
    foreign: tuple[str, ...]
    output: str
    interrupted: str | None = None
    executed: frozenset[tuple[str, int]] | None = None
    evaluated: frozenset[tuple[str, Position]] | None = None
    notes: tuple[str, ...] = ()

    def only(self, tests: Collection[str]) -> SuiteResult:
        """The run as if some tests had been asked for: the baseline of a run of those.

        Args:
            tests: what `Suite.run` takes: node ids, or files, folders and classes for all of theirs.

        Returns:
            The run with their cases only.
        """
        selection = Selection(tests)
        return replace(self, cases={test: case for test, case in self.cases.items() if test in selection})
