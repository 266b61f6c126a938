"""The account of one cause while it is being repaired: what was kept, what was taken back."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from netra_repair.causes import RootCause, Site
from netra_repair.comparing import followed
from netra_repair.edits import Edit, spliced
from netra_repair.failures import CaseResult, SuiteResult
from netra_repair.plan import FilePlan, Plan, RefusedSite, SiteEdit, in_order
from netra_repair.rebasing import rebased
from netra_repair.refusals import Reason, Refusal
from netra_repair.repair import CauseRepair, Comparison
from netra_repair.source import Source

# File, line, attribute: an edit moves what stands behind it on its line, but never a line.
SiteKey = tuple[str, int, str]


# What tests say against a replacement.
_REFUTED = (Reason.NOT_CONFIRMED, Reason.STILL_FAILS, Reason.REGRESSED)


@dataclass(eq=False)
class Account:
    """What has become of one cause so far.

    Attributes:
        cause: as it was first seen.
        replacement: what was chosen then; it stays, whatever fewer sites would speak for later.
        plan: the last one, for what it refuses.
        is_trial: whether the replacement is only likely, and the tests must confirm it.
        is_ruled_out: whether the tests have spoken against the replacement, and another one may be tried.
        before: the account of what was tried for the cause before, and refuted.
        is_told: whether a person named it: then it stays, whatever the tests that died there say now.
        kept: the changed files, in the positions of the project's own files.
        refused: sites that no plan could change, as they were first seen.
        taken_back: sites that the tests spoke against.
        broken: node ids of the tests that died of it in any round.
        batches: how many were tried.
        rolled_back: how many of them were taken back.
    """

    cause: RootCause
    replacement: str
    plan: Plan
    is_trial: bool = False
    is_told: bool = False
    is_ruled_out: bool = False
    before: Account | None = None
    kept: list[FilePlan] = field(default_factory=list)
    refused: dict[SiteKey, RefusedSite] = field(default_factory=dict)
    taken_back: list[RefusedSite] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    batches: int = 0
    rolled_back: int = 0

    @property
    def mended(self) -> list[SiteEdit]:
        """The changed places that hold so far."""
        return [site for file in self.kept for site in file.sites]

    @property
    def is_called(self) -> bool:
        """Whether a place that is mended already takes nothing but what can be called."""
        return any(site.site.reference.needs_callable for site in self.mended)

    def begin(self, cause: RootCause, plan: Plan) -> Plan:
        """Starts a round.

        Args:
            cause: as it is seen now.
            plan: made for it now.

        Returns:
            The plan without the sites that were taken back before.
        """
        gone = {key_of(refused.site) for refused in self.taken_back}
        # As it was first seen: later edits on its line move a place that is left alone.
        refused = (self.refused.setdefault(key_of(each.site), each) for each in plan.refused)
        self.plan = replace(plan.where(lambda site: key_of(site.site) not in gone), refused=tuple(refused))
        self.broken.update(cause.tests)
        return self.plan

    def take_back(self, plan: Plan, reasons: Mapping[SiteKey, Refusal]) -> None:
        """Books sites that do not hold.

        Args:
            plan: what was tried.
            reasons: the places, and why they do not hold.
        """
        for file in plan.files:
            for site in file.sites:
                refusal = reasons.get(key_of(site.site))
                if refusal is not None:
                    self.taken_back.append(RefusedSite(site.site, refusal))

    def unconfirmed(
        self, current: SuiteResult, flaky: Collection[str], missing: Collection[str]
    ) -> dict[SiteKey, Refusal]:
        """The changed places that the tests which died there do not confirm.

        A test confirms when it passes, or dies of something else that is missing by itself, or of the same at a place
        that was left alone. What is only likely needs them all, and one that passes. What was chosen has other grounds,
        and a test may fail for more than one reason: it loses the places where none of theirs confirms, and all of them
        when none of its own does.

        Args:
            current: a run of all tests with what was kept.
            flaky: tests that prove nothing.
            missing: the tests of that run that die of what is missing by itself, not by this replacement.

        Returns:
            Why, for each place that must be taken back.
        """
        places = [site.site for site in self.mended]
        if self.is_told or not places:
            return {}
        failing = self._failing(self.broken, current, flaky, missing)
        ended = self._ended(self.broken, current, flaky)
        if self.is_trial:
            holds = any(case is not None and not case.broken for case in ended.values()) and not failing
            return {} if holds else self._refusals(places, failing or ended)
        if ended and len(failing) == len(ended):
            return self._refusals(places, failing)
        found: dict[SiteKey, Refusal] = {}
        for site in places:
            failing = self._failing(site.tests, current, flaky, missing)
            if failing and len(failing) == len(self._ended(site.tests, current, flaky)):
                found |= self._refusals([site], failing)
        return found

    def dying(self, current: SuiteResult) -> dict[SiteKey, Refusal]:
        """The changed places at which a test that died of the cause dies now of what was put there.

        What comes there then has not that name; the other places may hold without this one.

        Args:
            current: a run of all tests with what was kept.

        Returns:
            Why, for each place that must be taken back.
        """
        if self.is_told:
            return {}
        places = {(site.site.reference.path, site.site.reference.position.line): site.site for site in self.mended}
        ended = (current.cases.get(test) for test in followed(sorted(self.broken), current))
        raised = (each for case in ended if case is not None for each in case.raised)
        return {
            key_of(places[each.path, each.line]): Refusal(
                Reason.SOME_OF_A_UNION, f"with the change a test dies there: {each.message}"
            )
            for each in raised
            if each.name == self.replacement and (each.path, each.line) in places
        }

    def withdraw(self, reasons: Mapping[SiteKey, Refusal]) -> None:
        """Takes back places that were kept.

        Args:
            reasons: the places, and why.
        """
        left = []
        for file in self.kept:
            self.take_back(replace(self.plan, files=(file,)), reasons)
            left.append(replace(file, sites=tuple(site for site in file.sites if key_of(site.site) not in reasons)))
        self.kept = [file for file in left if file.sites]
        self.rolled_back += 1

    @property
    def is_refuted(self) -> bool:
        """Whether the tests have spoken against what was only likely, at every place; then another name may be tried.

        For a parameter there is one that is likely, and no other. What was chosen has grounds: where a test fails with
        it, another name that makes it pass would hide why.
        """
        may_be = self.is_trial and self.cause.kind.is_attribute and not self.kept
        return may_be and any(each.refusal.reason in _REFUTED for each in self.taken_back)

    @property
    def settled(self) -> Account:
        """What is told of the cause: where nothing that was tried holds, what came nearest."""
        return self if self.before is None or self.kept else self.before.settled

    def kept_plan(self, origin: Path) -> Plan:
        """The plan of what was kept, for the project's own files."""
        return replace(self.plan, cause=self.cause.key, files=tuple(_joined(self.kept, origin)))

    @staticmethod
    def _ended(tests: Iterable[str], current: SuiteResult, flaky: Collection[str]) -> dict[str, CaseResult | None]:
        """How tests end that died of it before; None for one that is not there any more."""
        return {test: current.cases.get(test) for test in followed(sorted(tests), current) if test not in flaky}

    def _failing(
        self, tests: Iterable[str], current: SuiteResult, flaky: Collection[str], missing: Collection[str]
    ) -> list[str]:
        """Those of the tests that do not confirm it."""
        ended = self._ended(tests, current, flaky)
        return [test for test, case in ended.items() if case is None or not self._confirms(case, missing)]

    def _confirms(self, case: CaseResult, missing: Collection[str]) -> bool:
        names = {raised.name for raised in case.raised}
        moved_on = self.replacement not in names and (case.test in missing or self.cause.attribute in names)
        return not case.broken or moved_on

    def _refusals(self, sites: Iterable[Site], tests: Collection[str]) -> dict[SiteKey, Refusal]:
        decision = "likely" if self.is_trial else "chosen"
        told = f": {min(tests)}" if tests else ""
        refusal = Refusal(
            Reason.NOT_CONFIRMED,
            f"`{self.replacement}` was {decision}, but tests that died there do not pass with it{told}",
        )
        return {key_of(site): refusal for site in sites}

    def closed(self, comparison: Comparison, after: SuiteResult, origin: Path) -> CauseRepair:
        """What became of the cause.

        Args:
            comparison: of all tests before and after.
            after: the run of all tests in the state that was kept.
            origin: the root of the project itself.

        Returns:
            The result, with a plan for the project's own files. A changed site counts as covered when a passing test
            ran its line, and as uncovered when that is not known.
        """
        lines = ((site.site.reference.path, site.site.reference.position.line) for site in self.mended)
        broken = followed(sorted(self.broken), after)
        plan = replace(self.kept_plan(origin), refused=in_order([*self.plan.refused, *self.taken_back]))
        return CauseRepair(
            key=self.cause.key,
            plan=plan,
            broken=broken,
            restored=tuple(test for test in broken if test in comparison.restored),
            batches=self.batches,
            rolled_back=self.rolled_back,
            uncovered=sum(line not in (after.executed or ()) for line in lines),
        )


def book(work: Iterable[tuple[Account, Plan]], accounts: Iterable[Account], origin: Path) -> None:
    """Enters changes that are kept, in the positions of the project's own files.

    Args:
        work: what was changed for which account, in the positions of the copy before this change.
        accounts: all of them: what was kept before is what moved the copy's positions.
        origin: the root of the project itself.
    """
    accounts = tuple(accounts)
    new: list[tuple[Account, FilePlan]] = []
    for account, plan in work:
        for file in plan.files:
            earlier = [
                edit for other in accounts for kept in other.kept if kept.path == file.path for edit in edits_of(kept)
            ]
            new.append((account, rebased(file, Source.read(origin, file.path), earlier)))
    for account, file in new:
        account.kept.append(file)


def edits_of(file: FilePlan) -> tuple[Edit, ...]:
    """All edits of a file's plan."""
    return tuple(edit for site in file.sites for edit in site.edits)


def _joined(kept: Iterable[FilePlan], origin: Path) -> Iterable[FilePlan]:
    """One plan for each file, whatever number of rounds changed it."""
    by_path: dict[str, list[FilePlan]] = {}
    for file in kept:
        by_path.setdefault(file.path, []).append(file)
    for path, files in sorted(by_path.items()):
        sites = sorted((site for file in files for site in file.sites), key=lambda site: site.site.reference.name)
        joined = replace(files[0], sites=tuple(sites))
        after = spliced(Source.read(origin, path), edits_of(joined))
        yield replace(joined, after_sha256=hashlib.sha256(after).hexdigest())


def key_of(site: Site) -> SiteKey:
    """What tells a site from others in every round."""
    return site.reference.path, site.reference.position.line, site.reference.attribute
