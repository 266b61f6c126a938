"""The cost team as a client sees it: its events and its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from netra_backend.app.agents.cost.figures import FiguresJson, figures, savings, spend
from netra_backend.app.agents.cost.report import write_report
from netra_backend.app.agents.cost.team import CostTeam
from netra_backend.app.services.ports import UsageRecords
from netra_backend.app.services.usage_record import UsageRecord
from netra_backend.app.services.user_execution_context import UserExecutionContext
from tests.support.recording_emitter import RecordingEmitter
from tests.support.usage_records import StoredUsageRecords, usage_record

QUESTION = "Analyze my AI costs and recommend savings"

RECORDS = [
    usage_record("0.40", seconds=1, request_id="r1", model="big", input_tokens=1_000, output_tokens=100),
    usage_record("0.40", seconds=2, request_id="r2", model="big", prompt_fingerprint="r1", label="again"),
    usage_record("0.30", seconds=3, request_id="r3", model="big", deferrable=True),
    usage_record("0.10", seconds=4, request_id="r4", model="small"),
]


def a_run(user_id: str) -> RecordingEmitter:
    return RecordingEmitter(context=UserExecutionContext.from_request(user_id, "thread-1", "run-1"))


async def answer_of(emitter: RecordingEmitter, records: UsageRecords) -> tuple[str, FiguresJson]:
    result = cast("Mapping[str, object]", await emitter.run(CostTeam(records), QUESTION))
    assert [*result] == ["answer", "figures"]
    return cast("str", result["answer"]), cast("FiguresJson", result["figures"])


async def test_the_team_tells_each_step_in_order() -> None:
    """The supervisor thinks and delegates to the three agents in order, and the two tools may be repeated."""
    emitter = a_run("user-1")
    await answer_of(emitter, StoredUsageRecords({"user-1": RECORDS}))
    assert [(event.agent, event.type.value, json.loads(event.data).get("tool")) for event in emitter.events] == [
        ("supervisor", "agent_started", None),
        ("supervisor", "agent_thinking", None),
        ("data_agent", "agent_started", None),
        ("data_agent", "agent_thinking", None),
        ("data_agent", "tool_executing", "summarize_spend"),
        ("data_agent", "tool_completed", "summarize_spend"),
        ("data_agent", "agent_completed", None),
        ("optimization_agent", "agent_started", None),
        ("optimization_agent", "agent_thinking", None),
        ("optimization_agent", "tool_executing", "find_savings"),
        ("optimization_agent", "tool_completed", "find_savings"),
        ("optimization_agent", "agent_completed", None),
        ("report_agent", "agent_started", None),
        ("report_agent", "agent_thinking", None),
        ("report_agent", "agent_completed", None),
        ("supervisor", "agent_completed", None),
    ]
    assert emitter.idempotent == {"summarize_spend": True, "find_savings": True}


async def test_sub_agents_run_under_child_contexts_of_the_run() -> None:
    """Each sub-agent has one request of its own whose parent is the supervisor's."""
    emitter = a_run("user-1")
    await answer_of(emitter, StoredUsageRecords({"user-1": RECORDS}))
    requests = {event.agent: event.context.request_id for event in emitter.events}
    assert len(set(requests.values())) == 4
    for event in emitter.events:
        assert event.context.request_id == requests[event.agent]
        assert event.context.user_id == "user-1"
        if event.agent != "supervisor":
            assert event.context.parent_request_id == emitter.context.request_id


async def test_the_figures_are_those_of_the_users_records() -> None:
    """The answer's figures are what the records give, and nothing of another user's."""
    records = StoredUsageRecords({"user-1": RECORDS, "user-2": [usage_record("999", model="secret")]})
    answer, found = await answer_of(a_run("user-1"), records)
    assert found == figures(spend(RECORDS).to_json(), savings(RECORDS).to_json())
    assert found["total_usd"] == "1.20"
    assert found["savings_usd"]["total"] == "0.94"
    assert "secret" not in answer + json.dumps(found)


async def test_one_team_keeps_nothing_between_runs() -> None:
    """A team that is wrongly used for two runs still gives each user their own answer."""
    team = CostTeam(StoredUsageRecords({"user-1": RECORDS, "user-2": RECORDS[:1]}))
    for user, total in [("user-1", "1.20"), ("user-2", "0.40")]:
        result = cast("Mapping[str, FiguresJson]", await a_run(user).run(team, QUESTION))
        assert result["figures"]["total_usd"] == total


async def test_records_are_loaded_once_per_run() -> None:
    """The two tools share one loading of the records."""
    records = StoredUsageRecords({"user-1": RECORDS})
    await answer_of(a_run("user-1"), records)
    assert records.loads == 1
    await answer_of(a_run("user-1"), records)
    assert records.loads == 2


async def test_the_answer_says_the_figures_in_words() -> None:
    """The report holds the total, every model, the advice by kind and the costliest calls."""
    expected = """\
Your 4 calls cost **$1.20**. You could save **$0.94** (78% of it).

## Where the money goes

**By model**

- `big`: $1.10 (92%)
- `small`: $0.10 (8%)

**By operation**

- `chat`: $1.20 (100%)

## What you could save

**Repeated prompts: $0.40.** 1 call asked a model what it had been asked before. \
Keep the answers in a cache, keyed by model and prompt, and only the first call is paid for.

**Calls that can wait: $0.15.** 1 call could be deferred. \
Send them through your provider's batch interface, which usually costs half the price.

**Small calls on a dear model: $0.39.** 1 small call could run on a cheaper model that you use for the same operation \
already. Try it on a sample and compare the answers first.

- `chat`: 1 call from `big` to `small` saves $0.39

## The costliest calls

1. $0.40 on 2026-01-01 00:00 UTC, `big` for `chat`, request `r1`
2. $0.40 on 2026-01-01 00:00 UTC, `big` for `chat`, request `r2`: `again`
3. $0.30 on 2026-01-01 00:00 UTC, `big` for `chat`, request `r3`
4. $0.10 on 2026-01-01 00:00 UTC, `small` for `chat`, request `r4`
"""
    answer, _ = await answer_of(a_run("user-1"), StoredUsageRecords({"user-1": RECORDS}))
    assert answer == expected


async def test_without_records_the_answer_says_how_to_upload() -> None:
    """A user who has uploaded nothing gets a friendly answer and figures of zero."""
    answer, found = await answer_of(a_run("user-1"), StoredUsageRecords({"user-2": RECORDS}))
    assert "Upload your usage records" in answer
    assert "POST /api/usage-records" in answer
    assert (found["record_count"], found["total_usd"], found["costliest"]) == (0, "0.00", [])


def report(records: Sequence[UsageRecord]) -> str:
    return write_report(spend(records).to_json(), savings(records).to_json())


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("plain", "`plain`"),
        ("![x](http://example.com/x.png) <b>", "`![x](http://example.com/x.png) <b>`"),
        ("two\n\n# lines", "`two # lines`"),
        ("a `tick", "`` a `tick ``"),
        ("``", "``` `` ```"),
    ],
)
def test_nothing_in_a_label_works_as_markup(label: str, shown: str) -> None:
    """A user's own text stands in a code span of one line."""
    assert f"request `r`: {shown}\n" in report([usage_record(label=label)])


def test_a_blank_label_is_left_out() -> None:
    """A costliest call without words of the user's ends with its request."""
    assert "request `r`\n" in report([usage_record(label="  ")])


def test_calls_that_save_nothing_are_told_plainly() -> None:
    """Where there is nothing to save, every kind says so and nothing is advised."""
    answer = report([usage_record("0.5")])
    assert "cost **$0.50**. I found nothing worth saving." in answer
    assert "**Repeated prompts:** none." in answer
    assert "**Calls that can wait:** none" in answer
    assert "**Small calls on a dear model:** nothing to gain" in answer


def test_many_models_are_cut_to_the_largest() -> None:
    """A long list names the ten largest amounts and says how many there are more."""
    answer = report([usage_record(f"{number}", model=f"model-{number:02}") for number in range(1, 13)])
    listed = answer.split("**By model**")[1].split("**By operation**")[0].split()
    assert [word for word in listed if "model" in word] == [f"`model-{number:02}`:" for number in range(12, 2, -1)]
    assert "- and 2 more\n" in answer


def test_tiny_and_free_calls_have_sensible_shares() -> None:
    """A share under one percent is called that, and nothing is divided by a total of zero."""
    assert "`small`: $0.01 (under 1%)" in report([usage_record("0.01"), usage_record("99", model="big")])
    assert "- `small`: $0.00\n" in report([usage_record("0")])


class FailingRecords:
    """A port whose database is away."""

    async def load(self, context: UserExecutionContext) -> Sequence[UsageRecord]:
        """Never gives any."""
        raise ConnectionError("the database is away")


async def test_a_failing_port_fails_the_tool_the_agent_and_the_run() -> None:
    """What the port raises is told at each level and is never turned into an empty analysis."""
    emitter = a_run("user-1")
    with pytest.raises(ConnectionError):
        await emitter.run(CostTeam(FailingRecords()), QUESTION)
    assert [(event.agent, event.type.value) for event in emitter.events[-3:]] == [
        ("data_agent", "tool_completed"),
        ("data_agent", "agent_failed"),
        ("supervisor", "agent_failed"),
    ]
