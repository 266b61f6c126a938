"""Which classes of the project inherit from a class: a mixin may use what only they have."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from netra_repair.definitions import Definitions
from netra_repair.owners import Owner, OwnerKind
from netra_repair.project import Project

# A class statement with bases, at any depth. The bases may stand on several lines; keywords (`metaclass=…`) do no harm.
_CLASS = re.compile(rb"^[ \t]*class[ \t]+(\w+)[ \t]*(?:\[[^\]]*\])?[ \t]*\(([^)]*)\)", re.MULTILINE)
_NAME = re.compile(rb"\w+")


@dataclass(frozen=True, slots=True)
class _Statement:
    path: str
    line: int
    name: bytes


class Subclasses:
    """Finds subclasses by the names of bases in the text, then proves them by the MRO.

    Args:
        project: whose classes.
        definitions: knows the MROs.
    """

    def __init__(self, project: Project, definitions: Definitions) -> None:
        self._project = project
        self._definitions = definitions

    def having(self, owner: Owner, attribute: str) -> Owner | None:
        """A subclass that has what its base has not.

        Args:
            owner: the base.
            attribute: what the base has not.

        Returns:
            The first such class, in order of path; None when there is none, or the owner is a module.
        """
        if owner.kind is not OwnerKind.CLASS:
            return None
        return next((found for found in self._of(owner) if attribute in self._definitions.members(found)), None)

    def _of(self, owner: Owner) -> Iterator[Owner]:
        names, seen = [owner.short_name.encode()], {owner.short_name.encode()}
        while names:
            for statement in self._by_base.get(names.pop(), ()):
                if statement.name not in seen:
                    seen.add(statement.name)
                    names.append(statement.name)
                found = self._definitions.class_at(self._project.root / statement.path, statement.line)
                if found is not None and found != owner and owner in self._definitions.mro(found):
                    yield found

    @cached_property
    def _by_base(self) -> dict[bytes, list[_Statement]]:
        by_base: dict[bytes, list[_Statement]] = defaultdict(list)
        for path in self._project.sources:
            data = (self._project.root / path).read_bytes()
            for match in _CLASS.finditer(data):
                line = data.count(b"\n", 0, match.start(1)) + 1
                for base in set(_NAME.findall(match[2])):
                    by_base[base].append(_Statement(path, line, match[1]))
        return by_base
