"""What a user's calls cost and what could be saved: exact sums over usage records.

The rules are those of docs/wire.md, "The cost team's answer". Every amount stays exact, a `Decimal` or a `Fraction`,
until `to_json` rounds it half-even to cents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from heapq import nsmallest
from typing import TypedDict

from netra_backend.app.services.usage_record import UsageRecord

COSTLIEST_CALLS = 5
SMALL_CALL_INPUT_TOKENS = 1_000
SMALL_CALL_OUTPUT_TOKENS = 100
LARGEST_MOVES = 5

_CENT = Decimal("0.01")
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, rounding=ROUND_HALF_EVEN)


class CallJson(TypedDict):
    """One of the costliest calls; `cost_usd` is exact."""

    timestamp: str
    request_id: str
    model: str
    operation: str
    cost_usd: str
    label: str


class SpendJson(TypedDict):
    """What `summarize_spend` tells; amounts are text with two decimals."""

    record_count: int
    total_usd: str
    by_model_usd: dict[str, str]
    by_operation_usd: dict[str, str]
    costliest: list[CallJson]


class SavingsAmountsJson(TypedDict):
    """The savings by kind; amounts are text with two decimals."""

    repeated_prompts: str
    deferrable: str
    oversized_model: str
    total: str


class SavingsCallsJson(TypedDict):
    """How many records count for each kind of saving."""

    repeated_prompts: int
    deferrable: int
    oversized_model: int


class MoveJson(TypedDict):
    """One operation's small calls that a cheaper model could take over."""

    operation: str
    from_model: str
    to_model: str
    calls: int
    saving_usd: str


class SavingsJson(TypedDict):
    """What `find_savings` tells; `moves` holds the largest ones only."""

    savings_usd: SavingsAmountsJson
    calls: SavingsCallsJson
    moves: list[MoveJson]


class FiguresJson(SpendJson):
    """The `figures` of the team's answer."""

    currency: str
    savings_usd: SavingsAmountsJson


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What the calls cost, exactly.

    Attributes:
        record_count: how many records there are.
        total: the cost of all of them, in US dollars.
        by_model: each model and the cost of its records, by the model's name.
        by_operation: each operation and the cost of its records, by the operation's name.
        costliest: at most `COSTLIEST_CALLS` records, by cost (the highest first), then time, then request id.
    """

    record_count: int
    total: Decimal
    by_model: tuple[tuple[str, Decimal], ...]
    by_operation: tuple[tuple[str, Decimal], ...]
    costliest: tuple[UsageRecord, ...]

    def to_json(self) -> SpendJson:
        """The same with amounts as text, rounded half-even to cents."""
        return SpendJson(
            record_count=self.record_count,
            total_usd=_cents(self.total),
            by_model_usd={model: _cents(cost) for model, cost in self.by_model},
            by_operation_usd={operation: _cents(cost) for operation, cost in self.by_operation},
            costliest=[_call(record) for record in self.costliest],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Small calls of one operation that run on one model and could run on a cheaper one.

    Attributes:
        operation: what the calls are for.
        from_model: the model that they run on.
        to_model: the cheapest model per token that the user uses for the same operation.
        calls: how many they are.
        saving: their cost minus what as many tokens cost on `to_model`, in US dollars. Below zero where these calls
            happen to be cheaper than their model is on average.
    """

    operation: str
    from_model: str
    to_model: str
    calls: int
    saving: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What could be saved, exactly; every record counts for one kind at most.

    Attributes:
        repeated_prompts: the cost of the calls that repeat a prompt, in US dollars.
        repeated_calls: how many they are.
        deferrable: half of the cost of the calls that can wait, in US dollars.
        deferrable_calls: how many they are.
        moves: the small calls on needlessly dear models, by operation, then model.
    """

    repeated_prompts: Decimal
    repeated_calls: int
    deferrable: Fraction
    deferrable_calls: int
    moves: tuple[Move, ...]

    @property
    def oversized_model(self) -> Fraction:
        """What all moves together save, in US dollars."""
        return sum((move.saving for move in self.moves), Fraction())

    @property
    def total(self) -> Fraction:
        """What all kinds together save, in US dollars."""
        return Fraction(self.repeated_prompts) + self.deferrable + self.oversized_model

    def to_json(self) -> SavingsJson:
        """The same with amounts as text, rounded half-even to cents."""
        largest = sorted(self.moves, key=lambda move: (-move.saving, move.operation, move.from_model))[:LARGEST_MOVES]
        return SavingsJson(
            savings_usd=SavingsAmountsJson(
                repeated_prompts=_cents(self.repeated_prompts),
                deferrable=_cents(self.deferrable),
                oversized_model=_cents(self.oversized_model),
                total=_cents(self.total),
            ),
            calls=SavingsCallsJson(
                repeated_prompts=self.repeated_calls,
                deferrable=self.deferrable_calls,
                oversized_model=sum(move.calls for move in self.moves),
            ),
            moves=[
                MoveJson(
                    operation=move.operation,
                    from_model=move.from_model,
                    to_model=move.to_model,
                    calls=move.calls,
                    saving_usd=_cents(move.saving),
                )
                for move in largest
            ],
        )


def spend(records: Iterable[UsageRecord]) -> Spend:
    """Sum up what the records cost: in total, by model and by operation.

    Args:
        records: the records of one user, in any order.
    """
    records = tuple(records)
    total = Decimal()
    by_model: defaultdict[str, Decimal] = defaultdict(Decimal)
    by_operation: defaultdict[str, Decimal] = defaultdict(Decimal)
    with localcontext(_EXACT):
        for record in records:
            total += record.cost_usd
            by_model[record.model] += record.cost_usd
            by_operation[record.operation] += record.cost_usd
    return Spend(
        record_count=len(records),
        total=total,
        by_model=tuple(sorted(by_model.items())),
        by_operation=tuple(sorted(by_operation.items())),
        costliest=tuple(nsmallest(COSTLIEST_CALLS, records, key=_costliest_first)),
    )


def savings(records: Iterable[UsageRecord]) -> Savings:
    """Find what could be saved, each record counted for the first kind that it fits.

    The kinds in their order: repeated prompts, deferrable calls, small calls on an oversized model.

    Args:
        records: the records of one user, in any order.
    """
    records = tuple(records)
    originals = _originals(records)
    means = _mean_costs(records)
    cheapest = _cheapest_models(records, means)
    repeated_cost, repeated_calls = Decimal(), 0
    deferrable_cost, deferrable_calls = Decimal(), 0
    oversized: defaultdict[tuple[str, str], _Tally] = defaultdict(_Tally)
    with localcontext(_EXACT):
        for index, record in enumerate(records):
            if index not in originals:
                repeated_cost += record.cost_usd
                repeated_calls += 1
            elif record.deferrable:
                deferrable_cost += record.cost_usd
                deferrable_calls += 1
            elif (
                record.input_tokens <= SMALL_CALL_INPUT_TOKENS
                and record.output_tokens <= SMALL_CALL_OUTPUT_TOKENS
                and record.model in means
                and means[record.model] > means[cheapest[record.operation]]
            ):
                oversized[record.operation, record.model].add(record)
    return Savings(
        repeated_prompts=repeated_cost,
        repeated_calls=repeated_calls,
        deferrable=Fraction(deferrable_cost) / 2,
        deferrable_calls=deferrable_calls,
        moves=tuple(
            Move(
                operation=operation,
                from_model=model,
                to_model=cheapest[operation],
                calls=tally.calls,
                saving=Fraction(tally.cost) - tally.tokens * means[cheapest[operation]],
            )
            for (operation, model), tally in sorted(oversized.items(), key=lambda item: item[0])
        ),
    )


def figures(spend: SpendJson, savings: SavingsJson) -> FiguresJson:
    """The `figures` of the answer, from what the two tools told."""
    return FiguresJson(
        currency="USD",
        record_count=spend["record_count"],
        total_usd=spend["total_usd"],
        by_model_usd=spend["by_model_usd"],
        by_operation_usd=spend["by_operation_usd"],
        savings_usd=savings["savings_usd"],
        costliest=spend["costliest"],
    )


@dataclass(slots=True)
class _Tally:
    """A running sum over records; `add` belongs inside the exact context."""

    calls: int = 0
    cost: Decimal = Decimal()
    tokens: int = 0

    def add(self, record: UsageRecord) -> None:
        self.calls += 1
        self.cost += record.cost_usd
        self.tokens += record.input_tokens + record.output_tokens


def _originals(records: Sequence[UsageRecord]) -> frozenset[int]:
    """Where the first record of each model and prompt stands."""
    firsts: dict[tuple[str, str], int] = {}
    for index, record in enumerate(records):
        prompt = (record.model, record.prompt_fingerprint)
        first = firsts.setdefault(prompt, index)
        if first != index and _earliest_first(record) < _earliest_first(records[first]):
            firsts[prompt] = index
    return frozenset(firsts.values())


def _mean_costs(records: Iterable[UsageRecord]) -> dict[str, Fraction]:
    """The cost per token of each model that has tokens at all."""
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    with localcontext(_EXACT):
        for record in records:
            tallies[record.model].add(record)
    return {model: Fraction(tally.cost) / tally.tokens for model, tally in tallies.items() if tally.tokens}


def _cheapest_models(records: Iterable[UsageRecord], means: Mapping[str, Fraction]) -> dict[str, str]:
    """For each operation the cheapest model per token among those used for it; of equal ones the first by name."""
    uses = {(record.operation, record.model) for record in records if record.model in means}
    cheapest: dict[str, str] = {}
    for operation, model in sorted(uses):
        if operation not in cheapest or means[model] < means[cheapest[operation]]:
            cheapest[operation] = model
    return cheapest


def _earliest_first(record: UsageRecord) -> tuple[object, ...]:
    """Time, then request id; where these are equal too, the dearest first, so that the saving is not overstated.

    What follows only makes the figures independent of the order of records that agree in all that.
    """
    return (
        record.timestamp,
        record.request_id,
        record.cost_usd.copy_negate(),
        record.operation,
        record.input_tokens,
        record.output_tokens,
        record.deferrable,
    )


def _costliest_first(record: UsageRecord) -> tuple[object, ...]:
    """Cost, time and request id; what follows settles which of equal calls is told, `1` or `1.00` included."""
    return (
        record.cost_usd.copy_negate(),
        record.timestamp,
        record.request_id,
        record.model,
        record.operation,
        record.label,
        str(record.cost_usd),
    )


def _call(record: UsageRecord) -> CallJson:
    return CallJson(
        timestamp=record.timestamp.isoformat(),
        request_id=record.request_id,
        model=record.model,
        operation=record.operation,
        cost_usd=format(record.cost_usd, "f"),
        label=record.label,
    )


def _cents(amount: Decimal | Fraction) -> str:
    with localcontext(_EXACT):
        if isinstance(amount, Fraction):
            amount = Decimal(round(amount * 100)).scaleb(-2)
        return format(amount.quantize(_CENT), "f")
