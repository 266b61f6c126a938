"""Contexts for tests that do not care which."""

from __future__ import annotations

from typing import Any

from netra_backend.app.services.user_execution_context import UserExecutionContext


def make_context(user_id: str = "test_user_674", **fields: Any) -> UserExecutionContext:
    """A context of a user in a thread and run of its own.

    Args:
        user_id: whose it is.
        **fields: other fields, as the constructor takes them.
    """
    return UserExecutionContext(**{"user_id": user_id, "thread_id": f"{user_id}-t", "run_id": f"{user_id}-r"} | fields)
