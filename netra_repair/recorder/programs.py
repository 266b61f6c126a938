"""What is raised in Python programs that a test starts: the test sees only that they end badly."""

from __future__ import annotations

import os
from contextlib import ExitStack

from .caught import Caught
from .job import JOB, Job

_listening = ExitStack()  # until the program ends


def load_first() -> None:
    """Lets every Python program that is started with this process's environment load `startup/sitecustomize.py`."""
    startup = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (startup, os.environ.get("PYTHONPATH"))))


def listen(test: str) -> None:
    """Begins to listen in such a program.

    Args:
        test: what pytest calls its current test: the node id and the phase, "tests/test_a.py::test_b (call)".
    """
    job = Job(os.environ[JOB])
    test = test.rpartition(" (")[0]
    _listening.enter_context(Caught(job, lambda facts: job.write(started_by=test, caught=facts)).heard())
