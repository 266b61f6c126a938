"""The class statements of a project, found in its text: by name, and by the names of their bases."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from netra_repair.definitions import Definitions
from netra_repair.owners import Member, Owner, OwnerKind
from netra_repair.project import Project
from netra_repair.source import bytes_of
from netra_repair.words import Words

# A class statement. Its bases may stand on several lines, with comments, and may be called.
_CLASS = re.compile(
    rb"class[ \t]+([\w\x80-\xff]+)[ \t]*(?:\[[^\]]*\])?[ \t]*(?:\(((?:[^()#]|#[^\n]*\n|\([^()]*\))*)\)|:)"
)
# The names of bases: the last one of `pkg.Base`; no keyword, and not the `metaclass` that it passes.
_BASE = re.compile(rb"(?<![\w\x80-\xff=])(?<!= )[\w\x80-\xff]+(?![\w\x80-\xff]|[ \t]*[.=])")
# What may be a class without a statement: `Point = namedtuple(…)`; and what stands before it on its line.
_MADE = re.compile(
    rb"=[ \t]*(?:\w+\.)*"
    rb"(?:namedtuple|NamedTuple|TypedDict|NewType|type|new_class|make_class|make_dataclass|create_model|\w*Enum|\w*Flag)\("
)
_BEFORE = re.compile(rb"[ \t]*([\w\x80-\xff]+)[ \t]*")


# One base, and nothing else: what such a class has, it has from there or from its own file.
_ONE_BASE = re.compile(rb"\s*[\w.\x80-\xff]+\s*,?\s*")


@dataclass(frozen=True, slots=True)
class _Statement:
    path: str
    line: int
    name: str
    has_one_base: bool


class ClassStatements:
    """Finds classes by their names in the text, then proves what they inherit by the MRO.

    Args:
        project: whose classes.
        definitions: knows the MROs.
        words: knows which files have a name at all.
    """

    def __init__(self, project: Project, definitions: Definitions, words: Words) -> None:
        self._project = project
        self._definitions = definitions
        self._words = words
        self._inheriting: dict[Owner, list[_Statement]] = {}

    def prepare(self) -> None:
        """Looks for the class statements now, and not when the first one is asked for."""
        _ = self._index

    def has(self, name: str) -> bool:
        """Whether there is a class statement of a bare name."""
        by_name, _, _ = self._index
        return name in by_name

    def named(self, name: str) -> list[Owner] | None:
        """The classes of a bare name.

        Args:
            name: without module.

        Returns:
            All of them, each once, also where a stub has it, too; None when a class of the name may be made without a
            class statement.
        """
        by_name, _, made = self._index
        if name in made and name not in by_name:
            return None
        found = (self._owner(statement) for statement in by_name.get(name, ()))
        return list(dict.fromkeys(owner for owner in found if owner is not None))

    def method_named(self, qualified_name: str) -> Member | None:
        """Finds a method by the little that an exception's text says of it.

        Args:
            qualified_name: as Python's `__qualname__`, "Base.from_request".

        Returns:
            The method; None when there are several of the name, or it is none of a class of the project.
        """
        holder, _, name = qualified_name.rpartition(".")
        owners = [each for each in self.named(holder.rpartition(".")[2]) or () if each.name.endswith(f".{holder}")]
        found = [member for owner in owners if (member := self._definitions.members(owner).get(name)) is not None]
        return found[0] if len(found) == 1 else None

    def inheriting(self, owner: Owner, attribute: str) -> Owner | None:
        """A class that inherits from a class and has what that one has not: a mixin may count on it.

        Args:
            owner: the base.
            attribute: what the base has not.

        Returns:
            The first such class, in order of path; None when there is none, or the owner is a module.
        """
        found = self._heirs(owner, attribute)
        return next((heir for heir in found if attribute in self._definitions.members(heir)), None)

    def overriding(self, owner: Owner, name: str) -> list[Member]:
        """What the classes that inherit from a class define themselves under a name.

        Args:
            owner: the base.
            name: of a member.

        Returns:
            In order of path; nothing for a module.
        """
        found = ((heir, self._definitions.members(heir).get(name)) for heir in self._heirs(owner, name))
        return [member for heir, member in found if member is not None and member.owner == heir]

    def _heirs(self, owner: Owner, attribute: str) -> Iterator[Owner]:
        """The classes that inherit from a class, but for those whose file has no such word: they add nothing of it."""
        if owner.kind is not OwnerKind.CLASS:
            return
        if owner not in self._inheriting:
            self._inheriting[owner] = list(self._below(owner.short_name))
        files = frozenset(self._words.files(attribute))
        for statement in self._inheriting[owner]:
            if statement.has_one_base and statement.path not in files and attribute.isascii():
                continue
            found = self._owner(statement)
            if found is not None and found != owner and owner in self._definitions.mro(found):
                yield found

    def _below(self, name: str) -> Iterator[_Statement]:
        """The statements of classes that may inherit from one of a name."""
        _, by_base, _ = self._index
        names, seen = [name], {name}
        while names:
            for statement in by_base.get(names.pop(), ()):
                if statement.name not in seen:
                    seen.add(statement.name)
                    names.append(statement.name)
                yield statement

    def _owner(self, statement: _Statement) -> Owner | None:
        return self._definitions.class_at(self._project.root / statement.path, statement.line)

    @cached_property
    def _index(self) -> tuple[dict[str, list[_Statement]], dict[str, list[_Statement]], frozenset[str]]:
        """Statements by name, statements by the names of their bases, and names of classes made without."""
        by_name: dict[str, list[_Statement]] = defaultdict(list)
        by_base: dict[str, list[_Statement]] = defaultdict(list)
        made: set[bytes] = set()
        for path in self._project.sources:
            data = bytes_of(self._project.root / path)
            made.update(_made_in(data))
            for match in _statements_in(data):
                name = _decoded(match[1])
                line = data.count(b"\n", 0, match.start(1)) + 1
                statement = _Statement(path, line, name, _ONE_BASE.fullmatch(match[2] or b"") is not None)
                by_name[name].append(statement)
                for base in set(_BASE.findall(match[2] or b"")):
                    by_base[_decoded(base)].append(statement)
        return by_name, by_base, frozenset(map(_decoded, made))


def _statements_in(data: bytes) -> Iterator[re.Match[bytes]]:
    """The class statements of a text, at any depth: found by their keyword, a fifth of the time of `^[ \\t]*class`."""
    at = data.find(b"class")
    while at >= 0:
        line = data.rfind(b"\n", 0, at) + 1
        match = _CLASS.match(data, at) if not data[line:at].strip(b" \t") else None
        if match is not None:
            yield match
        at = data.find(b"class", match.end() if match is not None else at + 1)


def _made_in(data: bytes) -> Iterator[bytes]:
    """The names of what may be classes without a statement."""
    for match in _MADE.finditer(data):
        before = _BEFORE.fullmatch(data, data.rfind(b"\n", 0, match.start()) + 1, match.start())
        if before is not None:
            yield before[1]


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "replace")
