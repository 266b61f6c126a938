"""What Pyrefly's messages mean: its names, texts and positions in our words."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from dataclasses import dataclass

from netra_repair.diagnostics import CauseKind, Diagnostic
from netra_repair.source import Position, Source, Span

_PATCH_TARGET = "missing-attribute-patch-target"
_MODULE_ATTRIBUTE = "missing-module-attribute"

_IN_FUNCTION = r"(?: in function `(?P<callee>[^`]+)`)?$"
_NO_ATTRIBUTE = (
    r"^(?:Class|Object of (?:class|type)) `.+` has no (?:class )?attribute `(?P<name>[^`]+)`(?: \(.*\))?$",
    r"^No attribute `(?P<name>[^`]+)` in module `(?P<module>[^`]+)`$",
)
# What the first line of each kind's message says. A message in another form is about something else: an attribute that
# is there but not on the class, the overloads of a function.
_FORMS: tuple[tuple[str, re.Pattern[str], CauseKind], ...] = tuple(
    (name, re.compile(form), kind)
    for name, form, kind in (
        *(("missing-attribute", form, CauseKind.MISSING_ATTRIBUTE) for form in _NO_ATTRIBUTE),
        *((_PATCH_TARGET, form, CauseKind.MISSING_ATTRIBUTE) for form in _NO_ATTRIBUTE),
        (
            _MODULE_ATTRIBUTE,
            r"^Could not import `(?P<name>[^`]+)` from `(?P<module>[^`]+)`$",
            CauseKind.MISSING_IMPORT,
        ),
        (
            "unexpected-keyword",
            r"^Unexpected keyword argument `(?P<name>[^`]+)`" + _IN_FUNCTION,
            CauseKind.UNEXPECTED_KEYWORD,
        ),
        ("missing-argument", r"^Missing argument `(?P<name>[^`]+)`" + _IN_FUNCTION, CauseKind.MISSING_ARGUMENT),
        (
            "bad-argument-count",
            r"^Missing positional arguments? `(?P<name>[^`]+)`(?:, `[^`]+`)*" + _IN_FUNCTION,
            CauseKind.MISSING_ARGUMENT,
        ),
        ("bad-argument-count", r"^Expected \d+ more positional arguments?" + _IN_FUNCTION, CauseKind.MISSING_ARGUMENT),
        (
            "bad-argument-count",
            r"^Expected \d+ positional arguments?, got \d+" + _IN_FUNCTION,
            CauseKind.POSITIONAL_COUNT,
        ),
        (
            "unexpected-positional-argument",
            r"^Expected argument `[^`]+` to be passed by name" + _IN_FUNCTION,
            CauseKind.POSITIONAL_COUNT,
        ),
    )
)
KINDS = tuple(dict.fromkeys(name for name, _, _ in _FORMS))

# The text of a plain string literal that is a dotted name.
_DOTTED = re.compile(r"""[rRuU]?(?P<quote>'{3}|"{3}|'|")(?P<dotted>\w+(?:\.\w+)*)(?P=quote)""")


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the engine's answer.

    Attributes:
        name: of the kind of diagnostic.
        path: the file, relative to the project's root.
        start: of what the engine marks.
        end: just after it.
        text: the first line of the description.
    """

    name: str
    path: str
    start: Position
    end: Position
    text: str

    @property
    def module(self) -> str | None:
        """The module that is said to lack something, else None."""
        form = self._form()
        return form[0].groupdict().get("module") if form is not None else None

    def diagnostic(self, checker: str, module: str, read: Callable[[], Source | None]) -> Diagnostic | None:
        """Translates the message.

        Args:
            checker: who says it.
            module: the dotted name of the file's module.
            read: gives the file's text, None when it cannot be read any more.

        Returns:
            The diagnostic; None when the message is about something else.
        """
        form = self._form()
        if form is None:
            return None
        match, kind = form
        groups = match.groupdict()
        name, callee = groups.get("name") or "", groups.get("callee")
        return Diagnostic(
            kind,
            self.path,
            self.start,
            self._end(name, read),
            name,
            callee and _qualified(callee, module, read),
            self.name == _PATCH_TARGET,
            self.text,
            checker,
        )

    def _form(self) -> tuple[re.Match[str], CauseKind] | None:
        matches = ((form.search(self.text), kind) for name, form, kind in _FORMS if name == self.name)
        return next(((match, kind) for match, kind in matches if match is not None), None)

    def _end(self, name: str, read: Callable[[], Source | None]) -> Position:
        """Where the name ends, also where the engine marks more than that."""
        if self.name == _MODULE_ATTRIBUTE:  # marks `name as other`
            return Position(self.start.line, self.start.column + len(name))
        if self.name == _PATCH_TARGET and (source := read()) is not None:  # marks the string with its quotes
            return _end_in_target(source, self.start, self.end, name)
        return self.end


def _end_in_target(source: Source, start: Position, end: Position, name: str) -> Position:
    """Where the missing name ends in the string; the string's end when it is not one plain literal."""
    try:
        text = source.slice(Span(source.offset(start), source.offset(end)))
    except ValueError:
        return end  # changed meanwhile
    literal = _DOTTED.fullmatch(text)
    parts = literal["dotted"].split(".") if literal is not None else []
    if literal is None or name not in parts[1:]:
        return end
    length = len(".".join(parts[: parts.index(name, 1) + 1]))
    return Position(start.line, start.column + literal.start("dotted") + length)


def _qualified(said: str, module: str, read: Callable[[], Source | None]) -> str | None:
    """The callee with its module. The engine leaves out the module of the file itself and that of builtins."""
    first, _, rest = said.partition(".")
    source = read()
    if source is None:
        return None
    statement = "class" if rest else "(?:async[ \t]+)?def"
    indents = re.findall(rf"^([ \t\f]*){statement}[ \t]+{re.escape(first)}\b", source.text, re.MULTILINE)
    if indents == [""]:
        return f"{module}.{said}"
    if indents:
        return None  # nested, or defined more than once: the name does not tell which one
    if hasattr(builtins, first):
        return f"builtins.{said}"
    return said if rest else None
