"""Suspects: failing tests that only suffer from a failure before them, in real runs of a project's tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from netra_repair import suspects
from netra_repair.class_statements import ClassStatements
from netra_repair.definitions import Definitions
from netra_repair.failures import Outcome, SuiteResult
from netra_repair.files import Files
from netra_repair.project import Project
from netra_repair.receivers import ImportReceivers
from netra_repair.sightings import Sighter
from netra_repair.suite import Suite
from netra_repair.suspects import Suspects
from netra_repair.triage import Triage
from netra_repair.words import Words
from tests.support.repair_plans import write_files
from tests.unit.repair.test_sightings import Told

# An object that is made once: the first test to ask for it says why that fails, the others find it half made.
LEXER = """\
class Lexer:
    _one = None

    @classmethod
    def one(cls):
        if cls._one is None:
            cls._one = cls()
            cls._one.words = []
            cls._one.prepare()
        return cls._one

    def ready(self):
        self.words = ["a"]
        self.rules = 1


class Token:
    pass


class Group(Token):
    def parts(self):
        return []


def first(lexer):
    return lexer.words[0]


def only(token):
    return token.parts()
"""
TESTS = """\
import pytest
from pkg.lexer import Lexer, Token, first, only

def test_a(): assert Lexer.one()
def test_b(): assert first(Lexer.one()) == "a"
def test_c(): assert Lexer.one().rules == 1
def test_d(): only(Lexer.one() and Token()) if not Lexer.one().words else None
def test_e(): assert 1 == 2
def test_f(): pass
@pytest.mark.xfail
def test_g(): assert Lexer.one().words == ["a", "b"]
"""
NAMES = [f"tests/test_it.py::test_{letter}" for letter in "abcdefg"]


@pytest.fixture(autouse=True)
def _bare_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps this environment's plugins out of the project's runs."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def made(root: Path, files: Mapping[str, str]) -> tuple[Suspects, Sighter, Suite]:
    """What looks at a project's suspects."""
    write_files(root, {name: text.encode() for name, text in files.items()})
    project = Project(root, Path(sys.executable), "3.11.7", (root,), (), tuple(sorted(files)), ())
    definitions = Definitions(root, (root,))
    classes = ClassStatements(project, definitions, Words(project))
    triage = Triage(definitions, classes)
    imports = ImportReceivers(project, definitions)
    owner = definitions.named("pkg.lexer.Lexer")
    assert owner is not None
    sighter = Sighter(Files(project), Told(owner, []), imports, definitions, classes, triage)
    return Suspects(sighter, triage), sighter, Suite(root, Path(sys.executable), [root])


FILES = {"pkg/__init__.py": "", "pkg/lexer.py": LEXER, "tests/test_it.py": TESTS}


def died_of(sighter: Sighter, suite: SuiteResult) -> dict[str, list[str]]:
    """The missing names by test."""
    found: dict[str, list[str]] = {}
    for sighting in sighter.of_tests(suite):
        found.setdefault(str(sighting.test)[-1], []).append(sighting.attribute)
    return found


def test_suspects_show_their_own_root_cause_alone(tmp_path: Path) -> None:
    """Tests that fail at what another left half made die of the same root cause when each runs in its own process."""
    searched, sighter, suite = made(tmp_path, FILES)
    together = suite.run()
    assert died_of(sighter, together) == {"a": ["prepare"], "d": ["parts"]}
    asked: list[tuple[Sequence[str], bool]] = []

    def rerun(tests: Sequence[str], alone: bool) -> SuiteResult:
        asked.append((tests, alone))
        return suite.run(tests, alone=alone)

    found = searched.asked_again(together, rerun)
    # Without the first test the second one is the first that asks for the object.
    assert asked == [([*NAMES[1:5], NAMES[6]], False), ([*NAMES[2:5], NAMES[6]], True)]
    assert died_of(sighter, found) == {letter: ["prepare"] for letter in "abcdg"}
    outcomes = {test: case.outcome for test, case in together.cases.items()}
    assert {test: case.outcome for test, case in found.cases.items()} == outcomes
    assert found.cases[NAMES[4]] == together.cases[NAMES[4]]
    assert "prepare" in found.cases[NAMES[1]].reason


@pytest.mark.parametrize("tests", ["def test_e(): assert 1 == 2\n", "def test_f(): pass\n", "import gone\n"])
def test_without_a_root_cause_nothing_is_run_again(tmp_path: Path, tests: str) -> None:
    """Where no test shows a root cause, and where none fails, there is nothing to suffer from."""
    searched, _, suite = made(tmp_path, {**FILES, "tests/test_it.py": tests})
    together = suite.run()

    def rerun(tests: Sequence[str], alone: bool) -> SuiteResult:
        raise AssertionError(tests)

    assert searched.asked_again(together, rerun) is together


def test_few_are_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many suspects the first are run alone."""
    monkeypatch.setattr(suspects, "MOST", 1)
    searched, sighter, suite = made(tmp_path, FILES)
    found = searched.asked_again(suite.run(), lambda tests, alone: suite.run(tests, alone=alone))
    assert died_of(sighter, found) == {"a": ["prepare"], "b": ["prepare"], "c": ["prepare"], "d": ["parts"]}


CATCHING = """\
import threading
from pkg.lexer import Group, Lexer, Token

class Helper:
    def __getattr__(self, name):
        return getattr(Group(), name)

def run(work):
    try:
        work()
    except Exception:
        return 1
    return 0

def duck(thing):
    try:
        return thing.quack
    except AttributeError:
        return len

def in_thread(work):
    thread = threading.Thread(target=run, args=(work,))
    thread.start()
    thread.join()
    return 1

def test_a(): Lexer().scan()
def test_b(): assert run(Lexer.one) == 0
def test_c(): assert run(lambda: Lexer().scan(1)) == 0
def test_d(): assert run(lambda: duck(Lexer())(Group().quack)) == 0
def test_e(): assert run(lambda: Group().scan()) == 0
def test_f(): assert run(lambda: Helper().prepare()) == 0
def test_g(): assert in_thread(lambda: Lexer().scan()) == 0
def test_h(): assert run(lambda: Lexer().scan()) == 1
def test_i(): Token().quack
"""


def test_what_a_test_does_not_see_is_heard(tmp_path: Path) -> None:
    """A failure that what is tested has caught explains its test where something else shows it to be a root cause.

    Not what another class lacks, nor what only this test raises, nor what the code around expects.
    """
    searched, sighter, suite = made(tmp_path, {**FILES, "tests/test_it.py": CATCHING})
    together = suite.run()
    assert died_of(sighter, together) == {"a": ["scan"], "i": ["quack"]}
    found = searched.asked_again(together, lambda tests, alone: suite.run(tests, listening=True, alone=alone))
    assert died_of(sighter, found) == {**{letter: ["scan"] for letter in "acg"}, "d": ["quack"], "i": ["quack"]}
    outcomes = {test: case.outcome for test, case in together.cases.items()}
    assert {test: case.outcome for test, case in found.cases.items()} == outcomes
    assert all(not case.raised for case in found.cases.values() if case.outcome is Outcome.PASSED)


def test_others_show_what_no_test_sees(tmp_path: Path) -> None:
    """What a checker has seen explains tests, too, though no test dies of it openly."""
    searched, sighter, suite = made(tmp_path, {**FILES, "tests/test_it.py": CATCHING})
    seen = [each for each in sighter.of_tests(suite.run()) if each.attribute == "scan"]
    (tmp_path / "tests/test_it.py").write_text(CATCHING.replace("def test_a", "def a").replace("def test_i", "def i"))
    together = suite.run()
    found = searched.asked_again(together, lambda tests, alone: suite.run(tests, listening=True, alone=alone), seen)
    assert (died_of(sighter, together), died_of(sighter, found)) == ({}, {"c": ["scan"], "g": ["scan"]})


def test_what_was_missing_before_is_known_in_a_later_run(tmp_path: Path) -> None:
    """When the tests that died openly are mended, what others do not see of the same cause is still heard."""
    searched, sighter, suite = made(tmp_path, {**FILES, "tests/test_it.py": CATCHING})

    def rerun(tests: Sequence[str], alone: bool) -> SuiteResult:
        assert not (alone and asked_alone.intersection(tests)), "asked alone again"
        asked_alone.update(tests if alone else ())
        return suite.run(tests, listening=True, alone=alone)

    asked_alone: set[str] = set()
    searched.asked_again(suite.run(), rerun)
    (tmp_path / "tests/test_it.py").write_text(CATCHING.replace("def test_a", "def a").replace("def test_i", "def i"))
    together = suite.run()
    found = searched.asked_again(together, rerun)
    assert died_of(sighter, together) == {}
    assert died_of(sighter, found) == {"c": ["scan"], "d": ["quack"], "g": ["scan"]}


PROGRAM = """
import resource
import sys
from pkg.lexer import Group, Lexer

def served():
    try:
        Lexer().scan()
    except Exception:
        print(500)

def without_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    try:
        Lexer().scan()
    except Exception as error:
        print(type(error).__name__)

def serving():
    for line in sys.stdin:
        served()
        sys.stdout.flush()

if __name__ == "__main__":
    ways = {"open": lambda: Lexer().scan(), "other": lambda: Group().scan(), "own": lambda: 1 / 0}
    ways |= {"served": served, "serving": serving, "without": without_files}
    ways[sys.argv[1]]()
"""
SCRIPT = """
import inspect
import sys
from pathlib import Path
sys.path.append(str(Path(__file__).parents[1]))
from pkg.lexer import Lexer
print(inspect.OWN)
Lexer().scan()
"""
STARTING = """
import os
import subprocess
import sys
import pytest
from pkg.lexer import Lexer

def ended(word, **environment):
    command = [sys.executable, "-m", "pkg.program", word]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    return done.stdout, done.returncode

def test_a(): Lexer().scan()
def test_b(): assert ended("open") == ("", 0)
def test_c(): assert ended("served") == ("", 0)
def test_d(): assert ended("other") == ("", 0)
def test_e(): assert ended("own") == ("", 0)
def test_f(): assert ended("open")[1] == 1
def test_g(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('here')")
    path = os.pathsep.join((os.environ["PYTHONPATH"], str(tmp_path)))
    assert ended("open", PYTHONPATH=path) == ("here", 1)
def test_h(): assert ended("without") == ("", 0)

@pytest.fixture(scope="module")
def server():
    command = [sys.executable, "-m", "pkg.program", "serving"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield lambda: print("", file=process.stdin, flush=True) or process.stdout.readline()
        process.stdin.close()

def test_m():
    done = subprocess.run([sys.executable, "scripts/main.py"], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)

def test_i(server): assert 1 == 2
def test_j(server): assert server() == "200"
def test_k(server): assert 1 == 2
def test_l(server): assert server() == "200"
"""


def test_what_a_program_that_a_test_starts_raises_is_heard(tmp_path: Path) -> None:
    """A test that only sees how its program ended is explained by what the program raised meanwhile, caught or not.

    The program does what it did: a module that its environment loads first is loaded all the same, so are its own that
    are called like one of Python's, and what cannot be told is not raised in its place.
    """
    files = {**FILES, "pkg/program.py": PROGRAM, "tests/test_it.py": STARTING}
    files |= {"scripts/inspect.py": "OWN = 'own inspect'\n", "scripts/main.py": SCRIPT}
    searched, sighter, suite = made(tmp_path, files)
    together = suite.run()
    assert died_of(sighter, together) == {"a": ["scan"]}
    again: list[SuiteResult] = []

    def rerun(tests: Sequence[str], alone: bool) -> SuiteResult:
        again.append(suite.run(tests, listening=True, alone=alone))
        return again[-1]

    found = searched.asked_again(together, rerun)
    assert died_of(sighter, found) == {letter: ["scan"] for letter in "abcgjlm"}
    assert "own inspect" in again[0].cases["tests/test_it.py::test_m"].reason
    assert r"here\n" in again[0].cases["tests/test_it.py::test_g"].reason
    assert r"AttributeError\n" in again[0].cases["tests/test_it.py::test_h"].reason


TOOL = """
import multiprocessing
import sys

class Card: pass

def work():
    try:
        Card().draw()
    except AttributeError:
        pass

if __name__ == "__main__":
    if sys.argv[1:] == ["spawn"]:
        process = multiprocessing.get_context("spawn").Process(target=work)
        process.start()
        process.join()
    else:
        work()
"""
RUNNING = """
import subprocess
import sys

def test_module(): assert not subprocess.run([sys.executable, "-m", "pkg.tool"], check=True)
def test_script(): assert not subprocess.run([sys.executable, "pkg/tool.py"], check=True)
def test_spawned(): assert not subprocess.run([sys.executable, "pkg/tool.py", "spawn"], check=True)
"""


def test_a_program_has_the_name_of_its_module(tmp_path: Path) -> None:
    """A class of the file that a test runs as a program is the class that the project knows, however it is run."""
    files = {"pkg/__init__.py": "", "pkg/tool.py": TOOL, "tests/test_it.py": RUNNING}
    write_files(tmp_path, {name: text.encode() for name, text in files.items()})
    suite = Suite(tmp_path, Path(sys.executable), [tmp_path])
    found = {test.partition("::test_")[2]: case for test, case in suite.run(listening=True).cases.items()}
    assert {name: [(raised.receiver, raised.bases[0]) for raised in case.caught] for name, case in found.items()} == {
        name: [("pkg.tool.Card", "pkg.tool.Card")] for name in ("module", "script", "spawned")
    }


ALONE = """\
import os
import signal
import sys
import pytest

here = os.getpid()
left = []

@pytest.fixture(scope="session")
def shared():
    left.append("shared")
    yield left
    assert left == ["shared"], "torn down where it was set up"

def test_pass(shared): left.append(1) or left.remove(1)
def test_left(): assert left == [] and os.getpid() != here
def test_fail(shared): left.gone
def test_teardown(request): request.addfinalizer(lambda: left.gone)
def test_skip(): pytest.skip("no")
@pytest.mark.parametrize("x", [1, 2])
def test_crash(x): os.kill(os.getpid(), signal.SIGKILL) if x == 1 else None
def test_exit(): os._exit(3)
def test_last(): pass
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_test_alone_is_in_its_own_process(tmp_path: Path) -> None:
    """Nothing of one test is left in another, a crash ends no other and is told, the rest ends as usual."""
    write_files(tmp_path, {"test_alone.py": ALONE.encode()})
    result = Suite(tmp_path, Path(sys.executable), [tmp_path]).run(alone=True)
    found = {test.partition("::test_")[2]: case.outcome for test, case in result.cases.items()}
    assert found.pop("pass") is found.pop("left") is found.pop("last") is found.pop("crash[2]") is Outcome.PASSED
    assert found.pop("fail") is Outcome.FAILED
    assert found.pop("teardown") is Outcome.ERROR
    assert found.pop("skip") is Outcome.SKIPPED
    assert found == {"crash[1]": Outcome.FAILED, "exit": Outcome.FAILED}
    assert result.cases["test_alone.py::test_crash[1]"].reason == "killed by signal 9"
    assert result.cases["test_alone.py::test_exit"].reason == "ended its process"
    assert [raised.name for raised in result.cases["test_alone.py::test_fail"].raised] == ["gone"]
    assert (result.interrupted, result.notes) == (None, ())


def test_a_test_that_waits_for_ever_alone_is_ended(tmp_path: Path) -> None:
    """A forked process that hangs is ended by the run's limit at the latest, and nothing of it stays."""
    write_files(tmp_path, {"test_hangs.py": b"import time\ndef test_it(): time.sleep(600)\ndef test_b(): pass\n"})
    result = Suite(tmp_path, Path(sys.executable), [tmp_path]).run(timeout_s=4.0, alone=True)
    assert result.interrupted is not None
    assert "test_it" in result.interrupted
