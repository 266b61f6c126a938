"""One cause as a section of the HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netra_repair.candidates import Candidate
from netra_repair.plan import SiteEdit
from netra_repair.repair import CauseRepair
from netra_repair.report import commands, widgets
from netra_repair.report.chapters import Chapter
from netra_repair.report.markup import Html, element, joined, prose
from netra_repair.report.rates import BeforeAfter
from netra_repair.report.unified import DiffLine, LineKind
from netra_repair.report.words import counted, definition, headline, moved_left, places, portable, scope_of

_EXAMPLES = 3
"""How many changes are shown without a click."""


def card(root: str, number: int, chapter: Chapter) -> Html:
    """The section of one cause.

    Args:
        root: the project's root as the user gave it, for commands.
        number: of the cause, from 1.
        chapter: what is known of it.
    """
    cause, ranking = chapter.cause, chapter.cause.ranking
    steps = commands.next_steps(root, cause) if chapter.outcome is None else ()
    return element(
        "section",
        element("h3", f"{number}. ", prose(headline(cause))),
        element("p", element("code", cause.key), class_="key"),
        _fields(chapter),
        element("h4", "Decision"),
        element(
            "p",
            widgets.verdict(ranking.decision),
            ": ",
            prose(ranking.reason),
        ),
        _candidates(ranking.candidates, ranking.margin),
        [widgets.command(step) for step in steps],
        _changes(chapter),
        _refused(chapter),
        widgets.folded("All sites", [widgets.where(site.reference) for site in cause.sites]),
        widgets.folded("References nobody could prove", [widgets.where(reference) for reference in cause.unproven]),
        widgets.folded("Broken tests", cause.tests),
        class_="cause",
        id=f"cause-{number}",
    )


def _fields(chapter: Chapter) -> Html:
    cause = chapter.cause
    fields: list[tuple[str, Html | str]] = [
        ("Kind", cause.kind.value),
        ("Defined in", element("code", definition(replace(cause.owner, file=portable(cause.owner.file))))),
        ("Reach", scope_of(cause)),
        ("History", prose(f"{cause.past.verdict.value}: {cause.past.detail}")),
    ]
    if cause.family:
        fields.append(("Overrides", prose(f"`{cause.family}`, which takes the same: perhaps one change")))
    if cause.mentions:
        fields.append(("Mentions", f"{cause.mentions:,} in comments, strings and text files: counted, never changed"))
    if cause.unproven:
        fields.append(("Unproven", f"{places(cause.unproven)} on receivers that nobody could tell: never changed"))
    if chapter.outcome is not None:
        fields += _outcome_fields(chapter, chapter.outcome)
    return element("dl", *((element("dt", name), element("dd", value)) for name, value in fields), class_="fields")


def _outcome_fields(chapter: Chapter, outcome: CauseRepair) -> list[tuple[str, Html | str]]:
    rates = BeforeAfter.of_cause(outcome)
    changed = places([change.site.reference for change in chapter.changes])
    fields: list[tuple[str, Html | str]] = [
        ("Replaced by", joined(element("code", outcome.plan.replacement or "nothing"), f" at {changed}")),
        ("Tests", f"{rates.after.passed:,} of {counted(rates.after.total, 'broken test')} pass now"),
        ("Batches", f"{outcome.batches:,} verified, {outcome.rolled_back:,} rolled back"),
    ]
    if outcome.uncovered:
        untested = counted(outcome.uncovered, "changed site")
        fields.append(("Uncovered", f"{untested} that no test ran: proven by types and binding only"))
    return fields


def _candidates(candidates: Sequence[Candidate], margin: float) -> Html | None:
    if not candidates:
        return None
    heads = [("Candidate", None), ("Score", "number"), ("Fits", "number"), ("Evidence", None)]
    rows = []
    for candidate in candidates:
        signature = "" if candidate.member.signature is None else str(candidate.member.signature)
        evidence = [
            element(
                "div",
                element("dt", f"{each.weight:+.1f}", class_="number"),
                element("dt", each.clue.value, class_="soft"),
                element("dd", prose(each.detail)),
            )
            for each in candidate.evidence
        ]
        rows.append(
            element(
                "tr",
                element("th", element("code", candidate.name, element("span", signature, class_="soft")), scope="row"),
                element("td", f"{candidate.score:.1f}", class_="number"),
                element("td", f"{candidate.fits:,} of {candidate.sites:,}", class_="number"),
                element("td", element("dl", *evidence, class_="evidence")),
            )
        )
    return widgets.table(f"Candidates, best first; the first is {margin:.1f} ahead", heads, rows)


def _changes(chapter: Chapter) -> Html | None:
    if not chapter.changes:
        return None
    shown, hidden = chapter.changes[:_EXAMPLES], chapter.changes[_EXAMPLES:]
    title = "Rewritten" if chapter.outcome is not None else "Would be rewritten"
    more = element("details", element("summary", f"{len(hidden):,} more"), map(_change, hidden)) if hidden else None
    return joined(element("h4", f"{title} ({len(chapter.changes):,})"), map(_change, shown), more)


def _change(change: SiteEdit) -> Html:
    lines = [DiffLine(LineKind.REMOVED, f"- {line}") for line in moved_left(change.before)]
    lines += [DiffLine(LineKind.ADDED, f"+ {line}") for line in moved_left(change.after)]
    place = element("code", widgets.where(change.site.reference), class_="places")
    note = element("p", prose(change.note), class_="soft") if change.note else None
    return element("div", place, widgets.diff(lines), note, class_="change")


def _refused(chapter: Chapter) -> Html | None:
    if not chapter.refused:
        return None
    return joined(element("h4", f"Refused ({len(chapter.refused):,})"), widgets.grouped(chapter.refused))
