"""What one injected drift is: the splices that make it, the places that must be mended, and what would be right."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.repair.packages import Package


class Kind(StrEnum):
    """How the code drifted."""

    RENAME = "rename"
    DROP = "drop"
    PARAMETER = "parameter rename"
    KEYWORD_ONLY = "keyword-only"
    REORDER = "reorder"
    CLASS_TO_INSTANCE = "class to instance"
    INSTANCE_TO_CLASS = "instance to class"
    MOVED = "moved to a base"
    MOVED_RENAMED = "moved to a base and renamed"


class Expectation(StrEnum):
    """What would be right."""

    REPAIR = "repair"
    ABSTAIN = "abstain"
    SILENCE = "silence"  # nothing is broken, so no cause may be reported


EXPECTED = {
    Kind.RENAME: Expectation.REPAIR,
    Kind.DROP: Expectation.ABSTAIN,
    Kind.PARAMETER: Expectation.REPAIR,
    Kind.KEYWORD_ONLY: Expectation.REPAIR,
    Kind.REORDER: Expectation.ABSTAIN,
    Kind.CLASS_TO_INSTANCE: Expectation.ABSTAIN,
    Kind.INSTANCE_TO_CLASS: Expectation.SILENCE,
    Kind.MOVED: Expectation.SILENCE,
    Kind.MOVED_RENAMED: Expectation.REPAIR,
}


class History(StrEnum):
    """What git knows of it."""

    BOTH = "before and after"
    AFTER = "after only"
    NONE = "no repository"


@dataclass(frozen=True, slots=True, order=True)
class Splice:
    """A change of a file's bytes; places are those of the file before it."""

    file: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """A place that may change, in the drifted tree.

    Attributes:
        file: relative to the tree.
        start: offset of the first byte of what stands there.
        old: what stands there; "" for an insertion.
        new: what should stand there instead; "" when nothing would be right.
        tests: node ids of the tests that come there.
    """

    file: str
    start: int
    old: str
    new: str
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """One injected drift.

    Attributes:
        id: package and number.
        package: whose tree.
        kind: how it drifted.
        history: what git knows of it.
        owners: file and class of each definition, with a colon between.
        attribute: the name that drifted, or whose signature did.
        answer: what should be chosen: the new name or the new parameter; "" when nothing should.
        splices: what makes it.
        spots: places that a test reached and that mean what drifted: these must be mended, and only these.
        mixed: places that mean what drifted and other things, too: mending them breaks something.
        others: places that a test reached and that mean something else of the same name: traps.
        unlabelled: places of the same name where no test comes: right or wrong, nobody knows.
        test_files: what is run: enough to come to every spot.
        broken: node ids that pass before the drift and no longer after it.
    """

    id: str
    package: str
    kind: Kind
    history: History
    owners: tuple[str, ...]
    attribute: str
    answer: str
    splices: tuple[Splice, ...]
    spots: tuple[Spot, ...]
    mixed: tuple[Spot, ...]
    others: tuple[Spot, ...]
    unlabelled: tuple[Spot, ...]
    test_files: tuple[str, ...]
    broken: tuple[str, ...] = ()

    @property
    def expected(self) -> Expectation:
        """What would be right."""
        return EXPECTED[self.kind]

    @property
    def restorable(self) -> frozenset[str]:
        """The broken tests that a right repair brings back: those that never come to a mixed place."""
        lost = {test for spot in self.mixed for test in spot.tests}
        return frozenset(self.broken) - lost

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Drift:
        """From JSON."""
        places = {
            key: tuple(Spot(**{**spot, "tests": tuple(spot["tests"])}) for spot in data[key])
            for key in ("spots", "mixed", "others", "unlabelled")
        }
        plain = {
            **data,
            **places,
            "kind": Kind(data["kind"]),
            "history": History(data["history"]),
            "splices": tuple(Splice(**splice) for splice in data["splices"]),
            "owners": tuple(data["owners"]),
            "test_files": tuple(data["test_files"]),
            "broken": tuple(data["broken"]),
        }
        return cls(**plain)


def spliced(data: bytes, splices: Iterable[Splice]) -> bytes:
    """The bytes of one file after its splices.

    Raises:
        ValueError: when two of them overlap.
    """
    parts: list[bytes] = []
    done = 0
    for splice in sorted(set(splices)):
        if splice.start < done:
            raise ValueError(f"{splice.file}: two changes at byte {splice.start}")
        parts += [data[done : splice.start], splice.text.encode()]
        done = splice.end
    return b"".join([*parts, data[done:]])


def moved(splices: Iterable[Splice], file: str, offset: int) -> int | None:
    """Where a byte of a file is after the splices; None when they take it away."""
    shift = 0
    for splice in sorted(splices):
        if splice.file != file or splice.start > offset:
            continue
        if splice.start <= offset < splice.end:
            return None
        shift += len(splice.text.encode()) - (splice.end - splice.start)
    return offset + shift


def write_tree(package: Package, drifts: Iterable[Drift], history: History, target: Path) -> None:
    """A fresh copy of a package's tree with drifts in it, and the history that goes with them.

    Args:
        package: whose tree.
        drifts: what drifted; their splices must not overlap.
        history: what git shall know.
        target: the folder to make.
    """
    shutil.copytree(package.tree, target, symlinks=True)
    if history is History.BOTH:
        _commit(target, "As released", first=True)
    by_file: dict[str, list[Splice]] = defaultdict(list)
    for drift in drifts:
        for splice in drift.splices:
            by_file[splice.file].append(splice)
    for name, splices in by_file.items():
        path = target / name
        path.write_bytes(spliced(path.read_bytes(), splices))
    if history is not History.NONE:
        _commit(target, "Drift", first=history is History.AFTER)


def mend(root: Path, drift: Drift) -> None:
    """Puts what should stand there at every spot of a drifted tree: the repair that the truth asks for."""
    by_file: dict[str, list[Splice]] = defaultdict(list)
    for spot in drift.spots:
        by_file[spot.file].append(Splice(spot.file, spot.start, spot.start + len(spot.old.encode()), spot.new))
    for name, splices in by_file.items():
        path = root / name
        path.write_bytes(spliced(path.read_bytes(), splices))


def _commit(root: Path, message: str, *, first: bool) -> None:
    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.invalid", *arguments]
        subprocess.run([*command], cwd=root, check=True, stdout=subprocess.DEVNULL)

    if first:
        git("init", "--quiet", "--initial-branch=main")
    git("add", "--all", "--force")
    git("commit", "--quiet", "--no-gpg-sign", "--message", message)


def load(path: Path) -> list[Drift]:
    """Drifts from a file."""
    return [Drift.from_dict(data) for data in json.loads(path.read_text())]


def save(path: Path, drifts: Iterable[Drift]) -> None:
    """Drifts into a file, all at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([drift.as_dict() for drift in drifts], indent=1))
    partial.rename(path)
