"""What files become under plans: the bytes as they are, the edits, and the bytes they give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from netra_repair.edits import Edit, spliced
from netra_repair.errors import PlanError
from netra_repair.plan import FilePlan, Plan, SiteEdit
from netra_repair.references import Reference
from netra_repair.source import Source, Span, UnreadableSource

_AGAIN = "make the plan again"


@dataclass(frozen=True)
class Image:
    """One file before and after.

    Attributes:
        source: as it is.
        edits: of every plan that touches it, in order, each once.
        after: the bytes they give.
    """

    source: Source
    edits: tuple[Edit, ...]
    after: bytes

    @property
    def path(self) -> str:
        """The file, relative to the project's root."""
        return self.source.path


def images(plans: Sequence[Plan], root: Path) -> tuple[Image, ...]:
    """What the files of some plans become when all of them are carried out.

    The plans are made for the same bytes, so plans of several causes may touch one file, and any of them may be left
    out. The result is computed from the edits alone: `FilePlan.after_sha256` is not asked, since a person may have
    taken sites out of a plan file.

    Args:
        plans: of one or several causes.
        root: the project's root, whose files are read.

    Returns:
        One image for each file, in order of path.

    Raises:
        PlanError: when a file is not there, lies outside the root or has changed since the plan was made, when a
            site's edits are not what turns its text before into its text after, or when edits overlap.
    """
    files: dict[str, list[FilePlan]] = {}
    for plan in plans:
        for file in plan.files:
            files.setdefault(file.path, []).append(file)
    owners: dict[Path, str] = {}
    for path in files:
        other = owners.setdefault(_real(root, path), path)
        if other != path:
            raise PlanError(f"{path} and {other} are the same file", "take one of them out of the plan")
    return tuple(_image(root, path, files[path]) for path in sorted(files))


def real_path(root: Path, path: str) -> Path:
    """Where a file of the project really lies, links followed.

    Args:
        root: the project's root.
        path: the file, relative to it, with forward slashes.

    Returns:
        The path on disk.

    Raises:
        ValueError: when the path is absolute, climbs, or leads out of the root; the message says so.
    """
    if not is_relative(path):
        raise ValueError(f"expected a path relative to the project's root, got {path!r}")
    real = (root / path).resolve()
    if not real.is_relative_to(root.resolve()):
        raise ValueError(f"{path} leads out of the project, to {real}")
    return real


def is_relative(path: str) -> bool:
    """Whether a path is written the way this tool writes them: relative, forward slashes, no dots that climb."""
    pure = PurePosixPath(path)
    return path == str(pure) != "." and not pure.is_absolute() and ".." not in pure.parts and "\0" not in path


def extent(reference: Reference, edits: Iterable[Edit]) -> Span:
    """The bytes whose text a site shows before and after: its call or expression, and whatever its edits touch."""
    whole = reference.call or reference.expression
    spans = [whole, reference.expression, *(edit.span for edit in edits)]
    return Span(min(span.start for span in spans), max(span.end for span in spans))


def shown(source: Source, reference: Reference, edits: Sequence[Edit]) -> tuple[str, str]:
    """A site's text before and after its own edits.

    Args:
        source: the file.
        reference: the place.
        edits: of this site.

    Returns:
        Both texts.

    Raises:
        ValueError: as `spliced`.
    """
    whole = extent(reference, edits)
    return source.slice(whole), spliced_part(source, whole, edits).decode(source.encoding)


def spliced_part(source: Source, part: Span, edits: Iterable[Edit]) -> bytes:
    """What a part of a file becomes.

    Args:
        source: the file.
        part: which bytes of it.
        edits: that lie inside of it.

    Returns:
        The new bytes of the part.

    Raises:
        ValueError: as `spliced`, and when an edit lies outside of the part.
    """
    piece = Source(source.path, source.data[part.start : part.end], source.encoding, text="")
    moved = [Edit(Span(edit.span.start - part.start, edit.span.end - part.start), edit.text) for edit in edits]
    return spliced(piece, moved)


def _image(root: Path, path: str, files: Sequence[FilePlan]) -> Image:
    try:
        source = Source.read(root, path)
    except UnreadableSource as error:
        raise PlanError(f"{path} {error.reason}", _AGAIN) from error
    for file in files:
        if file.before_sha256 != source.digest:
            raise PlanError(f"{path} has changed since the plan was made", _AGAIN)
        for site in file.sites:
            _check(source, site)
    edits = tuple(sorted({edit for file in files for site in file.sites for edit in site.edits}))
    try:
        return Image(source, edits, spliced(source, edits))
    except ValueError as error:
        raise PlanError(str(error), _AGAIN) from error


def _check(source: Source, site: SiteEdit) -> None:
    at = site.site.reference.position
    where = f"{source.path}:{at.line}:{at.column}"
    try:
        before, after = shown(source, site.site.reference, site.edits)
    except ValueError as error:
        raise PlanError(f"{where}: {error}", _AGAIN) from error
    if (before, after) != (site.before, site.after):
        raise PlanError(
            f"{where}: the edits turn {before!r} into {after!r}, the plan says {site.before!r} into {site.after!r}",
            _AGAIN,
        )


def _real(root: Path, path: str) -> Path:
    try:
        return real_path(root, path)
    except ValueError as error:
        raise PlanError(str(error), _AGAIN) from error
