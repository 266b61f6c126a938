"""The account of a cause: what is kept, what is taken back, and in whose positions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from netra_repair.accounts import Account, book, key_of
from netra_repair.candidates import Decision, Ranking
from netra_repair.causes import RootCause
from netra_repair.diagnostics import CauseKind
from netra_repair.failures import CaseResult, Outcome, Raised, SuiteResult
from netra_repair.history import Past, Verdict
from netra_repair.images import images
from netra_repair.owners import Access
from netra_repair.plan import Plan
from netra_repair.refusals import Reason, Refusal
from netra_repair.repair import Comparison
from tests.support.repair_plans import AWKWARD, OWNER, renaming, write_files

LINES = b"a = Ctx.gone\nb = Ctx.gone + Ctx.lost\nc = Ctx.gone\n"


def cause(name: str = "gone", *tests: str) -> RootCause:
    """A cause that broke some tests."""
    past, ranking = Past(Verdict.UNKNOWN, ""), Ranking(Decision.CHOSEN, (), 0.0, "")
    return RootCause(CauseKind.MISSING_ATTRIBUTE, OWNER, name, "", (), (), tests, 0, past, ranking)


def account(root: Path, name: str = "gone", *tests: str, is_trial: bool = False, new: str = "found") -> Account:
    """An account whose plan changes every place of a name, begun."""
    plan = renaming(root, ["a.py"], name, new)
    made = Account(cause(name, *tests), new, plan, is_trial)
    made.begin(made.cause, plan)
    return made


def lines(plan: Plan) -> list[int]:
    """The lines that a plan changes."""
    return [site.site.reference.position.line for file in plan.files for site in file.sites]


def case(test: str, outcome: Outcome = Outcome.PASSED, *missing: str) -> CaseResult:
    """How a test ended, and of which missing attributes."""
    raised = tuple(
        Raised(
            *(CauseKind.MISSING_ATTRIBUTE, name, OWNER.name, Access.CLASS, (), None),
            *("a.py", 1, None, None, False, f"no {name}"),
        )
        for name in missing
    )
    return CaseResult(test, outcome, True, raised, 0.1)


def suite(*cases: CaseResult, executed: frozenset[tuple[str, int]] | None = None) -> SuiteResult:
    """A run of the tests."""
    return SuiteResult({case.test: case for case in cases}, 0, 1.0, (), "", executed=executed)


def restored(*tests: str) -> Comparison:
    """A comparison in which these tests pass again."""
    return Comparison(tests, (), (), (), (), 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The project itself."""
    write_files(tmp_path / "origin", {"a.py": LINES})
    return tmp_path / "origin"


def test_what_was_taken_back_is_not_tried_again(root: Path) -> None:
    """A new round leaves out the places that were taken back, and only those."""
    made = account(root)
    refusal = Refusal(Reason.REGRESSED, "a test died")
    second = made.plan.files[0].sites[1].site
    made.take_back(made.plan, {key_of(second): refusal})
    assert [(each.site, each.refusal) for each in made.taken_back] == [(second, refusal)]
    assert lines(made.begin(made.cause, renaming(root, ["a.py"]))) == [1, 3]


def test_another_attribute_on_the_line_is_not_taken_back(root: Path) -> None:
    """Places are told apart by file, line and attribute."""
    gone, lost = account(root), account(root, "lost")
    made = gone.plan.files[0].sites[1].site
    reasons = {key_of(made): Refusal(Reason.REGRESSED, "a test died")}
    lost.take_back(lost.plan, reasons)
    assert lost.taken_back == []


def test_every_round_adds_the_tests_that_died(root: Path) -> None:
    """The tests that a cause broke are those of all rounds."""
    made = account(root, "gone", "t::a")
    made.begin(cause("gone", "t::b"), made.plan)
    assert made.broken == {"t::a", "t::b"}


def part(plan: Plan, share: int) -> Plan:
    """Some quarters of a plan's places, other ones for every attribute."""
    return plan.where(lambda site: (site.site.reference.position.line + len(plan.cause)) % 4 < share)


@pytest.mark.parametrize("cut", range(4))
def test_later_rounds_are_booked_for_the_files_of_the_project(tmp_path: Path, cut: int) -> None:
    """However the changes are split over two rounds and two causes, together they give what the copy has."""
    origin, copy = tmp_path / "origin", tmp_path / "copy"
    files = {path: data.replace(b"Ctx.gone", b"Ctx.gone(Ctx.lost_too)") for path, data in AWKWARD.items()}
    for folder in (origin, copy):
        write_files(folder, files)
    gone = Account(cause("gone"), "much_longer_than_before", Plan("", None, None, (), ()))
    lost = Account(cause("lost_too"), "x", Plan("", None, None, (), ()))
    for share in (cut, 4):
        work = [
            (each, part(renaming(copy, files, each.cause.attribute, each.replacement), share)) for each in (gone, lost)
        ]
        for image in images([plan for _, plan in work], copy):
            (copy / image.path).write_bytes(image.after)
        book(work, [gone, lost], origin)
    plans = [each.closed(restored(), suite(), origin).plan for each in (gone, lost)]
    after = {image.path: image.after for image in images(plans, origin)}
    assert after == {path: (copy / path).read_bytes() for path in files}
    assert all(b"gone" not in data and b"lost_too" not in data for data in after.values())


def test_a_closed_account_tells_what_became_of_the_cause(root: Path) -> None:
    """The result has the kept places, the refused ones in order, the tests, and what no passing test ran."""
    made = account(root, "gone", "t::a", "t::b")
    refusal = Refusal(Reason.REGRESSED, "a test died")
    made.take_back(made.plan, {key_of(made.plan.files[0].sites[2].site): refusal})
    book([(made, made.begin(made.cause, made.plan))], [made], root)
    ran = suite(case("t::a"), case("t::b", Outcome.FAILED), executed=frozenset({("a.py", 1)}))
    repair = made.closed(restored("t::a"), ran, root)
    assert lines(repair.plan) == [1, 2]
    assert [each.site.reference.position.line for each in repair.plan.refused] == [3]
    assert (repair.broken, repair.restored) == (("t::a", "t::b"), ("t::a",))
    assert repair.success_rate == 0.5
    assert repair.uncovered == 1
    assert repair.key == "pkg.ctx.Ctx.gone"


def test_what_was_not_watched_is_uncovered(root: Path) -> None:
    """Where nobody knows which lines ran, nothing counts as covered."""
    made = account(root)
    book([(made, made.plan)], [made], root)
    assert made.closed(restored(), suite(), root).uncovered == 3


@pytest.mark.parametrize(
    ("ended", "unconfirmed"),
    [
        ((case("t::a"), case("t::b")), False),
        ((case("t::a"), case("t::b", Outcome.FAILED, "other")), False),
        ((case("t::a"), case("t::b", Outcome.FAILED, "of the value")), True),
        ((case("t::a"), case("t::b", Outcome.FAILED)), True),
        ((case("t::a"), case("t::b", Outcome.FAILED, "found")), True),
        ((case("t::a"), case("t::b", Outcome.FAILED, "gone")), False),
        ((case("t::a", Outcome.FAILED, "gone"), case("t::b", Outcome.FAILED, "gone")), True),
        ((case("t::a", Outcome.FAILED, "other"), case("t::b", Outcome.FAILED, "other")), True),
        ((case("t::a"),), True),
        ((), True),
    ],
    ids=[
        *(
            "pass",
            "moved on",
            "missing on the value",
            "another failure",
            "dies of the new",
            "one place left alone",
            "all left alone",
        ),
        *("none passes", "lost", "none"),
    ],
)
def test_what_is_only_likely_needs_its_tests(root: Path, ended: tuple[CaseResult, ...], unconfirmed: bool) -> None:
    """A trial is confirmed when one of its tests passes and the others die of what is missing whatever stands there."""
    made = account(root, "gone", "t::a", "t::b", is_trial=True)
    book([(made, made.plan)], [made], root)
    by_itself = {each.test for each in ended if "other" in {raised.name for raised in each.raised}}
    reasons = made.unconfirmed(suite(*ended), (), by_itself)
    assert [line for _, line, _ in reasons] == ([1, 2, 3] if unconfirmed else [])
    assert {each.reason for each in reasons.values()} <= {Reason.NOT_CONFIRMED}


def test_flaky_tests_confirm_nothing(root: Path) -> None:
    """A flaky test that passes does not confirm a trial."""
    made = account(root, "gone", "t::a", is_trial=True)
    book([(made, made.plan)], [made], root)
    assert len(made.unconfirmed(suite(case("t::a")), ["t::a"], ())) == 3


def with_tests(root: Path, *tests: tuple[str, ...], is_told: bool = False) -> Account:
    """An account of a choice that was carried out: the tests that died at each of its three places."""
    plan = renaming(root, ["a.py"])
    [file] = plan.files
    sites = tuple(
        replace(edit, site=replace(edit.site, tests=own)) for edit, own in zip(file.sites, tests, strict=True)
    )
    made = Account(cause("gone", *sorted({*sum(tests, ())})), "found", plan, is_told=is_told)
    made.begin(made.cause, plan)
    made.kept.append(replace(file, sites=sites))
    return made


@pytest.mark.parametrize(
    ("failing", "lines"),
    [
        ((), []),
        (("t::a",), [1]),
        (("t::b",), []),
        (("t::b", "t::c"), [2]),
        (("t::a", "t::b", "t::c"), [1, 2, 3]),
    ],
    ids=["all pass", "the only one of a place", "one of two", "both of a place", "all"],
)
def test_a_choice_loses_the_places_whose_tests_do_not_come_back(
    root: Path, failing: tuple[str, ...], lines: list[int]
) -> None:
    """What was chosen is taken back where none of a place's tests passes, and all of it when none of any does."""
    made = with_tests(root, ("t::a",), ("t::b", "t::c"), ())
    ended = [case(test, Outcome.FAILED if test in failing else Outcome.PASSED) for test in sorted(made.broken)]
    reasons = made.unconfirmed(suite(*ended), (), ())
    assert [line for _, line, _ in reasons] == lines
    assert all("`found` was chosen, but" in each.detail for each in reasons.values())
    made.withdraw(reasons)
    kept = [site.site.reference.position.line for file in made.kept for site in file.sites]
    assert kept == [line for line in (1, 2, 3) if line not in lines]


def test_a_choice_is_kept_where_something_else_is_missing(root: Path) -> None:
    """A test that dies of another cause, or of this one at a place left alone, does not speak against a choice."""
    made = with_tests(root, ("t::a",), ("t::b",), ())
    ended = suite(case("t::a", Outcome.FAILED, "other"), case("t::b", Outcome.FAILED, "gone"))
    assert made.unconfirmed(ended, (), ["t::a"]) == {}


def test_what_a_person_named_is_kept(root: Path) -> None:
    """A person's word holds although the tests that died there fail of something else now."""
    made = with_tests(root, ("t::a",), (), (), is_told=True)
    assert made.unconfirmed(suite(case("t::a", Outcome.FAILED)), (), ()) == {}


def test_a_withdrawn_trial_leaves_nothing(root: Path) -> None:
    """All places of a trial that is withdrawn are refused, naming what would have stood there."""
    made = account(root, "gone", "t::a", is_trial=True)
    book([(made, made.plan)], [made], root)
    made.withdraw(made.unconfirmed(suite(case("t::a", Outcome.FAILED)), (), ()))
    repair = made.closed(restored(), suite(case("t::a", Outcome.FAILED)), root)
    assert repair.plan.files == ()
    assert [each.refusal.reason for each in repair.plan.refused] == [Reason.NOT_CONFIRMED] * 3
    assert all("found" in each.refusal.detail for each in repair.plan.refused)
    assert repair.rolled_back == 1
