"""Keys made of ids."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.services.context_keys import SCOPES, joined_key
from netra_backend.app.services.user_execution_context import InvalidContextError, UserExecutionContext
from tests.support.made_contexts import make_context
from tests.support.strategies import ids

# Ids of few characters, so that different ones often would collide if nothing were escaped.
close_ids = st.text(":%253Aa", min_size=1, max_size=4).filter(lambda text: text != "%")
four_ids = st.tuples(*[close_ids | ids()] * 4)
scopes: st.SearchStrategy[Any] = st.sampled_from(list(SCOPES))


def of(four: tuple[str, ...]) -> UserExecutionContext:
    """A context of these ids."""
    return UserExecutionContext(user_id=four[0], thread_id=four[1], run_id=four[2], request_id=four[3])


def split(key: str) -> list[str]:
    """Read the parts of a key back."""
    return [part.replace("%3A", ":").replace("%25", "%") for part in key.split(":")]


@given(four_ids)
def test_the_parts_can_be_read_back_from_a_context_key(four: tuple[str, ...]) -> None:
    """The context key determines the four ids, so different ids have different keys."""
    assert tuple(split(of(four).get_context_key())) == four


@given(four_ids, four_ids)
def test_keys_are_equal_exactly_when_the_ids_are(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Two contexts share a key if and only if they share all four ids."""
    assert (of(one).get_context_key() == of(other).get_context_key()) == (one == other)


@given(four_ids, close_ids, scopes, four_ids, close_ids, scopes)
def test_scoped_keys_are_equal_exactly_when_component_scope_and_its_ids_are(
    one: tuple[str, ...], component: str, scope: Any, other: tuple[str, ...], other_component: str, other_scope: Any
) -> None:
    """Two scoped keys are equal if and only if component, scope and the ids of the scope are."""
    key = of(one).get_scoped_key(component, scope)
    other_key = of(other).get_scoped_key(other_component, other_scope)
    count, other_count = len(SCOPES[scope]), len(SCOPES[other_scope])
    same = (component, scope, one[:count]) == (other_component, other_scope, other[:other_count])
    assert (key == other_key) == same


def test_keys_are_readable() -> None:
    """Ordinary ids stand in the keys as they are."""
    context = of(("ann", "t-1", "r-1", "q-1"))
    assert context.get_context_key() == "ann:t-1:r-1:q-1"
    assert context.get_scoped_key("cache") == "cache:user:ann"
    assert context.get_scoped_key("cache", "thread") == "cache:thread:ann:t-1"
    assert context.get_scoped_key("cache", "run") == "cache:run:ann:t-1:r-1"
    assert context.get_scoped_key("cache", "request") == "cache:request:ann:t-1:r-1:q-1"
    assert joined_key(["a:b", "50%"]) == "a%3Ab:50%25"


def test_colons_do_not_make_two_users_one() -> None:
    """Ids that would run together unescaped keep their keys apart."""
    assert of(("a:b", "c", "d", "e")).get_context_key() != of(("a", "b:c", "d", "e")).get_context_key()
    assert of(("a%3Ab", "c", "d", "e")).get_context_key() != of(("a:b", "c", "d", "e")).get_context_key()


def test_the_context_key_is_unchanged_by_deriving() -> None:
    """A session or another connection does not change the key; a child has its own."""
    context = make_context()
    key = context.get_context_key()
    assert context.with_db_session(object()).get_context_key() == key
    assert context.with_websocket_connection("ws-1").get_context_key() == key
    assert context.create_child_context("part").get_context_key() != key


def test_the_signature_names_the_scopes() -> None:
    """The scopes that a type checker allows are those that exist."""
    assert get_args(get_type_hints(UserExecutionContext.get_scoped_key)["scope"]) == tuple(SCOPES)


@pytest.mark.parametrize("scope", ["", "session", "USER", None, 3, ["user"]])
def test_an_unknown_scope_is_refused(scope: Any) -> None:
    """The error lists the scopes there are."""
    with pytest.raises(InvalidContextError, match="scope: expected one of user, thread, run, request"):
        make_context().get_scoped_key("cache", scope)


@pytest.mark.parametrize("component", ["", None, 7, b"cache"])
def test_a_component_is_a_text(component: Any) -> None:
    """A key needs a component's name."""
    with pytest.raises(InvalidContextError, match=r"^component: "):
        make_context().get_scoped_key(component)


def test_the_correlation_id_is_short() -> None:
    """People get the beginnings of the four ids."""
    assert of(("user-0123456789", "t", "run-0123456789", "q")).get_correlation_id() == "user-012:t:run-0123:q"
