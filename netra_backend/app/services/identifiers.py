"""The policy for ids: what may name a user, thread, run, request or client."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from .context_errors import InvalidContextError, told

MAX_ID_LENGTH: Final = 256
"""Characters of the longest id."""

SHORT_ID_LENGTH: Final = 20
"""Ids of at least so many characters are never taken for a stand-in."""

REFUSED_WORDS: Final = frozenset(
    (
        *("none", "null", "nil", "nan", "undefined", "[object object]"),  # what languages print for nothing
        *("placeholder", "registry", "default", "temp", "template"),  # what scaffolding leaves behind
        *("example", "sample", "dummy", "mock", "fake", "test", "demo"),  # what documentation and tests leave behind
        *("xxx", "yyy", "todo", "tbd", "changeme"),  # what people mean to come back to
        *("*", ">", "%"),  # what matches anything in a queue's subject or a query
    )
)
"""Whole ids, casefolded, that stand for an id somebody forgot to fill in."""

REFUSED_PREFIXES: Final = ("placeholder_", "registry_", "temp_", "template_")
"""Beginnings, casefolded, that mark a short id as a stand-in."""

EXPECTED_ID: Final = f"a printable text of 1 to {MAX_ID_LENGTH} characters without white space at its ends"


def new_id() -> str:
    """Make a fresh id.

    Returns:
        The text of a random UUID (RFC 9562, version 4).
    """
    return str(uuid4())


def checked_id(field: str, value: object) -> str:
    """Check an id against the policy.

    Args:
        field: the name of what is checked, for the message.
        value: the id as it came.

    Returns:
        The id as an exact `str`, also when a subclass such as a `StrEnum` member came.

    Raises:
        InvalidContextError: if it is no text, is empty, too long, not printable, begins or ends with white space, or
            is a stand-in (a refused word, a short id with a refused prefix, an unfilled template).
    """
    text = checked_text(field, value, EXPECTED_ID) if type(value) is not str else value
    # A space is the only white space that is printable.
    if not text.isprintable() or not 0 < len(text) <= MAX_ID_LENGTH or text[0] == " " or text[-1] == " ":
        raise InvalidContextError(field, EXPECTED_ID, told(text))
    if len(text) < SHORT_ID_LENGTH and _is_stand_in(text.casefold()):
        raise InvalidContextError(field, "a real id", told(text), "Give the id itself in place of the stand-in.")
    if ("{" in text or text[0] == "<") and _is_template(text):
        raise InvalidContextError(field, "a filled-in id", told(text), "Did you forget to fill in the template?")
    return text


def checked_text(field: str, value: object, expected: str = "a non-empty text") -> str:
    """Check that a value is a text that is not empty.

    Args:
        field: the name of what is checked, for the message.
        value: what came.
        expected: how the message names what would have been right.

    Returns:
        The same text as an exact `str`.

    Raises:
        InvalidContextError: if it is no text, or empty.
    """
    if not issubclass(type(value), str) or not str.__len__(value):  # type: ignore[arg-type]  # issubclass told
        raise InvalidContextError(field, expected, told(value))
    return str.__str__(value)


def _is_stand_in(folded: str) -> bool:
    return folded in REFUSED_WORDS or folded.startswith(REFUSED_PREFIXES)


def _is_template(text: str) -> bool:
    whole = (text[0] == "{" and text[-1] == "}") or (text[0] == "<" and text[-1] == ">")
    return whole or "${" in text or "{{" in text
