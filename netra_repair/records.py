"""Frozen values to JSON and back, for the files this tool reads again: plans and journals.

A field at its default is left out. What comes back is checked against the annotations, so that a file that a person or
a disk has damaged is refused by the name of the field.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

_WIDTH = 120
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


class RecordError(ValueError):
    """Raised when a piece of JSON is not the value it should be.

    Args:
        where: the field, from the top: "files[0].sites[2].edits[0].span.start".
        expected: what should stand there, in words.
        got: what stands there.
    """

    def __init__(self, where: str, expected: str, got: object) -> None:
        super().__init__(where, expected, got)
        self.where = where
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        got = repr(self.got)
        return f"{self.where or 'the whole'}: expected {self.expected}, got {got if len(got) <= 80 else got[:77] + '…'}"


def encoded(value: object) -> Any:
    """A value as what the `json` module writes.

    Args:
        value: frozen dataclasses, tuples, enums of texts, texts, numbers, bytes (as base64) and None.

    Returns:
        Mappings, lists, texts, numbers, None.
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple):
        return [encoded(item) for item in value]
    if not is_dataclass(value):
        return value
    held = ((field, getattr(value, field.name)) for field in fields(value))
    return {field.name: encoded(item) for field, item in held if field.default is MISSING or item != field.default}


def decoded(kind: type[T], data: object, where: str = "") -> T:
    """The value that a piece of JSON stands for.

    Args:
        kind: the dataclass it should be.
        data: what the `json` module read.
        where: how to call it in errors.

    Returns:
        The value, every field checked.

    Raises:
        RecordError: when something is missing, unknown or of another kind.
    """
    return cast(T, _decoded(kind, data, where))


def laid_out(data: object, indent: int = 0) -> str:
    """JSON text for people: what fits into a line stands in one line.

    Args:
        data: what `encoded` gave.
        indent: how far the text stands in already.

    Returns:
        The text, without a line feed at its end.
    """
    line = json.dumps(data, ensure_ascii=False, allow_nan=False)
    if len(line) + indent <= _WIDTH or not isinstance(data, dict | list):
        return line
    pad = " " * (indent + 2)
    if isinstance(data, list):
        items = [pad + laid_out(item, indent + 2) for item in data]
    else:
        items = [
            f"{pad}{json.dumps(name, ensure_ascii=False)}: {laid_out(item, indent + 2)}" for name, item in data.items()
        ]
    opening, closing = "[]" if isinstance(data, list) else "{}"
    return f"{opening}\n" + ",\n".join(items) + f"\n{' ' * indent}{closing}"


@cache
def _annotations(kind: Any) -> dict[str, tuple[Field[Any], Any]]:
    hints = get_type_hints(kind)
    return {field.name: (field, hints[field.name]) for field in fields(kind)}


def _decoded(kind: Any, data: object, where: str) -> object:
    origin = get_origin(kind)
    if origin in (UnionType, Union):
        return None if data is None else _decoded(get_args(kind)[0], data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise RecordError(where, "a list", data)
        return tuple(_decoded(get_args(kind)[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if is_dataclass(kind):
        return _record(kind, data, where)
    if issubclass(kind, StrEnum):
        if not isinstance(data, str) or data not in set(kind):
            raise RecordError(where, "one of " + ", ".join(kind), data)
        return kind(data)
    if kind is bytes:
        return _bytes(data, where)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise RecordError(where, _WORDS[kind], data)
    return data


def _record(kind: Any, data: object, where: str) -> object:
    if not isinstance(data, dict):
        raise RecordError(where, f"the fields of a {kind.__name__}", data)
    known = _annotations(kind)
    values: dict[str, object] = {}
    for name in data:
        if name not in known:
            raise RecordError(where, f"only the fields {', '.join(known)}", name)
    for name, (field, hint) in known.items():
        place = f"{where}.{name}" if where else name
        if name in data:
            values[name] = _decoded(hint, data[name], place)
        elif field.default is MISSING:
            raise RecordError(place, "a value", "nothing")
    return kind(**values)


def _bytes(data: object, where: str) -> bytes:
    try:
        return base64.b64decode(cast(str, data), validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise RecordError(where, "base64", data) from error
