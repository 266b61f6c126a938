"""Workflow commands of GitHub Actions: one annotation for each cause.

GitHub keeps ten errors, ten warnings and ten notices of a step and drops the others silently, so that one annotation
for each site would hide whole causes.
"""

from __future__ import annotations

from collections.abc import Iterator

from netra_repair.findings import Findings
from netra_repair.references import Reference
from netra_repair.repair import Repair
from netra_repair.report import commands
from netra_repair.report.chapters import Chapter, by_reason, chapters, is_defect, is_written, scan_of
from netra_repair.report.words import TOOL, cautions, counted, from_working_folder, headline, place, printable, scope_of

_KEPT = 10
_EXAMPLES = 5
_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = _DATA | str.maketrans({":": "%3A", ",": "%2C"})


def render(report: Findings | Repair) -> str:
    """Writes a report as workflow commands.

    Args:
        report: a scan, or a fix: then only what it left is told.

    Returns:
        One command a line: an error for each cause with the place of its first site, and for regressed tests; a
        warning for what must be known before trusting the rest. Empty when there is nothing to tell.
    """
    errors = [*_causes(report), *_regressions(report)]
    warnings = [_command("warning", TOOL, caution) for caution in cautions(scan_of(report))]
    return "".join(f"{line}\n" for line in [*_kept(errors, "error"), *_kept(warnings, "warning")])


def _causes(report: Findings | Repair) -> Iterator[str]:
    root, written = scan_of(report).root, is_written(report)
    for chapter in chapters(report):
        standing = [site for site in chapter.cause.sites if not (written and chapter.change_of(site))]
        left = [site.reference for site in standing if is_defect(site)]
        if left:
            # Where a file has been rewritten, columns of the scan may be off; lines are not: no edit adds or takes one.
            exact = not written or left[0].path not in {change.site.reference.path for change in chapter.changes}
            yield _error(root, chapter, left, exact)


def _error(root: str, chapter: Chapter, left: list[Reference], exact: bool) -> str:
    cause, first = chapter.cause, left[0]
    more = len(left) - _EXAMPLES
    told = [
        scope_of(cause) if len(left) == len(cause.sites) else f"{scope_of(cause)}; {counted(len(left), 'site')} left",
        *_what_next(root, chapter),
        *(place(reference) for reference in left[:_EXAMPLES]),
        *([f"and {counted(more, 'more place')}"] if more > 0 else []),
    ]
    end = first.position.column + len(first.attribute)
    columns = {"col": str(first.position.column), "endColumn": str(end)} if exact else {}
    file = from_working_folder(root, first.path)
    line = str(first.position.line)
    return _command("error", headline(cause), "\n".join(told), file=file, line=line, endLine=line, **columns)


def _what_next(root: str, chapter: Chapter) -> list[str]:
    if chapter.outcome is not None:
        return [
            f"{len(sites):,} {refusal.reason.value}: {refusal.detail}" for refusal, sites in by_reason(chapter.refused)
        ]
    ranking = chapter.cause.ranking
    return [f"{ranking.decision.value}: {ranking.reason}", *commands.next_steps(root, chapter.cause)]


def _regressions(report: Findings | Repair) -> Iterator[str]:
    if isinstance(report, Repair) and (regressed := report.comparison.regressed):
        more = [f"and {len(regressed) - _EXAMPLES:,} more"] if len(regressed) > _EXAMPLES else []
        title = f"{counted(len(regressed), 'test')} passed before the fix and not any more"
        yield _command("error", title, "\n".join([*regressed[:_EXAMPLES], *more]))


def _kept(lines: list[str], level: str) -> list[str]:
    if len(lines) <= _KEPT:
        return lines
    told = f"{len(lines) - _KEPT + 1:,} more of these are in the log and in the other reports"
    return [*lines[: _KEPT - 1], _command(level, TOOL, told)]


def _command(level: str, title: str, message: str, **properties: str) -> str:
    named = {**properties, "title": title}
    words = ",".join(f"{name}={printable(value).translate(_PROPERTY)}" for name, value in named.items())
    return f"::{level} {words}::{printable(message, keep=chr(10)).translate(_DATA)}"
