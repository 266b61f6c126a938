"""How a scan is put together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from netra_repair.diagnostics import CheckResult
from netra_repair.errors import CheckerError
from netra_repair.git import Git
from netra_repair.occurrences import Occurrences
from netra_repair.progress import Silence
from netra_repair.project import Project, discover
from netra_repair.scanner import Scanner
from netra_repair.type_server import TypeServer
from tests.support.repair_plans import write_files

_LONG = 60.0


class Waiting:
    """A checker that is not done before something else is."""

    name = "waiting"

    def __init__(self, other: threading.Event) -> None:
        self._other = other

    def check(self, project: Project, files: Sequence[str]) -> CheckResult:
        """Finds nothing, when the other is done."""
        if not self._other.wait(_LONG):
            raise CheckerError("the other never came", "look why")
        return CheckResult((), (), (), len(files))


def test_indexes_are_made_while_the_checker_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs no finding is done before the checker has ended."""
    write_files(tmp_path, {"m.py": b"x = 1\n"})
    project, prepared = discover(tmp_path), threading.Event()
    real = Occurrences.prepare

    def prepare(self: Occurrences) -> None:
        real(self)
        prepared.set()

    monkeypatch.setattr(Occurrences, "prepare", prepare)
    with TypeServer(project) as server:
        findings = Scanner(project, Waiting(prepared), server, Git(tmp_path), Silence()).scan()
    assert (findings.files, findings.causes) == (1, ())


def test_a_checker_that_fails_ends_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the checker raises in its thread comes out of the scan."""
    write_files(tmp_path, {"m.py": b"x = 1\n"})
    project = discover(tmp_path)
    monkeypatch.setattr("tests.unit.repair.test_scanner._LONG", 0.0)
    with TypeServer(project) as server, pytest.raises(CheckerError, match="never came"):
        Scanner(project, Waiting(threading.Event()), server, Git(tmp_path), Silence()).scan()
