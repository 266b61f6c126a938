"""The report for programs: everything that a scan or a fix knows, as one versioned JSON object.

Keys are added within a version, never renamed or removed. Lines and columns count from 1, columns in code points;
`start` and `end` are offsets into the file's bytes as the scan found them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from netra_repair.candidates import Candidate, Ranking
from netra_repair.causes import RootCause, Site
from netra_repair.failures import CaseResult, Raised, SuiteResult
from netra_repair.findings import Findings
from netra_repair.history import Past
from netra_repair.owners import Member, Owner, Signature
from netra_repair.plan import Plan, RefusedSite, SiteEdit
from netra_repair.references import Argument, Reference
from netra_repair.refusals import Refusal
from netra_repair.repair import CauseRepair, Repair
from netra_repair.report.chapters import scan_of
from netra_repair.report.rates import BeforeAfter, Rate
from netra_repair.report.words import TOOL, has_source, headline, portable, tool_version, without_machine_paths
from netra_repair.source import Position, Span

SCHEMA_VERSION = 1

_Object = dict[str, Any]


def render(report: Findings | Repair, plans: Sequence[Plan] = ()) -> str:
    """Writes a report as JSON.

    Args:
        report: a scan or a fix.
        plans: what would be changed for a scan's causes; a fix brings its own.

    Returns:
        One JSON object, in ASCII, in an order that depends on the report only, with a line feed at its end.
        The project's root is the only path in it that may be absolute.
    """
    scan = scan_of(report)
    told = [outcome.plan for outcome in report.causes] if isinstance(report, Repair) else plans
    content = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": TOOL, "version": tool_version()},
        "kind": "fix" if isinstance(report, Repair) else "scan",
        "root": scan.root,
        "scan": _scan(scan),
        "causes": [_cause(cause) for cause in scan.causes],
        "plans": [_plan(plan) for plan in told],
        "fix": _fix(report) if isinstance(report, Repair) else None,
    }
    return json.dumps(content, indent=2) + "\n"


def _scan(scan: Findings) -> _Object:
    return {
        "checker": scan.checker,
        "python": scan.python,
        "files": scan.files,
        "seconds": {step: round(seconds, 3) for step, seconds in scan.seconds},
        "warnings": list(scan.warnings),
        "set_aside": _refused(scan.set_aside),
        "left_out": [{"path": each.path, **_refusal(each.refusal)} for each in scan.left_out],
        "blind": [{"path": blind.path, "reason": blind.reason} for blind in scan.blind],
        "unresolved": [{"module": module, "places": places} for module, places in scan.unresolved],
        "unexplained": list(scan.unexplained),
        "suite": None if scan.suite is None else _suite(scan.suite),
    }


def _suite(suite: SuiteResult) -> _Object:
    """What the tests said; not what pytest printed, which is for people and full of this machine's paths."""
    outcomes = Counter(case.outcome.value for case in suite.cases.values())
    return {
        "exit_code": suite.exit_code,
        "seconds": round(suite.seconds, 3),
        "interrupted": suite.interrupted,
        "foreign": list(suite.foreign),
        "notes": [without_machine_paths(note) for note in suite.notes],
        "outcomes": dict(sorted(outcomes.items())),
        "cases": [_case(case) for _, case in sorted(suite.cases.items())],
    }


def _case(case: CaseResult) -> _Object:
    return {
        "test": case.test,
        "outcome": case.outcome.value,
        "collected": case.collected,
        "seconds": round(case.seconds, 3),
        "reason": without_machine_paths(case.reason),
        "raised": [_raised(raised) for raised in case.raised],
    }


def _raised(raised: Raised) -> _Object:
    return {
        "kind": raised.kind.value,
        "name": raised.name,
        "receiver": raised.receiver,
        "access": None if raised.access is None else raised.access.value,
        "bases": list(raised.bases),
        "callee": raised.callee,
        "path": portable(raised.path),
        "line": raised.line,
        "from": _position(raised.start),
        "to": _position(raised.end),
        "in_library": raised.in_library,
        "message": without_machine_paths(raised.message),
    }


def _cause(cause: RootCause) -> _Object:
    return {
        "key": cause.key,
        "headline": headline(cause),
        "kind": cause.kind.value,
        "owner": _owner(cause.owner),
        "attribute": cause.attribute,
        "parameter": cause.parameter,
        "sites": [_site(site) for site in cause.sites],
        "unproven": [_reference(reference) for reference in cause.unproven],
        "tests": list(cause.tests),
        "mentions": cause.mentions,
        "past": _past(cause.past),
        "family": cause.family,
        "ranking": _ranking(cause.ranking),
    }


def _site(site: Site) -> _Object:
    return {
        **_reference(site.reference),
        "receiver": None if site.receiver is None else _owner(site.receiver),
        "access": None if site.access is None else site.access.value,
        "proofs": [proof.value for proof in site.proofs],
        "refusal": None if site.refusal is None else _refusal(site.refusal),
        "tests": list(site.tests),
    }


def _reference(reference: Reference) -> _Object:
    arguments = reference.arguments
    return {
        **_place(reference),
        "attribute": reference.attribute,
        "use": reference.use.value,
        "scope": reference.scope,
        "awaited": reference.awaited,
        "in_string": reference.in_string,
        "guard": None if reference.guard is None else reference.guard.value,
        "expression": _span(reference.expression),
        "receiver_span": _span(reference.receiver),
        "call": _span(reference.call),
        "arguments": None if arguments is None else [_argument(argument) for argument in arguments],
    }


def _place(reference: Reference) -> _Object:
    return {
        "path": reference.path,
        "line": reference.position.line,
        "column": reference.position.column,
        "end_column": reference.position.column + len(reference.attribute),
        "start": reference.name.start,
        "end": reference.name.end,
    }


def _argument(argument: Argument) -> _Object:
    return {
        "start": argument.span.start,
        "end": argument.span.end,
        "keyword": argument.keyword,
        "star": argument.star.value,
        "name": argument.name,
        "pure": argument.pure,
    }


def _past(past: Past) -> _Object:
    return {
        "verdict": past.verdict.value,
        "detail": past.detail,
        "commit": past.commit,
        "renamed_to": past.renamed_to,
        "signature": _signature(past.signature),
        "renamed_parameters": dict(past.renamed_parameters),
    }


def _ranking(ranking: Ranking) -> _Object:
    return {
        "decision": ranking.decision.value,
        "reason": ranking.reason,
        "margin": ranking.margin,
        "candidates": [_candidate(candidate) for candidate in ranking.candidates],
    }


def _candidate(candidate: Candidate) -> _Object:
    return {
        "name": candidate.name,
        "member": _member(candidate.member),
        "score": candidate.score,
        "fits": candidate.fits,
        "sites": candidate.sites,
        "evidence": [
            {"clue": evidence.clue.value, "weight": evidence.weight, "detail": evidence.detail}
            for evidence in candidate.evidence
        ],
    }


def _plan(plan: Plan) -> _Object:
    return {
        "cause": plan.cause,
        "kind": plan.kind.value,
        "replacement": plan.replacement,
        "candidate": None if plan.candidate is None else _candidate(plan.candidate),
        "files": [
            {
                "path": file.path,
                "before_sha256": file.before_sha256,
                "after_sha256": file.after_sha256,
                "sites": [_change(change) for change in file.sites],
            }
            for file in plan.files
        ],
        "refused": _refused(plan.refused),
    }


def _change(change: SiteEdit) -> _Object:
    return {
        **_place(change.site.reference),
        "replacement": change.replacement,
        "before": change.before,
        "after": change.after,
        "note": change.note,
        "edits": [{"start": edit.span.start, "end": edit.span.end, "text": edit.text} for edit in change.edits],
    }


def _refused(refused: Iterable[RefusedSite]) -> list[_Object]:
    return [{**_place(each.site.reference), **_refusal(each.refusal)} for each in refused]


def _fix(repair: Repair) -> _Object:
    comparison = repair.comparison
    return {
        "run": repair.run,
        "seconds": round(repair.seconds, 3),
        "success_rate": _before_after(BeforeAfter.of_tests(comparison)),
        "tests": {
            "restored": list(comparison.restored),
            "regressed": list(comparison.regressed),
            "otherwise": list(comparison.otherwise),
            "unchanged": list(comparison.unchanged),
            "flaky": list(comparison.flaky),
            "passed": comparison.passed,
        },
        "causes": [_outcome(outcome) for outcome in repair.causes],
        "later": [_cause(cause) for cause in repair.later],
        "remaining": repair.remaining,
        "refused": _refused(repair.refused),
        "diff": repair.diff,
    }


def _outcome(outcome: CauseRepair) -> _Object:
    return {
        "key": outcome.key,
        "success_rate": _before_after(BeforeAfter.of_cause(outcome)),
        "broken": list(outcome.broken),
        "restored": list(outcome.restored),
        "batches": outcome.batches,
        "rolled_back": outcome.rolled_back,
        "uncovered": outcome.uncovered,
    }


def _before_after(rates: BeforeAfter) -> _Object:
    return {"before": _rate(rates.before), "after": _rate(rates.after)}


def _rate(rate: Rate) -> _Object:
    return {"passed": rate.passed, "total": rate.total, "percent": rate.percent}


def _owner(owner: Owner) -> _Object:
    return {
        "name": owner.name,
        "kind": owner.kind.value,
        "file": portable(owner.file),
        "line": owner.line,
        "inside": owner.is_inside and has_source(owner),
    }


def _member(member: Member) -> _Object:
    return {
        "name": member.name,
        "owner": _owner(member.owner),
        "kind": member.kind.value,
        "is_async": member.is_async,
        "signature": _signature(member.signature),
        "deprecated": member.deprecated,
        "instance_only": member.instance_only,
        "summary": member.summary,
        "note": member.note,
        "line": member.line,
    }


def _signature(signature: Signature | None) -> list[_Object] | None:
    if signature is None:
        return None
    return [
        {"name": parameter.name, "kind": parameter.kind.value, "required": parameter.required}
        for parameter in signature.parameters
    ]


def _refusal(refusal: Refusal) -> _Object:
    return {"reason": refusal.reason.value, "detail": refusal.detail}


def _span(span: Span | None) -> _Object | None:
    return None if span is None else {"start": span.start, "end": span.end}


def _position(position: Position | None) -> _Object | None:
    return None if position is None else {"line": position.line, "column": position.column}
