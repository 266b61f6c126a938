"""What a recorded run is asked for, where the answer goes, and which files are the project's."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from typing import Any

JOB = "NETRA_REPAIR_JOB"  # the environment variable that names the job's file
MESSAGE_LENGTH = 300


class Job:
    """One run.

    Attributes:
        in_worker: whether this process is a worker of xdist, whose controller writes.
        root: of the project, resolved.
        import_paths: the folders that the project's modules are imported from.
        wanted: node ids, files and folders; [] for all tests.
        watched: lines from 1, by file: whether a test runs them is asked.
        listening: whether what is raised and caught is of interest as well.
        alone: whether each test runs in a process of its own, forked after the collection.

    Args:
        path: a file with a JSON object of `root`, `output`, `import_paths`, `wanted`, `watched`, `listening` and
            `alone`.
    """

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
        self.in_worker = False
        self.root: str = os.path.realpath(told["root"])
        self.import_paths: list[str] = told["import_paths"]
        self.wanted: list[str] = told["wanted"]
        self.watched: dict[str, list[int]] = told["watched"]
        self.listening: bool = told["listening"]
        self.alone: bool = told["alone"]
        self._output: str = told["output"]
        # One for each worker of xdist: what a test starts has it in its environment.
        self._current = ".".join(filter(None, (self._output, "current", os.environ.get("PYTEST_XDIST_WORKER"))))
        self._test, self._version = "", (0, 0)
        self._process = os.getpid()
        installed = sysconfig.get_paths()
        libraries = {os.path.realpath(installed[kind]) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
        libraries |= {os.path.realpath(folder) for folder in (sys.prefix, sys.base_prefix)} - {self.root}
        self._libraries = [folder for folder in libraries if inside(folder, self.root)]
        self._relative: dict[str, str | None] = {}

    def write(self, **record: Any) -> None:
        """Appends a line, at once; nothing from a forked child, which would tell everything twice."""
        if os.getpid() == self._process:
            with open(self._output, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def begin(self, test: str) -> None:
        """Says which test runs, to the programs that it starts; "" for none."""
        with open(f"{self._current}.new", "w", encoding="utf-8") as file:
            file.write(test)
        os.replace(f"{self._current}.new", self._current)

    def current(self) -> str:
        """The test that runs, as `begin` said; read only when that has said another one."""
        status = os.stat(self._current)
        version = status.st_ino, status.st_mtime_ns
        if version != self._version:
            with open(self._current, encoding="utf-8") as file:
                self._test, self._version = file.read(), version
        return self._test

    def adopt(self) -> None:
        """Lets this process write: a forked child that runs what its parent does not."""
        self._process = os.getpid()

    def relative(self, filename: str) -> str | None:
        """The name of a file of code relative to the root, with forward slashes; None when it is no file of ours."""
        if filename not in self._relative:
            self._relative[filename] = self._located(filename)
        return self._relative[filename]

    def module_of(self, filename: str) -> str | None:
        """The dotted name of a file's module, as the tool gives it; None when it is no file of ours."""
        if self.relative(filename) is None:
            return None
        path = os.path.realpath(filename)
        holding = [folder for folder in map(os.path.realpath, self.import_paths) if inside(path, folder)]
        parts = os.path.splitext(os.path.relpath(path, max(holding, key=len, default=self.root)))[0].split(os.sep)
        return ".".join(parts)

    def _located(self, filename: str) -> str | None:
        if filename.startswith("<"):
            return None
        path = os.path.realpath(os.path.join(self.root, filename))
        if not inside(path, self.root) or any(inside(path, folder) for folder in self._libraries):
            return None
        relative = os.path.relpath(path, self.root).split(os.sep)
        return None if {"site-packages", "dist-packages"} & set(relative) else "/".join(relative)


def inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it; both absolute."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def text_of(error: BaseException) -> str:
    """An exception's text; "" when its class fails at giving one."""
    try:
        return str(error)
    except Exception:
        return ""


def said(error: BaseException) -> str:
    """An exception's class and text, cut."""
    return f"{type(error).__name__}: {text_of(error)}"[:MESSAGE_LENGTH]
