"""Keys made of ids, for caches, locks, queues and people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

SCOPES: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("user_id",),
    "thread": ("user_id", "thread_id"),
    "run": ("user_id", "thread_id", "run_id"),
    "request": ("user_id", "thread_id", "run_id", "request_id"),
}
"""The ids that a key of each scope is made of."""

EXPECTED_SCOPE: Final = f"one of {', '.join(SCOPES)}"


def joined_key(parts: Iterable[str]) -> str:
    """Join texts to a key from which they could be read back.

    Args:
        parts: any texts.

    Returns:
        The parts with `%` and `:` escaped as `%25` and `%3A`, joined by `:`. Different parts give different keys.
    """
    return ":".join([part.replace("%", "%25").replace(":", "%3A") for part in parts])
