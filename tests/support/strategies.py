"""The hypothesis strategies of the suite."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from netra_backend.app.services.identifiers import checked_id
from netra_backend.app.services.user_execution_context import InvalidContextError, JsonValue, UserExecutionContext

# What keys, wires, paths and templates are made of, and what people are called.
_printable = st.characters(codec="utf-8", exclude_categories=("C", "Z"))
_awkward = st.sampled_from(":%25A3{}<>$ ./_")


def _accepted(text: str) -> bool:
    try:
        return checked_id("id", text) == text
    except InvalidContextError:
        return False


def ids() -> st.SearchStrategy[str]:
    """Ids that the policy lets through, with more colons, per cent signs and braces than people use."""
    return st.text(_awkward | _printable, min_size=1, max_size=40).filter(_accepted)


def texts() -> st.SearchStrategy[str]:
    """Any Unicode text, control characters included, lone surrogates not."""
    return st.text(st.characters(codec="utf-8"))


def json_values() -> st.SearchStrategy[Any]:
    """JSON values made of plain dicts and lists."""
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts()
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=4), max_leaves=12
    )


def metadata() -> st.SearchStrategy[dict[str, JsonValue]]:
    """JSON objects that may be a context's metadata."""
    fields = UserExecutionContext.__dataclass_fields__
    return st.dictionaries(texts().filter(lambda key: key not in fields), json_values(), max_size=4)


def moments() -> st.SearchStrategy[datetime]:
    """Aware times in UTC."""
    return st.datetimes(timezones=st.just(UTC))


def contexts() -> st.SearchStrategy[UserExecutionContext]:
    """Contexts with every field drawn, without a `db_session`."""
    return st.builds(
        UserExecutionContext,
        user_id=ids(),
        thread_id=ids(),
        run_id=ids(),
        request_id=ids(),
        websocket_client_id=st.none() | ids(),
        created_at=moments(),
        deadline=st.none() | moments(),
        agent_context=metadata(),
        audit_metadata=metadata(),
        operation_depth=st.integers(0, 10),
        parent_request_id=st.none() | ids(),
    )
