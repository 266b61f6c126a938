"""The exceptions of a context."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest

from netra_backend.app.services.context_errors import MAX_SHOWN, shortened, told
from netra_backend.app.services.user_execution_context import (
    ContextError,
    ContextIsolationError,
    InvalidContextError,
    NoActiveContextError,
)

EXAMPLES: dict[type[ContextError], ContextError] = {
    ContextError: ContextError("why"),
    InvalidContextError: InvalidContextError("user_id", "a real id", "'none'", "Give the id itself."),
    ContextIsolationError: ContextIsolationError("agent_context.a", "list, which could be changed"),
    NoActiveContextError: NoActiveContextError("current()"),
}


def tree(root: type[ContextError]) -> Iterator[type[ContextError]]:
    """A class and every subclass of it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize("kind", list(tree(ContextError)))
def test_every_error_survives_a_process_boundary(kind: type[ContextError]) -> None:
    """Pickled or copied, an error has the same type, data and message."""
    error = EXAMPLES[kind]
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is kind
        assert (twin.args, vars(twin), str(twin)) == (error.args, vars(error), str(error))


def test_the_message_tells_field_expectation_and_finding() -> None:
    """The message is made of the data."""
    assert str(EXAMPLES[InvalidContextError]) == "user_id: expected a real id, got 'none'. Give the id itself."
    assert str(EXAMPLES[ContextIsolationError]) == "agent_context.a: list, which could be changed"
    assert str(EXAMPLES[NoActiveContextError]).startswith("current() needs a current context and none is bound")


def test_the_errors_are_what_callers_catch() -> None:
    """An invalid context is a ValueError, a missing one a LookupError, and all of them are ContextErrors."""
    assert issubclass(InvalidContextError, (ContextError, ValueError))
    assert issubclass(NoActiveContextError, LookupError)
    assert set(EXAMPLES) == set(tree(ContextError))


@pytest.mark.parametrize("length", [0, 1, MAX_SHOWN, MAX_SHOWN + 1, 10_000])
def test_long_parts_are_cut(length: int) -> None:
    """No part of a message is longer than its limit, however long the data was."""
    error = InvalidContextError("f" * length, "e" * length, "g" * length, "r" * length)
    assert all(len(part) <= MAX_SHOWN for part in error.args)
    assert shortened(error.got) == error.got


def test_told_shows_texts_only() -> None:
    """Texts are told by their beginning, everything else by its type."""
    assert told("a\nb") == repr("a\nb")
    assert told("x" * 300) == f"{'x' * 60!r}… (300 characters)"
    assert (told(None), told(7), told(b"secret"), told(["secret"])) == ("None", "int", "bytes", "list")
