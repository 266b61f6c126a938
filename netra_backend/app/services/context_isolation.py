"""The search for anything changeable that is reachable from a context."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from types import MappingProxyType, MemberDescriptorType
from typing import Final

from .context_errors import ContextIsolationError
from .frozen_mapping import MAX_DEPTH, FrozenMapping, Path, told_path, told_type

IMMUTABLE: Final = frozenset({type(None), bool, int, float, str, bytes})
"""The exact types whose values cannot change and lead nowhere."""


def refuse_mutable(owner: object, *, apart_from: str) -> None:
    """Search an object's slots and `__dict__`, and everything reachable from them, for what could change.

    What is not known to be immutable counts as mutable: only the types of a context's own fields, `bytes`, `tuple` and
    `frozenset` pass.

    Args:
        owner: an object with slots.
        apart_from: the one slot that is not looked into.

    Raises:
        ContextIsolationError: naming the path to the first thing that could change.
    """
    if getattr(owner, "__dict__", None):
        raise ContextIsolationError("__dict__", "attributes that can be changed", "Declare slots in the subclass.")
    for name, value in _slots(owner):
        if name != apart_from:
            _refuse(value, name, 0)


def _slots(owner: object) -> Iterator[tuple[str, object]]:
    for kind in type(owner).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, MemberDescriptorType):
                try:
                    yield name, member.__get__(owner)
                except AttributeError:
                    continue  # It was deleted, or never set: nothing is reachable through it.


def _refuse(value: object, path: Path, depth: int) -> None:
    kind = type(value)
    if kind in IMMUTABLE:
        return
    if kind is datetime and type(value.tzinfo) is timezone:  # type: ignore[attr-defined]  # told by the line itself
        return
    if depth > MAX_DEPTH:
        raise ContextIsolationError(told_path(path), f"more than {MAX_DEPTH} levels", "Does it contain itself?")
    if kind is FrozenMapping and type(view := getattr(value, "_view", None)) is MappingProxyType:
        for key, item in view.items():
            _refuse(key, path, depth + 1)
            _refuse(item, (path, key), depth + 1)
    elif kind is tuple or kind is frozenset:
        for index, item in enumerate(value):  # type: ignore[arg-type]  # told by the line above
            _refuse(item, (path, index), depth + 1)
    else:
        raise ContextIsolationError(
            told_path(path),
            f"{told_type(value)}, which could be changed",
            "Make a new context instead of changing one.",
        )
