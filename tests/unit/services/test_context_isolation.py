"""The search for anything changeable in a context."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given

from netra_backend.app.services.frozen_mapping import FrozenMapping
from netra_backend.app.services.user_execution_context import ContextIsolationError, UserExecutionContext
from tests.support.made_contexts import make_context
from tests.support.strategies import contexts

FIELDS = [name for name in UserExecutionContext.__dataclass_fields__ if name != "db_session"]


class Changeable(tzinfo):
    """A time zone that could change its mind."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        """No offset today."""
        return timedelta(0)

    def dst(self, when: datetime | None) -> timedelta | None:
        """No summer time."""
        return None

    def tzname(self, when: datetime | None) -> str | None:
        """No name."""
        return None


class Text(StrEnum):
    """A text that could carry attributes."""

    ANN = "ann"


def tampered(name: str, value: object) -> UserExecutionContext:
    """A context with a field overwritten behind its back."""
    context = make_context()
    object.__setattr__(context, name, value)
    return context


def hidden(values: dict[Any, Any]) -> FrozenMapping:
    """A frozen mapping whose storage was replaced behind its back."""
    mapping = FrozenMapping({"a": 1})
    object.__setattr__(mapping, "_view", MappingProxyType(values))
    return mapping


@given(contexts())
def test_a_context_is_isolated(context: UserExecutionContext) -> None:
    """Nothing changeable is reachable from a context made in the ordinary way."""
    assert context.verify_isolation() is True


def test_a_session_does_not_count() -> None:
    """The `db_session` is the one thing that may change."""
    assert make_context(db_session=[]).verify_isolation() is True


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(
    "value",
    [[], {}, set(), bytearray(), object(), ([],), frozenset({Text.ANN})],
    ids=["list", "dict", "set", "bytearray", "object", "list in a tuple", "subclass in a set"],
)
def test_a_tampered_field_is_found(name: str, value: object) -> None:
    """A changeable value in any field is found, and the error names the field."""
    context = tampered(name, value)
    with pytest.raises(ContextIsolationError) as caught:
        context.verify_isolation()
    assert caught.value.where.startswith(name)
    assert not context.is_valid()


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (hidden({"plan": [1]}), "agent_context.plan"),
        (hidden({"plan": ({"step": 1},)}), "agent_context.plan[0]"),
        (hidden({"plan": hidden({"deep": {1}})}), "agent_context.plan.deep"),
        (hidden({Text.ANN: 1}), "agent_context"),
        (MappingProxyType({}), "agent_context"),
    ],
    ids=["list", "dict in a tuple", "set in a mapping", "key of a subclass", "mapping proxy"],
)
def test_a_changeable_value_inside_metadata_is_found(value: object, where: str) -> None:
    """The error names the path to the value, however deep it is."""
    with pytest.raises(ContextIsolationError) as caught:
        tampered("agent_context", value).verify_isolation()
    assert caught.value.where == where


def test_a_mapping_without_storage_is_found() -> None:
    """A frozen mapping whose storage was deleted or is a dict is none."""
    empty = hidden({})
    object.__delattr__(empty, "_view")
    bare = hidden({})
    object.__setattr__(bare, "_view", {})
    for mapping in (empty, bare):
        with pytest.raises(ContextIsolationError, match="FrozenMapping, which could be changed"):
            tampered("agent_context", mapping).verify_isolation()


def test_a_cycle_is_found() -> None:
    """A mapping that was made to contain itself ends in ContextIsolationError, not in RecursionError."""
    values: dict[str, Any] = {}
    values["self"] = hidden(values)
    context = tampered("agent_context", hidden(values))
    with pytest.raises(ContextIsolationError, match="contain itself"):
        context.verify_isolation()
    assert not context.is_valid()


def test_times_of_another_zone_or_type_are_found() -> None:
    """A tzinfo object could be changed, and so could a datetime of a subclass."""

    class Stamp(datetime):
        pass

    now = make_context().created_at
    for value in (now.replace(tzinfo=Changeable()), now.replace(tzinfo=None), Stamp.now(now.tzinfo)):
        with pytest.raises(ContextIsolationError, match="created_at"):
            tampered("created_at", value).verify_isolation()


def test_attributes_of_a_subclass_are_found() -> None:
    """A subclass with a `__dict__` is isolated as long as nothing is in it."""

    class Open(UserExecutionContext):
        pass

    context = Open(user_id="u", thread_id="t", run_id="r")
    assert context.verify_isolation() is True
    vars(context)["cache"] = 1
    with pytest.raises(ContextIsolationError, match="__dict__"):
        context.verify_isolation()
    assert not context.is_valid()


def test_slots_of_a_subclass_are_searched() -> None:
    """A value in a slot that a subclass added is searched like a field."""

    class Slotted(UserExecutionContext):
        __slots__ = ("cache",)

    context = Slotted(user_id="u", thread_id="t", run_id="r")
    assert context.verify_isolation() is True
    object.__setattr__(context, "cache", (1, b"2", frozenset({"3"})))
    assert context.verify_isolation() is True
    object.__setattr__(context, "cache", {})
    with pytest.raises(ContextIsolationError, match="cache"):
        context.verify_isolation()


def test_fields_of_a_dataclass_subclass_are_searched() -> None:
    """A field that a subclass declares is searched too."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Tenant(UserExecutionContext):
        tenant: Any = "t-1"

    assert Tenant(user_id="u", thread_id="t", run_id="r").verify_isolation() is True
    with pytest.raises(ContextIsolationError, match="tenant"):
        Tenant(user_id="u", thread_id="t", run_id="r", tenant=[]).verify_isolation()


@pytest.mark.parametrize("name", FIELDS)
def test_is_valid_never_raises(name: str) -> None:
    """Whatever is put into a field, or taken out of it, the answer is False."""

    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("hostile")

    bad_values: tuple[object, ...] = (
        None,
        "",
        "none",
        "{x}",
        b"",
        11,
        -1,
        True,
        datetime(2020, 1, 1),
        {},
        [],
        Hostile(),
        Hostile,
        lambda: 1,
    )
    for value in bad_values:
        optional = value is None and name in {"websocket_client_id", "parent_request_id", "deadline"}
        assert tampered(name, value).is_valid() is optional
    context = make_context()
    object.__delattr__(context, name)
    assert context.is_valid() is False
    assert UserExecutionContext.__new__(UserExecutionContext).is_valid() is False
