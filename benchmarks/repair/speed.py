"""How long `netra repair scan` takes on a large tree, beside the engine's own check of the same tree in the same run.

The tree is made of the sources of real packages, taken as wheels by pip, with one class that drifted and a hundred
calls of what it lost, in a hundred of the tree's files. Engine and tool take turns, so that both see the same machine;
the ratio is the median over the pairs. The scan must plan every call, or its time means nothing.

    python -m benchmarks.repair.speed [--pairs 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.repair.injections import SEED
from benchmarks.repair.measure import Measured, measured
from benchmarks.repair.packages import CACHE
from benchmarks.repair.tool import scan

# Pure Python, no dependencies needed to be read; name, version, SHA-256 of the wheel.
SOURCES = (
    ("django", "5.2.19", "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00"),
    ("networkx", "3.6.1", "d47fbf302e7d9cbbb9e2555a0d267983d2aa476bac30e90dfbe5669bd57f3762"),
    ("pygments", "2.21.0", "2363c69b61c4a97c838da3b130dcd6468f4848992b21a82f2a63ec34377137d9"),
    ("sympy", "1.14.0", "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5"),
)
LEAST_FILES, LEAST_LINES = 3_000, 1_000_000
SITES = 100
MOST_RATIO, MOST_EXTRA_MIB = 2.5, 2048.0
LIMIT_S = 900.0

CONTEXT = '''"""A class whose factory got another name."""


class RequestContext:
    """Who asks, and in which conversation."""

    def __init__(self, user: str, conversation: str) -> None:
        self.user = user
        self.conversation = conversation

    @classmethod
    def createForUser(cls, user: str, conversation: str) -> "RequestContext":
        """A context of one user's request."""
        return cls(user, conversation)
'''
CALLS = (
    """

def _drifted_call(user):
    return RequestContext.create_for_user(user, "conversation")
""",
    """

def _drifted_call(user):
    return RequestContext.create_for_user(user=user, conversation="one")
""",
    """

def _drifted_call(context: RequestContext):
    return context.create_for_user(
        "user",
        "one",
    )
""",
    """

class _Drifted(RequestContext):
    def again(self):
        return self.create_for_user(self.user, "two")
""",
)
IMPORT = "\n\nfrom drifted.context import RequestContext  # noqa: E402\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """One turn each of engine and tool, seconds and MiB."""

    engine_s: float
    engine_mib: float
    scan_s: float
    scan_mib: float


def build(target: Path) -> tuple[int, int]:
    """Makes the tree when it is not there.

    Returns:
        How many Python files and lines it has.
    """
    if not target.exists():
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, version, sha256 in SOURCES:
            with zipfile.ZipFile(_wheel(name, version, sha256)) as wheel:
                wheel.extractall(partial, [member for member in wheel.namelist() if ".dist-info/" not in member])
        _drift(partial)
        partial.rename(target)
    files = sorted(target.rglob("*.py"))
    return len(files), sum(path.read_bytes().count(b"\n") for path in files)


def _drift(root: Path) -> None:
    """The class that drifted, and a hundred calls in as many files."""
    package = root / "drifted"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "context.py").write_text(CONTEXT)
    files = [path for path in sorted(root.rglob("*.py")) if path.stat().st_size > 500 and package not in path.parents]
    random = Random(SEED)
    for number, path in enumerate(sorted(random.sample(files, SITES))):
        path.write_bytes(path.read_bytes() + (IMPORT + CALLS[number % len(CALLS)]).encode())


def _wheel(name: str, version: str, sha256: str) -> Path:
    folder = CACHE / "wheels" / name
    if not folder.exists():
        folder.mkdir(parents=True)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "-r", str(wanted), "-d", str(folder)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def measure(tree: Path, environment: Path) -> Pair:
    """One turn each.

    Raises:
        RuntimeError: when one of them did not do its work.
    """
    python = environment / "bin" / "python"
    engine = _engine(tree, python)
    report = CACHE / "speed.json"
    report.unlink(missing_ok=True)
    found = scan(tree, python, report, LIMIT_S)
    planned = _planned(found.plans)
    if found.run.exit_code != 1 or planned != SITES:
        raise RuntimeError(f"the scan ended with {found.run.exit_code}, and planned {planned} of {SITES} calls")
    return Pair(engine.seconds, engine.peak_mib, found.run.seconds, found.run.peak_mib)


def _planned(plans: list[dict[str, Any]]) -> int:
    """How many calls the plan for the drifted class mends."""
    (plan,) = (plan for plan in plans if plan["cause"] == "drifted.context.RequestContext.create_for_user")
    return sum(len(file["sites"]) for file in plan["files"])


def _engine(tree: Path, python: Path) -> Measured:
    """The engine's own check of the whole tree, as its own users run it; the JSON goes to a file."""
    binary = Path(sysconfig.get_path("scripts")) / "pyrefly"
    command = [str(binary), "check", "--preset", "default", "--search-path", str(tree)]
    command += ["--python-interpreter-path", str(python), "--output-format", "json"]
    command += ["-o", str(CACHE / "engine.json"), str(tree)]
    found = measured(command, tree, LIMIT_S)
    if found.exit_code not in (0, 1):
        raise RuntimeError(f"the engine ended with {found.exit_code}: {found.output[-2000:]}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints; 0 when both limits hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repair.speed", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="turns of engine and tool (default: 3)")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    asked = parser.parse_args(argv)
    console = Console()
    tree = CACHE / "large-tree"
    environment = CACHE / "environments" / "empty"
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    files, lines = build(tree)
    assert files >= LEAST_FILES, files
    assert lines >= LEAST_LINES, lines
    console.print(f"{files:,} files, {lines:,} lines, {SITES} drifted calls in {SITES} files")
    _engine(tree, environment / "bin" / "python")  # both then find the files in the page cache
    pairs = []
    for number in range(asked.pairs):
        pairs.append(measure(tree, environment))
        console.print(f"pair {number + 1}: {_words(pairs[-1])}")
    ratio = median(pair.scan_s / pair.engine_s for pair in pairs)
    extra = median(pair.scan_mib - pair.engine_mib for pair in pairs)
    table = Table("", "median", "limit")
    table.add_row("scan / engine", f"{ratio:.2f}", f"{MOST_RATIO}")
    table.add_row("memory beside the engine's own (MiB)", f"{extra:.0f}", f"{MOST_EXTRA_MIB:.0f}")
    console.print(table)
    if asked.json:
        numbers = {"files": files, "lines": lines, "ratio": ratio, "extra_mib": extra}
        asked.json.write_text(json.dumps({**numbers, "pairs": [asdict(pair) for pair in pairs]}, indent=2))
    return 0 if ratio <= MOST_RATIO and extra <= MOST_EXTRA_MIB else 1


def _words(pair: Pair) -> str:
    return (
        f"engine {pair.engine_s:.1f} s, {pair.engine_mib:.0f} MiB; scan {pair.scan_s:.1f} s, {pair.scan_mib:.0f} MiB; "
        f"ratio {pair.scan_s / pair.engine_s:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
