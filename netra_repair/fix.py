"""Fix: scan, plan, change, run the tests, keep what holds and take back what does not, in a copy of the project."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netra_repair.accounts import Account, SiteKey, book, key_of
from netra_repair.candidates import Decision
from netra_repair.causes import Proof, RootCause, selected
from netra_repair.comparing import compare, flaky
from netra_repair.diffs import displayed
from netra_repair.edits import Edit
from netra_repair.errors import PlanError, TestRunError
from netra_repair.failures import Outcome, SuiteResult
from netra_repair.images import images
from netra_repair.imports import ImportGraph, related
from netra_repair.plan import Plan, RefusedSite, SiteEdit
from netra_repair.progress import Progress
from netra_repair.recorder.selection import container
from netra_repair.references import Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.repair import Repair
from netra_repair.scanner import Scanner
from netra_repair.source import Span
from netra_repair.suite import Suite
from netra_repair.suspects import rerunning

# A repaired call lets its test run on to the next one, which no engine could tell. Real projects need two or three
# rounds.
_MAX_ROUNDS = 12


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

# What is one lookup, or one call, of which the tests tell whether it succeeded.
_EVALUATED = (Use.CALL, Use.REFERENCE, Use.DECORATOR)


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
        self._suite = suite
        self._options = options
        self._progress = progress
        self._accounts: list[Account] = []
        self._flaky: frozenset[str] = frozenset()
        self._known: set[str] = set()
        self._alive: frozenset[SiteKey] = frozenset()
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
        before = self._baseline("running the tests as they are")
        again = rerunning(self._suite, self._options.timeout_s)
        findings = latest = self._scanner.scan(self._options.paths, before, again)
        asked = selected(findings.causes, self._options.causes)
        wanted = {cause.key for cause in asked}
        self._known = known = {cause.key for cause in findings.causes}
        second = self._baseline("running them again, to know the flaky ones", findings.causes)
        self._flaky = flaky(before, second)
        self._alive = frozenset(self._run_by_passing(findings.causes, second))
        current, later = before, dict[str, RootCause]()
        for _ in range(_MAX_ROUNDS):
            tested = self._carried_out(self._plans(asked, latest.causes), current)
            if tested is None:
                break
            current = tested
            latest = self._scanner.scan(self._options.paths, current)
            later |= {cause.key: cause for cause in latest.causes if cause.key not in known}
            asked = latest.causes
            if self._options.causes:
                asked = tuple(each for each in asked if each.key in wanted or self._account_of(each) is not None)
        if self._withdraw_unconfirmed(current):
            current = self._tests("running all tests")
            latest = self._scanner.scan(self._options.paths, current)
        self._regressed(before, current)  # what was flaky all along is none
        comparison = compare(before, current, self._flaky)
        causes = tuple(account.closed(comparison, current, self._origin) for account in self._accounts)
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
            later=tuple(later.values()),
        )

    def _baseline(self, step: str, causes: Iterable[RootCause] = ()) -> SuiteResult:
        """Runs the tests of the unchanged copy, and watches which places of causes passing tests run."""
        self._progress.step(step)
        watched: dict[str, set[int]] = {}
        for site in (site for cause in causes for site in cause.sites):
            watched.setdefault(site.reference.path, set()).add(site.reference.position.line)
        result = self._suite.run((), self._options.timeout_s, watched)
        if result.interrupted is not None:
            raise TestRunError(
                f"the tests did not come to their end: {result.interrupted}",
                "what they prove is not known; mend that first, name fewer tests behind --, or raise --timeout",
            )
        if result.foreign:
            raise TestRunError(
                f"the tests import {', '.join(result.foreign[:3])} from elsewhere, not from the copy that is changed",
                "they would prove nothing: name the import root in pytest's `pythonpath`, or install with --editable "
                "no longer",
            )
        return result

    def _tests(self, step: str, tests: Collection[str] = (), work: Iterable[_Work] = ()) -> SuiteResult:
        """Runs tests, and watches whether the changed lines are run."""
        self._progress.step(step)
        watched: dict[str, set[int]] = {}
        kept = [file for account in self._accounts for file in account.kept]
        for file in [*kept, *(file for _, plan in work for file in plan.files)]:
            watched.setdefault(file.path, set()).update(site.site.reference.position.line for site in file.sites)
        return self._suite.run(tuple(tests), self._options.timeout_s, watched)

    def _plans(self, causes: Iterable[RootCause], found: Iterable[RootCause]) -> list[_Work]:
        """A plan for each cause that has a replacement, without the sites that were taken back before.

        Args:
            causes: those that are to be repaired.
            found: all that there are.
        """
        work = []
        for cause in causes:
            account = self._account_of(cause)
            replacement = account.replacement if account else self._options.to
            if replacement is None and cause.ranking.decision in (Decision.CHOSEN, Decision.LIKELY):
                replacement = cause.ranking.candidates[0].name
            is_trial = account is None and self._options.to is None and cause.ranking.decision is Decision.LIKELY
            if replacement is None or (is_trial and not cause.tests):
                continue  # what is only likely waits until a test dies of it: perhaps in the next round, if ever
            try:
                plan = self._scanner.plan(cause, replacement)
            except PlanError:
                if account is None and self._options.to is not None:
                    raise
                continue  # a name that only some of the receivers have, or a cause met again at a class above
            if account is None:
                account = Account(cause, replacement, plan, is_trial)
                self._accounts.append(account)
            plan = account.begin(cause, plan)
            account.take_back(plan, alive := self._alive_sites(plan))
            work.append((account, plan.where(lambda site, alive=alive: key_of(site.site) not in alive)))  # type: ignore[misc]
        return self._without_contested(work, found)

    def _run_by_passing(self, causes: Iterable[RootCause], suite: SuiteResult) -> Iterator[SiteKey]:
        """The places that a passing test ran to their end: what is missing there is there when it comes.

        Where the interpreter knows columns, the lookup or the call itself must have run; else its line.
        """
        for site in (site for cause in causes for site in cause.sites):
            reference = site.reference
            ran = (reference.path, reference.position.line) in (suite.executed or ())
            if ran and suite.evaluated is not None and reference.use in _EVALUATED and not reference.in_string:
                call = reference.call if site.access is None else None
                end = self._scanner.position(reference.path, (call or reference.name).end)
                ran = (reference.path, end) in suite.evaluated
            if ran:
                yield key_of(site)

    def _alive_sites(self, plan: Plan) -> dict[SiteKey, Refusal]:
        """Places that a passing test ran before any change.

        What is missing there is made at run time; or, where another test died, something comes there that has it.
        """
        made = Refusal(
            Reason.DYNAMIC_OWNER, "a passing test runs this line, so what is missing may be made at run time"
        )
        found: dict[SiteKey, Refusal] = {}
        for site in (site.site for file in plan.files for site in file.sites):
            attribute = site.reference.attribute
            if key_of(site) not in self._alive:
                continue
            if Proof.TEST not in site.proofs:
                found[key_of(site)] = made
            elif site.proofs == (Proof.TEST,) and site.access is not None and self._scanner.is_defined(attribute):
                found[key_of(site)] = Refusal(
                    Reason.SOME_OF_A_UNION, f"a passing test runs this line too, and something else has `{attribute}`"
                )
        return found

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
        return result or self._tests("running all tests")

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
        result = self._tests(f"testing changes in {len(changed)} files", tests, together)
        regressed = self._regressed(before, result, tests, together)
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

    def _regressed(
        self, before: SuiteResult, after: SuiteResult, tests: Sequence[str] = (), work: Sequence[_Work] = ()
    ) -> tuple[str, ...]:
        """What does not pass any more, now that the changes stand in the copy.

        A test that fails newly is run again: one that then passes proves nothing. It is believed only when it passes
        among all others, too, since it may depend on them.

        Args:
            before: a run of all tests without the changes.
            after: the run with them.
            tests: those that were run; () for all.
            work: what is tried.
        """
        if after.interrupted is not None:
            return (f"a run of the tests ({after.interrupted})",)
        failing = compare(before.only(tests) if tests else before, after, self._flaky).regressed
        for selection in (sorted(set(map(container, failing))), tests):
            if failing:
                again = self._tests("running again what fails newly", selection, work)
                steady = tuple(test for test in failing if not _passes(test, again))
                if steady:
                    return steady
        self._flaky |= set(failing)
        return ()

    def _withdraw_unconfirmed(self, current: SuiteResult) -> bool:
        """Takes back what was only likely, and no test has confirmed."""
        doubtful = [account for account in self._accounts if account.is_unconfirmed(current, self._flaky)]
        touched = {file.path for account in doubtful for file in account.kept}
        for account in doubtful:
            account.withdraw()
        contents = {path: (self._origin / path).read_bytes() for path in touched}
        left = [account.kept_plan(self._origin).only(touched) for account in self._accounts]
        contents |= {image.path: image.after for image in images(left, self._origin)}
        self._write(contents)
        return bool(touched)

    def _write(self, contents: Mapping[str, bytes]) -> None:
        for path, data in contents.items():
            (self._root / path).write_bytes(data)
        self._scanner.forget(contents)


def _passes(test: str, result: SuiteResult) -> bool:
    return test in result.cases and result.cases[test].outcome is Outcome.PASSED


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
