"""The report for a terminal or a log: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from netra_repair.causes import RootCause
from netra_repair.findings import Findings
from netra_repair.plan import Plan
from netra_repair.repair import Comparison, Repair
from netra_repair.report import commands, unified
from netra_repair.report.chapters import by_reason, chapters
from netra_repair.report.page import FIELD, Page, labelled
from netra_repair.report.rates import BeforeAfter
from netra_repair.report.text_cause import (
    print_cause,
    print_change,
    print_evidence,
    print_outcome,
    print_places,
    print_refused,
    where,
)
from netra_repair.report.unified import LineKind
from netra_repair.report.words import cautions, counted, headline, places, printable, scope_of

_STYLES = {
    LineKind.FILE: "bold",
    LineKind.HUNK: "cyan",
    LineKind.ADDED: "green",
    LineKind.REMOVED: "red",
    LineKind.CONTEXT: "",
}


def print_findings(console: Console, findings: Findings, verbose: bool = False) -> None:
    """Prints a scan: each cause with its evidence, what to do next, and what to know before trusting it.

    Args:
        console: where to; not a terminal: plain lines of any length.
        findings: the scan.
        verbose: whether to list every place and test instead of the first few.
    """
    page = Page(console, verbose)
    _print_summary(page, findings)
    for number, chapter in enumerate(chapters(findings), 1):
        page.gap()
        print_cause(page, number, chapter.cause)
        print_evidence(page, chapter.cause.ranking)
        for label, command in labelled("next", commands.next_steps(findings.root, chapter.cause)):
            page.command(command, FIELD, label)
        print_refused(page, chapter.refused)
        print_places(page, chapter)
    _print_cautions(page, findings)
    _print_left_alone(page, findings)


def print_plan(console: Console, plan: Plan, verbose: bool = False) -> None:
    """Prints what would be changed for one cause, and what is refused.

    Args:
        console: where to; not a terminal: plain lines of any length.
        plan: what would be changed.
        verbose: whether to list every site instead of the first few of each file.
    """
    page = Page(console, verbose)
    changes = [change.site.reference for file in plan.files for change in file.sites]
    page.line((plan.cause, "bold"), " → ", (plan.replacement or "nothing", "bold"))
    page.line(f"would change {places(changes)}, refuses {counted(len(plan.refused), 'site')}", indent=2)
    for file in plan.files:
        page.line(file.path, indent=2)
        for change in page.some(file.sites, FIELD):
            print_change(page, change)
    print_refused(page, plan.refused)


def print_repair(console: Console, repair: Repair, verbose: bool = False) -> None:
    """Prints what a fix came to: success rates before and after, what was kept or refused, and how to undo it.

    Args:
        console: where to; not a terminal: plain lines of any length.
        repair: the fix.
        verbose: whether to list every place and test instead of the first few; regressed tests always are.
    """
    page = Page(console, verbose)
    told = chapters(repair)
    _print_rates(page, repair.comparison)
    _print_causes(page, repair)
    worked_on = [(chapter, chapter.outcome) for chapter in told if chapter.outcome is not None]
    for number, (chapter, outcome) in enumerate(worked_on, 1):
        page.gap()
        print_cause(page, number, chapter.cause)
        print_outcome(page, chapter, outcome)
        print_refused(page, chapter.refused)
    _print_not_worked_on(page, repair.findings.root, [chapter.cause for chapter in told if chapter.outcome is None])
    page.gap()
    page.line(("tests", "bold"))
    _print_tests(page, repair.comparison)
    _print_cautions(page, repair.findings)
    _print_left_alone(page, repair.findings)
    page.gap()
    if repair.remaining:
        page.line(f"{counted(repair.remaining, 'site')} that the checker still reports, refused ones included")
    page.line(f"it took {repair.seconds:.1f} s")
    if repair.run is None:
        page.line("nothing was written to the project; `--apply` writes what was verified")
    else:
        page.line(f"run {repair.run}; to take it back:")
        page.command(commands.undo(repair.findings.root, repair.run), 2)


def print_comparison(console: Console, comparison: Comparison, verbose: bool = False) -> None:
    """Prints two runs of the same tests side by side: the rates, and what changed.

    Args:
        console: where to; not a terminal: plain lines of any length.
        comparison: the runs before and after.
        verbose: whether to list every test instead of the first few; regressed tests always are.
    """
    page = Page(console, verbose)
    _print_rates(page, comparison)
    _print_tests(page, comparison)


def print_diff(console: Console, diff: str) -> None:
    """Prints a unified diff: coloured on a terminal, else letter for letter as it is.

    Args:
        console: where to.
        diff: its lines end with a line feed.
    """
    if not console.is_terminal:
        console.file.write(diff)
        return
    for line in unified.lines(diff):
        console.print(Text(printable(line.text, keep="\t"), _STYLES[line.kind]), soft_wrap=True, highlight=False)


def _print_summary(page: Page, findings: Findings) -> None:
    causes = findings.causes
    sites = [site.reference for cause in causes for site in cause.sites]
    broken = {test for cause in causes for test in cause.tests}
    found = f"{counted(len(causes), 'root cause')}: {places(sites)}, {counted(len(broken), 'test')} broken"
    page.line((found if causes else "no root cause found", "bold"))
    steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in findings.seconds)
    took = f"{sum(seconds for _, seconds in findings.seconds):.1f} s" + (f" ({steps})" if steps else "")
    page.line(f"{counted(findings.files, 'file')}, {findings.checker}, Python {findings.python}, {took}")


def _print_rates(page: Page, comparison: Comparison) -> None:
    rates = BeforeAfter.of_tests(comparison)
    page.line((f"success rate {rates.before} → {rates.after}", "bold"))
    if rates.before.total:
        tests = counted(rates.before.total, "test")
        page.line(f"{rates.before.passed:,} of {tests} passed before, {rates.after.passed:,} pass now")
    else:
        page.line("no test was run: nothing shows what the change does")


def _print_causes(page: Page, repair: Repair) -> None:
    rows = [("before", "after", "changed", "refused", "root cause")]
    for outcome in repair.causes:
        rates = BeforeAfter.of_cause(outcome)
        changed = sum(len(file.sites) for file in outcome.plan.files)
        counts = (f"{changed:,}", f"{len(outcome.plan.refused):,}")
        replaced = f"{outcome.key} → {outcome.plan.replacement or 'nothing'}"
        rows.append((str(rates.before), str(rates.after), *counts, replaced))
    page.gap()
    page.rows(rows)


def _print_not_worked_on(page: Page, root: str, causes: Sequence[RootCause]) -> None:
    if causes:
        page.gap()
        page.line((f"{counted(len(causes), 'root cause')} not worked on", "bold"))
    for cause in causes:
        page.line(f"{headline(cause)}: {scope_of(cause)}", indent=2)
        page.line(f"{cause.ranking.decision.value}: {cause.ranking.reason}", indent=4)
        for command in commands.next_steps(root, cause):
            page.command(command, 4)


def _print_tests(page: Page, comparison: Comparison) -> None:
    for tests, meaning, style in (
        (comparison.restored, "restored: failed before, passing now", "green"),
        (comparison.regressed, "regressed: passed before, not passing now", "red"),
        (comparison.otherwise, "failing for another reason than before", "yellow"),
        (comparison.unchanged, "failing for the same reason as before", "yellow"),
        (comparison.flaky, "flaky: ending differently with the same code, which proves nothing", "yellow"),
    ):
        page.line((f"{len(tests):>7,} ", style if tests else ""), meaning, indent=2)
        if tests is not comparison.restored or page.verbose:
            for test in tests if tests is comparison.regressed else page.some(tests, FIELD):
                page.line(test, indent=FIELD)


def _print_cautions(page: Page, findings: Findings) -> None:
    told = cautions(findings)
    if told or findings.unexplained:
        page.gap()
        page.line(("before you trust this", "bold yellow"))
    for caution in told:
        page.line(caution, indent=4, label="  !")
    if findings.unexplained:
        page.line(
            f"{counted(len(findings.unexplained), 'failing test')} that no cause explains:", indent=4, label="  !"
        )
        for test in page.some(findings.unexplained, 6):
            page.line(test, indent=6)


def _print_left_alone(page: Page, findings: Findings) -> None:
    listed = ":" if page.verbose else "; -v lists them"
    if findings.set_aside:
        page.gap()
        marked = counted(len(findings.set_aside), "place")
        page.line(f"{marked} that the checker marked, set aside because they are no findings{listed}")
        for refusal, sites in by_reason(findings.set_aside):
            page.line(f"{len(sites):,} {refusal.reason.value}: {refusal.detail}", indent=4)
            for site in sites if page.verbose else ():
                page.line(*where(site.reference), indent=6)
    if findings.left_out:
        page.gap()
        page.line(f"{counted(len(findings.left_out), 'file')} analysed, but never edited{listed}")
    for left_out in findings.left_out if page.verbose else ():
        page.line(f"{left_out.path}: {left_out.refusal.reason.value}: {left_out.refusal.detail}", indent=4)
