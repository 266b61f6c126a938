"""Suspects: failing tests that may only suffer from what a failure before them left behind, and so are run alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from netra_repair.failures import CaseResult, Outcome, SuiteResult
from netra_repair.sightings import Sighter, Sighting
from netra_repair.triage import Triage

# What is run again at most: a root cause with more tests than that shows in these.
MOST = 500
# The most seconds that it may take.
LIMIT_S = 120.0

RunAlone = Callable[[Sequence[str]], SuiteResult]


class Suspects:
    """Asks suspects again, each in a process of its own, so that their own root cause shows.

    An object that is made once for all tests is left half made when its making fails. The first test says why; the
    others fail at what it lacks, in ways that tell nothing.

    Args:
        sighter: finds the place where a test died.
        triage: knows what no class can lack.
    """

    def __init__(self, sighter: Sighter, triage: Triage) -> None:
        self._sighter = sighter
        self._triage = triage

    def asked_again(self, suite: SuiteResult, run_alone: RunAlone) -> SuiteResult:
        """Looks at the suspects of a run.

        Args:
            suite: a run of the tests.
            run_alone: runs tests, each in a process of its own.

        Returns:
            The run, with what suspects say alone where that shows a root cause; as it was when no other test shows
            one, since then there is nothing they could suffer from.
        """
        broken = {test: case for test, case in suite.cases.items() if _may_be_broken(case)}
        telling = self._telling(suite)
        suspects = [test for test in broken if test not in telling][:MOST]
        if not suspects or not telling:
            return suite
        alone = run_alone(suspects)
        better = self._telling(alone)
        told = {test: _told(broken[test], alone.cases[test]) for test in suspects if test in better}
        return replace(suite, cases=suite.cases | told)

    def _telling(self, suite: SuiteResult) -> set[str]:
        """The tests that died of what may be a root cause."""
        sightings = self._sighter.of_tests(suite)
        return {sighting.test for sighting in sightings if sighting.test is not None and self._may_be_cause(sighting)}

    def _may_be_cause(self, sighting: Sighting) -> bool:
        if not sighting.kind.is_attribute:
            return True
        return self._triage.of_owner(sighting.receiver, sighting.access, sighting.attribute) is None


def _may_be_broken(case: CaseResult) -> bool:
    """An expected failure may have another reason now than the expected one."""
    return case.collected and (case.broken or case.outcome is Outcome.XFAILED)


def _told(case: CaseResult, alone: CaseResult) -> CaseResult:
    """A case as it ended, with what it died of alone."""
    return replace(case, raised=alone.raised, reason=alone.reason) if alone.broken else case
