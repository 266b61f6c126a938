"""What a report tells of one cause: the cause, its plan, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from netra_repair.causes import RootCause, Site
from netra_repair.findings import Findings
from netra_repair.plan import Plan, RefusedSite, SiteEdit
from netra_repair.refusals import Reason, Refusal
from netra_repair.repair import CauseRepair, Repair
from netra_repair.source import Position

_MEANT = frozenset({Reason.GUARDED, Reason.ABSENCE_TEST, Reason.UNREACHABLE})


@dataclass(frozen=True)
class Chapter:
    """One cause with everything that is known of it.

    Attributes:
        cause: as the scan found it.
        plan: what would be changed, or what was; None when nothing was planned.
        outcome: what a fix came to; None after a scan, and for a cause that the fix left out.
        refused: the sites that are left alone and why, in order of path and position.
    """

    cause: RootCause
    plan: Plan | None
    outcome: CauseRepair | None
    refused: tuple[RefusedSite, ...]

    @cached_property
    def changes(self) -> tuple[SiteEdit, ...]:
        """The sites that would be rewritten, or were, in order of path and position."""
        return tuple(change for file in self.plan.files for change in file.sites) if self.plan else ()

    def change_of(self, site: Site) -> SiteEdit | None:
        """How a site would be rewritten, or was."""
        return self._changes.get((site.reference.path, site.reference.position))

    def refusal_of(self, site: Site) -> Refusal | None:
        """Why a site is left alone."""
        if self.change_of(site) is not None:
            return None
        return self._refusals.get((site.reference.path, site.reference.position.line))

    @cached_property
    def _changes(self) -> dict[tuple[str, Position], SiteEdit]:
        return {(each.site.reference.path, each.site.reference.position): each for each in self.changes}

    @cached_property
    def _refusals(self) -> dict[tuple[str, int], Refusal]:
        """By line: a fix refuses some sites after others on their line have been rewritten and moved them."""
        return {(each.site.reference.path, each.site.reference.position.line): each.refusal for each in self.refused}


def scan_of(report: Findings | Repair) -> Findings:
    """The scan that a report is about, or began with."""
    return report.findings if isinstance(report, Repair) else report


def is_written(report: Findings | Repair) -> bool:
    """Whether the project's files have changed since the scan, by this fix."""
    return isinstance(report, Repair) and report.run is not None


def chapters(report: Findings | Repair, plans: Sequence[Plan] = ()) -> tuple[Chapter, ...]:
    """Puts together what is known of each cause.

    Args:
        report: a scan or a fix.
        plans: of a scan's causes; a fix brings its own.

    Returns:
        One chapter for each cause, in the order of the scan: most sites first; then those that came to light later.
    """
    outcomes = {outcome.key: outcome for outcome in report.causes} if isinstance(report, Repair) else {}
    known = {plan.cause: plan for plan in plans} | {key: outcome.plan for key, outcome in outcomes.items()}
    later = report.later if isinstance(report, Repair) else ()
    told = []
    for cause in (*scan_of(report).causes, *later):
        plan = known.get(cause.key)
        by_rule = tuple(RefusedSite(site, site.refusal) for site in cause.sites if site.refusal is not None)
        told.append(Chapter(cause, plan, outcomes.get(cause.key), by_rule if plan is None else plan.refused))
    return tuple(told)


def by_reason(refused: Iterable[RefusedSite]) -> tuple[tuple[Refusal, tuple[Site, ...]], ...]:
    """Groups refused sites by the words of their refusal, the most frequent first."""
    groups: dict[Refusal, list[Site]] = {}
    for each in refused:
        groups.setdefault(each.refusal, []).append(each.site)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0].reason, group[0].detail))
    return tuple((refusal, tuple(sites)) for refusal, sites in ordered)


def is_defect(site: Site) -> bool:
    """Whether a site is known to be wrong: its receiver is proven, and the code around does not expect the absence."""
    return bool(site.proofs) and not (site.refusal is not None and site.refusal.reason in _MEANT)
