"""Usage records for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from netra_backend.app.services.usage_record import UsageRecord
from netra_backend.app.services.user_execution_context import UserExecutionContext

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


def usage_record(
    cost_usd: str | Decimal = "1",
    *,
    seconds: float = 0,
    request_id: str = "r",
    model: str = "small",
    operation: str = "chat",
    prompt_fingerprint: str | None = None,
    input_tokens: int = 5_000,
    output_tokens: int = 5_000,
    deferrable: bool = False,
    label: str = "",
) -> UsageRecord:
    """A record that counts for no saving unless told so.

    Args:
        cost_usd: what it cost.
        seconds: when it was made, counted from `MIDNIGHT`.
        request_id: its request id; also its prompt's fingerprint where that is None.
        model: its model.
        operation: its operation.
        prompt_fingerprint: its prompt's fingerprint.
        input_tokens: tokens read.
        output_tokens: tokens written.
        deferrable: whether it can wait.
        label: its label.
    """
    return UsageRecord(
        timestamp=MIDNIGHT + timedelta(seconds=seconds),
        request_id=request_id,
        model=model,
        operation=operation,
        prompt_fingerprint=request_id if prompt_fingerprint is None else prompt_fingerprint,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=Decimal(cost_usd),
        latency_ms=1.5,
        deferrable=deferrable,
        label=label,
    )


def csv_of(count: int) -> str:
    """So many records as the text of a CSV upload."""
    records = [usage_record("0.125", seconds=number, request_id=f"r{number}") for number in range(count)]
    names = [field.name for field in fields(UsageRecord)]
    rows = [",".join(_cell(getattr(record, name)) for name in names) for record in records]
    return "\n".join([",".join(names), *rows, ""])


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


class StoredUsageRecords:
    """A `UsageRecords` over lists in memory, by user; counts how often it is asked."""

    def __init__(self, by_user: dict[str, Sequence[UsageRecord]]) -> None:
        self._by_user = by_user
        self.loads = 0

    async def load(self, context: UserExecutionContext) -> Sequence[UsageRecord]:
        """The records of the context's user, in the order of their time."""
        self.loads += 1
        return sorted(self._by_user.get(context.user_id, ()), key=lambda record: record.timestamp)
