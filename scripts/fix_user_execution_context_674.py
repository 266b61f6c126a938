"""Repairs the calls of `UserExecutionContext.create_for_user()`, which never existed, and nothing else (issue 674).

`netra repair fix` for this one cause, with the same proof: run it in the project's root. A dry run unless `--apply`
is given: changes and tests happen in a copy, and nothing is written to the project.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

if importlib.util.find_spec("netra_repair") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from netra_repair import cli
from netra_repair.errors import RepairError
from netra_repair.git import Git
from netra_repair.progress import Silence
from netra_repair.project import discover
from netra_repair.scanner import opened

CAUSE = "netra_backend.app.services.user_execution_context.UserExecutionContext.create_for_user"


def main(argv: Sequence[str] | None = None) -> int:
    """Repairs the calls below some paths, and prints what was changed and what was refused.

    Args:
        argv: the words of the command line; those of the process when not given.

    Returns:
        0 when nothing is left to do, 1 when something is, 2 when it could not be told.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "paths", nargs="*", default=["tests"], metavar="PATH", help="files and folders (default: tests)"
    )
    parser.add_argument("--apply", action="store_true", help="write to the project what was verified in the copy")
    asked = parser.parse_args(argv)
    try:
        with opened(project := discover(Path.cwd()), Git(project.root), Silence()) as scanner:
            found = scanner.scan(asked.paths)
    except RepairError as error:
        print(error, file=sys.stderr)
        return cli.ExitCode.COULD_NOT_RUN
    if found.files and all(cause.key != CAUSE for cause in found.causes):
        print(f"nothing calls {CAUSE} in {found.files} files; nothing was changed")
        return cli.ExitCode.CLEAN
    words = ["fix", CAUSE, "--verbose", *(["--apply"] if asked.apply else [])]
    for path in asked.paths:
        words += ["--path", path]
    return cli.main([*words, "--", *asked.paths])


if __name__ == "__main__":
    sys.exit(main())
