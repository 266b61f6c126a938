"""Scan: joins what the engine, the type server, the tests, git and the definitions know into root causes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

from netra_repair.causes import Proof, RootCause
from netra_repair.checkers import Checker, Pyrefly
from netra_repair.class_statements import ClassStatements
from netra_repair.computed_writers import ComputedWriters
from netra_repair.definitions import Definitions
from netra_repair.explaining import Explainer
from netra_repair.failures import SuiteResult
from netra_repair.files import Files
from netra_repair.findings import Findings
from netra_repair.git import Git
from netra_repair.grouping import Group, grouped
from netra_repair.handing_over import HandingOver
from netra_repair.mentions import counted
from netra_repair.occurrences import Occurrences
from netra_repair.owners import Access, Owner
from netra_repair.plan import Plan, RefusedSite, in_order
from netra_repair.planning import Planner
from netra_repair.progress import Progress
from netra_repair.project import Project
from netra_repair.receivers import ImportReceivers, TypeServerReceivers
from netra_repair.references import Reference
from netra_repair.refusals import Reason, Refusal
from netra_repair.sightings import Sighter
from netra_repair.source import Position, Source, Span, UnusableSource
from netra_repair.suspects import Rerun, Suspects
from netra_repair.triage import Triage
from netra_repair.type_server import TypeServer
from netra_repair.unproven import UnprovenReferences
from netra_repair.words import Words

# How many causes, those that break tests first and then in order of their sites, are looked up in the history. Code
# that has more is dynamic, and every look costs time.
_CLOSELY = 50

# What the code means by it: places that are no findings.
_MEANT = (Reason.GUARDED, Reason.ABSENCE_TEST, Reason.UNREACHABLE)

# What untyped code is often given.
_BUILT_IN = (str, bytes, int, float, list, tuple, dict, set)


class Scanner:
    """Knows one project; asks again after its files have changed.

    Args:
        project: what is scanned.
        checker: the engine.
        server: the engine's answers to single questions.
        git: the history of the project; of the original when this one is a copy.
        progress: is told what goes on.
    """

    def __init__(self, project: Project, checker: Checker, server: TypeServer, git: Git, progress: Progress) -> None:
        self.project = project
        self._files = Files(project)
        self._checker = checker
        self._server = server
        self._definitions = Definitions(
            project.root, project.search_paths, project.site_packages, python_version=project.python_version
        )
        self._receivers = TypeServerReceivers(project, self._definitions, server)
        self._imports = ImportReceivers(project, self._definitions)
        self._git = git
        self._progress = progress
        self._words = Words(project)
        self._classes = classes = ClassStatements(project, self._definitions, self._words)
        self._triage = Triage(self._definitions, classes)
        self._sighter = Sighter(self._files, self._receivers, self._imports, self._definitions, classes, self._triage)
        self._suspects = Suspects(self._sighter, self._triage)
        self._occurrences = Occurrences(project)
        self._unproven = UnprovenReferences(self._files, self._occurrences, self._receivers)
        self._computed_writers = ComputedWriters(project, self._definitions, self._receivers, self._words)
        self._handing_over = HandingOver(project, self._definitions, self._receivers)
        self._explainer = Explainer(project, self._definitions, self._receivers, self._occurrences, self._words, git)
        self._asked_about: set[str] = set()  # the attributes whose writers the engine was asked about in this scan
        self._seconds: dict[str, float] = {}

    def scan(self, paths: Sequence[str] = (), suite: SuiteResult | None = None, rerun: Rerun | None = None) -> Findings:
        """Finds root causes.

        Args:
            paths: files and folders whose places count; empty for the whole project.
            suite: a run of the tests in the project's present state, whose failures are joined; None to do without.
            rerun: runs failing tests again, which tells those that only suffer from others' failures, or do not see
                what they die of; None to do without.

        Returns:
            What was found.

        Raises:
            ProjectError: when a path is not in the project.
            CheckerError: when the engine does not run.
        """
        self._seconds.clear()
        self._asked_about.clear()
        chosen = self.project.selected(paths)
        with self._step("checking types"), ThreadPoolExecutor(1) as pool:
            checking = pool.submit(self._checker.check, self.project, chosen)
            self._prepare()
            checked = checking.result()
        with self._step("proving receivers"):
            by_checker = self._sighter.of_checker(
                checked.diagnostics, self._ask_about_writers, self._computed_writers.look_closer
            )
            by_imports = self._sighter.of_blind([blind.path for blind in checked.blind], by_checker.sightings)
        if suite is not None and rerun is not None:
            with self._step("running suspects again"):
                suite = self._suspects.asked_again(suite, rerun, (*by_checker.sightings, *by_imports))
        with self._step("placing failures"):
            by_tests = self._sighter.of_tests(suite) if suite is not None else ()
        sightings = [*by_checker.sightings, *by_imports, *by_tests]
        groups, aside = self._told_apart(grouped(sightings, self._definitions))
        with self._step("ranking candidates", len(groups)):
            causes = [
                cause
                for index, group in enumerate(sorted(groups, key=_is_unseen_by_tests))
                for cause in self._causes(group, suite, closely=index < _CLOSELY)
            ]
            causes.sort(key=lambda cause: -len(cause.sites))
        with self._step("looking for more places"):
            known = {(site.reference.path, site.reference.name.start) for group in groups for site in group.sites}
            found = self._unproven.found(causes, known)
        with self._step("counting mentions"):
            names = {cause.parameter or cause.attribute for cause in causes}
            # A name beyond ASCII may be written in other bytes where a file is not UTF-8.
            files = self._words.files(*names) if all(map(str.isascii, names)) else self.project.sources
            mentions = counted(self.project.root, files, names)
            causes = [replace(each, mentions=mentions[each.parameter or each.attribute].total) for each in causes]
        with self._step("listing what nobody can prove"):  # after the mentions: the engine had its time meanwhile
            causes = self._unproven.listed(causes, found)
        return Findings(
            root=str(self.project.root),
            checker=self._checker.name,
            python=self.project.python_version,
            files=checked.files,
            causes=tuple(causes),
            left_out=self.project.left_out,
            blind=(*checked.blind, *by_checker.blind),
            unresolved=checked.unresolved,
            suite=suite,
            unexplained=_unexplained(suite, causes),
            warnings=(),
            seconds=tuple(self._seconds.items()),
            set_aside=in_order([*by_checker.set_aside, *aside]),
        )

    def _prepare(self) -> None:
        """Does what needs no finding, while the engine works in a process of its own."""
        self._classes.prepare()
        self._words.prepare()
        self._computed_writers.prepare()
        self._handing_over.prepare()
        self._occurrences.prepare()

    def forget(self, paths: Collection[str]) -> None:
        """Takes notice that files have been written: they are read again.

        Args:
            paths: relative to the project's root.
        """
        self._files.forget(paths)
        self._occurrences.forget(paths)
        self._computed_writers.forget()
        self._handing_over.forget()
        self._words.forget()
        self._server.changed(paths)

    def rule_out(self, cause: RootCause, candidate: str) -> None:
        """Takes notice that tests have spoken against a candidate; see `Explainer.rule_out`."""
        self._explainer.rule_out(cause, candidate)

    def plan(self, cause: RootCause, replacement: str, *, is_called: bool = False) -> Plan:
        """Makes the plan of one cause.

        Args:
            cause: of a scan of the project's present state.
            replacement: what is to stand there; for call kinds the parameter.
            is_called: whether places of the cause that are mended already call it.

        Returns:
            The edits and the refusals.

        Raises:
            PlanError: when the owner has nothing of the replacement's name.
        """
        planner = Planner(
            root=self.project.root,
            read=self._files.around,
            definitions=self._definitions,
            left_out={left.path: left.refusal for left in self.project.left_out},
            dirty=self._git.dirty(),
        )
        return planner.build(
            cause, replacement, lambda site: self._explainer.alternative(cause, site), is_called=is_called
        )

    def position(self, path: str, offset: int) -> Position:
        """The line and column of a place in a file of the project, as it is now."""
        return self._files.source(path).position(offset)

    def is_defined(self, attribute: str) -> bool:
        """Whether anything in the project, or a built-in class, has an attribute of the name."""
        return self._occurrences.defining(attribute) or any(attribute in dir(each) for each in _BUILT_IN)

    def are_related(self, one: Owner, other: Owner) -> bool:
        """Whether one of two owners is the other or inherits from it."""
        return one in self._definitions.mro(other) or other in self._definitions.mro(one)

    def _causes(self, group: Group, suite: SuiteResult | None, *, closely: bool) -> list[RootCause]:
        self._progress.advance()
        return self._explainer.causes(group, suite, with_past=closely)

    @contextmanager
    def _step(self, name: str, total: int | None = None) -> Iterator[None]:
        self._progress.step(name, total)
        began = time.monotonic()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - began

    def _told_apart(self, groups: Iterable[Group]) -> tuple[list[Group], list[RefusedSite]]:
        """Groups that are causes, and the places of those that are none."""
        causes: list[Group] = []
        aside: list[RefusedSite] = []
        with self._step("telling causes from dynamic code"):
            possible: list[tuple[Group, Refusal | None]] = []
            told = [(group, self._of_owners(group) if group.kind.is_attribute else None) for group in groups]
            asked = [group for group, why in told if why is None and group.kind.is_attribute]
            for group in asked:
                self._ask_about_writers(group.attribute)
            for group, why in told:
                if why is None and group.kind.is_attribute:
                    why = self._of_other_code(group)
                # What is there on another platform is missing for a test that only says that it runs on that.
                is_elsewhere = why is not None and why.reason is Reason.UNREACHABLE
                if why is None or (not is_elsewhere and any(Proof.TEST in site.proofs for site in group.sites)):
                    possible.append((group, why))
                else:
                    aside += [RefusedSite(site, site.refusal or why) for site in group.sites]
            for group, why in self._placed(possible):
                # Where a test died it is real, whatever the code makes one expect. The other places stay unproven.
                sites = tuple(
                    site if why is None or Proof.TEST in site.proofs else replace(site, refusal=why)
                    for site in group.sites
                )
                if any(site.refusal is None or site.refusal.reason not in _MEANT for site in sites):
                    causes.append(replace(group, sites=sites))
                else:
                    aside += [RefusedSite(site, site.refusal) for site in sites if site.refusal]
        return causes, aside

    def _placed(self, groups: Sequence[tuple[Group, Refusal | None]]) -> Iterator[tuple[Group, Refusal | None]]:
        """The groups with what stands around their sites; file by file, so that each is parsed once."""
        by_file: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, (group, _) in enumerate(groups):
            for index, site in enumerate(group.sites if group.kind.is_attribute else ()):
                by_file[site.reference.path].append((number, index))
        sites = [list(group.sites) for group, _ in groups]
        for path, work in by_file.items():
            placed = self._sighter.placed(path, [sites[number][index] for number, index in work])
            for (number, index), site in zip(work, placed, strict=True):
                sites[number][index] = site
        for (group, why), own in zip(groups, sites, strict=True):
            yield replace(group, sites=tuple(own)), why

    def _of_owners(self, group: Group) -> Refusal | None:
        """Why what a group's classes are explains that an attribute is missing; None when it does not."""
        access = _common_access(group)
        refusals = (self._triage.of_owner(owner, access, group.attribute) for owner in _owners(group))
        return next((refusal for refusal in refusals if refusal is not None), None)

    def _of_other_code(self, group: Group) -> Refusal | None:
        """Why other code may give a group's classes the attribute at run time; None when none does."""
        writer = self._writer(group)
        if writer is not None:
            place = f"{writer.path}:{writer.position.line}"
            return Refusal(Reason.DYNAMIC_OWNER, f"`{group.attribute}` is set at run time, at {place}")
        access, owners = _common_access(group), _owners(group)
        for owner in owners:
            computed = self._computed_writers.on(owner, access, group.attribute)
            if computed is not None:
                return Refusal(Reason.DYNAMIC_OWNER, f"{computed} sets attributes of computed names on {owner.name}")
        for owner in owners:
            handed = self._handing_over.of(owner)
            if handed is not None:
                return Refusal(Reason.DYNAMIC_OWNER, f"{handed} hands {owner.name} to a library, which may add to it")
        return None

    def _ask_about_writers(self, attribute: str) -> None:
        """Lets the engine work on what `_writer` will ask."""
        if attribute in self._asked_about:
            return
        self._asked_about.add(attribute)
        for path in self._occurrences.writing(attribute):
            with suppress(UnusableSource, ValueError):  # `_writer` meets the same error
                places = self._occurrences.writes(path, attribute)
                receivers = (receiver for _, receiver in places if receiver is not None)
                self._receivers.ask_ahead(self._files.source(path), receivers)

    def _writer(self, group: Group) -> Reference | None:
        """A place that sets the attribute on the owner, or on something that nobody can tell."""
        name = group.attribute
        for path in self._occurrences.writing(name):
            with suppress(UnusableSource, ValueError):  # listed among the blind files already, or written meanwhile
                source = self._files.source(path)
                # Most stand on something else, and where that is a plain name it is known without any parsing.
                places = self._occurrences.writes(path, name)
                left = [
                    at for at, receiver in places if receiver is None or self._may_be(source, receiver, group.owner)
                ]
                if not left:
                    continue
                for writer in self._files.around(path, left).writers((name,)):
                    if writer.receiver is not None and self._may_be(source, writer.receiver, group.owner):
                        return writer
        return None

    def _may_be(self, source: Source, span: Span, owner: Owner) -> bool:
        """Whether an expression is an owner or related to it, or nobody can tell what it is."""
        owners = self._receivers.of(source, span).owners
        return not owners or any(self.are_related(each, owner) for each, _ in owners)


@contextmanager
def opened(project: Project, git: Git, progress: Progress) -> Iterator[Scanner]:
    """A scanner with the engine that is installed.

    Args:
        project: what is scanned.
        git: the history of the project; of the original when this one is a copy.
        progress: is told what goes on.

    Yields:
        The scanner; its type server ends with the block.

    Raises:
        CheckerError: when no engine of a known version is installed.
    """
    with TypeServer(project) as server:
        yield Scanner(project, Pyrefly(), server, git, progress)


def _owners(group: Group) -> Collection[Owner]:
    """The class above all that were asked, and these."""
    return dict.fromkeys((group.owner, *group.receivers))


def _is_unseen_by_tests(group: Group) -> bool:
    return not any(site.tests for site in group.sites)


def _common_access(group: Group) -> Access | None:
    kinds = {site.access for site in group.sites}
    return kinds.pop() if len(kinds) == 1 else None


def _unexplained(suite: SuiteResult | None, causes: Iterable[RootCause]) -> tuple[str, ...]:
    """Tests that died of something missing, and that no cause explains. Other failures are no concern of this tool."""
    if suite is None:
        return ()
    explained = {test for cause in causes for test in cause.tests}
    cases = (case for case in suite.cases.values() if case.broken and case.raised)
    return tuple(sorted(case.test for case in cases if case.test not in explained))
