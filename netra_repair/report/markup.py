"""HTML that is safe by construction: text is escaped unless it was made by `element`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import TypeAlias

from netra_repair.report.words import printable

_VOID = frozenset({"meta"})
_CODE = re.compile(r"`([^`]+)`")


class Html(str):
    """Markup. Adding text to it gives a plain `str`, which is escaped again."""

    __slots__ = ()


Content: TypeAlias = Html | str | int | Iterable["Content"] | None


def element(name: str, /, *content: Content, **attributes: str | int | None) -> Html:
    """Makes an element.

    Args:
        name: of the element.
        *content: markup, texts and numbers, or iterables of them; None is nothing.
        **attributes: by name; a trailing underscore is dropped and others become hyphens; None leaves one out, and an
            empty text stands for an attribute without a value.

    Returns:
        The element; everything in it that is not markup is escaped.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{joined(*content)}</{name}>")


def joined(*content: Content) -> Html:
    """Puts contents one after the other."""
    return Html("".join(_markup(each) for each in content))


def text(value: str) -> Html:
    """Escapes a text; what cannot be seen is written as an escape, but for tabs and line feeds."""
    return Html(escape(printable(value, keep="\t\n")))


def prose(value: str) -> Html:
    """Escapes a sentence in which names stand in backticks, and sets these as code."""
    parts = _CODE.split(value)
    return joined(*(element("code", part) if number % 2 else part for number, part in enumerate(parts)))


def _markup(content: Content) -> str:
    match content:
        case None:
            return ""
        case Html():
            return content
        case str() | int():
            return text(str(content))
        case _:
            return "".join(_markup(each) for each in content)
