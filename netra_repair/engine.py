"""The installed Pyrefly: where it is, which versions are understood, and the configuration it is given."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netra_repair.errors import CheckerError
from netra_repair.project import Project

# Names of diagnostics, forms of messages and the type server's protocol are a contract with these versions.
_FIRST, _BEFORE = (1, 4), (1, 5)

_ANSWERS_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Engine:
    """An installed Pyrefly.

    Attributes:
        binary: its executable.
        version: "1.4.1".
    """

    binary: Path
    version: str

    @classmethod
    def installed(cls) -> Engine:
        """Finds the Pyrefly that is installed beside the interpreter that runs this tool.

        Returns:
            The engine.

        Raises:
            CheckerError: when there is none, it does not run, or its version is not understood.
        """
        first, before = (".".join(map(str, version)) for version in (_FIRST, _BEFORE))
        remedy = f"install it beside this tool: pip install 'pyrefly>={first},<{before}'"
        binary = _binary()
        if binary is None:
            raise CheckerError("Pyrefly is not installed", remedy)
        try:
            said = subprocess.run(  # nosec B603  # the checker, by its path
                [binary, "--version"], capture_output=True, check=True, timeout=_ANSWERS_WITHIN
            ).stdout.decode()
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
            raise CheckerError(f"{binary} does not run: {error}", remedy) from error
        version = re.fullmatch(r"pyrefly (\d+)\.(\d+)(\S*)", said.strip())
        if version is None or not _FIRST <= (int(version[1]), int(version[2])) < _BEFORE:
            words = said.strip()[:80] or "nothing"
            raise CheckerError(f"{binary} is {words}; versions from {first} to before {before} are understood", remedy)
        return cls(binary, said.split()[1])

    @property
    def name(self) -> str:
        """Name and version, as reports give them."""
        return f"pyrefly {self.version}"


def configuration(project: Project, files: Sequence[str], kinds: Sequence[str]) -> str:
    """The configuration for a project, complete: neither that of the project nor one of a folder above it counts.

    Comments that ignore errors are not heeded, nor are default exclusions and guessed import roots; ignore files do not
    count where files are named one by one.

    Args:
        project: the project.
        files: what is checked, relative to its root.
        kinds: the diagnostics to give. An engine that does not know one of them refuses the configuration.

    Returns:
        The text of a TOML file.
    """
    settings = {
        "project-includes": [_pattern(project.root / file) for file in files],
        "disable-project-excludes-heuristics": True,
        "enabled-ignores": [],
        "search-path": [str(path) for path in project.search_paths],
        "disable-search-path-heuristics": True,
        "site-package-path": [str(path) for path in project.site_packages],
        "skip-interpreter-query": True,
        "python-version": project.python_version,
        "python-platform": project.platform,
        "preset": "off",
        "check-unannotated-defs": True,
        "ignore-errors-in-generated-code": False,
    }
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items()]
    lines += ["[errors]", *(f'{kind} = "error"' for kind in kinds)]
    for folder, names in _innermost_first(project.ambiguous):
        lines += ["[[sub-config]]", f"matches = {_toml(_pattern(project.root / folder) + '/**')}"]
        lines.append(f"replace-imports-with-any = {_toml([each for name in names for each in (name, f'{name}.*')])}")
    return "\n".join(lines) + "\n"


def _binary() -> Path | None:
    """The executable in the folders where installers put scripts: of this environment, then of this user."""
    suffix = sysconfig.get_config_var("EXE") or ""
    for scheme in (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")):
        path = Path(sysconfig.get_path("scripts", scheme), f"pyrefly{suffix}")
        if path.is_file():
            return path
    return None


def _innermost_first(ambiguous: Sequence[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """The engine takes the first that matches a file, so each folder repeats the names of those around it."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for folder, _ in sorted(ambiguous, key=lambda each: -len(Path(each[0]).parts)):
        around = {name for outer, names in ambiguous if Path(folder).is_relative_to(outer) for name in names}
        found.append((folder, tuple(sorted(around))))
    return found


def _pattern(path: Path) -> str:
    """A glob that matches just this path."""
    return re.sub(r"[][*?]", lambda match: f"[{match[0]}]", str(path))


def _toml(value: object) -> str:
    # JSON is TOML for these types, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
