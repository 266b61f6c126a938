"""The adapter of Pyrefly: against recorded answers, against the installed engine, and against broken ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netra_repair import checkers, engine
from netra_repair.checkers import Checker, Pyrefly
from netra_repair.diagnostics import CauseKind, CheckResult, Diagnostic
from netra_repair.engine import Engine
from netra_repair.engine_messages import KINDS
from netra_repair.errors import CheckerError
from netra_repair.project import Project, discover
from netra_repair.source import Source, Span

RECORDED = Path(__file__).with_name("recorded")
RECORDINGS = sorted(RECORDED.glob("pyrefly-*.json"))


def project(root: Path, files: Mapping[str, str]) -> Project:
    """Writes files and looks at the folder, with the interpreter of the tests."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode("latin-1" if "latin-1" in text else "utf-8"))
    return discover(root, Path(sys.executable))


def lab(root: Path, recording: Mapping[str, Any]) -> Project:
    """The project that was checked for a recording."""
    return project(root, {path: "\n".join(lines) for path, lines in recording["files"].items()})


def told(diagnostic: Diagnostic) -> str:
    """A diagnostic in one line, as recordings have it."""
    start, end = diagnostic.start, diagnostic.end
    return (
        f"{diagnostic.path}:{start.line}:{start.column}-{end.line}:{end.column} {diagnostic.kind} "
        f"name={diagnostic.name} callee={diagnostic.callee} patch={diagnostic.patch_target}"
    )


def found(result: CheckResult) -> dict[str, object]:
    """What is compared with a recording."""
    return {
        "diagnostics": [told(diagnostic) for diagnostic in result.diagnostics],
        "blind": {blind.path: blind.reason for blind in result.blind},
        "unresolved": [list(module) for module in result.unresolved],
    }


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a shell script in the place of the engine's executable."""

    def put(script: str, version: str = "pyrefly 1.4.1") -> Path:
        path = tmp_path / "fake-pyrefly"
        path.write_text(f"#!/bin/sh\nif [ $1 = --version ]; then echo {version}; exit; fi\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(engine, "_binary", lambda: path)
        return path

    return put


class TestContract:
    """Names of diagnostics and forms of messages are a contract with a version of the engine."""

    @pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
    def test_translates_what_each_version_said(
        self, path: Path, tmp_path: Path, fake: Callable[[str, str], Path]
    ) -> None:
        """The recorded answer of every version that is understood becomes the recorded diagnostics."""
        recording = json.loads(path.read_text("utf-8"))
        answer = tmp_path / "answer.json"
        answer.write_text(json.dumps({"errors": recording["errors"]}))
        checked = lab(tmp_path / "lab", recording)
        fake(f"cat {answer}; exit 1", recording["engine"])
        assert found(Pyrefly().check(checked, checked.sources)) == {
            key: recording[key] for key in ("diagnostics", "blind", "unresolved")
        }

    def test_the_installed_version_still_says_so(self, tmp_path: Path) -> None:
        """The installed engine answers as recorded, and each end is that of a name; record a new version's answers."""
        checker = Pyrefly()
        path = RECORDED / f"{checker.name.replace(' ', '-')}.json"
        recording = json.loads(path.read_text("utf-8"))
        checked = lab(tmp_path, recording)
        result = checker.check(checked, checked.sources)
        assert found(result) == {key: recording[key] for key in ("diagnostics", "blind", "unresolved")}
        assert result.files == len(checked.sources) - 1  # all but the one that is not UTF-8
        # BOM, tabs, form feeds, emoji, CRLF, `as` and strings notwithstanding. One string is put together of two
        # literals: it is not known where the name ends in it.
        assert [told(each) for each in result.diagnostics if not self.ends_with_its_name(each, checked)] == [
            "pkg/attributes.py:43:7-43:24 missing-attribute name=gone callee=None patch=True"
        ]

    def ends_with_its_name(self, diagnostic: Diagnostic, checked: Project) -> bool:
        if diagnostic.kind not in (CauseKind.MISSING_ATTRIBUTE, CauseKind.MISSING_IMPORT):
            return True
        source = Source.read(checked.root, diagnostic.path)
        span = Span(source.offset(diagnostic.start), source.offset(diagnostic.end))
        return source.slice(span).endswith(diagnostic.name)

    def test_other_forms_of_messages_are_about_something_else(
        self, tmp_path: Path, fake: Callable[[str], Path]
    ) -> None:
        """A message in a form that was never recorded is not taken for a missing name."""
        entry = {"path": "a.py", "line": 1, "column": 1, "stop_line": 1, "stop_column": 2, "name": "missing-attribute"}
        entry["description"] = "Generic attribute `a` of class `b` is not visible on the class"
        (tmp_path / "answer").write_text(json.dumps({"errors": [entry]}))
        checked = project(tmp_path / "p", {"a.py": "a\n"})
        fake(f"cat {tmp_path / 'answer'}; exit 1")
        assert Pyrefly().check(checked, checked.sources).diagnostics == ()


class TestIndependence:
    """Nobody's configuration, and no comment, hides a site."""

    CODE = "class C: ...\nC.gone()  # type: ignore  # pyrefly: ignore\ndef f(c: C, x):\n    return c.gone(x)\n"

    def test_of_settings_around(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Settings of the project, of a folder above it and of the environment change nothing."""
        silent = 'preset = "off"\nproject-excludes = ["**"]\nreplace-imports-with-any = ["*"]\n'
        (tmp_path / "pyrefly.toml").write_text(silent)
        checked = project(
            tmp_path / "root",
            {
                "pkg/a.py": "# pyrefly: ignore-errors\n# mypy: ignore-errors\n" + self.CODE,
                "pyrefly.toml": silent,
                "mypy.ini": "[mypy]\nignore_errors = True\n",
                ".gitignore": "*\n",
                ".git/HEAD": "ref: refs/heads/main\n",
            },
        )
        monkeypatch.setenv("PYREFLY_CONFIG", str(tmp_path / "pyrefly.toml"))
        result = Pyrefly().check(checked, checked.sources)
        assert [(each.start.line, each.name) for each in result.diagnostics] == [(4, "gone"), (6, "gone")]

    def test_of_names_of_folders_and_files(self, tmp_path: Path) -> None:
        """Files in folders that checkers like to skip, and with names that look like patterns, are checked."""
        names = ["tests", "build", "dist", "venv", "we[i]rd", "sta*r", "q?", "sp ace", "{a,b}", "!not", "é", "[]"]
        files = {f"{name}/__init__.py": self.CODE for name in names} | {"we[i]rd/x[1].py": self.CODE}
        checked = project(tmp_path, files | {".ignore": "*\n"})
        result = Pyrefly().check(checked, checked.sources)
        assert result.files == len(names) + 1
        assert {each.path for each in result.diagnostics} == set(files)

    def test_of_generated_code(self, tmp_path: Path) -> None:
        """A generated file is never edited, but its sites are found."""
        checked = project(tmp_path, {"a.py": "# @generated\n" + self.CODE})
        assert len(Pyrefly().check(checked, checked.sources).diagnostics) == 2


class TestScope:
    def test_only_the_files_that_were_asked_for(self, tmp_path: Path) -> None:
        """What is imported is read, but what is said of it is not asked for."""
        checked = project(tmp_path, {"a.py": "import b\nb.gone\n", "b.py": "class C: ...\nC.gone\n"})
        result = Pyrefly().check(checked, ["a.py"])
        assert ([each.path for each in result.diagnostics], result.files) == (["a.py"], 1)

    def test_of_nothing_is_nothing(self, tmp_path: Path, fake: Callable[[str], Path]) -> None:
        """Without files no process is started and nothing is said to be analysed."""
        fake("exit 9")
        assert Pyrefly().check(project(tmp_path, {"a.py": ""}), []) == CheckResult((), (), (), 0)

    def test_of_libraries_of_the_projects_environment(self, tmp_path: Path) -> None:
        """Libraries are those of the project's interpreter, not those beside this tool."""
        (tmp_path / "site" / "library").mkdir(parents=True)
        (tmp_path / "site/library/__init__.py").write_text("class C: ...\n")
        checked = project(tmp_path / "root", {"a.py": "import library, pytest\nlibrary.C.gone\n"})
        checked = replace(checked, site_packages=(tmp_path / "site",))
        result = Pyrefly().check(checked, checked.sources)
        assert ([each.name for each in result.diagnostics], result.unresolved) == (["gone"], (("pytest", 1),))

    def test_of_the_projects_version_of_python(self, tmp_path: Path) -> None:
        """A branch for another version is not reachable, and says nothing."""
        code = "import sys\nclass C: ...\nif sys.version_info >= (3, 12):\n    C.new\nelse:\n    C.old\n"
        checked = project(tmp_path, {"a.py": code})
        for version, name in (("3.11.7", "old"), ("3.12.0", "new")):
            result = Pyrefly().check(replace(checked, python_version=version), checked.sources)
            assert [each.name for each in result.diagnostics] == [name]

    def test_of_modules_that_mean_several_files(self, tmp_path: Path) -> None:
        """Where a module's name means different files, nothing is said of it; elsewhere it is what it is."""
        files = {
            "helpers.py": "def only_in_root(): ...\n",
            "use.py": "import helpers\nhelpers.gone\n",
            "tests/test_a.py": "import helpers\nfrom helpers import made\nhelpers.only_here()\n",
            "tests/helpers.py": "def made(): ...\ndef only_here(): ...\n",
            "tests/deep/test_b.py": "from helpers import made\nimport beside\nbeside.gone\n",
            "tests/deep/beside.py": "",
        }
        checked = project(tmp_path, files)
        assert checked.ambiguous == (("tests", ("helpers",)),)
        result = Pyrefly().check(checked, checked.sources)
        assert [(each.path, each.name) for each in result.diagnostics] == [
            ("tests/deep/test_b.py", "gone"),
            ("use.py", "gone"),
        ]


class TestFailures:
    """What the engine does not do right is an error that says what to do, never an empty result."""

    def check(self, root: Path) -> CheckResult:
        checked = project(root / "root", {"a.py": "class C: ...\nC.gone\n"})
        return Pyrefly().check(checked, checked.sources)

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("echo no memory >&2; exit 101", "ended with 101: no memory"),
            ("kill -9 $$", "ended with -9: it said nothing"),
            ("echo bad settings >&2; exit 1", "gave no answer that is understood .*: bad settings"),
            ("echo '[]'", "gave no answer that is understood"),
            ("echo '{\"errors\": [{}]}'", "gave no answer that is understood .*KeyError"),
        ],
    )
    def test_of_the_run(self, script: str, words: str, tmp_path: Path, fake: Callable[[str], Path]) -> None:
        """A crash, and an answer in another form, are errors with the engine's last words."""
        fake(script)
        with pytest.raises(CheckerError, match=words):
            self.check(tmp_path)

    def test_of_a_kind_that_it_does_not_know(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An engine that has renamed a kind of diagnostics refuses, instead of finding nothing of it."""
        monkeypatch.setattr(checkers, "KINDS", (*KINDS, "renamed-since"))
        with pytest.raises(CheckerError, match="renamed-since"):
            self.check(tmp_path)

    @pytest.mark.parametrize("version", ["pyrefly 1.3.9", "pyrefly 1.5.0", "pyrefly 2.4.0", "something else", ""])
    def test_of_a_version_that_is_not_understood(
        self, version: str, tmp_path: Path, fake: Callable[[str, str], Path]
    ) -> None:
        """An engine outside the range is refused, with the range."""
        fake("exit 0", version)
        with pytest.raises(CheckerError, match=r"versions from 1\.4 to before 1\.5") as caught:
            self.check(tmp_path)
        assert "pyrefly>=1.4,<1.5" in caught.value.remedy

    def test_of_an_engine_that_is_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without an engine the error says how to install it; nothing is fetched."""
        monkeypatch.setattr(engine, "_binary", lambda: None)
        with pytest.raises(CheckerError, match="not installed") as caught:
            self.check(tmp_path)
        assert "pip install" in caught.value.remedy

    def test_of_an_engine_that_does_not_start(self, tmp_path: Path, fake: Callable[[str], Path]) -> None:
        """A file that is no program is an error, not a traceback."""
        path = fake("exit 0")
        path.write_bytes(b"\x7fELF no program")
        with pytest.raises(CheckerError, match="does not run"):
            self.check(tmp_path)


def test_the_engine_is_found_beside_the_interpreter() -> None:
    """The executable is the one that was installed with this environment."""
    assert Engine.installed().binary.parent == Path(sys.executable).parent


def test_the_adapter_is_a_checker() -> None:
    """Whoever wants a `Checker` can take the adapter."""
    checker: Checker = Pyrefly()
    assert checker.name.startswith("pyrefly 1.4")
