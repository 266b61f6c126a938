"""Work for pools: functions that another process can import."""

from __future__ import annotations

import contextvars

from netra_backend.app.services.user_execution_context import NoActiveContextError, current

SURROUNDINGS: contextvars.ContextVar[str] = contextvars.ContextVar("surroundings", default="none")


def bound_user(_: object = None) -> str | None:
    """The user whose context is bound here; None if there is none."""
    try:
        return current().user_id
    except NoActiveContextError:
        return None


def bound_key_of(item: int) -> tuple[int, str]:
    """The item and the key of the context that is bound here."""
    return item, current().get_context_key()


def surroundings(_: object = None) -> str:
    """What another context variable holds here."""
    return SURROUNDINGS.get()
