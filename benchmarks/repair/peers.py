"""The same renames with other tools, each given the answer for free: old name, new name and the defining classes.

A regular expression, ast-grep, LibCST's RenameCommand and rope. Rope renames from a definition, so it gets the tree
before the drift, where the old name is still defined: its best case. The tools run in an environment of their own.

    python -m benchmarks.repair.peers [--held-out] [PACKAGE …] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.repair.drift import Drift, History, Kind, write_tree
from benchmarks.repair.packages import CACHE, Package, chosen, prepare
from benchmarks.repair.score import Change, SiteCount, all_spots, sites
from benchmarks.repair.selection import selected

REQUIREMENTS = ("ast-grep-cli==0.51.1", "libcst==1.9.0", "rope==1.15.2")
ENVIRONMENT = CACHE / "environments" / "peers"
KINDS = (Kind.RENAME, Kind.MOVED_RENAMED)
LIMIT_S = 120.0
_WORD = re.compile(rb"\w+|[^\w\s]")


@dataclass
class Score:
    """One tool over all renames.

    Attributes:
        sites: what it did to the places.
        exact: renames after which every changed byte was at a place of the name.
        runs: renames that were tried.
        failed: renames at which it crashed or took too long.
        seconds: wall time.
    """

    sites: SiteCount = field(default_factory=SiteCount)
    exact: int = 0
    runs: int = 0
    failed: int = 0
    seconds: float = 0.0


class PeerFailure(Exception):
    """Raised when a tool crashes or takes too long."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs every tool over every rename and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repair.peers", description=__doc__)
    parser.add_argument("packages", nargs="*", help="default: the development half")
    parser.add_argument("--held-out", action="store_true", help="the other half")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    asked = parser.parse_args(argv)
    _make_environment()
    scores = {name: Score() for name in PEERS}
    for package in chosen(asked.packages or None, asked.held_out):
        prepare(package)
        for drift in selected(package):
            if drift.kind in KINDS:
                for name, peer in PEERS.items():
                    _score(package, drift, peer, scores[name])
    Console(width=None if sys.stdout.isatty() else 120).print(_table(scores))
    if asked.json:
        asked.json.write_text(json.dumps({name: asdict(score) for name, score in scores.items()}, indent=2))
    return 0


def _score(package: Package, drift: Drift, peer: Callable[[Drift, Path], None], score: Score) -> None:
    """One tool, one rename."""
    with tempfile.TemporaryDirectory(prefix="netra-peer-", ignore_cleanup_errors=True) as folder:
        drifted, root = Path(folder, "drifted"), Path(folder, package.name)
        write_tree(package, [drift], History.NONE, drifted)
        shutil.copytree(package.tree if peer is _rope else drifted, root, symlinks=True)
        score.runs += 1
        began = time.perf_counter()
        try:
            peer(drift, root)
        except PeerFailure:
            score.failed += 1
        score.seconds += time.perf_counter() - began
        found, exact = _compared(drift, drifted, root)
    score.sites += sites(drift, found)
    score.exact += exact


def _compared(drift: Drift, before: Path, after: Path) -> tuple[list[Change], bool]:
    """What a tool did, also when it changed more than names: matched word by word."""
    found: list[Change] = []
    exact = True
    by_file: dict[str, list[Change]] = {}
    for spot in all_spots(drift):
        by_file.setdefault(spot.file, []).append(Change(spot, spot.old))
    for path in before.rglob("*.py"):
        name = path.relative_to(before).as_posix()
        old, new = path.read_bytes(), (after / name).read_bytes()
        if old == new:
            continue
        words, now = list(_WORD.finditer(old)), list(_WORD.finditer(new))
        same = {drift.attribute.encode(), drift.answer.encode()}
        pairs = SequenceMatcher(
            None,
            [b"" if word[0] in same else word[0] for word in words],
            [b"" if word[0] in same else word[0] for word in now],
            autojunk=False,
        ).get_matching_blocks()
        texts = {
            words[block.a + step].start(): now[block.b + step][0].decode(errors="replace")
            for block in pairs
            for step in range(block.size)
        }
        here = by_file.get(name, [])
        found += [Change(change.spot, texts.get(change.spot.start, change.text)) for change in here]
        allowed = {change.spot.start for change in here}
        moved = len(words) != len(now) or any(
            words[block.a + step][0] != now[block.b + step][0] and words[block.a + step].start() not in allowed
            for block in pairs
            for step in range(block.size)
        )
        exact = exact and not moved and _spaces(old) == _spaces(new)
    return found, exact


def _spaces(data: bytes) -> bytes:
    return re.sub(rb"\w+", b"w", data)


# The tools.


def _regular_expression(drift: Drift, root: Path) -> None:
    pattern = re.compile(rf"(?<=\.){re.escape(drift.attribute)}\b".encode())
    for path in root.rglob("*.py"):
        data = path.read_bytes()
        new = pattern.sub(drift.answer.encode(), data)
        if new != data:
            path.write_bytes(new)


def _ast_grep(drift: Drift, root: Path) -> None:
    pattern = ["--pattern", f"$R.{drift.attribute}", "--rewrite", f"$R.{drift.answer}"]
    _run(
        [str(ENVIRONMENT / "bin" / "ast-grep"), "run", "--lang", "python", *pattern, "--update-all", str(root)], (0, 1)
    )


def _libcst(drift: Drift, root: Path) -> None:
    """For every class that defines the name."""
    names = [f"{_module(file)}:{cls}" for file, cls in _owners(drift)]
    _run_peer("libcst", root, drift.attribute, drift.answer, names)


def _rope(drift: Drift, root: Path) -> None:
    """From the first definition, with its whole hierarchy."""
    file, _ = _owners(drift)[0]
    start = min(s.start for s in drift.splices if s.file == file and s.text == drift.answer)
    _run_peer("rope", root, drift.attribute, drift.answer, [file, str(start)])


PEERS: dict[str, Callable[[Drift, Path], None]] = {
    "regular expression": _regular_expression,
    "ast-grep": _ast_grep,
    "LibCST RenameCommand": _libcst,
    "rope": _rope,
}


def _owners(drift: Drift) -> list[tuple[str, str]]:
    return [(file, cls) for file, _, cls in (owner.partition(":") for owner in drift.owners)]


def _module(file: str) -> str:
    parts = file.removeprefix("src/").removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _run_peer(name: str, root: Path, old: str, new: str, words: Iterable[str]) -> None:
    script = Path(__file__).with_name("peer_runner.py")
    _run([str(ENVIRONMENT / "bin" / "python"), str(script), name, str(root), old, new, *words])


def _run(command: Sequence[str], good: Sequence[int] = (0,)) -> None:
    """Runs a tool; ast-grep ends with 1 where nothing matches, Python where something was raised."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PeerFailure(f"stopped after {LIMIT_S:g} s") from error
    if done.returncode not in good:
        raise PeerFailure(done.stderr.decode(errors="replace")[-500:])


def _make_environment() -> None:
    if (ENVIRONMENT / "ready").exists():
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, *REQUIREMENTS], check=True)
    (ENVIRONMENT / "ready").touch()


def _table(scores: dict[str, Score]) -> Table:
    table = Table("tool", "precision", "recall", "right", "wrong", "left", "no truth", "exact", "failed", "seconds")
    for name, score in scores.items():
        count = score.sites
        table.add_row(
            name,
            _percent(count.precision),
            _percent(count.recall),
            *(str(number) for number in (count.right, count.wrong, count.left, count.unlabelled)),
            f"{score.exact}/{score.runs}",
            str(score.failed),
            f"{score.seconds:.0f}",
        )
    return table


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"


if __name__ == "__main__":
    sys.exit(main())
