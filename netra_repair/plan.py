"""A plan: the edits that put one replacement in place of one missing thing, and the sites it refuses, with reasons."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from netra_repair.candidates import Candidate
from netra_repair.causes import Site
from netra_repair.diagnostics import CauseKind
from netra_repair.edits import Edit
from netra_repair.refusals import Refusal

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class SiteEdit:
    """The edits of one site.

    Attributes:
        site: the place.
        replacement: the name that comes in; for a site that does not fit the best candidate its own second one.
        edits: the splices: the name, and keywords of arguments.
        before: the source text of the call (or reference) as it is.
        after: as it will be by these edits alone: another site inside the same call has its own.
        note: what the proof does not reach, for the report; "" when it reaches everything.
    """

    site: Site
    replacement: str
    edits: tuple[Edit, ...]
    before: str
    after: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class RefusedSite:
    """A site that is left alone.

    Attributes:
        site: the place.
        refusal: why.
    """

    site: Site
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class FilePlan:
    """All edits of one file.

    Attributes:
        path: relative to the project's root.
        before_sha256: of the bytes the edits were made for.
        after_sha256: of the bytes they give.
        sites: in order of position.
    """

    path: str
    before_sha256: str
    after_sha256: str
    sites: tuple[SiteEdit, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be changed for one cause.

    Attributes:
        cause: the cause's key.
        replacement: what comes in its place for most sites; None when nothing was chosen.
        candidate: the evidence for it; None when a person named it (`--to`) and it is not among the candidates.
        files: in order of path.
        refused: in order of path and position.
        kind: what does not fit at the cause's sites.
    """

    cause: str
    replacement: str | None
    candidate: Candidate | None
    files: tuple[FilePlan, ...]
    refused: tuple[RefusedSite, ...]
    kind: CauseKind = CauseKind.MISSING_ATTRIBUTE

    def only(self, paths: Collection[str]) -> Plan:
        """The plan for some of its files."""
        return replace(self, files=tuple(file for file in self.files if file.path in paths))

    def where(self, keep: Callable[[SiteEdit], bool]) -> Plan:
        """The plan for some of its sites.

        Args:
            keep: tells which.

        Returns:
            The plan without the others, and without files that have none left.
        """
        files = (replace(file, sites=tuple(filter(keep, file.sites))) for file in self.files)
        return replace(self, files=tuple(file for file in files if file.sites))


def in_order(refused: Iterable[RefusedSite]) -> tuple[RefusedSite, ...]:
    """Refused sites by path and position."""
    return tuple(sorted(refused, key=lambda one: (one.site.reference.path, one.site.reference.position)))
