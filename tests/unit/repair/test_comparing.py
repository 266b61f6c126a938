"""What two runs of the same tests say about the change between them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.comparing import compare, flaky, followed
from netra_repair.diagnostics import CauseKind
from netra_repair.failures import CaseResult, Outcome, Raised, SuiteResult
from netra_repair.owners import Access
from netra_repair.repair import Comparison

PASSED, FAILED, ERROR = Outcome.PASSED, Outcome.FAILED, Outcome.ERROR
SKIPPED, XFAILED, XPASSED = Outcome.SKIPPED, Outcome.XFAILED, Outcome.XPASSED


def gone(name: str = "gone", leaf: str = "Ctx", line: int = 1) -> Raised:
    """A missing attribute of a class whose base is `Base`."""
    bases = tuple(dict.fromkeys((f"pkg.{leaf}", "pkg.Base", "builtins.object")))
    message = f"type object '{leaf}' has no attribute '{name}'"
    return Raised(
        CauseKind.MISSING_ATTRIBUTE, name, bases[0], Access.CLASS, bases, None, "t.py", line, None, None, False, message
    )


def case(test: str, outcome: Outcome, *raised: Raised, collected: bool = True, reason: str = "") -> CaseResult:
    """A test's end."""
    return CaseResult(test, outcome, collected, raised, 0.0, reason)


def run(*cases: CaseResult, interrupted: str | None = None) -> SuiteResult:
    """A run."""
    return SuiteResult({case.test: case for case in cases}, 1, 0.0, (), "", interrupted)


def changes(comparison: Comparison) -> dict[str, list[str]]:
    """The lists of a comparison that are not empty."""
    names = ("restored", "regressed", "otherwise", "unchanged")
    return {name: list(tests) for name in names if (tests := getattr(comparison, name))}


@pytest.mark.parametrize(
    ("earlier", "later", "change"),
    [
        ((PASSED,), (FAILED,), "regressed"),
        ((PASSED,), (SKIPPED,), "regressed"),
        ((PASSED,), (XFAILED,), "regressed"),
        ((PASSED,), (XPASSED,), "regressed"),
        ((PASSED,), None, "regressed"),
        ((PASSED,), (PASSED,), None),
        ((FAILED, gone()), (PASSED,), "restored"),
        ((ERROR, gone()), (PASSED,), "restored"),
        ((SKIPPED, gone()), (PASSED,), "restored"),
        ((XFAILED, gone()), (XPASSED,), "otherwise"),
        ((XFAILED, gone()), (FAILED,), "otherwise"),
        ((SKIPPED,), (PASSED,), None),
        ((SKIPPED,), (FAILED,), "regressed"),
        ((SKIPPED,), (XFAILED,), None),
        ((SKIPPED,), None, None),
        ((FAILED, gone()), None, "otherwise"),
        ((FAILED, gone()), (SKIPPED,), "otherwise"),
        ((SKIPPED, gone()), (SKIPPED, gone()), "unchanged"),
        ((FAILED, gone()), (FAILED, gone(line=7)), "unchanged"),
        ((FAILED, gone()), (ERROR, gone(leaf="Base")), "unchanged"),
        ((FAILED, gone()), (FAILED, gone("other")), "otherwise"),
        ((FAILED, gone()), (FAILED, gone(), gone("other")), "otherwise"),
        ((FAILED, gone(leaf="Ctx")), (FAILED, gone(leaf="Unlike")), "otherwise"),
        ((FAILED, gone()), (FAILED,), "otherwise"),
        (None, (PASSED,), None),
        (None, (FAILED,), "regressed"),
        (None, (SKIPPED,), None),
    ],
)
def test_a_pair_of_ends_is_one_change(
    earlier: Sequence[object] | None, later: Sequence[object] | None, change: str | None
) -> None:
    """Every pair of ends of one test has one meaning; only pass and pass is no news."""

    def suite(end: Sequence[object] | None) -> SuiteResult:
        return run() if end is None else run(case("t.py::t", *end))  # type: ignore[arg-type]

    comparison = compare(suite(earlier), suite(later), ())
    assert changes(comparison) == ({} if change is None else {change: ["t.py::t"]})
    assert comparison.passed == (1 if earlier == later == (PASSED,) else 0)


@pytest.mark.parametrize(
    ("reasons", "change"),
    [
        (("ValueError: at 0x1", "ValueError: at 0x2"), "unchanged"),
        (("ValueError: 1", "KeyError: 1"), "otherwise"),
        (("", ""), "unchanged"),
    ],
)
def test_failures_of_other_reasons_are_told_by_class(reasons: tuple[str, str], change: str) -> None:
    """Where nothing undefined was raised, the class of the exception says whether it is the same failure."""
    before, after = (run(case("t.py::t", FAILED, reason=reason)) for reason in reasons)
    assert changes(compare(before, after, ())) == {change: ["t.py::t"]}


def test_a_broken_file_hides_its_tests() -> None:
    """Tests that come to light when a file, or a folder's conftest.py, can be collected again were failing before."""
    before = run(
        case("a.py", ERROR, gone(), collected=False),
        case("d/conftest.py", ERROR, gone(), collected=False),
        case("e.py", SKIPPED, gone(), collected=False),
        case("f.py", ERROR, gone(), collected=False),
        case("g.py", ERROR, gone(), collected=False),
    )
    after = run(
        case("a.py::t1", PASSED),
        case("a.py::t2", FAILED, gone("other")),
        case("a.py::t3", SKIPPED),
        case("d/b.py::t", PASSED),
        case("e.py::t", PASSED),
        case("f.py", ERROR, gone(), collected=False),
    )
    assert changes(compare(before, after, ())) == {
        "restored": ["a.py::t1", "d/b.py::t", "e.py::t"],
        "otherwise": ["g.py", "a.py::t2"],
        "unchanged": ["f.py"],
    }
    broken = ["f.py", "a.py", "d/conftest.py", "x.py::t[a.py]"]
    assert followed(broken, after) == ("f.py", "a.py::t1", "a.py::t2", "a.py::t3", "d/b.py::t", "x.py::t[a.py]")


def test_a_file_that_breaks_loses_its_tests() -> None:
    """When a file cannot be collected any more, the tests it held have regressed, and so has the file."""
    before = run(case("a.py::t1", PASSED), case("a.py::t2", FAILED, gone()), case("b.py::t", PASSED))
    after = run(case("a.py", ERROR, gone("other"), collected=False), case("b.py::t", PASSED))
    comparison = compare(before, after, ())
    assert changes(comparison) == {"regressed": ["a.py::t1", "a.py"], "otherwise": ["a.py::t2"]}
    assert comparison.passed == 1


def test_an_interrupted_run_is_not_asked_for_what_it_lacks() -> None:
    """Tests that a run did not come to are not flaky; those that both runs have and end differently are."""
    first = run(case("t.py::a", PASSED), case("t.py::b", PASSED), case("t.py::c", PASSED))
    second = run(case("t.py::a", PASSED), case("t.py::b", FAILED), interrupted="stopped")
    assert flaky(first, second) == flaky(second, first) == {"t.py::b"}
    assert flaky(first, run(case("t.py::a", PASSED), case("t.py::b", PASSED))) == {"t.py::c"}


TESTS = st.sampled_from(["a.py::1", "a.py::2", "b.py::1", "b.py::2", "c.py::1"])
FILES = st.sampled_from(["a.py", "b.py"])
ENDS = st.tuples(st.sampled_from(Outcome), st.sampled_from([(), (gone(),), (gone("other"),)]))


@st.composite
def suites(draw: st.DrawFn) -> SuiteResult:
    """A run in which some files could not be collected, and so have no tests."""
    uncollected = draw(st.sets(FILES, max_size=1))
    ends = draw(st.dictionaries(TESTS, ENDS))
    cases = [case(test, end[0], *end[1]) for test, end in ends.items() if test.partition("::")[0] not in uncollected]
    return run(*cases, *(case(file, ERROR, gone(), collected=False) for file in uncollected))


@given(before=suites(), after=suites(), unstable=st.sets(TESTS, max_size=2))
def test_a_comparison_is_what_the_sets_say(before: SuiteResult, after: SuiteResult, unstable: set[str]) -> None:
    """The lists agree with plain sets of who passed, was broken and was hidden; and no test is in two of them."""

    def those(result: SuiteResult, *outcomes: Outcome) -> set[str]:
        return {test for test, case in result.cases.items() if case.outcome in outcomes} - unstable

    comparison = compare(before, after, unstable)
    known, now = set(before.cases) - unstable, set(after.cases) - unstable
    broken = those(before, FAILED, ERROR) | {
        test for test in those(before, SKIPPED, XFAILED, XPASSED) if before.cases[test].raised
    }
    closed = {file for file, case in before.cases.items() if not case.collected}
    hidden = {test for test in now - known if test.partition("::")[0] in closed}
    opened = {file for file in closed - now if any(test.startswith(f"{file}::") for test in after.cases)}
    passing, failing = those(after, PASSED), those(after, FAILED, ERROR)

    restored, regressed = set(comparison.restored), set(comparison.regressed)
    assert restored == (broken | hidden) & passing
    assert regressed == (those(before, PASSED) - passing) | (failing - broken - hidden)
    assert set(comparison.otherwise) | set(comparison.unchanged) == ((broken - passing - opened) | (hidden & failing))
    lists = (comparison.restored, comparison.regressed, comparison.otherwise, comparison.unchanged)
    assert sum(map(len, lists)) == len(set().union(*lists))
    assert comparison.passed == len(those(before, PASSED) & passing)
    assert comparison.flaky == tuple(sorted(unstable))


@given(result=suites(), other=suites())
def test_nothing_changes_between_equal_runs(result: SuiteResult, other: SuiteResult) -> None:
    """A run against itself is neither flaky nor a change; what differs between two runs is exactly what is flaky."""
    assert flaky(result, result) == frozenset()
    comparison = compare(result, result, ())
    assert comparison.restored == comparison.regressed == comparison.otherwise == ()
    calm = compare(result, other, flaky(result, other))
    assert calm.restored == calm.regressed == ()
