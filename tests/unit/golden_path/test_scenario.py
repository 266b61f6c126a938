"""Scenarios: what each user brings."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import datetime
from decimal import Decimal
from itertools import groupby

import orjson
import pytest

from netra_golden_path.canary import Vault
from netra_golden_path.figures import COSTLIEST, Record, compute
from netra_golden_path.scenario import COLUMNS, RECORDS, Scenario, write

SCENARIOS = [write(11, user) for user in range(12)]


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: f"user {scenario.user}")
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Each of a dozen users' scenarios."""
    written = request.param
    assert isinstance(written, Scenario)
    return written


def test_same_seed_and_number_give_the_same_scenario(scenario: Scenario) -> None:
    """A scenario follows from the seed and the user's number."""
    assert write(11, scenario.user) == scenario
    assert write(12, scenario.user).records != scenario.records


def test_every_upload_can_be_read_again(scenario: Scenario) -> None:
    """Even users upload CSV, odd ones JSON lines, and both hold exactly the records."""
    content_type, body = scenario.body()
    if scenario.user % 2 == 0:
        assert content_type == "text/csv"
        rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    else:
        assert content_type == "application/x-ndjson"
        rows = [orjson.loads(line) for line in body.splitlines()]
    assert [_record(row) for row in rows] == list(scenario.records)


def test_records_obey_the_wire(scenario: Scenario) -> None:
    """There are two hundred records, within the bounds of docs/wire.md, and no two of one request id."""
    assert len(scenario.records) == RECORDS
    assert len({record.request_id for record in scenario.records}) == RECORDS
    for record in scenario.records:
        assert record.timestamp.tzinfo is not None
        assert len(record.label) <= 200
        assert min(record.input_tokens, record.output_tokens, record.latency_ms) >= 0
        assert record.cost_usd >= 0
        assert all((record.model, record.operation, record.prompt_fingerprint))


def test_every_rule_is_exercised(scenario: Scenario) -> None:
    """All three savings are worth something, with ties, offsets, tiny amounts and half cents among the records."""
    figures = compute(scenario.records)
    for name in ("repeated_prompts", "deferrable", "oversized_model"):
        assert Decimal(figures.savings_usd[name]) > 0, name
    assert figures.by_model_usd["tie-down"] == "0.12"
    assert figures.by_model_usd["tie-up"] == "0.14"
    assert len(figures.by_model_usd) >= 6
    assert len(figures.by_operation_usd) >= 4
    assert len({record.timestamp.utcoffset() for record in scenario.records}) >= 3
    assert any(0 < record.cost_usd < Decimal("0.000001") for record in scenario.records)
    prompts = Counter((record.model, record.prompt_fingerprint, record.timestamp) for record in scenario.records)
    assert max(prompts.values()) >= 3
    sizes = {(record.input_tokens, record.output_tokens) for record in scenario.records}
    assert sizes >= {(1000, 100), (1001, 100), (1000, 101)}


def test_the_costliest_hold_secrets_and_a_tie_at_the_cut(scenario: Scenario) -> None:
    """All that an answer may show as costliest is secret, and which records those are is decided by the request id."""
    vault = Vault([(scenario.user, scenario.secrets)])
    by_cost = sorted(scenario.records, key=lambda record: -record.cost_usd)
    assert by_cost[COSTLIEST - 1].cost_usd == by_cost[COSTLIEST].cost_usd
    ties = [list(group) for _, group in groupby(by_cost[: COSTLIEST + 1], lambda record: record.cost_usd)]
    assert sorted(len({record.timestamp for record in tie}) for tie in ties) == [1, 1, 2]
    for record in compute(scenario.records).costliest:
        assert vault.own(record.label.encode(), scenario.user)
        assert vault.own(f"{record.cost_usd:f}".encode(), scenario.user)


def test_secrets_stand_in_labels_models_and_amounts(scenario: Scenario) -> None:
    """The upload holds every kind of secret but that of the account, and none of another user."""
    vault = Vault((other.user, other.secrets) for other in SCENARIOS)
    _, body = scenario.body()
    planted = set(scenario.secrets) - {scenario.secrets.account}
    assert {sighting.secret for sighting in vault.sightings(body)} == planted


def test_common_names_are_shared() -> None:
    """Users share model names and fingerprints with others, so that what is keyed without the user shows."""
    models = [{record.model for record in scenario.records} for scenario in SCENARIOS]
    assert set.intersection(*models) >= {"gpt-large", "gpt-mini", "llama-small"}
    prompts = [{record.prompt_fingerprint for record in scenario.records} for scenario in SCENARIOS]
    assert set.intersection(*prompts) >= {"prompt-0", "prompt-8"}


def _record(row: dict[str, object]) -> Record:
    values = {name: str(row[name]) for name in COLUMNS}
    return Record(
        timestamp=datetime.fromisoformat(values["timestamp"]),
        request_id=values["request_id"],
        model=values["model"],
        operation=values["operation"],
        prompt_fingerprint=values["prompt_fingerprint"],
        input_tokens=int(values["input_tokens"]),
        output_tokens=int(values["output_tokens"]),
        cost_usd=Decimal(values["cost_usd"]),
        latency_ms=int(values["latency_ms"]),
        deferrable=values["deferrable"].lower() == "true",
        label=values["label"],
    )
