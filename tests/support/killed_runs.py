"""Runs `netra repair apply plan.json` again and again, each time killed one step later, until it comes to its end.

A step is a call that may change a file; one that only waits for the disk changes nothing that a later process can
see. It is a program of its own, because it forks:
`python -m tests.support.killed_runs PROJECT FOLDER` copies the project for each step to `FOLDER/undo-N` and
`FOLDER/resume-N`, has the run killed before step N in both, and then lets the tool take it back in the one and finish
it in the other. It prints before which call each run was killed, as JSON; the last one, that was not, is null.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from io import BufferedWriter, FileIO
from itertools import count
from pathlib import Path
from types import FrameType

from netra_repair import cli, journal

_STEPS = frozenset("open write pwrite ftruncate replace rename unlink remove mkdir rmdir fchmod chmod utime".split())
_MOST_STEPS = 500


def kill_before(step: int, told: int) -> Callable[[FrameType, str, object], None]:
    """A profiler that kills this process by SIGKILL before its nth step.

    Args:
        step: how many steps it may do.
        told: where the name of the one it was killed before is written to.

    Returns:
        What `sys.setprofile` takes.
    """
    done = 0

    def watch(frame: FrameType, event: str, called: object) -> None:
        nonlocal done
        name = getattr(called, "__name__", "")
        if event != "c_call" or name not in _STEPS:
            return
        if getattr(called, "__module__", None) != "posix" and not isinstance(
            getattr(called, "__self__", None), BufferedWriter | FileIO
        ):
            return
        if done == step:
            os.write(told, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    return watch


def in_child(project: Path, words: Sequence[str], step: int | None = None) -> str | None:
    """Runs a repair command in a child process.

    Args:
        project: where.
        words: what follows `netra repair`.
        step: before which step it is killed; None to let it come to its end.

    Returns:
        What it was killed before; None when it came to its end.

    Raises:
        RuntimeError: when it came to an end that was not good.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.chdir(project)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if step is not None:
            sys.setprofile(kill_before(step, writer))
        os._exit(cli.main(list(words)))
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        name = pipe.read()
    if os.WIFSIGNALED(status):
        return name
    if os.WEXITSTATUS(status) != 0:
        raise RuntimeError(f"{project}: {' '.join(words)} ended with {os.WEXITSTATUS(status)}")
    return None


def recovered(project: Path, verb: str) -> None:
    """Has the tool take back or finish what was interrupted; where nothing was begun, begins it again or not.

    Args:
        project: where.
        verb: "undo" or "resume".
    """
    made = journal.runs(project)
    if made and not made[-1].is_finished:
        in_child(project, [verb, made[-1].id])
    elif made and verb == "undo":
        in_child(project, ["undo", made[-1].id])
    elif not made and verb == "resume":
        in_child(project, ["apply", "plan.json"])


def main(argv: Sequence[str]) -> int:
    """Runs the command until it is no longer killed.

    Args:
        argv: the project and the folder for its copies.

    Returns:
        0; 1 when it did not come to its end.
    """
    sys.dont_write_bytecode = True
    died: list[str | None] = []
    for step in count():
        copies = {verb: Path(argv[1]) / f"{verb}-{step}" for verb in ("undo", "resume")}
        for verb, copy in copies.items():
            shutil.copytree(argv[0], copy)
            died[step:] = [in_child(copy, ["apply", "plan.json"], step)]
            recovered(copy, verb)
        if died[-1] is None or step == _MOST_STEPS:
            break
    print(json.dumps(died))
    return int(died[-1] is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
