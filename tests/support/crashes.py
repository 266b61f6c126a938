"""Kills applying, undoing and resuming at every step, and looks whether the files can be brought to either side.

A program of its own, because it forks: `python -m tests.support.crashes FOLDER STRIDE`. A step is a call that changes a
file or waits for the disk; a write has two, before it and in its middle. The first crash is before every step of an
application; the second one in the repair of that, before every STRIDEth step. It prints, as JSON, how many trials
there were, and those that failed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from netra_repair.apply import apply, resume, undo
from netra_repair.errors import JournalError
from netra_repair.journal import Run, State, runs
from tests.support.repair_plans import AWKWARD, renaming, write_files

BEFORE = {path: AWKWARD[path] for path in ("crlf.py", "latin.py", "a folder/two  blanks.py")}
AFTER = {path: data.replace(b".gone", b".returned") for path, data in BEFORE.items()}
_STEPS = ("open", "fsync", "ftruncate", "replace", "unlink", "mkdir", "rmdir", "fchmod", "fchown", "utime")
_WRITES = ("write", "pwrite")
ACTIONS: dict[str, Callable[[Path, str], Run]] = {"undo": undo, "resume": resume}


class Killer:
    """Counts steps in this process, and kills it before one of them.

    Args:
        before: the step, from 0; None never kills.
    """

    def __init__(self, before: int | None) -> None:
        self._before = before
        self.steps = 0

    def watch(self) -> None:
        """From here on the calls are counted; there is no way back, so this is for a forked child."""
        for name in _STEPS:
            setattr(os, name, self._stepping(getattr(os, name)))
        for name in _WRITES:
            setattr(os, name, self._tearing(getattr(os, name)))

    def _step(self) -> None:
        if self.steps == self._before:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps += 1

    def _stepping(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*args: Any, **named: Any) -> Any:
            self._step()
            return call(*args, **named)

        return stepping

    def _tearing(self, call: Callable[..., int]) -> Callable[..., int]:
        def tearing(handle: int, data: bytes, *args: int) -> int:
            self._step()
            half = call(handle, data[: len(data) // 2], *args)
            self._step()
            return half + call(handle, data[half:], *(at + half for at in args))

        return tearing


def crashed(action: Callable[[], object], before: int | None) -> bool:
    """Carries an action out in a child that is killed before a step; False when it came to its end without one."""
    child = os.fork()
    if child == 0:
        try:
            Killer(before).watch()
            action()
            os._exit(0)
        except BaseException as error:  # the child must not go on as the parent
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise RuntimeError("the action failed without having been killed")
    return False


def held(root: Path) -> dict[str, bytes]:
    """Every file outside of the state folder, left-over temporary ones included."""
    files = (path for path in root.rglob("*") if path.is_file())
    paths = {path.relative_to(root).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in paths.items() if not name.startswith(".netra-repair/")}


def finish(root: Path, action: str) -> str | None:
    """Brings the last run to its end, in this process; what is wrong then, or None."""
    known = runs(root)
    if not known:
        # Killed before the journal was there: nothing has been touched, and the plan can be applied.
        if held(root) != BEFORE:
            return "files were touched before the journal was there"
        apply([renaming(root, BEFORE, new="returned")], root, "test")
        return None if held(root) == AFTER else "could not be applied again"
    (run,) = known
    if run.is_finished:
        wanted = BEFORE if run.state is State.UNDONE else AFTER
        return None if held(root) == wanted else f"{run.state}, but the files are not"
    try:
        apply([renaming(root, BEFORE)], root, "test")
    except JournalError:
        pass
    else:
        return "another plan was applied before the interrupted one was finished"
    run = ACTIONS[action](root, run.id)
    wanted = BEFORE if action == "undo" else AFTER
    if held(root) != wanted or runs(root) != (run,) or not run.is_finished:
        return f"{action}: {run.state}, files {sorted(held(root))}"
    return None


def main(folder: Path, stride: int) -> dict[str, object]:
    """All trials.

    Args:
        folder: for the copies of the project.
        stride: every how manyeth step the second crash is tried at.

    Returns:
        The number of steps of an application, the number of trials, and the failed ones.
    """
    origin = folder / "origin"
    write_files(origin, BEFORE)
    (origin / "crlf.py").chmod(0o755)
    plan = renaming(origin, BEFORE, new="returned")
    trials, failures = 0, []

    def fresh(source: Path, name: str) -> Path:
        shutil.rmtree(folder / name, ignore_errors=True)
        return Path(shutil.copytree(source, folder / name))

    def tried(root: Path, action: str, story: str) -> None:
        nonlocal trials
        trials += 1
        problem = finish(root, action) or (None if os.stat(root / "crlf.py").st_mode & 0o111 else "mode lost")
        if problem:
            failures.append(f"{story}: {problem}")

    def tried_twice(root: Path, action: str, every: int, story: str) -> None:
        (run,) = runs(root)
        if action == "resume" and run.is_finished:
            return
        for second in count(0, every):
            twice = fresh(root, "twice")
            if not crashed(partial(ACTIONS[action], twice, run.id), second):
                break
            for last in ACTIONS:
                tried(fresh(twice, "again"), last, f"{story}, {action} killed at {second}, {last}")

    root = origin
    for first in count():
        root = fresh(origin, "crashed")
        if not crashed(partial(apply, [plan], root, "test"), first):
            break
        state = held(root)
        if any(state[path] not in (BEFORE[path], AFTER[path]) for path in BEFORE):
            failures.append(f"killed at {first}: a file is neither old nor new")
        for action in ACTIONS:
            tried(fresh(root, "again"), action, f"killed at {first}, {action}")
            if runs(root) and first % stride == 0:
                tried_twice(root, action, stride, f"killed at {first}")
    tried_twice(root, "undo", 1, "applied")
    return {"steps": first, "trials": trials, "failures": failures[:20]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
