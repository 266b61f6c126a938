"""Checkers: what finds attributes that do not exist and calls that do not fit. One adapter for each engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from netra_repair.diagnostics import Blind, CheckResult, Diagnostic
from netra_repair.engine import Engine, configuration
from netra_repair.engine_messages import KINDS, Message
from netra_repair.errors import CheckerError
from netra_repair.project import Project
from netra_repair.source import Position, Source, UnreadableSource

_PARSE_ERROR = "parse-error"
_MISSING_MODULE = "missing-import"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # of tokens that a message quotes from the code

_UNREADABLE = re.compile(r"^Failed to load .*: ([^:]+)$", re.DOTALL)
_UNRESOLVED = re.compile(r"^Cannot find module `([^`]+)`")


class Checker(Protocol):
    """Finds what does not fit, in our words."""

    @property
    def name(self) -> str:
        """Name and version, as reports give them."""

    def check(self, project: Project, files: Sequence[str]) -> CheckResult:
        """Checks some files of a project.

        Args:
            project: the project.
            files: what to check, relative to its root.

        Returns:
            What was found in them.

        Raises:
            CheckerError: when the checker does not run, or answers what is not understood.
        """


class Pyrefly:
    """The checker Pyrefly, run as a process of its own for each check.

    Raises:
        CheckerError: when no Pyrefly of a known version is installed.
    """

    def __init__(self) -> None:
        self._engine = Engine.installed()

    @property
    def name(self) -> str:
        """Name and version, as reports give them."""
        return self._engine.name

    def check(self, project: Project, files: Sequence[str]) -> CheckResult:
        """Checks some files of a project; see `Checker.check`."""
        named = [file for file in files if _is_text(file)]
        blind = {file: "its name is not UTF-8" for file in files if not _is_text(file)}
        messages = self._messages(project, named) if named else []
        read = cache(partial(_read, project))
        module_of = cache(project.module_of)
        is_unreadable = cache(partial(_is_unreadable_module, project))
        unresolved: Counter[str] = Counter()
        diagnostics: dict[Diagnostic, None] = {}
        broken: dict[str, str] = {}
        for message in messages:
            if message.name == _PARSE_ERROR:
                words = message.text.removeprefix("Parse error: ")
                broken.setdefault(message.path, f"does not parse: line {message.start.line}: {words}")
            elif message.name != _MISSING_MODULE:
                # The engine takes a module that it cannot read for an empty one.
                if message.module is None or not is_unreadable(message.module):
                    module = module_of(message.path)
                    found = message.diagnostic(self.name, module, partial(read, message.path))
                    diagnostics |= {found: None} if found is not None else {}
            elif missing := _UNRESOLVED.match(message.text):
                unresolved[missing[1]] += 1
            elif failed := _UNREADABLE.match(message.text):
                blind[message.path] = f"{self.name} cannot read it: {failed[1]}"
        return CheckResult(
            tuple(sorted(diagnostics, key=lambda each: (each.path, each.start, each.end))),
            tuple(Blind(path, reason) for path, reason in sorted((broken | blind).items())),
            tuple(sorted(unresolved.items(), key=lambda each: (-each[1], each[0]))),
            len(files) - len(blind),
        )

    def _messages(self, project: Project, files: Sequence[str]) -> list[Message]:
        with tempfile.TemporaryDirectory(prefix="netra-repair-") as folder:
            settings = Path(folder, "pyrefly.toml")
            text = configuration(project, files, (*KINDS, _PARSE_ERROR, _MISSING_MODULE))
            settings.write_text(text, encoding="utf-8")
            command = [str(self._engine.binary), "check", "--config", str(settings)]
            command += ["--output-format", "json", "--summary=none"]
            try:
                run = subprocess.run(command, cwd=project.root, capture_output=True, check=False)  # nosec B603  # the checker, by its path
            except OSError as error:
                raise CheckerError(f"{self._engine.binary} does not run: {error}", "install it anew") from error
        if run.returncode not in (0, 1):
            raise self._failure(f"ended with {run.returncode}", run.stderr)
        try:
            return [_message(entry) for entry in json.loads(run.stdout)["errors"]]
        except (ValueError, LookupError, TypeError) as error:
            # It also ends with 1 when it refuses the configuration, and says why on the other stream.
            raise self._failure(f"gave no answer that is understood ({error!r})", run.stderr) from error

    def _failure(self, what: str, errors: bytes) -> CheckerError:
        lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip(" |^")]
        said = " ".join(line.strip()[:200] for line in lines if not line.startswith(" INFO"))[:1000]
        return CheckerError(
            f"{self.name} {what}: {said or 'it said nothing'}", "run it by hand on the project to see what stops it"
        )


def _message(entry: Any) -> Message:
    start = Position(int(entry["line"]), int(entry["column"]))
    end = Position(int(entry["stop_line"]), int(entry["stop_column"]))
    path = str(entry["path"]).replace(os.sep, "/")
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(entry["description"]).partition("\n")[0])
    return Message(str(entry["name"]), path, start, end, text)


def _read(project: Project, path: str) -> Source | None:
    try:
        return Source.read(project.root, path)
    except UnreadableSource:
        return None


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_unreadable_module(project: Project, module: str) -> bool:
    """Whether a module of the project is a file that is not UTF-8."""
    if not module.strip("."):
        return False
    relative = module.replace(".", "/")
    for base in project.search_paths:
        for place in (f"{relative}/__init__.py", f"{relative}.py"):
            try:
                (base / place).read_bytes().decode()
            except UnicodeDecodeError:
                return True
            except OSError:
                continue
            return False
    return False
