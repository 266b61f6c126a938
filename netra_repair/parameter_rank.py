"""Ranks the parameters that the arguments of calls which do not fit could be meant for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from netra_repair.arguments import Bound, bind
from netra_repair.candidates import Candidate, Clue, Decision, Evidence, Ranking
from netra_repair.causes import Site
from netra_repair.diagnostics import CauseKind
from netra_repair.history import Past
from netra_repair.likeness import SAME_NAME, likeness, words
from netra_repair.owners import Member, Parameter, ParameterKind, Signature
from netra_repair.refusals import Refusal
from netra_repair.weights import WEIGHTS, Weights

_BY_NAME = (ParameterKind.POSITIONAL_OR_KEYWORD, ParameterKind.KEYWORD_ONLY)
# For a required parameter that nothing is passed for: without it no call could work.
_NEEDED = 1.5


def rank_parameters(
    kind: CauseKind,
    parameter: str,
    callee: Member,
    sites: Sequence[Site],
    *,
    past: Past | None = None,
    weights: Weights = WEIGHTS,
) -> Ranking:
    """Ranks the parameters of a callable for the calls that do not fit it.

    Args:
        kind: what does not fit: an unexpected keyword, too many positional arguments, or a missing argument.
        parameter: the unexpected keyword, or the missing parameter; "" for positional arguments.
        callee: what is called.
        sites: the calls.
        past: what git says of the parameter.
        weights: as for `rank`.

    Returns:
        The ranking, whose candidates are parameters and whose members are the callable. CHOSEN for a keyword only when
        it is the parameter under another name, LIKELY when it may be, and for positional arguments when only one
        parameter can take them.
    """
    calls = [site for site in sites if site.refusal is None and site.reference.arguments is not None] or list(sites)
    if callee.signature is None:
        return Ranking(Decision.NONE, (), 0.0, f"what `{callee.name}` takes cannot be told: {callee.note}")
    match kind:
        case CauseKind.UNEXPECTED_KEYWORD:
            return _keyword(parameter, callee, callee.signature, calls, past, weights)
        case CauseKind.POSITIONAL_COUNT:
            return _positional(callee, callee.signature, calls, past)
    return Ranking(
        Decision.NONE, (), 0.0, f"no argument is passed for `{parameter}`: its value must be written at each call"
    )


def _keyword(
    keyword: str, callee: Member, signature: Signature, calls: Sequence[Site], past: Past | None, weights: Weights
) -> Ranking:
    ranked = sorted(
        (
            candidate
            for each in signature.parameters
            if each.kind in _BY_NAME
            and (candidate := _candidate(keyword, each, callee, signature, calls, past, weights))
        ),
        key=lambda candidate: (-candidate.score, candidate.name),
    )
    candidates = tuple(ranked)
    if not candidates:
        return Ranking(Decision.NONE, (), 0.0, f"no free parameter of {signature} could be meant by `{keyword}`")
    best = candidates[0]
    margin = round(best.score - (candidates[1].score if len(candidates) > 1 else 0.0), 3)
    if len(candidates) > 1 and margin < weights.margin:
        near = ", ".join(f"`{each.name}`" for each in candidates if each.score > best.score - weights.margin)
        return Ranking(
            Decision.TIE, candidates, margin, f"the evidence does not tell {near} apart: say which with --to NAME"
        )
    strongest = "; ".join(each.detail for each in best.evidence if each.weight > 0)
    if not _has_grounds(keyword, best) and best.fits == best.sites and best.score > weights.fit:
        reason = f"`{best.name}`, if the tests that died there pass with it: {strongest}"
        return Ranking(Decision.LIKELY, candidates, margin, reason)
    if not _has_grounds(keyword, best):
        reason = f"`{best.name}` comes nearest, but nothing shows that it is meant: say so with --to {best.name}"
        return Ranking(Decision.NONE, candidates, margin, reason)
    return Ranking(Decision.CHOSEN, candidates, margin, f"`{best.name}`: {strongest}")


def _candidate(
    keyword: str,
    parameter: Parameter,
    callee: Member,
    signature: Signature,
    calls: Sequence[Site],
    past: Past | None,
    weights: Weights,
) -> Candidate | None:
    """A parameter that could be meant at one of the calls at least; else None."""
    name = parameter.name
    fits = sum(_binds(site, signature, {keyword: name}) for site in calls)
    if not fits:
        return None
    evidence = sorted(
        _evidence(keyword, parameter, fits, len(calls), past, weights), key=lambda each: -abs(each.weight)
    )
    score = round(sum(each.weight for each in evidence), 3)
    return Candidate(name, callee, score, tuple(evidence), fits, len(calls))


def _evidence(
    keyword: str, parameter: Parameter, fits: int, calls: int, past: Past | None, weights: Weights
) -> Iterator[Evidence]:
    yield Evidence(Clue.FIT, weights.fit * fits / calls, f"{fits} of {calls} calls fit when `{keyword}` is renamed")
    if parameter.required:
        detail = f"`{parameter.name}` is required, and nothing else is passed for it"
        yield Evidence(Clue.KEYWORDS, _NEEDED * fits / calls, detail)
    alike = likeness(keyword, parameter.name)
    if alike > 0:
        yield Evidence(Clue.NAME, weights.name * alike, f"the names are {alike:.0%} alike")
    if past is not None and past.renamed_to == parameter.name:
        yield Evidence(Clue.HISTORY, weights.history, past.detail)


def _has_grounds(keyword: str, candidate: Candidate) -> bool:
    """Whether the keyword is the parameter under another name.

    Another spelling of the name is enough. A name that says more or less (`thread`, `thread_id`) is, when the calls
    could not work without it; else an optional parameter that was dropped would be given to its neighbour.
    """
    clues = {each.clue for each in candidate.evidence}
    if Clue.HISTORY in clues:
        return True
    if candidate.fits < candidate.sites:
        return False
    a, b = set(words(keyword)), set(words(candidate.name))
    says_more = bool(a & b) and (a <= b or b <= a)
    return likeness(keyword, candidate.name) >= SAME_NAME or (says_more and Clue.KEYWORDS in clues)


def as_written(signature: Signature) -> Signature:
    """What calls were written for, if what must be passed by name now could be passed by position before, in order."""
    by_position = (
        replace(each, kind=ParameterKind.POSITIONAL_OR_KEYWORD) if each.kind is ParameterKind.KEYWORD_ONLY else each
        for each in signature.parameters
    )
    return Signature(tuple(by_position))


def _positional(callee: Member, signature: Signature, calls: Sequence[Site], past: Past | None) -> Ranking:
    """For arguments that must be passed by name now: the parameters that their keywords make, most calls first."""
    before = past.signature if past is not None else None
    candidates = _named(callee, signature, calls, before)
    if candidates:
        reason = f"{candidates[0].fits} of {len(calls)} calls fit when an argument is passed as `{candidates[0].name}`"
        return Ranking(Decision.CHOSEN, candidates, candidates[0].score, reason)
    if before is None:
        candidates = _named(callee, signature, calls, as_written(signature))
    if candidates and candidates[0].fits == len(calls):
        reason = "arguments passed by name in the order of the parameters, if the tests that died there pass with it"
        return Ranking(Decision.LIKELY, candidates, candidates[0].score, reason)
    return Ranking(Decision.NONE, (), 0.0, f"it is open which parameter of {signature} the arguments are meant for")


def _named(
    callee: Member, signature: Signature, calls: Sequence[Site], before: Signature | None
) -> tuple[Candidate, ...]:
    """The parameters that become keywords at calls, the most frequent first."""
    taken: Counter[str] = Counter()
    for site in calls:
        found = bind(site.reference.arguments or (), signature, before=before)
        if isinstance(found, Bound):
            taken.update({edit.text.partition("=")[0] for edit in found.edits if "=" in edit.text})
    return tuple(
        Candidate(name, callee, float(count), (_fit(count, len(calls), name),), count, len(calls))
        for name, count in taken.most_common()
    )


def _fit(count: int, calls: int, name: str) -> Evidence:
    return Evidence(Clue.FIT, float(count), f"{count} of {calls} calls fit when an argument is passed as `{name}`")


def _binds(site: Site, signature: Signature, renamed: dict[str, str]) -> bool:
    return not isinstance(bind(site.reference.arguments or (), signature, renamed=renamed), Refusal)
