"""One run of a command: the project it is about, and where its reports go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console

from netra_repair.diffs import displayed, unified
from netra_repair.errors import WriteError
from netra_repair.failures import SuiteResult
from netra_repair.findings import Findings
from netra_repair.git import Git
from netra_repair.images import Image
from netra_repair.plan import Plan
from netra_repair.progress import Progress
from netra_repair.project import Project, discover
from netra_repair.repair import Repair
from netra_repair.report import github, html, json_report, sarif, text
from netra_repair.report.progress import shown
from netra_repair.scanner import Scanner, opened
from netra_repair.source import Source
from netra_repair.suite import Suite
from netra_repair.suspects import Rerun, rerunning
from netra_repair.workspace import Workspace

FORMATS = ("text", "json", "sarif", "github", "html")


@dataclass(frozen=True, slots=True)
class Output:
    """Where a report goes.

    Attributes:
        format: one of `FORMATS`.
        file: None for the standard output.
    """

    format: str
    file: Path | None


class Session(ExitStack):
    """What every command needs: the project, where to print, what is going on. Closes what it opened."""

    def __init__(self, asked: argparse.Namespace) -> None:
        super().__init__()
        self._asked = asked
        self._outputs: list[Output] = asked.to_files if hasattr(asked, "to_files") else []
        on_stdout = any(output.file is None and output.format != "text" for output in self._outputs)
        self.console = Console(stderr=on_stdout, soft_wrap=True)
        self.progress: Progress = self.enter_context(shown(Console(stderr=True)))
        self.root = Path(asked.root).resolve()

    @cached_property
    def project(self) -> Project:
        self.progress.step("looking at the project")
        return discover(self.root, self._asked.python)

    def suite(self, arguments: Sequence[str] | None, copy: Workspace | None = None) -> Suite:
        """The tests of the project itself, or of a copy, which is as it was after each run."""
        project = self.project if copy is None else copy.project
        suite = Suite(project.root, project.python, project.search_paths, tuple(arguments or ()))
        return suite if copy is None else replace(suite, around=copy.as_it_is)

    def tests(self, suite: Suite) -> SuiteResult:
        self.progress.step("running the tests")
        return suite.run(timeout_s=self._asked.timeout)

    def rerun(self, suite: Suite) -> Rerun:
        return rerunning(suite, self._asked.timeout)

    def scanner(self, project: Project) -> Scanner:
        return self.enter_context(opened(project, Git(self.project.root), self.progress))

    def diff(self, changed: Iterable[Image]) -> None:
        """Prints a diff: in colour on a terminal, else its very bytes, so that `git apply` takes it from a pipe."""
        stream = self.console.file
        if self.console.is_terminal or not isinstance(stream, TextIOWrapper):
            text.print_diff(self.console, displayed(changed))
            return
        stream.flush()
        stream.buffer.write(unified(changed))
        stream.buffer.flush()

    def say(self, *lines: str) -> None:
        for line in lines:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def report(self, report: Findings | Repair, plans: Sequence[Plan]) -> None:
        """Writes the reports that were asked for, with the project's folder as the user wrote it."""
        if isinstance(report, Repair):
            report = replace(report, findings=replace(report.findings, root=self._asked.root))
        else:
            report = replace(report, root=self._asked.root)
        for output in self._outputs or [Output("text", None)]:
            try:
                self._write(output, report, plans)
            except OSError as error:
                raise WriteError(
                    f"{output.file or 'the standard output'} cannot be written: {error.strerror}", "name another file"
                ) from error

    def _write(self, output: Output, report: Findings | Repair, plans: Sequence[Plan]) -> None:
        if output.format == "text":
            self._print(report, output.file)
        elif output.file is None:
            sys.stdout.write(self._rendered(output.format, report, plans))
        else:
            output.file.write_text(self._rendered(output.format, report, plans), encoding="utf-8")

    def _print(self, report: Findings | Repair, file: Path | None) -> None:
        with ExitStack() as stack:
            console = self.console
            if file is not None:
                console = Console(file=stack.enter_context(file.open("w", encoding="utf-8")), soft_wrap=True)
            if isinstance(report, Repair):
                text.print_repair(console, report, self._asked.verbose)
            else:
                text.print_findings(console, report, self._asked.verbose)

    def _rendered(self, form: str, report: Findings | Repair, plans: Sequence[Plan]) -> str:
        match form:
            case "json":
                return json_report.render(report, plans)
            case "sarif":
                return sarif.render(report, lambda path: Source.read(self.root, path), plans)
            case "github":
                return github.render(report)
            case _:
                return html.render(report, plans)
