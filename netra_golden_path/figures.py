"""The cost figures of a set of usage records, computed exactly and apart from the server (docs/wire.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from fractions import Fraction
from typing import Any

from netra_golden_path.canary import redact

COSTLIEST = 5
SMALL_INPUT_TOKENS = 1000
SMALL_OUTPUT_TOKENS = 100
_SHOWN = 120
_EXACT = Context(prec=1000, traps=[Inexact])


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One paid call of a model, as it is uploaded.

    Attributes:
        timestamp: when it was made, with its offset from UTC.
        request_id: the caller's id of it.
        model: the model's name.
        operation: what it was for.
        prompt_fingerprint: equal for equal prompts.
        input_tokens: tokens read.
        output_tokens: tokens written.
        cost_usd: what it cost in US dollars, exact.
        latency_ms: how long it took, in milliseconds.
        deferrable: whether it could have waited.
        label: the user's own words, at most 200 characters.
    """

    timestamp: datetime
    request_id: str
    model: str
    operation: str
    prompt_fingerprint: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    latency_ms: int
    deferrable: bool
    label: str

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the cost team must answer; amounts are text with two decimals, rounded half to even."""

    record_count: int
    total_usd: str
    by_model_usd: Mapping[str, str]
    by_operation_usd: Mapping[str, str]
    savings_usd: Mapping[str, str]
    costliest: tuple[Record, ...]

    def differences(self, received: object) -> list[str]:
        """Compares with the `figures` of an answer.

        Args:
            received: the parsed JSON, of whatever shape.

        Returns:
            One sentence per figure that is not as it must be; none when all are right.
        """
        if not isinstance(received, dict):
            return [f"figures: expected an object, got {_shown(received)}"]
        expected: dict[str, Any] = {
            "currency": "USD",
            "record_count": self.record_count,
            "total_usd": self.total_usd,
            "by_model_usd": self.by_model_usd,
            "by_operation_usd": self.by_operation_usd,
            "savings_usd": self.savings_usd,
        }
        found = []
        for name, right in expected.items():
            found += _unequal(name, right, received.get(name))
        return found + _unequal_costliest(self.costliest, received.get("costliest"))


def compute(records: Sequence[Record]) -> Figures:
    """Computes the figures of one user's records by the rules of docs/wire.md."""
    repeated, once = _split_repeated(records)
    deferrable = [record for record in once if record.deferrable]
    savings = {
        "repeated_prompts": _cost(repeated),
        "deferrable": _cost(deferrable) / 2,
        "oversized_model": _oversized(records, [record for record in once if not record.deferrable]),
    }
    savings["total"] = sum(savings.values(), Fraction())
    by_cost = sorted(records, key=lambda record: (-record.cost_usd, record.timestamp, record.request_id))
    return Figures(
        record_count=len(records),
        total_usd=dollars(_cost(records)),
        by_model_usd=_spend(records, lambda record: record.model),
        by_operation_usd=_spend(records, lambda record: record.operation),
        savings_usd={name: dollars(amount) for name, amount in savings.items()},
        costliest=tuple(by_cost[:COSTLIEST]),
    )


def dollars(amount: Fraction) -> str:
    """Writes an exact amount with two decimals, rounded half to even."""
    cents = round(amount * 100)
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def _cost(records: Iterable[Record]) -> Fraction:
    """Sums exactly: decimals without rounding (which would raise), because they add faster than fractions."""
    with localcontext(_EXACT):
        return Fraction(sum((record.cost_usd for record in records), Decimal()))


def _spend(records: Iterable[Record], key: Callable[[Record], str]) -> dict[str, str]:
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return {name: dollars(_cost(group)) for name, group in groups.items()}


def _split_repeated(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Splits into the repeated prompts (all but the first by time) and the records that are left."""
    repeated: list[Record] = []
    once: list[Record] = []
    seen: set[tuple[str, str]] = set()
    for record in sorted(records, key=lambda record: (record.timestamp, record.request_id)):
        prompt = record.model, record.prompt_fingerprint
        (repeated if prompt in seen else once).append(record)
        seen.add(prompt)
    return repeated, once


def _oversized(records: Iterable[Record], left: Iterable[Record]) -> Fraction:
    """What the small ones of `left` would have saved at the cheapest mean used for their operation.

    A model of which no record has tokens has no mean: it is neither oversized nor the cheapest.
    """
    by_model: defaultdict[str, list[Record]] = defaultdict(list)
    models_of: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        by_model[record.model].append(record)
        models_of[record.operation].add(record.model)
    tokens = {model: sum(record.tokens for record in group) for model, group in by_model.items()}
    mean = {model: _cost(group) / tokens[model] for model, group in by_model.items() if tokens[model]}
    cheapest = {
        operation: min((mean[model] for model in models if model in mean), default=Fraction())
        for operation, models in models_of.items()
    }
    saved = Fraction()
    for record in left:
        if record.input_tokens > SMALL_INPUT_TOKENS or record.output_tokens > SMALL_OUTPUT_TOKENS:
            continue
        bargain = cheapest[record.operation]
        if record.model in mean and mean[record.model] > bargain:
            saved += Fraction(record.cost_usd) - record.tokens * bargain
    return saved


def _unequal(name: str, right: Any, received: Any) -> list[str]:
    if isinstance(right, Mapping) and isinstance(received, dict):
        found = [f"{name}: {key!r} is one too many" for key in received if key not in right]
        for key, value in right.items():
            found += _unequal(f"{name}[{key!r}]", value, received.get(key))
        return found
    if received == right and type(received) is type(right):
        return []
    return [f"{name}: expected {_shown(right)}, got {_shown(received)}"]


def _unequal_costliest(right: Sequence[Record], received: Any) -> list[str]:
    if not isinstance(received, list) or len(received) != len(right):
        return [f"costliest: expected {len(right)} records, got {_shown(received)}"]
    return [
        f"costliest[{place}]: expected {record.request_id!r} at {record.cost_usd:f}, got {_shown(got)}"
        for place, (record, got) in enumerate(zip(right, received, strict=True))
        if not _same_record(record, got)
    ]


def _same_record(record: Record, received: Any) -> bool:
    if not isinstance(received, dict):
        return False
    texts = (record.request_id, record.model, record.operation, record.label)
    if tuple(received.get(name) for name in ("request_id", "model", "operation", "label")) != texts:
        return False
    cost, timestamp = received.get("cost_usd"), received.get("timestamp")
    if not isinstance(cost, str) or not isinstance(timestamp, str):
        return False
    try:
        moment = datetime.fromisoformat(timestamp)
        return moment.tzinfo is not None and moment == record.timestamp and Decimal(cost) == record.cost_usd
    except (ValueError, InvalidOperation):
        return False


def _shown(value: Any) -> str:
    text = redact(repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
