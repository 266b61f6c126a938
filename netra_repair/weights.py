"""What evidence counts for when candidates are ranked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weights:
    """What evidence counts for, and what is needed to choose. Tuned on `benchmarks/repair`: see its notes.

    Attributes:
        fit: times the share of calls that bind.
        keywords: times the share of the calls' keywords that the candidate has, weighed by how telling they are.
        name: times the likeness of the names.
        same: for the same words in another order or spelling.
        use: times the share of the living calls with the same keywords that are calls of the candidate.
        unused: for a member, as public as the missing one, that nothing in the project uses while that is called.
        history: for what git says the name was renamed to.
        hint: for what the library itself names as successor.
        field: for a property that only hands out the field of the missing name, `_name`.
        private: for a private name in place of a public one.
        beside: for what stood beside the missing name before it was removed: another thing, then.
        floor: the least score of something that may be chosen, or be part of a tie.
        margin: how far ahead of the next one it must be.
        ahead: how far ahead it must be for a try with the tests; below, there is a tie.
        fitting: the least share of calls that must bind.
        uses: how many living calls with the same keywords are grounds.
        telling: how many telling keywords these must have.
        called: how many sites a missing public name needs before it says anything that a candidate is unused.
        helper: how alike an unused private member must be called to one that is missing.
    """

    fit: float = 2.0
    keywords: float = 1.5
    name: float = 3.0
    use: float = 3.0
    same: float = 1.0
    unused: float = 1.5
    history: float = 8.0
    hint: float = 5.0
    field: float = 4.0
    private: float = -4.0
    beside: float = -2.0
    floor: float = 2.5
    margin: float = 1.0
    ahead: float = 0.25
    fitting: float = 0.75
    uses: float = 2.0
    telling: int = 2
    called: int = 2
    helper: float = 0.5


WEIGHTS = Weights()
