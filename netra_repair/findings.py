"""What a scan found: the value that every report is made from."""

from __future__ import annotations

from dataclasses import dataclass

from netra_repair.causes import RootCause
from netra_repair.diagnostics import Blind
from netra_repair.failures import SuiteResult
from netra_repair.plan import RefusedSite
from netra_repair.refusals import Refusal


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is analysed, but never edited.

    Attributes:
        path: relative to the project's root.
        refusal: why.
    """

    path: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Findings:
    """What a scan found.

    Attributes:
        root: the project's root, as the user gave it.
        checker: name and version of the engine.
        python: version of the project's interpreter, "3.11.7".
        files: how many files were analysed; 0 means that nothing is proven.
        causes: most sites first.
        left_out: files that are never edited.
        blind: files that the engine could not read; the syntax scan covered those that Python can decode.
        unresolved: modules whose import could not be resolved, with the number of places.
        suite: the run of the tests whose failures were joined; None when none was run.
        unexplained: node ids of failing tests that no cause explains.
        warnings: what the reader must know before trusting the rest.
        seconds: wall time of the scan, by step ("checker", "receivers", "tests", …).
        set_aside: places that the engine marked and that are no cause, with reasons: the code around expects the
            absence, only some types of a union lack the attribute, the owner's attributes cannot be known. No findings.
    """

    root: str
    checker: str
    python: str
    files: int
    causes: tuple[RootCause, ...]
    left_out: tuple[LeftOut, ...]
    blind: tuple[Blind, ...]
    unresolved: tuple[tuple[str, int], ...]
    suite: SuiteResult | None
    unexplained: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: tuple[tuple[str, float], ...]
    set_aside: tuple[RefusedSite, ...] = ()
