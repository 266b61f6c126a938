"""The figures of the cost team, against numbers worked out by hand and against a slow model of the same rules."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.agents.cost.figures import LARGEST_MOVES, Move, SavingsAmountsJson, figures, savings, spend
from netra_backend.app.services.usage_record import UsageRecord
from tests.support.usage_records import usage_record


def amounts(records: Sequence[UsageRecord]) -> SavingsAmountsJson:
    return savings(records).to_json()["savings_usd"]


def test_every_figure_of_a_small_month() -> None:
    """A month of seven calls gives the figures that were worked out by hand.

    | # | model | operation | prompt | tokens  | cost | counts as |
    |---|-------|-----------|--------|---------|------|-----------|
    | 1 | big   | chat      | a      | 900+100 | 0.40 | oversized |
    | 2 | big   | chat      | a      | 900+100 | 0.44 | repeated: 0.44 |
    | 3 | small | chat      | a      | 900+100 | 0.10 | nothing: its model is the cheapest |
    | 4 | big   | chat      | b      | 900+100 | 0.30 | deferrable: 0.15 |
    | 5 | big   | code      | c      | 900+100 | 0.36 | nothing: no other model does code |
    | 6 | small | summary   | d      | 900+100 | 0.20 | nothing: big is dearer |
    | 7 | big   | summary   | e      | 901+100 | 0.50 | oversized |

    big: 2.00 for 5,001 tokens; small: 0.30 for 2,000 tokens, 0.00015 each.
    Oversized: 0.40 - 1,000 x 0.00015 = 0.25, and 0.50 - 1,001 x 0.00015 = 0.34985; together 0.59985.
    All savings: 0.44 + 0.15 + 0.59985 = 1.18985.
    """
    records = [
        usage_record("0.40", seconds=1, request_id="1", model="big", prompt_fingerprint="a"),
        usage_record("0.44", seconds=2, request_id="2", model="big", prompt_fingerprint="a"),
        usage_record("0.10", seconds=3, request_id="3", model="small", prompt_fingerprint="a"),
        usage_record("0.30", seconds=4, request_id="4", model="big", prompt_fingerprint="b", deferrable=True),
        usage_record("0.36", seconds=5, request_id="5", model="big", operation="code", prompt_fingerprint="c"),
        usage_record("0.20", seconds=6, request_id="6", operation="summary", prompt_fingerprint="d"),
        usage_record("0.50", seconds=7, request_id="7", model="big", operation="summary", label="the dearest"),
    ]
    records = [replace(record, input_tokens=900, output_tokens=100) for record in records]
    records[6] = replace(records[6], input_tokens=901)

    found = savings(records).to_json()

    assert figures(spend(records).to_json(), found) == {
        "currency": "USD",
        "record_count": 7,
        "total_usd": "2.30",
        "by_model_usd": {"big": "2.00", "small": "0.30"},
        "by_operation_usd": {"chat": "1.24", "code": "0.36", "summary": "0.70"},
        "savings_usd": {
            "repeated_prompts": "0.44",
            "deferrable": "0.15",
            "oversized_model": "0.60",
            "total": "1.19",
        },
        "costliest": [
            {
                "timestamp": f"2026-01-01T00:00:0{number}+00:00",
                "request_id": f"{number}",
                "model": "big",
                "operation": operation,
                "cost_usd": cost,
                "label": label,
            }
            for number, operation, cost, label in [
                (7, "summary", "0.50", "the dearest"),
                (2, "chat", "0.44", ""),
                (1, "chat", "0.40", ""),
                (5, "code", "0.36", ""),
                (4, "chat", "0.30", ""),
            ]
        ],
    }
    assert found["calls"] == {"repeated_prompts": 1, "deferrable": 1, "oversized_model": 2}
    assert found["moves"] == [
        {"operation": "summary", "from_model": "big", "to_model": "small", "calls": 1, "saving_usd": "0.35"},
        {"operation": "chat", "from_model": "big", "to_model": "small", "calls": 1, "saving_usd": "0.25"},
    ]


def test_no_records_give_zeros() -> None:
    """Without records every amount is 0.00 and every list is empty."""
    assert figures(spend([]).to_json(), savings([]).to_json()) == {
        "currency": "USD",
        "record_count": 0,
        "total_usd": "0.00",
        "by_model_usd": {},
        "by_operation_usd": {},
        "savings_usd": {"repeated_prompts": "0.00", "deferrable": "0.00", "oversized_model": "0.00", "total": "0.00"},
        "costliest": [],
    }


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        (["0.005"], "0.00"),
        (["0.015"], "0.02"),
        (["0.025"], "0.02"),
        (["0.0250000000000000000000000000000000000001"], "0.03"),
        (["0.0249999999999999999999999999999999999999"], "0.02"),
        (["0.004", "0.004", "0.004"], "0.01"),
        (["1E-40", "0.005"], "0.01"),
        (["1E+30", "1E-30"], "1000000000000000000000000000000.00"),
        (["0E+5"], "0.00"),
        (["1E+5000"], "1" + "0" * 5000 + ".00"),
    ],
)
def test_amounts_are_rounded_once_half_even(costs: list[str], expected: str) -> None:
    """An amount is the exact sum rounded half-even to cents at the end, written without exponent at any size."""
    summary = spend([usage_record(cost) for cost in costs]).to_json()
    assert summary["total_usd"] == summary["by_model_usd"]["small"] == summary["by_operation_usd"]["chat"] == expected


@pytest.mark.parametrize(
    ("cost", "written"), [("0.123456", "0.123456"), ("1E-7", "0.0000001"), ("2E+2", "200"), ("0.10", "0.10")]
)
def test_the_costliest_keep_their_exact_cost(cost: str, written: str) -> None:
    """A costliest call's cost is neither rounded nor written with an exponent."""
    assert spend([usage_record(cost)]).to_json()["costliest"][0]["cost_usd"] == written


def test_the_costliest_are_five_by_cost_then_time_then_request_id() -> None:
    """The costliest calls are at most five, equal costs in the order of time, equal times in that of the request id."""
    records = [
        usage_record("1", request_id="a"),
        usage_record("2", request_id="d", seconds=9),
        usage_record("2", request_id="c", seconds=1),
        usage_record("2", request_id="b", seconds=1),
        usage_record("3", request_id="e", seconds=99),
        usage_record("1", request_id="b"),
        usage_record("0.999", request_id="0"),
    ]
    costliest = [f"{record.request_id} {record.cost_usd}" for record in spend(records).costliest]
    assert costliest == ["e 3", "b 2", "c 2", "d 2", "a 1"]


def test_keys_come_sorted() -> None:
    """Models and operations stand in the order of their names, whatever the records' order."""
    summary = spend([usage_record(model=name, operation=name) for name in ["m", "z", "a"]]).to_json()
    assert [*summary["by_model_usd"]] == [*summary["by_operation_usd"]] == ["a", "m", "z"]


def test_a_repeated_prompt_is_all_but_the_first_by_time() -> None:
    """Of the calls of one model and prompt, the earliest is kept and the cost of the others could be saved."""
    records = [
        usage_record("4", seconds=2, prompt_fingerprint="p"),
        usage_record("1", seconds=1, prompt_fingerprint="p"),
        usage_record("2", seconds=3, prompt_fingerprint="p"),
    ]
    assert amounts(records)["repeated_prompts"] == "6.00"


def test_calls_of_one_instant_are_ordered_by_request_id() -> None:
    """Of repeated prompts made in the same instant, the one with the least request id is the first."""
    records = [
        usage_record("4", request_id="b", prompt_fingerprint="p"),
        usage_record("1", request_id="a", prompt_fingerprint="p"),
    ]
    assert amounts(records)["repeated_prompts"] == "4.00"


def test_calls_that_agree_in_time_and_request_id_are_not_overstated() -> None:
    """Where time and request id leave the first open, the dearest is taken for it."""
    records = [usage_record(cost, prompt_fingerprint="p") for cost in ["1", "4", "2"]]
    assert amounts(records)["repeated_prompts"] == "3.00"


def test_the_same_prompt_on_another_model_is_no_repetition() -> None:
    """A prompt is repeated only on the same model."""
    records = [usage_record(model=model, prompt_fingerprint="p") for model in ["small", "big"]]
    assert amounts(records)["repeated_prompts"] == "0.00"


def test_the_same_prompt_for_another_operation_is_a_repetition() -> None:
    """The operation does not tell prompts apart."""
    records = [usage_record("1", operation=operation, prompt_fingerprint="p") for operation in ["chat", "code"]]
    assert amounts(records)["repeated_prompts"] == "1.00"


def test_a_repeated_deferrable_call_counts_as_repeated_only() -> None:
    """Repeated prompts go before deferrable calls, and the kept first call may still be deferrable."""
    records = [usage_record("1", seconds=second, prompt_fingerprint="p", deferrable=True) for second in range(3)]
    assert amounts(records) == {
        "repeated_prompts": "2.00",
        "deferrable": "0.50",
        "oversized_model": "0.00",
        "total": "2.50",
    }


CHEAP = usage_record("1", request_id="cheap", model="small", input_tokens=10_000, output_tokens=0)
"""A call that makes "small" cost 0.0001 per token, for the operation "chat"."""


def dear(
    cost: str = "1", *, operation: str = "chat", input_tokens: int = 1_000, output_tokens: int = 100
) -> UsageRecord:
    """A small call on the model "big"."""
    return usage_record(
        cost,
        request_id="dear",
        model="big",
        operation=operation,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(dear(), "0.89", id="1,100 tokens would have cost 0.11"),
        pytest.param(dear(input_tokens=0, output_tokens=100), "0.99", id="100 tokens would have cost 0.01"),
        pytest.param(dear(input_tokens=1_001), "0.00", id="too much input"),
        pytest.param(dear(output_tokens=101), "0.00", id="too much output"),
        pytest.param(dear("0.11"), "0.00", id="the mean is equal, not above"),
        pytest.param(dear("0.1100001"), "0.00", id="above by less than half a cent"),
        pytest.param(dear("0.05"), "0.00", id="cheaper than the other"),
        pytest.param(dear(operation="code"), "0.00", id="the cheap model does not do this operation"),
        pytest.param(replace(dear(), deferrable=True), "0.00", id="deferrable goes first"),
    ],
)
def test_an_oversized_model_is_a_small_call_on_a_dearer_model(record: UsageRecord, expected: str) -> None:
    """A small call saves what its tokens would cost less on the cheapest model of the same operation."""
    assert amounts([CHEAP, record])["oversized_model"] == expected


def test_means_are_over_all_records_of_a_model() -> None:
    """The mean cost per token counts repeated, deferrable, large and other operations' records too.

    big: 1 + 1 for 1,100 + 8,900 tokens, 0.0002 each; small: (1 + 2) for 10,000 + 5,000 tokens, 0.0002 each: not above.
    """
    records = [
        CHEAP,
        replace(CHEAP, request_id="other", operation="code", cost_usd=Decimal(2), input_tokens=5_000, deferrable=True),
        dear(),
        replace(dear(), operation="code", input_tokens=8_900, output_tokens=0, deferrable=True),
    ]
    assert amounts(records)["oversized_model"] == "0.00"


def test_a_model_without_tokens_has_no_mean() -> None:
    """A model that used no tokens is neither the cheapest nor oversized, whatever it cost."""
    free = usage_record("0", request_id="free", model="free", input_tokens=0, output_tokens=0)
    paid = usage_record("9", request_id="paid", model="paid", input_tokens=0, output_tokens=0)
    assert amounts([free, paid])["oversized_model"] == "0.00"
    assert amounts([free, paid, CHEAP, dear()])["oversized_model"] == "0.89"


def test_a_call_without_tokens_on_a_dear_model_saves_its_whole_cost() -> None:
    """Zero tokens cost nothing on the cheapest model."""
    empty = replace(dear(), request_id="empty", prompt_fingerprint="e", input_tokens=0, output_tokens=0)
    assert amounts([CHEAP, dear(), empty])["oversized_model"] == "1.89"


def test_a_small_call_below_its_models_mean_counts_against_the_saving() -> None:
    """The rule is about the model's mean, so a call that was cheaper than the cheapest mean counts below zero."""
    lucky = replace(dear("0"), prompt_fingerprint="lucky")
    large = usage_record("5", request_id="large", model="big", input_tokens=10_000, output_tokens=0)
    assert amounts([CHEAP, large, lucky])["oversized_model"] == "-0.11"


def test_cheapest_models_of_equal_mean_are_told_apart_by_name() -> None:
    """Of equally cheap models the first by name is recommended."""
    moves = savings([replace(CHEAP, model="tiny"), replace(CHEAP, model="mini"), dear()]).moves
    assert moves == (Move(operation="chat", from_model="big", to_model="mini", calls=1, saving=Fraction(89, 100)),)


def test_only_the_largest_moves_are_told() -> None:
    """The tool tells the largest moves in their order, while the amount counts all of them."""
    records = [CHEAP, *(replace(dear("1"), model=f"big-{number}", cost_usd=Decimal(number)) for number in range(1, 8))]
    found = savings(records).to_json()
    assert [move["from_model"] for move in found["moves"]] == ["big-7", "big-6", "big-5", "big-4", "big-3"]
    assert len(found["moves"]) == LARGEST_MOVES < found["calls"]["oversized_model"] == 7
    assert found["savings_usd"]["oversized_model"] == f"{28 - 7 * Decimal('0.11')}"


COSTS = st.one_of(
    st.decimals(min_value=0, max_value=1_000, places=6),
    st.sampled_from([*map(Decimal, ["0", "0.000", "0.005", "1E-30", "1E+20", "0.00500000000000000000000001"])]),
)
RECORDS = st.lists(
    st.builds(
        usage_record,
        COSTS,
        seconds=st.integers(0, 2),
        request_id=st.sampled_from(["r1", "r2"]),
        model=st.sampled_from(["a", "b", "c"]),
        operation=st.sampled_from(["chat", "code"]),
        prompt_fingerprint=st.sampled_from(["p1", "p2", "p3", "p4"]),
        input_tokens=st.sampled_from([0, 1, 999, 1_000, 1_001]),
        output_tokens=st.sampled_from([0, 1, 99, 100, 101]),
        deferrable=st.booleans(),
    ),
    max_size=12,
)


def slow_savings(records: Sequence[UsageRecord]) -> list[Fraction]:
    """The three savings by the words of docs/wire.md, each word a line, at any cost in time."""

    def mean(model: str) -> Fraction | None:
        own = [record for record in records if record.model == model]
        tokens = sum(record.input_tokens + record.output_tokens for record in own)
        return sum((Fraction(record.cost_usd) for record in own), Fraction()) / tokens if tokens else None

    def means(operation: str) -> list[Fraction]:
        all_means = [mean(record.model) for record in records if record.operation == operation]
        return [value for value in all_means if value is not None]

    left = sorted(records, key=lambda record: (record.timestamp, record.request_id, -Fraction(record.cost_usd)))
    seen: set[tuple[str, str]] = set()
    kept, repeated = [], Fraction()
    for record in left:
        if (record.model, record.prompt_fingerprint) in seen:
            repeated += Fraction(record.cost_usd)
        else:
            seen.add((record.model, record.prompt_fingerprint))
            kept.append(record)
    deferrable = sum((Fraction(record.cost_usd) / 2 for record in kept if record.deferrable), Fraction())
    oversized = Fraction()
    for record in kept:
        own_mean = mean(record.model)
        if record.deferrable or record.input_tokens > 1_000 or record.output_tokens > 100 or own_mean is None:
            continue
        cheapest = min(means(record.operation))
        if own_mean > cheapest:
            oversized += Fraction(record.cost_usd) - (record.input_tokens + record.output_tokens) * cheapest
    return [repeated, deferrable, oversized]


def unambiguous(records: Sequence[UsageRecord]) -> bool:
    """Whether time, request id and cost tell which of the repeated prompts is the first."""
    keys = [(r.model, r.prompt_fingerprint, r.timestamp, r.request_id, r.cost_usd) for r in records]
    return len(set(keys)) == len(keys)


@given(RECORDS.filter(unambiguous))
def test_savings_are_those_of_the_written_rules(records: list[UsageRecord]) -> None:
    """The savings are exactly those of a slow transcription of the rules."""
    found = savings(records)
    assert [found.repeated_prompts, found.deferrable, found.oversized_model] == slow_savings(records)
    assert found.total == sum(slow_savings(records))


@given(RECORDS, st.randoms(use_true_random=False))
def test_the_order_of_records_is_irrelevant(records: list[UsageRecord], order: random.Random) -> None:
    """The same records in another order give the same figures and the same moves."""
    shuffled = records.copy()
    order.shuffle(shuffled)
    assert spend(shuffled).to_json() == spend(records).to_json()
    assert savings(shuffled) == savings(records)


@given(RECORDS)
def test_parts_make_up_the_total_exactly(records: list[UsageRecord]) -> None:
    """Before rounding, the models' costs and the operations' costs each sum up to the total."""
    summary = spend(records)
    total = sum((Fraction(record.cost_usd) for record in records), Fraction())
    for parts in (summary.by_model, summary.by_operation):
        assert sum((Fraction(cost) for _, cost in parts), Fraction()) == Fraction(summary.total) == total


@given(RECORDS)
def test_savings_never_exceed_the_spend(records: list[UsageRecord]) -> None:
    """Repeated prompts and deferrable calls save between nothing and the total, all kinds at most the total."""
    summary, found = spend(records), savings(records)
    assert 0 <= found.repeated_prompts <= summary.total
    assert 0 <= found.deferrable <= (Fraction(summary.total) - Fraction(found.repeated_prompts)) / 2
    assert found.total <= summary.total
    assert found.repeated_calls + found.deferrable_calls + sum(move.calls for move in found.moves) <= len(records)


@given(RECORDS)
def test_every_amount_is_text_with_two_decimals(records: list[UsageRecord]) -> None:
    """An amount on the wire is within half a cent of the exact one and has two decimals and no exponent."""
    summary, found = spend(records), savings(records)
    written, saved = summary.to_json(), found.to_json()["savings_usd"]
    exact_and_written = [
        (Fraction(summary.total), written["total_usd"]),
        *((Fraction(cost), written["by_model_usd"][model]) for model, cost in summary.by_model),
        *((Fraction(cost), written["by_operation_usd"][operation]) for operation, cost in summary.by_operation),
        (Fraction(found.repeated_prompts), saved["repeated_prompts"]),
        (found.deferrable, saved["deferrable"]),
        (found.oversized_model, saved["oversized_model"]),
        (found.total, saved["total"]),
    ]
    for exact, text in exact_and_written:
        whole, _, cents = text.removeprefix("-").partition(".")
        assert whole.isdigit()
        assert cents.isdigit()
        assert len(cents) == 2
        assert abs(Fraction(text) - exact) <= Fraction(1, 200)


@given(COSTS)
def test_one_amount_is_rounded_as_decimal_does(cost: Decimal) -> None:
    """A single cost is rounded as `Decimal.quantize` rounds half-even."""
    with localcontext(prec=60):
        expected = format(cost.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN), "f")
    assert spend([usage_record(cost)]).to_json()["total_usd"] == expected


def many_records(count: int) -> list[UsageRecord]:
    order = random.Random(674)
    return [
        usage_record(
            f"{order.randrange(10**6)}E-6",
            seconds=order.randrange(10**6),
            request_id=f"r{number}",
            model=f"m{order.randrange(5)}",
            operation=f"o{order.randrange(5)}",
            prompt_fingerprint=f"p{order.randrange(count)}",
            input_tokens=order.randrange(2_000),
            output_tokens=order.randrange(200),
            deferrable=order.random() < 0.2,
        )
        for number in range(count)
    ]


def quickest(work: Callable[[], object], tries: int) -> float:
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize(("count", "seconds", "tries"), [(200, 0.01, 20), (100_000, 10, 1)])
def test_the_time_grows_with_the_records_only(count: int, seconds: float, tries: int) -> None:
    """200 records take milliseconds and 100,000 seconds at most, with room for a slow machine."""
    records = many_records(count)
    assert quickest(lambda: (spend(records).to_json(), savings(records).to_json()), tries) < seconds
