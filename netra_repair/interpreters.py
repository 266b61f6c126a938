"""The Python interpreter of the project that is repaired, which need not be the one that runs this tool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from netra_repair.errors import ProjectError

_ANSWERS_WITHIN = 30.0

# Runs in the project's interpreter, isolated (-I): neither the user's site-packages nor PYTHONPATH count, for a test
# run on another machine would not have them either. `.pth` files do count: editable installs stand there. Those that
# setuptools installs with a finder keep their folders in its MAPPING.
_QUESTION = """
import json, os, sys, sysconfig
known = sysconfig.get_paths()
library = {known["stdlib"], known["platstdlib"]}
found = [known["purelib"], known["platlib"]] + sys.path
for name, module in list(sys.modules.items()):
    if name.startswith("__editable__"):
        for package, place in getattr(module, "MAPPING", {}).items():
            if os.path.basename(place) == package.rpartition(".")[2]:
                found.append(os.path.dirname(place))
paths = []
for path in found:
    if path not in library and os.path.basename(path) != "lib-dynload" and os.path.isdir(path) and path not in paths:
        paths.append(path)
version = ".".join(str(part) for part in sys.version_info[:3])
print(json.dumps({"version": version, "platform": sys.platform, "paths": paths}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What an interpreter says of itself.

    Attributes:
        path: the executable, as a link where it is one: the link is what makes a virtual environment.
        version: "3.11.7".
        platform: its `sys.platform`.
        import_paths: where it finds what is not of the standard library, in order: site-packages and the folders of
            editable installs.
    """

    path: Path
    version: str
    platform: str
    import_paths: tuple[Path, ...]

    @classmethod
    def of_project(cls, root: Path) -> Interpreter:
        """The interpreter a project is used with.

        Args:
            root: the project's root.

        Returns:
            That of a virtual environment in the root (`.venv` and `venv` before other names), else of the active one
            (`VIRTUAL_ENV`), else the one that runs this tool.

        Raises:
            ProjectError: when that interpreter does not run.
        """
        found = sorted(path.parent for path in root.glob("*/pyvenv.cfg"))
        named = [root / ".venv", root / "venv"]
        active = os.environ.get("VIRTUAL_ENV")
        environments = [path for path in named if path in found] + [path for path in found if path not in named]
        if active:
            environments.append(Path(active))
        return cls.at(_executable(environments[0]) if environments else Path(sys.executable))

    @classmethod
    def at(cls, python: Path) -> Interpreter:
        """Asks an interpreter what it is.

        Args:
            python: the executable, or the name of a command.

        Returns:
            Its answer.

        Raises:
            ProjectError: when it is not there, does not run, or is no Python 3.
        """
        remedy = "name the interpreter that runs the project's tests with --python PATH"
        command = shutil.which(python)
        if command is None:
            raise ProjectError(f"there is no interpreter {python}", remedy)
        try:
            answer = subprocess.run(  # nosec B603  # an interpreter of the project
                [command, "-I", "-B", "-c", _QUESTION], capture_output=True, timeout=_ANSWERS_WITHIN, check=True
            )
            said = json.loads(answer.stdout)
            paths = tuple(Path(path) for path in said["paths"])
            return cls(Path(command).absolute(), said["version"], said["platform"], paths)
        except subprocess.CalledProcessError as error:
            words = error.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise ProjectError(f"{command} ended with {error.returncode}: {words[-1]}", remedy) from error
        except (OSError, subprocess.TimeoutExpired, ValueError, LookupError, TypeError) as error:
            raise ProjectError(f"{command} does not answer as Python 3 does: {error}", remedy) from error


def _executable(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
