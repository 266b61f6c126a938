"""SARIF 2.1.0 (OASIS), for code scanning and editors.

A result is a site that is known to be wrong and still stands in the files. Left out are the sites whose code expects
that the name may be absent, and receivers that nobody could tell: GitHub opens an alert for every result, suppressed
or not (github/codeql-action#1230). The JSON report has them all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from netra_repair.causes import Site
from netra_repair.edits import Edit
from netra_repair.findings import Findings
from netra_repair.plan import Plan, SiteEdit
from netra_repair.refusals import Reason, Refusal
from netra_repair.repair import Repair
from netra_repair.report.chapters import Chapter, chapters, is_defect, is_written, scan_of
from netra_repair.report.rules import RULES, rule_id
from netra_repair.report.words import (
    TOOL,
    cautions,
    from_working_folder,
    has_source,
    headline,
    places,
    printable,
    tool_version,
)
from netra_repair.source import Position, Source, UnreadableSource

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_BASE = "%SRCROOT%"
_FINGERPRINT = "netraSite/v1"
_NOTES = frozenset({Reason.DYNAMIC_OWNER, Reason.NOT_A_LOAD})

_Object = dict[str, Any]


def render(report: Findings | Repair, read: Callable[[str], Source], plans: Sequence[Plan] = ()) -> str:
    """Writes a report as a SARIF log with one run.

    Args:
        report: a scan, or a fix: once that has been written, only what it left is told.
        read: gives a file of the project by its relative path as it is now; may raise UnreadableSource.
        plans: what would be changed for a scan's causes, for `fixes`; a fix brings its own.

    Returns:
        One JSON object, in ASCII, with a line feed at its end. Locations are relative to the working folder when the
        root was given so, else to the root; columns are code points, from 1, and the end is the one after the last.
    """
    log = _Log(scan_of(report).root, read, is_written(report))
    results = [result for chapter in chapters(report, plans) for result in log.results(chapter)]
    content = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [_run(scan_of(report), results)]}
    return json.dumps(content, indent=2) + "\n"


def _run(scan: Findings, results: list[_Object]) -> _Object:
    notifications = [{"level": "warning", "message": {"text": printable(caution)}} for caution in cautions(scan)]
    return {
        "tool": {"driver": {"name": TOOL, "version": tool_version(), "rules": [rule.as_sarif() for rule in RULES]}},
        "automationDetails": {"id": "netra-repair/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_BASE: {"description": {"text": "The folder in which the tool was started."}}},
        "invocations": [{"executionSuccessful": scan.files > 0, "toolExecutionNotifications": notifications}],
        "results": results,
        "properties": {"checker": scan.checker, "python": scan.python, "files": scan.files},
    }


class _Log:
    """Makes results; keeps the files it has read, and how often a line has been seen.

    Args:
        root: the project's root as the user gave it.
        read: gives a file as it is now.
        written: whether the plans have been carried out.
    """

    def __init__(self, root: str, read: Callable[[str], Source], written: bool) -> None:
        self._root = root
        self._read = read
        self._written = written
        self._sources: dict[str, Source | None] = {}
        self._seen: dict[str, int] = {}

    def results(self, chapter: Chapter) -> list[_Object]:
        """The results of one cause, in the order of its sites."""
        edited = {change.site.reference.path for change in chapter.changes} if self._written else set()
        return [
            self._result(chapter, site, site.reference.path not in edited)
            for site in chapter.cause.sites
            if is_defect(site) and not (self._written and chapter.change_of(site))
        ]

    def _result(self, chapter: Chapter, site: Site, exact: bool) -> _Object:
        cause, refusal, change = chapter.cause, chapter.refusal_of(site), chapter.change_of(site)
        result: _Object = {
            "ruleId": rule_id(cause.kind),
            "ruleIndex": [rule.kind for rule in RULES].index(cause.kind),
            "level": _level(site),
            "message": {"text": _message(chapter, refusal, change)},
            "locations": [self._location(site, exact)],
            "partialFingerprints": {_FINGERPRINT: self._fingerprint(cause.key, site)},
            "properties": {
                "cause": cause.key,
                "proofs": [proof.value for proof in site.proofs],
                "tests": list(site.tests),
                "refusal": None if refusal is None else refusal.reason.value,
            },
        }
        related = self._related(chapter)
        return result | ({"relatedLocations": related} if related else {}) | self._fixes(change)

    def _location(self, site: Site, exact: bool) -> _Object:
        """Where a site is; without columns in a file that was rewritten since, where no edit adds or takes a line."""
        at, reference = site.reference.position, site.reference
        region: _Object = {"startLine": at.line}
        if exact:
            region |= _region(at, Position(at.line, at.column + len(reference.attribute)))
        scope = [{"fullyQualifiedName": reference.scope}] if reference.scope else []
        location = {"physicalLocation": {"artifactLocation": self._artifact(reference.path), "region": region}}
        return location | ({"logicalLocations": scope} if scope else {})

    def _related(self, chapter: Chapter) -> list[_Object]:
        """Where the owner and the replacement are defined, as far as that is inside the project."""
        cause, plan = chapter.cause, chapter.plan
        chosen = plan.candidate.member if plan is not None and plan.candidate is not None else None
        spots = [(cause.owner, cause.owner.line, f"{cause.owner.kind.value} `{cause.owner.name}` is defined here")]
        if chosen is not None:
            spots.append((chosen.owner, chosen.line, f"`{chosen.name}` is defined here"))
        inside = [spot for spot in spots if spot[0].is_inside and has_source(spot[0])]
        return [
            {
                "id": number,
                "physicalLocation": {
                    "artifactLocation": self._artifact(owner.file),
                    "region": {"startLine": line},
                },
                "message": {"text": text},
            }
            for number, (owner, line, text) in enumerate(inside, 1)
        ]

    def _fixes(self, change: SiteEdit | None) -> _Object:
        source = None if change is None else self._source(change.site.reference.path)
        if change is None or source is None:
            return {}
        artifact_change = {
            "artifactLocation": self._artifact(source.path),
            "replacements": [_replacement(source, edit) for edit in sorted(set(change.edits))],
        }
        text = f"Put `{change.replacement}` in place of `{change.site.reference.attribute}`"
        return {"fixes": [{"description": {"text": text}, "artifactChanges": [artifact_change]}]}

    def _fingerprint(self, key: str, site: Site) -> str:
        """The same while the line holds the same words, wherever it moves in its file."""
        path = site.reference.path
        words = " ".join(self._line(path, site.reference.position.line).split())
        text = "\0".join((key, path, words))
        self._seen[text] = occurrence = self._seen.get(text, -1) + 1
        return sha256(f"{text}\0{occurrence}".encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _line(self, path: str, line: int) -> str:
        source = self._source(path)
        if source is None:
            return ""
        start = source.index_of_offset(source.offset(Position(line, 1)))
        return source.text[start:].partition("\n")[0].partition("\r")[0]

    def _source(self, path: str) -> Source | None:
        if path not in self._sources:
            try:
                self._sources[path] = self._read(path)
            except UnreadableSource:
                self._sources[path] = None
        return self._sources[path]

    def _artifact(self, path: str) -> _Object:
        uri = quote(from_working_folder(self._root, path).encode("utf-8", "surrogateescape"))
        return {"uri": uri, "uriBaseId": _BASE}


def _level(site: Site) -> str:
    match site.refusal:
        case Refusal(reason=reason) if reason in _NOTES:
            return "note"
        case Refusal(reason=Reason.SOME_OF_A_UNION):
            return "warning"
        case _:
            return "error"


def _message(chapter: Chapter, refusal: Refusal | None, change: SiteEdit | None) -> str:
    cause = chapter.cause
    told = [f"{headline(cause)}.", f"One of {places([site.reference for site in cause.sites])} with this cause."]
    if change is not None:
        told.append(f"`{change.replacement}` fits here: {cause.ranking.reason}.")
    elif refusal is not None:
        told.append(f"Not rewritten ({refusal.reason.value}): {refusal.detail}.")
    else:
        told.append(f"{cause.ranking.reason}.")
    return printable(" ".join(told))


def _replacement(source: Source, edit: Edit) -> _Object:
    region = _region(source.position(edit.span.start), source.position(edit.span.end))
    return {"deletedRegion": region, "insertedContent": {"text": edit.text}}


def _region(start: Position, end: Position) -> _Object:
    return {"startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column}
