"""What a run changes in a file, in bytes, so that each content can be made from the other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from netra_repair.errors import JournalError
from netra_repair.images import Image


class Side(StrEnum):
    """One of the two contents of a changed file."""

    BEFORE = "before"
    AFTER = "after"

    @property
    def other(self) -> Side:
        """The other one."""
        return Side.AFTER if self is Side.BEFORE else Side.BEFORE


@dataclass(frozen=True, slots=True)
class Splice:
    """Bytes that were replaced.

    Attributes:
        start: where they stood in the file before.
        old: what went.
        new: what came.
    """

    start: int
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What a run changes in one file.

    Attributes:
        path: relative to the project's root.
        before_sha256: of the bytes before.
        after_sha256: of the bytes after.
        splices: in order, not overlapping.
    """

    path: str
    before_sha256: str
    after_sha256: str
    splices: tuple[Splice, ...]

    def side(self, data: bytes) -> Side | None:
        """Which side a file's bytes are; None when neither."""
        digest = hashlib.sha256(data).hexdigest()
        return {self.before_sha256: Side.BEFORE, self.after_sha256: Side.AFTER}.get(digest)

    def turned(self, data: bytes, to: Side) -> bytes:
        """The file's bytes on one side, made from those on the other.

        Args:
            data: the bytes on the other side.
            to: which side is wanted.

        Returns:
            The bytes.

        Raises:
            JournalError: when what comes out is not what the digest says: the journal is damaged.
        """
        parts: list[bytes] = []
        done = grown = 0
        for splice in self.splices:
            go, come = (splice.old, splice.new) if to is Side.AFTER else (splice.new, splice.old)
            start = splice.start if to is Side.AFTER else splice.start + grown
            grown += len(splice.new) - len(splice.old)
            parts += [data[done:start], come]
            done = start + len(go)
        made = b"".join([*parts, data[done:]])
        if self.side(made) is not to:
            raise JournalError(f"the journal of {self.path} does not give the bytes {to}", "restore it from a backup")
        return made


def change_of(image: Image) -> Change:
    """What a file's image changes, in bytes."""
    source = image.source
    return Change(
        image.path,
        source.digest,
        hashlib.sha256(image.after).hexdigest(),
        tuple(
            Splice(edit.span.start, source.data[edit.span.start : edit.span.end], edit.text.encode(source.encoding))
            for edit in image.edits
        ),
    )
