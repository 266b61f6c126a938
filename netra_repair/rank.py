"""Ranks what could stand in place of a missing attribute, by evidence. Pure: the same values give the same ranking.

A candidate is chosen only on positive grounds of its own. That it can stand there is none: what was removed without a
successor has candidates that fit, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netra_repair.arguments import Bound
from netra_repair.candidates import Candidate, Clue, Decision, Ranking
from netra_repair.causes import Site
from netra_repair.evidence import COMMON_KEYWORDS, Question, evidence, has_grounds, loads_of
from netra_repair.fitting import NO_OWN_MEMBERS, UNCALLED_KINDS, OwnMembers, defined_for, fit, hands_out
from netra_repair.hints import successors
from netra_repair.history import Past
from netra_repair.owners import Member, Owner
from netra_repair.refusals import Refusal
from netra_repair.usages import Usage
from netra_repair.weights import WEIGHTS, Weights

# How many candidates a ranking lists.
_LISTED = 10


def rank(
    owner: Owner,
    attribute: str,
    sites: Sequence[Site],
    members: Mapping[str, Member],
    *,
    usages: Mapping[str, Usage] | None = None,
    past: Past | None = None,
    hints: Iterable[str] = (),
    own: OwnMembers = NO_OWN_MEMBERS,
    weights: Weights = WEIGHTS,
) -> Ranking:
    """Ranks the members of an owner as replacements of one that it has not.

    Args:
        owner: the class or module.
        attribute: the missing name.
        sites: all that mean it.
        members: what the owner has.
        usages: how the members are called elsewhere; those that were not looked up count as used.
        past: what git says of the missing name.
        hints: texts about the missing name: messages of failing tests, deprecations, tables of removed names.
        own: what each receiver has, where sites have receivers that define one member in ways of their own.
        weights: what evidence counts for.

    Returns:
        The ranking. CHOSEN only for a candidate with grounds, score and margin.
    """
    question = Question.of(owner, attribute, sites, weights, usages or {}, past)
    named = successors(hints, attribute, members.keys())
    judged = [
        found
        for name, member in members.items()
        if name != attribute and (found := _judged(question, member, named.get(name), members, own)) is not None
    ]
    judged.sort(key=lambda each: (-each.candidate.score, each.candidate.name))
    return _decided(question, judged)


def plausible(
    attribute: str,
    sites: Sequence[Site],
    members: Mapping[str, Member],
    past: Past | None = None,
    own: OwnMembers = NO_OWN_MEMBERS,
) -> tuple[str, ...]:
    """The members whose usage `rank` asks for: those that could stand at one of the sites at all.

    Args:
        attribute: the missing name.
        sites: all that mean it.
        members: what the owner has.
        past: what git says of the missing name: without it, calls that pass renamed parameters fit nothing.
        own: as for `rank`.

    Returns:
        Their names, sorted.
    """
    loads = loads_of(sites)
    return tuple(
        sorted(
            name
            for name, member in members.items()
            if name != attribute
            and _is_of_its_kind(name, attribute)
            and not member.owner.name.startswith("builtins.")
            and any(not isinstance(fit(site, defined_for(site, member, own), past), Refusal) for site in loads)
        )
    )


def alternative(
    site: Site, ranking: Ranking, usages: Mapping[str, Usage], weights: Weights = WEIGHTS
) -> Candidate | None:
    """What else stands at a site that the best candidate does not fit, where that is certain.

    Args:
        site: a place of the cause.
        ranking: the cause's; one that chose nothing has no alternatives either.
        usages: as for `rank`.
        weights: as for `rank`.

    Returns:
        The only other candidate that binds, when its living calls have the site's very keywords; else None.
    """
    if ranking.decision is not Decision.CHOSEN or site.reference.arguments is None:
        return None
    fitting = [each for each in ranking.candidates[1:] if isinstance(fit(site, each.member), Bound)]
    if len(fitting) != 1 or fitting[0].member.is_private:
        return None
    keywords = frozenset(each.keyword for each in site.reference.arguments if each.keyword is not None)
    usage = usages.get(fitting[0].name)
    same = [call for call in usage.calls if call.keywords == keywords] if usage is not None else []
    if len(same) < weights.uses or len(keywords - COMMON_KEYWORDS) < weights.telling:
        return None
    return fitting[0]


@dataclass(frozen=True, slots=True)
class _Judged:
    """A candidate, and whether there are grounds to choose it."""

    candidate: Candidate
    grounds: bool


def _judged(
    question: Question, member: Member, hint: str | None, members: Mapping[str, Member], own: OwnMembers
) -> _Judged | None:
    """The candidate that a member is; None for one that could never stand there."""
    if member.owner.name.startswith("builtins.") or not _is_of_its_kind(member.name, question.attribute):
        return None
    is_successor = question.past is not None and question.past.renamed_to == member.name
    if member.calls == question.attribute:
        return None  # it would call itself for ever
    if question.is_called and member.kind in UNCALLED_KINDS and not hands_out(member, question.attribute):
        return None
    may_be_method = question.may_be_method or is_successor or hint is not None
    if question.is_read and member.kind not in UNCALLED_KINDS and not may_be_method:
        return None
    fits = sum(
        not isinstance(fit(site, defined_for(site, member, own), question.past), Refusal) for site in question.telling
    )
    if question.sites and not fits:
        return None
    found = sorted(evidence(question, member, hint, fits, members), key=lambda each: -abs(each.weight))
    score = sum(each.weight for each in found)
    candidate = Candidate(member.name, member, round(score, 3), tuple(found), fits, len(question.telling))
    return _Judged(candidate, has_grounds(question, candidate))


def _decided(question: Question, judged: Sequence[_Judged]) -> Ranking:
    weights = question.weights
    candidates = tuple(each.candidate for each in judged[:_LISTED])
    missing = f"{question.owner.name}.{question.attribute}"
    if not candidates and question.sites and not question.telling:
        return Ranking(Decision.NONE, (), 0.0, f"every call of `{missing}` spreads its arguments: none tells what fits")
    if not candidates:
        return Ranking(Decision.NONE, (), 0.0, f"nothing that {question.owner.name} has could stand for `{missing}`")
    best = judged[0]
    margin = round(best.candidate.score - (judged[1].candidate.score if len(judged) > 1 else 0.0), 3)
    near = [each for each in judged if each.candidate.score > best.candidate.score - weights.margin]
    name = best.candidate.name
    strongest = "; ".join(each.detail for each in best.candidate.evidence if each.weight > 0)
    is_ahead = margin >= weights.ahead or len(judged) == 1
    if is_ahead and (not best.grounds or len(near) > 1) and _is_likely(question, best.candidate):
        reason = f"`{name}`, if the tests that died there pass with it: {strongest}"
        return Ranking(Decision.LIKELY, candidates, margin, reason)
    if best.candidate.score >= weights.floor and len(near) > 1:
        names = ", ".join(f"`{each.candidate.name}`" for each in near)
        reason = f"the evidence does not tell {names} apart: say which with --to NAME"
        return Ranking(Decision.TIE, candidates, margin, reason)
    if not best.grounds or best.candidate.score < weights.floor:
        reason = f"`{name}` comes nearest, but nothing shows that it is meant: say so with --to {name}"
        return Ranking(Decision.NONE, candidates, margin, reason)
    return Ranking(Decision.CHOSEN, candidates, margin, f"`{name}`: {strongest}")


def _is_likely(question: Question, candidate: Candidate) -> bool:
    """Whether it is worth a try with the tests: it fits, and its name or its being unused speaks for it."""
    clues = {each.clue for each in candidate.evidence if each.weight > 0}
    is_beside = question.past is not None and candidate.name in question.past.beside
    is_demoted = candidate.member.is_private and not question.attribute.startswith("_")
    return (
        candidate.score >= question.weights.floor
        and candidate.fits >= question.weights.fitting * candidate.sites
        and bool(clues & {Clue.NAME, Clue.UNUSED})
        and not is_beside
        and not is_demoted
    )


def _is_of_its_kind(name: str, attribute: str) -> bool:
    """Special methods stand for special methods only."""
    return _is_special(name) == _is_special(attribute)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
