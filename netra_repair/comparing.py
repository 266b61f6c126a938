"""The tests as oracle: what two runs of the same tests say about the change between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum

from netra_repair.failures import CaseResult, Outcome, Raised, SuiteResult
from netra_repair.recorder.selection import Selection
from netra_repair.repair import Comparison


class _Change(Enum):
    """What became of a test."""

    RESTORED = "restored"
    REGRESSED = "regressed"
    OTHERWISE = "otherwise"
    UNCHANGED = "unchanged"
    PASSED = "passed"
    NONE = "none"


def flaky(first: SuiteResult, second: SuiteResult) -> frozenset[str]:
    """The tests that end differently in two runs of the same code, and so prove nothing.

    Args:
        first: one run.
        second: the other.

    Returns:
        Node ids, also of tests that only one run has, unless the other was interrupted and may not have come to them.
    """
    differing = {
        test
        for test, case in first.cases.items()
        if test in second.cases and case.outcome != second.cases[test].outcome
    }
    for one, other in ((first, second), (second, first)):
        if other.interrupted is None:
            differing |= one.cases.keys() - other.cases.keys()
    return frozenset(differing)


def followed(broken: Iterable[str], after: SuiteResult) -> tuple[str, ...]:
    """What became of broken tests' ids: a file that could not be collected stands for the tests it turns out to hold.

    Args:
        broken: node ids of a run before, uncollected files among them.
        after: the run after.

    Returns:
        Each id, or in its place those of the tests that were hidden behind it; without repetition.
    """
    ids: dict[str, None] = {}
    for test in broken:
        held = () if test in after.cases or "[" in test else _held(test, after)
        ids.update(dict.fromkeys(held or (test,)))
    return tuple(ids)


def compare(before: SuiteResult, after: SuiteResult, flaky: Collection[str]) -> Comparison:
    """Says what a change did to the tests.

    A test that was skipped, or expected to fail, while something undefined was raised counts as failed before. A test
    that is new counts as failed before when it was hidden in a file that could not be collected, or below a conftest.py
    that could not be imported; else its failure is a regression. So is a failure of what was skipped before.

    Args:
        before: the run before the change.
        after: the run after it, of the same tests: when those were selected, `before` is `only` those, too.
        flaky: node ids that prove nothing.

    Returns:
        The tests that changed, by how; in the order in which they ran.
    """
    hidden = Selection([test for test, case in before.cases.items() if not case.collected])
    found: dict[_Change, list[str]] = {change: [] for change in _Change}
    for test in dict.fromkeys((*before.cases, *after.cases)):
        if test in flaky:
            continue
        earlier, later = before.cases.get(test), after.cases.get(test)
        if earlier is not None:
            change = _of_known(earlier, later, was_hiding=not earlier.collected and bool(_held(test, after)))
        else:
            change = _of_new(after.cases[test], test in hidden)
        found[change].append(test)
    return Comparison(
        restored=tuple(found[_Change.RESTORED]),
        regressed=tuple(found[_Change.REGRESSED]),
        otherwise=tuple(found[_Change.OTHERWISE]),
        unchanged=tuple(found[_Change.UNCHANGED]),
        flaky=tuple(sorted(flaky)),
        passed=len(found[_Change.PASSED]),
    )


def _held(container: str, result: SuiteResult) -> list[str]:
    selection = Selection([container])
    return [test for test in result.cases if test in selection and test != container]


def _of_known(earlier: CaseResult, later: CaseResult | None, *, was_hiding: bool) -> _Change:
    passes = later is not None and later.outcome is Outcome.PASSED
    if earlier.outcome is Outcome.PASSED:
        return _Change.PASSED if passes else _Change.REGRESSED
    if not earlier.broken:
        return _Change.REGRESSED if later is not None and later.failed else _Change.NONE
    if passes:
        return _Change.RESTORED
    if later is None:
        return _Change.NONE if was_hiding else _Change.OTHERWISE  # the tests in it speak for themselves
    return _Change.UNCHANGED if _same_failure(earlier, later) else _Change.OTHERWISE


def _of_new(later: CaseResult, was_hidden: bool) -> _Change:
    if later.outcome is Outcome.PASSED:
        return _Change.RESTORED if was_hidden else _Change.NONE
    if later.failed:
        return _Change.OTHERWISE if was_hidden else _Change.REGRESSED
    return _Change.NONE


def _same_failure(earlier: CaseResult, later: CaseResult) -> bool:
    """By what was undefined, wherever it was asked for; else by how it ended and the class of the exception."""
    if earlier.raised or later.raised:
        return all(any(_same(one, other) for other in later.raised) for one in earlier.raised) and all(
            any(_same(one, other) for other in earlier.raised) for one in later.raised
        )
    return (earlier.outcome, earlier.reason.partition(":")[0]) == (later.outcome, later.reason.partition(":")[0])


def _same(one: Raised, other: Raised) -> bool:
    """Whether both speak of the same thing; the receiver may be a class in one and a subclass in the other."""
    if (one.kind, one.name, one.callee) != (other.kind, other.name, other.callee):
        return False
    return one.receiver == other.receiver or one.receiver in other.bases or other.receiver in one.bases
