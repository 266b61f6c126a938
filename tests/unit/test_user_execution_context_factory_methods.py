"""The factories of UserExecutionContext: the five that exist, and the one that never did."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from inspect import Parameter, signature
from typing import Any
from uuid import UUID

import pytest
from starlette.requests import Request

from netra_backend.app.services.user_execution_context import InvalidContextError, UserExecutionContext

SIGNATURES = {
    "from_request": "user_id thread_id run_id request_id= db_session= websocket_client_id= agent_context="
    " audit_metadata= *deadline=",
    "from_websocket_request": "user_id websocket_client_id= operation= *deadline=",
    "from_fastapi_request": "request user_id thread_id run_id db_session= websocket_client_id= *deadline=",
    "from_agent_execution_context": "user_id thread_id run_id request_id= agent_context= audit_metadata=",
    "from_request_supervisor": "user_id thread_id run_id request_id= db_session= websocket_connection_id= metadata=",
}
READERS = {"from_dict", "from_wire"}
HTTP_REQUEST = Request(
    {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "client": ("192.0.2.1", 80)}
)

MAKERS: dict[str, Callable[..., UserExecutionContext]] = {
    "from_request": lambda **ids: UserExecutionContext.from_request(**ids),
    "from_websocket_request": lambda **ids: UserExecutionContext.from_websocket_request(ids["user_id"]),
    "from_fastapi_request": lambda **ids: UserExecutionContext.from_fastapi_request(HTTP_REQUEST, **ids),
    "from_agent_execution_context": lambda **ids: UserExecutionContext.from_agent_execution_context(**ids),
    "from_request_supervisor": lambda **ids: UserExecutionContext.from_request_supervisor(**ids),
}
IDS: dict[str, Any] = {"user_id": "test_user_674", "thread_id": "thread_674", "run_id": "run_674"}


def written(parameter: Parameter) -> str:
    """A parameter in the notation of `SIGNATURES`."""
    star = "*" if parameter.kind is Parameter.KEYWORD_ONLY else ""
    return f"{star}{parameter.name}{'' if parameter.default is Parameter.empty else '='}"


def test_create_for_user_does_not_exist() -> None:
    """The method that 86 test files called does not exist, on the class or on a context."""
    assert hasattr(UserExecutionContext, "create_for_user") is False
    assert hasattr(UserExecutionContext.from_request(**IDS), "create_for_user") is False


def test_there_are_five_factories() -> None:
    """These five and no others make a context, apart from the two that read one back."""
    assert {name for name in dir(UserExecutionContext) if name.startswith(("from_", "create_for"))} == (
        set(SIGNATURES) | READERS
    )


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_factory_takes_what_the_contract_says(name: str) -> None:
    """Names, order and kinds of the arguments are those of the contract."""
    parameters = signature(getattr(UserExecutionContext, name)).parameters.values()
    assert " ".join(map(written, parameters)) == SIGNATURES[name]


@pytest.mark.parametrize("name", MAKERS)
def test_a_factory_makes_a_valid_isolated_context(name: str) -> None:
    """What a factory makes is valid, isolated, at the root, of that user, and different each time."""
    context, other = MAKERS[name](**IDS), MAKERS[name](**IDS)
    assert type(context) is UserExecutionContext
    assert context.user_id == "test_user_674"
    assert context.is_valid()
    assert context.verify_isolation()
    assert (context.operation_depth, context.parent_request_id, context.db_session) == (0, None, None)
    assert context.request_id != other.request_id
    assert context.get_context_key() != other.get_context_key()
    if name != "from_websocket_request":
        assert (context.thread_id, context.run_id) == ("thread_674", "run_674")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("bad", [None, "", "placeholder", "nUll", 5, "{user_id}"])
def test_a_factory_refuses_a_stand_in(name: str, bad: Any) -> None:
    """No factory makes a context for a user that is none."""
    with pytest.raises(InvalidContextError, match=r"^user_id: "):
        MAKERS[name](**IDS | {"user_id": bad})


def test_from_request_fills_every_field() -> None:
    """The primary factory hands every argument on."""
    session, deadline = object(), datetime.now(UTC) + timedelta(hours=1)
    context = UserExecutionContext.from_request(
        "ann", "t-1", "r-1", "q-1", session, "ws-1", {"a": [1]}, {"b": 2}, deadline=deadline
    )
    assert (context.user_id, context.thread_id, context.run_id, context.request_id) == ("ann", "t-1", "r-1", "q-1")
    assert context.db_session is session
    assert context.websocket_client_id == context.websocket_connection_id == "ws-1"
    assert (context.agent_context, context.audit_metadata, context.deadline) == ({"a": [1]}, {"b": 2}, deadline)


def test_from_request_generates_a_request_id() -> None:
    """A missing request id is generated, an empty one is refused."""
    assert str(UUID(UserExecutionContext.from_request(**IDS).request_id))
    with pytest.raises(InvalidContextError, match=r"^request_id: "):
        UserExecutionContext.from_request(**IDS, request_id="")


def test_from_websocket_request_generates_ids_that_belong_together() -> None:
    """Thread, run, request and client id share one UUID, which is the thread's id."""
    context = UserExecutionContext.from_websocket_request("ann")
    stem = str(UUID(context.thread_id))
    assert context.thread_id == stem
    others = [context.run_id, context.request_id, context.websocket_client_id]
    assert all(text and text.endswith(stem) for text in others)
    assert len({stem, *others}) == 4
    assert context.audit_metadata == {"operation_name": "websocket_session"}


def test_from_websocket_request_takes_client_operation_and_deadline() -> None:
    """A given client id is kept, the operation is told to the audit, the deadline is set."""
    deadline = datetime.now(UTC) + timedelta(minutes=1)
    context = UserExecutionContext.from_websocket_request("ann", "ws-1", "resume", deadline=deadline)
    assert context.websocket_client_id == "ws-1"
    assert context.audit_metadata == {"operation_name": "resume"}
    assert context.deadline == deadline
    with pytest.raises(InvalidContextError, match=r"^operation: "):
        UserExecutionContext.from_websocket_request("ann", operation="")


def test_from_fastapi_request_records_the_caller() -> None:
    """The caller goes into the audit metadata; the other arguments are handed on."""
    session, deadline = object(), datetime.now(UTC) + timedelta(minutes=1)
    context = UserExecutionContext.from_fastapi_request(
        HTTP_REQUEST, "ann", "t-1", "r-1", session, "ws-1", deadline=deadline
    )
    assert context.audit_metadata == {"client_address": "192.0.2.1", "http_method": "GET", "http_path": "/"}
    assert context.db_session is session
    assert (context.websocket_client_id, context.deadline, context.agent_context) == ("ws-1", deadline, {})


def test_from_agent_execution_context_fills_its_fields() -> None:
    """An agent step's ids and metadata are kept."""
    context = UserExecutionContext.from_agent_execution_context("ann", "t-1", "r-1", "q-1", {"a": 1}, {"b": 2})
    assert (context.request_id, context.agent_context, context.audit_metadata) == ("q-1", {"a": 1}, {"b": 2})


def test_from_request_supervisor_splits_its_metadata() -> None:
    """Keys that hold audit, compliance, trace or log, in any case, go to the audit; all are readable back."""
    agent: dict[str, Any] = {"plan": ["a"], "goal": "save", "tracking": 1}
    audit: dict[str, Any] = {"audit_id": 1, "SOX_Compliance": True, "X-Trace": "t", "catalog": {"a": [1]}, "log": None}
    context = UserExecutionContext.from_request_supervisor("ann", "t-1", "r-1", metadata={**agent, **audit})
    assert context.agent_context == agent
    assert context.audit_metadata == audit
    assert context.metadata == {**agent, **audit}
    assert context.metadata["plan"] == ("a",)


def test_from_request_supervisor_knows_a_connection() -> None:
    """The supervisor's connection id is the client id under another name; nothing given gives nothing."""
    session = object()
    context = UserExecutionContext.from_request_supervisor("ann", "t-1", "r-1", "q-1", session, "ws-1")
    assert context.websocket_connection_id == context.websocket_client_id == "ws-1"
    assert context.db_session is session
    assert context.request_id == "q-1"
    assert context.metadata == {}
    with pytest.raises(InvalidContextError, match=r"^metadata\.a\[0\]: "):
        UserExecutionContext.from_request_supervisor("ann", "t-1", "r-1", metadata={"a": [object()]})  # type: ignore[list-item]  # what the test is about
