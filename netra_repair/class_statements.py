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

# A class statement at any depth. Its bases may stand on several lines, with comments, and may be called.
_CLASS = re.compile(
    rb"^[ \t]*class[ \t]+([\w\x80-\xff]+)[ \t]*(?:\[[^\]]*\])?[ \t]*"
    rb"(?:\(((?:[^()#]|#[^\n]*\n|\([^()]*\))*)\)|:)",
    re.MULTILINE,
)
# The names of bases: the last one of `pkg.Base`; no keyword, and not the `metaclass` that it passes.
_BASE = re.compile(rb"(?<![\w\x80-\xff=])(?<!= )[\w\x80-\xff]+(?![\w\x80-\xff]|[ \t]*[.=])")
# What may be a class without a statement: `Point = namedtuple(…)`.
_MADE = re.compile(
    rb"^[ \t]*([\w\x80-\xff]+)[ \t]*=[ \t]*(?:\w+\.)*"
    rb"(?:namedtuple|NamedTuple|TypedDict|NewType|type|new_class|make_class|make_dataclass|create_model|\w*Enum|\w*Flag)\(",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class _Statement:
    path: str
    line: int
    name: str


class ClassStatements:
    """Finds classes by their names in the text, then proves what they inherit by the MRO.

    Args:
        project: whose classes.
        definitions: knows the MROs.
    """

    def __init__(self, project: Project, definitions: Definitions) -> None:
        self._project = project
        self._definitions = definitions
        self._inheriting: dict[Owner, list[Owner]] = {}

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
            All of them; None when a class of the name may be made without a class statement.
        """
        by_name, _, made = self._index
        if name in made and name not in by_name:
            return None
        return [owner for statement in by_name.get(name, ()) if (owner := self._owner(statement)) is not None]

    def method_named(self, qualified_name: str) -> Member | None:
        """Finds a method by the little that an exception's text says of it.

        Args:
            qualified_name: as Python's `__qualname__`, "Base.from_request".

        Returns:
            The method; None when there are several of the name, or it is none of a class of the project.
        """
        holder, _, name = qualified_name.rpartition(".")
        owners = self.named(holder.rpartition(".")[2]) or []
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
        return next((found for found in self._heirs(owner) if attribute in self._definitions.members(found)), None)

    def overriding(self, owner: Owner, name: str) -> list[Member]:
        """What the classes that inherit from a class define themselves under a name.

        Args:
            owner: the base.
            name: of a member.

        Returns:
            In order of path; nothing for a module.
        """
        found = ((heir, self._definitions.members(heir).get(name)) for heir in self._heirs(owner))
        return [member for heir, member in found if member is not None and member.owner == heir]

    def _heirs(self, owner: Owner) -> list[Owner]:
        if owner.kind is not OwnerKind.CLASS:
            return []
        if owner not in self._inheriting:
            self._inheriting[owner] = list(self._below(owner))
        return self._inheriting[owner]

    def _below(self, owner: Owner) -> Iterator[Owner]:
        _, by_base, _ = self._index
        names, seen = [owner.short_name], {owner.short_name}
        while names:
            for statement in by_base.get(names.pop(), ()):
                if statement.name not in seen:
                    seen.add(statement.name)
                    names.append(statement.name)
                found = self._owner(statement)
                if found is not None and found != owner and owner in self._definitions.mro(found):
                    yield found

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
            made.update(_MADE.findall(data))
            for match in _CLASS.finditer(data):
                name = _decoded(match[1])
                statement = _Statement(path, data.count(b"\n", 0, match.start(1)) + 1, name)
                by_name[name].append(statement)
                for base in set(_BASE.findall(match[2] or b"")):
                    by_base[_decoded(base)].append(statement)
        return by_name, by_base, frozenset(map(_decoded, made))


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "replace")
