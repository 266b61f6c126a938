"""Root causes: call sites and failing tests that have one thing in common, the attribute that is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from netra_repair.candidates import Ranking
from netra_repair.diagnostics import CauseKind
from netra_repair.errors import PlanError
from netra_repair.history import Past
from netra_repair.owners import Access, Owner
from netra_repair.references import Reference
from netra_repair.refusals import Refusal


class Proof(StrEnum):
    """Who says that a site's receiver is the cause's owner."""

    CHECKER = "checker"
    TYPE_SERVER = "type server"
    IMPORTS = "imports"
    TEST = "failing test"


@dataclass(frozen=True, slots=True)
class Site:
    """One place that means the missing attribute.

    Attributes:
        reference: the place.
        receiver: the class or module left of the dot, which may be a subclass of the cause's owner; None when unknown.
        access: how it is looked up; None when unknown.
        proofs: who says so; empty for a receiver that nobody could tell.
        refusal: why it is never rewritten, whatever the replacement; None when it may be.
        tests: the failing tests that died here.
        others: further classes of the cause that tests brought here.
    """

    reference: Reference
    receiver: Owner | None
    access: Access | None
    proofs: tuple[Proof, ...]
    refusal: Refusal | None
    tests: tuple[str, ...] = ()
    others: tuple[Owner, ...] = ()


@dataclass(frozen=True, slots=True)
class RootCause:
    """One missing thing, and everything that needs it.

    Attributes:
        kind: what does not fit.
        owner: the class, after its MRO, or the module that should have it; for call kinds the one that defines the
            callable.
        attribute: the missing attribute; for call kinds the callable's name.
        parameter: for call kinds the keyword or parameter; else "".
        sites: proven and refused ones, in order of path and position.
        unproven: references of the same name whose receiver nobody could tell; listed, never changed.
        tests: node ids of the tests that it breaks, also through fixtures and wrapped exceptions.
        mentions: how often the name stands in comments, docstrings, strings and text files; counted, never changed.
        past: what git says.
        ranking: what could stand there.
        family: for call kinds, the method farthest up the line of those that it overrides and that take the same,
            "pkg.base.Base.made": perhaps one change made all of them misfit; "" when there is none.
    """

    kind: CauseKind
    owner: Owner
    attribute: str
    parameter: str
    sites: tuple[Site, ...]
    unproven: tuple[Reference, ...]
    tests: tuple[str, ...]
    mentions: int
    past: Past
    ranking: Ranking
    family: str = ""

    @property
    def key(self) -> str:
        """Its name on the command line and in reports: `pkg.ctx.Ctx.gone`, `pkg.ctx.Ctx.made(thread=)`."""
        name = f"{self.owner.name}.{self.attribute}"
        match self.kind:
            case CauseKind.MISSING_ATTRIBUTE | CauseKind.MISSING_IMPORT:
                return name
            case CauseKind.POSITIONAL_COUNT:
                return f"{name}(*)"
            case _:
                return f"{name}({self.parameter}=)"


def selected(causes: Iterable[RootCause], keys: Sequence[str]) -> tuple[RootCause, ...]:
    """The causes that a person asked for.

    Args:
        causes: of a scan.
        keys: whole keys or unique parts of them; none asks for all.

    Returns:
        The causes, in the order of the scan.

    Raises:
        PlanError: when a key fits no cause or several.
    """
    causes = tuple(causes)
    if not keys:
        return causes
    chosen = {_selected(causes, key).key for key in keys}
    return tuple(cause for cause in causes if cause.key in chosen)


def _selected(causes: Sequence[RootCause], key: str) -> RootCause:
    fitting = [cause for cause in causes if cause.key == key] or [cause for cause in causes if key in cause.key]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(cause.key for cause in fitting[:5])
        raise PlanError(f"{key!r} is a part of {len(fitting)} causes: {names}", "write more of the key")
    raise PlanError(f"there is no cause {key!r}", "`netra repair scan` lists the causes there are")
