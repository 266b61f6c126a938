"""What goes wrong with a context: the exceptions, and how a value is named in their messages."""

from __future__ import annotations

MAX_SHOWN = 200
"""Characters of any one part that a message shows."""


def shortened(text: str, limit: int = MAX_SHOWN) -> str:
    """Cut a text that is too long for a message.

    Args:
        text: what is to be shown.
        limit: the longest result, in characters.

    Returns:
        The text itself, or its beginning and an ellipsis: together `limit` characters.
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def told(value: object) -> str:
    """Name a value in a message: text by its beginning, everything else by its type.

    Args:
        value: what was given.

    Returns:
        A short text, never the content of anything but a text.
    """
    if value is None:
        return "None"
    if not issubclass(type(value), str):
        return type(value).__name__
    text = str.__str__(value)
    beginning = repr(text[:60])
    return beginning if len(text) <= 60 else f"{beginning}… ({len(text)} characters)"


class ContextError(Exception):
    """Raised when a context is malformed, missing, or about to be mixed with another user's."""


class InvalidContextError(ContextError, ValueError):
    """Raised when something cannot be a context or a part of one.

    Attributes:
        field: the name of the field or argument, with the path inside it (`agent_context.a[3].b`).
        expected: what would have been right.
        got: what came; metadata is named by its type only.
        remedy: the likely way out; may be empty.
    """

    def __init__(self, field: str, expected: str, got: str, remedy: str = "") -> None:
        self.field = shortened(field)
        self.expected = shortened(expected)
        self.got = shortened(got)
        self.remedy = shortened(remedy)
        super().__init__(self.field, self.expected, self.got, self.remedy)

    def __str__(self) -> str:
        message = f"{self.field}: expected {self.expected}, got {self.got}"
        return f"{message}. {self.remedy}" if self.remedy else message


class ContextIsolationError(ContextError):
    """Raised when a context could carry one user's data into another user's work.

    Attributes:
        where: the place: a field with the path inside it, or the operation.
        found: what is wrong there.
        remedy: the likely way out; may be empty.
    """

    def __init__(self, where: str, found: str, remedy: str = "") -> None:
        self.where = shortened(where)
        self.found = shortened(found)
        self.remedy = shortened(remedy)
        super().__init__(self.where, self.found, self.remedy)

    def __str__(self) -> str:
        message = f"{self.where}: {self.found}"
        return f"{message}. {self.remedy}" if self.remedy else message


class NoActiveContextError(ContextError, LookupError):
    """Raised when code asks for the current context and none is bound.

    Attributes:
        operation: what asked for it.
    """

    def __init__(self, operation: str) -> None:
        self.operation = shortened(operation)
        super().__init__(self.operation)

    def __str__(self) -> str:
        return f"{self.operation} needs a current context and none is bound. Did you forget `with context.bind():`?"
