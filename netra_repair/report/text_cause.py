"""One cause in a text report."""

from __future__ import annotations

from collections.abc import Iterable

from netra_repair.candidates import Candidate, Decision, Ranking
from netra_repair.causes import RootCause
from netra_repair.plan import RefusedSite, SiteEdit
from netra_repair.references import Reference
from netra_repair.repair import CauseRepair
from netra_repair.report.chapters import Chapter, by_reason
from netra_repair.report.page import FIELD, Page, labelled
from netra_repair.report.rates import BeforeAfter
from netra_repair.report.words import counted, definition, headline, moved_left, place, places, scope_of

_SUB = FIELD + 2


def print_cause(page: Page, number: int, cause: RootCause) -> None:
    """What is missing on what, since when, and how far it reaches.

    Args:
        page: where to.
        number: of the cause, from 1.
        cause: as the scan found it.
    """
    page.line((headline(cause), "bold"), indent=len(f"{number}. "), label=f"{number}. ")
    for label, value in (
        ("key", cause.key),
        ("kind", cause.kind.value),
        ("defined in", definition(cause.owner)),
        ("reach", scope_of(cause)),
        ("history", f"{cause.past.verdict.value}: {cause.past.detail}"),
    ):
        page.line(value, indent=FIELD, label=f"  {label}")
    if cause.family:
        page.line(f"{cause.family}, which takes the same: perhaps one change", indent=FIELD, label="  overrides")
    if cause.mentions:
        told = f"{cause.mentions:,} in comments, docstrings, strings and text files: counted, never changed"
        page.line(told, indent=FIELD, label="  mentions")
    if cause.unproven:
        told = f"{places(cause.unproven)} with this name on receivers that nobody could tell: never changed"
        page.line(told if page.verbose else f"{told}; -v lists them", indent=FIELD, label="  unproven")
        for reference in cause.unproven if page.verbose else ():
            page.line(*where(reference), indent=_SUB)


def print_evidence(page: Page, ranking: Ranking) -> None:
    """What could stand there instead, why, and what that comes to."""
    for label, (rank, candidate) in labelled("candidates", enumerate(page.some(ranking.candidates, FIELD), 1)):
        _print_candidate(page, label, rank, candidate, ranking.margin)
    style = "green" if ranking.decision is Decision.CHOSEN else "yellow"
    page.line((ranking.decision.value, f"bold {style}"), f": {ranking.reason}", indent=FIELD, label="  decision")


def _print_candidate(page: Page, label: str, rank: int, candidate: Candidate, margin: float) -> None:
    signature = "" if candidate.member.signature is None else str(candidate.member.signature)
    page.line(f"{rank}. ", (candidate.name, "bold"), signature, indent=FIELD, label=label)
    ahead = f", {margin:.1f} ahead" if rank == 1 else ""
    fits = f"fits {candidate.fits:,} of {counted(candidate.sites, 'site')}"
    page.line(f"score {candidate.score:.1f}{ahead}, {fits}", indent=FIELD + 3)
    for evidence in candidate.evidence:
        clue = f"{' ' * FIELD}{evidence.weight:+8.1f} {evidence.clue.value:<9}"
        page.line(evidence.detail, indent=len(clue) + 1, label=clue)


def print_outcome(page: Page, chapter: Chapter, outcome: CauseRepair) -> None:
    """What became of a cause: the replacement, its tests, its batches."""
    ranking, rates = chapter.cause.ranking, BeforeAfter.of_cause(outcome)
    changed = places([change.site.reference for change in chapter.changes])
    page.line((outcome.plan.replacement or "nothing", "bold"), f" at {changed}", indent=FIELD, label="  replaced by")
    page.line(f"{ranking.decision.value}: {ranking.reason}", indent=FIELD, label="  decision")
    if outcome.broken:
        broken = counted(rates.after.total, "broken test")
        told = f"{rates.after.passed:,} of {broken} pass now ({rates.before} → {rates.after})"
    else:
        told = "no test was broken by it: nothing shows here what the change did"
    page.line(told, indent=FIELD, label="  tests")
    for test in page.some(sorted(set(outcome.broken) - set(outcome.restored)), FIELD):
        page.line(f"still fails: {test}", indent=FIELD)
    batches = f"{counted(outcome.batches, 'batch', 'batches')} verified, {outcome.rolled_back:,} rolled back"
    page.line(batches, indent=FIELD, label="  batches")
    if outcome.uncovered:
        told = f"{counted(outcome.uncovered, 'changed site')} that no test ran: proven by types and binding only"
        page.line(told, indent=FIELD, label="  uncovered")
    for label, change in labelled("changes", chapter.changes if page.verbose else ()):
        page.line(place(change.site.reference), indent=FIELD, label=label)
        print_change(page, change)


def print_change(page: Page, change: SiteEdit) -> None:
    """A call before and after, with its line."""
    label = f"{change.site.reference.position.line:>{FIELD - 1}}"
    for sign, style, text in (("-", "red", change.before), ("+", "green", change.after)):
        for line in moved_left(text):
            page.line((f"{sign} {line}", style), indent=FIELD, label=label)
            label = ""
    if change.note:
        page.line(change.note, indent=_SUB)


def print_refused(page: Page, refused: Iterable[RefusedSite]) -> None:
    """The sites that are left alone, by reason."""
    for label, (refusal, sites) in labelled("refused", by_reason(refused)):
        page.line(f"{len(sites):,} {refusal.reason.value}: {refusal.detail}", indent=FIELD, label=label)
        for site in page.some(sites, _SUB):
            page.line(*where(site.reference), indent=_SUB)


def print_places(page: Page, chapter: Chapter) -> None:
    """The sites that may be rewritten, with who proves them, and the tests that the cause breaks."""
    free = [site for site in chapter.cause.sites if chapter.refusal_of(site) is None]
    for label, site in labelled("places", page.some(free, FIELD)):
        proofs = ", ".join([site.reference.use.value, *(proof.value for proof in site.proofs)])
        page.line(*where(site.reference), f" ({proofs})", indent=FIELD, label=label)
    for label, test in labelled("breaks", page.some(chapter.cause.tests, FIELD)):
        page.line(test, indent=FIELD, label=label)


def where(reference: Reference) -> tuple[str, str]:
    """A place, and what it is inside of."""
    return place(reference), f" in {reference.scope}" if reference.scope else ""
