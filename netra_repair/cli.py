"""The command `netra repair`."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import IntEnum
from io import TextIOWrapper
from pathlib import Path

from netra_repair import plan_file
from netra_repair.apply import apply, resume, undo
from netra_repair.candidates import Decision
from netra_repair.causes import selected
from netra_repair.comparing import compare, flaky
from netra_repair.errors import PlanError, ProjectError, RepairError
from netra_repair.findings import Findings
from netra_repair.fix import Fixer, Options
from netra_repair.images import images
from netra_repair.journal import runs
from netra_repair.repair import Repair
from netra_repair.report import commands, text
from netra_repair.report.words import headline, tool_version
from netra_repair.session import FORMATS, Output, Session
from netra_repair.workspace import Workspace

# Syntax trees have millions of nodes and no cycles: by the usual numbers the collector goes through all that is kept
# again and again, which takes a third of a scan's time.
_COLLECTED_AFTER = (100_000, 50, 1_000)


class ExitCode(IntEnum):
    """How the command ends."""

    CLEAN = 0
    FINDINGS = 1
    COULD_NOT_RUN = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the words after `netra repair`; those of the process when not given.

    Returns:
        An `ExitCode`: 0 when there is nothing left to do, 1 when something is, 2 when it could not be told.
    """
    gc.set_threshold(*_COLLECTED_AFTER)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no name of a test is worth a crash
    words = list(sys.argv[1:] if argv is None else argv)
    own, tests = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, None)
    if tests and tests[0] == "pytest":  # as one would type it
        tests = tests[1:]
    try:
        asked = _parser().parse_args(own)
    except SystemExit as done:  # argparse has said why
        return ExitCode.COULD_NOT_RUN if done.code else ExitCode.CLEAN
    if tests is not None and "timeout" not in asked:
        print("netra repair: this command runs no tests; leave out -- and what stands behind it", file=sys.stderr)
        return ExitCode.COULD_NOT_RUN
    run: Callable[[argparse.Namespace, list[str] | None], ExitCode] = asked.run
    try:
        return run(asked, tests)
    except RepairError as error:
        print(f"netra repair: {error}", file=sys.stderr)
        return ExitCode.COULD_NOT_RUN
    except KeyboardInterrupt:
        print("netra repair: interrupted", file=sys.stderr)
        return ExitCode.COULD_NOT_RUN


def _scan(asked: argparse.Namespace, tests: list[str] | None) -> ExitCode:
    with Session(asked) as session:
        suite = session.suite(tests)
        ran = session.tests(suite) if asked.tests or tests is not None else None
        scanner = session.scanner(session.project)
        findings = scanner.scan(asked.paths, ran, session.rerun(suite))
        chosen = [cause for cause in findings.causes if cause.ranking.decision is Decision.CHOSEN]
        plans = [scanner.plan(cause, cause.ranking.candidates[0].name) for cause in chosen]
    if asked.check:
        session.say(*(headline(cause) for cause in findings.causes))
    else:
        session.report(findings, plans)
    if asked.diff:
        session.diff(images(plans, session.project.root))
    _check_analysed(findings)
    return ExitCode.FINDINGS if findings.causes or findings.unexplained else ExitCode.CLEAN


def _plan(asked: argparse.Namespace, tests: list[str] | None) -> ExitCode:
    with Session(asked) as session:
        ran = session.tests(session.suite(tests)) if tests is not None else None
        scanner = session.scanner(session.project)
        findings = scanner.scan(suite=ran)
        (cause,) = selected(findings.causes, [asked.cause])
        replacement = asked.to or (cause.ranking.candidates[0].name if cause.ranking.candidates else None)
        if replacement is None or (asked.to is None and cause.ranking.decision is not Decision.CHOSEN):
            text.print_findings(session.console, replace(findings, causes=(cause,)), asked.verbose)
            return ExitCode.FINDINGS
        plan = scanner.plan(cause, replacement)
    text.print_plan(session.console, plan, asked.verbose)
    session.diff(images([plan], session.project.root))
    if not plan.files:
        return ExitCode.FINDINGS
    plan_file.write(asked.output, [plan], tool_version())
    session.say(f"wrote {asked.output}; to carry it out: {commands.apply(asked.root, str(asked.output))}")
    return ExitCode.CLEAN


def _apply(asked: argparse.Namespace, tests: list[str] | None) -> ExitCode:
    with Session(asked) as session:
        run = apply(plan_file.read(asked.plan), session.root, tool_version())
        if run is None:
            session.say("the plan changes nothing")
        else:
            session.say(f"changed {len(run.changes)} files; to take it back: {commands.undo(asked.root, run.id)}")
    return ExitCode.CLEAN


def _undo(asked: argparse.Namespace, tests: list[str] | None) -> ExitCode:
    with Session(asked) as session:
        run = undo(session.root, asked.run_id)
        session.say(f"took back {run.id}: {len(run.changes)} files are as they were")
    return ExitCode.CLEAN


def _resume(asked: argparse.Namespace, tests: list[str] | None) -> ExitCode:
    with Session(asked) as session:
        run = resume(session.root, asked.run_id)
        session.say(
            f"finished {run.id}: {len(run.changes)} files; to take it back: {commands.undo(asked.root, run.id)}"
        )
    return ExitCode.CLEAN


def _runs(asked: argparse.Namespace, tests: list[str] | None) -> ExitCode:
    with Session(asked) as session:
        session.say(*(f"{run.id}  {run.state}  {', '.join(run.causes)}" for run in runs(session.root)))
    return ExitCode.CLEAN


def _verify(asked: argparse.Namespace, tests: list[str] | None) -> ExitCode:
    with Session(asked) as session:
        plans = plan_file.read(asked.plan)
        with Workspace(session.project) as copy:
            changed = images(plans, copy.root)
            suite = session.suite(tests, copy)
            before = session.tests(suite)
            unstable = flaky(before, session.tests(suite))
            for image in changed:
                (copy.root / image.path).write_bytes(image.after)
            after = session.tests(suite)
    comparison = compare(before, after, unstable)
    text.print_comparison(session.console, comparison, asked.verbose)
    dying = {test for plan in plans for file in plan.files for site in file.sites for test in site.site.tests}
    proven = dying <= set(comparison.restored) and not (before.foreign or after.interrupted)
    left = comparison.regressed or comparison.otherwise or not proven
    return ExitCode.FINDINGS if left else ExitCode.CLEAN


def _fix(asked: argparse.Namespace, tests: list[str] | None) -> ExitCode:
    if asked.to is not None and len(asked.causes) != 1:
        raise PlanError(f"--to {asked.to} needs exactly one CAUSE, got {len(asked.causes)}", "name the cause it is for")
    options = Options(
        causes=tuple(asked.causes),
        to=asked.to,
        paths=tuple(asked.path),
        batch_size=asked.batch_size,
        timeout_s=asked.timeout,
    )
    with Session(asked) as session:
        with Workspace(session.project) as copy:
            suite = session.suite(tests, copy)
            fixer = Fixer(session.project.root, session.scanner(copy.project), suite, options, session.progress)
            repair = fixer.run()
            repair = replace(repair, findings=replace(repair.findings, warnings=copy.notes))
        plans = [cause.plan for cause in repair.causes]
        changed = images(plans, session.root)
        if asked.apply and any(plan.files for plan in plans):
            run = apply(plans, session.root, tool_version())
            repair = replace(repair, run=run.id if run else None)
    session.report(repair, plans)
    if asked.diff:
        session.diff(changed)
    _check_analysed(repair.findings)
    return _code(repair)


def _check_analysed(findings: Findings) -> None:
    """Makes sure that a finding of nothing means something."""
    if findings.files == 0:
        raise ProjectError("no file was analysed", "the report says why the engine could not read what it was given")


def _code(repair: Repair) -> ExitCode:
    """Clean when nothing is left to do: what could be changed was written, and nothing remains or was taken back."""
    changed = any(cause.plan.files for cause in repair.causes)
    unwritten = changed and repair.run is None
    unhealed = any(len(cause.restored) < len(cause.broken) for cause in repair.causes) or repair.comparison.otherwise
    left = repair.remaining or repair.findings.unexplained or repair.comparison.regressed or unhealed
    return ExitCode.FINDINGS if unwritten or left else ExitCode.CLEAN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="netra repair",
        description="Finds calls to attributes that do not exist, groups them by root cause, and repairs them with "
        "proof.",
        epilog="Exit codes: 0 nothing left to do, 1 something is, 2 it could not be told. Only `apply` and "
        "`fix --apply` write to the project; `undo` takes back what they wrote. `scan` and `plan` run no tests unless "
        "they are asked to, with `--tests` (only `scan`) or with arguments for pytest behind `--`; `verify` and `fix` "
        "always do.",
    )
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--root", default=".", metavar="DIR", help="the project (default: the working folder)")
    place.add_argument("-v", "--verbose", action="store_true", help="list every place instead of the first few")
    analysis = argparse.ArgumentParser(add_help=False, parents=[place])
    analysis.add_argument(
        "--python", type=Path, metavar="PATH", help="the project's interpreter (default: that of its .venv)"
    )
    analysis.add_argument(
        "--timeout", type=_seconds, default=1800.0, metavar="S", help="for one run of the tests, in seconds"
    )
    reports = argparse.ArgumentParser(add_help=False)
    reports.add_argument(
        "-o",
        "--output",
        dest="to_files",
        action="append",
        type=_output,
        default=[],
        metavar="FORMAT[:FILE]",
        help=f"write a report: {', '.join(FORMATS)}; may be repeated; without a file to the standard output",
    )
    reports.add_argument("--diff", action="store_true", help="print the changes as a diff")

    scan = subcommands.add_parser("scan", parents=[analysis, reports], help="report root causes; writes nothing")
    scan.add_argument("paths", nargs="*", metavar="PATH", help="files and folders (default: the whole project)")
    scan.add_argument(
        "--tests",
        action="store_true",
        help="run the tests, too, and join their failures; so does -- with arguments for pytest",
    )
    scan.add_argument("--check", action="store_true", help="one line a cause, for hooks and CI")
    scan.set_defaults(run=_scan)
    plan = subcommands.add_parser("plan", parents=[analysis], help="write a plan for one cause and show its diff")
    plan.add_argument("cause", metavar="CAUSE", help="the cause's key, or a unique part of it")
    plan.add_argument("--to", metavar="NAME", help="the replacement, where a person must choose")
    plan.add_argument("-o", "--output", type=Path, default=Path("plan.json"), metavar="FILE", help="default: plan.json")
    plan.set_defaults(run=_plan)
    carry = subcommands.add_parser("apply", parents=[place], help="carry out a plan; all of it or nothing")
    carry.add_argument("plan", type=Path, metavar="PLAN")
    carry.set_defaults(run=_apply)
    verify = subcommands.add_parser(
        "verify", parents=[analysis], help="run the tests without and with a plan, in a copy"
    )
    verify.add_argument("plan", type=Path, metavar="PLAN")
    verify.set_defaults(run=_verify)
    mend = subcommands.add_parser("fix", parents=[analysis, reports], help="scan, plan, change and verify, in a copy")
    mend.add_argument(
        "causes", nargs="*", metavar="CAUSE", help="keys or unique parts (default: every cause with a choice)"
    )
    mend.add_argument("--to", metavar="NAME", help="the replacement for the one CAUSE")
    mend.add_argument("--path", action="append", default=[], metavar="PATH", help="only places in this file or folder")
    mend.add_argument("--batch-size", type=_count, default=25, metavar="N", help="files between two runs of the tests")
    mend.add_argument("--apply", action="store_true", help="write what was verified to the project")
    mend.set_defaults(run=_fix)
    for name, run, summary in (("undo", _undo, "take back a run"), ("resume", _resume, "finish an interrupted run")):
        again = subcommands.add_parser(name, parents=[place], help=summary)
        again.add_argument("run_id", metavar="RUN", help="`netra repair runs` lists them")
        again.set_defaults(run=run)
    subcommands.add_parser("runs", parents=[place], help="list what was written").set_defaults(run=_runs)
    return parser


def _output(text: str) -> Output:
    form, _, file = text.partition(":")
    if form not in FORMATS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(FORMATS)}, got {form!r}")
    return Output(form, None if file in ("", "-") else Path(file))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
