"""For whom, in which thread, run and request a piece of work is done.

This is the public path of the context and of what belongs to it; the modules beside it own the parts. Standard library
only, so that everything may import it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence  # noqa: F401  # get_type_hints needs Sequence
from contextlib import asynccontextmanager
from dataclasses import FrozenInstanceError, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NoReturn, Self

from .context_binding import Binding, carry, current, spawn_unbound
from .context_errors import (
    ContextError,
    ContextIsolationError,
    InvalidContextError,
    NoActiveContextError,
    shortened,
    told,
)
from .context_isolation import refuse_mutable
from .context_keys import EXPECTED_SCOPE, SCOPES, joined_key
from .context_wire import seal, unseal
from .frozen_mapping import EMPTY, FrozenMapping, freeze_mapping, thaw, told_path, told_type
from .http_metadata import describe_request
from .identifiers import checked_id, checked_text, new_id
from .json_values import JsonValue
from .session_closing import close_session
from .utc_times import checked_utc, moment_after, parsed_utc, utc_now

__all__ = [
    "MAX_OPERATION_DEPTH",
    "ContextError",
    "ContextIsolationError",
    "FrozenMapping",
    "InvalidContextError",
    "JsonValue",
    "NoActiveContextError",
    "UserExecutionContext",
    "carry",
    "current",
    "managed_user_context",
    "spawn_unbound",
    "thaw",
    "validate_user_context",
]

MAX_OPERATION_DEPTH: Final = 10
"""How many levels of children a context may have."""

OPERATION_KEY: Final = "operation_name"
"""Where `audit_metadata` tells what a child or a live connection is for."""

AUDIT_WORDS: Final = ("audit", "compliance", "trace", "log")
"""What the supervisor's metadata keys hold, in any case, when they are meant for `audit_metadata`."""

_set_field: Final = object.__setattr__


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UserExecutionContext:
    """An immutable value that says for whom a piece of work is done. Frozen all the way down.

    Usually made by one of the `from_…` factories and handed on as a parameter. Equality and hash are by value.
    Pickling, `copy` and `deepcopy` give an equal context without the `db_session`.

    Attributes:
        user_id: whose work it is; inside the backend our own generated id.
        thread_id: the conversation it belongs to.
        run_id: the run of agents it belongs to.
        request_id: the piece of work itself; generated when not given.
        websocket_client_id: the live connection it came from, if any.
        created_at: when the context was made, aware UTC.
        deadline: when the work stops being wanted, aware UTC; None for never.
        agent_context: what agents need to know, JSON values; a `FrozenMapping`.
        audit_metadata: what an audit needs to know, JSON values; a `FrozenMapping`.
        operation_depth: how many parents it has, 0 to 10.
        parent_request_id: the `request_id` of the context it was made from, if any.
        db_session: for code that is used to carrying one. Never compared, hashed, printed, pickled, put on the wire or
            inherited by children.

    Raises:
        InvalidContextError: if an id breaks the policy (`identifiers`), a time is naive, the depth is out of range, or
            metadata is no JSON or has a key that is also the name of a field.
    """

    user_id: str
    thread_id: str
    run_id: str
    request_id: str = field(default_factory=new_id)
    websocket_client_id: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    deadline: datetime | None = None
    agent_context: Mapping[str, JsonValue] = field(default=EMPTY, repr=False)
    audit_metadata: Mapping[str, JsonValue] = field(default=EMPTY, repr=False)
    operation_depth: int = 0
    parent_request_id: str | None = None
    db_session: Any = field(default=None, compare=False, repr=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Guard the assignment of a frozen subclass with slots too (cpython #105936)."""
        super(UserExecutionContext, cls).__init_subclass__(**kwargs)
        _refuse_changes(cls, [name for name in _REFUSALS if name in vars(cls)])

    def __post_init__(self) -> None:
        """Check every field and bring it to its one form."""
        for name, value in (
            ("user_id", self.user_id),
            ("thread_id", self.thread_id),
            ("run_id", self.run_id),
            ("request_id", self.request_id),
        ):
            if (text := checked_id(name, value)) is not value:
                _set_field(self, name, text)
        if self.websocket_client_id is not None:
            _set_field(self, "websocket_client_id", checked_id("websocket_client_id", self.websocket_client_id))
        if self.parent_request_id is not None:
            _set_field(self, "parent_request_id", checked_id("parent_request_id", self.parent_request_id))
        _set_field(self, "created_at", checked_utc("created_at", self.created_at))
        if self.deadline is not None:
            _set_field(self, "deadline", checked_utc("deadline", self.deadline))
        _set_field(self, "operation_depth", _checked_depth(self.operation_depth))
        if self.agent_context is not EMPTY:
            _set_field(self, "agent_context", self._checked_metadata("agent_context", self.agent_context))
        if self.audit_metadata is not EMPTY:
            _set_field(self, "audit_metadata", self._checked_metadata("audit_metadata", self.audit_metadata))

    def _checked_metadata(self, name: str, value: object) -> FrozenMapping:
        metadata = freeze_mapping(name, value)
        fields = self.__dataclass_fields__
        if not fields.keys().isdisjoint(metadata):
            key = next(key for key in metadata if key in fields)
            raise InvalidContextError(
                told_path((name, key)), "keys that are no field of the context", "one that is", "Choose another key."
            )
        return metadata

    # --- making one ---

    @classmethod
    def from_request(
        cls,
        user_id: str,
        thread_id: str,
        run_id: str,
        request_id: str | None = None,
        db_session: Any = None,
        websocket_client_id: str | None = None,
        agent_context: Mapping[str, JsonValue] | None = None,
        audit_metadata: Mapping[str, JsonValue] | None = None,
        *,
        deadline: datetime | None = None,
    ) -> Self:
        """Make the context of any request. The primary factory.

        Args:
            user_id: whose work it is.
            thread_id: the conversation it belongs to.
            run_id: the run of agents it belongs to.
            request_id: the piece of work itself; generated when None.
            db_session: for code that is used to carrying one.
            websocket_client_id: the live connection it came from.
            agent_context: what agents need to know, JSON values.
            audit_metadata: what an audit needs to know, JSON values.
            deadline: when the work stops being wanted, aware.

        Returns:
            A new context of depth 0.

        Raises:
            InvalidContextError: if an argument breaks the policy of its field.
        """
        return cls(
            user_id=user_id,
            thread_id=thread_id,
            run_id=run_id,
            request_id=new_id() if request_id is None else request_id,
            websocket_client_id=websocket_client_id,
            deadline=deadline,
            agent_context=EMPTY if agent_context is None else agent_context,
            audit_metadata=EMPTY if audit_metadata is None else audit_metadata,
            db_session=db_session,
        )

    @classmethod
    def from_websocket_request(
        cls,
        user_id: str,
        websocket_client_id: str | None = None,
        operation: str = "websocket_session",
        *,
        deadline: datetime | None = None,
    ) -> Self:
        """Make the context of a live connection, with a new thread, run, request and client id that belong together.

        Args:
            user_id: whose connection it is.
            websocket_client_id: the connection's id; generated when None.
            operation: what the connection is for; `audit_metadata["operation_name"]` tells it.
            deadline: when the work stops being wanted, aware.

        Returns:
            A new context of depth 0. Its thread id is the text of a new UUID, and the generated ids end in it.

        Raises:
            InvalidContextError: if an argument breaks the policy of its field.
        """
        stem = new_id()
        return cls.from_request(
            user_id,
            thread_id=stem,
            run_id=f"run_{stem}",
            request_id=f"req_{stem}",
            websocket_client_id=f"ws_{stem}" if websocket_client_id is None else websocket_client_id,
            audit_metadata={OPERATION_KEY: checked_text("operation", operation)},
            deadline=deadline,
        )

    @classmethod
    def from_fastapi_request(
        cls,
        request: Any,
        user_id: str,
        thread_id: str,
        run_id: str,
        db_session: Any = None,
        websocket_client_id: str | None = None,
        *,
        deadline: datetime | None = None,
    ) -> Self:
        """Make the context of an HTTP request and record in `audit_metadata` who called.

        The query string, cookies and the Authorization header are never recorded, and no id is taken from the request:
        the incoming `x-request-id` is only recorded.

        Args:
            request: a FastAPI or Starlette request, or anything shaped like one (`http_metadata.describe_request`).
            user_id: whose work it is, from the verified token.
            thread_id: the conversation it belongs to.
            run_id: the run of agents it belongs to.
            db_session: for code that is used to carrying one.
            websocket_client_id: the live connection that is to see the outcome.
            deadline: when the work stops being wanted, aware.

        Returns:
            A new context of depth 0 with those of `client_address`, `user_agent`, `http_method`, `http_path`,
            `incoming_request_id` and `traceparent` in its `audit_metadata` that the request has.

        Raises:
            InvalidContextError: if an argument breaks the policy of its field.
        """
        return cls.from_request(
            user_id,
            thread_id,
            run_id,
            db_session=db_session,
            websocket_client_id=websocket_client_id,
            audit_metadata=describe_request(request),
            deadline=deadline,
        )

    @classmethod
    def from_agent_execution_context(
        cls,
        user_id: str,
        thread_id: str,
        run_id: str,
        request_id: str | None = None,
        agent_context: Mapping[str, JsonValue] | None = None,
        audit_metadata: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """Make the context of an agent step that already runs under ids.

        Args:
            user_id: whose work it is.
            thread_id: the conversation it belongs to.
            run_id: the run of agents it belongs to.
            request_id: the step itself; generated when None.
            agent_context: what agents need to know, JSON values.
            audit_metadata: what an audit needs to know, JSON values.

        Returns:
            A new context of depth 0.

        Raises:
            InvalidContextError: if an argument breaks the policy of its field.
        """
        return cls.from_request(
            user_id, thread_id, run_id, request_id, agent_context=agent_context, audit_metadata=audit_metadata
        )

    @classmethod
    def from_request_supervisor(
        cls,
        user_id: str,
        thread_id: str,
        run_id: str,
        request_id: str | None = None,
        db_session: Any = None,
        websocket_connection_id: str | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """Make the context of a supervisor, which knows one `metadata` mapping and a `websocket_connection_id`.

        Args:
            user_id: whose work it is.
            thread_id: the conversation it belongs to.
            run_id: the run of agents it belongs to.
            request_id: the piece of work itself; generated when None.
            db_session: for code that is used to carrying one.
            websocket_connection_id: the live connection it came from; becomes `websocket_client_id`.
            metadata: JSON values. Keys that hold audit, compliance, trace or log, in any case, go to `audit_metadata`,
                the others to `agent_context`.

        Returns:
            A new context of depth 0, whose properties `metadata` and `websocket_connection_id` read both back.

        Raises:
            InvalidContextError: if an argument breaks the policy of its field.
        """
        given = _given("metadata", metadata)
        audit = {key: value for key, value in given.items() if any(word in key.lower() for word in AUDIT_WORDS)}
        return cls.from_request(
            user_id,
            thread_id,
            run_id,
            request_id,
            db_session=db_session,
            websocket_client_id=websocket_connection_id,
            agent_context={key: value for key, value in given.items() if key not in audit},
            audit_metadata=audit,
        )

    # --- deriving ---

    def create_child_context(
        self,
        operation_name: str,
        additional_agent_context: Mapping[str, JsonValue] | None = None,
        additional_audit_metadata: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """Make the context of a part of this work, such as a sub-agent's.

        Args:
            operation_name: what the part is; `audit_metadata["operation_name"]` tells it.
            additional_agent_context: laid over this context's `agent_context`, JSON values.
            additional_audit_metadata: laid over this context's `audit_metadata`, JSON values.

        Returns:
            A context of the same user, thread, run, client and deadline, with a new `request_id`, this one's as
            `parent_request_id`, one level deeper, without a `db_session`.

        Raises:
            InvalidContextError: if an argument breaks the policy of its field, or this context is of depth 10.
        """
        more_agent = _given("additional_agent_context", additional_agent_context)
        more_audit = _given("additional_audit_metadata", additional_audit_metadata)
        operation = checked_text("operation_name", operation_name)
        return replace(
            self,
            request_id=new_id(),
            parent_request_id=self.request_id,
            created_at=utc_now(),
            operation_depth=self.operation_depth + 1,
            agent_context={**self.agent_context, **more_agent} if more_agent else self.agent_context,
            audit_metadata={**self.audit_metadata, **more_audit, OPERATION_KEY: operation},
            db_session=None,
        )

    def with_db_session(self, db_session: Any) -> Self:
        """Derive a context that carries a session.

        Args:
            db_session: the session; None takes it away.

        Returns:
            A context equal to this one, since sessions do not count.
        """
        return replace(self, db_session=db_session)

    def with_websocket_connection(self, websocket_client_id: str) -> Self:
        """Derive a context of another live connection.

        Args:
            websocket_client_id: the connection's id.

        Returns:
            A context that differs from this one in `websocket_client_id` only.

        Raises:
            InvalidContextError: if the id breaks the policy.
        """
        return replace(self, websocket_client_id=checked_id("websocket_client_id", websocket_client_id))

    # --- reading ---

    @property
    def metadata(self) -> FrozenMapping:
        """`agent_context` and `audit_metadata` in one; a key of both has its value from `audit_metadata`."""
        return freeze_mapping("metadata", {**self.agent_context, **self.audit_metadata})

    @property
    def websocket_connection_id(self) -> str | None:
        """The supervisor's name for `websocket_client_id`."""
        return self.websocket_client_id

    def get_context_key(self) -> str:
        """Name this piece of work.

        Returns:
            A stable text, different for different (user_id, thread_id, run_id, request_id), whatever they hold.
        """
        return joined_key((self.user_id, self.thread_id, self.run_id, self.request_id))

    def get_scoped_key(self, component: str, scope: Literal["user", "thread", "run", "request"] = "user") -> str:
        """Name something that a component keeps for a user, thread, run or request: a cache entry, a lock, a queue.

        Args:
            component: what keeps it; any text that is not empty.
            scope: how far it is shared.

        Returns:
            A stable text, different for different components, scopes and ids of the scope, whatever they hold.

        Raises:
            InvalidContextError: if the component is no text or empty, or there is no such scope.
        """
        names = SCOPES.get(checked_text("scope", scope, EXPECTED_SCOPE))
        if names is None:
            raise InvalidContextError("scope", EXPECTED_SCOPE, told(scope))
        return joined_key((checked_text("component", component), scope, *[getattr(self, name) for name in names]))

    def get_correlation_id(self) -> str:
        """Name this piece of work for people, in logs and messages.

        Returns:
            The first eight characters of the user, thread, run and request id, joined by colons. Not unique.
        """
        return f"{self.user_id[:8]}:{self.thread_id[:8]}:{self.run_id[:8]}:{self.request_id[:8]}"

    def get_audit_trail(self) -> dict[str, Any]:
        """Tell who did what when, for an audit.

        Returns:
            A new JSON object of the ids, times (ISO 8601), depth and `audit_metadata`; no agent context.
        """
        trail = self.to_dict()
        del trail["agent_context"]
        return trail

    def to_dict(self) -> dict[str, Any]:
        """Tell everything but the `db_session` in plain JSON.

        Returns:
            A new JSON object of the fields by name; times are ISO 8601 with offset. `from_dict` reads it.
        """
        return {name: _plain(getattr(self, name)) for name in self._lasting_fields()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a context of what `to_dict` told.

        Args:
            values: every field but `db_session` by name, and nothing else.

        Returns:
            A context equal to the one that was told.

        Raises:
            InvalidContextError: if it is no mapping, a key is missing or unknown, or a value breaks its field's policy.
        """
        if not isinstance(values, Mapping):
            raise InvalidContextError("context", "a mapping made by to_dict()", told_type(values))
        given = dict(values)
        if missing := [name for name in cls._lasting_fields() if name not in given]:
            raise InvalidContextError("context", f"the key {missing[0]!r}", "none")
        if len(given) > len(cls._lasting_fields()):
            unknown = next(key for key in given if key not in cls._lasting_fields())
            raise InvalidContextError("context", "keys that to_dict() gives", told(unknown))
        given["created_at"] = parsed_utc("created_at", given["created_at"])
        if given["deadline"] is not None:
            given["deadline"] = parsed_utc("deadline", given["deadline"])
        return cls(**given)

    @classmethod
    def _lasting_fields(cls) -> list[str]:
        """The fields that leave the process."""
        return [name for name in cls.__dataclass_fields__ if name != "db_session"]

    # --- the wire ---

    def to_wire(self, key: bytes, *, ttl: timedelta = timedelta(hours=1)) -> str:
        """Write this context, without its `db_session`, for a queue message.

        Args:
            key: the secret that writer and reader share, at least 32 bytes.
            ttl: how long the text is accepted, counted from now; never beyond the deadline.

        Returns:
            Signed ASCII text that `from_wire` reads. It is not encrypted.

        Raises:
            InvalidContextError: if the key is no bytes or too short, or `ttl` is no positive `timedelta` that ends
                before the year 10000.
        """
        expires_at = moment_after("ttl", ttl)
        return seal(self.to_dict(), key, expires_at if self.deadline is None else min(expires_at, self.deadline))

    @classmethod
    def from_wire(cls, text: str, key: bytes) -> Self:
        """Read a context from a queue message.

        Args:
            text: what `to_wire` wrote.
            key: the secret it was signed with.

        Returns:
            A context equal to the one that was written.

        Raises:
            InvalidContextError: if the text was not signed with this key, was changed in any character, has expired, or
                is of another version; if the key is no bytes or too short. Nothing else is ever raised.
        """
        return cls.from_dict(unseal(text, key))

    # --- being current ---

    def bind(self) -> Binding:
        """Make this context current for the code inside a `with` block, and for the tasks it starts.

        Returns:
            What to enter. Entering raises `ContextIsolationError` inside a block of another user; the same user's other
            contexts may be nested.
        """
        return Binding(self)

    @staticmethod
    def current() -> UserExecutionContext:
        """Tell the context that is bound here.

        Returns:
            The context of the innermost `bind()` block around this code.

        Raises:
            NoActiveContextError: if there is none.
        """
        return current()

    # --- checking ---

    def is_valid(self) -> bool:
        """Tell whether work may still be done under this context.

        Returns:
            Whether every field still obeys the policy, nothing in it could be changed, and the deadline has not passed.
            Never raises, whatever was done to the object.
        """
        try:
            self.verify_isolation()
            replace(self)
            return self.deadline is None or utc_now() < self.deadline
        except Exception:  # Someone has tampered with it, in a way nobody has thought of.
            return False

    def verify_isolation(self) -> Literal[True]:
        """Check that nothing changeable but `db_session` is reachable from this context.

        Returns:
            True.

        Raises:
            ContextIsolationError: naming the path to what could be changed: a field tampered with, or an attribute of a
                subclass without slots.
        """
        refuse_mutable(self, apart_from="db_session")
        return True

    # --- being a value ---

    def __repr__(self) -> str:
        ids = ", ".join(f"{name}={getattr(self, name)!r}" for name in SCOPES["request"])
        return f"{type(self).__name__}({ids}, operation_depth={self.operation_depth!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), {name: getattr(self, name) for name in self._lasting_fields()})


def validate_user_context(value: object) -> UserExecutionContext:
    """Check that a value is a context.

    Args:
        value: what was given where a context is needed.

    Returns:
        The value itself.

    Raises:
        InvalidContextError: if it is anything else, naming its type.
    """
    if not isinstance(value, UserExecutionContext):
        raise InvalidContextError(
            "context", "a UserExecutionContext", told_type(value), "Make one with UserExecutionContext.from_request()."
        )
    return value


@asynccontextmanager
async def managed_user_context(context: UserExecutionContext) -> AsyncIterator[UserExecutionContext]:
    """Make a context current for the code inside an `async with` block and close the `db_session` it owns at the end.

    The session's `close()`, or else its `aclose()`, runs to its end also when the task is cancelled; the cancellation
    goes on afterwards.

    Args:
        context: the context; without a `db_session` there is nothing to close.

    Yields:
        The context.

    Raises:
        InvalidContextError: if it is no context.
        ContextIsolationError: if a context of another user is bound here.
    """
    with validate_user_context(context).bind():
        try:
            yield context
        finally:
            await close_session(context.db_session)


def _checked_depth(value: object) -> int:
    if not issubclass(type(value), int) or type(value) is bool:
        raise InvalidContextError("operation_depth", f"an integer from 0 to {MAX_OPERATION_DEPTH}", told_type(value))
    depth = int.__int__(value)  # type: ignore[arg-type]  # told by the line above
    if not 0 <= depth <= MAX_OPERATION_DEPTH:
        got = shortened(str(depth)) if depth.bit_length() < 64 else "int of many digits"
        raise InvalidContextError("operation_depth", f"an integer from 0 to {MAX_OPERATION_DEPTH}", got)
    return depth


def _given(field: str, metadata: Mapping[str, JsonValue] | None) -> FrozenMapping:
    return EMPTY if metadata is None else freeze_mapping(field, metadata)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else thaw(value)


def _remade(kind: type[UserExecutionContext], values: dict[str, Any]) -> UserExecutionContext:
    return kind(**values)


def _refuse_assignment(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to {name!r}: a context never changes; derive one instead")


def _refuse_deletion(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete {name!r}: a context never changes; derive one instead")


_REFUSALS: Final = {"__setattr__": _refuse_assignment, "__delattr__": _refuse_deletion}


def _refuse_changes(kind: type[UserExecutionContext], methods: Iterable[str]) -> None:
    """Replace what `dataclass` made, which raises TypeError for undeclared names (cpython #105936)."""
    for name in methods:
        setattr(kind, name, _REFUSALS[name])


_refuse_changes(UserExecutionContext, _REFUSALS)
