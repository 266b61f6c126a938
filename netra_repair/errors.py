"""What the repair tool says when it cannot go on. Expected outcomes of an analysis are values, not exceptions."""

from __future__ import annotations


class RepairError(Exception):
    """Base of everything the tool raises on purpose: the command prints it and exits with 2.

    Args:
        problem: what is wrong, naming the file, option or program, what was expected and what came.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


class ProjectError(RepairError):
    """Raised when the project, its paths or its interpreter cannot be used as they are."""


class CheckerError(RepairError):
    """Raised when a checker or its type server does not run, or answers what this version does not understand."""


class PlanError(RepairError):
    """Raised when a plan file is not one, or does not fit the files any more; nothing has been written then."""


class JournalError(RepairError):
    """Raised when a run cannot be undone or resumed safely, because a file has changed since."""


class WriteError(RepairError):
    """Raised when the disk refuses a change; every file is as it was before, unless the message says otherwise."""


class TestRunError(RepairError):
    """Raised when the project's tests cannot be run at all: no pytest, no tests, nothing collected."""

    __test__ = False  # not a test, whatever pytest makes of the name
