"""The tests of a copy as an oracle: which of them prove something, and what fails newly."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from netra_repair.causes import RootCause
from netra_repair.comparing import compare, flaky
from netra_repair.errors import TestRunError
from netra_repair.failures import Outcome, SuiteResult
from netra_repair.plan import FilePlan
from netra_repair.progress import Progress
from netra_repair.recorder.selection import container
from netra_repair.suite import Suite
from netra_repair.suspects import Rerun, rerunning

# With a name that is only likely a test may go on for ever: a run in which no test has begun or ended for so many
# seconds is stopped, or for so many times as many as all tests took without any change.
QUIET_S, _PATIENCE = 60.0, 3


class Oracle:
    """Runs the tests of a copy, whatever stands in it.

    Attributes:
        flaky: node ids of tests that ended differently with the same code, and so prove nothing.

    Args:
        suite: the copy's tests.
        timeout_s: of one run, in seconds.
        progress: is told what goes on.
    """

    def __init__(self, suite: Suite, timeout_s: float, progress: Progress) -> None:
        self.flaky: frozenset[str] = frozenset()
        self._suite = suite
        self._timeout_s = timeout_s
        self._quiet_s = QUIET_S
        self._progress = progress

    @property
    def rerun(self) -> Rerun:
        """Runs tests again to find out what they die of."""
        return rerunning(self._suite, self._timeout_s)

    def baseline(self) -> SuiteResult:
        """Runs all tests of the unchanged copy.

        Returns:
            A run that came to its end.

        Raises:
            TestRunError: when it did not, or when the tests import another copy, so that they prove nothing.
        """
        return self._proving("running the tests as they are", {})

    def second_baseline(self, first: SuiteResult, causes: Iterable[RootCause]) -> SuiteResult:
        """Runs them again, to know the flaky ones, and watches which places of causes passing tests run.

        Args:
            first: the run of the same code before.
            causes: what was found in it.

        Returns:
            The run.

        Raises:
            TestRunError: as for `baseline`.
        """
        watched: dict[str, set[int]] = {}
        for site in (site for cause in causes for site in cause.sites):
            watched.setdefault(site.reference.path, set()).add(site.reference.position.line)
        second = self._proving("running them again, to know the flaky ones", watched)
        self._quiet_s = max(QUIET_S, _PATIENCE * second.seconds)
        self.flaky = flaky(first, second)
        return second

    def run(
        self, step: str, tests: Collection[str] = (), changed: Iterable[FilePlan] = (), *, is_trial: bool = False
    ) -> SuiteResult:
        """Runs tests, and watches whether changed lines are run.

        Args:
            step: what is done, for people.
            tests: which; () for all.
            changed: what was changed.
            is_trial: whether a change is only likely, so that a test may go on for ever with it.
        """
        self._progress.step(step)
        watched: dict[str, set[int]] = {}
        for file in changed:
            watched.setdefault(file.path, set()).update(site.site.reference.position.line for site in file.sites)
        return self._suite.run(tuple(tests), self._timeout_s, watched, quiet_s=self._quiet_s if is_trial else math.inf)

    def regressed(self, before: SuiteResult, after: SuiteResult, tests: Sequence[str] = ()) -> tuple[str, ...]:
        """What does not pass any more, while the changes still stand in the copy.

        A test that fails newly is run again: one that then passes is flaky. It is believed only when it passes among
        all others, too, since it may depend on them.

        Args:
            before: a run of all tests without the changes.
            after: the run with them.
            tests: those that were run; () for all.

        Returns:
            Node ids; or what ended the run early.
        """
        if after.interrupted is not None:
            return (f"a run of the tests ({after.interrupted})",)
        failing = compare(before.only(tests) if tests else before, after, self.flaky).regressed
        for selection in (sorted(set(map(container, failing))), tests):
            if failing:
                again = self.run("running again what fails newly", selection)
                steady = tuple(test for test in failing if not _passes(test, again))
                if steady:
                    return steady
        self.flaky |= set(failing)
        return ()

    def _proving(self, step: str, watched: Mapping[str, Collection[int]]) -> SuiteResult:
        self._progress.step(step)
        result = self._suite.run((), self._timeout_s, watched)
        if result.interrupted is not None:
            raise TestRunError(
                f"the tests did not come to their end: {result.interrupted}",
                "what they prove is not known; mend that first, name fewer tests behind --, or raise --timeout",
            )
        if result.foreign:
            raise TestRunError(
                f"the tests import {', '.join(result.foreign[:3])} from elsewhere, not from the copy that is changed",
                "they would prove nothing: name the import root in pytest's `pythonpath`, or install with --editable "
                "no longer",
            )
        return result


def _passes(test: str, result: SuiteResult) -> bool:
    return test in result.cases and result.cases[test].outcome is Outcome.PASSED
