"""Which tests a change can touch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.failures import CaseResult, Outcome, SuiteResult
from netra_repair.imports import ImportGraph, related

FILES = {
    "src/pkg/__init__.py": "from . import low\n",
    "src/pkg/low.py": "",
    "src/pkg/high.py": "from .deep.inner import f\n",
    "src/pkg/deep/__init__.py": "",
    "src/pkg/deep/inner.py": "from .. import low\nfrom ...pkg.other import *\n",
    "src/pkg/other.py": "",
    "src/pkg/lonely.py": "def f(:\n",
    "src/pkg/tool/__init__.py": "",
    "src/pkg/tool/__main__.py": "",
    "scripts/run.py": "",
    "helpers.py": "",
    "tests/conftest.py": "import helpers\n",
    "tests/test_high.py": "def test():\n    from pkg import high\n",
    "tests/test_low.py": "import pkg.low\n",
    "tests/test_patch.py": "from unittest.mock import patch\n@patch('pkg.other.Thing.method')\ndef test(m): pass\n",
    "tests/test_runs.py": "COMMANDS = ['-m', 'pkg.tool'], ['scripts/run.py']\n",
    "tests/sub/conftest.py": "from pkg.deep import inner\n",
    "tests/sub/test_plain.py": "",
    "test_top.py": "from test_low import anything\n",
}
MODULES = {path: path.removeprefix("src/").removesuffix(".py").replace("/", ".") for path in FILES}
MODULES = {path: module.removesuffix(".__init__") for path, module in MODULES.items()}
MODULES |= {path: Path(path).stem for path in FILES if path.startswith("tests/")}  # as pytest's rootdir/conftest style
TESTS = [path for path in FILES if "test_" in path]


@pytest.fixture
def graph(tmp_path: Path) -> ImportGraph:
    """The imports of the files above."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return ImportGraph(tmp_path, MODULES)


@pytest.mark.parametrize(
    ("changed", "dependents"),
    [
        ("src/pkg/other.py", "tests/test_high.py tests/test_patch.py tests/sub/test_plain.py"),
        ("src/pkg/high.py", "tests/test_high.py"),
        ("src/pkg/deep/inner.py", "tests/test_high.py tests/sub/test_plain.py"),
        ("src/pkg/tool/__main__.py", "tests/test_runs.py"),
        ("scripts/run.py", "tests/test_runs.py"),
        ("helpers.py", " ".join(path for path in TESTS if path.startswith("tests/"))),
        ("tests/sub/conftest.py", "tests/sub/test_plain.py"),
        ("tests/test_low.py", "tests/test_low.py test_top.py"),
        ("src/pkg/lonely.py", ""),
        ("not/there.py", ""),
    ],
)
def test_whoever_imports_a_file_depends_on_it(graph: ImportGraph, changed: str, dependents: str) -> None:
    """Through packages, relative and nested imports, stars, texts, conftest.py files and commands; nobody else does."""
    assert graph.dependents(changed, TESTS) == set(dependents.split())


def test_low_is_reached_through_its_package(graph: ImportGraph) -> None:
    """A package's __init__.py runs before its modules, so whatever it imports is a dependency of all of them."""
    assert graph.dependents("src/pkg/low.py", TESTS) == set(TESTS)


def suite(*tests: str) -> SuiteResult:
    """A run of those tests."""
    return SuiteResult({test: CaseResult(test, Outcome.PASSED, True, (), 0.0) for test in tests}, 0, 0.0, (), "")


def test_a_batch_is_verified_with_what_it_can_touch(graph: ImportGraph) -> None:
    """Changed test files, importers of changed files, documents, and failing tests elsewhere; in doubt all."""
    everything = suite(*(f"{path}::test_{number}" for path in TESTS for number in (1, 2)), "docs/index.md::index.md")
    failing = ["tests/test_runs.py::test_2", "tests/test_high.py::test_1"]
    assert related(everything, ["src/pkg/high.py"], failing, graph) == (
        "tests/test_high.py",
        "docs/index.md",
        "tests/test_runs.py::test_2",
    )
    assert related(everything, ["tests/test_low.py"], (), graph) == (
        "tests/test_low.py",
        "test_top.py",
        "docs/index.md",
    )
    assert related(everything, ["src/pkg/lonely.py", "tests/test_low.py"], failing, graph) == ()
    assert related(suite("tests/test_low.py::test_1"), ["src/pkg/low.py"], (), graph) == ()


@given(edges=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14), changed=st.integers(0, 7))
def test_dependents_are_the_transitive_closure(
    tmp_path_factory: pytest.TempPathFactory, edges: set[tuple[int, int]], changed: int
) -> None:
    """In any tangle of imports, circles included, exactly those depend on a file from which a path leads to it."""
    root = tmp_path_factory.mktemp("tangle")
    modules = {f"m{number}.py": f"m{number}" for number in range(8)}
    for number in range(8):
        (root / f"m{number}.py").write_text("".join(f"import m{end}\n" for start, end in edges if start == number))
    reached = {(number, number) for number in range(8)} | edges
    for middle in range(8):
        reached |= {(start, end) for start, one in reached for two, end in reached if one == two == middle}
    expected = {f"m{number}.py" for number in range(8) if (number, changed) in reached}
    assert ImportGraph(root, modules).dependents(f"m{changed}.py", modules) == expected
