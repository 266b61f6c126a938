"""How often names stand where no tool changes them: comments, docstrings, other strings, text files. Counts only."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from netra_repair.folders import BUILT, INSTALLED, MARKS_OF_ENVIRONMENTS, OF_TOOLS
from netra_repair.source import Source, UnreadableSource, bytes_of

_TEXT_FILES = (".md", ".rst", ".txt", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini")
_LARGEST = 8 * 2**20  # bytes; a larger text file is data
_SKIPPED = OF_TOOLS | INSTALLED | BUILT

# Comments and strings; everything else is passed over. Not the tokenizer of the running Python: that refuses what it
# does not know, and takes ten times as long. No possessive quantifiers: Python 3.11 before .4 has them wrong.
_COMMENT_OR_STRING = re.compile(
    r"""
    \#[^\r\n]*
    | \"\"\"(?:[^"\\]|\\.|"(?!""))*\"\"\" | '''(?:[^'\\]|\\.|'(?!''))*'''
    | "(?:[^"\\\r\n]|\\.)*" | '(?:[^'\\\r\n]|\\.)*'
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"\w+")
_PREFIX = re.compile(r"(?<!\w)[A-Za-z]{1,2}\Z")
_FIELD = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Mentions:
    """How often one name stands as a whole word.

    Attributes:
        comments: in comments of Python files.
        docstrings: in docstrings.
        strings: in other strings, those that are looked up as attributes included, and not in the braces of f-strings.
        texts: in documentation and configuration.
    """

    comments: int = 0
    docstrings: int = 0
    strings: int = 0
    texts: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.comments + self.docstrings + self.strings + self.texts


def counted(root: Path, sources: Iterable[str], names: Collection[str]) -> Mapping[str, Mentions]:
    """Counts names in a project.

    Files that cannot be read or decoded count for nothing; neither do text files that are larger than 8 MiB, or lie in
    hidden folders (`.github` is looked into), environments, caches or build output.

    Args:
        root: the project's root.
        sources: its Python files, relative to it.
        names: identifiers.

    Returns:
        The counts for each of the names.
    """
    if not names:
        return {}
    words = _Words(names)
    for path in sources:
        words.count_source(root, path)
    for file in _text_files(root):
        words.count_text(file)
    kinds = [field.name for field in fields(Mentions)]
    return {name: Mentions(**{kind: words.found[kind, name] for kind in kinds}) for name in names}


class _Words:
    """The counts so far, by kind and name."""

    def __init__(self, names: Collection[str]) -> None:
        self.found: Counter[tuple[str, str]] = Counter()
        self._raw = [name.encode() for name in names]
        self._names = frozenset(names)

    def count_source(self, root: Path, path: str) -> None:
        data = bytes_of(root / path)
        # Other encodings write ASCII names in the same bytes, and names in other scripts are rare: then look closely.
        if not any(name in data for name in self._raw) and (data.isascii() or all(map(bytes.isascii, self._raw))):
            return
        try:
            text = Source.of(path, data).text
        except UnreadableSource:
            return
        for kind, part in _parts(text):
            self._add(kind, part)

    def count_text(self, file: Path) -> None:
        data = bytes_of(file)
        if any(name in data for name in self._raw):
            self._add("texts", data.decode("utf-8", "replace"))

    def _add(self, kind: str, text: str) -> None:
        self.found.update((kind, name) for name in _WORD.findall(text) if name in self._names)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """The comments, docstrings and other strings of a Python file, with what they are."""
    behind = 0
    before = ""  # the last character of code
    for match in _COMMENT_OR_STRING.finditer(text):
        prefix = _PREFIX.search(text, max(behind, match.start() - 2), match.start())
        begin = match.start() if prefix is None else prefix.start()
        before = text[behind:begin].rstrip()[-1:] or before
        behind = match.end()
        if match[0].startswith("#"):
            yield "comments", match[0]
            continue
        begins_line = not text[text.rfind("\n", 0, begin) + 1 : begin].strip()
        is_docstring = begins_line and before in ("", ":")
        before = '"'
        is_formatted = prefix is not None and "f" in prefix[0].lower()
        yield "docstrings" if is_docstring else "strings", _FIELD.sub("", match[0]) if is_formatted else match[0]


def _text_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        if folder != str(root) and not MARKS_OF_ENVIRONMENTS.isdisjoint([*files, *folders]):
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in _SKIPPED and (name[0] != "." or name == ".github")]
        for name in files:
            file = Path(folder, name)
            if name.endswith(_TEXT_FILES) and file.is_file() and file.stat().st_size <= _LARGEST:
                yield file
