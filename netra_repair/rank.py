"""Ranks what could stand in place of a missing attribute, by evidence. Pure: the same values give the same ranking.

A candidate is chosen only on positive grounds of its own. That it can stand there is none: what was removed without a
successor has candidates that fit, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netra_repair.arguments import Bound, accepts_keyword, bind
from netra_repair.candidates import Candidate, Clue, Decision, Evidence, Ranking
from netra_repair.causes import Site
from netra_repair.hints import successors
from netra_repair.history import Past
from netra_repair.likeness import SAME_NAME, adds_nothing, adds_one_word, is_sibling, is_synonym, likeness
from netra_repair.owners import Access, Member, MemberKind, Owner
from netra_repair.references import Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.usages import Usage, UsedCall


@dataclass(frozen=True, slots=True)
class Weights:
    """What evidence counts for, and what is needed to choose. Tuned on `benchmarks/repair`: see its notes.

    Attributes:
        fit: times the share of calls that bind.
        keywords: times the share of the calls' keywords that the candidate has, weighed by how telling they are.
        name: times the likeness of the names.
        same: for the same words in another order or spelling.
        use: times the share of the living calls with the same keywords that are calls of the candidate.
        unused: for a public member that nothing in the project uses, while the missing one is called.
        history: for what git says the name was renamed to.
        hint: for what the library itself names as successor.
        private: for a private name in place of a public one.
        beside: for what stood beside the missing name before it was removed: another thing, then.
        floor: the least score of something that may be chosen, or be part of a tie.
        margin: how far ahead of the next one it must be.
        ahead: how far ahead it must be for a try with the tests; below, there is a tie.
        fitting: the least share of calls that must bind.
        uses: how many living calls with the same keywords are grounds.
        telling: how many telling keywords these must have.
        called: how many sites the missing name needs before it says anything that a candidate is unused.
    """

    fit: float = 2.0
    keywords: float = 1.5
    name: float = 3.0
    use: float = 3.0
    same: float = 1.0
    unused: float = 1.5
    history: float = 8.0
    hint: float = 5.0
    private: float = -4.0
    beside: float = -2.0
    floor: float = 2.5
    margin: float = 1.0
    ahead: float = 0.25
    fitting: float = 0.75
    uses: float = 2.0
    telling: int = 2
    called: int = 2


WEIGHTS = Weights()

# How many candidates a ranking lists.
_LISTED = 10

# Keywords that calls of anything have; the others tell what is called.
_COMMON_KEYWORDS = frozenset(
    "name names value values key keys data type kind id path file text mode default timeout index size count start "
    "stop end args kwargs options config message level encoding errors format label title url obj item items "
    "context".split()
)
_COMMON_WEIGHT = 0.3

_UNCALLED_KINDS = (MemberKind.PROPERTY, MemberKind.ATTRIBUTE)
_FACTORIES = (MemberKind.CLASS_METHOD, MemberKind.STATIC_METHOD, MemberKind.CLASS)


def rank(
    owner: Owner,
    attribute: str,
    sites: Sequence[Site],
    members: Mapping[str, Member],
    *,
    usages: Mapping[str, Usage] | None = None,
    past: Past | None = None,
    hints: Iterable[str] = (),
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
        weights: what evidence counts for.

    Returns:
        The ranking. CHOSEN only for a candidate with grounds, score and margin.
    """
    question = _Question.of(owner, attribute, sites, weights, usages or {}, past)
    named = successors(hints, attribute, members.keys())
    judged = [
        found
        for name, member in members.items()
        if name != attribute and (found := _judged(question, member, named.get(name), members)) is not None
    ]
    judged.sort(key=lambda each: (-each.candidate.score, each.candidate.name))
    return _decided(question, judged)


def plausible(
    attribute: str, sites: Sequence[Site], members: Mapping[str, Member], past: Past | None = None
) -> tuple[str, ...]:
    """The members whose usage `rank` asks for: those that could stand at one of the sites at all.

    Args:
        attribute: the missing name.
        sites: all that mean it.
        members: what the owner has.
        past: what git says of the missing name: without it, calls that pass renamed parameters fit nothing.

    Returns:
        Their names, sorted.
    """
    loads = _loads(sites)
    return tuple(
        sorted(
            name
            for name, member in members.items()
            if name != attribute
            and _is_of_its_kind(name, attribute)
            and not member.owner.name.startswith("builtins.")
            and any(not isinstance(fit(site, member, past), Refusal) for site in loads)
        )
    )


def telling_keywords(sites: Sequence[Site], weights: Weights = WEIGHTS) -> list[frozenset[str]]:
    """The sets of keywords whose living calls tell which member is meant.

    Args:
        sites: all that mean it.
        weights: as for `rank`.

    Returns:
        Those of at least a fifth of the sites' calls that pass enough keywords by which a call can be told.
    """
    sets = Counter(frozenset(_keywords(site)) for site in _loads(sites) if site.reference.arguments is not None)
    telling = {names: count for names, count in sets.items() if len(names - _COMMON_KEYWORDS) >= weights.telling}
    return [names for names, count in telling.items() if count * 5 >= sum(telling.values())]


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
    if len(same) < weights.uses or len(keywords - _COMMON_KEYWORDS) < weights.telling:
        return None
    return fitting[0]


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
    if site.access is Access.CLASS and of_instances:
        return Refusal(Reason.KIND_MISMATCH, f"`{member.name}` is of instances, and the class is asked for it")
    if reference.use not in (Use.CALL, Use.DECORATOR):
        return Bound(())
    if member.kind in _UNCALLED_KINDS:
        return Refusal(Reason.KIND_MISMATCH, f"`{member.name}` is a {member.kind}, and it is called here")
    if reference.arguments is None:
        return Bound(())
    if member.signature is None:
        return Refusal(Reason.KIND_MISMATCH, f"what `{member.name}` takes cannot be told: {member.note}")
    if reference.awaited is not member.is_async:
        return Refusal(Reason.ASYNC_MISMATCH, f"`{member.name}` is {'' if member.is_async else 'not '}to be awaited")
    renamed = dict(past.renamed_parameters) if past is not None else {}
    return bind(
        reference.arguments, member.signature, renamed=renamed, before=past.signature if past is not None else None
    )


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, prepared once for all candidates.

    Attributes:
        owner: the class or module.
        attribute: the missing name.
        sites: the loads that may be changed, or all loads when none may.
        calls: those of them that are calls.
        keywords: how often each keyword is passed.
        sets: the sets of keywords whose living calls tell which member is meant.
        usages: how members are called elsewhere.
        past: what git says.
        weights: what evidence counts for.
    """

    owner: Owner
    attribute: str
    sites: tuple[Site, ...]
    calls: tuple[Site, ...]
    keywords: Counter[str]
    sets: Sequence[frozenset[str]]
    usages: Mapping[str, Usage]
    past: Past | None
    weights: Weights

    @classmethod
    def of(
        cls,
        owner: Owner,
        attribute: str,
        sites: Sequence[Site],
        weights: Weights,
        usages: Mapping[str, Usage],
        past: Past | None,
    ) -> _Question:
        """Prepares a question."""
        loads = _loads(sites)
        calls = tuple(site for site in loads if site.reference.arguments is not None)
        sets = telling_keywords(sites, weights)
        keywords = Counter(name for site in calls for name in _keywords(site))
        return cls(owner, attribute, loads, calls, keywords, sets, usages, past, weights)

    @property
    def is_called(self) -> bool:
        """Whether any site calls it, so that only what can be called may stand there."""
        return any(site.reference.use in (Use.CALL, Use.DECORATOR) for site in self.sites)

    @property
    def is_read(self) -> bool:
        """Whether every site reads a value of a class or instance: a method there would silently be true."""
        return all(
            site.reference.use is Use.REFERENCE and site.access in (Access.CLASS, Access.INSTANCE)
            for site in self.sites
        )


@dataclass(frozen=True, slots=True)
class _Judged:
    """A candidate, and whether there are grounds to choose it."""

    candidate: Candidate
    grounds: bool


def _judged(question: _Question, member: Member, hint: str | None, members: Mapping[str, Member]) -> _Judged | None:
    """The candidate that a member is; None for one that could never stand there."""
    if member.owner.name.startswith("builtins.") or not _is_of_its_kind(member.name, question.attribute):
        return None
    is_successor = question.past is not None and question.past.renamed_to == member.name
    if question.is_called and member.kind in _UNCALLED_KINDS:
        return None
    if question.is_read and member.kind not in _UNCALLED_KINDS and not (is_successor or hint):
        return None
    fits = sum(not isinstance(fit(site, member, question.past), Refusal) for site in question.sites)
    if question.sites and not fits:
        return None
    evidence = sorted(_evidence(question, member, hint, fits, members), key=lambda each: -abs(each.weight))
    score = sum(each.weight for each in evidence)
    candidate = Candidate(member.name, member, round(score, 3), tuple(evidence), fits, len(question.sites))
    return _Judged(candidate, _has_grounds(question, candidate))


def _evidence(
    question: _Question, member: Member, hint: str | None, fits: int, members: Mapping[str, Member]
) -> Iterator[Evidence]:
    weights, past = question.weights, question.past
    if question.calls or question.is_read:
        share = fits / len(question.sites)
        what = member.signature if question.calls else f"a {member.kind}"
        yield Evidence(Clue.FIT, weights.fit * share, f"{fits} of {len(question.sites)} places fit {what}")
    yield from _keyword_evidence(question, member)
    alike = likeness(question.attribute, member.name)
    if alike > 0:
        same = weights.same if alike >= SAME_NAME else 0.0
        yield Evidence(Clue.NAME, round(weights.name * alike + same, 3), f"the names are {alike:.0%} alike")
    yield from _use_evidence(question, member, members)
    if _is_unused(question, member):
        detail = f"nothing uses it, and {len(question.sites)} places use `{question.attribute}`"
        yield Evidence(Clue.UNUSED, weights.unused, detail)
    if past is not None and past.renamed_to == member.name:
        yield Evidence(Clue.HISTORY, weights.history, past.detail)
    elif past is not None and member.name in past.beside:
        detail = f"it stood beside `{question.attribute}` before that was removed"
        yield Evidence(Clue.HISTORY, weights.beside, detail)
    if hint is not None:
        yield Evidence(Clue.HINT, weights.hint, hint)
    if member.is_private and not question.attribute.startswith("_"):
        yield Evidence(Clue.PRIVATE, weights.private, "it is private, and the missing name is not")


def _keyword_evidence(question: _Question, member: Member) -> Iterator[Evidence]:
    if not question.keywords or member.signature is None:
        return
    weighed = {
        name: count * (_COMMON_WEIGHT if name in _COMMON_KEYWORDS else 1.0) for name, count in question.keywords.items()
    }
    had = [name for name in weighed if accepts_keyword(member.signature, name)]
    share = sum(weighed[name] for name in had) / sum(weighed.values())
    if share > 0:
        names = ", ".join(sorted(had))
        yield Evidence(Clue.KEYWORDS, question.weights.keywords * share, f"it takes the calls' keywords {names}")


def _use_evidence(question: _Question, member: Member, members: Mapping[str, Member]) -> Iterator[Evidence]:
    own = _same_calls(question, member.name)
    if own <= 0:
        return
    all_calls = sum(_same_calls(question, name) for name in members)
    share = own / all_calls
    counts = f"{own:g} of {all_calls:g}" if share < 1 else f"all {own:g}"
    detail = f"{counts} living calls with the same keywords call it"
    yield Evidence(Clue.USE, question.weights.use * share * (1 - 0.5**own), detail)


def _same_calls(question: _Question, name: str) -> float:
    """How many living calls have the keywords of the sites; those on a receiver that nobody told count half."""
    usage = question.usages.get(name)
    if usage is None:
        return 0.0
    return sum(_told(call, question.owner) for call in usage.calls if call.keywords in question.sets)


def _told(call: UsedCall, owner: Owner) -> float:
    return 1.0 if call.proven or call.receiver == owner.short_name else 0.5


def _is_unused(question: _Question, member: Member) -> bool:
    usage = question.usages.get(member.name)
    called = len(question.sites) >= question.weights.called
    if not called or usage is None or usage.mentions or member.is_private:
        return False
    # Where living code makes the very calls by another member, it has moved on to that one.
    return all(_same_calls(question, name) < question.weights.uses for name in question.usages)


def _has_grounds(question: _Question, candidate: Candidate) -> bool:
    """Whether something speaks for this candidate in particular, and its sites fit."""
    clues = {each.clue: each for each in candidate.evidence if each.weight > 0}
    share = candidate.fits / candidate.sites if candidate.sites else 1.0
    if Clue.HISTORY in clues or Clue.HINT in clues:
        return share > 0
    is_beside = question.past is not None and candidate.name in question.past.beside
    is_demoted = candidate.member.is_private and not question.attribute.startswith("_")
    if share < question.weights.fitting or is_beside or is_demoted:
        return False
    alike = likeness(question.attribute, candidate.name)
    if alike >= SAME_NAME:
        return True
    if Clue.UNUSED in clues and share == 1.0:
        # Of 520 methods of real libraries that were taken away, none had a neighbour that these rules took for it.
        return any(nearly(question.attribute, candidate.name) for nearly in (is_synonym, adds_nothing, adds_one_word))
    return _is_used_instead(question, candidate)


def _is_used_instead(question: _Question, candidate: Candidate) -> bool:
    """Whether living code makes the same object by it: a factory called on the class with the very keywords.

    Only for factories: two methods of an instance may take the same keywords and do different things. And not for a
    name beside the missing one, `create_order` and `update_order`.
    """
    by_class = sum(site.access is Access.CLASS for site in question.sites)
    is_factory = candidate.member.kind in _FACTORIES and 2 * by_class > len(question.sites)
    return (
        is_factory
        and not is_sibling(question.attribute, candidate.name)
        and _same_calls(question, candidate.name) >= question.weights.uses
    )


def _decided(question: _Question, judged: Sequence[_Judged]) -> Ranking:
    weights = question.weights
    candidates = tuple(each.candidate for each in judged[:_LISTED])
    missing = f"{question.owner.name}.{question.attribute}"
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


def _is_likely(question: _Question, candidate: Candidate) -> bool:
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


def _loads(sites: Sequence[Site]) -> tuple[Site, ...]:
    """The sites that use the value and may be changed; all that use it when none may."""
    loads = [site for site in sites if site.reference.use not in (Use.ASSIGNMENT, Use.DELETION)]
    free = [site for site in loads if site.refusal is None and site.reference.guard is None]
    return tuple(free or loads)


def _keywords(site: Site) -> Iterator[str]:
    for argument in site.reference.arguments or ():
        if argument.keyword is not None:
            yield argument.keyword


def _is_of_its_kind(name: str, attribute: str) -> bool:
    """Special methods stand for special methods only."""
    return _is_special(name) == _is_special(attribute)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
