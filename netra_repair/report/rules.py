"""The rules that a site can break: their ids never change, because alerts are matched by them across runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netra_repair.diagnostics import CauseKind


@dataclass(frozen=True, slots=True)
class Rule:
    """What is wrong with every site of one kind of cause.

    Attributes:
        kind: of the cause.
        name: in PascalCase, as SARIF wants it.
        short: one sentence without a name in it.
        full: what happens at run time.
        help: what a person can do.
    """

    kind: CauseKind
    name: str
    short: str
    full: str
    help: str

    def as_sarif(self) -> dict[str, Any]:
        """A `reportingDescriptor`."""
        return {
            "id": rule_id(self.kind),
            "name": self.name,
            "shortDescription": {"text": self.short},
            "fullDescription": {"text": self.full},
            "help": {"text": self.help},
            "defaultConfiguration": {"level": "error"},
            "properties": {"tags": ["correctness", "python"], "precision": "high"},
        }


def rule_id(kind: CauseKind) -> str:
    """The rule of a kind of cause: "netra/missing-attribute"."""
    return f"netra/{kind.value}"


_HELP = (
    "`netra repair scan` shows all sites with the same cause and the replacements with the evidence for each; "
    "`netra repair fix` rewrites them in a copy and runs the tests before and after; with `--apply` it writes what "
    "held, and that can be undone."
)

RULES = (
    Rule(
        CauseKind.MISSING_ATTRIBUTE,
        "MissingAttribute",
        "An attribute that does not exist.",
        "The class or module on the left of the dot has no such attribute, nor has any of its bases. The line raises "
        "AttributeError when it runs.",
        _HELP,
    ),
    Rule(
        CauseKind.MISSING_IMPORT,
        "MissingImport",
        "An import of a name that does not exist.",
        "The module has no such name. Importing the file raises ImportError, and everything in it is lost.",
        _HELP,
    ),
    Rule(
        CauseKind.UNEXPECTED_KEYWORD,
        "UnexpectedKeyword",
        "A keyword argument that the function does not take.",
        "The function has no parameter of this name. The call raises TypeError.",
        _HELP,
    ),
    Rule(
        CauseKind.POSITIONAL_COUNT,
        "PositionalCount",
        "More positional arguments than the function takes.",
        "The function takes fewer positional arguments than the call passes. The call raises TypeError.",
        _HELP,
    ),
    Rule(
        CauseKind.MISSING_ARGUMENT,
        "MissingArgument",
        "A required argument that the call does not pass.",
        "The function has a parameter without a default that the call leaves out. The call raises TypeError.",
        _HELP,
    ),
)
