"""Why a site is not rewritten. Each refusal is listed in the report with its words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The closed list of reasons; the values are part of the JSON and SARIF reports."""

    # What the code around it means.
    GUARDED = "guarded"
    ABSENCE_TEST = "absence-test"
    UNREACHABLE = "unreachable"
    NOT_A_LOAD = "not-a-load"
    STRING = "string"
    # Whose attribute it is.
    UNKNOWN_RECEIVER = "unknown-receiver"
    SOME_OF_A_UNION = "some-of-a-union"
    DYNAMIC_OWNER = "dynamic-owner"
    OUTSIDE_THE_PROJECT = "outside-the-project"
    # What would stand there instead.
    NO_CANDIDATE = "no-candidate"
    TIE = "tie"
    KIND_MISMATCH = "kind-mismatch"
    ASYNC_MISMATCH = "async-mismatch"
    # Its arguments.
    STAR_ARGUMENTS = "star-arguments"
    NEEDS_INPUT = "needs-input"
    TOO_MANY_ARGUMENTS = "too-many-arguments"
    UNKNOWN_KEYWORD = "unknown-keyword"
    EVALUATION_ORDER = "evaluation-order"
    # The file.
    GENERATED = "generated"
    VENDORED = "vendored"
    SYMLINK = "symlink"
    DIRTY = "dirty"
    READ_ONLY = "read-only"
    SYNTAX_ERROR = "syntax-error"
    UNREADABLE = "unreadable"
    UNENCODABLE = "unencodable"
    NOT_PROVEN = "not-proven"
    # What the tests said.
    REGRESSED = "regressed"
    STILL_FAILS = "still-fails"
    NOT_CONFIRMED = "not-confirmed"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A site, or a whole file, that is left alone.

    Attributes:
        reason: which rule.
        detail: one sentence for people: what is there, and what they can do.
    """

    reason: Reason
    detail: str
