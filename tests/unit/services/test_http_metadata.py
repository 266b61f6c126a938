"""What an audit keeps of an HTTP request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from netra_backend.app.services.http_metadata import MAX_VALUE_LENGTH, describe_request
from netra_backend.app.services.user_execution_context import UserExecutionContext

SECRET = "s3cret"


def make_request(client: tuple[str, int] | None = ("203.0.113.7", 5123), **headers: str) -> Request:
    """A Starlette request with secrets in all the usual places."""
    pairs = {"authorization": f"Bearer {SECRET}", "cookie": f"session={SECRET}"} | headers
    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": "/api/threads",
            "query_string": f"token={SECRET}".encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in pairs.items()],
            "client": client,
            "server": ("testserver", 80),
        }
    )


def test_it_tells_who_called_what() -> None:
    """Address, agent, method, path, incoming request id and trace are kept."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert describe_request(make_request(user_agent="curl/8", x_request_id="abc", traceparent=trace)) == {
        "client_address": "203.0.113.7",
        "http_method": "POST",
        "http_path": "/api/threads",
        "user_agent": "curl/8",
        "incoming_request_id": "abc",
        "traceparent": trace,
    }


def test_no_secret_is_kept() -> None:
    """Query string, cookies and credentials are nowhere in the context."""
    request = make_request(x_request_id="abc")
    context = UserExecutionContext.from_fastapi_request(request, "ann", "t-1", "r-1")
    assert SECRET not in repr(context.to_dict())
    assert context.audit_metadata["http_path"] == "/api/threads"


def test_the_incoming_id_is_recorded_and_not_believed() -> None:
    """The context's own request id is generated, whatever the request says."""
    context = UserExecutionContext.from_fastapi_request(make_request(x_request_id="mine"), "ann", "t-1", "r-1")
    assert context.request_id != "mine"
    assert context.audit_metadata["incoming_request_id"] == "mine"


@pytest.mark.parametrize("request_", [make_request(client=None), SimpleNamespace(), object(), None])
def test_what_a_request_lacks_is_left_out(request_: Any) -> None:
    """A request without a client, or nothing like a request, gives what there is."""
    assert "client_address" not in describe_request(request_)
    assert "user_agent" not in describe_request(request_)


def test_header_names_are_compared_without_case() -> None:
    """A request whose headers are a plain dict is read like any other."""
    assert describe_request(SimpleNamespace(headers={"User-Agent": "x", "X-Request-ID": ""})) == {"user_agent": "x"}


def test_values_are_cut_and_made_harmless() -> None:
    """No caller can put long texts or control characters into the audit."""
    agent = describe_request(make_request(user_agent="a\r\n\x1b[31m" + "b" * 10_000))["user_agent"]
    assert agent.startswith("a\ufffd\ufffd\ufffd[31mbbb")
    assert len(agent) == MAX_VALUE_LENGTH
    assert agent.isprintable()


def test_the_first_of_two_headers_counts() -> None:
    """A header that comes twice is read as Starlette reads it."""
    request = make_request(user_agent="first")
    request.scope["headers"].append((b"user-agent", b"second"))
    assert describe_request(request)["user_agent"] == "first" == request.headers["user-agent"]
