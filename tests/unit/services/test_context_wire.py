"""The signed text of a context."""

from __future__ import annotations

import base64
import hmac
import json
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.services import context_wire
from netra_backend.app.services.context_wire import PREFIX
from netra_backend.app.services.user_execution_context import InvalidContextError, UserExecutionContext
from tests.support.made_contexts import make_context
from tests.support.strategies import contexts, json_values

KEY = bytes(range(32))
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the time that the reader of a text sees."""
    return lambda moment: monkeypatch.setattr(context_wire, "utc_now", lambda: moment)


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(payload: bytes, prefix: str = PREFIX) -> str:
    """A text with a right signature over any payload."""
    body = prefix + encoded(payload)
    return f"{body}.{encoded(hmac.digest(KEY, body.encode(), 'sha256'))}"


def payload_of(text: str) -> Any:
    """What a text carries."""
    part = text.split(".")[2]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@given(contexts())
def test_a_context_survives_the_wire(context: UserExecutionContext) -> None:
    """What is read equals what was written, with every field, for any context whose deadline has not passed."""
    lasting = UserExecutionContext.from_dict(context.to_dict() | {"deadline": None})
    text = lasting.to_wire(KEY)
    assert text.isascii()
    assert UserExecutionContext.from_wire(text, KEY) == lasting


def test_the_session_stays_at_home() -> None:
    """The wire carries no `db_session`."""
    context = make_context(db_session=object())
    assert UserExecutionContext.from_wire(context.to_wire(KEY), KEY).db_session is None
    assert "db_session" not in payload_of(context.to_wire(KEY))["context"]


def test_a_changed_character_is_refused_at_every_position() -> None:
    """Flipping any bit of any character, or replacing it by any character of the alphabet, is refused."""
    text = make_context(agent_context={"plan": ["a", "b"]}).to_wire(KEY)
    refused = 0
    for position, char in enumerate(text):
        flipped = {chr(ord(char) ^ (1 << bit)) for bit in range(8)}
        for other in flipped | set(string.ascii_letters + string.digits + "-_+/=. \n\0é") - {char}:
            with pytest.raises(InvalidContextError):
                UserExecutionContext.from_wire(text[:position] + other + text[position + 1 :], KEY)
            refused += 1
    assert refused > 50 * len(text)


def test_an_added_or_a_missing_character_is_refused_at_every_position() -> None:
    """No character may be put in, taken out, or doubled; nor may text be cut or padded."""
    text = make_context().to_wire(KEY)
    changed = [text[:position] + text[position + 1 :] for position in range(len(text))]
    changed += [text[:position] + other + text[position:] for position in range(len(text) + 1) for other in "A=. \n\0"]
    changed += [text[:position] for position in range(len(text))]
    changed += [text + "==", text.upper(), text.lower(), text.replace("-", "+"), text * 2, f" {text}", f"{text}\n"]
    for other in changed:
        if other != text:
            with pytest.raises(InvalidContextError):
                UserExecutionContext.from_wire(other, KEY)


@pytest.mark.parametrize("text", [None, b"", 5, b"netra-context.1.e30.abc", ["netra-context.1."], object()])
def test_a_text_is_a_text(text: Any) -> None:
    """Other types are refused with InvalidContextError too."""
    with pytest.raises(InvalidContextError, match=r"^wire: "):
        UserExecutionContext.from_wire(text, KEY)


@given(st.text() | st.text(string.ascii_letters + ".-_=1").map(lambda text: PREFIX + text))
def test_any_other_text_is_refused(text: str) -> None:
    """Whatever the text, nothing but InvalidContextError is raised, and the message does not show the text."""
    with pytest.raises(InvalidContextError) as caught:
        UserExecutionContext.from_wire(text, KEY)
    assert caught.value.got in {"another text", "one that was not, or was changed"}


@given(json_values() | json_values().map(lambda value: {"expires_at": "2999-01-01T00:00:00+00:00", "context": value}))
def test_a_rightly_signed_payload_of_another_shape_is_refused(payload: Any) -> None:
    """A signature alone makes no context: a payload of any other shape raises InvalidContextError."""
    with pytest.raises(InvalidContextError):
        UserExecutionContext.from_wire(signed(json.dumps(payload).encode()), KEY)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"context":{},"expires_at":1}', b"1" * 5000, b"NaN", b"null"]
)
def test_a_rightly_signed_payload_that_is_no_json_object_is_refused(payload: bytes) -> None:
    """Broken, endless and absurd JSON raises InvalidContextError."""
    with pytest.raises(InvalidContextError):
        UserExecutionContext.from_wire(signed(payload), KEY)


@pytest.mark.parametrize("prefix", ["netra-context.2.", "netra-context.", "netra-context.1", "NETRA-CONTEXT.1.", ""])
def test_another_version_is_refused(prefix: str) -> None:
    """A rightly signed text of another version is refused."""
    text = make_context().to_wire(KEY)
    with pytest.raises(InvalidContextError, match=r"that begins with 'netra-context\.1\.'"):
        UserExecutionContext.from_wire(signed(json.dumps(payload_of(text)).encode(), prefix), KEY)


@pytest.mark.parametrize("field", ["user_id", "created_at", "operation_depth", "agent_context", "deadline"])
def test_a_rightly_signed_context_is_checked_like_any_other(field: str) -> None:
    """The wire is no way round the policy of a field."""
    payload = payload_of(make_context().to_wire(KEY))
    payload["context"][field] = ["template"]
    with pytest.raises(InvalidContextError, match=rf"^{field}: "):
        UserExecutionContext.from_wire(signed(json.dumps(payload).encode()), KEY)


def test_a_text_expires(at: Any) -> None:
    """A text is accepted until its time to live has passed, one hour when nothing else is said."""
    context = make_context()
    text, short = context.to_wire(KEY), context.to_wire(KEY, ttl=timedelta(seconds=30))
    now = datetime.now(UTC)
    at(now + timedelta(seconds=29))
    assert UserExecutionContext.from_wire(short, KEY) == context
    at(now + timedelta(seconds=31))
    with pytest.raises(InvalidContextError, match="expired"):
        UserExecutionContext.from_wire(short, KEY)
    at(now + HOUR - timedelta(seconds=1))
    assert UserExecutionContext.from_wire(text, KEY) == context
    at(now + HOUR + timedelta(seconds=1))
    with pytest.raises(InvalidContextError, match="expired"):
        UserExecutionContext.from_wire(text, KEY)


def test_a_text_expires_with_the_deadline(at: Any) -> None:
    """The deadline ends the text's life when it comes before the time to live does."""
    deadline = datetime.now(UTC) + timedelta(minutes=5)
    text = make_context(deadline=deadline).to_wire(KEY, ttl=timedelta(days=1))
    assert datetime.fromisoformat(payload_of(text)["expires_at"]) == deadline
    at(deadline - timedelta(seconds=1))
    assert UserExecutionContext.from_wire(text, KEY).deadline == deadline
    at(deadline)
    with pytest.raises(InvalidContextError, match="expired"):
        UserExecutionContext.from_wire(text, KEY)
    later = make_context(deadline=deadline + timedelta(days=1)).to_wire(KEY)
    assert datetime.fromisoformat(payload_of(later)["expires_at"]) < deadline + HOUR


def test_a_passed_deadline_gives_a_text_that_nobody_accepts() -> None:
    """A context whose deadline has passed cannot be brought back to life by a queue."""
    text = make_context(deadline=LONG_AGO).to_wire(KEY)
    with pytest.raises(InvalidContextError, match="expired"):
        UserExecutionContext.from_wire(text, KEY)


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta.max, 60, None])
def test_a_time_to_live_is_positive(ttl: Any) -> None:
    """Other times to live are refused."""
    with pytest.raises(InvalidContextError, match=r"^ttl: "):
        make_context().to_wire(KEY, ttl=ttl)


@pytest.mark.parametrize("key", [None, "k" * 32, b"", b"k" * 31, bytearray(32), 32, ["k"] * 32])
def test_a_key_is_at_least_32_bytes(key: Any) -> None:
    """Both directions refuse another key and do not show it."""
    text = make_context().to_wire(KEY)
    for use in (lambda: make_context().to_wire(key), lambda: UserExecutionContext.from_wire(text, key)):
        with pytest.raises(InvalidContextError, match=r"^key: expected at least 32 bytes") as caught:
            use()
        assert "kkk" not in str(caught.value)


def test_another_key_is_refused() -> None:
    """A text signed with another key is refused."""
    with pytest.raises(InvalidContextError, match="signed with this key"):
        UserExecutionContext.from_wire(make_context().to_wire(KEY), KEY + b"!")


def test_a_subclass_reads_its_own() -> None:
    """The class that reads makes the context, so a subclass gets one of its own."""

    class Special(UserExecutionContext):
        __slots__ = ()

    assert type(Special.from_wire(make_context().to_wire(KEY), KEY)) is Special
