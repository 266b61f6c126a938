"""The OpenAPI document: what FastAPI finds in the handlers, with the answers and the problems of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from netra_backend.app.services.run_state import RunStatus

from .errors import PROBLEM
from .ownership import ROUTES, OwnerRule
from .usage_upload import UploadFormat

REFERENCE: Final = "#/components/schemas/{model}"

Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Count = Annotated[int, Field(ge=0)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Fault(_Answer):
    """What is wrong with one field; in an upload, of one line."""

    line: int | None = None
    field: str | None
    expected: str
    got: str | None = None


class Problem(_Answer):
    """Problem details (RFC 9457); `code` is for programs, `detail` for people."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    errors: list[Fault] | None = None


class Account(_Answer):
    """A user's own account."""

    user_id: Id
    email: str
    created_at: datetime


class Tokens(_Answer):
    """A sign-in; `expires_in` is the access token's life in seconds."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: Count
    refresh_token: str


class PageSession(_Answer):
    """Who is signed in at the built-in page; `csrf_token` goes with each request of it that changes something."""

    user_id: Id
    email: str
    csrf_token: str


class Thread(_Answer):
    """A conversation; `last_seq` is the number of its newest entry."""

    thread_id: Id
    title: str | None
    created_at: datetime
    updated_at: datetime
    last_seq: Count
    erased_to_seq: Count


class ThreadPage(_Answer):
    """A page of threads."""

    threads: list[Thread]
    next_cursor: str | None


class Message(_Answer):
    """Something that was said; a run's answer may be any JSON value."""

    seq: Count
    role: Literal["user", "assistant"]
    content: Any
    run_id: Id
    timestamp: datetime


class Gap(_Answer):
    """Entries that retention has erased, both ends included."""

    from_seq: Count
    to_seq: Count
    reason: str


class MessagePage(_Answer):
    """A page of what was said."""

    messages: list[Message]
    next_cursor: str | None
    gap: Gap | None


class AcceptedMessage(_Answer):
    """A message that is stored, and the run that it started."""

    client_message_id: str | None
    thread_id: Id
    run_id: Id
    seq: Count


class ServerSentEvent(_Answer):
    """An entry of the log: its number, its type, and the JSON text of the same frame that a socket is sent."""

    id: str
    event: str
    data: str


class Run(_Answer):
    """Where a run stands."""

    run_id: Id
    thread_id: Id
    status: RunStatus
    attempt: Count
    agent: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


class RunState(_Answer):
    """What became of a run that was to end."""

    run_id: Id
    status: RunStatus


class UsageRecord(_Answer):
    """What one AI call has cost; `cost_usd` is a decimal number."""

    timestamp: datetime
    request_id: str
    model: str
    operation: str
    prompt_fingerprint: str
    input_tokens: Count
    output_tokens: Count
    cost_usd: str
    latency_ms: float
    deferrable: bool
    label: str


class UsageRecordPage(_Answer):
    """A page of usage records."""

    usage_records: list[UsageRecord]
    next_cursor: str | None


class Upload(_Answer):
    """An upload that is stored; `accepted` counts its records."""

    upload_id: Id
    accepted: Count


class Deleted(_Answer):
    """How much was erased."""

    deleted: Count


class Health(_Answer):
    """That the server is there."""

    status: Literal["live", "ready"]


Form = type[BaseModel] | str | None
"""What a body holds: a model, as JSON unless it is an event of a stream; a media type without a model; or nothing."""

ANSWERS: Final[dict[tuple[str, str], Form]] = {
    ("GET", "/health/live"): Health,
    ("GET", "/health/ready"): Health,
    ("GET", "/metrics"): CONTENT_TYPE_LATEST.partition(";")[0],
    ("POST", "/auth/register"): Account,
    ("POST", "/auth/login"): Tokens,
    ("POST", "/auth/refresh"): Tokens,
    ("POST", "/auth/session"): PageSession,
    ("GET", "/auth/session"): PageSession,
    ("POST", "/auth/logout"): None,
    ("POST", "/auth/logout-everywhere"): None,
    ("POST", "/auth/password"): None,
    ("GET", "/auth/me"): Account,
    ("GET", "/auth/me/export"): "application/x-ndjson",
    ("DELETE", "/auth/me"): None,
    ("GET", "/api/threads"): ThreadPage,
    ("POST", "/api/threads"): Thread,
    ("GET", "/api/threads/{thread_id}"): Thread,
    ("PATCH", "/api/threads/{thread_id}"): Thread,
    ("DELETE", "/api/threads/{thread_id}"): None,
    ("GET", "/api/threads/{thread_id}/messages"): MessagePage,
    ("POST", "/api/threads/{thread_id}/messages"): AcceptedMessage,
    ("GET", "/api/threads/{thread_id}/events"): ServerSentEvent,
    ("GET", "/api/runs/{run_id}"): Run,
    ("POST", "/api/runs/{run_id}/cancel"): RunState,
    ("GET", "/api/usage-records"): UsageRecordPage,
    ("POST", "/api/usage-records"): Upload,
    ("DELETE", "/api/usage-records"): Deleted,
}
"""What each route answers with when all is well."""

_HAS_TOKEN: Final = frozenset({OwnerRule.OPERATOR, OwnerRule.USER, OwnerRule.THREAD, OwnerRule.RUN})
_HAS_ID: Final = frozenset({OwnerRule.THREAD, OwnerRule.RUN})
_ALWAYS: Final = {
    HTTPStatus.BAD_REQUEST: "A token is in the URL, where it is seen and kept.",
    HTTPStatus.FORBIDDEN: "The server is not called by that name, or not by pages of that site.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database cannot be used now, or the server is shutting down.",
}
_UNAUTHENTICATED: Final = "The token or the password proves nothing."
_NOT_FOUND: Final = "The user has nothing of this id."
_TOO_LARGE: Final = "The body is too large."
_INVALID: Final = "A field is not as expected."
_LIMIT: Final = "A limit of the user is reached."
_ATTEMPTS: Final = "Too many sign-ins have failed, or too many passwords wait."
_ERASED: Final = "The account was erased meanwhile."
_TOO_SLOW: Final = "The body came too slowly."
_PROBLEMS: Final[dict[tuple[str, str], dict[HTTPStatus, str]]] = {
    ("POST", "/auth/register"): {
        HTTPStatus.CONFLICT: "The e-mail has an account.",
        HTTPStatus.TOO_MANY_REQUESTS: _ATTEMPTS,
    },
    ("POST", "/auth/login"): {HTTPStatus.UNAUTHORIZED: _UNAUTHENTICATED, HTTPStatus.TOO_MANY_REQUESTS: _ATTEMPTS},
    ("POST", "/auth/session"): {HTTPStatus.UNAUTHORIZED: _UNAUTHENTICATED, HTTPStatus.TOO_MANY_REQUESTS: _ATTEMPTS},
    ("POST", "/auth/refresh"): {HTTPStatus.UNAUTHORIZED: _UNAUTHENTICATED},
    ("GET", "/auth/session"): {HTTPStatus.NOT_FOUND: _ERASED},
    ("GET", "/auth/me"): {HTTPStatus.NOT_FOUND: _ERASED},
    ("POST", "/auth/password"): {HTTPStatus.NOT_FOUND: _ERASED, HTTPStatus.TOO_MANY_REQUESTS: _ATTEMPTS},
    ("POST", "/api/threads"): {HTTPStatus.CONFLICT: "The user has a thread of this id."},
    ("POST", "/api/threads/{thread_id}/messages"): {
        HTTPStatus.CONFLICT: "The thread is busy, or its client_message_id was used for another message.",
        HTTPStatus.TOO_MANY_REQUESTS: _LIMIT,
    },
    ("GET", "/api/threads/{thread_id}/events"): {HTTPStatus.TOO_MANY_REQUESTS: _LIMIT},
    ("POST", "/api/usage-records"): {HTTPStatus.TOO_MANY_REQUESTS: _LIMIT, HTTPStatus.UNPROCESSABLE_ENTITY: _INVALID},
}
"""The problems of a route beside those that follow from its owner rule, its parameters and its body."""

_LEADS_TO: Final[dict[tuple[str, str], dict[str, Iterable[tuple[str, str]]]]] = {
    ("POST", "/api/threads/{thread_id}/messages"): {
        "run_id": (("get", "/api/runs/{run_id}"), ("post", "/api/runs/{run_id}/cancel")),
        "thread_id": (("get", "/api/threads/{thread_id}/messages"),),
    },
}
"""Where an answer's ids lead: for each of its fields, the routes that take it."""

_BODIES: Final[dict[tuple[str, str], Iterable[str]]] = {("POST", "/api/usage-records"): tuple(UploadFormat)}
"""The media types of bodies that a handler reads by itself."""


def describe(app: FastAPI, agents: Collection[str]) -> None:
    """Let an app tell all that it may answer.

    Args:
        app: with all its routes.
        agents: the names of those that a message may ask for.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            app.openapi_schema = _completed(found, sorted(agents))
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _completed(document: dict[str, Any], agents: list[str]) -> dict[str, Any]:
    paths = document["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            _Operation((method.upper(), path), operation).complete()
    for (method, path), fields in _LEADS_TO.items():
        answer = next(iter(paths[path][method.lower()]["responses"].values()))
        answer["links"] = {
            (identifier := paths[target][verb]["operationId"]): {
                "operationId": identifier,
                "parameters": {field: f"$response.body#/{field}"},
            }
            for field, targets in fields.items()
            for verb, target in targets
        }
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    models = {form for form in (*ANSWERS.values(), Problem) if isinstance(form, type)}
    _, definitions = models_json_schema(
        [(model, "serialization") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=REFERENCE,
    )
    schemas.update(definitions["$defs"])
    for name, schema in schemas.items():
        if name.startswith("Body_"):  # so FastAPI calls a form's fields
            _tell_of_form(schema)
    schemas["NewMessage"]["properties"]["agent"]["anyOf"][0] = {"type": "string", "enum": agents}
    return document


@dataclass(frozen=True, slots=True)
class _Operation:
    key: tuple[str, str]
    operation: dict[str, Any]

    def complete(self) -> None:
        answer = next(iter(self.operation["responses"].values()))
        answer["content"] = _content(ANSWERS[self.key])
        if not answer["content"]:
            del answer["content"]
        for parameter in self.operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
        if media_types := _BODIES.get(self.key):
            content = {media_type: {"schema": {"type": "string"}} for media_type in media_types}
            self.operation["requestBody"] = {"required": True, "content": content}
        for status, description in sorted(self._problems().items()):
            self.operation["responses"][str(int(status))] = {
                "description": description,
                "content": {PROBLEM: {"schema": _reference(Problem)}},
            }

    def _problems(self) -> dict[HTTPStatus, str]:
        rule = ROUTES[self.key]
        problems = dict(_ALWAYS)
        if rule in _HAS_TOKEN:
            problems[HTTPStatus.UNAUTHORIZED] = _UNAUTHENTICATED
        if rule in _HAS_ID:
            problems[HTTPStatus.NOT_FOUND] = _NOT_FOUND
        if "requestBody" in self.operation:
            problems[HTTPStatus.REQUEST_ENTITY_TOO_LARGE] = _TOO_LARGE
            problems[HTTPStatus.REQUEST_TIMEOUT] = _TOO_SLOW
        if str(int(HTTPStatus.UNPROCESSABLE_ENTITY)) in self.operation["responses"]:
            problems[HTTPStatus.UNPROCESSABLE_ENTITY] = _INVALID
        return problems | _PROBLEMS.get(self.key, {})


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of what is left out instead of being null: neither a query nor a form has a null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **kinds[0]} if kinds else schema


def _tell_of_form(schema: dict[str, Any]) -> None:
    """Tell that an empty field of a form counts for none."""
    fields = {name: _without_null(field) for name, field in schema["properties"].items()}
    schema["properties"] = {
        name: {**field, "minLength": 1} if name in schema["required"] else field for name, field in fields.items()
    }


def _content(form: Form) -> dict[str, Any]:
    if form is None:
        return {}
    if isinstance(form, str):
        return {form: {"schema": {"type": "string"}}}
    return {"text/event-stream" if form is ServerSentEvent else "application/json": {"schema": _reference(form)}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}
