"""What speaks for and against a member as the replacement of a missing one. Pure: equal values, equal evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netra_repair.arguments import accepts_keyword, is_spread
from netra_repair.candidates import Candidate, Clue, Evidence
from netra_repair.causes import Site
from netra_repair.fitting import UNCALLED_KINDS, hands_out
from netra_repair.history import Past
from netra_repair.likeness import NEARLY, SAME_NAME, contains, is_sibling, is_told_apart, likeness
from netra_repair.owners import Access, Member, MemberKind, Owner
from netra_repair.references import Use
from netra_repair.usages import Usage, UsedCall
from netra_repair.weights import WEIGHTS, Weights

# Keywords that calls of anything have; the others tell what is called.
COMMON_KEYWORDS = frozenset(
    "name names value values key keys data type kind id path file text mode default timeout index size count start "
    "stop end args kwargs options config message level encoding errors format label title url obj item items "
    "context".split()
)
_COMMON_WEIGHT = 0.3
# What is left of the likeness of a name that has the missing one in it, and is the name of another thing.
_ANOTHER = 0.7
# What a call that is only begun says of what fits it, beside a whole one.
_BEGUN = 0.75

_FACTORIES = (MemberKind.CLASS_METHOD, MemberKind.STATIC_METHOD, MemberKind.CLASS)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, prepared once for all candidates.

    Attributes:
        owner: the class or module.
        attribute: the missing name.
        sites: the loads that may be changed, or all loads when none may.
        calls: those of them that are calls.
        telling: those that tell whether a candidate fits: not those that spread what nobody knows, unless git knows
            what they were written for.
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
    telling: tuple[Site, ...]
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
    ) -> Question:
        """Prepares a question."""
        loads = loads_of(sites)
        calls = tuple(site for site in loads if site.reference.arguments is not None)
        is_known = past is not None and past.signature is not None
        telling = tuple(site for site in loads if is_known or not is_spread(site.reference.arguments or ()))
        sets = telling_keywords(sites, weights)
        keywords = Counter(name for site in calls for name in _keywords(site))
        return cls(owner, attribute, loads, calls, telling, keywords, sets, usages, past, weights)

    @property
    def is_called(self) -> bool:
        """Whether any site calls it, so that only what can be called may stand there."""
        return any(site.reference.is_called for site in self.sites)

    @property
    def is_called_later(self) -> bool:
        """Whether every site hands it to what takes only what can be called, which a value may be."""
        return all(site.reference.called_later is not None for site in self.sites)

    @property
    def may_be_method(self) -> bool:
        """Whether what is not called may be a method: every site hands it on as it is, for somebody to call back, or
        one hands it to what will call it."""
        return all(site.reference.passed_on for site in self.sites) or any(
            site.reference.called_later is not None for site in self.sites
        )

    @property
    def is_read(self) -> bool:
        """Whether every site reads a value of a class or instance: a method there would silently be true."""
        return not self.is_called_later and all(
            site.reference.use is Use.REFERENCE and site.access in (Access.CLASS, Access.INSTANCE)
            for site in self.sites
        )


def evidence(
    question: Question, member: Member, hint: str | None, fits: int, members: Mapping[str, Member]
) -> Iterator[Evidence]:
    """What speaks for and against one member.

    Args:
        question: what is missing, and where.
        member: what could stand there.
        hint: what names it as the successor, in words; None when nothing does.
        fits: at how many of the sites that tell it can stand.
        members: all that the owner has, by name.

    Yields:
        The evidence, in no order.
    """
    weights, past = question.weights, question.past
    if question.calls or question.is_read or question.is_called_later:
        share = fits / len(question.telling)
        is_value = member.kind in UNCALLED_KINDS
        if question.is_called_later:
            share *= _BEGUN / 2 if is_value else _BEGUN  # it is a method more often than a value
        elif question.is_read and not is_value:
            share /= 2  # what is only passed on is a value more often than a method
        what = member.signature if question.calls else f"a {member.kind}"
        yield Evidence(Clue.FIT, weights.fit * share, f"{fits} of {len(question.telling)} places fit {what}")
    yield from _keyword_evidence(question, member)
    alike = _likeness(question, member)
    if _is_another(question, member, members):
        alike *= _ANOTHER
    if alike > 0:
        same = weights.same if alike >= SAME_NAME else 0.0
        yield Evidence(Clue.NAME, round(weights.name * alike + same, 3), f"the names are {alike:.0%} alike")
    yield from _use_evidence(question, member, members)
    if _is_unused(question, member):
        detail = f"nothing uses it, and {len(question.sites)} places use `{question.attribute}`"
        yield Evidence(Clue.UNUSED, weights.unused, detail)
    if hands_out(member, question.attribute):
        yield Evidence(Clue.FIELD, weights.field, f"it gives `{member.gives}`, the field of the missing name")
    if past is not None and past.renamed_to == member.name:
        yield Evidence(Clue.HISTORY, weights.history, past.detail)
    elif past is not None and member.name in past.beside:
        detail = f"it stood beside `{question.attribute}` before that was removed"
        yield Evidence(Clue.HISTORY, weights.beside, detail)
    if hint is not None:
        yield Evidence(Clue.HINT, weights.hint, hint)
    if member.is_private and not question.attribute.startswith("_"):
        yield Evidence(Clue.PRIVATE, weights.private, "it is private, and the missing name is not")


def has_grounds(question: Question, candidate: Candidate) -> bool:
    """Whether something speaks for this candidate in particular, and its sites fit.

    A name that is only nearly the missing one is none, whatever else fits and however unused the candidate is: a value
    of its own may be called just so (`default_type`, `default_type_handler`). Nor is the very name where a value is
    handed on and the candidate is a method: it would be true, and no value. Nor is the public name for a private one:
    the one often calls the other (`evaluate`, `_evaluate`). That is for the tests to say.
    """
    clues = {each.clue: each for each in candidate.evidence if each.weight > 0}
    share = candidate.fits / candidate.sites if candidate.sites else 1.0
    if Clue.HISTORY in clues or Clue.HINT in clues:
        return share > 0
    is_beside = question.past is not None and candidate.name in question.past.beside
    is_demoted = candidate.member.is_private and not question.attribute.startswith("_")
    is_method_for_value = question.is_read and candidate.member.kind not in UNCALLED_KINDS
    if share < question.weights.fitting or is_beside or is_demoted or is_method_for_value:
        return False
    is_same = _likeness(question, candidate.member) >= SAME_NAME
    return is_same or Clue.FIELD in clues or _is_used_instead(question, candidate)


def _keyword_evidence(question: Question, member: Member) -> Iterator[Evidence]:
    if not question.keywords or member.signature is None:
        return
    weighed = {
        name: count * (_COMMON_WEIGHT if name in COMMON_KEYWORDS else 1.0) for name, count in question.keywords.items()
    }
    had = [name for name in weighed if accepts_keyword(member.signature, name)]
    share = sum(weighed[name] for name in had) / sum(weighed.values())
    if share > 0:
        names = ", ".join(sorted(had))
        yield Evidence(Clue.KEYWORDS, question.weights.keywords * share, f"it takes the calls' keywords {names}")


def _use_evidence(question: Question, member: Member, members: Mapping[str, Member]) -> Iterator[Evidence]:
    own = _same_calls(question, member.name)
    if own <= 0:
        return
    all_calls = sum(_same_calls(question, name) for name in members)
    share = own / all_calls
    counts = f"{own:g} of {all_calls:g}" if share < 1 else f"all {own:g}"
    detail = f"{counts} living calls with the same keywords call it"
    yield Evidence(Clue.USE, question.weights.use * share * (1 - 0.5**own), detail)


def _same_calls(question: Question, name: str) -> float:
    """How many living calls have the keywords of the sites; those on a receiver that nobody told count half."""
    usage = question.usages.get(name)
    if usage is None:
        return 0.0
    return sum(_told(call, question.owner) for call in usage.calls if call.keywords in question.sets)


def _told(call: UsedCall, owner: Owner) -> float:
    return 1.0 if call.proven or call.receiver == owner.short_name else 0.5


def _likeness(question: Question, member: Member) -> float:
    """How much alike the names are.

    The public name of a private one is never the same, since it may call that; nor is a class what is called like it in
    small letters, and not called: `profiles` may be an instance of `Profiles`.
    """
    missing = question.attribute
    may_call_it = missing.startswith("_") and not member.is_private
    may_be_instance = member.kind is MemberKind.CLASS and missing.islower() and not question.is_called
    alike = likeness(missing, member.name)
    return min(alike, NEARLY) if may_call_it or may_be_instance else alike


def _is_another(question: Question, member: Member, members: Mapping[str, Member]) -> bool:
    """Whether a name has the missing one and words that mean something among the members, and another has only it.

    That alone says that a candidate comes behind another one; where there is no other, nothing does.
    """
    return is_told_apart(question.attribute, member.name, members) and any(
        contains(other, question.attribute) and not is_told_apart(question.attribute, other, members)
        for other in members
    )


def _is_unused(question: Question, member: Member) -> bool:
    usage = question.usages.get(member.name)
    if usage is None or usage.mentions:
        return False
    if question.attribute.startswith("_"):
        # A helper is used once as a rule. What is unused beside it may be a hook, or found by a computed name.
        return member.is_private and _likeness(question, member) >= question.weights.helper
    if member.is_private or len(question.sites) < question.weights.called:
        return False
    # Where living code makes the very calls by another member, it has moved on to that one.
    return all(_same_calls(question, name) < question.weights.uses for name in question.usages)


def _is_used_instead(question: Question, candidate: Candidate) -> bool:
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


def telling_keywords(sites: Sequence[Site], weights: Weights = WEIGHTS) -> list[frozenset[str]]:
    """The sets of keywords whose living calls tell which member is meant.

    Args:
        sites: all that mean it.
        weights: what evidence counts for.

    Returns:
        Those of at least a fifth of the sites' calls that pass enough keywords by which a call can be told.
    """
    sets = Counter(frozenset(_keywords(site)) for site in loads_of(sites) if site.reference.arguments is not None)
    telling = {names: count for names, count in sets.items() if len(names - COMMON_KEYWORDS) >= weights.telling}
    return [names for names, count in telling.items() if count * 5 >= sum(telling.values())]


def loads_of(sites: Sequence[Site]) -> tuple[Site, ...]:
    """The sites that use the value and may be changed; all that use it when none may."""
    loads = [site for site in sites if site.reference.use not in (Use.ASSIGNMENT, Use.DELETION)]
    free = [site for site in loads if site.refusal is None and site.reference.guard is None]
    return tuple(free or loads)


def _keywords(site: Site) -> Iterator[str]:
    for argument in site.reference.arguments or ():
        if argument.keyword is not None:
            yield argument.keyword
