"""What `discover` finds: files, those that are never edited, the interpreter, and where imports start."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from netra_repair.errors import ProjectError
from netra_repair.project import Project, discover
from netra_repair.refusals import Reason

HERE = Path(sys.executable)


def project(root: Path, files: Mapping[str, str]) -> Project:
    """Writes files and looks at the folder, with the interpreter of the tests."""
    write(root, files)
    return discover(root, HERE)


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def search_paths(found: Project) -> list[str]:
    return [path.relative_to(found.root).as_posix() for path in found.search_paths]


def left_out(found: Project) -> dict[str, Reason]:
    return {each.path: each.refusal.reason for each in found.left_out}


class TestSources:
    def test_finds_every_python_file_in_order(self, tmp_path: Path) -> None:
        """Sources and stubs are found wherever they lie, folders of tests and odd names too, in order of path."""
        names = ["b.py", "a/x.pyi", "a/b/__init__.py", "tests/we[i]rd *.py", "venv-like/é.py", "script.py"]
        found = project(tmp_path, dict.fromkeys([*names, "readme.md", "a/x.txt"], ""))
        assert list(found.sources) == sorted(names)

    def test_skips_what_is_not_the_projects_own(self, tmp_path: Path) -> None:
        """Environments, caches, installed packages and version control are not walked."""
        skipped = [
            ".git/x.py",
            "__pycache__/x.py",
            "node_modules/a/x.py",
            "lib/site-packages/x.py",
            ".tox/py/x.py",
            "x.egg-info/x.py",
            ".netra-repair/x.py",
            "env/pyvenv.cfg",
            "env/lib/x.py",
            "conda/conda-meta/history",
            "conda/x.py",
            ".hidden/x.py",
            "build/lib/x.py",
            "dist/x.py",
        ]
        found = project(tmp_path, dict.fromkeys([*skipped, "own.py"], ""))
        assert found.sources == ("own.py",)

    def test_keeps_a_package_that_is_called_build(self, tmp_path: Path) -> None:
        """`build` and `dist` are left out as output of builds only when they are no packages."""
        found = project(tmp_path, {"build/__init__.py": "", "build/deep/dist/__init__.py": "", "dist/x.py": ""})
        assert found.sources == ("build/__init__.py", "build/deep/dist/__init__.py")

    def test_keeps_hidden_and_built_folders_that_git_tracks(self, tmp_path: Path) -> None:
        """What is in version control is the project's own, whatever its folder is called."""
        write(tmp_path, {".ci/release.py": "", "dist/x.py": "", "build/y.py": "", "a.py": ""})
        git(tmp_path, "init", "--quiet")
        git(tmp_path, "add", ".ci", "dist")
        assert discover(tmp_path, HERE).sources == (".ci/release.py", "a.py", "dist/x.py")

    def test_does_not_follow_links_to_folders(self, tmp_path: Path) -> None:
        """A link to a folder, even to the one around it, adds nothing and ends nowhere."""
        write(tmp_path, {"pkg/a.py": ""})
        (tmp_path / "pkg/again").symlink_to(tmp_path, target_is_directory=True)
        assert discover(tmp_path, HERE).sources == ("pkg/a.py",)


class TestLeftOut:
    def test_links_are_listed_with_what_they_lead_to(self, tmp_path: Path) -> None:
        """A link is analysed, but its target is what would be edited; a broken link is no source."""
        outside = tmp_path / "outside.py"
        outside.write_text("")
        root = tmp_path / "root"
        write(root, {"pkg/a.py": ""})
        (root / "link.py").symlink_to("pkg/a.py")
        (root / "away.py").symlink_to(outside)
        (root / "broken.py").symlink_to("nowhere.py")
        found = discover(root, HERE)
        assert found.sources == ("away.py", "link.py", "pkg/a.py")
        assert left_out(found) == {"away.py": Reason.SYMLINK, "link.py": Reason.SYMLINK}
        details = {each.path: each.refusal.detail for each in found.left_out}
        assert "pkg/a.py" in details["link.py"]
        assert "outside the project" in details["away.py"]

    @pytest.mark.parametrize(
        "path",
        ["vendor/x.py", "pkg/_vendor/deep/x.py", "third_party/x.py", "a/extern/x.py"],
    )
    def test_copies_of_other_peoples_code(self, path: str, tmp_path: Path) -> None:
        """Files in a folder of vendored code are never edited."""
        assert left_out(project(tmp_path, {path: "x = 1\n"})) == {path: Reason.VENDORED}

    def test_another_repository_inside(self, tmp_path: Path) -> None:
        """A submodule, or another clone, is repaired where it is at home."""
        found = project(tmp_path, {"sub/.git": "gitdir: elsewhere", "sub/deep/x.py": "", "own.py": ""})
        assert left_out(found) == {"sub/deep/x.py": Reason.VENDORED}

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("a.py", "# Generated by the protocol buffer compiler.  DO NOT EDIT!\n"),
            ("a.py", "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n\n# @generated by tool\nx = 1\n"),
            ("a.py", '"""Client.\n\n@generated SignedSource<<1>>\n"""\nimport x\n'),
            ("a.py", '"""Client. DO NOT EDIT."""'),
            ("a.py", "# file generated by setuptools-scm\n# don't change\n"),
            ("a.py", "# This file was automatically generated by SWIG\n"),
            ("a.py", "# autogenerated\n"),
            ("a.py", "# please do not edit by hand"),
            ("a_pb2.py", "x = 1\n"),
            ("a_pb2_grpc.pyi", ""),
            ("shop/migrations/0001_initial.py", "from django.db import migrations\n"),
            ("alembic/versions/1f_add.py", '"""Add."""\n\nrevision = "1f"\ndown_revision = None\n'),
        ],
    )
    def test_generated_files(self, path: str, text: str, tmp_path: Path) -> None:
        """A file that says at its head, by its name or by its place that a tool wrote it is never edited."""
        assert left_out(project(tmp_path, {path: text})) == {path: Reason.GENERATED}

    @pytest.mark.parametrize(
        "text",
        [
            '"""Leaves out files with an @generated mark, as users do not edit them."""\n',
            "# Values generated by a seed are compared below.\nx = 1\n# Generated by hand\n",
            'MARK = "# Generated by"\n# @generated\n',
            "x = 1\n" + "# padding\n" * 200 + "# DO NOT EDIT\n",
        ],
    )
    def test_files_that_only_speak_of_generating(self, text: str, tmp_path: Path) -> None:
        """A mark counts only in the comments and the docstring before the first statement, and as a mark."""
        assert left_out(project(tmp_path, {"a.py": text})) == {}


class TestImportRoots:
    def test_src_comes_before_the_root(self, tmp_path: Path) -> None:
        """With a `src` folder, modules are named below it."""
        found = project(tmp_path, {"src/pkg/__init__.py": "", "src/pkg/a.py": "", "setup.py": ""})
        assert search_paths(found) == ["src", "."]
        assert [found.module_of(path) for path in found.sources] == ["setup", "pkg", "pkg.a"]

    def test_a_package_called_src_is_no_root(self, tmp_path: Path) -> None:
        """`from src.a import …` stays what it is where `src` is a package."""
        found = project(tmp_path, {"src/__init__.py": "", "src/a.py": ""})
        assert search_paths(found) == ["."]
        assert found.module_of("src/a.py") == "src.a"

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("pytest.ini", "[pytest]\npythonpath = lib 'more lib'\n"),
            ("tox.ini", "[pytest]\npythonpath = lib more\\ lib\n"),
            ("setup.cfg", "[tool:pytest]\npythonpath =\n    lib\n    'more lib'\n"),
            ("pyproject.toml", "[tool.pytest.ini_options]\npythonpath = ['lib', 'more lib', 'absent']\n"),
            ("pyproject.toml", "[tool.pytest]\npythonpath = ['lib', 'more lib']\n"),
        ],
    )
    def test_pythonpath_of_pytest(self, file: str, text: str, tmp_path: Path) -> None:
        """Folders that pytest puts on the path are import roots, wherever that is configured."""
        found = project(tmp_path, {file: text, "lib/a.py": "", "more lib/b.py": "", "c.py": ""})
        assert search_paths(found) == ["lib", "more lib", "."]

    def test_the_first_settings_of_pytest_win(self, tmp_path: Path) -> None:
        """pytest.ini hides what pyproject.toml says, as it does for pytest."""
        files = {
            "pytest.ini": "[pytest]\npythonpath = a\n",
            "pyproject.toml": "[tool.pytest.ini_options]\npythonpath = ['b']\n",
            "a/x.py": "",
            "b/y.py": "",
        }
        assert search_paths(project(tmp_path, files)) == ["a", "."]

    def test_broken_settings_are_passed_over(self, tmp_path: Path) -> None:
        """A settings file that cannot be read is the business of the tool it belongs to."""
        files = {"pyproject.toml": "not [toml", "pytest.ini": "neither\n", "setup.cfg": "\0", "a.py": ""}
        assert search_paths(project(tmp_path, files)) == ["."]

    def test_folders_of_tests_without_packages(self, tmp_path: Path) -> None:
        """pytest puts the folder of a test, or the one around its package, on the path: so helpers beside are found."""
        files = dict.fromkeys(
            ["a.py", "tests/unit/test_a.py", "tests/unit/sibling.py", "app/tests/__init__.py", "app/tests/a_test.py"],
            "",
        )
        found = project(tmp_path, files)
        assert search_paths(found) == [".", "tests/unit", "app"]
        assert found.module_of("tests/unit/sibling.py") == "sibling"
        assert found.module_of("app/tests/a_test.py") == "tests.a_test"

    @pytest.mark.parametrize("mode", ["--import-mode=importlib", "-q --import-mode importlib"])
    def test_importlib_mode_puts_nothing_on_the_path(self, mode: str, tmp_path: Path) -> None:
        """With pytest's importlib mode a helper beside a test cannot be imported by its bare name."""
        found = project(tmp_path, {"pytest.ini": f"[pytest]\naddopts = {mode}\n", "tests/test_a.py": "", "a.py": ""})
        assert search_paths(found) == ["."]

    def test_a_project_within_the_project(self, tmp_path: Path) -> None:
        """A folder with a pyproject.toml of its own is an import root, and so is its `src`."""
        found = project(
            tmp_path,
            {
                "a.py": "",
                "backend/pyproject.toml": "",
                "backend/app/m.py": "",
                "libs/x/setup.py": "",
                "libs/x/src/y.py": "",
            },
        )
        assert search_paths(found) == [".", "libs/x/src", "libs/x", "backend"]
        assert found.module_of("backend/app/m.py") == "app.m"

    def test_modules_that_would_hide_others(self, tmp_path: Path) -> None:
        """A folder of tests with a `types.py` or a `utils.py` hides nothing: there the name is not trusted."""
        files = dict.fromkeys(["utils.py", "tests/test_a.py", "tests/utils.py", "more/test_b.py", "more/types.py"], "")
        found = project(tmp_path, files)
        assert search_paths(found) == ["."]
        assert found.ambiguous == (("more", ("types",)), ("tests", ("utils",)))

    def test_modules_of_the_same_name_beside_tests(self, tmp_path: Path) -> None:
        """Two folders of tests with a `helpers.py` each are import roots, but `helpers` is not trusted there."""
        names = [
            "a/test_x.py",
            "a/helpers.py",
            "a/conftest.py",
            "b/test_x.py",
            "b/helpers.py",
            "b/only.py",
            "conftest.py",
        ]
        found = project(tmp_path, dict.fromkeys(names, ""))
        assert search_paths(found) == [".", "a", "b"]
        assert found.ambiguous == (("a", ("conftest", "helpers")), ("b", ("helpers",)))


class TestInterpreter:
    def test_that_of_the_projects_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`.venv` in the root comes before any other environment, and is asked for version and import paths."""
        monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
        write(tmp_path, {"a.py": "", "aaa/pyvenv.cfg": "", "lib/b.py": ""})
        venv.create(tmp_path / ".venv", symlinks=True, with_pip=False)
        site = next((tmp_path / ".venv").glob("lib*/python*/site-packages"))
        (site / "here.pth").write_text(f"{tmp_path / 'lib'}\n{tmp_path.parent}\n")
        found = discover(tmp_path)
        assert found.python == tmp_path / ".venv/bin/python"
        assert found.python_version == ".".join(map(str, sys.version_info[:3]))
        assert found.platform == sys.platform
        # An editable install inside the project is an import root, one outside is like any other library.
        assert search_paths(found) == ["lib", "."]
        assert found.site_packages == (site, tmp_path.parent)

    def test_the_active_environment_else_our_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without an environment in the project the active one counts, and without that our own interpreter."""
        write(tmp_path, {"a.py": ""})
        monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
        assert discover(tmp_path).python == Path(sys.prefix, "bin/python")
        monkeypatch.delenv("VIRTUAL_ENV")
        assert discover(tmp_path).python == HERE

    def test_setuptools_finders_of_editable_installs(self, tmp_path: Path) -> None:
        """An editable install whose folder stands in a finder's MAPPING is found like one with a path."""
        write(tmp_path, {"a.py": "", "code/pkg/__init__.py": ""})
        venv.create(tmp_path / ".venv", symlinks=True, with_pip=False)
        site = next((tmp_path / ".venv").glob("lib*/python*/site-packages"))
        (site / "__editable___pkg_finder.py").write_text(f"MAPPING = {{'pkg': {str(tmp_path / 'code/pkg')!r}}}\n")
        (site / "__editable__.pkg.pth").write_text("import __editable___pkg_finder\n")
        assert search_paths(discover(tmp_path)) == ["code", "."]

    def test_python_path_of_the_caller_does_not_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """PYTHONPATH of whoever runs the tool is no part of the project's environment."""
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        assert tmp_path not in project(tmp_path / "root", {"a.py": ""}).site_packages

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("exit 3", "ended with 3: it said nothing"),
            ("echo 'Python 2.7' >&2; exit 2", "ended with 2: Python 2.7"),
            ("echo hello", "does not answer as Python 3 does"),
            ("echo '{}'", "does not answer as Python 3 does"),
        ],
    )
    def test_one_that_does_not_answer(self, script: str, words: str, tmp_path: Path) -> None:
        """An interpreter that fails is named, with its own last words and the option that helps."""
        fake = tmp_path / "python"
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
        (tmp_path / "a.py").touch()
        with pytest.raises(ProjectError, match=words) as caught:
            discover(tmp_path, fake)
        assert "--python" in caught.value.remedy
        assert str(fake) in caught.value.problem

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        """A broken environment is an error, not a reason to take another one in silence."""
        write(tmp_path, {"a.py": "", ".venv/pyvenv.cfg": ""})
        with pytest.raises(ProjectError, match=r"there is no interpreter .*\.venv"):
            discover(tmp_path)


class TestRoot:
    def test_without_python(self, tmp_path: Path) -> None:
        """A folder without Python is an error: nothing analysed must not look like nothing found."""
        (tmp_path / "readme.md").touch()
        with pytest.raises(ProjectError, match="has no Python file"):
            discover(tmp_path, HERE)

    def test_that_is_no_folder(self, tmp_path: Path) -> None:
        """A missing folder, and a file, are errors that name it."""
        for path in (tmp_path / "absent", Path(__file__)):
            with pytest.raises(ProjectError, match="is no folder"):
                discover(path, HERE)

    def test_that_is_a_link(self, tmp_path: Path) -> None:
        """The root is the real folder, so that all paths agree."""
        write(tmp_path / "real", {"a.py": ""})
        (tmp_path / "link").symlink_to("real")
        assert discover(tmp_path / "link", HERE).root == (tmp_path / "real").resolve()


class TestSelected:
    @pytest.fixture
    def found(self, tmp_path: Path) -> Project:
        root = tmp_path / "root"
        write(root, {"pkg/a.py": "", "pkg/deep/b.py": "", "pkg2/c.py": "", "docs/readme.md": ""})
        (root / "link.py").symlink_to("pkg/a.py")
        (tmp_path / "outside.py").touch()
        return discover(root, HERE)

    def test_by_file_and_folder(self, found: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files and folders choose themselves and what is below; nothing chooses everything; a link is itself."""
        monkeypatch.chdir(found.root / "pkg")
        assert found.selected([]) == found.sources
        assert found.selected(["."]) == ("pkg/a.py", "pkg/deep/b.py")
        assert found.selected([".."]) == found.sources
        assert found.selected(["deep", "../pkg2/c.py", "deep"]) == ("pkg/deep/b.py", "pkg2/c.py")
        assert found.selected([str(found.root / "link.py")]) == ("link.py",)

    def test_from_the_root_where_the_working_directory_has_none(
        self, found: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """From another folder a relative path starts at the root."""
        monkeypatch.chdir(tmp_path)
        assert found.selected(["pkg2"]) == ("pkg2/c.py",)

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("absent.py", "does not exist"),
            ("../outside.py", "outside the project"),
            ("docs", "has no Python file"),
            ("docs/readme.md", "has no Python file"),
        ],
    )
    def test_refuses_what_chooses_nothing(
        self, path: str, words: str, found: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A path that selects nothing is an error: a run over nothing must not look clean."""
        monkeypatch.chdir(found.root)
        with pytest.raises(ProjectError, match=words):
            found.selected(["pkg", path])


def git(root: Path, *words: str) -> None:
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["/usr/bin/env", "git", *words], cwd=root, check=True, capture_output=True, env=os.environ | quiet)
