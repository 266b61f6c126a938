"""Receivers: which class or module stands left of a dot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from netra_repair.definitions import Definitions
from netra_repair.inferred import (
    ClassType,
    FunctionType,
    InferredType,
    ModuleType,
    UnionType,
    UnknownType,
    VariableType,
)
from netra_repair.owners import Access, Member, Owner, OwnerKind
from netra_repair.project import Project
from netra_repair.references import Reference
from netra_repair.source import Source, Span, UnreadableSource
from netra_repair.surroundings import Surroundings
from netra_repair.syntax import Syntax
from netra_repair.type_server import NOTHING, TypeServer

_BLANK = b" \t\r\n\f"
_SUPER = re.compile(r"super\s*\([^()]*\)")
_MOCKS = ("unittest.mock.", "mock.")


@dataclass(frozen=True, slots=True)
class Receiver:
    """What stands left of a dot.

    Attributes:
        owners: one when it is known; several for a union, `None` among them as `NoneType`; none when it is not known.
        reason: why it is not known, for people; "" when it is.
    """

    owners: tuple[tuple[Owner, Access], ...]
    reason: str


class Receivers(Protocol):
    """Tells what stands left of a dot."""

    def of(self, source: Source, span: Span) -> Receiver:
        """Tells what an expression is.

        Args:
            source: the file, as it lies on disk.
            span: the expression left of the dot.

        Returns:
            Its owner or owners, or why they are not known.

        Raises:
            CheckerError: when the engine that is asked fails.
        """

    def ask_ahead(self, source: Source, spans: Iterable[Span]) -> None:
        """Lets an engine work on questions that will come, while other work is done.

        Args:
            source: the file, as it lies on disk.
            spans: the expressions left of dots, as for `of`.

        Raises:
            CheckerError: when the engine that is asked fails.
        """

    def callee(self, source: Source, span: Span) -> Member | None:
        """Tells what a call calls.

        Args:
            source: the file, as it lies on disk.
            span: what stands left of the call's parentheses.

        Returns:
            The function, or the constructor or `__call__` of a class; None when it cannot be told for sure.

        Raises:
            CheckerError: when the engine that is asked fails.
        """


class TypeServerReceivers:
    """Asks a type server, and finds what it names among the definitions.

    Args:
        project: the project.
        definitions: its classes and modules.
        server: is started with the first question, and is not ended here.
    """

    def __init__(self, project: Project, definitions: Definitions, server: TypeServer) -> None:
        self._project = project
        self._definitions = definitions
        self._server = server
        self._surroundings = lru_cache(maxsize=4)(Surroundings.of)

    def of(self, source: Source, span: Span) -> Receiver:
        """Tells what an expression is; see `Receivers.of`."""
        span, inferred = self._inferred(source, span)
        owners: dict[tuple[Owner, Access], None] = {}
        for part in self._resolved(inferred, source, span):
            found = self._owner(part)
            if isinstance(found, str):
                among = "one of several types is not known: " if isinstance(inferred, UnionType) else ""
                return Receiver((), among + found)
            owners[found] = None
        if _SUPER.fullmatch(source.slice(span)):
            # The server says that it is an instance, also where `super()` stands for the class.
            surroundings = self._surroundings(source, span.start)
            if surroundings is None:
                return Receiver((), "it is `super()` in a file that does not parse")
            access = Access.CLASS if surroundings.in_class_method(span.start) else Access.INSTANCE
            owners = {(owner, access): None for owner, _ in owners}
        return Receiver(tuple(owners), "")

    def ask_ahead(self, source: Source, spans: Iterable[Span]) -> None:
        """Lets the server work on questions that will come; see `Receivers.ask_ahead`."""
        self._server.ask_ahead(source, (_stripped(source, span) for span in spans))

    def callee(self, source: Source, span: Span) -> Member | None:
        """Tells what a call calls; see `Receivers.callee`."""
        _, inferred = self._inferred(source, span)
        if isinstance(inferred, FunctionType):
            return next((found for found in self._members(inferred) if self._is_at(found, inferred)), None)
        owner = self._owner(inferred) if isinstance(inferred, ClassType) else ""
        if isinstance(owner, str):
            return None
        members = self._definitions.members(owner[0])
        if owner[1] is not Access.CLASS:
            return members.get("__call__")
        made, initialized = members.get("__new__"), members.get("__init__")
        is_made = made is not None and made.owner.is_inside  # as NamedTuples are, whose `__init__` is that of `object`
        return made if is_made and (initialized is None or not initialized.owner.is_inside) else initialized

    def _inferred(self, source: Source, span: Span) -> tuple[Span, InferredType]:
        """The type of an expression, and where it stands without blanks and parentheses, as the server wants it."""
        while True:
            span = _stripped(source, span)
            inferred = self._server.type_of(source, span)
            text = source.data[span.start : span.end]
            if inferred != NOTHING or not (text.startswith(b"(") and text.endswith(b")")):
                return span, inferred
            span = Span(span.start + 1, span.end - 1)

    def _resolved(self, inferred: InferredType, source: Source, span: Span) -> Iterator[InferredType]:
        """The parts of a union, and what type variables stand for."""
        match inferred:
            case UnionType(parts):
                for part in parts:
                    yield from self._resolved(part, source, span)
            case VariableType():
                yield from self._bounds(inferred, source, span)
            case _:
                yield inferred

    def _bounds(self, variable: VariableType, source: Source, span: Span) -> Iterator[InferredType]:
        try:
            if variable.file is not None:
                source = Source.read(self._project.root, self._shown(variable.file))
        except UnreadableSource as error:
            yield UnknownType(error.reason)
            return
        surroundings = self._surroundings(source)
        bounds: tuple[Span, ...] = ()
        if surroundings is not None:
            bounds = (
                surroundings.bounds_of_parameter(variable.name, span.start)
                if variable.line is None
                else surroundings.bounds_of_statement(variable.name, variable.line)
            )
        if not bounds:
            yield UnknownType(f"the type variable {variable.name} has no bound")
        for bound in bounds:
            inferred = self._server.type_of(source, bound)
            for part in inferred.parts if isinstance(inferred, UnionType) else (inferred,):
                if isinstance(part, ClassType):
                    yield replace(part, is_class_object=variable.is_class_object)
                else:
                    yield UnknownType(f"the bound of the type variable {variable.name} is not a class")

    def _owner(self, inferred: InferredType) -> tuple[Owner, Access] | str:
        """The owner of one type; in words why there is none."""
        match inferred:
            case ClassType(name, file, line, is_class_object):
                owner = self._class(name, file, line)
                if owner is None:
                    readable = self._definitions.module_at(file) is not None
                    return f"`{name}` is " + (
                        "not made by a class statement" if readable else f"in {file}, not readable"
                    )
                if owner.name.startswith(_MOCKS):
                    return "it is a mock, which takes any attribute"
                return owner, Access.CLASS if is_class_object else Access.INSTANCE
            case ModuleType(name, file):
                owner = self._definitions.module_at(file) if file is not None else None
                owner = owner or self._definitions.named(name)
                return (owner, Access.MODULE) if owner is not None else f"the module `{name}` cannot be found"
            case FunctionType(name):
                return f"`{name}` is a function, and functions take any attribute"
            case UnknownType(reason):
                return reason
            case _:
                return "its type has no owner"

    def _class(self, name: str, file: Path, line: int | None) -> Owner | None:
        if line is not None:
            return self._definitions.class_at(file, line)
        module = self._definitions.module_at(file)
        return self._definitions.named(f"{module.name}.{name}") if module is not None else None

    def _members(self, function: FunctionType) -> Iterator[Member]:
        """Members that may be a function: of what it is bound to, of the classes around it, of its module."""
        holders: list[Owner | None] = []
        if function.bound_to is not None:
            bound = self._owner(function.bound_to)
            holders.append(None if isinstance(bound, str) else bound[0])
        holders += [*self._classes_around(function), self._definitions.module_at(function.file)]
        for holder in holders:
            member = self._definitions.members(holder).get(function.name) if holder is not None else None
            if member is not None:
                yield member

    def _classes_around(self, function: FunctionType) -> Iterator[Owner | None]:
        """The classes that a function may stand in, going up by indentation; only its own line proves it."""
        try:
            lines = Source.read(self._project.root, self._shown(function.file)).text.splitlines()[: function.line]
        except UnreadableSource:
            return
        indent = len(lines[-1]) - len(lines[-1].lstrip()) if lines else 0
        for number in range(len(lines) - 1, 0, -1):
            text = lines[number - 1]
            depth = len(text) - len(text.lstrip())
            if depth < indent and text.lstrip().startswith("class "):
                indent = depth
                yield self._definitions.class_at(function.file, number)

    def _is_at(self, member: Member, function: FunctionType) -> bool:
        return member.line == function.line and self._project.root / member.owner.file == function.file

    def _shown(self, file: Path) -> str:
        root = self._project.root
        return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


def _stripped(source: Source, span: Span) -> Span:
    """An expression without the blanks around it."""
    text = source.data[span.start : span.end]
    start = span.start + len(text) - len(text.lstrip(_BLANK))
    return Span(start, max(start, span.end - (len(text) - len(text.rstrip(_BLANK)))))


class ImportReceivers:
    """Follows imports only: for files that no engine can read, and for names that an import takes from a module.

    Args:
        project: the project.
        definitions: its classes and modules.
    """

    def __init__(self, project: Project, definitions: Definitions) -> None:
        self._project = project
        self._definitions = definitions

    def of(self, syntax: Syntax, reference: Reference) -> Receiver:
        """Tells what stands left of a reference's dot.

        Args:
            syntax: of the file.
            reference: a place in it.

        Returns:
            The class or module that the name was imported as, or why that is not known.
        """
        name = syntax.imported_as(reference)
        if name is None:
            return Receiver((), "it does not follow from imports")
        if name.partition(".")[0] in self._ambiguous(syntax.source.path):
            return Receiver((), f"`{name}` means another file in another folder")
        owner = self._definitions.named(name)
        if owner is None:
            return Receiver((), f"`{name}` cannot be found")
        return Receiver(((owner, Access.MODULE if owner.kind is OwnerKind.MODULE else Access.CLASS),), "")

    def _ambiguous(self, path: str) -> frozenset[str]:
        folders = [folder for folder, _ in self._project.ambiguous if Path(path).is_relative_to(folder)]
        return frozenset(name for folder, names in self._project.ambiguous if folder in folders for name in names)
