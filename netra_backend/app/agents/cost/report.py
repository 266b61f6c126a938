"""The report agent: puts the figures in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.user_execution_context import UserExecutionContext

from .figures import CallJson, MoveJson, SavingsJson, SpendJson

LONGEST_LIST = 10

NO_RECORDS = """\
## No usage records yet

I would gladly tell you what your AI calls cost and where you could save, but there is nothing to look at yet.

Upload your usage records, as CSV or as JSON lines, on the page or with `POST /api/usage-records`, and ask me again. \
A record is one call of a model: `timestamp`, `request_id`, `model`, `operation`, `prompt_fingerprint`, \
`input_tokens`, `output_tokens`, `cost_usd`, `latency_ms`, `deferrable` and `label`.
"""


class ReportAgent:
    """Writes the answer from what the two tools told; its result is Markdown."""

    def __init__(self, spend: SpendJson, savings: SavingsJson) -> None:
        self._spend = spend
        self._savings = savings

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Write the report, whatever the message is."""
        await emit.thinking("Putting the figures in words.")
        return write_report(self._spend, self._savings)


def write_report(spend: SpendJson, savings: SavingsJson) -> str:
    """The answer for a person, in Markdown.

    The user's own texts stand in code spans, so that nothing in them works as markup, a link or an image.
    """
    if not spend["record_count"]:
        return NO_RECORDS
    sections = [
        _summary(spend, savings),
        "## Where the money goes",
        *_amounts("By model", spend["by_model_usd"], spend["total_usd"]),
        *_amounts("By operation", spend["by_operation_usd"], spend["total_usd"]),
        "## What you could save",
        _repeated_prompts(savings),
        _deferrable(savings),
        _oversized_model(savings),
        "## The costliest calls",
        "\n".join(f"{place}. {_call(call)}" for place, call in enumerate(spend["costliest"], start=1)),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(spend: SpendJson, savings: SavingsJson) -> str:
    total, saving = spend["total_usd"], savings["savings_usd"]["total"]
    spent = f"Your {_count(spend['record_count'], 'call')} cost **{_dollars(total)}**."
    if Decimal(saving) <= 0:
        return f"{spent} I found nothing worth saving."
    return f"{spent} You could save **{_dollars(saving)}**{_share(saving, total, ' ({} of it)')}."


def _amounts(title: str, amounts: dict[str, str], total: str) -> Iterable[str]:
    """A titled list, the largest amount first."""
    ordered = sorted(amounts.items(), key=lambda item: (-Decimal(item[1]), item[0]))
    lines = [
        f"- {_code(name)}: {_dollars(amount)}{_share(amount, total, ' ({})')}"
        for name, amount in ordered[:LONGEST_LIST]
    ]
    if len(ordered) > LONGEST_LIST:
        lines.append(f"- and {len(ordered) - LONGEST_LIST} more")
    yield f"**{title}**"
    yield "\n".join(lines)


def _repeated_prompts(savings: SavingsJson) -> str:
    calls, amount = savings["calls"]["repeated_prompts"], savings["savings_usd"]["repeated_prompts"]
    if not calls:
        return "**Repeated prompts:** none. No model was asked the same thing twice."
    return (
        f"**Repeated prompts: {_dollars(amount)}.** {_count(calls, 'call')} asked a model what it had been asked "
        "before. Keep the answers in a cache, keyed by model and prompt, and only the first call is paid for."
    )


def _deferrable(savings: SavingsJson) -> str:
    calls, amount = savings["calls"]["deferrable"], savings["savings_usd"]["deferrable"]
    if not calls:
        return "**Calls that can wait:** none are marked as deferrable."
    return (
        f"**Calls that can wait: {_dollars(amount)}.** {_count(calls, 'call')} could be deferred. "
        "Send them through your provider's batch interface, which usually costs half the price."
    )


def _oversized_model(savings: SavingsJson) -> str:
    calls, amount = savings["calls"]["oversized_model"], savings["savings_usd"]["oversized_model"]
    if not calls or Decimal(amount) <= 0:
        return "**Small calls on a dear model:** nothing to gain by moving them."
    advice = (
        f"**Small calls on a dear model: {_dollars(amount)}.** {_count(calls, 'small call')} could run on a cheaper "
        "model that you use for the same operation already. Try it on a sample and compare the answers first."
    )
    return "\n".join([advice, "", *(_move(move) for move in savings["moves"] if Decimal(move["saving_usd"]) > 0)])


def _move(move: MoveJson) -> str:
    return (
        f"- {_code(move['operation'])}: {_count(move['calls'], 'call')} from {_code(move['from_model'])} "
        f"to {_code(move['to_model'])} saves {_dollars(move['saving_usd'])}"
    )


def _call(call: CallJson) -> str:
    time = datetime.fromisoformat(call["timestamp"])
    label = f": {_code(call['label'])}" if call["label"].strip() else ""
    return (
        f"{_dollars(call['cost_usd'])} on {time:%Y-%m-%d %H:%M} UTC, {_code(call['model'])} for "
        f"{_code(call['operation'])}, request {_code(call['request_id'])}{label}"
    )


def _dollars(amount: str) -> str:
    return f"-${amount[1:]}" if amount.startswith("-") else f"${amount}"


def _share(part: str, whole: str, words: str) -> str:
    """`words` with the percentage in it, or nothing where that would say nothing."""
    if Decimal(whole) <= 0:
        return ""
    percent = Decimal(part) / Decimal(whole)
    return words.format(f"{percent:.0%}" if percent >= Decimal("0.01") else "under 1%")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _code(text: str) -> str:
    """A code span of one line that shows `text` literally (CommonMark 6.1)."""
    text = " ".join(text.split()) or "(empty)"
    fence = "`" * (1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"
