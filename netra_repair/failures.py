"""What a run of the project's tests said, as values: outcomes, and what was raised where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netra_repair.diagnostics import CauseKind
from netra_repair.owners import Access
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
    """

    test: str
    outcome: Outcome
    collected: bool
    raised: tuple[Raised, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """One run of the tests.

    Attributes:
        cases: by node id.
        exit_code: pytest's; 5 when nothing was collected; negative for a signal.
        seconds: wall time.
        foreign: project modules that were imported from another folder than the one the tests ran in, so that nothing
            is proven.
        output: the end of what pytest printed, for messages.
    """

    cases: dict[str, CaseResult]
    exit_code: int
    seconds: float
    foreign: tuple[str, ...]
    output: str
