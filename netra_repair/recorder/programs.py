"""What is raised in Python programs that a test starts: the test sees only that they end badly."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .caught import Caught
from .job import JOB, Job

if TYPE_CHECKING:
    from types import TracebackType

    from .places import Facts


def load_first() -> None:
    """Lets every Python program that is started with this process's environment load `startup/sitecustomize.py`."""
    startup = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (startup, os.environ.get("PYTHONPATH"))))


def listen() -> None:
    """Listens in this program until it ends, and tells what it raises of the test that runs then: it may serve several.

    Not where something traces it already, a measure of coverage, say.
    """
    if sys.gettrace() is not None:
        return
    listening = ExitStack()
    listening.enter_context(_Overheard(Job(os.environ[JOB])).heard())
    atexit.register(listening.close)


class _Overheard(Caught):
    """Writes at once what it hears: nobody knows how the program will end."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._test = ""

    def _note(self, error: BaseException, traceback: TracebackType) -> None:
        test = self._job.current()
        if test != self._test:
            self.forget()
            self._test = test
        known = len(self.facts)
        super()._note(error, traceback)
        if self.facts[known:]:
            self._job.write(meanwhile=test, caught=list(map(self._by_its_name, self.facts[known:])))

    def _by_its_name(self, facts: Facts) -> Facts:
        """What is said of the program's own module, which is called `__main__` while it runs, by the module's name."""
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        name = file and self._job.module_of(file)
        if not name:
            return facts
        bases = tuple(_named(base, name) for base in facts["bases"])
        return {**facts, "receiver": facts["receiver"] and _named(facts["receiver"], name), "bases": bases}


def _named(qualified: str, module: str) -> str:
    """A qualified name, with a module's name for that of a main program, also one that another process went on with."""
    first, dot, rest = qualified.partition(".")
    return f"{module}{dot}{rest}" if first in ("__main__", "__mp_main__") else qualified
