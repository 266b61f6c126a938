"""A usage record: one paid call of a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """One paid call of a model.

    Attributes:
        timestamp: when it was made, aware UTC.
        request_id: the provider's or the user's id of the call; need not be unique.
        model: the model's name.
        operation: what the call was for.
        prompt_fingerprint: equal for equal prompts.
        input_tokens: tokens read, not negative.
        output_tokens: tokens written, not negative.
        cost_usd: what it cost in US dollars, exact, not negative.
        latency_ms: how long it took, in milliseconds, not negative.
        deferrable: whether it could have waited for a batch price.
        label: the user's own words, at most 200 characters, possibly empty.
    """

    timestamp: datetime
    request_id: str
    model: str
    operation: str
    prompt_fingerprint: str
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    latency_ms: float
    deferrable: bool
    label: str
