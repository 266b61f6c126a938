"""Runs a test in a process of its own, forked after the collection: what other tests left behind is not there."""

from __future__ import annotations

import os
import signal
import time
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from .job import Job

CAN_FORK = hasattr(os, "fork")
LIMIT_S = 20.0  # a forked child has one thread, and may wait for another for ever
_PAUSE_S = 0.002


def run_alone(job: Job, item: pytest.Item) -> None:
    """Runs a test with all its fixtures; the hooks of the child write how it ended.

    Args:
        job: where the child writes.
        item: the test; nothing is set up for it in this process.
    """
    runner: Any = item.config.pluginmanager.get_plugin("runner")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the project may have threads: see the limit
        child = os.fork()
    if child == 0:
        try:
            job.adopt()
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runner.runtestprotocol(item, log=True, nextitem=None)
        finally:
            os._exit(0)  # nothing of the parent's is flushed or torn down twice
    began = time.monotonic()
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended:
        if time.monotonic() > began + LIMIT_S:
            os.kill(child, signal.SIGKILL)
            ended, status = os.waitpid(child, 0)
        else:
            time.sleep(_PAUSE_S)
            ended, status = os.waitpid(child, os.WNOHANG)
    if status != 0:
        reason = f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended its process"
        job.write(test=item.nodeid, when="call", outcome="failed", seconds=time.monotonic() - began, reason=reason)
