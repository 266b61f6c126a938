"""The `netra` command: reads the first word and imports only what that needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Command:
    """A part's command.

    Attributes:
        module: where its function is.
        function: takes the words after the first and returns the exit code.
        extra: what must be installed for it.
        summary: one line of help.
    """

    module: str
    function: str
    extra: str
    summary: str


COMMANDS = {
    "serve": _Command("netra_backend.app.commands", "serve", "server", "run the server"),
    "db": _Command("netra_backend.app.commands", "db", "server", "upgrade, back up, export a user, erase a user"),
    "keys": _Command("netra_backend.app.commands", "keys", "server", "rotate the keys that sign tokens"),
    "golden-path": _Command(
        "netra_golden_path.cli", "main", "golden-path", "prove that many users at once get right, private answers"
    ),
    "repair": _Command(
        "netra_repair.cli", "main", "repair", "find calls that mean nothing, and repair them with proof"
    ),
}
COULD_NOT_RUN = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after `netra`; the process' own when not given.

    Returns:
        The command's exit code; 2 when there is no such command or its extra is not installed.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0 if words else COULD_NOT_RUN
    command = COMMANDS.get(words[0])
    if command is None:
        print(f"netra: there is no command {words[0]!r}\n\n{_help()}", file=sys.stderr)
        return COULD_NOT_RUN
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0].startswith("netra_"):
            raise
        print(
            f"netra {words[0]}: {error.name} is not installed; install the extra: pip install 'netra[{command.extra}]'",
            file=sys.stderr,
        )
        return COULD_NOT_RUN
    code: int = getattr(module, command.function)(words[1:])
    return code


def _help() -> str:
    lines = "\n".join(f"  {name:<12} {command.summary}" for name, command in COMMANDS.items())
    return f"usage: netra COMMAND [OPTIONS]\n\n{lines}\n\n`netra COMMAND --help` tells a command's options."


if __name__ == "__main__":
    sys.exit(main())
