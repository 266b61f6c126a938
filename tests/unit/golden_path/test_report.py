"""Reports: what is measured adds up, and is told as a table and as JSON."""

from __future__ import annotations

import io
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from netra_golden_path.invariants import Finding
from netra_golden_path.report import EXAMPLES, Latency, Measurements, Outcome, Report

seconds = st.floats(0, 80, allow_nan=False)
findings = st.builds(
    Finding,
    name=st.sampled_from(["leak", "missing_event", "timeout"]),
    user=st.integers(0, 3),
    journey=st.integers(1, 2),
    detail=st.just("detail"),
)
outcomes = st.lists(
    st.builds(
        Outcome,
        connect_s=st.none() | seconds,
        first_event_s=st.none() | seconds,
        journey_s=st.none() | seconds,
        findings=st.lists(findings, max_size=2).map(tuple),
    ),
    max_size=8,
)


def measured(outcomes: Sequence[Outcome]) -> Measurements:
    """The measurements of some journeys."""
    measurements = Measurements()
    for outcome in outcomes:
        measurements.record(outcome)
    return measurements


def report(measurements: Measurements, users: int = 10, journeys: int = 2) -> Report:
    """A report of a proof of twenty journeys that took four seconds."""
    return Report(
        target="https://netra.invalid",
        run_id="abc",
        seed=7,
        users=users,
        journeys_per_user=journeys,
        ramp_s=0.1,
        preparation_s=1.5,
        duration_s=4.0,
        measurements=measurements,
    )


def shown(report: Report) -> str:
    """The tables as text."""
    text = io.StringIO()
    report.show(Console(file=text, width=120))
    return text.getvalue()


GOOD = Outcome(connect_s=0.01, first_event_s=0.1, journey_s=1.0)
LEAK = Finding(name="leak", user=1, journey=2, detail="731xab… of user 3 in the frame agent_delta")
MISSING = Finding(name="missing_event", user=1, journey=2, detail="no agent_thinking among 9 events")


@given(st.lists(seconds, min_size=1, max_size=40))
def test_percentiles_are_true_to_three_figures(durations: list[float]) -> None:
    """Percentiles lie within a thousandth of the exact ones, the maximum is exact, and nothing exceeds it."""
    latency = Latency()
    for duration in durations:
        latency.record(duration)
    ordered = sorted(round(duration * 1e6) / 1000 for duration in durations)
    assert latency.count == len(durations)
    assert latency.max_ms == latency.percentile_ms(100) == ordered[-1]
    for percentile in (50, 95, 99):
        exact = ordered[max(int(percentile * len(ordered) / 100 + 0.5), 1) - 1]
        assert latency.percentile_ms(percentile) == pytest.approx(exact, rel=1e-3, abs=1e-3)


def test_an_empty_distribution_is_zero() -> None:
    """Nothing measured is no time and no crash."""
    assert Latency().as_dict() == {"count": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}


def test_what_is_beyond_the_scale_is_kept_at_its_end() -> None:
    """A duration that no histogram holds is counted as the longest one it does."""
    latency = Latency()
    latency.record(1e9)
    latency.record(-1.0)
    assert (latency.count, latency.max_ms) == (2, 600_000.0)


@given(outcomes, outcomes)
def test_measurements_add_up(one: list[Outcome], other: list[Outcome]) -> None:
    """Two sets of journeys, added, are measured as if they had been one."""
    together = measured([*one, *other])
    added = measured(one)
    added.add(measured(other))
    assert report(added).as_json() == report(together).as_json()
    assert added.done + added.failed == len(one) + len(other)


def test_all_journeys_done_is_a_hundred_percent() -> None:
    """Only all journeys without a finding pass."""
    passed = report(measured([GOOD] * 20))
    assert (passed.passed, passed.success_rate) == (True, 100.0)
    assert passed.journeys_per_second == 5.0


@pytest.mark.parametrize("done", [0, 1, 19])
def test_less_than_all_is_less_than_a_hundred_percent(done: int) -> None:
    """Journeys that failed, or were never made, count against the rate."""
    failed = report(measured([GOOD] * done))
    assert not failed.passed
    assert failed.success_rate == done * 5


def test_a_success_rate_is_not_rounded_up_to_a_hundred() -> None:
    """One failure among very many shows."""
    measurements = Measurements(done=999_999, failed=1)
    assert report(measurements, users=1000, journeys=1000).success_rate == 99.99


def test_a_leak_fails_even_when_all_journeys_are_done() -> None:
    """What leaked in the preparation belongs to no journey and fails the proof all the same."""
    measurements = measured([GOOD] * 20)
    measurements.record_findings([LEAK])
    leaked = report(measurements)
    assert (leaked.success_rate, leaked.leaks, leaked.passed) == (100.0, 1, False)


def test_findings_are_grouped_with_first_examples() -> None:
    """A thousand findings of one name are one group with a few examples, leaks first."""
    measurements = measured([Outcome(findings=(MISSING,))] * 1000 + [Outcome(findings=(LEAK,))])
    groups = orjson.loads(report(measurements).as_json())["findings"]
    assert [(group["name"], group["count"], len(group["examples"])) for group in groups] == [
        ("leak", 1, 1),
        ("missing_event", 1000, EXAMPLES),
    ]
    assert groups[0]["examples"][0] == {"user": 1, "journey": 2, "detail": LEAK.detail}
    assert report(measurements).missing_events == 1000


def test_json_says_what_was_proven_and_what_came_out() -> None:
    """The JSON is versioned and holds target, seed, sizes, rates and percentiles."""
    written = orjson.loads(report(measured([GOOD] * 20)).as_json())
    assert written | {"latency_ms": None} == {
        "version": 1,
        "passed": True,
        "target": "https://netra.invalid",
        "run_id": "abc",
        "seed": 7,
        "users": 10,
        "journeys_per_user": 2,
        "ramp_s": 0.1,
        "preparation_s": 1.5,
        "duration_s": 4.0,
        "journeys": {"planned": 20, "done": 20, "failed": 0},
        "success_rate_percent": 100.0,
        "leaks": 0,
        "missing_events": 0,
        "faults": {
            "kills": 0,
            "longest_start_s": 0.0,
            "connections_dropped": 0,
            "server_found_gone": 0,
            "messages_sent_again": 0,
        },
        "journeys_per_second": 5.0,
        "latency_ms": None,
        "findings": [],
    }
    assert written["latency_ms"]["journey"] == {"count": 20, "p50": 1000.0, "p95": 1000.0, "p99": 1000.0, "max": 1000.0}
    assert set(written["latency_ms"]) == {"connect", "first_event", "journey"}


def test_the_table_tells_the_same() -> None:
    """The tables show rate, leaks, missing events and percentiles, and findings when there are any."""
    text = shown(report(measured([GOOD] * 20)))
    for words in ("100 %", "20 of 20", "leaks", "missing events", "p50", "p99", "first event", "1000.0"):
        assert words in text
    assert "examples" not in text
    text = shown(report(measured([Outcome(findings=(LEAK, MISSING))])))
    for words in ("leak", LEAK.detail, MISSING.detail, "user 1, journey 2", "–"):
        assert words in text


def test_markup_in_a_finding_is_shown_as_it_is() -> None:
    """A server's words are not taken for the table's own markup."""
    finding = Finding(name="timeout", user=0, journey=1, detail="[red]not[/blue] colour")
    assert finding.detail in shown(report(measured([Outcome(findings=(finding,))])))
