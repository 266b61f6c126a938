"""The OpenAPI document: whole, and only of what there is; `test_fuzz.py` holds the answers against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netra_backend.app.api.document import ANSWERS
from netra_backend.app.api.errors import PROBLEM
from netra_backend.app.api.ownership import ROUTES, OwnerRule
from netra_backend.app.config import Settings
from netra_backend.app.main import create_app

UNTOLD = {("GET", "/"), ("GET", "/static"), ("GET", "/openapi.json"), ("SOCKET", "/ws")}
"""Pages, the document itself, and what OpenAPI cannot tell of."""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of a server with an agent of its user's own."""
    agents = {"gate": "tests.support.agents:GateAgent"}
    app = create_app(Settings(data_dir=Path(tmp_path_factory.mktemp("data")), agents=agents))
    return app.openapi()


def _operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_tells_its_answer(document: dict[str, Any]) -> None:
    """Each route of the registry is told with what it answers, and nothing else is."""
    assert set(_operations(document)) == set(ANSWERS) == set(ROUTES) - UNTOLD


def test_every_problem_is_told_as_one(document: dict[str, Any]) -> None:
    """A token that is asked for can be refused, an id can be unknown, and each refusal is problem details."""
    for key, operation in _operations(document).items():
        responses = operation["responses"]
        problems = {status for status in responses if status >= "400"}
        assert {"403", "503"} <= problems
        assert ("401" in problems) >= bool(operation.get("security"))
        assert ("404" in problems) >= (ROUTES[key] in (OwnerRule.THREAD, OwnerRule.RUN))
        for status in problems:
            assert list(responses[status]["content"]) == [PROBLEM]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """No schema is referred to that is not there, and none of FastAPI's own forms of errors is left."""
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    referred = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "')[1:]}
    assert referred <= known
    assert "#/components/schemas/HTTPValidationError" not in known


def test_a_message_may_ask_for_the_agents_that_there_are(document: dict[str, Any]) -> None:
    """The agents' names are told; nobody has to guess them."""
    agent = document["components"]["schemas"]["NewMessage"]["properties"]["agent"]
    assert agent["anyOf"][0] == {"type": "string", "enum": ["gate", "supervisor"]}


def test_the_ids_of_an_answer_lead_on(document: dict[str, Any]) -> None:
    """Who has sent a message is told where its run is looked at and ended."""
    links = _operations(document)["POST", "/api/threads/{thread_id}/messages"]["responses"]["202"]["links"]
    targets = {_operations(document)[key]["operationId"] for key in ANSWERS if "{run_id}" in key[1]}
    assert targets <= set(links)
    assert all(links[target]["parameters"] == {"run_id": "$response.body#/run_id"} for target in targets)


def test_no_body_takes_what_it_does_not_know(document: dict[str, Any]) -> None:
    """A field that a JSON body has not is refused and never passed over: nobody is told that it was heeded."""
    bodies = 0
    for operation in _operations(document).values():
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            if kind == "application/json":
                schema = document["components"]["schemas"][media["schema"]["$ref"].rpartition("/")[2]]
                assert schema["additionalProperties"] is False
                bodies += 1
    assert bodies >= 5
