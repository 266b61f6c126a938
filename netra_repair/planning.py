"""Planning: the edits that put a replacement at a cause's sites, each of them proven, and refusals for the rest."""

from __future__ import annotations

import difflib
import keyword
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from netra_repair.candidates import Candidate, Decision
from netra_repair.causes import RootCause, Site
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind
from netra_repair.disk import is_writable
from netra_repair.edits import spliced
from netra_repair.errors import PlanError
from netra_repair.fitting import Fitter
from netra_repair.images import shown
from netra_repair.plan import FilePlan, Plan, RefusedSite, SiteEdit, in_order
from netra_repair.references import Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.source import Source, UnparsableSource, UnreadableSource
from netra_repair.syntax import Syntax
from netra_repair.tree import difference


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Makes plans for a project in its present state.

    Attributes:
        root: the project's root.
        read: parses what a file has around some offsets; raises UnreadableSource or UnparsableSource.
        definitions: tells what classes and modules have.
        left_out: files that are never edited, and why.
        dirty: files with changes that are not committed, which are left alone.
    """

    root: Path
    read: Callable[[str, Sequence[int]], Syntax]
    definitions: Definitions
    left_out: Mapping[str, Refusal]
    dirty: Collection[str] = ()

    def build(
        self,
        cause: RootCause,
        replacement: str | None,
        alternative: Callable[[Site], Candidate | None] = lambda _: None,
        *,
        is_called: bool = False,
    ) -> Plan:
        """Makes the plan of a cause.

        An imported name is replaced as `from m import new as old`, and `from m import old as o` as
        `from m import new as o`: whatever else uses the name in the file, or imports it from there, goes on to work.

        Args:
            cause: what is missing, and where.
            replacement: the attribute to put there, or for call kinds the parameter; None refuses every site.
            alternative: what else fits a site that the replacement does not fit, where that is certain.
            is_called: whether places of the cause that are mended already call it.

        Returns:
            The plan. Every site of the cause is in it or among its refused ones.

        Raises:
            PlanError: when the owner has nothing of the replacement's name, or a file has changed since the analysis.
        """
        fitter = Fitter(cause, self.definitions, is_called=is_called)
        if replacement is not None:
            _check(cause, replacement, fitter.names)
        files: list[FilePlan] = []
        refused: list[RefusedSite] = []
        work = _Work(cause, replacement, alternative, fitter)
        sites = sorted(cause.sites, key=lambda site: (site.reference.path, site.reference.position))
        for path, group in groupby(sites, key=lambda site: site.reference.path):
            file, left = self._file(path, list(group), work)
            files += [file] if file else []
            refused += left
        known = {candidate.name: candidate for candidate in cause.ranking.candidates}
        return Plan(cause.key, replacement, known.get(replacement or ""), tuple(files), in_order(refused), cause.kind)

    def _file(self, path: str, sites: Sequence[Site], work: _Work) -> tuple[FilePlan | None, list[RefusedSite]]:
        syntax = self._usable(path, [site.reference.name.start for site in sites])
        if isinstance(syntax, Refusal):
            return None, [RefusedSite(site, site.refusal or syntax) for site in sites]
        decided = [(site, work.decided(site, syntax)) for site in sites]
        refused = [RefusedSite(site, found) for site, found in decided if isinstance(found, Refusal)]
        edited = [found for _, found in decided if isinstance(found, SiteEdit)]
        if not edited:
            return None, refused
        proven, unproven = _proven(syntax.source, edited)
        refused += unproven
        if not proven:
            return None, refused
        after = _after(syntax.source, proven)
        return FilePlan(path, syntax.source.digest, after.digest, tuple(proven)), refused

    def _usable(self, path: str, places: Sequence[int]) -> Syntax | Refusal:
        """The parsed file, or why no site in it can be changed."""
        if path in self.left_out:
            return self.left_out[path]
        try:
            syntax = self.read(path, places)
        except UnreadableSource as error:
            return Refusal(Reason.UNREADABLE, f"the file {error.reason}")
        except UnparsableSource as error:
            return Refusal(Reason.SYNTAX_ERROR, f"the file {error.reason}")
        real = self.root.resolve() / path
        if real.resolve() != real:
            return Refusal(Reason.SYMLINK, f"the file is a link, or below one, to {real.resolve()}: change it there")
        if not is_writable(real):
            return Refusal(Reason.READ_ONLY, "the file is read-only: make it writable")
        if path in self.dirty:
            return Refusal(Reason.DIRTY, "the file has changes that are not committed: commit them first")
        return syntax


@dataclass(frozen=True, slots=True)
class _Work:
    """One cause with what is to be put at its sites."""

    cause: RootCause
    replacement: str | None
    alternative: Callable[[Site], Candidate | None]
    fitter: Fitter

    def decided(self, site: Site, syntax: Syntax) -> SiteEdit | Refusal:
        """What becomes of one site in a file that can be changed."""
        refusal = site.refusal or self._unfit(site)
        if refusal is not None:
            return refusal
        if syntax.source.slice(site.reference.name) != site.reference.attribute:
            raise PlanError(f"{site.reference.path} has changed since it was analysed", "scan again")
        if self.replacement is None:
            tie = self.cause.ranking.decision is Decision.TIE
            return Refusal(Reason.TIE if tie else Reason.NO_CANDIDATE, self.cause.ranking.reason)
        first = self._edited(site, syntax, self.replacement)
        if isinstance(first, SiteEdit):
            return first
        other = self.alternative(site)
        second = self._edited(site, syntax, other.name) if other is not None else first
        return second if isinstance(second, SiteEdit) else first

    def _unfit(self, site: Site) -> Refusal | None:
        """Why a site is left alone whatever would be put there."""
        use = site.reference.use
        if use in (Use.ASSIGNMENT, Use.DELETION):
            return Refusal(Reason.NOT_A_LOAD, f"the attribute is not used here, this is its {use}")
        if site.reference.guard is not None:
            return Refusal(Reason.GUARDED, site.reference.guard.value)
        if not site.proofs:
            return Refusal(Reason.UNKNOWN_RECEIVER, "nobody can tell what stands left of the dot")
        return None

    def _edited(self, site: Site, syntax: Syntax, name: str) -> SiteEdit | Refusal:
        fit = self.fitter.fit(site, syntax, name)
        if isinstance(fit, Refusal):
            return fit
        try:
            for edit in fit.edits:
                edit.text.encode(syntax.source.encoding)
        except UnicodeEncodeError:
            return Refusal(
                Reason.UNENCODABLE, f"`{name}` cannot be written in the file's encoding, {syntax.source.encoding}"
            )
        return SiteEdit(site, name, fit.edits, *shown(syntax.source, site.reference, fit.edits), fit.note)


def _proven(source: Source, sites: Sequence[SiteEdit]) -> tuple[Sequence[SiteEdit], list[RefusedSite]]:
    """The sites whose edits change what they say and nothing else, by the syntax tree; without those that do not."""
    if _fault(source, sites) is None:
        return sites, []
    faults = [(site, _fault(source, [site])) for site in sites]
    proven = [site for site, fault in faults if fault is None]
    together = _fault(source, proven)
    return ([] if together else proven), [
        RefusedSite(site.site, Refusal(Reason.NOT_PROVEN, f"the edit cannot be proven: {fault or together}"))
        for site, fault in faults
        if fault or together
    ]


def _fault(source: Source, sites: Sequence[SiteEdit]) -> str | None:
    return difference(source, _after(source, sites), [edit for site in sites for edit in site.edits])


def _after(source: Source, sites: Sequence[SiteEdit]) -> Source:
    return Source.of(source.path, spliced(source, [edit for site in sites for edit in site.edits]))


def _check(cause: RootCause, replacement: str, names: Collection[str]) -> None:
    """Refuses a replacement that a person misspelled."""
    if replacement in names and replacement.isidentifier() and not keyword.iskeyword(replacement):
        return
    close = ", ".join(difflib.get_close_matches(replacement, sorted(names), n=3, cutoff=0.4))
    what = "attribute" if cause.kind in (CauseKind.MISSING_ATTRIBUTE, CauseKind.MISSING_IMPORT) else "parameter"
    raise PlanError(
        f"{cause.owner.name if what == 'attribute' else cause.key} has no {what} {replacement!r}",
        f"name one that it has: {close}" if close else "name one that it has",
    )
