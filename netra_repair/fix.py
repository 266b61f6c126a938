"""Fix: scan, plan, change, run the tests, keep what holds and take back what does not, in a copy of the project."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netra_repair.accounts import Account, SiteKey, book, key_of
from netra_repair.candidates import Decision
from netra_repair.causes import RootCause, selected
from netra_repair.comparing import compare
from netra_repair.diffs import displayed
from netra_repair.edits import Edit
from netra_repair.errors import PlanError
from netra_repair.failures import SuiteResult
from netra_repair.findings import Findings
from netra_repair.images import images
from netra_repair.imports import ImportGraph, related
from netra_repair.living import Living
from netra_repair.oracle import Oracle
from netra_repair.plan import FilePlan, Plan, RefusedSite, SiteEdit
from netra_repair.progress import Progress
from netra_repair.refusals import Reason, Refusal
from netra_repair.repair import Repair
from netra_repair.scanner import Scanner
from netra_repair.source import Span
from netra_repair.suite import Suite

# A repaired call lets its test run on to the next one, which no engine could tell. Most projects need two or three
# rounds, a test that goes through many untyped calls one for each; a round without a change is the last. A name that is
# only likely lets a test run on to the next one that is: where there are dozens, only the first rounds begin with one.
_MAX_ROUNDS, _TRYING_ROUNDS = 50, 12

# How many likely names are tried for one cause, each after the tests have spoken against the one before.
_MAX_TRIALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a fix is to do.

    Attributes:
        causes: keys of causes, or unique parts of them; empty for every cause with a chosen replacement.
        to: the replacement that a person chose; only with exactly one cause.
        paths: what is scanned, relative to the root; empty for the whole project.
        batch_size: how many files are changed between two runs of the tests.
        timeout_s: of one run of the tests, in seconds.
    """

    causes: tuple[str, ...] = ()
    to: str | None = None
    paths: tuple[str, ...] = ()
    batch_size: int = 25
    timeout_s: float = 1800.0


_Work = tuple[Account, Plan]


class Fixer:
    """Works on a copy of a project.

    Args:
        origin: the root of the project itself, which is only read.
        scanner: of the copy.
        suite: the copy's tests.
        options: what to do.
        progress: is told what goes on.
    """

    def __init__(self, origin: Path, scanner: Scanner, suite: Suite, options: Options, progress: Progress) -> None:
        self._origin = origin
        self._scanner = scanner
        self._root = scanner.project.root
        self._tests = Oracle(suite, options.timeout_s, progress)
        self._options = options
        self._accounts: list[Account] = []
        self._wanted: set[str] = set()
        self._known: set[str] = set()
        self._later: dict[str, RootCause] = {}
        self._living: Living | None = None
        project = scanner.project
        self._graph = ImportGraph(project.root, {path: project.module_of(path) for path in project.sources})

    def run(self) -> Repair:
        """Repairs what can be repaired with proof.

        Returns:
            What was kept, refused and taken back; the plans in it are made for the project itself.

        Raises:
            TestRunError: when the tests cannot be run.
            CheckerError: when the engine cannot be run.
            PlanError: when a cause that was asked for is not there.
        """
        began = time.monotonic()
        before = self._tests.baseline()
        findings = latest = self._scanner.scan(self._options.paths, before, self._tests.rerun)
        asked = selected(findings.causes, self._options.causes)
        self._wanted = {cause.key for cause in asked}
        self._known = {cause.key for cause in findings.causes}
        second = self._tests.second_baseline(before, findings.causes)
        self._living = Living(self._scanner, findings.causes, second)
        current, latest = self._rounds(asked, before, latest)
        # First what was only likely: what it gave may be what the tests of the others fail of.
        current, latest = self._confirmed_trials(current, latest)
        if self._withdraw_unconfirmed(current, latest.causes, is_trial=False):
            current = self._run_all()
            latest = self._scanner.scan(self._options.paths, current)
        self._tests.regressed(before, current)  # finds the flaky ones that were not known to be
        comparison = compare(before, current, self._tests.flaky)
        causes = tuple(account.settled.closed(comparison, current, self._origin) for account in self._accounts)
        return Repair(
            findings=findings,
            causes=causes,
            comparison=comparison,
            remaining=sum(len(cause.sites) for cause in latest.causes),
            refused=tuple(
                RefusedSite(site, site.refusal)
                for cause in latest.causes
                if self._account_of(cause) is None
                for site in cause.sites
                if site.refusal
            ),
            diff=displayed(images([cause.plan for cause in causes], self._origin)),
            run=None,
            seconds=time.monotonic() - began,
            later=tuple(self._later.values()),
        )

    def _rounds(
        self, asked: Iterable[RootCause], current: SuiteResult, latest: Findings
    ) -> tuple[SuiteResult, Findings]:
        """Carries out plans, and those for what comes to light then, until nothing more holds.

        Args:
            asked: the causes that are to be repaired.
            current: a run of all tests before.
            latest: what is missing before.

        Returns:
            The same, after it.
        """
        for number in range(_MAX_ROUNDS):
            plans = self._plans(asked, latest.causes, may_try=number < _TRYING_ROUNDS)
            tested = self._carried_out(plans, current)
            if tested is None:
                break
            current = tested
            latest = self._scanner.scan(self._options.paths, current, self._tests.rerun)
            while self._withdraw({account: account.dying(current) for account in self._accounts}):
                current = self._run_all()
                latest = self._scanner.scan(self._options.paths, current, self._tests.rerun)
            self._later |= {cause.key: cause for cause in latest.causes if cause.key not in self._known}
            asked = latest.causes
            if self._options.causes:
                asked = [each for each in asked if each.key in self._wanted or self._account_of(each) is not None]
        return current, latest

    def _confirmed_trials(self, current: SuiteResult, latest: Findings) -> tuple[SuiteResult, Findings]:
        """Takes back what was likely and no test confirms; then tries what is likely now that this is out.

        Args:
            current: a run of all tests with what was kept.
            latest: what is missing then.

        Returns:
            The same, with what is left.
        """
        for trial in range(1, _MAX_TRIALS + 1):
            is_changed = self._withdraw_unconfirmed(current, latest.causes, is_trial=True)
            if is_changed:
                current = self._run_all()
            refuted = [each for each in self._accounts if each.is_refuted and not each.is_ruled_out]
            for account in refuted:
                account.is_ruled_out = True
                self._scanner.rule_out(account.cause, account.replacement)
            if is_changed or refuted:
                latest = self._scanner.scan(self._options.paths, current)
            again = [cause for cause in latest.causes if self._account_of(cause) in refuted]
            if trial == _MAX_TRIALS or not again:
                break
            current, latest = self._rounds(again, current, latest)
        return current, latest

    def _plans(self, causes: Iterable[RootCause], found: Iterable[RootCause], *, may_try: bool) -> list[_Work]:
        """A plan for each cause that has a replacement, without the sites that were taken back before.

        Args:
            causes: those that are to be repaired.
            found: all that there are.
            may_try: whether a name that is only likely may be tried for a cause that had none yet.
        """
        work = []
        for cause in causes:
            account = before = self._account_of(cause)
            if before is not None and before.is_ruled_out:
                account = None
            replacement = account.replacement if account else self._options.to
            if replacement is None and cause.ranking.decision in (Decision.CHOSEN, Decision.LIKELY):
                replacement = cause.ranking.candidates[0].name
            is_likely = cause.ranking.decision is Decision.LIKELY or before is not None
            is_trial = account is None and self._options.to is None and is_likely
            if replacement is None or (is_trial and not (may_try and cause.tests)):
                continue  # what is only likely waits until a test dies of it: perhaps in the next round, if ever
            try:
                plan = self._scanner.plan(cause, replacement, is_called=account is not None and account.is_called)
            except PlanError:
                if account is None and self._options.to is not None:
                    raise
                continue  # a name that only some of the receivers have, or a cause met again at a class above
            if account is None:
                account = Account(
                    cause, replacement, plan, is_trial, is_told=self._options.to is not None, before=before
                )
                self._accounts = [each for each in self._accounts if each is not before] + [account]
            plan = account.begin(cause, plan)
            living = self._living.refused(plan) if self._living is not None else {}
            account.take_back(plan, living)
            work.append((account, plan.where(lambda site, living=living: key_of(site.site) not in living)))  # type: ignore[misc]
        return self._without_contested(work, found)

    def _without_contested(self, work: Sequence[_Work], found: Iterable[RootCause]) -> list[_Work]:
        """Leaves out places that several classes come to, unless all of them are to have the same name there."""
        put = {
            (file.path, site.site.reference.position.line, site.replacement)
            for account in self._accounts
            for file in account.kept
            for site in file.sites
        }
        # What each cause wants there: nothing, for one that has no replacement.
        wanted: dict[tuple[str, Span], dict[str, tuple[Edit, ...]]] = {}
        for cause in found:
            for reference in (site.reference for site in cause.sites if cause.kind.is_attribute):
                wanted.setdefault((reference.path, reference.name), {})[cause.key] = ()
        for _, plan in work:
            for file in plan.files:
                for site in file.sites:
                    wants = wanted.get((file.path, site.site.reference.name))
                    if wants is not None and plan.kind.is_attribute:
                        wants[plan.cause] = site.edits
        reasons = {
            key_of(site.site): Refusal(Reason.SOME_OF_A_UNION, "several classes come here, with another name each")
            for _, plan in work
            for file in plan.files
            for site in file.sites
            if key_of(site.site) in put or len({*wanted.get((file.path, site.site.reference.name), {}).values()}) > 1
        }
        for account, plan in work:
            account.take_back(plan, reasons)
        return [(account, plan.where(lambda site: key_of(site.site) not in reasons)) for account, plan in work]

    def _account_of(self, cause: RootCause) -> Account | None:
        """The account of a cause met in an earlier round, when perhaps only a subclass of its owner had been seen."""
        for account in self._accounts:
            if account.cause.key == cause.key:
                return account
        if cause.key in self._known or not cause.kind.is_attribute:
            return None
        for account in self._accounts:
            known = account.cause
            same = cause.attribute == known.attribute and known.kind.is_attribute
            if same and self._scanner.are_related(cause.owner, known.owner):
                return account
        return None

    def _carried_out(self, plans: Sequence[_Work], before: SuiteResult) -> SuiteResult | None:
        """Works through the files in batches; gives a run of all tests after it, or None when nothing was kept."""
        paths = sorted({file.path for _, plan in plans for file in plan.files})
        size = self._options.batch_size
        batches = [paths[start : start + size] for start in range(0, len(paths), size)]
        broken = {test for account, _ in plans for test in account.broken}
        kept: list[_Work] = []
        result: SuiteResult | None = None
        for batch in batches:
            tests = related(before, batch, broken, self._graph) if len(batches) > 1 else ()
            kept, result = self._tried(_part(plans, batch), kept, before, tests)
        if len(batches) > 1 and kept:
            # Together, and before all tests: also before those that nobody knew to be related.
            kept, result = self._tried(kept, [], before, ())
        if not kept:
            return None
        self._write({image.path: image.after for image in images([plan for _, plan in kept], self._root)})
        book(kept, self._accounts, self._origin)
        return result or self._run_all()

    def _tried(
        self, work: Sequence[_Work], kept: list[_Work], before: SuiteResult, tests: Sequence[str]
    ) -> tuple[list[_Work], SuiteResult | None]:
        """Tests changes, and leaves out what does not hold, by halves until the sites are found.

        The copy has the bytes that the plans were made for, before and after: so any part of them can be tried.

        Args:
            work: what is tried.
            kept: what holds already, and is changed with it.
            before: a run of all tests without any of it.
            tests: those that are run; () for all.

        Returns:
            What holds now, `kept` included; and the run of the tests, when all held at once.
        """
        together = [*kept, *work]
        changed = images([plan for _, plan in together], self._root)
        self._write({image.path: image.after for image in changed})
        touched = [file for _, plan in together for file in plan.files]
        step, is_trial = f"testing changes in {len(changed)} files", any(account.is_trial for account, _ in work)
        result = self._tests.run(step, tests, [*self._kept(), *touched], is_trial=is_trial)
        regressed = self._tests.regressed(before, result, tests)
        self._write({image.path: image.source.data for image in changed})
        accounts = {id(account): account for account, _ in work}.values()
        for account in accounts:
            account.batches += 1
        failing = _still_failing(work, result)
        if not failing and not regressed:
            return together, result
        for account in accounts:
            account.rolled_back += 1
        sites = (site.site for _, plan in work for file in plan.files for site in file.sites)
        places = list(dict.fromkeys(map(key_of, sites)))
        if failing or len(places) == 1:
            reasons = failing or {
                places[0]: Refusal(
                    Reason.REGRESSED, f"with the change {regressed[0]} does not pass any more, as it did before"
                )
            }
            for account, plan in work:
                account.take_back(plan, reasons)
            parts = [_only(work, [place for place in places if place not in reasons])]
        else:
            middle = len(places) // 2
            parts = [_only(work, places[:middle]), _only(work, places[middle:])]
        for part in filter(None, parts):
            kept, _ = self._tried(part, kept, before, tests)
        return kept, None

    def _withdraw_unconfirmed(self, current: SuiteResult, causes: Iterable[RootCause], *, is_trial: bool) -> bool:
        """Takes back what no test has confirmed.

        Args:
            current: a run of all tests with what was kept.
            causes: what is missing now.
            is_trial: whether what was only likely is asked for, or what was chosen.

        Returns:
            Whether something was taken back.
        """
        return self._withdraw(
            {
                account: account.unconfirmed(current, self._tests.flaky, self._missing_by_itself(account, causes))
                for account in self._accounts
                if account.is_trial is is_trial
            }
        )

    def _withdraw(self, reasons: Mapping[Account, Mapping[SiteKey, Refusal]]) -> bool:
        """Takes places back, of each account for its reasons; gives whether there were any."""
        touched: set[str] = set()
        for account, places in reasons.items():
            if places:
                account.withdraw(places)
                touched |= {path for path, *_ in places}
        contents = {path: (self._origin / path).read_bytes() for path in touched}
        left = [account.kept_plan(self._origin).only(touched) for account in self._accounts]
        contents |= {image.path: image.after for image in images(left, self._origin)}
        self._write(contents)
        return bool(touched)

    def _missing_by_itself(self, account: Account, causes: Iterable[RootCause]) -> set[str]:
        """The tests that die of something that is missing whatever the account's replacement is.

        What a class of the project lacks is. But where the replacement is only likely, what came to light after it was
        put there may be what its wrong value lacks.
        """
        return {
            test
            for cause in causes
            if cause.owner.is_inside and (not account.is_trial or cause.key in self._known)
            for test in cause.tests
        }

    def _run_all(self) -> SuiteResult:
        return self._tests.run("running all tests", (), self._kept())

    def _kept(self) -> list[FilePlan]:
        return [file for account in self._accounts for file in account.kept]

    def _write(self, contents: Mapping[str, bytes]) -> None:
        for path, data in contents.items():
            (self._root / path).write_bytes(data)
        self._scanner.forget(contents)


def _part(work: Iterable[_Work], paths: Collection[str]) -> list[_Work]:
    """The part of the work that lies in some files."""
    parts = ((account, plan.only(paths)) for account, plan in work)
    return [(account, plan) for account, plan in parts if plan.files]


def _only(work: Iterable[_Work], places: Collection[SiteKey]) -> list[_Work]:
    """The part of the work that lies at some places."""
    parts = ((account, plan.where(lambda site: key_of(site.site) in places)) for account, plan in work)
    return [(account, plan) for account, plan in parts if plan.files]


def _still_failing(work: Sequence[_Work], result: SuiteResult) -> dict[SiteKey, Refusal]:
    """The changed places at which their own tests die again, now of what was put there."""
    failing: dict[SiteKey, Refusal] = {}
    for _, plan in work:
        sites: dict[tuple[str, int], list[SiteEdit]] = {}
        for file in plan.files:
            for site in file.sites:
                sites.setdefault((file.path, site.site.reference.position.line), []).append(site)
        tests = {test for line in sites.values() for site in line for test in site.site.tests}
        for test in tests & result.cases.keys():
            for raised in result.cases[test].raised:
                for site in sites.get((raised.path, raised.line), ()):
                    if site.replacement in (raised.name, (raised.callee or "").rpartition(".")[2]):
                        failing[key_of(site.site)] = Refusal(
                            Reason.STILL_FAILS, f"with the change its test still dies there: {raised.message}"
                        )
    return failing
