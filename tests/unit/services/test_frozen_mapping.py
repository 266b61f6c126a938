"""JSON objects that cannot change."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections import OrderedDict, UserDict, deque, namedtuple
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from netra_backend.app.services.frozen_mapping import EMPTY, MAX_DEPTH, FrozenMapping, freeze_mapping, thaw, told_type
from netra_backend.app.services.user_execution_context import InvalidContextError
from tests.support.strategies import metadata

NESTED: dict[str, Any] = {"a": [1, {"b": [True, None, 2.5]}], "c": {"d": {}}, "e": "text"}
NOT_JSON: dict[str, object] = {
    "bytes": b"s3cret",
    "bytearray": bytearray(b"s3cret"),
    "set": {"s3cret"},
    "frozenset": frozenset({"s3cret"}),
    "deque": deque(["s3cret"]),
    "range": range(3),
    "datetime": datetime.now(UTC),
    "Decimal": Decimal(1),
    "UUID": UUID(int=1),
    "complex": 1j,
    "object": object(),
    "type": dict,
    "function": thaw,
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "too large": 10**4300,
    "too small": -(10**4300),
    "surrogate": "s3cret\ud800",
}


class Colour(StrEnum):
    """A text of a subclass."""

    RED = "red"


class Level(IntEnum):
    """An integer of a subclass."""

    HIGH = 3


class Float64(float):
    """A float of a subclass, as NumPy's is."""


Point = namedtuple("Point", "x y")


@given(metadata())
def test_freezing_and_thawing_gives_the_same_json(values: dict[str, Any]) -> None:
    """What went in comes out, as new plain dicts and lists, and JSON sees no difference."""
    frozen = freeze_mapping("m", values)
    thawed = thaw(frozen)
    assert thawed == values
    assert thawed is not values
    assert json.dumps(thawed) == json.dumps(values)


@given(metadata())
def test_a_frozen_mapping_is_a_value(values: dict[str, Any]) -> None:
    """It equals and hashes like its twins, through pickle and copies too."""
    frozen = FrozenMapping(values)
    assert frozen == values
    assert values == frozen
    for twin in (FrozenMapping(values), pickle.loads(pickle.dumps(frozen)), copy.copy(frozen), copy.deepcopy(frozen)):
        assert twin == frozen
        assert hash(twin) == hash(frozen)
        assert type(twin) is FrozenMapping


def test_everything_inside_is_frozen() -> None:
    """Mappings become frozen mappings and lists tuples, however deep."""
    frozen: Any = FrozenMapping(NESTED)
    assert type(frozen["a"]) is tuple
    assert type(frozen["a"][1]) is FrozenMapping
    assert type(frozen["a"][1]["b"]) is tuple
    assert type(frozen["c"]["d"]) is FrozenMapping


def test_nothing_is_shared_with_what_was_given() -> None:
    """Changing the given values afterwards changes nothing inside."""
    given_list: list[Any] = [1]
    given_dict: dict[str, Any] = {"a": given_list, "b": {"c": 1}}
    frozen = FrozenMapping(given_dict)
    given_list.append(2)
    given_dict["d"] = given_list
    assert frozen == {"a": [1], "b": {"c": 1}}


@pytest.mark.parametrize("change", ["clear", "pop", "popitem", "setdefault", "update", "__setitem__", "__delitem__"])
def test_there_is_no_method_that_changes_it(change: str) -> None:
    """A frozen mapping has none of the methods that change a dict."""
    assert not hasattr(FrozenMapping(NESTED), change)


@pytest.mark.parametrize("name", ["_view", "other"])
def test_its_attributes_cannot_be_assigned_or_deleted(name: str) -> None:
    """Assigning or deleting any attribute raises, and there is no `__dict__` to write through."""
    frozen = FrozenMapping(NESTED)
    with pytest.raises(FrozenInstanceError):
        setattr(frozen, name, {})
    with pytest.raises(FrozenInstanceError):
        delattr(frozen, name)
    assert not hasattr(frozen, "__dict__")


def test_making_it_again_changes_nothing() -> None:
    """A made one cannot be filled anew through `__init__`."""
    frozen = FrozenMapping({"a": 1})
    frozen.__init__({"a": 2})  # type: ignore[call-arg]  # what the test is about
    assert frozen == {"a": 1}


def test_scalars_of_subclasses_become_exact() -> None:
    """Enumerations, NumPy-like floats and named tuples leave their plain values."""
    frozen = FrozenMapping({Colour.RED: Colour.RED, "n": Level.HIGH, "f": Float64(0.5), "p": Point(1, 2), "t": True})
    assert frozen == {"red": "red", "n": 3, "f": 0.5, "p": [1, 2], "t": True}
    assert [type(key) for key in frozen] == [str] * 5
    assert [type(value) for value in frozen.values()] == [str, int, float, tuple, bool]


@pytest.mark.parametrize("kind", [OrderedDict, UserDict, MappingProxyType, FrozenMapping])
def test_any_mapping_may_be_given(kind: Any) -> None:
    """Mappings of other types become frozen mappings, outside and inside."""
    frozen = FrozenMapping(kind({"a": kind({"b": 1})}))
    assert frozen == {"a": {"b": 1}}
    assert type(frozen["a"]) is FrozenMapping


def test_a_union_is_frozen() -> None:
    """`|` takes any mapping on either side, the right one wins, and neither changes."""
    frozen = FrozenMapping({"a": 1, "b": 1})
    assert frozen | {"b": 2, "c": [3]} == {"a": 1, "b": 2, "c": [3]}
    assert {"b": 2, "c": [3]} | frozen == {"a": 1, "b": 1, "c": [3]}
    assert type(frozen | {}) is type({} | frozen) is FrozenMapping
    assert frozen == {"a": 1, "b": 1}
    with pytest.raises(TypeError):
        frozen | [("c", 3)]
    with pytest.raises(TypeError):
        [("c", 3)] | frozen


def test_it_differs_from_what_it_does_not_equal() -> None:
    """Other values, other types and mappings that could not be frozen are different."""
    frozen = FrozenMapping({"a": 1})
    for other in ({"a": 2}, {"a": 1, "b": 1}, {}, {"a": math.nan}, {"a": b"1"}, {1: 1}, [("a", 1)], "a", None):
        assert frozen != other


def test_the_empty_one_is_shared() -> None:
    """All empty frozen mappings are one object."""
    assert FrozenMapping() is FrozenMapping({}) is pickle.loads(pickle.dumps(EMPTY)) is EMPTY
    assert repr(FrozenMapping({"a": [1]})) == "FrozenMapping({'a': (1,)})"


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_no_json_is_refused_with_its_path_and_type(value: object) -> None:
    """The error names the way to the value and its type, and never shows the value."""
    with pytest.raises(InvalidContextError) as caught:
        freeze_mapping("agent_context", {"a": [0, 1, 2, {"b": value}]})
    assert caught.value.field == "agent_context.a[3].b"
    assert caught.value.got.startswith(type(value).__name__)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("key", [1, None, True, b"a", (1,), 1.5])
def test_a_key_is_a_text(key: object) -> None:
    """A key of another type is refused; the error names where and the type."""
    with pytest.raises(InvalidContextError) as caught:
        freeze_mapping("agent_context", {"a": {key: 1}})
    assert caught.value.field == "agent_context.a"
    assert caught.value.got == f"a key of type {told_type(key)}"


@pytest.mark.parametrize("value", [None, [], [("a", 1)], "a", 1, {"a"}])
def test_metadata_is_a_mapping(value: object) -> None:
    """Nothing but a mapping is taken for one."""
    with pytest.raises(InvalidContextError, match=r"^audit_metadata: expected a mapping"):
        freeze_mapping("audit_metadata", value)


def test_the_largest_integers_that_can_be_printed_are_fine() -> None:
    """4300 digits are let through, and JSON can write them."""
    largest = 10**4300 - 1
    assert json.dumps(thaw(FrozenMapping({"n": largest, "m": -largest})))


@pytest.mark.parametrize("outer", [dict, list])
def test_nesting_has_a_limit(outer: type) -> None:
    """The deepest allowed nesting passes, one more level is refused."""

    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels - 1):
            value = {"k": value} if outer is dict else [value]
        return {"k": value}

    assert FrozenMapping(nested(MAX_DEPTH))
    with pytest.raises(InvalidContextError, match=f"at most {MAX_DEPTH} levels"):
        FrozenMapping(nested(MAX_DEPTH + 1))
    with pytest.raises(InvalidContextError, match=f"at most {MAX_DEPTH} levels"):
        FrozenMapping({"k": FrozenMapping(nested(MAX_DEPTH))})


def test_cycles_are_refused() -> None:
    """A value that contains itself ends in InvalidContextError, not in RecursionError."""
    mapping: dict[str, Any] = {}
    mapping["self"] = [mapping, mapping]
    items: list[Any] = []
    items.append(items)
    for value in (mapping, {"items": items}):
        with pytest.raises(InvalidContextError, match="contain itself"):
            FrozenMapping(value)


def test_a_path_quotes_keys_that_are_no_names() -> None:
    """A strange key stands quoted in the path, a long one cut."""
    with pytest.raises(InvalidContextError) as caught:
        freeze_mapping("m", {"a b": {"x" * 1000: object()}})
    assert caught.value.field.startswith("m['a b'].x")
    assert len(caught.value.field) <= 200
