"""Explains groups: what git says of them, what could stand there, and so the root cause."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from netra_repair.candidates import Candidate, Decision, Ranking
from netra_repair.causes import RootCause, Site
from netra_repair.definitions import Definitions
from netra_repair.evidence import telling_keywords
from netra_repair.failures import SuiteResult
from netra_repair.git import Git
from netra_repair.grouping import Group, part_of
from netra_repair.history import Past, Verdict
from netra_repair.occurrences import Occurrences
from netra_repair.owners import Member, Owner, OwnerKind
from netra_repair.parameter_rank import rank_parameters
from netra_repair.project import Project
from netra_repair.rank import alternative, plausible, rank
from netra_repair.receivers import Receivers
from netra_repair.source import Source, Span
from netra_repair.usages import Usage, usages
from netra_repair.words import Words

# How many classes of a group are looked at one by one: more than that share a base that means something.
_TOLD_APART = 12

_NOT_ASKED = Past(Verdict.UNKNOWN, "not looked up: other causes have more sites")


class Explainer:
    """Makes root causes of groups.

    Args:
        project: whose code.
        definitions: tells what classes and modules have.
        receivers: tells what stands left of a dot.
        occurrences: where names of attributes stand.
        words: which files have a word.
        git: the project's history.
    """

    def __init__(
        self,
        project: Project,
        definitions: Definitions,
        receivers: Receivers,
        occurrences: Occurrences,
        words: Words,
        git: Git,
    ) -> None:
        self._project = project
        self._definitions = definitions
        self._receivers = receivers
        self._occurrences = occurrences
        self._words = words
        self._git = git
        self._ruled_out: dict[tuple[str, str], set[Owner]] = {}  # by attribute and candidate

    def rule_out(self, cause: RootCause, candidate: str) -> None:
        """Takes notice that tests have spoken against a candidate: it is none of the cause's any more.

        Args:
            cause: of a missing attribute; what calls pass has no candidates that are tried one after another.
            candidate: the name.
        """
        self._ruled_out.setdefault((cause.attribute, candidate), set()).add(cause.owner)

    def causes(self, group: Group, suite: SuiteResult | None, *, with_past: bool = True) -> list[RootCause]:
        """Explains one group.

        Args:
            group: the sites.
            suite: the run of the tests that died there; None when none was run.
            with_past: whether git is asked.

        Returns:
            The cause, with its history and its ranked candidates; several where the group's classes have nothing in
            common but a base and the missing name, and each has something else that comes nearest.
        """
        whole = self._cause(group, suite, with_past=with_past)
        parts = self._parts(group, whole, suite, with_past=with_past)
        if len(parts) == 1:
            return [whole]
        return [cause for part in parts for cause in self.causes(part, suite, with_past=with_past)]

    def _parts(self, group: Group, whole: RootCause, suite: SuiteResult | None, *, with_past: bool) -> list[Group]:
        """The group by what comes nearest for each of its classes, where that is nothing that all of them have.

        Not where their common base itself is asked, or had the name once: then it is missing there.
        """
        had = (Verdict.REMOVED, Verdict.RENAMED)
        if not 1 < len(group.receivers) <= _TOLD_APART or group.owner in group.receivers or whole.past.verdict in had:
            return [group]
        shared = self._shared_members(group.receivers)
        nearest: dict[Member | None, list[Owner]] = {}
        for receiver in group.receivers:
            ranking = self._cause(part_of(group, (receiver,), self._definitions), suite, with_past=with_past).ranking
            best = ranking.candidates[0].member if ranking.decision is not Decision.NONE else None
            nearest.setdefault(None if best is None or best.name in shared else best, []).append(receiver)
        parts = [part_of(group, receivers, self._definitions) for receivers in nearest.values()]
        if len({part.owner for part in parts}) < len(parts):  # two with the same base would have one name
            parts = [part_of(group, (receiver,), self._definitions) for receiver in group.receivers]
        return parts

    def _cause(self, group: Group, suite: SuiteResult | None, *, with_past: bool) -> RootCause:
        tests = tuple(sorted({test for site in group.sites for test in site.tests}))
        if group.kind.is_attribute:
            members = self._shared_members(group.receivers)
            past = _NOT_ASKED
            if with_past:
                past = self._past(group.owner, group.attribute, members.keys())
            ranking = self._ranking(group, members, past, _messages(suite, tests, group.attribute))
        else:
            past, ranking = self._parameters(group, with_past=with_past)
        return RootCause(
            kind=group.kind,
            owner=group.owner,
            attribute=group.attribute,
            parameter=group.parameter,
            sites=group.sites,
            unproven=(),
            tests=tests,
            mentions=0,
            past=past,
            ranking=ranking,
            family="" if group.kind.is_attribute else self._family(group.owner, group.attribute),
        )

    def _family(self, owner: Owner, name: str) -> str:
        """The method farthest up the line of overrides that takes the same as an owner's own; "" when there is none.

        Not for what makes and ends instances: each class has that in a way of its own.
        """
        own = self._definitions.members(owner).get(name)
        if own is None or own.signature is None or name.startswith("__"):
            return ""
        last = own
        for above in self._definitions.mro(owner)[1:]:
            found = self._definitions.members(above).get(name) if above.is_inside else None
            if found is None or found.owner != above or above not in self._definitions.mro(last.owner):
                continue
            if found.signature != own.signature:
                break
            last = found
        return "" if last is own else last.qualified_name

    def alternative(self, cause: RootCause, site: Site) -> Candidate | None:
        """What else stands at a site that the chosen candidate does not fit, where that is certain."""
        if cause.ranking.decision is not Decision.CHOSEN or not cause.kind.is_attribute:
            return None
        names = [candidate.name for candidate in cause.ranking.candidates]
        return alternative(site, cause.ranking, self._usages(cause.owner, names, [site]))

    def _shared_members(self, receivers: Sequence[Owner]) -> Mapping[str, Member]:
        """What all receivers have, as the first one has it."""
        first, *others = (self._definitions.members(receiver) for receiver in receivers)
        return {
            name: member if all(other[name].gives == member.gives for other in others) else replace(member, gives="")
            for name, member in first.items()
            if all(name in other for other in others)
        }

    def _ranking(self, group: Group, members: Mapping[str, Member], past: Past, messages: Iterable[str]) -> Ranking:
        own = {receiver: self._definitions.members(receiver) for receiver in group.receivers}
        names = [
            name
            for name in plausible(group.attribute, group.sites, members, past, own)
            if not self._is_ruled_out(group, name)
        ]
        hints = [*messages, *self._definitions.hints(group.owner, group.attribute)]
        return rank(
            group.owner,
            group.attribute,
            group.sites,
            {name: members[name] for name in names},
            usages=self._usages(group.owner, names, group.sites),
            past=past,
            hints=hints,
            own=own,
        )

    def _is_ruled_out(self, group: Group, name: str) -> bool:
        """Whether tests have spoken against it, be it for a class above or below, as which the cause was met then."""
        owners = self._ruled_out.get((group.attribute, name), ())
        above = self._definitions.mro(group.owner)
        return any(owner in above or group.owner in self._definitions.mro(owner) for owner in owners)

    def _past(self, owner: Owner, attribute: str, present: Collection[str]) -> Past:
        """What git says of the owner; of the nearest class above it that had the name, when it never had it itself."""
        past = self._git.past(owner, attribute, present)
        for above in self._definitions.mro(owner)[1:]:
            if past.verdict is not Verdict.NEVER_EXISTED or not above.is_inside:
                break
            found = self._git.past(above, attribute, present)
            past = past if found.verdict is Verdict.NEVER_EXISTED else found
        return past

    def _parameters(self, group: Group, *, with_past: bool) -> tuple[Past, Ranking]:
        callee = self._definitions.members(group.owner).get(group.attribute)
        if callee is None:
            return _NOT_ASKED, Ranking(Decision.NONE, (), 0.0, f"`{group.attribute}` cannot be found any more")
        taken = [parameter.name for parameter in callee.signature.parameters] if callee.signature else []
        past = _NOT_ASKED
        if with_past:
            past = self._git.past_parameter(group.owner, group.attribute, group.parameter, taken)
        return past, rank_parameters(group.kind, group.parameter, callee, group.sites, past=past)

    def _usages(self, owner: Owner, names: Sequence[str], sites: Sequence[Site]) -> dict[str, Usage]:
        def is_meant(source: Source, span: Span) -> bool | None:
            owners = self._receivers.of(source, span).owners
            if not owners:
                return None
            return any(
                owner in self._definitions.mro(each) or each in self._definitions.mro(owner) for each, _ in owners
            )

        is_module = owner.kind is OwnerKind.MODULE
        keywords = telling_keywords(sites)
        if not is_module and not keywords:  # which calls there are tells nothing then
            return {name: Usage(self._occurrences.reads(name), ()) for name in names}
        paths: Iterable[str] = self._words.files(*names)
        if not is_module:
            paths = {path for name in names for path in self._occurrences.reading(name)}
        return usages(
            self._project.root,
            paths,
            names,
            keywords,
            apart_from=(owner.file,),
            alone=is_module,
            prove=is_meant,
        )


def _messages(suite: SuiteResult | None, tests: Iterable[str], attribute: str) -> list[str]:
    """What the exceptions say of the missing name: a library may name its successor."""
    if suite is None:
        return []
    raised = (each for test in tests for each in suite.cases[test].raised if each.name == attribute)
    return list(dict.fromkeys(each.message for each in raised))
