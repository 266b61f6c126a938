"""The frames of `/ws`: what a client may say, and the text of what the server says (docs/wire.md)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from netra_backend.app.services.agent_events import LogEntry
from netra_backend.app.services.refusals import InvalidRequestError

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
PROTOCOL: Final = "netra.v1"
MAX_FRAME_BYTES: Final = 1024 * 1024
MAX_TEXT_CHARACTERS: Final = 32_768
MAX_CLIENT_MESSAGE_ID: Final = 128
RETENTION: Final = "retention"
"""Why entries of a log are gone."""


def canonical_uuid(value: str) -> str:
    """The usual spelling of a UUID.

    Args:
        value: 32 hexadecimal digits in groups of 8-4-4-4-12, in either case.

    Raises:
        ValueError: it is none.
    """
    if not _UUID.fullmatch(value):
        raise ValueError("expected a UUID")
    return value.lower()


def without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _says_something(value: str) -> str:
    if not value.strip():
        raise ValueError("expected at least one character that is not white space")
    return without_nul(value)


Uuid = Annotated[str, AfterValidator(canonical_uuid)]
MessageText = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS), AfterValidator(_says_something)]
ClientMessageId = Annotated[str, Field(min_length=1, max_length=MAX_CLIENT_MESSAGE_ID), AfterValidator(without_nul)]
AgentName = Annotated[str, Field(min_length=1, max_length=64)]
IfBusyText = Literal["enqueue", "reject", "interrupt"]


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Authenticate(_Frame):
    """Sign the socket in, or renew its session."""

    type: Literal["authenticate"]
    token: Annotated[str, Field(min_length=1, max_length=4096)]


class UserMessage(_Frame):
    """Say something and start a run."""

    type: Literal["user_message"]
    text: MessageText
    thread_id: Uuid | None = None
    client_message_id: ClientMessageId | None = None
    if_busy: IfBusyText = "enqueue"
    agent: AgentName | None = None


class CancelRunFrame(_Frame):
    """End a run."""

    type: Literal["cancel_run"]
    run_id: Uuid


class Resume(_Frame):
    """Watch a thread from a place in its log on."""

    type: Literal["resume"]
    thread_id: Uuid
    after_seq: Annotated[int, Field(ge=0, le=2**53)]


class Ping(_Frame):
    """Ask for a pong."""

    type: Literal["ping"]


ClientFrame = Authenticate | UserMessage | CancelRunFrame | Resume | Ping
FRAMES: Final[dict[str, type[ClientFrame]]] = {
    "authenticate": Authenticate,
    "user_message": UserMessage,
    "cancel_run": CancelRunFrame,
    "resume": Resume,
    "ping": Ping,
}
_ADAPTER: Final[TypeAdapter[ClientFrame]] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])


def parse_client_frame(text: str) -> ClientFrame:
    """The frame that a text message holds.

    Args:
        text: as received.

    Returns:
        One of `FRAMES`.

    Raises:
        InvalidRequestError: it holds none; the code says how (`invalid_json`, `unknown_frame_type`,
            `invalid_thread_id`, `invalid_text`, `invalid_frame`), the message names field, expectation and what came.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise _explain(error, _client_message_id(text)) from None


def _client_message_id(text: str) -> str | None:
    """The id of a message that is bad otherwise, so that the client learns which of its messages was refused."""
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    value = frame.get("client_message_id") if isinstance(frame, dict) else None
    return value if isinstance(value, str) and len(value) <= MAX_CLIENT_MESSAGE_ID else None


def _explain(error: ValidationError, client_message_id: str | None) -> InvalidRequestError:
    first = error.errors(include_url=False, include_context=False)[0]
    kind, where, came = first["type"], first["loc"], first["input"]
    if kind == "json_invalid":
        return InvalidRequestError(
            'expected the text of one JSON object, such as {"type":"ping"}; what came is not JSON', code="invalid_json"
        )
    if not where:
        named = f"type {_shown(came.get('type'))}" if isinstance(came, dict) else f"a JSON {_json_kind(came)}"
        return InvalidRequestError(
            f"expected an object whose type is one of {', '.join(FRAMES)}; came {named}",
            code="unknown_frame_type",
            client_message_id=client_message_id,
        )
    field = ".".join(str(part) for part in where[1:])[:60]
    code = f"invalid_{field}" if field in ("thread_id", "run_id", "text") else "invalid_frame"
    problem = first["msg"].removeprefix("Value error, ")
    got = "" if field == "token" or kind in ("missing", "extra_forbidden") else f"; came {_shown(came)}"
    return InvalidRequestError(f"{field}: {problem}{got}", code=code, client_message_id=client_message_id)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}… ({len(text)} characters)"


def _json_kind(value: Any) -> str:
    return {str: "string", list: "array", bool: "boolean", type(None): "null"}.get(type(value), "number")


def event_frame(entry: LogEntry) -> str:
    """The frame of a log entry; the same text whenever it is sent."""
    frame: dict[str, Any] = {
        "type": entry.type,
        "seq": entry.seq,
        "user_id": entry.user_id,
        "thread_id": entry.thread_id,
        "run_id": entry.run_id,
        "request_id": entry.request_id,
        "parent_request_id": entry.parent_request_id,
        "agent": entry.agent,
        "timestamp": entry.timestamp,
        "data": orjson.Fragment(entry.data),
    }
    if entry.final:
        frame["final"] = True
    return orjson.dumps(frame).decode()


def frame(type_: str, **fields: Any) -> str:
    """The text of a frame that is not in the log."""
    return orjson.dumps({"type": type_, **fields}).decode()


def gap_frame(thread_id: str, from_seq: int, to_seq: int) -> str:
    """The frame that stands for the entries which retention has erased, both ends included."""
    return frame("gap", thread_id=thread_id, from_seq=from_seq, to_seq=to_seq, reason=RETENTION)


def server_time() -> str:
    """The server's clock, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat()
