"""The one table: every refusal has its status and code, and a fault of ours tells nothing."""

from __future__ import annotations

import importlib
import json
import pickle
import pkgutil
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, SecretStr
from starlette.middleware import Middleware

import netra_backend.app
from netra_backend.app.api import errors, middleware
from netra_backend.app.api.accounts import EmailTakenError, RegistrationClosedError
from netra_backend.app.api.errors import refusal_response
from netra_backend.app.api.page_session import ForgedPageRequestError
from netra_backend.app.api.usage_upload import InvalidUploadError, RowError
from netra_backend.app.auth.passwords import TooManyPasswordsError
from netra_backend.app.auth.places import TooManyUnauthenticatedError
from netra_backend.app.auth.throttle import TooManyAttemptsError, TooManyRegistrationsError
from netra_backend.app.db.errors import OutcomeUnknownError, StorageUnavailableError
from netra_backend.app.services.principal import AuthenticationError
from netra_backend.app.services.refusals import (
    InvalidRequestError,
    LimitExceededError,
    MessageReusedError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    ShuttingDownError,
    StaleRunError,
    ThreadBusyError,
    ThreadExistsError,
    TooManyRunsError,
    TooMuchStoredError,
)

REFUSALS: list[tuple[RefusedError, int, str]] = [
    (InvalidRequestError("no"), 422, "invalid_request"),
    (InvalidRequestError("no", code="invalid_thread_id"), 422, "invalid_thread_id"),
    (InvalidUploadError([RowError(2, "model", "x", "y")]), 422, "invalid_upload"),
    (NotFoundError(), 404, "not_found"),
    (ThreadExistsError(), 409, "thread_exists"),
    (ThreadBusyError("no"), 409, "thread_busy"),
    (MessageReusedError("no"), 409, "client_message_id_reused"),
    (EmailTakenError("no"), 409, "email_taken"),
    (RegistrationClosedError("no"), 403, "registration_closed"),
    (ForgedPageRequestError("no"), 403, "forged_page_request"),
    (LimitExceededError("no"), 429, "limit_exceeded"),
    (TooManyAttemptsError("no", retry_after=3.0), 429, "too_many_attempts"),
    (TooManyRegistrationsError("no", retry_after=3.0), 429, "too_many_registrations"),
    (TooManyUnauthenticatedError("no", retry_after=5), 429, "too_many_unauthenticated"),
    (TooManyPasswordsError(), 429, "busy"),
    (LimitExceededError("no", retry_after=0.2), 429, "limit_exceeded"),
    (RateLimitedError("no", retry_after=1.5), 429, "rate_limited"),
    (TooManyRunsError("no"), 429, "too_many_runs"),
    (TooMuchStoredError("no"), 429, "too_much_stored"),
    (StorageUnavailableError("disk full"), 503, "storage_unavailable"),
    (OutcomeUnknownError(), 503, "outcome_unknown"),
    (ShuttingDownError(), 503, "shutting_down"),
    (StaleRunError("no"), 409, "stale_run"),
]
NAMES = [f"{type(refusal).__name__}{number}" for number, (refusal, _, _) in enumerate(REFUSALS)]


def all_refusals() -> Iterator[type[RefusedError]]:
    """Every subclass of RefusedError in the package, found by importing all of it."""
    for module in pkgutil.walk_packages(netra_backend.app.__path__, "netra_backend.app."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)
    waiting = list(RefusedError.__subclasses__())
    while waiting:
        refusal = waiting.pop()
        waiting.extend(refusal.__subclasses__())
        if refusal.__module__.startswith("netra_backend."):
            yield refusal


def test_every_refusal_is_in_this_test() -> None:
    """A new refusal must say here which status and which code a client gets."""
    assert set(all_refusals()) == {type(refusal) for refusal, _, _ in REFUSALS}


def test_every_refusal_has_a_code_of_its_own() -> None:
    """A client can tell any two refusals apart by their code."""
    codes = [refusal.code for refusal in all_refusals()]
    assert len(codes) == len(set(codes))
    assert RefusedError.code not in codes


@pytest.mark.parametrize(("refusal", "status", "code"), REFUSALS, ids=NAMES)
def test_every_refusal_has_its_status(refusal: RefusedError, status: int, code: str) -> None:
    """A refusal is problem details (RFC 9457) of its status, with its code and its own words."""
    response = refusal_response(refusal)
    body = json.loads(bytes(response.body))
    assert response.status_code == body["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert (body["type"], body["title"]) == ("about:blank", HTTPStatus(status).phrase)
    assert (body["code"], body["detail"]) == (code, refusal.message)
    assert set(body) - {"errors"} == {"type", "title", "status", "code", "detail"}
    assert ("errors" in body) == isinstance(refusal, InvalidUploadError)


@pytest.mark.parametrize(("refusal", "status", "code"), REFUSALS, ids=NAMES)
def test_every_refusal_survives_a_pickle(refusal: RefusedError, status: int, code: str) -> None:
    """A refusal that crosses a process or a database comes back with all that it tells."""
    again = pickle.loads(pickle.dumps(refusal))
    assert type(again) is type(refusal)
    assert (again.code, again.message, str(again)) == (refusal.code, refusal.message, str(refusal))
    assert again.__dict__ == refusal.__dict__


@pytest.mark.parametrize(
    ("refusal", "seconds"),
    [
        (LimitExceededError("no", retry_after=0.2), "1"),
        (RateLimitedError("no", retry_after=1.5), "2"),
        (RateLimitedError("no", retry_after=3), "3"),
        (StorageUnavailableError("disk full"), "1"),
        (LimitExceededError("no"), None),
        (TooManyRunsError("no"), None),
        (NotFoundError(), None),
    ],
)
def test_retry_after_is_told_in_whole_seconds(refusal: RefusedError, seconds: str | None) -> None:
    """`Retry-After` is rounded up, and there only when waiting helps."""
    assert refusal_response(refusal).headers.get("retry-after") == seconds


def test_what_is_not_yours_is_what_does_not_exist() -> None:
    """Every 404 has the same words, so that nothing can be probed."""
    assert NotFoundError().message == "there is no such thing here"


class Body(BaseModel):
    """A body with a secret."""

    model_config = ConfigDict(extra="forbid")
    name: str
    password: SecretStr


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app whose handlers raise."""
    app = FastAPI(middleware=[Middleware(middleware.Envelope)])
    errors.install(app)

    async def fails(kind: str) -> None:
        raise {
            "refused": ThreadBusyError("the thread is busy"),
            "unauthenticated": AuthenticationError("the token is not valid"),
            "http": HTTPException(418, "short and stout", {"x-pot": "tea"}),
            "missing": HTTPException(404, "thread 7 of bob"),
            "fault": RuntimeError("secret words"),
            "group": ExceptionGroup("secret words", [ValueError("more secret words")]),
        }[kind]

    async def takes(body: Body, count: Annotated[int, Query()] = 0) -> None:
        raise AssertionError(f"{body} {count}")

    app.get("/{kind}")(fails)
    app.post("/body")(takes)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def problem(response: httpx.Response) -> dict[str, Any]:
    """The body of a problem."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    return body


async def test_a_refusal_of_a_handler_is_told_by_the_table(client: httpx.AsyncClient) -> None:
    """What a handler refuses is told with its status, code and words."""
    body = problem(await client.get("/refused"))
    assert (body["status"], body["code"], body["detail"]) == (409, "thread_busy", "the thread is busy")


async def test_a_token_that_proves_nothing_is_401(client: httpx.AsyncClient) -> None:
    """401 names the scheme to use (RFC 6750)."""
    response = await client.get("/unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"
    body = problem(response)
    assert (body["status"], body["code"], body["detail"]) == (401, "unauthenticated", "the token is not valid")


async def test_other_http_errors_are_problems_too(client: httpx.AsyncClient) -> None:
    """What the framework raises has its phrase as code, its words and its headers; a 404 never has words of its own."""
    response = await client.get("/http")
    assert response.headers["x-pot"] == "tea"
    body = problem(response)
    assert (body["code"], body["title"], body["detail"]) == ("i'm_a_teapot", "I'm a Teapot", "short and stout")
    assert problem(await client.get("/missing"))["detail"] == "there is no such thing here"
    assert problem(await client.get("/no/such/route"))["code"] == "not_found"
    assert problem(await client.put("/body"))["code"] == "method_not_allowed"


@pytest.mark.parametrize("kind", ["fault", "group"])
async def test_a_fault_of_ours_tells_nothing_and_is_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """An exception that nobody expected is a 500 without its type or words; the log has them."""
    response = await client.get(f"/{kind}")
    assert problem(response) == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal_error",
        "detail": "the server failed; try again",
    }
    (record,) = [record for record in caplog.records if record.name == middleware.__name__]
    assert record.exc_info is not None
    assert "secret words" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("content", "code", "fields"),
    [
        ("{", "invalid_json", None),
        ("", "invalid_request", {"body"}),
        ("[]", "invalid_request", {"body"}),
        ("null", "invalid_request", {"body"}),
        ("{}", "invalid_request", {"name", "password"}),
        ('{"name": 5, "password": ["SECRET"]}', "invalid_request", {"name", "password"}),
        ('{"name": "x", "password": {"a": "SECRET"}, "user_id": "SECRET"}', "invalid_request", {"password", "user_id"}),
    ],
)
async def test_a_body_of_another_form_names_its_fields(
    client: httpx.AsyncClient, content: str, code: str, fields: set[str] | None
) -> None:
    """A bad body is 422 with each field and what was expected; what came is not repeated, for it may be a password."""
    response = await client.post("/body", content=content, headers={"content-type": "application/json"})
    body = problem(response)
    assert (body["status"], body["code"]) == (422, code)
    assert fields is None or {error["field"] for error in body["errors"]} == fields
    assert all(set(error) == {"field", "expected"} for error in body["errors"])
    assert "SECRET" not in response.text


async def test_a_field_name_that_utf_8_cannot_spell_is_refused_like_any_other(client: httpx.AsyncClient) -> None:
    """A lone surrogate in a body is a 422, never a fault of ours."""
    for content in ('{"name": "x", "password": "y", "\\ud800": 1}', '{"name": "\\ud800", "password": 5}'):
        response = await client.post("/body", content=content, headers={"content-type": "application/json"})
        assert problem(response)["status"] == 422


async def test_a_query_of_another_form_names_its_field(client: httpx.AsyncClient) -> None:
    """A bad parameter is 422 with its name."""
    response = await client.post("/body?count=many", json={"name": "x", "password": "y"})
    assert [error["field"] for error in problem(response)["errors"]] == ["count"]
