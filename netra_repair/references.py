"""A place in the code that names an attribute, as the syntax tree shows it. Says nothing about types."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netra_repair.source import Position, Span


class Use(StrEnum):
    """What the code does with the attribute."""

    CALL = "call"
    REFERENCE = "reference"
    DECORATOR = "decorator"
    ASSIGNMENT = "assignment"
    DELETION = "deletion"
    IMPORT = "import"
    STRING = "string"


class Star(StrEnum):
    """How an argument is spread."""

    NONE = ""
    SEQUENCE = "*"
    MAPPING = "**"


class Guard(StrEnum):
    """Why the code around expects that the attribute may be absent. Such a reference is never rewritten."""

    HASATTR = "inside `if hasattr(…)` for this name"
    GETATTR_DEFAULT = "`getattr` with a default for this name"
    EXCEPT = "inside `try` … `except AttributeError`"
    TRANSLATED = "inside `try` … `except AttributeError` that raises another exception"
    SUPPRESS = "inside `contextlib.suppress(AttributeError)`"
    MISFIT = "inside `try` … `except TypeError` or `suppress(TypeError)`"
    SWALLOWED = "inside `try` … `except TypeError`, which may be meant for something else there"
    RAISES = "inside `pytest.raises(…)` or `assertRaises(…)` for the error it gives"
    RAISES_OTHERS = "inside `pytest.raises(…)` or `assertRaises(…)` for errors of another name"
    EAGER = "an argument of `raises(…)` or `assertRaises(…)`, evaluated before these expect anything"
    CREATED = "created right there, by `setattr`, `create=True` or `raising=False`"
    ASSERTS_ABSENCE = "the code asserts that the attribute is absent"
    VERSION = "inside a branch for another version or platform"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call.

    Attributes:
        span: the whole argument: stars, keyword, equals sign, value and the value's own parentheses; no comma, no
            comment.
        keyword: its keyword, else None.
        keyword_span: where the keyword stands, else None.
        star: whether and how it is spread.
        name: what the caller calls the value: a plain name, or the last part of a dotted one (`user_id`,
            `self.user_id`); else None.
        pure: whether evaluating the value can have no side effect and cannot depend on order (names, constants,
            f-strings and displays of such).
        bare: whether the value needs parentheses before a keyword can be put in front of it: a generator without any,
            or `a := 1`.
    """

    span: Span
    keyword: str | None
    keyword_span: Span | None
    star: Star
    name: str | None
    pure: bool
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A place that names an attribute.

    Attributes:
        path: the file, relative to the project's root.
        attribute: the name, as it is spelled there.
        name: where the attribute's name stands: the span an edit replaces. The place all engines agree on is its end.
        position: of the name's first character.
        receiver: what stands left of the dot, without the dot and without parentheses around it: the span a type
            server is asked about. For an import the module's name; for a string the object it is looked up on, and
            None where only the string says what that is.
        expression: receiver, dot and name; for an import the name, for a string the whole literal.
        use: what the code does with it.
        awaited: whether what the call gives is awaited, right there or where it goes.
        arguments: of the call, in order; None when it is not called there.
        call: the whole call with its parentheses; None when it is not called there.
        guard: why it may be absent by intent, else None.
        scope: the enclosing functions and classes with dots, "TestLogin.test_ok"; "" at module level.
        in_string: whether the place is inside an f-string's braces.
        passed_on: whether the value, not called there, is handed to a call, kept, returned or put into a display:
            `subscribe(self.changed)`, `handlers = {"changed": self.changed}`.
        called_later: what it will be called with, as far as that is said where it is handed to what takes only what can
            be called: of `partial(self.changed, 1)` the 1, of `Thread(target=self.run)` nothing; else None.
    """

    path: str
    attribute: str
    name: Span
    position: Position
    receiver: Span | None
    expression: Span
    use: Use
    awaited: bool = False
    arguments: tuple[Argument, ...] | None = None
    call: Span | None = None
    guard: Guard | None = None
    scope: str = ""
    in_string: bool = False
    passed_on: bool = False
    called_later: tuple[Argument, ...] | None = None

    @property
    def is_called(self) -> bool:
        """Whether it is called right there."""
        return self.use in (Use.CALL, Use.DECORATOR)

    @property
    def needs_callable(self) -> bool:
        """Whether it is called, there or later."""
        return self.is_called or self.called_later is not None
