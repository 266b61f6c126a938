"""What could stand in place of what is missing, ranked by evidence. A tie is refused, not guessed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netra_repair.owners import Member


class Clue(StrEnum):
    """A kind of evidence; the values are part of the JSON report."""

    FIT = "fit"
    KEYWORDS = "keywords"
    NAME = "name"
    USE = "use"
    HISTORY = "history"
    HINT = "hint"
    UNUSED = "unused"
    FIELD = "field"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that speaks for or against a candidate.

    Attributes:
        clue: what kind.
        weight: how much it adds to the score; negative when it speaks against.
        detail: what was seen, in words and numbers ("109 of 110 calls bind").
    """

    clue: Clue
    weight: float
    detail: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible replacement.

    Attributes:
        name: the attribute that would stand there; for a call that does not fit, the parameter.
        member: what it is; for a parameter, the callable that has it.
        score: the sum of the evidence.
        evidence: why, strongest first.
        fits: how many sites would bind.
        sites: how many sites were asked.
    """

    name: str
    member: Member
    score: float
    evidence: tuple[Evidence, ...]
    fits: int
    sites: int


class Decision(StrEnum):
    """What the ranking comes to.

    CHOSEN has grounds of its own. LIKELY has none but a similar name, or that nothing uses it: it is tried where tests
    die, and kept only when they pass with it. TIE and NONE need a person's word.
    """

    CHOSEN = "chosen"
    LIKELY = "likely"
    TIE = "tie"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in order.

    Attributes:
        decision: whether the first one is good enough to be put there without a person's word.
        candidates: best first; those that could never stand there are left out.
        margin: how far the first is ahead of the second; its own score when it is alone; 0 when there is none.
        reason: one sentence: why chosen, why not, and what to do (`--to NAME`).
    """

    decision: Decision
    candidates: tuple[Candidate, ...]
    margin: float
    reason: str
