"""A plan: the edits that put one replacement in place of one missing thing, and the sites it refuses, with reasons."""

from __future__ import annotations

from dataclasses import dataclass

from netra_repair.candidates import Candidate
from netra_repair.causes import Site
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
        after: as it will be.
    """

    site: Site
    replacement: str
    edits: tuple[Edit, ...]
    before: str
    after: str


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
    """

    cause: str
    replacement: str | None
    candidate: Candidate | None
    files: tuple[FilePlan, ...]
    refused: tuple[RefusedSite, ...]
