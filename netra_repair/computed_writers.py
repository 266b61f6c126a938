"""Places that set attributes whose names only the running program knows, and the classes and modules they concern.

`setattr(C, name, …)`, `vars(thing)[name] = …`, `thing.__dict__.update(…)`; also through a function that does so with
what it is given: `add_methods(C)`, `@add_methods`, `@onto(C)`. What a class sets on itself is in its outline.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from netra_repair.definitions import Definitions
from netra_repair.line_nodes import lines_of, nodes_on, span_of
from netra_repair.outline_reader import parsed
from netra_repair.owners import Access, Owner
from netra_repair.project import Project
from netra_repair.receivers import Receivers
from netra_repair.source import Source, Span, UnreadableSource, bytes_of
from netra_repair.spellings import Around, last_name, walked
from netra_repair.words import Words

# Files in which something may be set under a name that is no plain text there: `setattr(C, "name", …)` is none.
_MAYBE = re.compile(
    rb"\bsetattr\s*\((?![^,()'\"]*,\s*['\"]\w*['\"]\s*,)|\b__setattr__\b(?!\s*\((?:[^,()'\"]*,)?\s*['\"]\w*['\"]\s*,)"
    rb"|\b__dict__\s*(?:\[|\.)|\bvars\s*\("
)
_WORDS = (b"setattr", b"__dict__", b"vars")  # each of them has one of these, which are found in a tenth of the time

_UNUSABLE = (UnreadableSource, SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class _Writer:
    """One place.

    Attributes:
        path: the file.
        line: from 1.
        spelling: a regular expression of the names that it may set.
        target: what they are set on: an expression, or the line of a decorated class.
    """

    path: str
    line: int
    spelling: str
    target: Span | int


@dataclass(frozen=True, slots=True)
class _Found:
    """What the files say without any types.

    Attributes:
        writers: those with a target of their own, by file.
        helpers: by the name of a function that sets attributes on what it is given, the spellings.
    """

    writers: Mapping[str, Sequence[_Writer]]
    helpers: Mapping[str, tuple[str, ...]]


class ComputedWriters:
    """Finds the places of a project, and asks what they concern.

    Args:
        project: whose sources.
        definitions: knows the MROs.
        receivers: tells what an expression is.
        words: which files have a word.
    """

    def __init__(self, project: Project, definitions: Definitions, receivers: Receivers, words: Words) -> None:
        self._project = project
        self._definitions = definitions
        self._receivers = receivers
        self._words = words
        self._through: dict[str, list[_Writer]] = {}
        self._owners: dict[_Writer, tuple[tuple[Owner, Access], ...]] = {}

    def on(self, owner: Owner, access: Access | None, attribute: str) -> str | None:
        """A place that may set an attribute on an owner, or on a class that it inherits from.

        Args:
            owner: a class or module of the project.
            access: how the attribute is looked up: what is set on instances says nothing of the class.
            attribute: its name.

        Returns:
            File and line, "pkg/late.py:7"; None when there is none.
        """
        above = [each for each in self._definitions.mro(owner) if each.is_inside]
        for name in dict.fromkeys(each.short_name for each in above):
            for writer in self._mentioning(name):
                if re.fullmatch(writer.spelling, attribute) and self._concerns(writer, above, access):
                    return f"{writer.path}:{writer.line}"
        return None

    def forget(self) -> None:
        """Takes notice that files have been written: they are read again when they are needed."""
        for kept in ("_found", "_holding"):
            self.__dict__.pop(kept, None)
        self._through.clear()
        self._owners.clear()

    def prepare(self) -> None:
        """Looks for the places now, and not when the first owner is asked about."""
        _ = self._holding

    def look_closer(self) -> None:
        """Looks for what calls the functions that do so, or is decorated by them: most owners need most of it."""
        for path in self._holding:
            self._called_in(path)

    def _concerns(self, writer: _Writer, above: Collection[Owner], access: Access | None) -> bool:
        if writer not in self._owners:
            self._owners[writer] = self._owners_of(writer)
        owners = self._owners[writer]
        return any(each in above and not (access is Access.CLASS and on is Access.INSTANCE) for each, on in owners)

    def _owners_of(self, writer: _Writer) -> tuple[tuple[Owner, Access], ...]:
        if isinstance(writer.target, int):
            decorated = self._definitions.class_at(self._project.root / writer.path, writer.target)
            return ((decorated, Access.CLASS),) if decorated is not None else ()
        return self._receivers.of(Source.read(self._project.root, writer.path), writer.target).owners

    def _mentioning(self, name: str) -> Iterator[_Writer]:
        """The writers in files that name a class; those of other files have it from a file that does."""
        for path in self._words.files(name):
            if path in self._holding:
                yield from self._found.writers.get(path, ())
                yield from self._called_in(path)

    def _called_in(self, path: str) -> Sequence[_Writer]:
        if path not in self._through:
            self._through[path] = list(_through(self._project, path, self._found.helpers))
        return self._through[path]

    @cached_property
    def _holding(self) -> frozenset[str]:
        """The files that may have writers."""
        calling = _calling(self._found.helpers)
        files = self._words.files(*self._found.helpers)
        through = (path for path in files if calling.search(bytes_of(self._project.root / path)))
        return frozenset([*self._found.writers, *through])

    @cached_property
    def _found(self) -> _Found:
        writers: defaultdict[str, list[_Writer]] = defaultdict(list)
        helpers: dict[str, set[str]] = defaultdict(set)
        calls: list[tuple[str, str]] = []  # a function, and one to which it hands on what it is given
        for path in self._project.sources:
            data = bytes_of(self._project.root / path)
            if not any(word in data for word in _WORDS) or _MAYBE.search(data) is None:
                continue
            source, nodes = _nodes(self._project, path)
            for node, around in nodes:
                for target, key, value in _written(node):
                    function = around.given.get(target.id) if isinstance(target, ast.Name) else None
                    spelling = around.spelling(key, value)
                    if function and not around.outer.endswith("__"):
                        helpers[around.outer].add(spelling)
                    if function != "":
                        writers[path].append(_Writer(path, target.lineno, spelling, span_of(source, target)))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    handed = [each for each in _arguments(node) if isinstance(each, ast.Name)]
                    if any(around.given.get(each.id) for each in handed):
                        calls.append((around.outer, node.func.id))
        changed = True
        while changed:
            known = {function: helpers[called] - helpers[function] for function, called in calls if called in helpers}
            changed = any(known.values())
            for function, spellings in known.items():
                helpers[function] |= spellings
        return _Found(dict(writers), {name: tuple(sorted(each)) for name, each in helpers.items()})


def _through(project: Project, path: str, helpers: Mapping[str, tuple[str, ...]]) -> Iterator[_Writer]:
    """The calls of helpers, and the classes that they decorate."""
    if not helpers:
        return
    try:
        source = Source.read(project.root, path)
        lines = lines_of(source.data, _calling(helpers))
        tree = parsed(source.text) if lines else ast.Module([], [])
    except _UNUSABLE:
        return
    for node in nodes_on(tree, lines):
        if isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                for spelling in helpers.get(last_name(called), ()):
                    yield _Writer(path, decorator.lineno, spelling, node.lineno)
        if isinstance(node, ast.Call):
            for spelling in helpers.get(last_name(node.func), ()):
                for argument in _arguments(node):
                    if isinstance(argument, ast.Attribute | ast.Name):
                        yield _Writer(path, node.lineno, spelling, span_of(source, argument))


def _calling(names: Iterable[str]) -> re.Pattern[bytes]:
    """Where one of some functions may be called, or decorates."""
    words = b"|".join(re.escape(name.encode()) for name in sorted(names))
    return re.compile(rb"@[ \t]*(?:\w+\.)*(?:" + words + rb")\b|\b(?:" + words + rb")[ \t]*\(")


def _nodes(project: Project, path: str) -> tuple[Source, Iterator[tuple[ast.AST, Around]]]:
    """A file's nodes, none when it cannot be read; each with what names mean there."""
    try:
        source = Source.read(project.root, path)
        return source, walked(parsed(source.text))
    except _UNUSABLE:
        return Source(path, b"", "utf-8", ""), iter(())


def _written(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None, ast.expr | None]]:
    """What a node sets an attribute on, the expression of the attribute's name, None for any, and that of its value."""
    match node:
        case ast.Call(func=ast.Name(id="setattr") | ast.Attribute(value=ast.Name(id="builtins"), attr="setattr")):
            if len(node.args) == 3 and not isinstance(node.args[1], ast.Constant):
                yield node.args[0], node.args[1], node.args[2]
        case ast.Call(func=ast.Attribute(attr="__setattr__"), args=[target, key, value]):
            if not isinstance(key, ast.Constant):
                yield target, key, value
        case ast.Subscript(value=held, slice=key, ctx=ast.Store()):
            yield from ((target, key, None) for target in _with_attributes(held))
        case ast.Call(func=ast.Attribute(value=held, attr="update" | "setdefault"), args=args, keywords=keywords):
            names = [] if args else [ast.Constant(keyword.arg) for keyword in keywords if keyword.arg is not None]
            keys = names if names and len(names) == len(keywords) else [None]
            yield from ((target, key, None) for target in _with_attributes(held) for key in keys)


def _with_attributes(held: ast.expr) -> Iterator[ast.expr]:
    """The object whose attributes a mapping holds."""
    match held:
        case ast.Attribute(value=target, attr="__dict__") | ast.Call(func=ast.Name(id="vars"), args=[target]):
            yield target


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]
