"""Suspects: failing tests whose root cause does not show, and so are run again.

Some do not see it: what they test catches what was raised, or they start a program that ends of it, and they only miss
the result. Others suffer from what a failure before them left behind, and show a root cause of their own in a process
of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace

from netra_repair.failures import CaseResult, Outcome, Raised, SuiteResult
from netra_repair.owners import Owner
from netra_repair.sightings import Sighter, Sighting
from netra_repair.suite import Suite
from netra_repair.triage import Triage

# What is run alone at most: a root cause with more tests than that shows in these.
MOST = 500
# The most seconds that running them again may take, and then running some alone.
LIMIT_S = 120.0

# On what, which attribute, and of what is called which parameter.
_Missing = tuple[Owner, str, str]

Rerun = Callable[[Sequence[str], bool], SuiteResult]


def rerunning(suite: Suite, timeout_s: float) -> Rerun:
    """Runs the tests of a suite again, and listens to what they and the programs that they start catch.

    Args:
        suite: whose tests.
        timeout_s: the most seconds of a run that a person allows.
    """
    return lambda tests, alone: suite.run(tests, min(timeout_s, LIMIT_S), listening=True, alone=alone)


class Suspects:
    """Asks suspects again, so that their root cause shows.

    An object that is made once for all tests is left half made when its making fails. The first test says why; the
    others fail at what it lacks, in ways that tell nothing.

    Args:
        sighter: finds the place where a test died.
        triage: knows what no class can lack.
    """

    def __init__(self, sighter: Sighter, triage: Triage) -> None:
        self._sighter = sighter
        self._triage = triage
        self._known: set[_Missing] = set()  # by this and earlier runs
        self._have_told: set[str] | None = None  # the tests that showed a root cause, once there was a run

    def asked_again(self, suite: SuiteResult, rerun: Rerun, seen: Iterable[Sighting] = ()) -> SuiteResult:
        """Looks at the suspects of a run; of a later one, at those that showed a root cause before.

        Args:
            suite: a run of the tests.
            rerun: runs tests, and listens to what they catch; each in a process of its own when its second argument
                is true.
            seen: what is missing by other accounts than the tests'.

        Returns:
            The run, with what suspects say where that shows a root cause; as it was when neither another test nor
            anybody else has shown one, in this run or before, since then there is nothing they could suffer from.
        """
        telling = self._telling(suite)
        self._known |= self._families((*seen, *telling.values()))
        suspects = [test for test, case in suite.cases.items() if _may_be_broken(case) and test not in telling]
        if self._have_told is not None:  # what newly fails of several things would speak against what is mended
            suspects = [test for test in suspects if test in self._have_told]
        told: dict[str, CaseResult] = {}
        for alone in (False, True) if self._have_told is None else (False,):
            if not suspects or not self._known:
                break
            told |= self._told(suite, rerun(suspects[:MOST] if alone else suspects, alone), self._known)
            suspects = [test for test in suspects if test not in told]
        self._have_told = {*(self._have_told or ()), *telling, *self._telling(replace(suite, cases=told))}
        return replace(suite, cases=suite.cases | told) if told else suite

    def _told(self, suite: SuiteResult, again: SuiteResult, known: Set[_Missing]) -> dict[str, CaseResult]:
        """The cases of a run that show a root cause when they run again.

        What was raised on the way and caught counts only where it is known to be one: code may well raise and catch
        what means no harm.
        """
        telling = self._telling(again)
        known = known | self._families(telling.values())
        found = {}
        for test, case in again.cases.items():
            if test in suite.cases and case.broken:
                raised = case.raised if test in telling else self._caught(case, known)
                if raised:
                    found[test] = replace(suite.cases[test], raised=raised, reason=case.reason)
        return found

    def _telling(self, suite: SuiteResult) -> dict[str, Sighting]:
        """The tests that died of what may be a root cause, with the last such."""
        sightings = self._sighter.of_tests(suite)
        return {sighting.test: sighting for sighting in sightings if sighting.test and self._may_be_cause(sighting)}

    def _caught(self, case: CaseResult, known: Set[_Missing]) -> tuple[Raised, ...]:
        """What a test, or what it tests, caught of some causes."""
        return tuple(
            raised
            for raised in case.caught
            for sighting in self._sighter.of_case(replace(case, raised=(raised,)))
            if sighting.refusal is None and not known.isdisjoint(self._families([sighting]))
        )

    def _families(self, sightings: Iterable[Sighting]) -> set[_Missing]:
        """What is missing, on every class of the project that may be the one that should have it."""
        return {
            (owner, sighting.attribute, sighting.parameter)
            for sighting in sightings
            for owner in self._sighter.family(sighting.receiver)
        }

    def _may_be_cause(self, sighting: Sighting) -> bool:
        if not sighting.kind.is_attribute:
            return True
        return self._triage.of_owner(sighting.receiver, sighting.access, sighting.attribute) is None


def _may_be_broken(case: CaseResult) -> bool:
    """An expected failure may have another reason now than the expected one."""
    return case.collected and (case.broken or case.outcome is Outcome.XFAILED)
