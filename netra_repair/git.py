"""What the project's git history says became of a name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from netra_repair.history import Past, Verdict
from netra_repair.owners import Owner, OwnerKind, Signature
from netra_repair.removals import Body, body_of, origin_of, renamed_parameters, successor
from netra_repair.repository import Changed, Repository
from netra_repair.source import Source, UnreadableSource

# How many renames after one another are followed.
_CHAIN = 5


@dataclass(frozen=True, slots=True)
class _Step:
    """A file before and after a change that may have removed the name.

    Attributes:
        commit: which one; None for what is not committed yet.
        before: the owner before it.
        after: the owner after it; an empty body when it was gone.
    """

    commit: str | None
    before: Body
    after: Body

    @property
    def told(self) -> str:
        """The commit for a sentence."""
        return "in the working tree" if self.commit is None else f"in {self.commit[:10]}"


class Git(Repository):
    """The repository, and what became of names in it."""

    def past(self, owner: Owner, attribute: str, present: Collection[str] = ()) -> Past:
        """Finds what became of an attribute.

        Args:
            owner: the class or module that should have it, as it is now.
            attribute: the missing name.
            present: what the owner has now: a rename to something that is gone too is followed further.

        Returns:
            What was found. Only a search of the whole history makes it say that the name never existed.
        """
        found = self._past(owner, attribute)
        seen = {attribute}
        while found.renamed_to is not None and present and found.renamed_to not in present and len(seen) < _CHAIN:
            seen.add(found.renamed_to)
            further = self._past(owner, found.renamed_to)
            if further.renamed_to is None or further.renamed_to in seen:
                return replace(
                    found, verdict=Verdict.REMOVED, renamed_to=None, detail=f"{found.detail}, which is gone too"
                )
            found = _joined(found, further)
        return found

    def past_parameter(self, owner: Owner, function: str, parameter: str, present: Collection[str] = ()) -> Past:
        """Finds what became of a parameter.

        Args:
            owner: the class or module that defines the function.
            function: its name; `__init__` for a class that is called.
            parameter: the missing parameter.
            present: the parameters that it has now.

        Returns:
            What was found; for a class without `__init__` that of the field of that name.
        """
        if (unknown := self._unknown(owner)) is not None:
            return unknown
        in_class = owner.kind is OwnerKind.CLASS
        pattern = rf"(^|[^A-Za-z0-9_]){re.escape(parameter)}([^A-Za-z0-9_]|$)"
        cut: list[str] = []
        for step in self._steps(owner, function, pattern, cut, everywhere=False):
            if function == "__init__" and function not in step.after.members and function not in step.before.members:
                return self.past(owner, parameter, present)
            before = step.before.signature(function, in_class=in_class)
            after = step.after.signature(function, in_class=in_class)
            if before is None or after is None or not _takes(before, parameter) or _takes(after, parameter):
                continue
            pairs = renamed_parameters(before, after)
            new = dict(pairs).get(parameter)
            if new is None or (present and new not in present):
                detail = f"`{function}` lost the parameter `{parameter}` {step.told}"
                return Past(Verdict.REMOVED, detail, _short(step), None, before, pairs)
            detail = f"the parameter `{parameter}` of `{function}` was renamed to `{new}` {step.told}"
            return Past(Verdict.RENAMED, detail, _short(step), new, before, pairs)
        return self._nothing(f"`{function}` never had a parameter `{parameter}`", cut)

    def _past(self, owner: Owner, attribute: str) -> Past:
        if (unknown := self._unknown(owner)) is not None:
            return unknown
        word = re.escape(attribute)
        cut: list[str] = []
        for pattern, everywhere in (
            (rf"(def|class)[[:space:]]+{word}([^A-Za-z0-9_]|$)", True),
            (rf"(^|[^A-Za-z0-9_.]){word}[[:space:]]*(:[^=]|=[^=])", False),
        ):
            for step in self._steps(owner, attribute, pattern, cut, everywhere=everywhere):
                if attribute in step.before.members and attribute not in step.after.members:
                    return self._removed(owner, attribute, step)
        return self._nothing(f"`{owner.short_name}` never had `{attribute}`", cut)

    def _removed(self, owner: Owner, attribute: str, step: _Step) -> Past:
        in_class = owner.kind is OwnerKind.CLASS
        signature = step.before.signature(attribute, in_class=in_class)
        beside = tuple(name for name in step.before.members if name != attribute and name in step.after.members)
        hunks = self.changed_lines(step.commit)
        found = successor(step.before, step.after, attribute, hunks)
        if found is None:
            detail = f"`{attribute}` was removed from `{owner.short_name}` {step.told}"
            return Past(Verdict.REMOVED, detail, _short(step), None, signature, (), beside)
        pairs = renamed_parameters(signature, step.after.signature(found.name, in_class=in_class))
        detail = f"`{attribute}` was removed from `{owner.short_name}` {step.told}: {found.evidence}"
        others = tuple(name for name in beside if name != found.name)
        return Past(Verdict.RENAMED, detail, _short(step), found.name, signature, pairs, others)

    def _steps(self, owner: Owner, member: str, pattern: str, cut: list[str], *, everywhere: bool) -> Iterator[_Step]:
        """The changes that may have removed the name, newest first; notes in `cut` a search that did not end."""
        head = body_of(self.source("HEAD", self.above(owner.file)), owner)
        if head is not None:
            yield _Step(None, head, body_of(self._working(owner), owner) or Body({}))
        seen: set[Changed] = set()
        for paths in ([owner.file], ["*.py", "*.pyi"]) if everywhere else ([owner.file],):
            search = self.search(pattern, paths, follow=paths == [owner.file])
            if not search.complete:
                cut.append(pattern)
            for change in search.changes:
                step = None if change in seen else self._step(change, owner, member)
                seen.add(change)
                if step is not None:
                    yield step

    def _step(self, change: Changed, owner: Owner, member: str) -> _Step | None:
        old = None if change.before is None else self.source(f"{change.commit}^", change.before)
        new = None if change.after is None else self.source(change.commit, change.after)
        before = body_of(old, owner) or origin_of(old, body_of(new, owner), member)
        if before is None or (change.after is None and owner.kind is OwnerKind.MODULE):
            return None
        # A class that left this file may stand in the owner's by now.
        after = body_of(new, owner) or body_of(self.source(change.commit, self.above(owner.file)), owner)
        return _Step(change.commit, before, after or Body({}))

    def _working(self, owner: Owner) -> Source | None:
        try:
            return Source.read(self.root, owner.file)
        except UnreadableSource:
            return None

    def _unknown(self, owner: Owner) -> Past | None:
        if owner.file.startswith(("/", "<")) or owner.file[1:2] == ":":
            return Past(Verdict.UNKNOWN, f"`{owner.name}` is not part of the project")
        if self.unavailable is not None:
            return Past(Verdict.UNKNOWN, self.unavailable)
        if owner.file not in self.tracked:
            return Past(Verdict.UNKNOWN, f"git does not know {owner.file}")
        return None

    def _nothing(self, never: str, cut: list[str]) -> Past:
        if self.shallow:
            return Past(Verdict.UNKNOWN, "a shallow clone: its history is cut off")
        if cut:
            return Past(Verdict.UNKNOWN, "the search of the history took too long")
        return Past(Verdict.NEVER_EXISTED, f"{never} in the project's git history")


def _takes(signature: Signature, name: str) -> bool:
    return any(parameter.name == name for parameter in signature.parameters)


def _short(step: _Step) -> str | None:
    return None if step.commit is None else step.commit[:10]


def _joined(first: Past, further: Past) -> Past:
    """Two renames after one another as one."""
    later = dict(further.renamed_parameters)
    pairs = tuple((old, later.get(new, new)) for old, new in first.renamed_parameters)
    return replace(
        first,
        detail=f"{first.detail}; {further.detail}",
        renamed_to=further.renamed_to,
        renamed_parameters=pairs or further.renamed_parameters,
        beside=further.beside,
    )
