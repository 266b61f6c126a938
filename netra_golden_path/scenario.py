"""What each user brings: usage records that exercise every rule, with the user's own secrets in them.

Everything follows from the seed and the user's number. Request ids, fingerprints and common model names are the same
for all users on purpose, so that whatever is keyed without the user shows in the figures.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

import orjson

from netra_golden_path.canary import Secrets, plant
from netra_golden_path.figures import Record

RECORDS = 200
COLUMNS = tuple(field.name for field in fields(Record))

_START = datetime(2025, 3, 1, tzinfo=UTC)
_ZONES = (UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=9, minutes=30)))
_PRICES = {"gpt-large": "0.000015", "claude-large": "0.000012", "gpt-mini": "0.0000006", "llama-small": "0.0000002"}
_OPERATIONS = ("chat", "classify", "summarize", "extract")
_LABELS = ("", "nightly", "support, tier 1", 'the "big" one', "Zürich 費用", "a;b|c\td")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One user's records and what in them is secret.

    Attributes:
        user: the user's number, from 0.
        secrets: what nobody else may see.
        records: the usage records, in the order of upload.
    """

    user: int
    secrets: Secrets
    records: tuple[Record, ...]

    def body(self) -> tuple[str, bytes]:
        """Writes the upload: CSV for even users, JSON lines for odd ones.

        Returns:
            The content type and the body.
        """
        if self.user % 2:
            return "application/x-ndjson", _json_lines(self.records)
        return "text/csv", _csv(self.records)


def write(seed: int, user: int) -> Scenario:
    """Makes the scenario of one user; the same for the same seed and number."""
    secrets = plant(seed, user)
    builder = _Builder(Random(f"{seed}/{user}"), f"gpt-4.1-{secrets.model}")  # nosec B311  # drawn from a seed, so that a run can be repeated
    builder.add_secret_costs(secrets)
    builder.add_rounding_ties()
    builder.add_repeated_prompts()
    builder.add_small_requests()
    builder.add_tiny_amounts()
    builder.fill(RECORDS)
    return Scenario(user=user, secrets=secrets, records=builder.shuffled())


class _Builder:
    """Collects records; request ids are drawn without repetition, so that every order is decided."""

    def __init__(self, random: Random, secret_model: str) -> None:
        self._random = random
        self._prices = {model: Decimal(price) for model, price in _PRICES.items()}
        self._prices[secret_model] = Decimal("0.000009")
        self._secret_model = secret_model
        self._ids: Iterator[int] = iter(random.sample(range(100_000), RECORDS))  # nosec B311  # drawn from a seed, so that a run can be repeated
        self._records: list[Record] = []

    def add_secret_costs(self, secrets: Secrets) -> None:
        """The costliest records: more than are shown, of equal cost, some of the same instant, each with a secret."""
        once, twice, thrice = sorted(secrets.costs, reverse=True)
        noon = self._moment()
        for cost, moment in (
            (once, self._moment()),
            *((twice, self._moment()) for _ in range(2)),
            *((thrice, noon.astimezone(zone)) for zone in _ZONES),
        ):
            model = self._random.choice(("gpt-large", self._secret_model))
            self._add(cost=cost, timestamp=moment, model=model, input_tokens=60_000, label=f"case {secrets.label}")

    def add_rounding_ties(self) -> None:
        """Models whose spend ends on exactly half a cent, once above an even cent and once above an odd one."""
        for cents, model in ((Decimal("0.125"), "tie-down"), (Decimal("0.135"), "tie-up")):
            for share in (Decimal("0.005"), cents - Decimal("0.005")):
                self._add(cost=share, model=model, operation="translate", input_tokens=5_000)

    def add_repeated_prompts(self) -> None:
        """Equal prompts, some of the same instant; the same fingerprint in another model is no repetition."""
        for number in range(9):
            fingerprint = f"prompt-{number}"
            moment = self._moment()
            for model in self._random.sample(list(self._prices), 2):
                for repetition in range(3):
                    later = timedelta(minutes=0 if number % 3 == 0 else repetition)
                    self._add(
                        model=model,
                        prompt_fingerprint=fingerprint,
                        timestamp=(moment + later).astimezone(self._random.choice(_ZONES)),
                        deferrable=self._random.random() < 0.4,
                    )

    def add_small_requests(self) -> None:
        """Requests at, just over and far below the limits of a small one, in every model."""
        sizes = ((1000, 100), (1001, 100), (1000, 101), (0, 100), (1000, 0), (1, 1), (300, 40), (700, 90))
        for model in self._prices:
            for input_tokens, output_tokens in sizes:
                self._add(model=model, input_tokens=input_tokens, output_tokens=output_tokens)

    def add_tiny_amounts(self) -> None:
        """Costs far below a cent, and nothing at all."""
        for cost in ("0.0000001", "0.000000000001", "0", "0.00499999"):
            for deferrable in (False, True):
                self._add(cost=Decimal(cost), input_tokens=100, output_tokens=10, deferrable=deferrable)

    def fill(self, size: int) -> None:
        """Adds ordinary records up to `size` in all."""
        while len(self._records) < size:
            self._add(deferrable=self._random.random() < 0.5, label=self._random.choice(_LABELS))

    def shuffled(self) -> tuple[Record, ...]:
        """Gives the records in an order that is not that of time."""
        self._random.shuffle(self._records)
        return tuple(self._records)

    def _moment(self) -> datetime:
        return _START + timedelta(microseconds=self._random.randrange(30 * 86_400 * 10**6))

    def _add(self, cost: Decimal | None = None, **chosen: Any) -> None:
        number = next(self._ids)
        values: dict[str, Any] = {
            "timestamp": self._moment().astimezone(self._random.choice(_ZONES)),
            "request_id": f"req-{number:05d}",
            "model": self._random.choice(list(self._prices)),
            "operation": self._random.choice(_OPERATIONS),
            "prompt_fingerprint": f"once-{len(self._records)}",
            "input_tokens": self._random.randrange(20_000),
            "output_tokens": self._random.randrange(2_000),
            "latency_ms": self._random.randrange(20, 60_000),
            "deferrable": False,
            "label": "",
        } | chosen
        if cost is None:
            tokens = values["input_tokens"] + values["output_tokens"]
            jitter = Decimal(self._random.randrange(500, 1500)) / 1000
            cost = (tokens * self._prices[values["model"]] * jitter).quantize(Decimal("1e-9"))
        self._records.append(Record(cost_usd=cost, **values))


def _texts(record: Record) -> dict[str, str]:
    return {
        "timestamp": record.timestamp.isoformat().replace("+00:00", "Z"),
        "request_id": record.request_id,
        "model": record.model,
        "operation": record.operation,
        "prompt_fingerprint": record.prompt_fingerprint,
        "input_tokens": str(record.input_tokens),
        "output_tokens": str(record.output_tokens),
        "cost_usd": f"{record.cost_usd:f}",
        "latency_ms": str(record.latency_ms),
        "deferrable": "true" if record.deferrable else "false",
        "label": record.label,
    }


def _csv(records: Sequence[Record]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(map(_texts, records))
    return text.getvalue().encode()


def _json_lines(records: Sequence[Record]) -> bytes:
    """Writes one object per line; the cost is text, because a JSON number is not exact for every reader."""
    return b"".join(
        orjson.dumps(
            _texts(record)
            | {
                "input_tokens": record.input_tokens,
                "output_tokens": record.output_tokens,
                "latency_ms": record.latency_ms,
                "deferrable": record.deferrable,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for record in records
    )
