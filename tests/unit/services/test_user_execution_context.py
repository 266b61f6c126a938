"""The context as a value: frozen, compared, copied, told, derived."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given

from netra_backend.app.services import user_execution_context as module
from netra_backend.app.services.frozen_mapping import EMPTY, FrozenMapping
from netra_backend.app.services.user_execution_context import (
    MAX_OPERATION_DEPTH,
    InvalidContextError,
    UserExecutionContext,
    validate_user_context,
)
from tests.support.made_contexts import make_context
from tests.support.strategies import contexts

FIELDS = [
    "user_id",
    "thread_id",
    "run_id",
    "request_id",
    "websocket_client_id",
    "created_at",
    "deadline",
    "agent_context",
    "audit_metadata",
    "operation_depth",
    "parent_request_id",
    "db_session",
]
SECRET = "s3cret"


class PlainSubclass(UserExecutionContext):
    """A subclass that adds behaviour only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant(UserExecutionContext):
    """A subclass that adds a field."""

    tenant: str = "tenant-1"


@dataclass(frozen=True, kw_only=True)
class TenantWithoutSlots(UserExecutionContext):
    """A subclass that adds a field and forgets the slots."""

    tenant: str = "tenant-1"


KINDS: list[type[UserExecutionContext]] = [UserExecutionContext, PlainSubclass, Tenant, TenantWithoutSlots]


def make(kind: type[UserExecutionContext], **given: Any) -> UserExecutionContext:
    """A context of a class."""
    return kind(**{"user_id": "ann", "thread_id": "t-1", "run_id": "r-1"} | given)


# --- importing ---


def test_importing_it_loads_the_standard_library_only(pytestconfig: pytest.Config) -> None:
    """On a bare interpreter the import works and loads nothing but the standard library and our own modules."""
    program = f"""
import sys
sys.path.insert(0, sys.argv[1])
import {UserExecutionContext.__module__}
print(sorted({{name.partition(".")[0] for name in sys.modules}}))
print([name for name in ("asyncio", "secrets", "random", "urllib", "email", "ssl") if name in sys.modules])
"""
    command = [sys.executable, "-I", "-S", "-c", program, str(pytestconfig.rootpath)]
    tops, heavy = map(
        ast.literal_eval, subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    )
    assert [top for top in tops if top not in sys.stdlib_module_names] == ["__main__", "netra_backend"]
    assert heavy == []


def test_the_public_names_are_those_that_are_listed() -> None:
    """Every name in `__all__` exists, and nothing else of ours that is public hides in the module."""
    assert all(hasattr(module, name) for name in module.__all__)
    defined = {name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
    assert {name for name in defined if not name.startswith("_")} <= set(module.__all__)


def test_the_packages_on_its_path_are_empty(pytestconfig: pytest.Config) -> None:
    """No `__init__.py` on the way to the module does anything."""
    packages = (path for path in Path(module.__file__).parents if path.is_relative_to(pytestconfig.rootpath))
    assert all((path / "__init__.py").read_bytes() == b"" for path in packages if path != pytestconfig.rootpath)


def test_annotations_can_be_resolved() -> None:
    """Libraries that read type hints at run time can."""
    assert list(get_type_hints(UserExecutionContext)) == FIELDS


# --- frozen ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*FIELDS, "undeclared", "metadata", "bind", "__class__", "__dict__", "tenant"])
def test_no_attribute_can_be_assigned_or_deleted(kind: type[UserExecutionContext], name: str) -> None:
    """Assigning or deleting any name, declared or not, raises FrozenInstanceError, in subclasses too."""
    context = make(kind)
    before = context.to_dict()
    with pytest.raises(FrozenInstanceError):
        setattr(context, name, "other")
    with pytest.raises(FrozenInstanceError):
        delattr(context, name)
    assert context.to_dict() == before


@pytest.mark.parametrize("kind", [UserExecutionContext, Tenant])
def test_there_is_nothing_to_write_through(kind: type[UserExecutionContext]) -> None:
    """A context has no `__dict__`, and so no `vars()` and no room to grow."""
    context = make(kind)
    assert not hasattr(context, "__dict__")
    with pytest.raises(TypeError):
        vars(context)


def test_metadata_is_frozen_all_the_way_down() -> None:
    """Neither what was given nor what is read back can change what is inside."""
    plan: list[Any] = [{"steps": [1]}]
    context = make_context(agent_context={"plan": plan})
    plan[0]["steps"].append(2)
    plan.append("more")
    inside: Any = context.agent_context
    assert inside == {"plan": [{"steps": [1]}]}
    for change in ("inside['x'] = 1", "inside['plan'][0] = 1", "inside['plan'][0]['steps'] = 1", "del inside['plan']"):
        with pytest.raises(TypeError):
            exec(change, {"inside": inside})  # noqa: S102  # its text is here
    told = context.to_dict()
    told["agent_context"]["plan"].append("more")
    assert context.agent_context == {"plan": [{"steps": [1]}]}


def test_no_default_is_shared_by_two_contexts_in_a_changeable_form() -> None:
    """What contexts have by default cannot change, and the generated values are each one's own."""
    one, other = make_context(), make_context()
    assert one.agent_context is other.agent_context is one.audit_metadata is EMPTY
    assert one.request_id != other.request_id
    assert one.created_at <= other.created_at


# --- a value ---


def test_the_fields_are_those_of_the_contract() -> None:
    """There are twelve fields, in this order."""
    assert [field.name for field in fields(UserExecutionContext)] == FIELDS


@given(contexts())
def test_a_context_round_trips(context: UserExecutionContext) -> None:
    """Pickled, copied, or told as a dict and as JSON, a context comes back equal, with the same hash and key."""
    twins = [pickle.loads(pickle.dumps(context, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    twins += [copy.copy(context), copy.deepcopy(context), replace(context)]
    twins.append(UserExecutionContext.from_dict(json.loads(json.dumps(context.to_dict()))))
    for twin in twins:
        assert twin == context
        assert hash(twin) == hash(context)
        assert twin.to_dict() == context.to_dict()
        assert twin.get_context_key() == context.get_context_key()
        assert twin.verify_isolation()


@pytest.mark.parametrize("kind", KINDS)
def test_a_subclass_round_trips_as_itself(kind: type[UserExecutionContext]) -> None:
    """Copies, children and derived contexts of a subclass are of the subclass."""
    context = make(kind, agent_context={"a": [1]})
    for twin in (
        pickle.loads(pickle.dumps(context)),
        copy.copy(context),
        copy.deepcopy(context),
        replace(context),
        kind.from_dict(context.to_dict()),
        context.with_db_session(object()),
    ):
        assert type(twin) is kind
        assert twin == context
    assert type(context.create_child_context("part")) is type(context.with_websocket_connection("ws")) is kind
    assert type(kind.from_websocket_request("ann")) is kind


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "db_session"])
def test_every_field_but_the_session_counts(name: str) -> None:
    """Contexts that differ in one field are different."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    others: dict[str, Any] = {
        "created_at": moment,
        "deadline": moment,
        "agent_context": {"a": 1},
        "audit_metadata": {"a": 1},
        "operation_depth": 3,
    }
    context = make_context()
    assert replace(context, **{name: others.get(name, "other")}) != context
    assert context != object()


def test_a_session_is_carried_and_nothing_else() -> None:
    """A `db_session` is readable, and never compared, hashed, printed, copied, pickled, told or inherited."""

    class Session:
        def __repr__(self) -> str:
            return SECRET

        def __reduce__(self) -> str:
            raise TypeError("a session cannot be pickled")

    session = Session()
    plain = make_context()
    context = plain.with_db_session(session)
    assert context.db_session is session
    assert plain.db_session is None
    assert context == plain
    assert hash(context) == hash(plain)
    assert SECRET not in repr(context) + str(context.to_dict()) + str(context.get_audit_trail())
    for twin in (pickle.loads(pickle.dumps(context)), copy.copy(context), copy.deepcopy(context)):
        assert twin.db_session is None
    assert context.create_child_context("part").db_session is None
    assert context.with_websocket_connection("ws-1").db_session is session


@pytest.mark.parametrize("kind", KINDS)
def test_printing_shows_ids_and_depth_only(kind: type[UserExecutionContext]) -> None:
    """`repr` shows whose and which, no metadata and no session."""
    context = make(kind, agent_context={"a": SECRET}, audit_metadata={"b": SECRET}, db_session=SECRET)
    assert SECRET not in repr(context)
    assert SECRET not in f"{context}"
    assert all(
        f"{name}={getattr(context, name)!r}" in repr(context) for name in ("user_id", "run_id", "operation_depth")
    )


# --- checked ---


def test_direct_construction_is_checked_like_the_factories() -> None:
    """The constructor generates, refuses and freezes what the factories do; it takes keywords only."""
    context = UserExecutionContext(user_id="ann", thread_id="t-1", run_id="r-1", agent_context={"a": [1]})
    assert type(context.agent_context) is FrozenMapping
    assert context.request_id
    assert context.created_at.tzinfo is UTC
    with pytest.raises(InvalidContextError):
        UserExecutionContext(user_id="none", thread_id="t-1", run_id="r-1")
    with pytest.raises(TypeError):
        UserExecutionContext("ann", "t-1", "r-1")  # type: ignore[call-arg]  # what the test is about


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", None),
        ("request_id", None),
        ("websocket_client_id", ""),
        ("parent_request_id", "todo"),
        ("created_at", None),
        ("created_at", datetime(2026, 1, 1)),
        ("deadline", datetime(2026, 1, 1)),
        ("deadline", 5.0),
        ("agent_context", None),
        ("agent_context", [("a", 1)]),
        ("audit_metadata", "a"),
        ("operation_depth", -1),
        ("operation_depth", MAX_OPERATION_DEPTH + 1),
        pytest.param("operation_depth", 10**5000, id="endless depth"),
        ("operation_depth", True),
        ("operation_depth", 1.0),
        ("operation_depth", None),
    ],
    ids=repr,
)
def test_a_bad_field_is_refused(field: str, value: Any) -> None:
    """Constructor and `dataclasses.replace` refuse it, naming the field."""
    with pytest.raises(InvalidContextError, match=f"^{field}: expected "):
        make_context(**{field: value})
    with pytest.raises(InvalidContextError, match=f"^{field}: expected "):
        replace(make_context(), **{field: value})


def test_values_come_to_their_one_form() -> None:
    """Ids, depth and times of other types or zones are kept as exact texts, integers and UTC times."""

    class Name(StrEnum):
        ANN = "ann"

    evening = datetime(2999, 1, 1, 23, tzinfo=timezone(timedelta(hours=2)))
    context = make_context(Name.ANN, deadline=evening, websocket_client_id=Name.ANN)
    assert type(context.user_id) is type(context.websocket_client_id) is str
    assert context.deadline == evening
    assert context.deadline is not None
    assert context.deadline.tzinfo is UTC
    assert context.is_valid()


@pytest.mark.parametrize("where", ["agent_context", "audit_metadata"])
@pytest.mark.parametrize("key", FIELDS)
def test_metadata_cannot_shadow_a_field(where: str, key: str) -> None:
    """A key that is a field's name is refused at the top, also in a frozen mapping; deeper it is fine."""
    shadowings: list[Any] = [{key: "other"}, FrozenMapping({key: "other"})]
    for shadowing in shadowings:
        with pytest.raises(InvalidContextError, match=f"^{where}.{key}: expected keys that are no field"):
            make_context(**{where: shadowing})
    deeper: Any = {"inner": {key: "other"}}
    assert getattr(make_context(**{where: deeper}), where) == deeper


def test_metadata_cannot_shadow_a_field_of_a_subclass() -> None:
    """The fields that a subclass adds are guarded too."""
    with pytest.raises(InvalidContextError, match=r"agent_context\.tenant"):
        make(Tenant, agent_context={"tenant": "other"})


def test_messages_do_not_leak() -> None:
    """Metadata values and sessions are in no message."""
    for bad in ({"a": [SECRET, SECRET.encode()]}, {"a": {"b": {SECRET}}}):
        with pytest.raises(InvalidContextError) as caught:
            make_context(agent_context=bad, db_session=SECRET)
        assert SECRET not in str(caught.value)


def test_validity_ends_with_the_deadline() -> None:
    """A context is valid until its deadline, and for ever without one."""
    now = datetime.now(UTC)
    assert make_context().is_valid()
    assert make_context(deadline=now + timedelta(hours=1)).is_valid()
    assert not make_context(deadline=now - timedelta(microseconds=1)).is_valid()


def test_only_a_context_is_a_context() -> None:
    """`validate_user_context` returns the very context, and refuses anything else by its type's name."""
    context = make(Tenant)
    assert validate_user_context(context) is context
    for other, name in ((None, "None"), ({"user_id": SECRET}, "dict"), (SECRET, "str"), (UserExecutionContext, "type")):
        with pytest.raises(InvalidContextError, match=f"got {name}") as caught:
            validate_user_context(other)
        assert SECRET not in str(caught.value)


# --- derived ---


def test_a_child_is_a_part_of_its_parents_work() -> None:
    """A child has its own request id and its parent's ids, client, deadline and metadata, one level deeper."""
    parent = make_context(
        websocket_client_id="ws-1",
        deadline=datetime.now(UTC) + timedelta(hours=1),
        agent_context={"a": 1, "b": 1},
        audit_metadata={"c": 1},
    )
    child = parent.create_child_context("data", {"b": 2}, {"d": 2})
    same = ("user_id", "thread_id", "run_id", "websocket_client_id", "deadline")
    assert [getattr(child, name) for name in same] == [getattr(parent, name) for name in same]
    assert child.request_id != parent.request_id == child.parent_request_id
    assert (parent.operation_depth, child.operation_depth) == (0, 1)
    assert child.agent_context == {"a": 1, "b": 2}
    assert child.audit_metadata == {"c": 1, "d": 2, "operation_name": "data"}
    assert child.created_at >= parent.created_at
    assert parent.agent_context == {"a": 1, "b": 1}
    grandchild = child.create_child_context("report")
    assert grandchild.audit_metadata == {"c": 1, "d": 2, "operation_name": "report"}
    assert grandchild.parent_request_id == child.request_id


def test_children_end_at_depth_ten() -> None:
    """Ten generations are allowed; an eleventh raises InvalidContextError."""
    context = make_context()
    for depth in range(1, MAX_OPERATION_DEPTH + 1):
        context = context.create_child_context("part")
        assert context.operation_depth == depth
    with pytest.raises(InvalidContextError, match="operation_depth: expected an integer from 0 to 10, got 11"):
        context.create_child_context("part")


@pytest.mark.parametrize(
    "arguments",
    [("",), (None,), (5,), ("part", []), ("part", None, "x"), ("part", {"user_id": "bob"}), ("part", {"a": {1}})],
    ids=repr,
)
def test_a_bad_child_is_refused(arguments: tuple[Any, ...]) -> None:
    """Operation and metadata of a child are checked."""
    with pytest.raises(InvalidContextError):
        make_context().create_child_context(*arguments)


@pytest.mark.parametrize("bad", [None, "", "none", 5])
def test_a_bad_connection_is_refused(bad: Any) -> None:
    """`with_websocket_connection` takes an id and changes nothing else."""
    context = make_context()
    with pytest.raises(InvalidContextError, match="websocket_client_id"):
        context.with_websocket_connection(bad)
    derived = context.with_websocket_connection("ws-2")
    assert derived.websocket_connection_id == derived.websocket_client_id == "ws-2"
    assert replace(derived, websocket_client_id=None) == context


# --- told ---


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda told: told.pop("run_id"), "the key 'run_id'"),
        (lambda told: told.pop("deadline"), "the key 'deadline'"),
        (lambda told: told.update(extra=1), "got 'extra'"),
        (lambda told: told.update(db_session=1), "got 'db_session'"),
        (lambda told: told.update({5: 1}), "got int"),
        (lambda told: told.update(created_at=None), "created_at: expected an ISO 8601 time with an offset, got None"),
        (lambda told: told.update(created_at="2026-01-01T00:00:00"), "created_at: expected an aware datetime"),
        (lambda told: told.update(deadline=5), "deadline"),
        (lambda told: told.update(agent_context=None), "agent_context"),
    ],
)
def test_a_dict_is_read_strictly(change: Callable[[dict[Any, Any]], object], finding: str) -> None:
    """Missing, unknown and malformed entries raise InvalidContextError."""
    told: dict[Any, Any] = make_context().to_dict()
    change(told)
    with pytest.raises(InvalidContextError, match=finding):
        UserExecutionContext.from_dict(told)


@pytest.mark.parametrize("value", [None, [], "{}", 5])
def test_only_a_mapping_is_read(value: Any) -> None:
    """Anything but a mapping is refused by its type."""
    with pytest.raises(InvalidContextError, match="a mapping made by"):
        UserExecutionContext.from_dict(value)


def test_the_audit_trail_tells_who_and_when() -> None:
    """Ids, times, depth, parent and audit metadata in plain JSON; what agents know is not in it."""
    context = make_context(agent_context={"a": SECRET}, audit_metadata={"b": [1]}).create_child_context("part")
    trail = context.get_audit_trail()
    assert json.loads(json.dumps(trail)) == trail
    assert set(trail) == set(FIELDS) - {"agent_context", "db_session"}
    assert trail["audit_metadata"] == {"b": [1], "operation_name": "part"}
    assert (trail["user_id"], trail["operation_depth"]) == (context.user_id, 1)
    assert datetime.fromisoformat(trail["created_at"]) == context.created_at
    assert SECRET not in str(trail)
