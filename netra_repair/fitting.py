"""Whether a member can stand where another one is missing: its kind, whether it is awaited, its arguments."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from netra_repair.arguments import bind
from netra_repair.causes import RootCause, Site
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind
from netra_repair.edits import Edit
from netra_repair.layout import Layout
from netra_repair.owners import Access, Member, MemberKind, Owner
from netra_repair.references import Reference, Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.syntax import Syntax
from netra_repair.value_uses import calls_of, uses_value

_ATTRIBUTES = (CauseKind.MISSING_ATTRIBUTE, CauseKind.MISSING_IMPORT)
_METHODS = (MemberKind.INSTANCE_METHOD, MemberKind.CLASS_METHOD, MemberKind.STATIC_METHOD, MemberKind.FUNCTION)
# The name that an import gives to what it imports; what may stand between the words.
_BETWEEN = r"(?:[ \t\f]|\\\r?\n|#[^\r\n]*|[\r\n])*"
_ALIAS = re.compile(rf"{_BETWEEN}\bas\b{_BETWEEN}(\w+)")


@dataclass(frozen=True, slots=True)
class Fit:
    """A replacement that can stand at a site.

    Attributes:
        edits: the name, and keywords of arguments.
        note: what the proof does not reach; "" when it reaches everything.
    """

    edits: tuple[Edit, ...]
    note: str = ""


class Fitter:
    """Fits replacements to the sites of one cause.

    Args:
        cause: whose sites.
        definitions: tells what classes and modules have.
    """

    def __init__(self, cause: RootCause, definitions: Definitions) -> None:
        self._cause = cause
        self._definitions = definitions
        self._known: dict[Owner, Mapping[str, Member]] = {}
        self._renamed = dict(cause.past.renamed_parameters)

    @property
    def names(self) -> Collection[str]:
        """What could stand at the sites: the owner's attributes; for call kinds the callable's parameters."""
        if self._cause.kind in _ATTRIBUTES:
            return self._members(self._cause.owner).keys()
        member = self._callable()
        return [each.name for each in member.signature.parameters] if member and member.signature else []

    def fit(self, site: Site, syntax: Syntax, name: str) -> Fit | Refusal:
        """Fits a replacement to a site.

        Args:
            site: a proven one that may be changed.
            syntax: its file.
            name: the attribute to put there, or for call kinds the parameter.

        Returns:
            The edits, or why it cannot stand there.
        """
        if self._cause.kind not in _ATTRIBUTES:
            return self._call(site, name)
        owner = site.receiver or self._cause.owner
        member = self._members(owner).get(name)
        if member is None:
            return Refusal(Reason.NO_CANDIDATE, f"{owner.name} has no `{name}`")
        if site.reference.use is Use.IMPORT:
            return self._import(site, syntax, member)
        if site.reference.use is Use.STRING:
            return self._string(site, syntax, name)
        of_instances = member.kind in (MemberKind.INSTANCE_METHOD, MemberKind.PROPERTY) or member.instance_only
        if site.access is Access.CLASS and of_instances:
            return Refusal(
                Reason.KIND_MISMATCH, f"`{name}` is a {member.kind} of instances, and the class is asked for it"
            )
        if site.reference.arguments is None:
            return self._uncalled(site, syntax, member)
        arguments = self._arguments(site.reference, member, self._renamed)
        return arguments if isinstance(arguments, Refusal) else Fit((Edit(site.reference.name, name), *arguments))

    def _uncalled(self, site: Site, syntax: Syntax, member: Member) -> Fit | Refusal:
        """For what is passed on, kept or read: nobody tests a method, or adds something to it."""
        source, name = syntax.source, site.reference.name
        if member.kind not in _METHODS:
            return Fit((Edit(name, member.name),))
        if uses_value(Layout(source), source.index_of_offset(name.end)):
            return Refusal(
                Reason.KIND_MISMATCH, f"`{member.name}` is a {member.kind}; here something is read and used, not called"
            )
        return Fit((Edit(name, member.name),), "not called here, so its arguments are not checked")

    def _call(self, site: Site, parameter: str) -> Fit | Refusal:
        """For call kinds: the callee stays, its arguments get the names that it knows."""
        member = self._callable()
        if member is None:
            return Refusal(Reason.NO_CANDIDATE, f"the definition of {self._cause.attribute} was not found")
        renamed = self._renamed | ({self._cause.parameter: parameter} if self._cause.parameter else {})
        edits = self._arguments(site.reference, member, renamed)
        if isinstance(edits, Refusal):
            return edits
        return Fit(edits) if edits else Refusal(Reason.NO_CANDIDATE, f"the call fits {member.signature} as it is")

    def _callable(self) -> Member | None:
        candidates = self._cause.ranking.candidates
        return candidates[0].member if candidates else self._members(self._cause.owner).get(self._cause.attribute)

    def _import(self, site: Site, syntax: Syntax, member: Member) -> Fit | Refusal:
        """For `from m import old`: the bound name stays, so that nothing else in the file has to change."""
        source, reference = syntax.source, site.reference
        alias = _ALIAS.match(source.text, source.index_of_offset(reference.name.end))
        called = calls_of(Layout(source), alias[1] if alias else reference.attribute)
        for call in filter(None, map(syntax.call_covering, called)):
            edits = self._arguments(call, member, self._renamed)
            if isinstance(edits, Refusal):
                return Refusal(edits.reason, f"called in line {call.position.line}: {edits.detail}")
            if edits:
                detail = f"the call in line {call.position.line} needs keywords: {member.signature}"
                return Refusal(Reason.NEEDS_INPUT, detail)
        return Fit((Edit(reference.name, member.name if alias else f"{member.name} as {reference.attribute}"),))

    def _string(self, site: Site, syntax: Syntax, name: str) -> Fit | Refusal:
        """For `patch("pkg.ctx.Ctx.old")`: only a whole dotted path says by itself whose attribute it means."""
        dotted = syntax.imported_as(site.reference) if site.reference.receiver is None else None
        meant = self._definitions.named(dotted) if dotted else None
        if meant is None or meant not in (site.receiver, self._cause.owner):
            return Refusal(Reason.STRING, "the name stands in a text that is no path to the class: change it by hand")
        return Fit((Edit(site.reference.name, name),))

    def _arguments(
        self, reference: Reference, member: Member, renamed: Mapping[str, str]
    ) -> tuple[Edit, ...] | Refusal:
        """The edits of arguments that a call needs when a member is called, or why it does not fit."""
        if member.signature is None:
            why = member.note or f"it is a {member.kind}"
            return Refusal(Reason.KIND_MISMATCH, f"what a call of `{member.name}` takes cannot be told: {why}")
        if reference.awaited != member.is_async:
            here, there = ("is", "gives nothing to await") if reference.awaited else ("is not", "has to be awaited")
            return Refusal(Reason.ASYNC_MISMATCH, f"the call {here} awaited, and `{member.name}` {there}")
        bound = bind(reference.arguments or (), member.signature, renamed=renamed, before=self._cause.past.signature)
        return bound if isinstance(bound, Refusal) else bound.edits

    def _members(self, owner: Owner) -> Mapping[str, Member]:
        if owner not in self._known:
            self._known[owner] = self._definitions.members(owner)
        return self._known[owner]
