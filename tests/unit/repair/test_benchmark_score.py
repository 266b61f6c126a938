"""The benchmark's own arithmetic: what it calls right, wrong, left and restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.repair.__main__ import _results
from benchmarks.repair.drift import Drift, History, Kind, Splice, Spot, moved, spliced
from benchmarks.repair.injections import SEED
from benchmarks.repair.measure import Measured
from benchmarks.repair.packages import CANDIDATES, DEVELOPMENT, HELD_OUT, PACKAGES, RETIRED, candidates, chosen
from benchmarks.repair.score import Change, Result, SiteCount, adjusted_rand_index, changes, sites, summary
from benchmarks.repair.selection import true_clusters
from benchmarks.repair.tool import Report, clusters

BEFORE = b"a = box.gone(1)\nb = jar.gone(2)  # gone\nc = lid.gone(3)\n"
SPOTS = tuple(Spot("m.py", BEFORE.index(b".gone", at) + 1, "gone", "here") for at in (0, 16, 40))
DRIFT = Drift(
    id="pkg-1",
    package="pkg",
    kind=Kind.RENAME,
    history=History.NONE,
    owners=("m.py:Box",),
    attribute="gone",
    answer="here",
    splices=(),
    spots=(SPOTS[0],),
    mixed=(),
    others=(SPOTS[1],),
    unlabelled=(SPOTS[2],),
    test_files=("test_m.py",),
    broken=("test_m.py::test_a",),
)
RESULT = Result("pkg-1", "pkg", "rename", "repair", "none", SiteCount(right=1))


def test_changes_at_spots_are_read_from_the_bytes() -> None:
    """What stands at each spot is told from the bytes, whatever name was put there."""
    after = b"a = box.here(1)\nb = jar.gone(2)  # gone\nc = lid.other(3)\n"

    found = changes(BEFORE, after, SPOTS)

    assert found is not None
    assert [change.text for change in found] == ["here", "gone", "other"]


@pytest.mark.parametrize(
    "after",
    [
        BEFORE.replace(b"# gone", b"# here"),
        BEFORE.replace(b"(1)", b"( 1)"),
        BEFORE + b"\n",
        BEFORE.replace(b"\n", b"\r\n"),
        BEFORE[:-1],
    ],
)
def test_any_other_byte_makes_an_edit_inexact(after: bytes) -> None:
    """A changed comment, space, line ending or end of file is not an exact edit."""
    assert changes(BEFORE, after, SPOTS) is None


def test_an_inserted_keyword_is_a_change() -> None:
    """A keyword that was put before an argument is found, and its absence, too."""
    before = b"f(1, x == 2)\n"
    spots = (Spot("m.py", 2, "", "a="), Spot("m.py", 5, "", "b="))

    assert changes(before, b"f(1, b=x == 2)\n", spots) == [Change(spots[0], ""), Change(spots[1], "b=")]


def test_each_place_counts_once_and_for_what_it_is() -> None:
    """The right place is right, a trap is wrong, a place without truth is neither."""
    found = [Change(spot, "here") for spot in SPOTS]

    assert sites(DRIFT, found) == SiteCount(right=1, wrong=1, left=0, unlabelled=1)


def test_a_wrong_name_is_wrong_and_leaves_the_place_to_mend() -> None:
    """Another name than the answer counts against precision and against recall."""
    assert sites(DRIFT, [Change(SPOTS[0], "other")]) == SiteCount(right=0, wrong=1, left=1)


def test_a_drift_without_successor_leaves_nothing_to_mend() -> None:
    """Where abstaining is right, an untouched place is no miss, and a touched one is wrong."""
    dropped = replace(DRIFT, kind=Kind.DROP, answer="", spots=(replace(SPOTS[0], new=""),))

    assert sites(dropped, []) == SiteCount()
    assert sites(dropped, [Change(dropped.spots[0], "here")]).wrong == 1


def test_tests_of_mixed_places_are_not_restorable() -> None:
    """A test that comes to a place that must not be mended cannot be asked back."""
    mixed = replace(DRIFT, mixed=(replace(SPOTS[1], tests=("test_m.py::test_b",)),), broken=("test_m.py::test_b",))

    assert mixed.restorable == frozenset()


@pytest.mark.parametrize(
    ("found", "index"),
    [
        ({"a": "x", "b": "x", "c": "y", "d": "y"}, 1.0),
        ({"a": "x", "b": "x", "c": "x", "d": "x"}, 0.0),
        ({"a": "x", "b": "y", "c": "x", "d": "y"}, -0.5),
        ({"a": "x", "b": "x"}, 4 / 7),  # c and d were not explained: each is alone
    ],
)
def test_adjusted_rand_index_of_known_tables(found: dict[str, str], index: float) -> None:
    """The index agrees with values worked out by hand."""
    truth = {"a": "1", "b": "1", "c": "2", "d": "2"}

    assert adjusted_rand_index(truth, found) == pytest.approx(index)


@given(st.dictionaries(st.text(), st.sampled_from("123"), min_size=1))
def test_a_clustering_agrees_with_itself_under_other_names(truth: dict[str, str]) -> None:
    """Only the partition counts, not what its clusters are called."""
    assert adjusted_rand_index(truth, {item: f"cause {cluster}" for item, cluster in truth.items()}) == 1.0


def test_wrong_choices_are_judged_by_what_would_be_right() -> None:
    """A wrong name is a wrong choice; where abstaining is right, only a repair that restores everything is none."""
    assert replace(RESULT, chosen="other", answer="here").wrong_choice
    assert not replace(RESULT, chosen="here", answer="here", right_choice=True).wrong_choice
    assert not replace(RESULT, chosen="").wrong_choice
    assert replace(RESULT, expected="abstain", chosen="x", broken=2, restored=1).wrong_choice
    assert not replace(RESULT, expected="abstain", chosen="x", broken=2, restored=2).wrong_choice
    assert replace(RESULT, expected="silence", chosen="x").wrong_choice


def test_a_run_without_a_result_counts_against_recall_and_restoration() -> None:
    """A crash is a miss, not a drift less."""
    crashed = replace(RESULT, sites=SiteCount(left=3), restorable=2, broken=2, error="exit code 2")
    good = replace(
        RESULT, chosen="here", ranked="here", answer="here", right_choice=True, restorable=2, broken=2, restored=2
    )

    total = summary([crashed, good])

    assert total.sites.recall == 0.25
    assert total.restored == 0.5
    assert total.failed == 1
    assert total.abstained == 1


@given(st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4), st.text("ab", max_size=3))))
def test_moved_places_stand_on_the_same_byte(data: bytes, drawn: list[tuple[int, int, str]]) -> None:
    """A byte that no splice takes away is found again where `moved` says."""
    splices: list[Splice] = []
    for start, length, text in sorted(drawn):
        if start + length <= len(data) and (not splices or start > splices[-1].end):
            splices.append(Splice("m.py", start, start + length, text))
    after = spliced(data, splices)

    for offset, byte in enumerate(data):
        place = moved(splices, "m.py", offset)
        if place is not None:
            assert after[place] == byte


def test_a_test_that_several_drifts_break_has_no_true_cluster() -> None:
    """What each drift alone breaks decides; a test that two of them break is left out."""
    assert true_clusters({"one": ["a", "b"], "two": ["b", "c"]}) == {"a": "one", "c": "two"}


def cause(owner: str, name: str, tests: Sequence[str], parameter: str = "", family: str = "") -> dict[str, object]:
    """What a report says of a cause, as far as it counts for clusters."""
    key = f"{owner}.{name}{parameter}"
    return {"key": key, "owner": {"name": owner}, "attribute": name, "family": family, "tests": tests}


def test_overrides_are_one_cluster() -> None:
    """The tests of a method that others override, and theirs, are in one cluster for each way in which calls misfit."""
    causes = [
        cause("Base", "made", ["t::1"], "(*)"),
        cause("Below", "made", ["t::2"], "(*)", "Base.made"),
        cause("Below", "made", ["t::3"], "(name=)", "Base.made"),
    ]
    found = clusters(Report(Measured(0.0, 0.0, 0, ""), {"causes": causes}), ["t::1", "t::2", "t::3"])
    assert list(found.values()) == ["Base.made(*)", "Base.made(*)", "Base.made(name=)"]


def test_a_file_that_cannot_be_loaded_explains_its_tests() -> None:
    """The tests of a file or folder that could not be loaded are in the cluster of what explains that."""
    causes = [
        cause("A", "gone", ["t/test_a.py::test_1", "t/test_b.py"]),
        cause("B", "gone", ["t/deep/conftest.py", "t/test_a.py::test_1"]),
    ]
    report = Report(Measured(0.0, 0.0, 0, ""), {"causes": causes})
    found = clusters(
        report, ["t/test_a.py::test_1", "t/test_b.py::test_2", "t/deep/test_c.py::test_3", "t/test_d.py::x"]
    )
    assert list(found.values()) == ["A.gone & B.gone", "A.gone", "B.gone"]


def test_a_run_without_time_begins_nothing() -> None:
    """After its minutes a run begins no work, so that it can be cut into slices."""
    assert list(_results([(PACKAGES[0], DRIFT)], workers=2, minutes=0)) == []


def test_seed_and_name_decide_the_halves() -> None:
    """Both halves come from the published list in the order of its seed, the held-out one first; no retired ones."""
    order = candidates(SEED)
    assert set(order) == set(CANDIDATES) - {package.name for package in RETIRED}
    *first, replacing = HELD_OUT  # with seed 681 the last took the place of one whose tests do not begin here
    found = [order.index(package.name) for package in (*first, *DEVELOPMENT, replacing)]
    assert found == sorted(found)
    assert [package.held_out for package in PACKAGES] == [False] * 6 + [True] * 6
    assert not any(package.held_out for package in RETIRED)
    assert not {package.name for package in PACKAGES} & {package.name for package in RETIRED}
    assert [package.name for package in chosen(["sqlparse", "simpy"], held_out=False)] == ["sqlparse", "simpy"]
