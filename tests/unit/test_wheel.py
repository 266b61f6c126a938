"""The built wheel, installed where nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

CONTEXT_MODULE = "netra_backend.app.services.user_execution_context"


@dataclass(frozen=True)
class Installation:
    """An environment that holds the wheel and nothing else.

    Attributes:
        wheel: the file it was installed from.
        bin: where its programs are.
        folder: an empty one to run them from.
    """

    wheel: Path
    bin: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment from the empty folder."""
        return subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.folder,
            env={"HOME": str(self.folder), "PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


@pytest.fixture(scope="module")
def installation(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place / "dist")]
    subprocess.run(build, cwd=pytestconfig.rootpath, check=True, capture_output=True)
    (wheel,) = (place / "dist").iterdir()
    venv.create(place / "env", symlinks=True)
    bin_folder = place / "env" / "bin"
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", bin_folder / "python", *install], check=True)
    (place / "elsewhere").mkdir()
    return Installation(wheel, bin_folder, place / "elsewhere")


def test_the_context_imports_from_another_folder(installation: Installation) -> None:
    """The installed context works where nothing but the standard library is."""
    program = f"""
from {CONTEXT_MODULE} import UserExecutionContext
import sys
context = UserExecutionContext.from_request("user-7", "thread-1", "run-1")
print(context.user_id, sys.modules[UserExecutionContext.__module__].__file__)
"""
    done = installation.run("python", "-I", "-c", program)
    assert done.stderr == ""
    user_id, file = done.stdout.split()
    assert user_id == "user-7"
    assert Path(file).is_relative_to(installation.bin.parent)


def test_the_command_tells_its_parts(installation: Installation) -> None:
    """`netra --help` works without any extra and names the commands."""
    done = installation.run("netra", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "serve" in done.stdout
    assert "golden-path" in done.stdout


@pytest.mark.parametrize(("command", "extra"), [("serve", "netra[server]"), ("golden-path", "netra[golden-path]")])
def test_a_part_without_its_extra_says_which(installation: Installation, command: str, extra: str) -> None:
    """A command whose libraries are missing ends with 2 and names the extra to install, not with a traceback."""
    done = installation.run("netra", command)
    assert done.returncode == 2
    assert extra in done.stderr
    assert "Traceback" not in done.stderr


def test_the_wheel_holds_all_that_the_tree_holds(installation: Installation, pytestconfig: pytest.Config) -> None:
    """Modules, migrations, pages and type markers are in the wheel, and nothing that is not the program."""
    with ZipFile(installation.wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {name.rpartition(".dist-info/")[2] for name in archive.namelist()} - held
    packages = [path.name for path in pytestconfig.rootpath.glob("netra_*") if (path / "__init__.py").exists()]
    tree = {"netra_cli.py"} | {
        path.relative_to(pytestconfig.rootpath).as_posix()
        for package in packages
        for path in (pytestconfig.rootpath / package).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert held == tree
    assert {f"{package}/py.typed" for package in packages} <= held
    assert any(name.startswith("netra_backend/app/db/migrations/versions/") for name in held)
    assert any(name.startswith("netra_backend/app/web/") and name.endswith(".html") for name in held)
    assert {"licenses/LICENSE", "licenses/NOTICE", "entry_points.txt"} <= metadata
