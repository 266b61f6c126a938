"""Runs of real projects' tests: what is run, how a run ends, and that nothing is left behind."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from netra_repair.errors import TestRunError
from netra_repair.failures import Outcome, SuiteResult
from netra_repair.suite import Suite

PYTHON = Path(sys.executable)


@pytest.fixture(autouse=True)
def _bare_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps this environment's many plugins out of the projects' runs: they would cost a second each."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def project(root: Path, files: Mapping[str, str]) -> Path:
    """Writes a project's files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def outcomes(result: SuiteResult) -> list[tuple[str, str]]:
    """Every case with its outcome, in the order they ran."""
    return [(test, case.outcome.value) for test, case in result.cases.items()]


WORK = """\
def work(kind):
    if kind == "pass":
        return 1
    if kind == "fail":
        raise ValueError(
            kind)
    return (kind
            .upper())
"""

MANY = {
    "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "-x --strict-config"\n',
    "lib/work.py": WORK,
    "tests/test_one.py": """\
import os
import sys

import pytest

from work import work


def test_b(): work("pass")
def test_a(): work("fail")
@pytest.mark.parametrize("x", ["a/b", "é [::]", "z"])
def test_many(x): work(x)
def test_tracer():
    sys.settrace(lambda *_: None)
    sys.settrace(None)
def test_environment(request):
    assert os.environ["PYTHONHASHSEED"] == "0"
    assert "PYTEST_XDIST_WORKER" not in os.environ
    request.config.cache.set("some/thing", 1)
def test_forks():
    if os.fork() == 0:
        raise ValueError("in the child, which now runs the rest of the tests, too")
    os.wait()
""",
    "tests/test_broken.py": "import gone_module\ndef test_it(): pass\n",
    "tests/test_two.py": "def test_z(): pass\ndef test_y(): pass\n",
}


def test_all_tests_run_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures, broken files, a project's own -x and a random order neither stop nor shuffle a run; no file is left."""
    root = project(tmp_path, MANY)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw7")
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    result = Suite(root, PYTHON, [root / "lib"], ["-p", "pytest_randomly"]).run(
        watched={"lib/work.py": [1, 3, 5, 7, 8, 99]}
    )
    assert outcomes(result) == [
        ("tests/test_broken.py", "error"),
        ("tests/test_one.py::test_b", "passed"),
        ("tests/test_one.py::test_a", "failed"),
        ("tests/test_one.py::test_many[a/b]", "passed"),
        ("tests/test_one.py::test_many[\\xe9 [::]]", "passed"),
        ("tests/test_one.py::test_many[z]", "passed"),
        ("tests/test_one.py::test_tracer", "passed"),
        ("tests/test_one.py::test_environment", "passed"),
        ("tests/test_one.py::test_forks", "passed"),
        ("tests/test_two.py::test_z", "passed"),
        ("tests/test_two.py::test_y", "passed"),
    ]
    assert result.cases["tests/test_one.py::test_a"].reason == "ValueError: fail"
    assert (result.exit_code, result.interrupted, result.notes, result.foreign) == (1, None, (), ())
    assert "1 failed" in result.output
    assert result.executed == frozenset(
        ("lib/work.py", line) for line in (1, 3, 7, 8)
    )  # line 5 ran in a failing test only
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == MANY.keys()


def test_wanted_tests_run_alone(tmp_path: Path) -> None:
    """Ids, parameters, files and folders select; only their files are collected; what is not there is passed over."""
    files = {
        "tests/test_one.py": MANY["tests/test_one.py"],
        "tests/test_two.py": MANY["tests/test_two.py"],
        "tests/sub/test_three.py": "class TestX:\n    def test_1(self): pass\n    def test_2(self): pass\n",
        "tests/test_unasked.py": "raise SystemExit('collected')",
    }
    root = project(tmp_path, {**files, "work.py": WORK})
    wanted = ["tests/test_two.py::test_y", "tests/gone.py", "tests/sub/conftest.py", "tests/test_one.py::test_many[z]"]
    result = Suite(root, PYTHON, [root], ["tests"]).run(wanted)
    assert outcomes(result) == [
        ("tests/test_two.py::test_y", "passed"),
        ("tests/sub/test_three.py::TestX::test_1", "passed"),
        ("tests/sub/test_three.py::TestX::test_2", "passed"),
        ("tests/test_one.py::test_many[z]", "passed"),
    ]
    assert outcomes(result.only(["tests/sub", "tests/test_two.py::test_z"])) == [
        ("tests/sub/test_three.py::TestX::test_1", "passed"),
        ("tests/sub/test_three.py::TestX::test_2", "passed"),
    ]


LOOKUPS = """\
class Dynamic:
    def __getattr__(self, name): raise AttributeError(name)
class Fixed:
    @property
    def real(self): raise AttributeError("of something below")
def called(*, limit): return {}[limit]
def stops(thing): return thing is not None and thing.name
def raises(thing):
    return thing.name
def forwards(thing): return Dynamic().name
def property_fails(thing): return Fixed().real
def misnamed(thing): return called(limits=1)
def fails_below(thing): return called(limit=1)
def é(thing): return "é🐍", thing.name
"""


def test_each_lookup_and_call_of_a_line_is_told_by_itself(tmp_path: Path) -> None:
    """A line that stops before a lookup, or whose lookup fails and is caught, does not show that something is there.

    What a property or a called function raises shows that they are.
    """
    names = ("stops", "raises", "forwards", "property_fails", "misnamed", "fails_below", "é")
    calls = "".join(f"    with suppress(Exception): work.{name}(None)\n" for name in names)
    test = f"from contextlib import suppress\nimport work\ndef test_it():\n{calls}    work.é(work)\n"
    test = test.replace("work.é(work)", "work.name = 1; work.é(work)")
    root = project(tmp_path, {"work.py": LOOKUPS, "test_it.py": test})
    result = Suite(root, PYTHON, [root]).run(watched={"work.py": range(1, 20)})
    assert (outcomes(result), result.notes) == ([("test_it.py::test_it", "passed")], ())
    assert result.executed is not None
    assert {("work.py", line) for line in (7, 9, 10, 11, 12, 13, 14)} <= result.executed
    texts = LOOKUPS.splitlines()
    assert result.evaluated is not None
    ends = {(place.line, texts[place.line - 1][: place.column - 1].split()[-1]) for _, place in result.evaluated}
    assert {end for end in ends if end[0] > 6} == {
        *((10, "Dynamic()"), (11, "Fixed()"), (11, "Fixed().real"), (13, "called(limit=1)"), (14, "thing.name"))
    }


def test_what_dies_while_a_run_ends_does_not_lose_it(tmp_path: Path) -> None:
    """A module that takes itself out of `sys.modules`, or is a dead proxy there, costs nothing of the result."""
    test = """\
import sys, weakref
from types import ModuleType
class Leaving(ModuleType):
    def __getattr__(self, name):
        for other in [each for each in sys.modules if each.startswith("leaving")]:
            del sys.modules[other]
        raise ReferenceError(name)
def test_it():
    for number in range(9):
        sys.modules[f"leaving{number}"] = Leaving("leaving")
        del sys.modules[f"leaving{number}"].__dict__["__spec__"]
    sys.modules["dead"] = weakref.proxy(ModuleType("dead"))
"""
    root = project(tmp_path, {"test_it.py": test})
    result = Suite(root, PYTHON, [root]).run()
    assert (outcomes(result), result.interrupted, result.notes) == ([("test_it.py::test_it", "passed")], None, ())


def test_workers_of_xdist_are_heard(tmp_path: Path) -> None:
    """With -n, what the workers know arrives: outcomes, what was raised, executed lines; and a crash costs one test."""
    files = {
        "work.py": WORK,
        "tests/test_it.py": """\
import os, signal
from work import work
def test_pass(): work("pass")
def test_raise(): work.gone
def test_crash(): os.kill(os.getpid(), signal.SIGKILL)
def test_last(): work("pass")
""",
    }
    root = project(tmp_path, files)
    result = Suite(root, PYTHON, [root], ["-p", "xdist.plugin", "-n1"]).run(watched={"work.py": [3]})
    assert outcomes(result) == [
        ("tests/test_it.py::test_pass", "passed"),
        ("tests/test_it.py::test_raise", "failed"),
        ("tests/test_it.py::test_crash", "error"),
        ("tests/test_it.py::test_last", "passed"),
    ]
    (raised,) = result.cases["tests/test_it.py::test_raise"].raised
    assert (raised.name, raised.receiver) == ("gone", "builtins.function")
    assert "crashed" in result.cases["tests/test_it.py::test_crash"].reason
    assert (result.interrupted, result.notes, result.executed) == (None, (), frozenset({("work.py", 3)}))


@pytest.mark.parametrize(
    ("death", "exit_code", "reason", "running"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV, "killed by SIGSEGV while {} ran", True),
        ("os._exit(0)", 0, "ended with exit code 0 while {} ran", True),
        ("pytest.exit('no database')", 2, "Exit: no database", False),
    ],
)
def test_an_early_end_is_told(tmp_path: Path, death: str, exit_code: int, reason: str, running: bool) -> None:
    """After a crash, an exit or a wish to stop, what was recorded stands, and what ran last is named."""
    body = f"import os, signal, pytest\ndef test_a(): pass\ndef test_b(): {death}\ndef test_c(): pass\n"
    root = project(tmp_path, {"test_it.py": body})
    result = Suite(root, PYTHON, [root]).run()
    assert result.exit_code == exit_code
    assert result.interrupted == reason.format("test_it.py::test_b")
    assert result.cases["test_it.py::test_a"].outcome is Outcome.PASSED
    assert "test_it.py::test_c" not in result.cases
    if running:
        assert result.cases["test_it.py::test_b"].outcome is Outcome.ERROR
        assert result.cases["test_it.py::test_b"].reason == result.interrupted


def test_what_tests_leave_may_end_pytest_itself(tmp_path: Path) -> None:
    """When all tests have run, a run is whole, though something they broke for good kills pytest afterwards."""
    root = project(tmp_path, {"test_it.py": "import os\ndef test_a(): os.chdir = None\ndef test_b(): pass\n"})
    result = Suite(root, PYTHON, [root]).run(watched={"test_it.py": [3]})
    assert (result.exit_code, result.interrupted, result.executed) == (1, None, frozenset({("test_it.py", 3)}))
    assert outcomes(result) == [("test_it.py::test_a", "passed"), ("test_it.py::test_b", "passed")]


HANGS = """\
import pathlib, subprocess, time
child = subprocess.Popen(["sleep", "600"])
pathlib.Path({marker!r}).write_text(str(child.pid))
time.sleep(600)
"""


def has_ended(pid: int) -> bool:
    """Whether a process that was killed is gone, when it is within some seconds; waited for or not."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """At the time-out the run ends with the processes it started, and says so."""
    root = project(tmp_path / "project", {"conftest.py": HANGS.format(marker=str(tmp_path / "child"))})
    result = Suite(root, PYTHON, [root]).run(timeout_s=1)
    assert result.exit_code == -signal.SIGKILL
    assert (result.interrupted or "").startswith("stopped after 1 s")
    assert result.cases == {}
    if (tmp_path / "child").exists():  # a slow machine may not have come so far
        assert has_ended(int((tmp_path / "child").read_text()))


def test_an_interrupt_ends_the_tests_as_well(tmp_path: Path) -> None:
    """Ctrl-C does not leave a test run behind."""
    marker = tmp_path / "child"
    os.mkfifo(marker)
    root = project(tmp_path / "project", {"test_it.py": HANGS.format(marker=str(marker))})
    main = threading.get_ident()
    child: list[int] = []

    def interrupt() -> None:
        child.append(int(marker.read_text()))
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        Suite(root, PYTHON, [root]).run(timeout_s=50)
    assert has_ended(child[0])


def test_a_conftest_that_cannot_be_imported_is_a_case(tmp_path: Path) -> None:
    """The conftest.py that stops a whole run is told with what was raised, so that it can be repaired."""
    root = project(tmp_path, {"conftest.py": "import os\nos.gone()\n", "test_it.py": "def test_it(): pass\n"})
    result = Suite(root, PYTHON, [root]).run()
    assert outcomes(result) == [("conftest.py", "error")]
    (raised,) = result.cases["conftest.py"].raised
    assert (raised.receiver, raised.name, raised.path, raised.line) == ("os", "gone", "conftest.py", 2)


def test_a_filter_of_warnings_that_dies_is_named(tmp_path: Path) -> None:
    """Where an option of pytest's imports what is broken, the error says how to run without, and then all is told."""
    options = "[pytest]\nfilterwarnings =\n    error::pkg.Late\n"
    package = "import os\nclass Late(Warning): pass\nos.gone()\n"
    tests = {"test_a.py": "import pkg\ndef test_a(): pass\n", "test_b.py": "def test_b(): pass\n"}
    root = project(tmp_path, {"pkg/__init__.py": package, **tests, "pytest.ini": options})
    with pytest.raises(TestRunError) as caught:
        Suite(root, PYTHON, [root]).run()
    assert "no attribute 'gone'" in caught.value.problem
    assert "-- -p no:warnings" in caught.value.remedy
    without = Suite(root, PYTHON, [root], ["-p", "no:warnings"]).run()
    assert outcomes(without) == [("test_a.py", "error"), ("test_b.py::test_b", "passed")]
    (raised,) = without.cases["test_a.py"].raised
    assert (raised.receiver, raised.name, raised.path, raised.line) == ("os", "gone", "pkg/__init__.py", 3)


def test_modules_of_another_tree_are_told(tmp_path: Path) -> None:
    """When the project's own package is imported from elsewhere, the run proves nothing, and says whose modules."""
    elsewhere = project(tmp_path / "elsewhere", {"pkg/__init__.py": "", "pkg/a.py": "", "other.py": ""})
    test = "import pkg.a, other, own, json\ndef test_it(): pass\n"
    files = {"src/pkg/__init__.py": "", "src/pkg/a.py": "", "src/own.py": "", "tests/test_it.py": test}
    hook = f"import sys\nsys.path.insert(0, {str(elsewhere)!r})\n"  # as an editable installation's hook may do
    root = project(tmp_path / "root", {**files, "conftest.py": hook})
    result = Suite(root, PYTHON, [root / "src", root]).run()
    assert result.foreign == ("pkg", "pkg.a")


@pytest.mark.parametrize(
    ("arguments", "files", "words"),
    [
        (["--no-such-option"], {}, "unrecognized arguments: --no-such-option"),
        (["no/such/folder"], {}, "file or directory not found: no/such/folder"),
        (["-W", "never::UserWarning"], {}, "invalid action: 'never'"),
        ([], {"conftest.py": "def pytest_collection(session): session.gone\n"}, "no attribute 'gone'"),
    ],
)
def test_a_run_that_says_nothing_is_an_error(
    tmp_path: Path, arguments: list[str], files: dict[str, str], words: str
) -> None:
    """Refused arguments and a failure inside pytest are told in pytest's words."""
    root = project(tmp_path, {"test_it.py": "def test_it(): pass\n", **files})
    with pytest.raises(TestRunError) as caught:
        Suite(root, PYTHON, [root], arguments).run()
    assert words in caught.value.problem


def test_an_interpreter_without_pytest_is_named(tmp_path: Path) -> None:
    """No pytest, or no interpreter at all: the message names it and the option to choose another."""
    venv.create(tmp_path / "bare", with_pip=False)
    for python, words in ((tmp_path / "bare" / "bin" / "python", "has no pytest"), (tmp_path / "none", "cannot run")):
        with pytest.raises(TestRunError) as caught:
            Suite(tmp_path, python, [tmp_path]).run()
        assert words in caught.value.problem
        assert str(python) in caught.value.problem
        assert "--python" in caught.value.remedy


def test_no_tests_is_an_exit_code(tmp_path: Path) -> None:
    """A project without tests gives no case and pytest's exit code 5; the caller decides."""
    result = Suite(Path(os.path.relpath(tmp_path)), Path(os.path.relpath(PYTHON)), []).run()
    assert (result.cases, result.exit_code, result.interrupted) == ({}, 5, None)


@pytest.mark.parametrize("strict", ["filterwarnings = error", "addopts = --strict-config", "strict = true"])
@pytest.mark.parametrize("where", ["its configuration", "the user's arguments"])
def test_a_project_without_the_cache_plugin_runs(where: str, strict: str, tmp_path: Path) -> None:
    """The option for the cache is no error where pytest does not know it and takes what it does not know amiss."""
    without = ("-p", "no:cacheprovider")
    configured = where == "its configuration"
    lines = [strict, "addopts = " + " ".join(without)] if configured else [strict]
    if configured and strict.startswith("addopts"):
        lines = [f"{strict} {' '.join(without)}"]
    (tmp_path / "pytest.ini").write_text("\n".join(["[pytest]", *lines, ""]))
    (tmp_path / "test_one.py").write_text("def test_a(): pass\n")
    result = Suite(tmp_path, Path(sys.executable), [tmp_path], () if configured else without).run()
    assert [case.outcome for case in result.cases.values()] == [Outcome.PASSED]


UNPARSED = {
    "conftest.py": """\
import ast

def refuse(*_, **__):
    raise SystemError("AST constructor recursion depth mismatch")

def pytest_runtest_setup(item):
    ast.parse = refuse
""",
    "test_it.py": "def test_it():\n    None.gone\n",
}


def test_no_traceback_is_parsed(tmp_path: Path) -> None:
    """A failure is told without parsing what it came through: before Python 3.12 that fails near a deep stack's end."""
    result = Suite(project(tmp_path, UNPARSED), PYTHON, (tmp_path,)).run()
    assert outcomes(result) == [("test_it.py::test_it", "failed")]
