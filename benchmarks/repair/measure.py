"""A command's wall time, and the most memory that it and all its children held at one moment."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_S = 0.02


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a command.

    Attributes:
        seconds: wall time.
        peak_mib: the largest sum of resident memory over the process and its children, as sampled.
        exit_code: None when it was stopped at the time limit.
        output: standard output and errors.
    """

    seconds: float
    peak_mib: float
    exit_code: int | None
    output: str


def measured(
    command: Sequence[str], cwd: Path, limit_s: float, environment: Mapping[str, str] | None = None
) -> Measured:
    """Runs a command and watches it.

    Args:
        command: the words.
        cwd: where it runs.
        limit_s: after how many seconds it is stopped, with all its children.
        environment: of the process; this one's when not given.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak))
    watcher.start()
    try:
        output, _ = process.communicate(timeout=limit_s)
        exit_code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # the tool removes its copy of the project
        try:
            output, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        exit_code = None
    watcher.join()
    return Measured(time.perf_counter() - began, peak[0] / 2**20, exit_code, output.decode(errors="replace"))


def _watch(pid: int, peak: list[int]) -> None:
    """Samples until the process is gone. Shared pages count for each process: the sum errs upwards."""
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
            peak[0] = max(peak[0], total)
            time.sleep(SAMPLE_S)
    except psutil.NoSuchProcess:
        return
