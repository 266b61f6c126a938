"""The policy for ids."""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum, StrEnum
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.services.identifiers import MAX_ID_LENGTH, checked_id, new_id
from netra_backend.app.services.user_execution_context import InvalidContextError, UserExecutionContext

REFUSED_WORDS = [
    "[object object]",
    *(
        "none null nil nan undefined placeholder registry default temp template example sample dummy mock fake test"
        " demo xxx yyy todo tbd changeme * > %"
    ).split(),
]
FORMS = list(dict.fromkeys(form for word in REFUSED_WORDS for form in (word, word.upper(), word.title())))
REFUSED_BEGINNINGS = ["placeholder_", "registry_", "temp_", "template_"]
REFUSED_TEMPLATES = [
    "{user_id}",
    "{}",
    "${USER_ID}",
    "<user-id>",
    "<>",
    "user-${USER_ID}",
    "user-${",
    "user-{{ id }}",
    "{{",
    "<the id of the user goes here>",
    "{the id of the user goes here}",
]
REFUSED_FORMS = [
    "",
    " ",
    " user",
    "user ",
    "\tuser",
    "user\n",
    "us\ner",
    "us\0er",
    "\0",
    "user\u00a0",
    "\u3000user",
    "us\u200ber",
    "\ud800",
    "u" * (MAX_ID_LENGTH + 1),
]
REFUSED_TYPES = [None, 0, 1.5, True, b"user", ["user"], uuid4(), object()]
FINE = [
    "test_user_674",
    "concurrent_user_0",
    "default_user",
    "ann@example.com",
    "first.last+tag@example.co.uk",
    "auth0|abc",
    "0",
    "105945141827451681156",
    "李雷",
    "Ωmega-δ",
    "мария",
    "مريم",
    "an na",
    "a",
    "u" * MAX_ID_LENGTH,
    "testing",
    "test-user",
    "none-of-your-business",
    "nullable",
    "user{1}x",
    "a<b>",
    "{open",
    "close}",
    "{",
    ">>",
    "100%",
    "a:b",
    "a*",
    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
]


@pytest.mark.parametrize("text", FINE)
def test_a_fine_id_is_returned(text: str) -> None:
    """What the policy does not name passes unchanged."""
    assert checked_id("user_id", text) is text


@pytest.mark.parametrize("text", FORMS)
def test_a_stand_in_is_refused_in_any_case(text: str) -> None:
    """A refused word is refused however it is written, and the error names field and word."""
    with pytest.raises(InvalidContextError) as caught:
        checked_id("run_id", text)
    assert caught.value.field == "run_id"
    assert caught.value.got == repr(text)
    assert caught.value.remedy


@pytest.mark.parametrize("word", [word for word in REFUSED_WORDS if word not in "*>%"])
@pytest.mark.parametrize("around", ["{}_1", "my-{}", "{}{}"])
def test_a_refused_word_inside_an_id_is_fine(word: str, around: str) -> None:
    """Only a whole id is a stand-in, apart from the four beginnings."""
    text = around.format(word, word)
    if not text.startswith(tuple(REFUSED_BEGINNINGS)):
        assert checked_id("user_id", text) == text


@pytest.mark.parametrize("beginning", REFUSED_BEGINNINGS)
def test_a_scaffolding_beginning_is_refused_below_twenty_characters(beginning: str) -> None:
    """The beginning marks a stand-in in a short id only."""
    for text in (beginning, beginning.upper(), beginning.ljust(19, "7")):
        with pytest.raises(InvalidContextError, match="a real id"):
            checked_id("thread_id", text)
    assert checked_id("thread_id", beginning.ljust(20, "7"))


@pytest.mark.parametrize("text", REFUSED_TEMPLATES)
def test_an_unfilled_template_is_refused(text: str) -> None:
    """A placeholder that was never filled in is no id, whatever its length."""
    with pytest.raises(InvalidContextError, match="template"):
        checked_id("user_id", text)


@pytest.mark.parametrize("text", REFUSED_FORMS)
def test_an_id_is_printable_trimmed_and_not_too_long(text: str) -> None:
    """Empty, unprintable, padded and endless texts are refused, and no message shows more than their beginning."""
    with pytest.raises(InvalidContextError, match="printable text") as caught:
        checked_id("user_id", text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", REFUSED_TYPES, ids=lambda value: type(value).__name__)
def test_an_id_is_a_text(value: object) -> None:
    """Nothing but a text is an id, and the error names the type that came."""
    with pytest.raises(InvalidContextError) as caught:
        checked_id("user_id", value)
    assert caught.value.got == ("None" if value is None else type(value).__name__)


def test_a_text_of_a_subclass_becomes_an_exact_text() -> None:
    """A StrEnum member is an id; what is kept is its text."""

    class Owner(StrEnum):
        ANN = "ann"

    class Number(IntEnum):
        ONE = 1

    kept = checked_id("user_id", Owner.ANN)
    assert (type(kept), kept) == (str, "ann")
    with pytest.raises(InvalidContextError, match="got Number"):
        checked_id("user_id", Number.ONE)


@pytest.mark.parametrize(
    "field", ["user_id", "thread_id", "run_id", "request_id", "websocket_client_id", "parent_request_id"]
)
def test_every_id_of_a_context_obeys_the_policy(field: str) -> None:
    """A context refuses a bad id in any of its fields and names the field."""
    good = {"user_id": "u", "thread_id": "t", "run_id": "r"}
    with pytest.raises(InvalidContextError, match=f"^{field}: "):
        UserExecutionContext(**good | {field: "PlaceHolder_1"})  # type: ignore[arg-type]  # only ids are given


@given(st.text())
def test_an_id_is_returned_or_refused(text: str) -> None:
    """For any text at all the policy either returns it or raises InvalidContextError."""
    with suppress(InvalidContextError):
        assert checked_id("user_id", text) is text


def test_new_ids_are_random_uuids() -> None:
    """A generated id is the canonical text of a version 4 UUID, and never comes twice."""
    made = {new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(str(UUID(text)) == text and UUID(text).version == 4 for text in made)
