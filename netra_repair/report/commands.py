"""The commands that a report tells its reader to type next."""

from __future__ import annotations

import shlex

from netra_repair.candidates import Decision
from netra_repair.causes import RootCause


def next_steps(root: str, cause: RootCause) -> tuple[str, ...]:
    """What to type to repair a cause.

    Args:
        root: the project's root as the user gave it.
        cause: what is to be repaired.

    Returns:
        Commands for a POSIX shell: to see the changes verified in a copy and to write them when a replacement was
        chosen; the first for each of the two best when they tie; none when there is no candidate.
    """
    names = [candidate.name for candidate in cause.ranking.candidates]
    match cause.ranking.decision:
        case Decision.CHOSEN | Decision.LIKELY:
            return _command(root, "fix", cause.key, "--diff"), _command(root, "fix", cause.key, "--apply")
        case Decision.TIE:
            return tuple(_command(root, "fix", cause.key, "--to", name, "--diff") for name in names[:2])
        case Decision.NONE:
            return ()


def apply(root: str, plan: str) -> str:
    """What to type to carry out a plan that lies in a file."""
    return _command(root, "apply", plan)


def undo(root: str, run: str) -> str:
    """What to type to take back everything that a run wrote."""
    return _command(root, "undo", run)


def _command(root: str, *words: str) -> str:
    return shlex.join(["netra", "repair", *words, *([] if root == "." else ["--root", root])])
