"""Figures: the prover's own computation, and its comparison with an answer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_golden_path.canary import plant
from netra_golden_path.figures import Figures, Record, compute, dollars
from netra_golden_path.scenario import write

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
BASE = Record(
    timestamp=NOON,
    request_id="r",
    model="m",
    operation="o",
    prompt_fingerprint="p",
    input_tokens=2000,
    output_tokens=200,
    cost_usd=Decimal("1"),
    latency_ms=5,
    deferrable=False,
    label="",
)

zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=3))])
records = st.lists(
    st.builds(
        Record,
        timestamp=st.builds(
            lambda minutes, zone: (NOON + timedelta(minutes=minutes)).astimezone(zone), st.integers(0, 3), zones
        ),
        request_id=st.sampled_from(["a", "b", "c", "d"]),
        model=st.sampled_from(["big", "mid", "small"]),
        operation=st.sampled_from(["chat", "tag"]),
        prompt_fingerprint=st.sampled_from([f"p{number}" for number in range(6)]),
        input_tokens=st.sampled_from([0, 1, 7, 999, 1000, 1001, 5000]),
        output_tokens=st.sampled_from([0, 1, 99, 100, 101]),
        cost_usd=st.decimals(0, 2, places=3) | st.decimals(0, 1, places=15) | st.just(Decimal("1E-30")),
        latency_ms=st.just(1),
        deferrable=st.booleans(),
        label=st.sampled_from(["", "x"]),
    ),
    max_size=14,
)


def naive(records: Sequence[Record]) -> dict[str, Any]:
    """Says the rules of docs/wire.md once more, slowly, record by record."""
    numbered = list(enumerate(records))

    def order(pair: tuple[int, Record]) -> tuple[datetime, str, int]:
        return pair[1].timestamp, pair[1].request_id, pair[0]

    def is_repeated(pair: tuple[int, Record]) -> bool:
        same = [
            other
            for other in numbered
            if (other[1].model, other[1].prompt_fingerprint) == (pair[1].model, pair[1].prompt_fingerprint)
        ]
        return order(pair) != min(order(other) for other in same)

    def mean(model: str) -> Fraction | None:
        mine = [record for record in records if record.model == model]
        tokens = sum(record.input_tokens + record.output_tokens for record in mine)
        return sum((Fraction(record.cost_usd) for record in mine), Fraction()) / tokens if tokens else None

    repeated = deferrable = oversized = Fraction()
    for pair in numbered:
        record = pair[1]
        own = mean(record.model)
        used = [mean(other.model) for other in records if other.operation == record.operation]
        cheapest = min((value for value in used if value is not None), default=None)
        if is_repeated(pair):
            repeated += Fraction(record.cost_usd)
        elif record.deferrable:
            deferrable += Fraction(record.cost_usd) / 2
        elif record.input_tokens > 1000 or record.output_tokens > 100:
            continue
        elif own is not None and cheapest is not None and own > cheapest:
            oversized += Fraction(record.cost_usd) - (record.input_tokens + record.output_tokens) * cheapest
    total = repeated + deferrable + oversized
    return {
        "total_usd": dollars(sum((Fraction(record.cost_usd) for record in records), Fraction())),
        "savings_usd": {
            "repeated_prompts": dollars(repeated),
            "deferrable": dollars(deferrable),
            "oversized_model": dollars(oversized),
            "total": dollars(total),
        },
    }


def answer(figures: Figures) -> dict[str, Any]:
    """Writes figures as a right server answers them."""
    return {
        "currency": "USD",
        "record_count": figures.record_count,
        "total_usd": figures.total_usd,
        "by_model_usd": dict(figures.by_model_usd),
        "by_operation_usd": dict(figures.by_operation_usd),
        "savings_usd": dict(figures.savings_usd),
        "costliest": [
            {
                "timestamp": record.timestamp.astimezone(UTC).isoformat(),
                "request_id": record.request_id,
                "model": record.model,
                "operation": record.operation,
                "cost_usd": f"{record.cost_usd:f}",
                "label": record.label,
            }
            for record in figures.costliest
        ],
    }


@given(records)
def test_figures_equal_the_rules_said_slowly(records: list[Record]) -> None:
    """For any records the figures are what the rules, applied one record at a time, give."""
    figures = compute(records)
    assert {name: getattr(figures, name) for name in ("total_usd", "savings_usd")} == naive(records)
    for model, amount in figures.by_model_usd.items():
        assert amount == compute([record for record in records if record.model == model]).total_usd
    for operation, amount in figures.by_operation_usd.items():
        assert amount == compute([record for record in records if record.operation == operation]).total_usd
    assert figures.record_count == len(records)


@given(records, st.randoms(use_true_random=False))
def test_the_order_of_upload_does_not_matter(records: list[Record], random: Any) -> None:
    """Figures of records that differ in their ids are the same in whatever order they were uploaded."""
    distinct = [replace(record, request_id=f"r{number}") for number, record in enumerate(records)]
    shuffled = random.sample(distinct, len(distinct))
    assert compute(shuffled) == compute(distinct)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00"),
        ("0.005", "0.00"),
        ("0.015", "0.02"),
        ("0.025", "0.02"),
        ("0.0250000000001", "0.03"),
        ("12.345", "12.34"),
        ("99.995", "100.00"),
        ("-0.015", "-0.02"),
        ("-0.004", "0.00"),
    ],
)
def test_half_cents_go_to_the_even_cent(amount: str, text: str) -> None:
    """Amounts are rounded once, half to even, and always have two decimals."""
    assert dollars(Fraction(amount)) == text


def test_a_record_counts_for_one_saving_only() -> None:
    """Repeated comes before deferrable and deferrable before oversized, for one and the same record."""
    first = replace(BASE, request_id="1", deferrable=True, input_tokens=10, output_tokens=10)
    again = replace(first, request_id="2", timestamp=NOON + timedelta(seconds=1))
    cheap = replace(BASE, request_id="3", model="cheap", cost_usd=Decimal("0.01"))
    savings = compute([again, cheap, first]).savings_usd
    assert savings == {"repeated_prompts": "1.00", "deferrable": "0.50", "oversized_model": "0.00", "total": "1.50"}


def test_an_oversized_model_is_compared_over_the_same_operation() -> None:
    """A small request is compared with the cheapest model of its own operation, at that model's mean over all."""
    small = replace(BASE, model="big", input_tokens=1000, output_tokens=100, cost_usd=Decimal("11"))
    here = replace(BASE, request_id="2", model="mid", input_tokens=800, output_tokens=300, cost_usd=Decimal("2.2"))
    mid_elsewhere = replace(here, request_id="3", operation="other", prompt_fingerprint="q", cost_usd=Decimal("0"))
    cheap_elsewhere = replace(here, request_id="4", operation="other", model="cheap", cost_usd=Decimal("0.1"))
    figures = compute([small, here, mid_elsewhere, cheap_elsewhere])
    assert figures.savings_usd["oversized_model"] == "9.90"


def test_costliest_are_ordered_by_cost_then_time_then_request_id() -> None:
    """The costliest come first; of equal cost the earlier, of the same instant the smaller request id."""
    tied = [replace(BASE, request_id=name, prompt_fingerprint=name) for name in "dbca"]
    early = replace(
        BASE, request_id="z", timestamp=(NOON - timedelta(hours=1)).astimezone(timezone(timedelta(hours=9)))
    )
    dear = replace(BASE, request_id="zz", cost_usd=Decimal("1.000000000000001"))
    order = [record.request_id for record in compute([*tied, early, dear]).costliest]
    assert order == ["zz", "z", "a", "b", "c"]


def test_no_records_cost_nothing() -> None:
    """Figures of nothing are zeros."""
    figures = compute([])
    assert figures.total_usd == "0.00"
    assert set(figures.savings_usd.values()) == {"0.00"}
    assert figures.costliest == ()


FIGURES = compute(write(3, 0).records)


def test_a_right_answer_has_no_differences() -> None:
    """What a right server answers is accepted, with times in another zone and more digits, too."""
    received = answer(FIGURES)
    assert FIGURES.differences(received) == []
    received["costliest"][0]["timestamp"] = (
        FIGURES.costliest[0].timestamp.astimezone(timezone(timedelta(hours=7))).isoformat()
    )
    received["costliest"][0]["cost_usd"] += "000"
    assert FIGURES.differences(received) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["currency"], "EUR"),
        (["record_count"], 199),
        (["record_count"], True),
        (["record_count"], "200"),
        (["total_usd"], "0.01"),
        (["total_usd"], 16.85),
        (["by_model_usd"], None),
        (["by_model_usd", "gpt-large"], "0.01"),
        (["by_model_usd", "someone-elses"], "0.00"),
        (["by_operation_usd", "chat"], None),
        (["savings_usd", "repeated_prompts"], "0.00"),
        (["savings_usd", "deferrable"], "0.00"),
        (["savings_usd", "oversized_model"], "0.00"),
        (["savings_usd", "total"], "0.00"),
        (["costliest"], []),
        (["costliest"], {}),
        (["costliest", 0], "record"),
        (["costliest", 0, "cost_usd"], "0.73"),
        (["costliest", 0, "cost_usd"], "much"),
        (["costliest", 0, "cost_usd"], 0.73),
        (["costliest", 1, "timestamp"], "2025-03-01T00:00:00"),
        (["costliest", 1, "timestamp"], "today"),
        (["costliest", 2, "label"], "another"),
        (["costliest", 3, "model"], "another"),
        (["costliest", 4, "request_id"], "another"),
        (["costliest", 4, "operation"], "another"),
    ],
)
def test_every_wrong_figure_is_told(path: list[Any], value: Any) -> None:
    """One changed figure gives one difference that names it."""
    received = copy.deepcopy(answer(FIGURES))
    place: Any = received
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (difference,) = FIGURES.differences(received)
    assert difference.startswith(path[0])


@pytest.mark.parametrize("received", [None, [], "figures", 7, {}])
def test_an_answer_of_another_shape_is_told(received: object) -> None:
    """Figures that are no object, or an empty one, are different."""
    assert FIGURES.differences(received)


def test_differences_show_no_secret() -> None:
    """What is told of a difference does not hold a secret in full."""
    foreign = plant(3, 1).label
    received = answer(FIGURES)
    received["costliest"][0]["label"] = foreign
    assert foreign not in "".join(FIGURES.differences(received))
