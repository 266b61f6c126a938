"""The frames of `/ws`: what is taken, what is refused and how it is told, and what is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netra_backend.app.realtime.messages import (
    FRAMES,
    MAX_TEXT_CHARACTERS,
    Authenticate,
    CancelRunFrame,
    ClientFrame,
    Ping,
    Resume,
    UserMessage,
    canonical_uuid,
    event_frame,
    frame,
    parse_client_frame,
    server_time,
)
from netra_backend.app.services.agent_events import EventType, LogEntry
from netra_backend.app.services.refusals import InvalidRequestError
from tests.support.strategies import ids, json_values, moments, texts

THREAD = "0b9d1c1e-3f60-4f0c-9d9a-2a4f6d3c1b11"
SECRET = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2VjcmV0"
CODES = {
    "invalid_json", "unknown_frame_type", "invalid_frame", "invalid_text", "invalid_thread_id", "invalid_run_id",
}  # fmt: skip
KINDS = "expected an object whose type is one of authenticate, user_message, cancel_run, resume, ping"


def refused(text: str) -> InvalidRequestError:
    """The refusal of a text that holds no frame."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_client_frame(text)
    return caught.value


def frame_or_refusal(text: str) -> ClientFrame | InvalidRequestError:
    """What a text holds, or why it holds none; anything else that is raised fails the test."""
    try:
        return parse_client_frame(text)
    except InvalidRequestError as refusal:
        return refusal


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ('{"type":"ping"}', Ping(type="ping")),
        (' \n{ "type" : "ping" }\t', Ping(type="ping")),
        ('{"type":"authenticate","token":"a.b.c"}', Authenticate(type="authenticate", token="a.b.c")),
        (f'{{"type":"cancel_run","run_id":"{THREAD}"}}', CancelRunFrame(type="cancel_run", run_id=THREAD)),
        (
            f'{{"after_seq":0,"thread_id":"{THREAD.upper()}","type":"resume"}}',
            Resume(type="resume", thread_id=THREAD, after_seq=0),
        ),
        (
            f'{{"type":"resume","thread_id":"{THREAD}","after_seq":{2**53}}}',
            Resume(type="resume", thread_id=THREAD, after_seq=2**53),
        ),
        ('{"type":"user_message","text":"hi"}', UserMessage(type="user_message", text="hi")),
        (
            '{"type":"user_message","text":"hi","thread_id":null,"client_message_id":null,"agent":null}',
            UserMessage(type="user_message", text="hi"),
        ),
        (
            f'{{"type":"user_message","text":" \\ud83d\\ude00 ","thread_id":"{THREAD}","client_message_id":"m 1",'
            '"if_busy":"interrupt","agent":"supervisor"}',
            UserMessage(
                type="user_message",
                text=" 😀 ",
                thread_id=THREAD,
                client_message_id="m 1",
                if_busy="interrupt",
                agent="supervisor",
            ),
        ),
    ],
)
def test_every_frame_is_read(text: str, parsed: object) -> None:
    """Each client frame is read with all of its fields, whatever their order, and ids in their usual spelling."""
    assert parse_client_frame(text) == parsed


@pytest.mark.parametrize("if_busy", ["enqueue", "reject", "interrupt"])
def test_every_if_busy_is_taken(if_busy: str) -> None:
    """What to do with a busy thread is one of three words; enqueue when not said."""
    message = parse_client_frame(json.dumps({"type": "user_message", "text": "x", "if_busy": if_busy}))
    assert isinstance(message, UserMessage)
    assert message.if_busy == if_busy
    assert UserMessage(type="user_message", text="x").if_busy == "enqueue"


def test_a_frame_cannot_be_changed() -> None:
    """A parsed frame is a value."""
    ping = parse_client_frame('{"type":"ping"}')
    with pytest.raises(ValueError, match="frozen"):
        ping.type = "ping"  # type: ignore[misc]  # the promise


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "invalid_json", "what came is not JSON"),
        ("ping", "invalid_json", "what came is not JSON"),
        ('{"type":"ping"}{"type":"ping"}', "invalid_json", "what came is not JSON"),
        ("{'type':'ping'}", "invalid_json", "what came is not JSON"),
        ('\ufeff{"type":"ping"}', "invalid_json", "what came is not JSON"),
        ('{"type":"user_message","text":"\\ud800"}', "invalid_json", "what came is not JSON"),
        ('{"type":"ping","x":' + "[" * 5000 + "]" * 5000 + "}", "invalid_json", "what came is not JSON"),
        ("[]", "unknown_frame_type", f"{KINDS}; came a JSON array"),
        ('"ping"', "unknown_frame_type", f"{KINDS}; came a JSON string"),
        ("7", "unknown_frame_type", f"{KINDS}; came a JSON number"),
        ("7.5", "unknown_frame_type", f"{KINDS}; came a JSON number"),
        ("false", "unknown_frame_type", f"{KINDS}; came a JSON boolean"),
        ("null", "unknown_frame_type", f"{KINDS}; came a JSON null"),
        ("{}", "unknown_frame_type", f"{KINDS}; came type None"),
        ('{"type":null}', "unknown_frame_type", f"{KINDS}; came type None"),
        ('{"type":["ping"]}', "unknown_frame_type", f"{KINDS}; came type ['ping']"),
        ('{"type":"Ping"}', "unknown_frame_type", f"{KINDS}; came type 'Ping'"),
        ('{"type":"ping","type":"pong"}', "unknown_frame_type", f"{KINDS}; came type 'pong'"),
        ('{"type":"auth_success","user_id":"u"}', "unknown_frame_type", f"{KINDS}; came type 'auth_success'"),
        ('{"type":"ping","user_id":"u"}', "invalid_frame", "user_id: Extra inputs"),
        ('{"type":"user_message","text":"x","user_id":"u"}', "invalid_frame", "user_id: Extra inputs"),
        ('{"type":"user_message","txt":"x"}', "invalid_text", "text: Field required"),
        ('{"type":"user_message","text":null}', "invalid_text", "text: Input should be a valid string; came None"),
        ('{"type":"user_message","text":5}', "invalid_text", "text: Input should be a valid string; came 5"),
        ('{"type":"user_message","text":["x"]}', "invalid_text", "text: Input should be a valid string; came ['x']"),
        ('{"type":"user_message","text":"\\u2003\\n"}', "invalid_text", "not white space; came '\\u2003\\n'"),
        ('{"type":"user_message","text":"a\\u0000b"}', "invalid_text", "text: must not hold a NUL"),
        ('{"type":"user_message","text":"x","thread_id":"7"}', "invalid_thread_id", "thread_id: expected a UUID; came"),
        ('{"type":"user_message","text":"x","thread_id":7}', "invalid_thread_id", "thread_id: "),
        ('{"type":"user_message","text":"x","if_busy":"wait"}', "invalid_frame", "or 'interrupt'; came 'wait'"),
        ('{"type":"user_message","text":"x","agent":""}', "invalid_frame", "at least 1 character; came ''"),
        ('{"type":"user_message","text":"x","client_message_id":""}', "invalid_frame", "client_message_id: "),
        ('{"type":"user_message","text":"x","client_message_id":"\\u0000"}', "invalid_frame", "must not hold a NUL"),
        ('{"type":"cancel_run"}', "invalid_run_id", "run_id: Field required"),
        ('{"type":"cancel_run","run_id":"x"}', "invalid_run_id", "run_id: expected a UUID; came 'x'"),
        (f'{{"type":"resume","thread_id":"{THREAD}"}}', "invalid_frame", "after_seq: Field required"),
        (f'{{"type":"resume","thread_id":"{THREAD}","after_seq":-1}}', "invalid_frame", "equal to 0; came -1"),
        (f'{{"type":"resume","thread_id":"{THREAD}","after_seq":{2**53 + 1}}}', "invalid_frame", "after_seq: "),
        (f'{{"type":"resume","thread_id":"{THREAD}","after_seq":1.5}}', "invalid_frame", "after_seq: "),
        (f'{{"type":"resume","thread_id":"{THREAD}","after_seq":1e999}}', "invalid_frame", "after_seq: "),
        (f'{{"type":"resume","thread_id":"{THREAD}","after_seq":null}}', "invalid_frame", "after_seq: "),
        ('{"type":"resume","after_seq":0}', "invalid_thread_id", "thread_id: Field required"),
        ('{"type":"authenticate"}', "invalid_frame", "token: Field required"),
        ('{"type":"authenticate","token":""}', "invalid_frame", "token: String should have at least 1 character"),
    ],
)  # fmt: skip
def test_every_refusal_has_its_code_and_says_what_was_expected_and_what_came(
    text: str, code: str, message: str
) -> None:
    """What is no frame is refused by a code that says how, and words that name field, expectation and what came."""
    refusal = refused(text)
    assert refusal.code == code
    assert message in refusal.message


@pytest.mark.parametrize(
    "body",
    [
        {"type": "authenticate", "token": [SECRET]},
        {"type": "authenticate", "token": {"jwt": SECRET}},
        {"type": "authenticate", "token": SECRET * 200},
        {"type": "authenticate", "token": SECRET, "remember": True},
        {"type": "authenticate", "tokn": SECRET},
        {"type": "ping", "token": SECRET},
        {"token": SECRET},
        [SECRET],
        SECRET,
    ],
)
def test_a_refusal_never_repeats_a_token(body: object) -> None:
    """A token in a frame that is refused does not come back in the refusal's words."""
    assert SECRET[:20] not in refused(json.dumps(body)).message


def test_a_token_that_is_not_json_is_not_repeated() -> None:
    """A bare token, sent as it is, does not come back."""
    assert SECRET[:20] not in refused(SECRET).message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"type":"user_message","client_message_id":"m1"}', "m1"),
        ('{"type":"usr_message","text":"x","client_message_id":"m1"}', "m1"),
        ('{"type":"user_message","text":"x","client_message_id":7}', None),
        ('{"type":"user_message","text":"","client_message_id":"' + "x" * 129 + '"}', None),
        ('["client_message_id"]', None),
        ('{"client_message_id":"m1"', None),
        ('{"type":"user_message","text":""}', None),
    ],
)
def test_a_refused_message_is_told_by_its_own_id(text: str, told: str | None) -> None:
    """A client that numbers its messages learns which of them was bad, where that can be read."""
    assert refused(text).client_message_id == told


@pytest.mark.parametrize(
    "body",
    [
        {"type": "user_message", "text": "x" * (MAX_TEXT_CHARACTERS + 1)},
        {"type": "user_message", "text": ["x" * 100_000]},
        {"type": "x" * 100_000},
        {"type": ["x" * 100_000]},
        {"type": "cancel_run", "run_id": "x" * 100_000},
        {"type": "ping", "x" * 100_000: 1},
    ],
    ids=["text", "text as a list", "type", "type as a list", "id", "field name"],
)
def test_a_refusal_is_short_however_long_the_frame(body: object) -> None:
    """Two thousand refusals that wait for a slow reader must fit in memory: each repeats little of what came."""
    assert len(refused(json.dumps(body)).message) < 500


def test_the_longest_text_is_taken() -> None:
    """Characters are counted, not bytes, and the limit itself is within it."""
    text = "😀" * MAX_TEXT_CHARACTERS
    message = parse_client_frame(json.dumps({"type": "user_message", "text": text}))
    assert isinstance(message, UserMessage)
    assert message.text == text


@given(texts() | st.text(st.characters()) | json_values().map(json.dumps))
@example("\ud800")
@example("{" * 10_000)
@example("[" * 100_000)
@example('{"type":' * 1_000)
@example('{"type":NaN}')
def test_any_text_is_a_frame_or_an_invalid_request(text: str) -> None:
    """Whatever text comes, it is a frame or refused as an invalid request; nothing else is ever raised."""
    parsed = frame_or_refusal(text)
    assert type(parsed) in FRAMES.values() or getattr(parsed, "code", "") in CODES


@given(st.fixed_dictionaries({"type": st.sampled_from([*FRAMES])}, optional={
    name: json_values() | st.uuids().map(str)
    for name in ("token", "text", "thread_id", "run_id", "after_seq", "client_message_id", "if_busy", "agent", "x")
}))  # fmt: skip
def test_any_fields_are_a_frame_or_an_invalid_request(body: dict[str, Any]) -> None:
    """A known type with whatever fields is a frame of that type or refused, with one of its own fields named."""
    model = FRAMES[body["type"]]
    parsed = frame_or_refusal(json.dumps(body))
    if isinstance(parsed, InvalidRequestError):
        assert parsed.message.partition(":")[0] in {*model.model_fields, *body}
    else:
        assert type(parsed) is model
        assert set(body) <= set(model.model_fields)


@given(st.uuids())
def test_every_uuid_is_canonical_in_either_case(uuid: UUID) -> None:
    """A UUID's upper-case spelling and its lower-case one name the same thing."""
    assert canonical_uuid(str(uuid)) == canonical_uuid(str(uuid).upper()) == str(uuid)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        THREAD.replace("-", ""),
        f"{{{THREAD}}}",
        f"urn:uuid:{THREAD}",
        f"{THREAD}\n",
        f" {THREAD[1:]}",
        "é" * 36,
        "urn:0b9d1c1e3f604f0c9d9a2a4f6d3c1b11",
        "0b9d1c1e3f604f0c9d9a2a4f6d3c1b11----",
        "----0b9d1c1e3f604f0c9d9a2a4f6d3c1b11",
        "0b9d1c1e3f60-4f0c-9d9a-2a4f6d3c1b1-1",
        "0x9d1c1e-3f60-4f0c-9d9a-2a4f6d3c1b11",
        "0b9d_c1e-3f60-4f0c-9d9a-2a4f6d3c1b11",
        "٠b9d1c1e-3f60-4f0c-9d9a-2a4f6d3c1b11",
    ],
)
def test_other_spellings_are_no_uuid(text: str) -> None:
    """Only 8-4-4-4-12 hexadecimal ASCII digits are a UUID."""
    with pytest.raises(ValueError, match="UUID"):
        canonical_uuid(text)


def entries() -> st.SearchStrategy[LogEntry]:
    """Log entries with every field drawn."""
    return st.builds(
        LogEntry,
        user_id=ids(),
        thread_id=ids(),
        seq=st.integers(1, 2**53),
        type=st.sampled_from(EventType),
        run_id=ids(),
        request_id=ids(),
        parent_request_id=st.none() | ids(),
        agent=st.none() | ids(),
        timestamp=moments(),
        data=st.dictionaries(texts(), json_values(), max_size=4).map(json.dumps),
        final=st.booleans(),
    )


@given(entries())
def test_an_entry_is_the_same_after_its_trip_over_the_wire(entry: LogEntry) -> None:
    """A log entry's frame holds exactly the fields of the wire, equal to the entry's, and `final` only when it is."""
    told = json.loads(event_frame(entry))
    assert told.pop("final", False) is entry.final
    data = told.pop("data")
    assert data == json.loads(entry.data)
    timestamp = told.pop("timestamp")
    assert datetime.fromisoformat(timestamp) == entry.timestamp
    assert told == {
        "type": entry.type.value,
        "seq": entry.seq,
        "user_id": entry.user_id,
        "thread_id": entry.thread_id,
        "run_id": entry.run_id,
        "request_id": entry.request_id,
        "parent_request_id": entry.parent_request_id,
        "agent": entry.agent,
    }


@given(entries())
def test_an_entry_has_one_text(entry: LogEntry) -> None:
    """An entry is the same text each time it is sent, on one line, whether live or replayed."""
    assert event_frame(entry) == event_frame(entry)
    assert len(event_frame(entry).splitlines(keepends=True)[0].split("\n")) == 1


def test_other_frames_have_their_type_first() -> None:
    """A frame that is not in the log is its type and its fields."""
    assert frame("pong", server_time="now") == '{"type":"pong","server_time":"now"}'


def test_the_server_tells_its_time_in_utc() -> None:
    """The server's clock is ISO 8601 with an offset, in UTC."""
    told = datetime.fromisoformat(server_time())
    assert told.utcoffset() == datetime.now(UTC).utcoffset()
    assert abs((datetime.now(UTC) - told).total_seconds()) < 10
