"""What the recorder says of tests that die of something undefined, seen through real runs of pytest."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import netra_repair.recorder
from netra_repair.diagnostics import CauseKind
from netra_repair.failures import Outcome, Raised, SuiteResult
from netra_repair.owners import Access
from netra_repair.recorder.selection import Selection, container
from netra_repair.source import Position
from netra_repair.suite import Suite

ATTRIBUTE, IMPORT = CauseKind.MISSING_ATTRIBUTE, CauseKind.MISSING_IMPORT
KEYWORD, MISSING, COUNT = CauseKind.UNEXPECTED_KEYWORD, CauseKind.MISSING_ARGUMENT, CauseKind.POSITIONAL_COUNT
CLASS, INSTANCE, MODULE = Access.CLASS, Access.INSTANCE, Access.MODULE
CTX = "pkg.ctx.Ctx"

PACKAGE = """\
class Base:
    @classmethod
    def made(cls, user_id, thread_id):
        return cls()

    def ask(self, *, deep):
        return deep


class Ctx(Base):
    @property
    def unready(self):
        raise AttributeError("not ready")

    @property
    def inner(self):
        return self.nope


class Forwarding:
    def __getattr__(self, name):
        raise AttributeError(name + " is not there")


class Slotted:
    __slots__ = ("x",)


def two(a, b):
    return a
"""

HEAD = """\
import sys
import unittest
from unittest.mock import MagicMock, create_autospec, patch

import pytest

import pkg.ctx
from pkg.ctx import Ctx, Forwarding, Slotted, two


@pytest.fixture
def built():
    return Ctx.gone("u")


class Sub(Ctx):
    def up(self):
        return super().gone(1)

    def private(self):
        return self.__gone
"""

# The body of a test; kind, name, receiver, access and callee of what is raised; and the text of the expression between
# the recorded positions, "…" where the end is not a name's. A library's lookup is marked with "LIB ".
DYING = {
    "class": ("Ctx.gone('é', 1)", (ATTRIBUTE, "gone", CTX, CLASS, None), "Ctx.gone"),
    "instance": ("'é€😀'; Ctx().gone(1)", (ATTRIBUTE, "gone", CTX, INSTANCE, None), "Ctx().gone"),
    "asserted": ("assert Ctx.gone(1) == 2", (ATTRIBUTE, "gone", CTX, CLASS, None), "Ctx.gone"),
    "chained": (
        "(Ctx\n     .made('u',\n           't')\n     .gone(1)\n     .ok())",
        (ATTRIBUTE, "gone", CTX, INSTANCE, None),
        "gone",
    ),
    "module": ("pkg.ctx.gone", (ATTRIBUTE, "gone", "pkg.ctx", MODULE, None), "pkg.ctx.gone"),
    "none": ("None.gone", (ATTRIBUTE, "gone", "builtins.NoneType", INSTANCE, None), "None.gone"),
    "super_": ("Sub().up()", (ATTRIBUTE, "gone", CTX, INSTANCE, None), "super().gone"),
    "private": ("Sub().private()", (ATTRIBUTE, "_Sub__gone", "test_dying.Sub", INSTANCE, None), "self.__gone"),
    "property": ("Ctx().inner", (ATTRIBUTE, "nope", CTX, INSTANCE, None), "self.nope"),
    "forwarded": ("Forwarding().gone", (ATTRIBUTE, "gone", "pkg.ctx.Forwarding", INSTANCE, None), "Forwarding().gone"),
    "computed": ("getattr(Ctx, 'gone')", (ATTRIBUTE, "gone", CTX, CLASS, None), "…"),
    "bare": ("raise AttributeError('gone')", (ATTRIBUTE, "gone", None, None, None), "…"),
    "specified": ("MagicMock(spec=Ctx).gone()", (ATTRIBUTE, "gone", CTX, INSTANCE, None), "MagicMock(spec=Ctx).gone"),
    "autospec": ("create_autospec(Ctx).gone()", (ATTRIBUTE, "gone", CTX, CLASS, None), "create_autospec(Ctx).gone"),
    "autospec_instance": (
        "create_autospec(Ctx, instance=True).gone()",
        (ATTRIBUTE, "gone", CTX, INSTANCE, None),
        "create_autospec(Ctx, instance=True).gone",
    ),
    "patch_object": (
        "patch.object(Ctx, 'gone').start()",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "LIB patch.object(Ctx, 'gone').start()",
    ),
    "patch_text": (
        "patch('pkg.ctx.Ctx.gone').start()",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "LIB patch('pkg.ctx.Ctx.gone').start()",
    ),
    "patch_in_nothing": (
        "patch('pkg.ctx.Gone.made').start()",
        (ATTRIBUTE, "Gone", "pkg.ctx", MODULE, None),
        "LIB patch('pkg.ctx.Gone.made').start()",
    ),
    "setattr": (
        "pytest.MonkeyPatch().setattr(Ctx, 'gone', 1)",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "LIB pytest.MonkeyPatch().setattr(Ctx, 'gone', 1)",
    ),
    "setattr_text": (
        "pytest.MonkeyPatch().setattr('pkg.ctx.Ctx.gone', 1)",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "LIB pytest.MonkeyPatch().setattr('pkg.ctx.Ctx.gone', 1)",
    ),
    "delattr": (
        "pytest.MonkeyPatch().delattr(Ctx, 'gone')",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "LIB pytest.MonkeyPatch().delattr(Ctx, 'gone')",
    ),
    "imported": (
        "from pkg.ctx import (Ctx as C,\n        gone as g)",
        (IMPORT, "gone", "pkg.ctx", MODULE, None),
        "from pkg.ctx import (Ctx as C,\n        gone",
    ),
    "missing": ("Ctx.made('u')", (MISSING, "thread_id", None, None, "Base.made"), "Ctx.made('u')"),
    "keyword_only": ("Ctx().ask()", (MISSING, "deep", None, None, "Base.ask"), "Ctx().ask()"),
    "unexpected": (
        "Ctx.made('u', 't', deep=1)",
        (KEYWORD, "deep", None, None, "Base.made"),
        "Ctx.made('u', 't', deep=1)",
    ),
    "twice": ("two(1, a=2)", (KEYWORD, "a", None, None, "two"), "two(1, a=2)"),
    "too_many": ("two(1,\n        2, 3)", (COUNT, "", None, None, "two"), "two(1,\n        2, 3)"),
    "wrapped": (
        "try: Ctx.gone()\n    except AttributeError as e: raise RuntimeError('setup failed') from e",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "Ctx.gone",
    ),
    "during": (
        "try: Ctx.gone()\n    except AttributeError: raise RuntimeError('setup failed')",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "Ctx.gone",
    ),
    "grouped": (
        "try: Ctx.gone()\n    except AttributeError as e: raise ExceptionGroup('many', [ValueError(), e])",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "Ctx.gone",
    ),
    "skipped": (
        "try: Ctx.gone()\n    except AttributeError: pytest.skip('no factory')",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "Ctx.gone",
    ),
    "hidden": (
        "try: Ctx.gone()\n    except AttributeError: raise RuntimeError('setup failed') from None",
        (ATTRIBUTE, "gone", CTX, CLASS, None),
        "Ctx.gone",
    ),
}

# Tests that die of nothing that is undefined.
SILENT = {
    "raises": "with pytest.raises(AttributeError): Ctx.gone()",
    "unready": "Ctx().unready",
    "slot": "Slotted().x",
    "own_words": "raise TypeError(\"two() missing 1 required positional argument: 'b'\")",
    "plain": "assert 1 == 2",
    "circle": "import pkg.circle",
    "circle_of_names": "import pkg.ring",
}

TAIL = """
def test_fixture(built): pass
@patch.object(Ctx, "made")
@patch("pkg.ctx.Ctx.gone")
def test_decorated(a, b): pass
@pytest.mark.xfail
def test_xfail(): Ctx.gone()
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.xfail(strict=True)
def test_xpass_strict(): pass
def test_teardown(request): request.addfinalizer(lambda: Ctx.gone())
class TestOld:
    def setup_method(self): Ctx.gone()
    def test_one(self): pass
class TestUnit(unittest.TestCase):
    def test_unit(self): Ctx.gone()
    def test_sub(self):
        for n in range(2):
            with self.subTest(n=n): Ctx.gone()
class Hostile(type):
    def __getattribute__(cls, name):
        if name == "__qualname__": raise ValueError("hands off")
        return super().__getattribute__(name)
def test_hostile(): Hostile("Made", (), {}).gone
def test_both(): two()
def test_in_one_line():
    errors = []
    for number in range(2):
        try: Ctx.gone() if number else Ctx.gone()
        except AttributeError as error: errors.append(error)
    raise ExceptionGroup("twice on a line", errors)
def test_alone(): assert not [name for name in sys.modules if name.partition(".")[0] == "netra_repair"]
"""


def source_of_tests() -> str:
    """The test file: every entry of the tables as a test of its name."""
    bodies = {**{name: body for name, (body, *_) in DYING.items()}, **SILENT}
    return "\n\n".join([HEAD, *(f"def test_{name}():\n    {body}" for name, body in bodies.items()), TAIL])


FILES = {
    "pkg/__init__.py": "",
    "pkg/ctx.py": PACKAGE,
    "pkg/circle.py": "import pkg.other\na = 1\n",
    "pkg/other.py": "import pkg.circle as circle\nb = circle.a\n",
    "pkg/ring.py": "import pkg.rest\na = 1\n",
    "pkg/rest.py": "from pkg.ring import a\n",
    "tests/test_dying.py": source_of_tests(),
    "tests/test_import.py": "from pkg.ctx import gone\n\n\ndef test_it(): pass\n",
    "tests/test_top.py": "from pkg.ctx import Ctx\n\nCTX = Ctx.gone()\n\n\ndef test_it(): pass\n",
    "tests/test_skips.py": (
        "import pytest\nfrom pkg.ctx import Ctx\ntry: Ctx.gone()\n"
        "except AttributeError: pytest.skip('no', allow_module_level=True)\n\n\ndef test_it(): pass\n"
    ),
    "tests/test_syntax.py": "def test_(:\n",
    "tests/test_latin.py": "# coding: latin-1\nfrom pkg.ctx import Ctx\n\n\ndef test_it(): 'éé'; Ctx.gone()\n",
    "tests/sub/conftest.py": "from pkg.ctx import Ctx\nCtx.gone()\n",
    "tests/sub/test_below.py": "def test_it(): pass\n",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tests die in every way there is."""
    root = tmp_path_factory.mktemp("dying")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("latin-1" if "latin" in name else "utf-8"))
    return root


@pytest.fixture(scope="module")
def result(root: Path) -> SuiteResult:
    """One run of all of them, without this environment's many plugins, which would cost a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return Suite(root, Path(sys.executable), [root]).run()


def text_between(raised: Raised) -> str:
    """What stands between the recorded positions; "…" where the end is unknown."""
    lines = FILES[raised.path].split("\n")
    start, end = raised.start, raised.end
    assert start is not None
    if end is None:
        return "…"
    text = "\n".join(lines[start.line - 1 : end.line])
    after = len(lines[end.line - 1]) - end.column + 1
    return ("LIB " if raised.in_library else "") + text[start.column - 1 : len(text) - after]


@pytest.mark.parametrize("name", DYING)
def test_the_undefined_thing_a_test_dies_of_is_told(result: SuiteResult, name: str) -> None:
    """Whichever way a test meets something undefined: what, of whom, how, and exactly where is recorded, once."""
    _, expected, text = DYING[name]
    case = result.cases[f"tests/test_dying.py::test_{name}"]
    assert case.outcome is (Outcome.SKIPPED if name == "skipped" else Outcome.FAILED)
    (raised,) = case.raised
    assert (raised.kind, raised.name, raised.receiver, raised.access, raised.callee) == expected
    assert text_between(raised) == text
    assert case.broken


def test_the_receiver_comes_with_its_bases(result: SuiteResult) -> None:
    """A leaf class is recorded with its MRO, so that the class that should own the attribute can be found."""
    (raised,) = result.cases["tests/test_dying.py::test_class"].raised
    assert raised.bases == ("pkg.ctx.Ctx", "pkg.ctx.Base", "builtins.object")


@pytest.mark.parametrize("name", SILENT)
def test_what_is_defined_or_only_said_is_not_told(result: SuiteResult, name: str) -> None:
    """Expected absence, properties that raise, empty slots, circular imports and made-up messages are not recorded."""
    assert result.cases[f"tests/test_dying.py::test_{name}"].raised == ()


@pytest.mark.parametrize(
    ("name", "outcome", "line"),
    [
        ("test_fixture", Outcome.ERROR, 'return Ctx.gone("u")'),
        ("test_decorated", Outcome.FAILED, '@patch("pkg.ctx.Ctx.gone")'),
        ("test_xfail", Outcome.XFAILED, "def test_xfail(): Ctx.gone()"),
        ("test_teardown", Outcome.ERROR, "def test_teardown(request): request.addfinalizer(lambda: Ctx.gone())"),
        ("TestOld::test_one", Outcome.ERROR, "def setup_method(self): Ctx.gone()"),
        ("TestUnit::test_unit", Outcome.FAILED, "def test_unit(self): Ctx.gone()"),
        ("TestUnit::test_sub", Outcome.FAILED, "with self.subTest(n=n): Ctx.gone()"),
        ("test_hostile", Outcome.FAILED, None),
        ("test_xpass", Outcome.XPASSED, None),
        ("test_xpass_strict", Outcome.FAILED, None),
        ("test_alone", Outcome.PASSED, None),
    ],
)
def test_the_worst_phase_is_the_outcome(result: SuiteResult, name: str, outcome: Outcome, line: str | None) -> None:
    """Fixtures, decorators, tear-downs, unittest and sub-tests are counted as pytest counts them, with their line."""
    case = result.cases[f"tests/test_dying.py::{name}"]
    assert case.outcome is outcome
    lines = [FILES[raised.path].split("\n")[raised.line - 1].strip() for raised in case.raised]
    assert lines == ([] if line is None else [line])


def test_each_missing_parameter_is_told(result: SuiteResult) -> None:
    """A call that lacks two arguments names both."""
    raised = result.cases["tests/test_dying.py::test_both"].raised
    assert [(one.kind, one.name) for one in raised] == [(MISSING, "a"), (MISSING, "b")]


def test_two_places_on_one_line_are_told_apart(result: SuiteResult) -> None:
    """The same attribute that is missing twice on a line is told twice, each with its own position."""
    raised = result.cases["tests/test_dying.py::test_in_one_line"].raised
    assert [each.name for each in raised] == ["gone", "gone"]
    assert len({each.end for each in raised}) == 2
    assert len({each.line for each in raised}) == 1


THREADS = """\
import queue
import sys
import threading

import pytest

heard = []

def run(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

def serve(): heard.gone

@pytest.fixture
def serving(): run(serve)

def test_in_the_call():
    run(serve)
    assert heard == [1]
def test_in_the_fixture(serving): raise ValueError("nobody answers")
def test_only_the_thread(): run(serve)
def test_after_it(): assert not heard and False
def test_exits(): run(sys.exit); assert False
def test_own_hook(monkeypatch):
    before = threading.excepthook
    monkeypatch.setattr(threading, "excepthook", lambda told: heard.append(told))
    run(serve)
    assert heard.pop() and threading.excepthook != before
"""


@pytest.mark.parametrize("options", [(), ("-p", "no:threadexception"), ("-W", "error")], ids=" ".join)
def test_what_ends_a_thread_is_told_by_the_test_that_fails(tmp_path: Path, options: tuple[str, ...]) -> None:
    """An exception in a thread is recorded where the test fails meanwhile, whoever else listens; never at another."""
    (tmp_path / "test_threads.py").write_text(THREADS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        result = Suite(tmp_path, Path(sys.executable), [tmp_path], options).run()
    told = {
        test.partition("::test_")[2]: [(raised.name, raised.line) for raised in case.raised]
        for test, case in result.cases.items()
    }
    gone = [("gone", 14)]
    only = gone if options == ("-W", "error") else []
    assert told == {
        "in_the_call": gone,
        "in_the_fixture": gone,
        "only_the_thread": only,
        "after_it": [],
        "exits": [],
        "own_hook": [],
    }
    assert result.cases["test_threads.py::test_own_hook"].outcome is Outcome.PASSED
    assert result.notes == ()


def test_what_cannot_be_collected_is_a_case(result: SuiteResult) -> None:
    """A file or conftest.py that cannot be collected is recorded with its reason, and the others run all the same."""
    hidden = {test: case for test, case in result.cases.items() if not case.collected}
    assert {test: [raised.name for raised in case.raised] for test, case in hidden.items()} == {
        "tests/sub/conftest.py": ["gone"],
        "tests/test_import.py": ["gone"],
        "tests/test_skips.py": ["gone"],
        "tests/test_syntax.py": [],
        "tests/test_top.py": ["gone"],
    }
    assert hidden["tests/test_skips.py"].outcome is Outcome.SKIPPED
    assert {case.outcome for test, case in hidden.items() if "skips" not in test} == {Outcome.ERROR}
    assert hidden["tests/test_import.py"].raised[0].end == Position(1, 25)
    assert hidden["tests/test_syntax.py"].reason.startswith("SyntaxError: ")
    assert (result.exit_code, result.interrupted, result.foreign) == (1, None, ())


def test_a_fault_of_the_recorder_is_a_note(result: SuiteResult) -> None:
    """A class that fails at being looked at costs one fact and leaves a note; the run and all other facts stand."""
    (note,) = result.notes
    assert note.endswith("cannot be described: ValueError: hands off")


def test_columns_are_code_points_in_any_encoding(result: SuiteResult) -> None:
    """In a latin-1 file the columns count characters, not the bytes of some encoding."""
    (raised,) = result.cases["tests/test_latin.py::test_it"].raised
    assert text_between(raised) == "Ctx.gone"


@pytest.mark.parametrize("path", sorted(Path(netra_repair.recorder.__file__).parent.glob("*.py")), ids=lambda p: p.name)
def test_the_recorder_stands_alone(path: Path) -> None:
    """It is Python 3.8, and imports itself, the standard library and pytest: the other environment has no more."""
    tree = ast.parse(path.read_bytes(), feature_version=(3, 8))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in imported:
        if isinstance(node, ast.Import):
            assert all(alias.name.partition(".")[0] in {*sys.stdlib_module_names, "pytest"} for alias in node.names)
        elif node.level:
            assert node.level == 1
        else:
            assert (node.module or "").partition(".")[0] in sys.stdlib_module_names
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match | ast.TryStar)]


IDS = st.sampled_from(
    (
        "a.py a.py::t a.py::t[1] a.py::T a.py::T::t a.py::T::t[x/y::z] d/a.py d/a.py::t d/e/b.py::t d d/e . "
        "d/conftest.py conftest.py d/e/__init__.py da.py::t a.pyx::t"
    ).split()
)


@example(wanted={"a.py::T"}, test="a.py::T::t[x/y::z]")
@example(wanted={"a.py::T::t"}, test="a.py::T::t[x/y::z]")
@given(wanted=st.sets(IDS, max_size=3), test=IDS.filter(lambda test: "::" in test))
def test_a_selection_holds_what_is_below_it(wanted: set[str], test: str) -> None:
    """A test is wanted by its own id, without its parameters, by its class, its file, or a folder around it."""

    def holds(entry: str) -> bool:
        entry = entry if "::" in entry else container(entry)
        return entry in (".", test) or any(test.startswith(entry + separator) for separator in ("::", "[", "/"))

    assert (test in Selection(wanted)) == any(holds(entry) for entry in wanted)
