"""The hooks. They append one JSON object a line to the job's file, so that a crash loses nothing.

Under xdist the facts of a worker travel to the controller with its reports, and the controller writes.
"""

from __future__ import annotations

import functools
import json
import linecache
import os
import re
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from .alone import CAN_FORK, run_alone
from .caught import Caught
from .executed import Watch
from .job import JOB, MESSAGE_LENGTH, Job, said
from .places import HAS_COLUMNS
from .programs import load_first
from .raised import raised_by
from .selection import Selection, paths
from .threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from .places import Facts, Fallback

_CARRIED = "_netra_repair"  # a report's attribute, and a worker's output


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Begins to record: the first hook that pytest calls."""
    if not pluginmanager.has_plugin("cacheprovider"):
        # The run names a folder for it. Without the plugin nobody knows the option, and that may be an error.
        parser.addini("cache_dir", "not used")
    pluginmanager.register(Recorder(Job(os.environ[JOB])))


def _harmless(work: Callable[..., None]) -> Callable[..., None]:
    """A method that writes a note where it would raise: a fault of ours must not change the run."""

    @functools.wraps(work)
    def guarded(self: Recorder, *arguments: Any) -> None:
        try:
            work(self, *arguments)
        except Exception as error:
            self.job.write(note=f"{work.__name__}: {said(error)}")

    return guarded


class Recorder:
    """The hooks of one process.

    Args:
        job: what is asked for.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._watch = Watch(job) if job.watched else None
        self._threads = Threads(job)
        self._caught = Caught(job) if job.listening else None
        if job.listening:
            load_first()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> Generator[None, Any, None]:
        """Tells of a conftest.py that stops the run before it begins."""
        outcome = yield
        if outcome.excinfo is not None:
            self._never_began(outcome.excinfo[1])

    @_harmless
    def _never_began(self, error: BaseException) -> None:
        facts = self._uncollected(error, "")
        if facts["test"]:
            self.job.write(when="collect", outcome="failed", seconds=0.0, **facts)

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Says that pytest has begun; fixes pytest-randomly's order; limits the collection to files of wanted tests."""
        self._begin(config)

    @_harmless
    def _begin(self, config: pytest.Config) -> None:
        self.job.in_worker = hasattr(config, "workerinput")
        if not self.job.in_worker:
            self.job.write(pytest=pytest.__version__)
        if getattr(config.option, "randomly_seed", None) == "default":
            config.option.randomly_seed = 0
            config.option.randomly_reorganize = False
        config.args = paths(self.job.root, self.job.wanted) or config.args

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leaves out what is not wanted."""
        if self.job.wanted:
            self._select(config, items)

    @_harmless
    def _select(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        selection = Selection(self.job.wanted)
        left_out = [item for item in items if item.nodeid not in selection]
        items[:] = [item for item in items if item.nodeid in selection]
        config.hook.pytest_deselected(items=left_out)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, None]:
        """Looks at what stopped a collection."""
        outcome = yield
        if outcome.excinfo is None:
            self._collected(collector, outcome.get_result())

    @_harmless
    def _collected(self, collector: pytest.Collector, report: pytest.CollectReport) -> None:
        if self._watch is not None:
            self._watch.end_phase(report.passed)
        call = getattr(report, "call", None)
        if call is not None and call.excinfo is not None:
            setattr(report, _CARRIED, json.dumps(self._uncollected(call.excinfo.value, collector.nodeid)))

    def _uncollected(self, error: BaseException, test: str) -> Facts:
        """What stopped a collection; when that is a conftest.py, in its name."""
        if type(error).__name__ == "ConftestImportFailure":
            path = str(getattr(error, "path", ""))
            test = self.job.relative(path) or path
        if type(error).__name__ in ("CollectError", "ConftestImportFailure"):  # pytest's wrappings
            error = error.__cause__ or error
        return {"test": test, **self._facts(error, lambda _: (test.partition("::")[0], 1))}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Runs a test in its own process where that is asked, and can be."""
        if not self.job.alone or self.job.in_worker or not CAN_FORK:
            return None
        run_alone(self.job, item)
        return True

    # Innermost, since pytest itself listens to threads in the same phases, and in some versions keeps all to itself.
    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_setup(self) -> Generator[None, Any, None]:
        """Listens to the threads of fixtures."""
        with self._heard():
            yield

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Generator[None, Any, None]:
        """Listens to threads."""
        with self._heard():
            yield

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_teardown(self) -> Generator[None, Any, None]:
        """Listens to threads that are ended now."""
        with self._heard():
            yield

    @contextmanager
    def _heard(self) -> Iterator[None]:
        with self._threads.heard(), self._caught.heard() if self._caught is not None else nullcontext():
            yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
        """Looks at what ended a phase of a test."""
        outcome = yield
        if outcome.excinfo is None:
            self._ended(item, call, outcome.get_result())

    @_harmless
    def _ended(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        if self._watch is not None:
            self._watch.end_phase(report.passed)
        if call.excinfo is not None:
            facts = self._facts(call.excinfo.value, functools.partial(_decorator, item))
            facts["raised"] += self._threads.raised
            facts["caught"] = self._caught.facts if self._caught is not None else []
            setattr(report, _CARRIED, json.dumps(facts))

    def _facts(self, error: BaseException, fallback: Fallback) -> Facts:
        return {"raised": raised_by(self.job, error, fallback), "reason": said(error)}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tells which test runs, should it be the last."""
        self._threads.forget()
        if self._watch is not None:
            self._watch.resume()
        if self._caught is not None:
            self._caught.forget()
            self._say(nodeid)
        if not self.job.in_worker:
            self.job.write(running=nodeid)

    def pytest_runtest_logfinish(self) -> None:
        """Tells that no test runs."""
        if self._caught is not None:
            self._say("")

    @_harmless
    def _say(self, test: str) -> None:
        self.job.begin(test)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Writes how a phase of a test ended."""
        self._write(report, report.when)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Writes what could not be collected."""
        if not report.passed:
            self._write(report, "collect")

    @_harmless
    def _write(self, report: Any, when: str) -> None:
        if self.job.in_worker:
            return
        outcome = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = {"skipped": "xfailed", "passed": "xpassed"}.get(outcome, outcome)
        words = report.longrepr if isinstance(report.longrepr, str) else ""  # a worker that crashed, a strict xpass
        facts = {
            "test": report.nodeid,
            "reason": words[:MESSAGE_LENGTH],
            **json.loads(getattr(report, _CARRIED, "{}")),
        }
        self.job.write(when=when, outcome=outcome, seconds=getattr(report, "duration", 0.0), **facts)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keeps why somebody ended the run; `pytest.exit` comes here too."""
        self.job.write(stopped=said(excinfo.value))

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keeps pytest's own failure."""
        self.job.write(broken=said(excinfo.value))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, None]:
        """Writes what the whole process knows as soon as all tests have run: what they left may end pytest itself."""
        outcome = yield
        if outcome.excinfo is None:
            self._finish(session)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The same, also of tests that did not come to their end; a worker hands it to the controller."""
        self._finish(session)

    @_harmless
    def _finish(self, session: Any) -> None:
        known: Facts = {"foreign": _foreign(self.job)}
        if self._watch is not None and self._watch.working:
            known["executed"] = sorted(self._watch.executed)
            if HAS_COLUMNS:
                known["evaluated"] = sorted(self._watch.evaluated)
        if self.job.in_worker:
            session.config.workeroutput[_CARRIED] = json.dumps(known)
        else:
            self.job.write(finished=True, stopped=session.shouldfail or session.shouldstop, **known)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Writes what a worker of xdist knew."""
        self._hand_over(node)

    @_harmless
    def _hand_over(self, node: Any) -> None:
        known = getattr(node, "workeroutput", {}).get(_CARRIED)
        if known is not None:
            self.job.write(**json.loads(known))


def _decorator(item: pytest.Item, name: str) -> tuple[str, int]:
    """The line above a test that names an attribute: a `@patch` that fails has no frame of the project."""
    path, first = item.location[0].replace(os.sep, "/"), (item.location[1] or 0) + 1
    for number in range(first, first + 50):
        line = linecache.getline(str(item.path), number)
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", line):
            return path, number
        if re.match(r"\s*(?:async\s+)?(?:def|class)\s", line):
            break
    return path, first


def _file_of(module: Any) -> Any:
    try:
        return getattr(module, "__file__", None)
    except Exception:  # dead, or lazy and failing at what it would load
        return None


def _foreign(job: Job) -> list[str]:
    """The modules that the project has, imported from a file that is not the project's: an installed copy, say."""
    found = []
    # A copy, which nothing interrupts: what stands there may be weak, and take itself out when it dies.
    for name, module in sys.modules.copy().items():
        filename = _file_of(module)
        if not isinstance(filename, str) or name == "__main__" or job.relative(filename) is not None:
            continue
        stems = [os.path.join(path, *name.split(".")) for path in job.import_paths]
        if any(os.path.isfile(f"{stem}.py") or os.path.isfile(os.path.join(stem, "__init__.py")) for stem in stems):
            found.append(name)
    return sorted(found)
