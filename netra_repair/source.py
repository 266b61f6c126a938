"""A file's bytes and text, and the one place where positions are converted.

Engines count in four ways: lines and columns of code points from 1, UTF-16 units from 0, UTF-8 bytes from 0, and
offsets into the text.
Here a place is a byte offset into the file as it lies on disk, which is what an edit needs; everything else is
converted from and to that.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import tokenize
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

_BLOCK = 1_024


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place as people and engines say it.

    Attributes:
        line: from 1.
        column: from 1, in code points.
    """

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A range of bytes of a file as it lies on disk.

    Attributes:
        start: offset of the first byte, from 0.
        end: offset after the last byte.
    """

    start: int
    end: int


def bytes_of(file: Path) -> bytes:
    """The bytes of a file that is searched; none when it cannot be read."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


class UnusableSource(Exception):
    """Raised when a file cannot be worked with; one of the two below.

    Args:
        path: the file, relative to the project.
        reason: why, in words for the report.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class UnreadableSource(UnusableSource):
    """Raised when a file cannot be read, or decoded as Python source."""


class UnparsableSource(UnusableSource):
    """Raised when a file cannot be parsed as Python, or not so that every position is certain."""


@dataclass(frozen=True)
class Source:
    """A Python file as it was read.

    Attributes:
        path: relative to the project's root, with forward slashes.
        data: the bytes on disk.
        encoding: the codec its BOM or its coding cookie names, else utf-8; without the "-sig".
        text: the decoded bytes without the BOM, line endings untouched.
    """

    path: str
    data: bytes = field(repr=False)
    encoding: str
    text: str = field(repr=False)

    @classmethod
    def read(cls, root: Path, path: str) -> Source:
        """Reads a file.

        Args:
            root: the project's root.
            path: the file, relative to it.

        Returns:
            The source.

        Raises:
            UnreadableSource: when it cannot be read or decoded.
        """
        try:
            data = (root / path).read_bytes()
        except OSError as error:
            raise UnreadableSource(path, f"cannot be read: {error.strerror}") from error
        return cls.of(path, data)

    @classmethod
    def of(cls, path: str, data: bytes) -> Source:
        """Decodes a file's bytes the way Python does (PEP 263).

        Args:
            path: relative to the project's root, for messages.
            data: the file's bytes.

        Returns:
            The source.

        Raises:
            UnreadableSource: when the declared codec is unknown, or the bytes are not of it.
        """
        try:
            declared, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            encoding = "utf-8" if declared == "utf-8-sig" else declared
            text = data.removeprefix(codecs.BOM_UTF8).decode(encoding)
        except (SyntaxError, UnicodeError, LookupError) as error:
            raise UnreadableSource(path, f"cannot be decoded: {error}") from error
        source = cls(path, data, encoding, text)
        if not source._can_be_cut():
            raise UnreadableSource(path, f"is in {encoding}, whose bytes cannot be told character by character")
        return source

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def slice(self, span: Span) -> str:
        """The text of a span."""
        return self.data[span.start : span.end].decode(self.encoding)

    def span(self, start: int, end: int) -> Span:
        """The span of the characters from `start` up to `end`, both counted from 0 in `text`."""
        return Span(self.offset_of_index(start), self.offset_of_index(end))

    def offset(self, position: Position) -> int:
        """The byte offset of a position; ValueError where the file has no such line or column."""
        return self.offset_of_index(self._index(position.line, position.column - 1))

    def position(self, offset: int) -> Position:
        """The position of a byte offset; ValueError where it is not between two characters of the file."""
        index = self.index_of_offset(offset)
        line = bisect_right(self.line_starts, index)
        return Position(line, index - self.line_starts[line - 1] + 1)

    def utf16(self, offset: int) -> tuple[int, int]:
        """Line and character, both from 0, in UTF-16 units: what the language server protocol counts in."""
        at = self.position(offset)
        start = self.line_starts[at.line - 1]
        return at.line - 1, len(self.text[start : start + at.column - 1].encode("utf-16-le", "surrogatepass")) // 2

    def offset_of_utf8(self, line: int, column: int) -> int:
        """The byte offset of a line from 1 and a column from 0 in UTF-8 bytes: what `ast` and tracebacks count in.

        ValueError where the file has no such line, or the column is not between two characters of it.
        """
        start = self._index(line, 0)
        until = self.line_starts[line] if line < len(self.line_starts) else len(self.text)
        encoded = self.text[start:until].encode("utf-8", "surrogatepass")
        if not 0 <= column <= len(encoded):
            raise ValueError(f"{self.path}:{line} has {len(encoded)} bytes, not {column}")
        return self.offset_of_index(start + len(encoded[:column].decode("utf-8", "surrogatepass")))

    def offset_of_index(self, index: int) -> int:
        """The byte offset of a character, counted from 0 in `text`; ValueError outside of it."""
        if not 0 <= index <= len(self.text):
            raise ValueError(f"{self.path} has {len(self.text)} characters, not {index}")
        if self._fixed_width:
            return self._bom + index
        block = index // _BLOCK
        return self._blocks[block] + len(self.text[block * _BLOCK : index].encode(self.encoding))

    def index_of_offset(self, offset: int) -> int:
        """The character, counted from 0 in `text`, at a byte offset; ValueError inside a character or the BOM."""
        if not self._bom <= offset <= len(self.data):
            raise ValueError(f"{self.path} has no text at byte {offset}")
        if self._fixed_width:
            return offset - self._bom
        block = bisect_right(self._blocks, offset) - 1
        return block * _BLOCK + len(self.data[self._blocks[block] : offset].decode(self.encoding))

    def _index(self, line: int, column: int) -> int:
        if not 1 <= line <= len(self.line_starts):
            raise ValueError(f"{self.path} has {len(self.line_starts)} lines, not {line}")
        start = self.line_starts[line - 1]
        until = self.line_starts[line] if line < len(self.line_starts) else len(self.text)
        if not start <= start + column <= until:
            raise ValueError(f"{self.path}:{line} has no column {column + 1}")
        return start + column

    def _can_be_cut(self) -> bool:
        """Whether the blocks of characters have as many bytes as the codec would write for them.

        Not so where a codec has several ways to write a character (ISO-2022, UTF-7, `unicode_escape`), and the file
        uses another one, or shifts in the middle of a block.
        """
        if self._fixed_width or self.encoding == "utf-8":
            return True
        try:
            last = self.text[(len(self._blocks) - 1) * _BLOCK :]
            return self._blocks[-1] + len(last.encode(self.encoding)) == len(self.data)
        except UnicodeError:
            return False

    @cached_property
    def _bom(self) -> int:
        return len(codecs.BOM_UTF8) if self.data.startswith(codecs.BOM_UTF8) else 0

    @cached_property
    def _fixed_width(self) -> bool:
        return len(self.text) == len(self.data) - self._bom

    @cached_property
    def _blocks(self) -> list[int]:
        """Where each block of characters starts, in bytes: so that a conversion looks at one block, not at the file."""
        full = range(0, len(self.text) - _BLOCK + 1, _BLOCK)
        sizes = (len(self.text[start : start + _BLOCK].encode(self.encoding)) for start in full)
        return list(accumulate(sizes, initial=self._bom))

    @cached_property
    def line_starts(self) -> list[int]:
        """Where each line starts, in characters."""
        # Lines end as in Python's tokenizer: str.splitlines() would also break them at form feeds and U+2028.
        lines = io.StringIO(self.text, newline="")
        starts = [*accumulate(map(len, lines), initial=0)]
        return starts if self.text.endswith(("\r", "\n")) or len(starts) == 1 else starts[:-1]
