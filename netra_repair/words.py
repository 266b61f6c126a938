"""Which files of a project have a word: found once for all words, so that no file is searched in vain."""

from __future__ import annotations

from functools import cached_property

from netra_repair.project import Project
from netra_repair.source import bytes_of

# Every byte that ends a word becomes a blank. Bytes above ASCII are of words, whatever the encoding.
_BLANKED = bytes(byte if byte > 0x7F or chr(byte).isalnum() or byte == ord("_") else 0x20 for byte in range(0x100))


def words_of(data: bytes) -> set[bytes]:
    """The distinct words of a text: runs of letters, digits and `_`."""
    return set(data.translate(_BLANKED).split())  # not by a regular expression, which takes several times as long


class Words:
    """An index of the words in a project's Python files: of identifiers, and whatever else is spelled like one.

    Args:
        project: whose sources.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._order = {path: number for number, path in enumerate(project.sources)}

    def files(self, *words: str) -> list[str]:
        """The files that have one of some words, in the project's order.

        A name beyond ASCII is found in the files that are UTF-8 and spell it in the same way.

        Args:
            words: whole words.
        """
        found = {path for word in words for path in self._index.get(word.encode("utf-8", "surrogatepass"), ())}
        return sorted(found, key=self._order.__getitem__)

    def prepare(self) -> None:
        """Looks for the words now, and not when the first one is asked for."""
        _ = self._index

    def forget(self) -> None:
        """Takes notice that files have been written: they are read again when they are needed."""
        self.__dict__.pop("_index", None)

    @cached_property
    def _index(self) -> dict[bytes, list[str]]:
        index: dict[bytes, list[str]] = {}
        for path in self._project.sources:
            for word in words_of(bytes_of(self._project.root / path)):
                if word in index:
                    index[word].append(path)
                else:
                    index[word] = [path]
        return index
