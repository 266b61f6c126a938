"""Runs a project's tests with the project's own interpreter, and reads what the recorder wrote."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netra_repair.diagnostics import CauseKind
from netra_repair.errors import TestRunError
from netra_repair.failures import CaseResult, Outcome, Raised, SuiteResult
from netra_repair.owners import Access
from netra_repair.recorder.job import JOB
from netra_repair.source import Position

_RECORDER = "netra_repair_recorder"  # its name in the other environment, where netra may be installed as well
_OUTPUT_BYTES = 8_192
_LOOK_S = 5.0  # between two looks at whether a run still says something
_USAGE_ERROR = 4
_OF_A_FILTER = "while parsing the following warning configuration"  # pytest's words
# What a run under pytest passes on, and would confuse the run below it.
_NOT_INHERITED = ("PYTEST_CURRENT_TEST", "PYTEST_XDIST_")
# The worst of a test's phases is its outcome.
_WORST_FIRST = (
    Outcome.FAILED,
    Outcome.ERROR,
    Outcome.XPASSED,
    Outcome.XFAILED,
    Outcome.SKIPPED,
    Outcome.PASSED,
)


@dataclass(frozen=True)
class Suite:
    """How a project's tests are run.

    Attributes:
        root: the folder they run in; node ids and files of results are relative to it.
        python: the project's interpreter.
        import_paths: the folders that the project's modules are imported from, inside `root`.
        arguments: the user's own for pytest; they come last.
        around: entered for each run, to take back what the tests did in the folder.
    """

    root: Path
    python: Path
    import_paths: Sequence[Path]
    arguments: Sequence[str] = ()
    around: Callable[[], AbstractContextManager[object]] = nullcontext

    def run(
        self,
        tests: Sequence[str] = (),
        timeout_s: float = 600.0,
        watched: Mapping[str, Collection[int]] | None = None,
        *,
        quiet_s: float = math.inf,
        listening: bool = False,
        alone: bool = False,
    ) -> SuiteResult:
        """Runs tests in a process group of their own, which is ended with everything in it.

        No byte code and no cache is written into the project. A failure does not stop the run, nor does a file that
        cannot be collected. The order is pytest's own: pytest-randomly, where it is there, gets a fixed seed.

        Args:
            tests: node ids, or files, folders and classes for all of theirs; () for all that pytest finds.
            timeout_s: seconds after which the run is ended; what was recorded until then is kept.
            watched: lines, from 1, by file relative to the root, of which `SuiteResult.executed` tells whether they
                ran; costs time before Python 3.12.
            quiet_s: seconds after which the run is ended when no test has begun or ended: one may go on for ever.
            listening: whether what is raised and caught is told of tests that fail, also in Python programs that they
                start; costs time.
            alone: whether each test runs in a process of its own, forked after the collection, so that nothing of
                another test is left in it. Not where the system cannot fork, or workers of xdist run the tests.

        Returns:
            The result; its `interrupted` says when the run did not come to its end, by time, signal or wish.

        Raises:
            TestRunError: when pytest is not there or cannot begin, refuses its arguments, or fails inside. A
                conftest.py that cannot be imported is a case, not an error.
            ProjectError: when what the tests did in a copy cannot be taken back.
        """
        with tempfile.TemporaryDirectory(prefix="netra-tests-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            self._prepare(folder, tests, watched or {}, {"listening": listening, "alone": alone})
            began = time.monotonic()
            with self.around():
                exit_code, stopped = self._start(folder, timeout_s, quiet_s)
            seconds = time.monotonic() - began
            records = _Records.read(folder / "records")
            output = _tail(folder / "output")
        if not stopped:
            self._check(records, exit_code, output)
        return records.result(exit_code, seconds, output, stopped)

    def _prepare(
        self, folder: Path, tests: Sequence[str], watched: Mapping[str, Collection[int]], how: Mapping[str, bool]
    ) -> None:
        """Lays the recorder and its job into the folder of a run."""
        recorder = Path(__file__).parent / "recorder"
        shutil.copytree(recorder, folder / _RECORDER, ignore=shutil.ignore_patterns("__pycache__"))
        job = {
            "root": str(self.root.absolute()),
            "output": str(folder / "records"),
            "import_paths": [str(path.absolute()) for path in self.import_paths],
            "wanted": list(tests),
            "watched": {path: sorted(lines) for path, lines in watched.items()},
            **how,
        }
        (folder / "job").write_text(json.dumps(job), encoding="utf-8")

    def _start(self, folder: Path, timeout_s: float, quiet_s: float) -> tuple[int, str | None]:
        """Runs pytest; its exit code, and for what it was stopped, if it was."""
        with (folder / "output").open("wb") as output:
            try:
                process = subprocess.Popen(  # nosec B603  # the project's own tests, which the user has asked for
                    self._command(folder),
                    cwd=self.root,
                    env=self._environment(folder),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise TestRunError(
                    f"cannot run {self.python} in {self.root}: {error.filename}: {error.strerror}",
                    "name the project's interpreter with --python",
                ) from error
        try:
            stopped = _waited(process, folder / "records", timeout_s, quiet_s)
        finally:  # also when this process is interrupted; and what the tests left running
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            exit_code = process.wait()
        return exit_code, stopped

    def _command(self, folder: Path) -> list[str]:
        # Native tracebacks: for any other pytest parses the sources, which fails inside before Python 3.12 near the end
        # of a deep stack.
        return [
            *(str(self.python.absolute()), "-m", "pytest", "--rootdir", str(self.root.absolute())),
            *("-p", f"{_RECORDER}.plugin", "-o", f"cache_dir={folder / 'cache'}"),
            *("-q", "--tb=native", "--color=no", "--maxfail=0", "--continue-on-collection-errors"),
            *self.arguments,
        ]

    def _environment(self, folder: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        paths = [
            str(folder),
            *(str(path.absolute()) for path in self.import_paths),
            *filter(None, [kept.get("PYTHONPATH")]),
        ]
        return {
            "PYTHONHASHSEED": "0",  # the order of sets, and what depends on it, is the same before and after
            **kept,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(paths),
            JOB: str(folder / "job"),
        }

    def _check(self, records: _Records, exit_code: int, output: str) -> None:
        words = " / ".join([line.strip() for line in output.splitlines() if line.strip()][-5:])
        if records.broken is not None:
            raise TestRunError(f"pytest failed inside: {records.broken}", "run pytest by hand to see where")
        if not records.began and not records.phases:
            if "No module named pytest" in output:
                raise TestRunError(
                    f"{self.python} has no pytest",
                    "install pytest there, or name the project's interpreter with --python",
                )
            remedy = "run pytest by hand first"
            if _OF_A_FILTER in output:
                remedy = "a filter of warnings imports what is broken: leave all filters out with `-- -p no:warnings`"
            raise TestRunError(f"pytest did not begin (exit code {exit_code}): {words}", remedy)
        if exit_code == _USAGE_ERROR and records.began:
            raise TestRunError(f"pytest refuses: {words}", "correct the arguments for pytest")


@dataclass
class _Records:
    """What the recorder wrote, put together."""

    began: bool = False
    finished: bool = False
    broken: str | None = None
    stopped: str | None = None
    phases: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    meanwhile: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    running: dict[str, None] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    executed: set[tuple[str, int]] | None = None
    evaluated: set[tuple[str, Position]] | None = None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> _Records:
        """Takes the lines of a file, which is not there when pytest was not."""
        records = cls()
        for line in path.read_bytes().splitlines() if path.exists() else ():
            with suppress(ValueError):  # the line that a crash cut off
                records.add(json.loads(line))
        return records

    def add(self, record: dict[str, Any]) -> None:
        """Takes one line."""
        if "test" in record:
            self.phases.setdefault(record["test"], []).append(record)
            if record["when"] not in ("setup", "call"):
                self.running.pop(record["test"], None)
        if "meanwhile" in record:
            self.meanwhile.setdefault(record["meanwhile"], []).append(record)
        if "running" in record:
            self.running[record["running"]] = None
        self.began = self.began or "pytest" in record
        self.finished = self.finished or "finished" in record
        self.broken = record.get("broken") or self.broken
        self.stopped = record.get("stopped") or self.stopped
        self.foreign.update(record.get("foreign", ()))
        if record.get("executed") is not None:
            self.executed = (self.executed or set()) | {(path, line) for path, line in record["executed"]}
        if record.get("evaluated") is not None:
            found = {(path, Position(*position)) for path, *position in record["evaluated"]}
            self.evaluated = (self.evaluated or set()) | found
        if "note" in record:
            self.notes.append(record["note"])

    def result(self, exit_code: int, seconds: float, output: str, stopped: str | None) -> SuiteResult:
        """The value.

        Args:
            exit_code: of the process.
            seconds: it took.
            output: the end of what it printed.
            stopped: why it was, if it was.
        """
        interrupted = stopped or self.stopped
        if interrupted is None and not self.finished and self.began:
            interrupted = f"killed by {_signal(-exit_code)}" if exit_code < 0 else f"ended with exit code {exit_code}"
        cases = {test: _case(test, phases, self.meanwhile.get(test, ())) for test, phases in self.phases.items()}
        if interrupted is not None and not self.finished and self.running:
            interrupted = f"{interrupted} while {', '.join(self.running)} ran"
            for test in self.running:
                known = cases.get(test, CaseResult(test, Outcome.ERROR, True, (), 0.0))
                cases[test] = CaseResult(test, Outcome.ERROR, True, known.raised, known.seconds, interrupted)
        return SuiteResult(
            cases,
            exit_code,
            seconds,
            tuple(sorted(self.foreign)),
            output,
            interrupted,
            None if self.executed is None else frozenset(self.executed),
            None if self.evaluated is None else frozenset(self.evaluated),
            tuple(self.notes),
        )


def _waited(process: subprocess.Popen[bytes], records: Path, timeout_s: float, quiet_s: float) -> str | None:
    """Waits for the end of a run; says why it must be stopped before that, if it must."""
    end = time.monotonic() + timeout_s
    size, changed = -1, time.monotonic()
    while (now := time.monotonic()) < end:
        known, size = size, records.stat().st_size if records.exists() else -1
        changed = now if size != known else changed
        if now - changed > quiet_s:
            return f"stopped when no test had begun or ended for {quiet_s:.0f} s"
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(end - now, changed + quiet_s - now + 0.1, _LOOK_S))
            return None
    return f"stopped after {timeout_s:g} s"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _case(test: str, phases: Sequence[Mapping[str, Any]], meanwhile: Sequence[Mapping[str, Any]]) -> CaseResult:
    """One test from its phases, and from the programs that tests started; the phases of tries that a plugin repeated do
    not count."""
    counted = [(phase, outcome) for phase in phases if (outcome := _outcome(phase)) is not None]
    outcome = min((outcome for _, outcome in counted), key=_WORST_FIRST.index, default=Outcome.ERROR)
    told = [*(phase for phase, _ in counted), *meanwhile]
    raised, caught = (
        tuple(dict.fromkeys(_raised(facts) for record in told for facts in record.get(what, ())))
        for what in ("raised", "caught")
    )
    reasons = [phase["reason"] for phase, ended in counted if ended is outcome and "reason" in phase]
    return CaseResult(
        test,
        outcome,
        phases[-1]["when"] != "collect",
        raised,
        sum(phase["seconds"] for phase in phases),
        next(iter(reasons), ""),
        caught,
    )


def _outcome(phase: Mapping[str, Any]) -> Outcome | None:
    if phase["outcome"] == "failed":
        return Outcome.FAILED if phase["when"] == "call" else Outcome.ERROR
    with suppress(ValueError):
        return Outcome(phase["outcome"])
    return None


def _raised(facts: Mapping[str, Any]) -> Raised:
    return Raised(
        kind=CauseKind(facts["kind"]),
        name=facts["name"],
        receiver=facts["receiver"],
        access=None if facts["access"] is None else Access(facts["access"]),
        bases=tuple(facts["bases"]),
        callee=facts["callee"],
        path=facts["path"],
        line=facts["line"],
        start=None if facts["start"] is None else Position(*facts["start"]),
        end=None if facts["end"] is None else Position(*facts["end"]),
        in_library=facts["in_library"],
        message=facts["message"],
    )


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _OUTPUT_BYTES))
        return file.read().decode("utf-8", "replace")
