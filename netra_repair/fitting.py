"""The edits that put a replacement at one site, when it fits: its kind, whether it is awaited, its arguments."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from netra_repair.arguments import Bound, bind
from netra_repair.candidates import Decision
from netra_repair.causes import RootCause, Site
from netra_repair.definitions import Definitions
from netra_repair.edits import Edit
from netra_repair.history import Past
from netra_repair.layout import Layout
from netra_repair.owners import Access, Member, MemberKind, Owner
from netra_repair.parameter_rank import as_written
from netra_repair.references import Argument, Star, Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.syntax import Syntax
from netra_repair.value_uses import calls_of, is_looked_for, is_recognized, uses_value

_METHODS = (MemberKind.INSTANCE_METHOD, MemberKind.CLASS_METHOD, MemberKind.STATIC_METHOD, MemberKind.FUNCTION)
# What a test may mean that expects a TypeError of a call.
_UNFIT = (Reason.TOO_MANY_ARGUMENTS, Reason.UNKNOWN_KEYWORD, Reason.NEEDS_INPUT)
# The name that an import gives to what it imports; what may stand between the words.
_BETWEEN = r"(?:[ \t\f]|\\\r?\n|#[^\r\n]*|[\r\n])*"
_ALIAS = re.compile(rf"{_BETWEEN}\bas\b{_BETWEEN}(\w+)")


OwnMembers = Mapping[Owner, Mapping[str, Member]]
"""What each of several receivers has: one may override a member of the others."""
NO_OWN_MEMBERS: OwnMembers = MappingProxyType({})

UNCALLED_KINDS = (MemberKind.PROPERTY, MemberKind.ATTRIBUTE)


def fit(site: Site, member: Member, past: Past | None = None) -> Bound | Refusal:
    """Whether a member can stand at a site: its kind, whether it is awaited, its arguments.

    Args:
        site: the place.
        member: what would stand there.
        past: what git says of the missing name: what its parameters meant.

    Returns:
        The binding, without parameters where nothing is called; or why it cannot stand there.
    """
    reference = site.reference
    of_instances = member.instance_only or member.kind in (MemberKind.INSTANCE_METHOD, MemberKind.PROPERTY)
    arguments = reference.arguments
    if site.access is Access.CLASS and of_instances:
        if member.kind is not MemberKind.INSTANCE_METHOD or not _passes_self(arguments or ()):
            return Refusal(Reason.KIND_MISMATCH, f"`{member.name}` is of instances, and the class is asked for it")
        arguments = (arguments or ())[1:]
    if reference.called_later is not None and member.kind not in UNCALLED_KINDS:
        return _begun(reference.called_later, member)
    if not reference.is_called:
        return Bound(())
    if hands_out(member, reference.attribute):
        return Bound(())  # what it gives is called, as before; what that takes, nobody has said before either
    if member.kind in UNCALLED_KINDS:
        return Refusal(Reason.KIND_MISMATCH, f"`{member.name}` is a {member.kind}, and it is called here")
    if arguments is None:
        return Bound(())
    if member.signature is None:
        return Refusal(Reason.KIND_MISMATCH, f"what `{member.name}` takes cannot be told: {member.note}")
    if reference.awaited is not member.is_async:
        return Refusal(Reason.ASYNC_MISMATCH, f"`{member.name}` is {'' if member.is_async else 'not '}to be awaited")
    renamed = dict(past.renamed_parameters) if past is not None else {}
    return bind(arguments, member.signature, renamed=renamed, before=past.signature if past is not None else None)


def _begun(arguments: Sequence[Argument], member: Member) -> Bound | Refusal:
    """Whether a call may begin with some arguments, of which others follow when it is made."""
    if member.signature is None:
        return Refusal(Reason.KIND_MISMATCH, f"what `{member.name}` takes cannot be told: {member.note}")
    optional = tuple(replace(parameter, required=False) for parameter in member.signature.parameters)
    bound = bind(arguments, replace(member.signature, parameters=optional))
    if isinstance(bound, Bound) and bound.edits:
        return Refusal(Reason.NEEDS_INPUT, f"what is handed on with it needs keywords: {member.signature}")
    return bound


def defined_for(site: Site, member: Member, own: OwnMembers) -> Member:
    """What a site gets when it asks for a member: its receiver may override it, as a coroutine even.

    Args:
        site: the place.
        member: as another receiver has it.
        own: what each receiver has.
    """
    return own.get(site.receiver, {}).get(member.name, member) if site.receiver is not None else member


def hands_out(member: Member, attribute: str) -> bool:
    """Whether a member is the property before the field of a name, and does nothing else: `_kind` for `kind`."""
    return member.kind is MemberKind.PROPERTY and member.gives.startswith("_") and member.gives.lstrip("_") == attribute


def _passes_self(arguments: Sequence[Argument]) -> bool:
    """Whether a call hands over the instance itself: `Base.method(self, 1)`."""
    first = next(iter(arguments), None)
    return first is not None and first.name == "self" and first.keyword is None and first.star is Star.NONE


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
        is_called: whether other places of the cause call it.
    """

    def __init__(self, cause: RootCause, definitions: Definitions, *, is_called: bool = False) -> None:
        self._cause = cause
        # Then it is a method also where it is only looked for.
        self._is_called = is_called or any(site.reference.needs_callable for site in cause.sites)
        self._definitions = definitions
        self._known: dict[Owner, Mapping[str, Member]] = {}

    @property
    def names(self) -> Collection[str]:
        """What could stand at the sites: what the owner or all receivers have; for call kinds the parameters."""
        if self._cause.kind.is_attribute:
            shared = (candidate.name for candidate in self._cause.ranking.candidates)
            return {*self._members(self._cause.owner), *shared}
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
        if not self._cause.kind.is_attribute:
            return self._call(site, name)
        found = self._asked(site, syntax, name, site.receiver or self._cause.owner)
        for other in site.others:
            if site.receiver not in self._definitions.mro(other) and found != self._asked(site, syntax, name, other):
                return Refusal(Reason.SOME_OF_A_UNION, f"{other.name} comes here too, and has no such `{name}`")
        return found

    def _asked(self, site: Site, syntax: Syntax, name: str, owner: Owner) -> Fit | Refusal:
        """For a class or module that is asked at a site."""
        member = self._members(owner).get(name)
        if member is None:
            return Refusal(Reason.NO_CANDIDATE, f"{owner.name} has no `{name}`")
        if site.reference.use is Use.IMPORT:
            return self._import(site, syntax, member)
        if site.reference.use is Use.STRING:
            return self._string(site, syntax, name)
        found = fit(site, member, self._cause.past)
        if isinstance(found, Refusal):
            is_certain = self._cause.ranking.decision is Decision.CHOSEN
            if is_certain and found.reason in _UNFIT and syntax.expects_misfit(site.reference):
                return Fit((Edit(site.reference.name, name),), "a test expects that its arguments do not fit")
            return found
        if site.reference.arguments is None:
            return self._uncalled(site, syntax, member)
        return Fit((Edit(site.reference.name, name), *found.edits))

    def _uncalled(self, site: Site, syntax: Syntax, member: Member) -> Fit | Refusal:
        """For what is passed on, kept or read: nobody tests a method, or adds something to it."""
        source, name = syntax.source, site.reference.name
        if member.kind not in _METHODS:
            return Fit((Edit(name, member.name),))
        layout, end = Layout(source), source.index_of_offset(name.end)
        is_method_there = self._is_called and (
            is_looked_for(layout, end) or (bool(site.tests) and is_recognized(layout, end))
        )
        if uses_value(layout, end) and not is_method_there:
            return Refusal(
                Reason.KIND_MISMATCH, f"`{member.name}` is a {member.kind}; here something is read and used, not called"
            )
        return Fit((Edit(name, member.name),), "not called here, so its arguments are not checked")

    def _call(self, site: Site, parameter: str) -> Fit | Refusal:
        """For call kinds: the callee stays, its arguments get the names that it knows."""
        member = self._callable()
        if member is None:
            return Refusal(Reason.NO_CANDIDATE, f"the definition of {self._cause.attribute} was not found")
        if member.signature is None:
            return Refusal(Reason.KIND_MISMATCH, f"what `{member.name}` takes cannot be told: {member.note}")
        past = self._cause.past
        renamed = dict(past.renamed_parameters) | ({self._cause.parameter: parameter} if self._cause.parameter else {})
        arguments = site.reference.arguments or ()
        before = past.signature
        if before is None and self._cause.ranking.decision is Decision.LIKELY:
            before = as_written(member.signature)
        bound = bind(arguments, member.signature, renamed=renamed, before=before)
        if isinstance(bound, Refusal):
            return bound
        if not bound.edits:
            return Refusal(Reason.NO_CANDIDATE, f"the call fits {member.signature} as it is")
        return Fit(bound.edits)

    def _callable(self) -> Member | None:
        candidates = self._cause.ranking.candidates
        return candidates[0].member if candidates else self._members(self._cause.owner).get(self._cause.attribute)

    def _import(self, site: Site, syntax: Syntax, member: Member) -> Fit | Refusal:
        """For `from m import old`: the bound name stays, so that nothing else in the file has to change."""
        source, reference = syntax.source, site.reference
        alias = _ALIAS.match(source.text, source.index_of_offset(reference.name.end))
        called = calls_of(Layout(source), alias[1] if alias else reference.attribute)
        for call in filter(None, map(syntax.call_covering, called)):
            found = fit(replace(site, reference=call), member, self._cause.past)
            if isinstance(found, Refusal):
                return Refusal(found.reason, f"called in line {call.position.line}: {found.detail}")
            if found.edits:
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

    def _members(self, owner: Owner) -> Mapping[str, Member]:
        if owner not in self._known:
            self._known[owner] = self._definitions.members(owner)
        return self._known[owner]
