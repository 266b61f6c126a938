"""Successors that a library names itself: in the text of an error, of a deprecation, or of a table of removed names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

# Python's own guess by spelling: it suggests `_append` for `append`.
_GUESS = re.compile(r"(?i)did you mean.*", re.DOTALL)
# A name, quoted or not, with or without the owner in front and parentheses behind.
_NAME = r"(?:the\s+)?(?::\w+:)?[`'\"*]*~?((?:\w+\.)*\w+)"
_SUCCESSOR = re.compile(
    rf"(?i)\b(?:use|(?:renamed|moved|changed)\s+(?:to|as|into)|(?:replaced|superseded)\s+(?:by|with)"
    rf"|in\s+favou?r\s+of|switch\s+to|migrate\s+to)\s+{_NAME}"
)


def successors(texts: Iterable[str], missing: str, names: Collection[str]) -> dict[str, str]:
    """Reads what texts say should be used in place of a name.

    Args:
        texts: messages of exceptions, deprecations, entries of tables of removed names; of this name.
        missing: the name.
        names: what could stand in its place.

    Returns:
        The texts by the successor that they name; those that name nothing of `names` are left out.
    """
    found: dict[str, str] = {}
    for text in texts:
        for match in _SUCCESSOR.finditer(_GUESS.sub("", text)):
            name = match[1].rpartition(".")[2]
            if name in names and name != missing:
                found.setdefault(name, text.strip())
    return found
