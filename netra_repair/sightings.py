"""Sightings: single places where something is missing, as the checker or a failing test saw them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from netra_repair.arguments import bind, is_spread
from netra_repair.causes import Proof, Site
from netra_repair.class_statements import ClassStatements
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import Blind, CauseKind, Diagnostic
from netra_repair.failures import CaseResult, Raised, SuiteResult
from netra_repair.files import Files
from netra_repair.owners import Access, Member, MemberKind, Owner
from netra_repair.plan import RefusedSite
from netra_repair.receivers import ImportReceivers, Receiver, Receivers
from netra_repair.references import Guard, Reference, Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.source import Source, Span, UnparsableSource, UnreadableSource, UnusableSource
from netra_repair.syntax import Syntax
from netra_repair.triage import Triage

# Their receivers are names of modules and texts: what a file imports tells, not a type.
_BY_IMPORTS = (Use.IMPORT, Use.STRING)

# What guards nothing where a test failed all the same.
_NO_GUARDS_OF_FAILURES = (Guard.TRANSLATED, Guard.RAISES_OTHERS, Guard.EAGER, Guard.VERSION)

_MOVED = Refusal(Reason.NOT_PROVEN, "no attribute of the name stands there")


@dataclass(frozen=True, slots=True)
class Sighting:
    """One place where something is missing.

    Attributes:
        kind: what does not fit.
        attribute: the missing attribute; for call kinds the callable's name.
        parameter: for call kinds the keyword or parameter; else "".
        receiver: the class or module that was asked; for call kinds the one that defines the callable.
        access: what stands left of the dot; None for call kinds.
        reference: the place.
        proof: who says so.
        test: the test that died there; None for the checker's.
        refusal: why the place is never rewritten, else None.
        inherited: for a class that was made at run time, all that it inherits from and that the sources have, nearest
            first; `receiver` is one of them.
    """

    kind: CauseKind
    attribute: str
    parameter: str
    receiver: Owner
    access: Access | None
    reference: Reference
    proof: Proof
    test: str | None = None
    refusal: Refusal | None = None
    inherited: tuple[Owner, ...] = ()


@dataclass(frozen=True, slots=True)
class Sighted:
    """What was made of the checker's findings, or of the failing tests.

    Attributes:
        sightings: the places whose owner is known.
        set_aside: places that are no cause, with reasons.
        blind: files that could be read by the checker, but not parsed here.
    """

    sightings: tuple[Sighting, ...] = ()
    set_aside: tuple[RefusedSite, ...] = ()
    blind: tuple[Blind, ...] = ()


class Sighter:
    """Turns what checkers and tests say into sightings.

    Args:
        files: of the project.
        receivers: tells what stands left of a dot.
        imports: tells it where no engine can, by following imports.
        definitions: tells what classes and modules have.
        classes: finds classes by their names.
        triage: rules findings out that need no closer look.
    """

    def __init__(
        self,
        files: Files,
        receivers: Receivers,
        imports: ImportReceivers,
        definitions: Definitions,
        classes: ClassStatements,
        triage: Triage,
    ) -> None:
        self._files = files
        self._receivers = receivers
        self._imports = imports
        self._definitions = definitions
        self._classes = classes
        self._triage = triage

    def of_checker(
        self,
        diagnostics: Iterable[Diagnostic],
        seen: Callable[[str], None] = lambda _: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Sighted:
        """Looks at every place that a checker marked.

        Args:
            diagnostics: in order of path.
            seen: is told of every attribute that is missing, as soon as it is known.
            meanwhile: is done while the engine works on the receivers of findings, if there are any to look at.

        Returns:
            The sightings; places of which nothing can be said are set aside. Attributes have bare references:
            `placed` finds out what stands around them.
        """
        diagnostics = list(diagnostics)
        calls = self._looked_ahead(diagnostics)
        if any(self._triage.ruled_out(each) is None for each in diagnostics):
            meanwhile()
        sightings: list[Sighting] = []
        aside: list[RefusedSite] = []
        blind: list[Blind] = []
        for path, found in groupby(diagnostics, key=attrgetter("path")):
            try:
                source = self._files.source(path)
            except UnreadableSource as error:
                blind.append(Blind(path, error.reason))
                continue
            for diagnostic in found:
                try:
                    made = self._of_diagnostic(diagnostic, source, calls)
                except ValueError:
                    continue  # the file was written meanwhile
                if isinstance(made, Sighting):
                    sightings.append(made)
                    if made.kind.is_attribute:
                        seen(made.attribute)
                elif made is not None:
                    aside.append(made)
        return Sighted(_without_followers(sightings), tuple(aside), tuple(blind))

    def placed(self, path: str, sites: Sequence[Site]) -> list[Site]:
        """Finds out what stands around the sites of one file.

        Args:
            path: the file.
            sites: perhaps with bare references.

        Returns:
            Each with the reference that the syntax tree shows, and with the refusal that follows from it.
        """
        try:
            syntax = self._files.around(path, [site.reference.name.start for site in sites])
        except UnparsableSource as error:
            refusal = Refusal(Reason.SYNTAX_ERROR, f"the file {error.reason}")
        except UnreadableSource as error:
            refusal = Refusal(Reason.UNREADABLE, f"the file {error.reason}")
        except ValueError:
            refusal = _MOVED
        else:
            return [_placed(site, syntax) for site in sites]
        return [replace(site, refusal=refusal) for site in sites]

    def of_blind(self, paths: Iterable[str], known: Iterable[Sighting]) -> tuple[Sighting, ...]:
        """Looks for what others lack in files that the checker could not read.

        Args:
            paths: the files.
            known: what was seen elsewhere: only these attributes are looked for.

        Returns:
            The sightings whose receiver follows from imports.
        """
        names = {sighting.attribute for sighting in known if sighting.kind.is_attribute}
        return tuple(sighting for path in paths for sighting in self._of_blind(path, names))

    def _of_blind(self, path: str, names: Collection[str]) -> Iterator[Sighting]:
        try:
            syntax = self._files.syntax(path)
        except UnusableSource:
            return
        for reference in syntax.references(names):
            asked = self._lacking(self._imports.of(syntax, reference), reference.attribute)
            if not isinstance(asked, tuple):
                continue
            owner, access = asked
            yield Sighting(
                CauseKind.MISSING_IMPORT if reference.use is Use.IMPORT else CauseKind.MISSING_ATTRIBUTE,
                reference.attribute,
                "",
                owner,
                access,
                reference,
                Proof.IMPORTS,
                refusal=_guarded(reference),
            )

    def of_tests(self, suite: SuiteResult) -> tuple[Sighting, ...]:
        """Looks at every place where a test died of something missing.

        A class that is made at run time inherits from others in an order of its own, which no source tells. Several of
        them that come to one place have one cause there: the nearest class that all have above them.

        Args:
            suite: a run of the tests.

        Returns:
            The sightings, with the tests.
        """
        sightings = [sighting for case in suite.cases.values() for sighting in _certain(case, self.of_case(case))]
        by_place: dict[tuple[str, int], list[Sighting]] = {}
        for sighting in sightings:
            by_place.setdefault((sighting.reference.path, sighting.reference.name.start), []).append(sighting)
        shared = {place: self._shared(there) for place, there in by_place.items()}
        return tuple(
            replace(sighting, receiver=owner) if sighting.inherited and owner is not None else sighting
            for sighting in sightings
            for owner in (shared[sighting.reference.path, sighting.reference.name.start],)
        )

    def _shared(self, sightings: Sequence[Sighting]) -> Owner | None:
        """The nearest class of the project above all that come to one place; None where that needs no telling."""
        made_at_run_time = any(sighting.inherited for sighting in sightings)
        if not made_at_run_time or len({sighting.receiver for sighting in sightings}) == 1:
            return None
        lines = [sighting.inherited or self._definitions.mro(sighting.receiver) for sighting in sightings]
        return next((owner for owner in lines[0] if owner.is_inside and all(owner in line for line in lines)), None)

    def family(self, receiver: Owner) -> list[Owner]:
        """A class or module, and the classes of the project that it inherits from."""
        return [receiver, *(owner for owner in self._definitions.mro(receiver) if owner.is_inside)]

    def _looked_ahead(self, diagnostics: Iterable[Diagnostic]) -> dict[Diagnostic, tuple[Member, Reference]]:
        """The calls that findings are about, and what is called; the engine works on all receivers meanwhile."""
        calls: dict[Diagnostic, tuple[Member, Reference]] = {}
        for path, found in groupby(diagnostics, key=attrgetter("path")):
            in_file = [each for each in found if self._triage.ruled_out(each) is None]
            if not in_file:
                continue
            with suppress(UnusableSource, ValueError):  # each is met again, and told then
                source = self._files.source(path)
                called = {each: member for each in in_file if (member := self._callee(each)) is not None}
                starts = [source.offset(each.start) for each in called]
                for diagnostic, member in called.items():
                    call = self._files.around(path, starts).call_covering(_span(diagnostic, source))
                    if call is not None:
                        calls[diagnostic] = member, call
                receivers: list[Span | None] = []
                for each in in_file:
                    if each in calls:
                        _, reference = calls[each]
                        receivers += [reference.expression, reference.receiver]
                    elif each.kind.is_attribute:
                        receivers.append(_bare(each, source, _span(each, source)).receiver)
                self._receivers.ask_ahead(source, filter(None, receivers))
        return calls

    def _callee(self, diagnostic: Diagnostic) -> Member | None:
        """What a finding about a call says is called, when that is the project's."""
        if diagnostic.kind.is_attribute or diagnostic.callee is None:
            return None
        member = self._definitions.callable_named(diagnostic.callee)
        return member if member is not None and member.owner.is_inside else None

    def _of_diagnostic(
        self, diagnostic: Diagnostic, source: Source, calls: Mapping[Diagnostic, tuple[Member, Reference]]
    ) -> Sighting | RefusedSite | None:
        if diagnostic.kind.is_attribute:
            return self._of_attribute(diagnostic, source, _span(diagnostic, source))
        if diagnostic not in calls:
            return None
        marked, reference = calls[diagnostic]
        member = self._receivers.callee(source, reference.expression) or marked
        aside = self._other_than(marked, member, reference) or self._widened(source, reference, member)
        if aside is not None:
            return RefusedSite(Site(reference, member.owner, None, (Proof.CHECKER,), aside), aside)
        if is_spread(reference.arguments or ()):
            # Only a test can tell what is in it.
            refusal = Refusal(Reason.STAR_ARGUMENTS, f"what `*` and `**` pass to `{member.name}` is not known")
            return RefusedSite(Site(reference, member.owner, None, (Proof.CHECKER,), refusal), refusal)
        return Sighting(
            diagnostic.kind,
            member.name,
            diagnostic.name,
            member.owner,
            None,
            reference,
            Proof.CHECKER,
            refusal=_guarded(reference),
        )

    def _other_than(self, marked: Member, member: Member, reference: Reference) -> Refusal | None:
        """Why a call may be right though the checker marked it: what the types say is called takes it.

        A checker that cannot read one of several bases looks at the constructor of another one. Of the constructors of
        one class, `__new__` and `__init__`, both get the call, and both must take it.
        """
        if member.name != marked.name or member.owner in self._definitions.mro(marked.owner):
            return None
        return None if marked.owner in self._definitions.mro(member.owner) else _taken(reference, member)

    def _widened(self, source: Source, reference: Reference, member: Member) -> Refusal | None:
        """Why a call that does not fit may be meant: another class that may stand there, or inherits, takes it."""
        if reference.receiver is None or reference.arguments is None:
            return None
        if source.data[reference.receiver.start : reference.receiver.end].startswith(b"super("):
            return None  # goes up, never down
        for owner, access in self._receivers.of(source, reference.receiver).owners:
            if access is Access.CLASS and member.kind is MemberKind.INSTANCE_METHOD:
                continue
            own = self._definitions.members(owner).get(member.name)
            for other in filter(None, (own, *self._classes.overriding(owner, member.name))):
                taken = _taken(reference, other) if other != member else None
                if taken is not None:
                    return taken
        return None

    def _of_attribute(self, diagnostic: Diagnostic, source: Source, span: Span) -> Sighting | RefusedSite | None:
        reference = _bare(diagnostic, source, span)
        ruled_out = self._triage.ruled_out(diagnostic)
        if ruled_out is not None:
            return RefusedSite(Site(reference, None, None, (Proof.CHECKER,), ruled_out), ruled_out)
        # Only the syntax tree tells imports, strings, and a comment between the receiver and its dot.
        if reference.receiver is None or diagnostic.patch_target or b"#" in source.data[span.start : span.end]:
            try:
                found = self._files.around(source.path, [span.start]).ending_at(span.end)
            except UnparsableSource:
                return None
            if found is None or found.attribute != diagnostic.name:
                return None
            reference = found
        receiver = self._receiver(source, reference)
        asked = self._lacking(receiver, reference.attribute)
        if isinstance(asked, Refusal):
            return RefusedSite(Site(reference, None, None, (Proof.CHECKER,), asked), asked)
        if asked is None:
            return None
        owner, access = asked
        proof = Proof.IMPORTS if reference.use in _BY_IMPORTS else Proof.TYPE_SERVER
        return Sighting(diagnostic.kind, reference.attribute, "", owner, access, reference, proof)

    def _receiver(self, source: Source, reference: Reference) -> Receiver:
        if reference.use is Use.IMPORT:  # its statement names the module, whatever else the file binds
            return self._imports.of(self._files.around(source.path, [reference.name.start]), reference)
        if reference.use in _BY_IMPORTS or reference.receiver is None:
            return self._imports.of(self._files.syntax(source.path), reference)
        return self._receivers.of(source, reference.receiver)

    def _lacking(self, receiver: Receiver, attribute: str) -> tuple[Owner, Access] | Refusal | None:
        """The one owner that lacks it; a refusal when there is not exactly one; None when nothing is missing."""
        if not receiver.owners:
            return Refusal(
                Reason.UNKNOWN_RECEIVER, f"what stands left of `.{attribute}` is not known: {receiver.reason}"
            )
        owners = [part for part in receiver.owners if not part[0].name.endswith(".NoneType")]
        lacking = [part for part in owners if attribute not in self._definitions.members(part[0])]
        if len(lacking) == len(owners) == 1:
            return lacking[0]
        if not lacking:
            return None if len(owners) == len(receiver.owners) else _union(attribute, "None has not")
        if len(lacking) < len(owners):
            return _union(attribute, f"only {lacking[0][0].name} lacks it")
        return _union(attribute, "it may be one of several classes, and none has it")

    def of_case(self, case: CaseResult) -> Iterator[Sighting]:
        """Looks at every place where one test died of something missing.

        Args:
            case: how it ended.

        Yields:
            The sightings, with the test.
        """
        if not case.broken:
            return
        for raised in case.raised:
            try:
                sighting = self._of_raised(raised, case.test)
            except (UnusableSource, ValueError):
                continue  # written meanwhile, or code that Python runs and LibCST does not parse: no position, no proof
            if sighting is not None:
                yield sighting

    def _of_raised(self, raised: Raised, test: str) -> Sighting | None:
        if raised.kind.is_attribute:
            owner, inherited = self._asked(raised)
            if owner is None or self._is_consequence(raised, owner):
                return None
            reference = self._place(raised)
            if reference is None:
                return None
            reference = _failed_of(reference)
            owner = self._asking_itself(reference, inherited) or owner
            access = raised.access or Access.MODULE
            refusal = _guarded(reference) or self._of_others_too(reference)
            return Sighting(
                *(raised.kind, raised.name, "", owner, access, reference, Proof.TEST, test, refusal), inherited
            )
        if raised.start is None or raised.end is None or raised.callee is None:
            return None
        source = self._files.source(raised.path)
        span = Span(source.offset(raised.start), source.offset(raised.end))
        reference = self._files.around(raised.path, [span.start]).call_covering(span)
        if reference is None:
            return None
        member = self._receivers.callee(source, reference.expression) or self._classes.method_named(raised.callee)
        if member is None or not member.owner.is_inside:
            return None
        reference = _failed_of(reference)
        refusal = None if reference.guard is Guard.SWALLOWED else _guarded(reference)  # the test's other sightings tell
        refusal = refusal or self._widened(source, reference, member)
        return Sighting(raised.kind, member.name, raised.name, member.owner, None, reference, Proof.TEST, test, refusal)

    def _asking_itself(self, reference: Reference, inherited: Iterable[Owner]) -> Owner | None:
        """Of what a class that was made at run time inherits from, the one whose own method asks itself there."""
        source = self._files.source(reference.path)
        if reference.receiver is None or source.slice(reference.receiver) not in ("self", "cls"):
            return None
        around = reference.scope.split(".")
        return next((each for each in inherited if each.file == reference.path and each.short_name in around), None)

    def _of_others_too(self, reference: Reference) -> Refusal | None:
        """Why a place where a test failed is not its class's alone: by the types, another that comes there has it."""
        if reference.receiver is None or reference.use in _BY_IMPORTS:
            return None
        owners = self._receivers.of(self._files.source(reference.path), reference.receiver).owners
        having = [owner for owner, _ in owners if reference.attribute in self._definitions.members(owner)]
        if len(owners) < 2 or not having:
            return None
        return _union(reference.attribute, f"{having[0].name} has it")

    def _is_consequence(self, raised: Raised, owner: Owner) -> bool:
        """Whether the class does define it: what failed before left an object half made."""
        return raised.access is Access.INSTANCE and raised.name in self._definitions.members(owner)

    def _asked(self, raised: Raised) -> tuple[Owner | None, tuple[Owner, ...]]:
        """The class that was asked; for one whose bases only the running program knows, the nearest one above it of
        which the sources tell all, and all such."""
        names = raised.bases or ((raised.receiver,) if raised.receiver else ())
        asked = self._definitions.named(names[0]) if names else None
        if asked is not None and (len(names) == 1 or self._definitions.is_followed(asked)):
            return asked, ()
        found = tuple(owner for name in names if (owner := self._definitions.named(name)) is not None)
        told = tuple(owner for owner in found if self._definitions.is_followed(owner))
        if any(owner.is_inside for owner in told):
            return told[0], told
        if asked is not None:
            return asked, ()
        return (found[0], found) if found else (None, ())

    def _place(self, raised: Raised) -> Reference | None:
        syntax = self._files.syntax(raised.path)
        if raised.end is not None and not raised.in_library:
            reference = syntax.ending_at(syntax.source.offset(raised.end))
            if reference is not None and reference.attribute == raised.name:
                return reference
        last = raised.end.line if raised.end is not None else raised.line
        lines = range(raised.line, last + 1)
        near = [found for found in syntax.references((raised.name,)) if found.position.line in lines]
        return near[0] if len(near) == 1 else None


def _certain(case: CaseResult, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
    """One test's sightings: an `except` that may be for something else is no guard where the test saw nothing else.

    Else it may have failed of the other, and what was caught is meant to be.
    """
    is_alone = len({(raised.name, raised.callee or raised.receiver) for raised in case.raised}) == 1
    for sighting in sightings:
        if sighting.reference.guard is not Guard.SWALLOWED:
            yield sighting
        elif is_alone:
            yield replace(sighting, reference=replace(sighting.reference, guard=None))
        else:
            yield replace(sighting, refusal=_guarded(sighting.reference))


def _placed(site: Site, syntax: Syntax) -> Site:
    bare = site.reference
    try:
        reference = syntax.ending_at(bare.name.end)
    except UnparsableSource as error:
        return replace(site, refusal=Refusal(Reason.SYNTAX_ERROR, f"the file {error.reason}"))
    if reference is None or reference.attribute != bare.attribute:
        return replace(site, refusal=_MOVED)
    reference = _failed_of(reference) if Proof.TEST in site.proofs else reference
    return replace(site, reference=reference, refusal=site.refusal or _guarded(reference))


def _failed_of(reference: Reference) -> Reference:
    """Where a test failed of it, what only raises another exception guards nothing; else it may tell of a contract.

    Nor does a test that expects another exception, nor `assertRaises(AttributeError, C.m)`, which came too late then,
    nor a branch for another version: it ran.
    """
    return replace(reference, guard=None) if reference.guard in _NO_GUARDS_OF_FAILURES else reference


def _guarded(reference: Reference) -> Refusal | None:
    match reference.guard:
        case None:
            return None
        case Guard.RAISES_OTHERS:
            return Refusal(Reason.ABSENCE_TEST, f"a test may get another error by it: {reference.guard}")
        case Guard.RAISES | Guard.EAGER | Guard.ASSERTS_ABSENCE:
            return Refusal(Reason.ABSENCE_TEST, f"a test asserts that it is absent: {reference.guard}")
        case Guard.VERSION:
            return Refusal(Reason.UNREACHABLE, f"it is meant for another interpreter: {reference.guard}")
        case Guard.MISFIT | Guard.SWALLOWED:
            return Refusal(Reason.GUARDED, f"the code expects that the call may not fit: {reference.guard}")
        case _:
            return Refusal(Reason.GUARDED, f"the code expects that it may be absent: {reference.guard}")


def _taken(reference: Reference, member: Member) -> Refusal | None:
    """Why a call is no cause that a callable takes as it is; None when it does not."""
    if reference.arguments is None or member.signature is None:
        return None
    bound = bind(reference.arguments, member.signature)
    if isinstance(bound, Refusal) or bound.edits:
        return None
    return Refusal(Reason.DYNAMIC_OWNER, f"{member.qualified_name} takes such a call")


def _union(attribute: str, what: str) -> Refusal:
    return Refusal(Reason.SOME_OF_A_UNION, f"several types stand left of `.{attribute}`: {what}")


def _span(diagnostic: Diagnostic, source: Source) -> Span:
    return Span(source.offset(diagnostic.start), source.offset(diagnostic.end))


def _bare(diagnostic: Diagnostic, source: Source, span: Span) -> Reference:
    """A reference without its surroundings, made of what the checker marks: receiver, dot and name."""
    start = span.end - len(diagnostic.name.encode(source.encoding))
    before = source.data[span.start : start].rstrip()
    receiver = Span(span.start, span.start + len(before) - 1) if before.endswith(b".") else None
    return Reference(
        source.path, diagnostic.name, Span(start, span.end), source.position(start), receiver, span, Use.REFERENCE
    )


def _without_followers(sightings: list[Sighting]) -> tuple[Sighting, ...]:
    """Leaves out what only follows: a keyword that has another name leaves its parameter without an argument."""
    misnamed = {
        sighting.reference.call and (sighting.reference.path, sighting.reference.call)
        for sighting in sightings
        if sighting.kind in (CauseKind.UNEXPECTED_KEYWORD, CauseKind.POSITIONAL_COUNT)
    }
    return tuple(
        sighting
        for sighting in sightings
        if sighting.kind is not CauseKind.MISSING_ARGUMENT
        or (sighting.reference.path, sighting.reference.call) not in misnamed
    )
