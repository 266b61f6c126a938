"""plan.json: plans as a file that a person may read, and take sites out of, before it is applied.

    {"schema_version": 1, "tool": "netra 0.1.0", "plans": [{"cause": …, "files": [{"path": …, "sites": […]}], …}]}

Offsets are bytes of the file as it lies on disk. A site may be deleted; what the files become is computed again when
the plan is applied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from netra_repair.errors import PlanError
from netra_repair.images import is_relative
from netra_repair.plan import SCHEMA_VERSION, FilePlan, Plan
from netra_repair.records import RecordError, decoded, encoded, laid_out
from netra_repair.source import Span

_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGAIN = "make the plan again, or take back what was changed in it"


@dataclass(frozen=True, slots=True)
class _Document:
    schema_version: int
    tool: str
    plans: tuple[Plan, ...]


def to_bytes(plans: Sequence[Plan], tool: str) -> bytes:
    """Plans as JSON.

    Args:
        plans: of one or several causes of one project.
        tool: name and version of this tool, for the reader.

    Returns:
        UTF-8, laid out for people.
    """
    document = _Document(SCHEMA_VERSION, tool, tuple(plans))
    # A file name that is not UTF-8 holds lone surrogates, and "\udc80" is how JSON escapes one.
    return laid_out(encoded(document)).encode("utf-8", "backslashreplace") + b"\n"


def from_bytes(data: bytes, name: str) -> tuple[Plan, ...]:
    """Plans from JSON.

    Whether they fit the project's files is not asked here; `images` does.

    Args:
        data: what `to_bytes` gave, perhaps with sites taken out.
        name: how errors call it.

    Returns:
        The plans.

    Raises:
        PlanError: when it is not JSON, of another schema version, a field is missing, unknown or of the wrong kind, a
            path is not inside the project, or edits overlap. It names the field, what was expected and what came.
    """
    try:
        read = json.loads(data)
        if isinstance(read, dict) and read.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise RecordError("schema_version", f"{SCHEMA_VERSION}, which this version reads", read["schema_version"])
        document = decoded(_Document, read)
        for index, plan in enumerate(document.plans):
            _check(plan, f"plans[{index}]")
    except RecordError as error:
        raise PlanError(f"{name}: {error}", _AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{name} is not JSON: {error}", _AGAIN) from error
    return document.plans


def write(path: Path, plans: Sequence[Plan], tool: str) -> None:
    """Writes a plan file.

    Args:
        path: where.
        plans: of one or several causes of one project.
        tool: name and version of this tool, for the reader.

    Raises:
        PlanError: when it cannot be written.
    """
    try:
        path.write_bytes(to_bytes(plans, tool))
    except OSError as error:
        raise PlanError(f"{path} cannot be written: {error.strerror}", "name another file") from error


def read(path: Path) -> tuple[Plan, ...]:
    """Reads a plan file.

    Args:
        path: where.

    Returns:
        Its plans.

    Raises:
        PlanError: when it cannot be read, or as `from_bytes`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}", "name a plan file") from error
    return from_bytes(data, str(path))


def _check(plan: Plan, where: str) -> None:
    seen: set[str] = set()
    for index, file in enumerate(plan.files):
        place = f"{where}.files[{index}]"
        if not is_relative(file.path):
            raise RecordError(f"{place}.path", "a path relative to the project's root, without ..", file.path)
        if file.path in seen:
            raise RecordError(f"{place}.path", "each file once", file.path)
        seen.add(file.path)
        _check_file(file, place)


def _check_file(file: FilePlan, where: str) -> None:
    for name, digest in (("before_sha256", file.before_sha256), ("after_sha256", file.after_sha256)):
        if not _SHA256.fullmatch(digest):
            raise RecordError(f"{where}.{name}", "64 hexadecimal digits", digest)
    edits = []
    for index, site in enumerate(file.sites):
        place = f"{where}.sites[{index}]"
        reference = site.site.reference
        if reference.path != file.path:
            raise RecordError(f"{place}.site.reference.path", repr(file.path), reference.path)
        _check_spans([reference.name, reference.expression, *filter(None, [reference.call])], f"{place}.site.reference")
        _check_spans((edit.span for edit in site.edits), f"{place}.edits")
        edits += [(edit, f"{place}.edits[{number}].span") for number, edit in enumerate(site.edits)]
    edits.sort()
    for (before, _), (edit, place) in pairwise(edits):
        if edit != before and (edit.span.start < before.span.end or edit.span == before.span):
            raise RecordError(place, f"edits that do not overlap, the one before ends at {before.span.end}", edit.span)


def _check_spans(spans: Iterable[Span], where: str) -> None:
    for span in spans:
        if not 0 <= span.start <= span.end:
            raise RecordError(where, "0 ≤ start ≤ end", span)
