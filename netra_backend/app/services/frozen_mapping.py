"""JSON objects that cannot change: `FrozenMapping`, and the way in (`freeze_mapping`) and out (`thaw`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError
from math import isfinite
from types import MappingProxyType
from typing import Final, NoReturn, TypeAlias, final

from .context_errors import InvalidContextError, told
from .json_values import JsonValue

MAX_DEPTH: Final = 32
"""How deep mappings and lists may be nested, the outermost mapping counted; cycles end here too."""

INTEGER_LIMIT: Final = 10**4300
"""The first integer that `str` and `json` refuse to print and to read (`sys.set_int_max_str_digits`)."""

Path: TypeAlias = str | tuple["Path", str | int]
"""The way to a value: a field's name, or the way to the container and the key or index in it."""


@final
class FrozenMapping(Mapping[str, JsonValue]):
    """A mapping from text to JSON values, read-only all the way down.

    Mappings inside are frozen mappings, lists are tuples, and every scalar is an exact `str`, `int`, `float`, `bool` or
    None. It is hashable, compares by value with any mapping (a list equals the tuple that it becomes), pickles, and
    copies to itself. `|` with any mapping on either side gives a frozen mapping.

    Args:
        values: what it holds; read once and copied.

    Raises:
        InvalidContextError: if a value is no JSON value, naming the path to it.
    """

    __slots__ = ("_view",)
    _view: MappingProxyType[str, JsonValue]

    # Made here and not in __init__, which anyone could call a second time.
    def __new__(cls, values: Mapping[str, JsonValue] = MappingProxyType({})) -> FrozenMapping:
        return freeze_mapping("mapping", values)

    def __getitem__(self, key: str) -> JsonValue:
        return self._view[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._view)

    def __len__(self) -> int:
        return len(self._view)

    def __contains__(self, key: object) -> bool:
        return key in self._view

    def __eq__(self, other: object) -> bool:
        if type(other) is FrozenMapping:
            return self._view == other._view
        if not isinstance(other, Mapping):
            return NotImplemented
        try:
            return self._view == freeze_mapping("other", other)._view
        except InvalidContextError:
            return False

    def __hash__(self) -> int:
        return hash(frozenset(self._view.items()))

    def __or__(self, other: object) -> FrozenMapping:
        if not isinstance(other, Mapping):
            return NotImplemented
        return _sealed({**self._view, **freeze_mapping("mapping", other)._view})

    def __ror__(self, other: object) -> FrozenMapping:
        if not isinstance(other, Mapping):
            return NotImplemented
        return _sealed({**freeze_mapping("mapping", other)._view, **self._view})

    def __repr__(self) -> str:
        return f"FrozenMapping({dict(self._view)!r})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to {name!r} of a FrozenMapping")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete {name!r} of a FrozenMapping")

    def __copy__(self) -> FrozenMapping:
        return self

    def __deepcopy__(self, memo: object) -> FrozenMapping:
        return self

    def __reduce__(self) -> tuple[type[FrozenMapping], tuple[dict[str, JsonValue]]]:
        return FrozenMapping, (dict(self._view),)


def freeze_mapping(field: str, value: object) -> FrozenMapping:
    """Make a frozen mapping of a JSON object.

    Args:
        field: the name of what is frozen; paths in messages begin with it.
        value: any mapping from text to JSON values. Subclasses of `str`, `int` and `float` become the exact type.

    Returns:
        A frozen mapping that shares nothing mutable with `value`; `value` itself when it is one.

    Raises:
        InvalidContextError: if it is no mapping, or holds a key that is no text or a value that is no JSON value
            (not-finite numbers, integers of more than 4300 digits, text with lone surrogates, bytes, sets, times,
            objects), or is nested deeper than `MAX_DEPTH`, as cycles are.
    """
    if type(value) is FrozenMapping:
        return value
    if not isinstance(value, Mapping):
        raise InvalidContextError(field, "a mapping from text to JSON values", told_type(value))
    return _frozen_mapping(value, field, 1) if value else EMPTY


def thaw(value: JsonValue) -> JsonValue:
    """Make plain, changeable JSON of a frozen value.

    Args:
        value: a frozen mapping, or a value from one.

    Returns:
        The same value of new `dict` and `list` objects, as `json.dumps` takes it.
    """
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [thaw(item) for item in value]
    return value


def told_type(value: object) -> str:
    """Name a value by its type alone, for a message that must not show it.

    Args:
        value: what was given.

    Returns:
        The name of its type, or "None".
    """
    return "None" if value is None else type(value).__name__


def told_path(path: Path) -> str:
    """Write the way to a value as it would stand in code.

    Args:
        path: the way.

    Returns:
        Text such as `agent_context.a[3].b`; a key that is no name is quoted: `agent_context['a b']`.
    """
    steps: list[str] = []
    while not isinstance(path, str):
        path, step = path
        if isinstance(step, str) and step.isidentifier():
            steps.append(f".{step}")
        else:
            steps.append(f"[{told(step) if isinstance(step, str) else step}]")
    return path + "".join(reversed(steps))


def _sealed(values: dict[str, JsonValue]) -> FrozenMapping:
    """Wrap a dict of frozen values that nobody else holds."""
    mapping = object.__new__(FrozenMapping)
    object.__setattr__(mapping, "_view", MappingProxyType(values))
    return mapping


def _frozen_mapping(value: Mapping[object, object], path: Path, depth: int) -> FrozenMapping:
    frozen: dict[str, JsonValue] = {}
    for key, item in list(value.items()):
        if not issubclass(type(key), str):
            raise InvalidContextError(told_path(path), "keys of text", f"a key of type {told_type(key)}")
        text = _frozen_text(str.__str__(key), path)
        frozen[text] = _frozen_value(item, (path, text), depth)
    return _sealed(frozen)


def _frozen_value(value: object, path: Path, depth: int) -> JsonValue:
    kind = type(value)
    if value is None or kind is bool:
        return value  # type: ignore[return-value]  # told by the line above
    if issubclass(kind, str):
        return _frozen_text(str.__str__(value), path)
    if issubclass(kind, int):
        return _frozen_integer(int.__int__(value), path)  # type: ignore[arg-type]  # told by the line above
    if issubclass(kind, float):
        return _frozen_float(float.__float__(value), path)  # type: ignore[arg-type]  # told by the line above
    if depth == MAX_DEPTH and isinstance(value, (Mapping, list, tuple)):
        raise InvalidContextError(
            told_path(path), f"at most {MAX_DEPTH} levels", f"a deeper {kind.__name__}", "Does it contain itself?"
        )
    if isinstance(value, Mapping):
        return _frozen_mapping(value, path, depth + 1)
    if isinstance(value, (list, tuple)):
        return tuple([_frozen_value(item, (path, index), depth + 1) for index, item in enumerate(value)])
    raise InvalidContextError(told_path(path), "a JSON value", told_type(value), "Give its text or its parts instead.")


def _frozen_text(text: str, path: Path) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            # JSON would bring two of them back as one character, and no database takes them.
            raise InvalidContextError(told_path(path), "Unicode text", "str with lone surrogates") from None
    return text


def _frozen_integer(number: int, path: Path) -> int:
    if not -INTEGER_LIMIT < number < INTEGER_LIMIT:
        raise InvalidContextError(told_path(path), "an integer of at most 4300 digits", "int of more digits")
    return number


def _frozen_float(number: float, path: Path) -> float:
    if not isfinite(number):
        raise InvalidContextError(told_path(path), "a finite number", "float that is not")
    return number


EMPTY: Final = _sealed({})
"""The frozen mapping without keys; contexts without metadata share it."""
