"""What the tool would change where nothing is wrong: released packages, each as a project of its own.

The packages are those of the tool's own locked environment; of their tests they bring next to nothing, so that types
and binding alone decide. What a scan reports of them may be what an engine cannot know, as members that only a mixin's
heirs have. What it would change of its own accord is a mistake, or a bug of the release that nobody has found.

    python -m benchmarks.repair.false_alarms [NAME ...]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.repair.tool import Report, scan

INSTALLED = Path(sysconfig.get_path("purelib"))
LIMIT_S = 900.0


def installed() -> Iterator[str]:
    """The installed packages that are folders, in order."""
    for path in sorted(INSTALLED.iterdir()):
        if (path / "__init__.py").exists():
            yield path.name


def scanned(name: str) -> Report:
    """The scan of one package.

    Raises:
        RuntimeError: when there is no report.
    """
    with tempfile.TemporaryDirectory(prefix="netra-released-") as folder:
        root = Path(folder, name)
        shutil.copytree(INSTALLED / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        return scan(root, Path(sys.executable), Path(folder, "report.json"), LIMIT_S)


def main(argv: Sequence[str] | None = None) -> int:
    """Scans and prints; 0 when nothing would be changed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repair.false_alarms", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="packages (default: all that are installed)")
    asked = parser.parse_args(argv)
    console = Console()
    table = Table("package", "files", "causes", "would change")
    files = causes = 0
    wrong: list[str] = []
    names = asked.names or list(installed())
    for number, name in enumerate(names, 1):
        console.print(f"{number}/{len(names)} {name}")
        report = scanned(name)
        chosen = [plan["cause"] for plan in report.plans if plan["files"]]
        files += report.files
        causes += len(report.causes)
        wrong += chosen
        if report.causes:
            table.add_row(name, f"{report.files}", f"{len(report.causes)}", "\n".join(chosen))
    table.add_section()
    table.add_row(f"{len(names)} packages", f"{files}", f"{causes}", f"{len(wrong)}")
    console.print(table)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
