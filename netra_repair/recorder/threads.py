"""What ended a thread while a test ran: the test may only see that nobody answers."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .raised import raised_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .job import Job
    from .places import Facts


class Threads:
    """Listens to threads. Keeps no exception, which would keep the variables of its frames alive, only facts of it.

    Args:
        job: knows which files are the project's.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._raised: list[Facts] = []

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listens, and lets whoever listened before hear it as well."""
        before = threading.excepthook

        def hear(ended: threading.ExceptHookArgs) -> None:
            if ended.exc_value is not None:
                # A frame of the project or nothing: no test's line stands for what another thread did.
                self._raised += raised_by(self._job, ended.exc_value, lambda _: ("", 0))
            before(ended)

        threading.excepthook = hear
        try:
            yield
        finally:
            if threading.excepthook is hear:
                threading.excepthook = before

    def forget(self) -> None:
        """Begins with another test."""
        self._raised = []

    @property
    def raised(self) -> list[Facts]:
        """Undefined things that ended threads of this test so far."""
        return self._raised
