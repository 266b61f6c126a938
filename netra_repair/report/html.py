"""One page for people: success rate before and after per cause, the diff, what was refused and why.

The page needs nothing but itself: no script, no request, and a content security policy that allows its own style only.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from netra_repair.candidates import Decision
from netra_repair.findings import Findings
from netra_repair.plan import Plan
from netra_repair.repair import Comparison, Repair
from netra_repair.report import commands, unified, widgets
from netra_repair.report.chapters import Chapter, chapters, scan_of
from netra_repair.report.html_cause import card
from netra_repair.report.markup import Html, element, joined, prose
from netra_repair.report.rates import BeforeAfter, Rate
from netra_repair.report.unified import FileDiff, LineKind
from netra_repair.report.words import (
    TOOL,
    cautions,
    counted,
    headline,
    places,
    tool_version,
)

_OPEN = 400
"""Up to how many lines the diff is shown without a click."""


def render(report: Findings | Repair, plans: Sequence[Plan] = ()) -> str:
    """Writes a report as one HTML page.

    Args:
        report: a scan or a fix.
        plans: what would be changed for a scan's causes; a fix brings its own.

    Returns:
        The page, to be written as UTF-8.
    """
    style = files("netra_repair.report").joinpath("page.css").read_text(encoding="utf-8")
    told = chapters(report, plans)
    body = element(
        "body",
        _header(report),
        _cautions(scan_of(report)),
        element("main", _overview(report, told), _causes(scan_of(report).root, told), *_ending(report)),
        element("footer", f"{TOOL} {tool_version()}, {scan_of(report).checker}"),
    )
    page = element("html", _head(report, style), body, lang="en")
    return f"<!doctype html>\n{page}\n"


def _head(report: Findings | Repair, style: str) -> Html:
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", _title(report), " · netra repair"),
        element("style", Html(style)),
    )


def _title(report: Findings | Repair) -> str:
    if isinstance(report, Repair):
        rates = BeforeAfter.of_tests(report.comparison)
        changed = sum(len(file.sites) for outcome in report.causes for file in outcome.plan.files)
        moved = f"Success rate {rates.before} → {rates.after}"
        return moved if rates.before.total else f"{counted(changed, 'call site')} rewritten, no test run"
    if not report.causes:
        return "No root cause found"
    broken = {test for cause in report.causes for test in cause.tests}
    verb = "breaks" if len(report.causes) == 1 else "break"
    found = counted(len(report.causes), "root cause")
    return f"{found} {verb} {counted(len(broken), 'test')}" if broken else f"{found} found"


def _project(root: str) -> str:
    """What people call the folder: not a dot, which says nothing on a page that is opened elsewhere."""
    return Path(root).resolve().name if root == "." else root


def _header(report: Findings | Repair) -> Html:
    scan = scan_of(report)
    facts = [("Project", _project(scan.root)), ("Files analysed", f"{scan.files:,}"), ("Checker", scan.checker)]
    facts.append(("Python", scan.python))
    if isinstance(report, Repair):
        facts += [("Took", f"{report.seconds:.1f} s"), ("Run", report.run or "nothing was written")]
        content: tuple[Html | None, ...] = (_lead(_fix_in_words(report)), _headline_rates(report.comparison))
    else:
        facts.append(("Took", f"{sum(seconds for _, seconds in scan.seconds):.1f} s"))
        content = (_lead(_scan_in_words(scan)),)
    kind = "fix" if isinstance(report, Repair) else "scan"
    listed = [element("div", element("dt", name), element("dd", value)) for name, value in facts]
    return element(
        "header",
        element("p", f"Netra repair · {kind} report", class_="kicker"),
        element("h1", _title(report)),
        *content,
        element("dl", *listed, class_="facts"),
    )


def _lead(words: str) -> Html:
    return element("p", words, class_="lead")


def _fix_in_words(repair: Repair) -> str:
    comparison = repair.comparison
    changed = [
        change.site.reference for outcome in repair.causes for file in outcome.plan.files for change in file.sites
    ]
    refused = sum(len(outcome.plan.refused) for outcome in repair.causes)
    where = "rewritten" if repair.run is not None else "rewritten in a copy: nothing was written to the project"
    return (
        f"{counted(len(comparison.restored), 'test')} restored, {len(comparison.regressed):,} regressed. "
        f"{places(changed)} {where}; {refused:,} refused."
    )


def _scan_in_words(scan: Findings) -> str:
    sites = [site.reference for cause in scan.causes for site in cause.sites]
    chosen = sum(cause.ranking.decision is Decision.CHOSEN for cause in scan.causes)
    return f"{places(sites)}. A replacement stands out for {chosen:,} of {counted(len(scan.causes), 'root cause')}."


def _headline_rates(comparison: Comparison) -> Html | None:
    rates = BeforeAfter.of_tests(comparison)
    if not rates.before.total:
        return None
    rows = [
        (
            element("dt", when),
            element("dd", widgets.bar(rate, f"{when}: {rate}"), element("span", _passed(rate), class_="figure")),
        )
        for when, rate in (("Before", rates.before), ("After", rates.after))
    ]
    return element("dl", *rows, class_="rates")


def _cautions(scan: Findings) -> Html | None:
    told: list[Html] = [element("li", prose(caution)) for caution in cautions(scan)]
    if scan.unexplained:
        label = f"{counted(len(scan.unexplained), 'failing test')} that no cause explains"
        told.append(element("li", label, widgets.items(scan.unexplained)))
    if not told:
        return None
    return element("section", element("h2", "Before you trust this"), element("ul", *told), class_="caution")


def _overview(report: Findings | Repair, told: Sequence[Chapter]) -> Html | None:
    if not told:
        return None
    links = {
        chapter.cause.key: element("a", prose(headline(chapter.cause)), href=f"#cause-{number}")
        for number, chapter in enumerate(told, 1)
    }
    table = _table_of_fix(report, links) if isinstance(report, Repair) else _table_of_scan(told, links)
    return element("section", element("h2", "Root causes"), table)


def _table_of_scan(told: Sequence[Chapter], links: Mapping[str, Html]) -> Html:
    counts = [(name, "number") for name in ("Sites", "Broken tests", "Refused")]
    rows = [
        element(
            "tr",
            element("th", links[chapter.cause.key], scope="row", class_="name"),
            element("td", widgets.verdict(chapter.cause.ranking.decision)),
            widgets.numbers(len(chapter.cause.sites), len(chapter.cause.tests), len(chapter.refused)),
        )
        for chapter in told
    ]
    return widgets.table("Most sites first", [("Root cause", None), ("Decision", None), *counts], rows)


def _table_of_fix(repair: Repair, links: Mapping[str, Html]) -> Html:
    """Every cause that was worked on; one that came to light later and was not passed on has no chapter to link to."""
    heads = [("Root cause", None), ("Before", "of-rate"), ("After", "of-rate")]
    heads += [("Changed", "number"), ("Refused", "number")]
    rows = []
    for outcome in repair.causes:
        rates = BeforeAfter.of_cause(outcome)
        cells = [
            element("td", str(rate), widgets.bar(rate, f"{rate} {when}") if rate.total else None, class_="of-rate")
            for when, rate in (("before", rates.before), ("after", rates.after))
        ]
        name = links.get(outcome.key) or element("code", outcome.key)
        changed = sum(len(file.sites) for file in outcome.plan.files)
        numbers = widgets.numbers(changed, len(outcome.plan.refused))
        rows.append(element("tr", element("th", name, scope="row", class_="name"), cells, numbers))
    worked_on = {outcome.key for outcome in repair.causes}
    rows += [
        element(
            "tr",
            element("th", link, scope="row", class_="name"),
            element("td", "not worked on", colspan=4, class_="soft"),
        )
        for key, link in links.items()
        if key not in worked_on
    ]
    return widgets.table("How many of the tests that a cause broke pass, before and after", heads, rows)


def _causes(root: str, told: Sequence[Chapter]) -> Html | None:
    if not told:
        return None
    cards = [card(root, number, chapter) for number, chapter in enumerate(told, 1)]
    return joined(element("h2", "Each cause"), cards)


def _ending(report: Findings | Repair) -> Iterable[Html | None]:
    if isinstance(report, Repair):
        yield _tests(report.comparison)
    yield _left_out(scan_of(report))
    if isinstance(report, Repair):
        yield _diff(report.diff)
        if report.run is not None:
            undo = widgets.command(commands.undo(report.findings.root, report.run))
            yield element("section", element("h2", "To take it back"), undo)


def _tests(comparison: Comparison) -> Html:
    groups = (
        ("Restored", "failed before, passing now", "good", comparison.restored),
        ("Regressed", "passed before, not passing now", "bad", comparison.regressed),
        ("Failing for another reason", "progress, not success", "wait", comparison.otherwise),
        ("Failing for the same reason", "", "wait", comparison.unchanged),
        ("Flaky", "ending differently with the same code, which proves nothing", "wait", comparison.flaky),
    )
    rows = [
        element(
            "tr",
            element("th", element("span", name, class_=style if tests else None), scope="row"),
            element("td", f"{len(tests):,}", class_="number"),
            element("td", meaning, widgets.folded("Which", tests)),
        )
        for name, meaning, style, tests in groups
    ]
    heads = [("Outcome", None), ("Tests", "number"), ("Meaning", None)]
    rows.append(
        element(
            "tr",
            element("th", "Passing before and now", scope="row"),
            element("td", f"{comparison.passed:,}", class_="number"),
            element("td"),
        )
    )
    return element("section", element("h2", "Tests"), widgets.table("All tests, before and after", heads, rows))


def _left_out(scan: Findings) -> Html | None:
    if not (scan.left_out or scan.set_aside):
        return None
    files = [f"{each.path}: {each.refusal.reason.value}: {each.refusal.detail}" for each in scan.left_out]
    aside = f"Places that the checker marked and that are no finding ({len(scan.set_aside):,})"
    return element(
        "section",
        element("h2", "Left alone"),
        element("details", element("summary", aside), widgets.grouped(scan.set_aside)) if scan.set_aside else None,
        widgets.folded("Files that are analysed, but never edited", files),
    )


def _diff(diff: str) -> Html | None:
    parts = unified.files(diff)
    if not parts:
        return None
    is_open = "" if sum(len(part.lines) for part in parts) <= _OPEN else None
    shown = [
        element(
            "details",
            element("summary", element("code", part.path), _extent(part)),
            widgets.diff(part.lines),
            open=is_open,
        )
        for part in parts
    ]
    return element("section", element("h2", f"The diff ({counted(len(parts), 'file')})"), *shown)


def _extent(part: FileDiff) -> Html:
    extent = f" +{part.count(LineKind.ADDED):,} −{part.count(LineKind.REMOVED):,}"
    return element("span", extent, class_="soft")


def _passed(rate: Rate) -> str:
    return f"{rate.passed:,} of {counted(rate.total, 'test')}"
