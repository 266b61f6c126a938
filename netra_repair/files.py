"""The project's files, parsed once each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from netra_repair.excerpts import Excerpts, Stretch
from netra_repair.project import Project
from netra_repair.source import Source, UnparsableSource, UnusableSource
from netra_repair.syntax import Syntax

# Syntax trees are large (some 10 MB for 1,000 lines), and the sites of a cause are visited file by file.
_KEPT = 32

# A file, and what of it was left out.
_Part = tuple[str, tuple[Stretch, ...]]


class Files:
    """Reads and parses files of a project, and keeps the last ones.

    Args:
        project: whose files.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._kept: OrderedDict[_Part, Syntax | UnusableSource] = OrderedDict()
        self._excerpts: dict[str, Excerpts | None] = {}

    @property
    def root(self) -> Path:
        """The project's root."""
        return self._project.root

    def source(self, path: str) -> Source:
        """A file's bytes and text.

        Args:
            path: relative to the project's root.

        Returns:
            The source, whether or not it parses.

        Raises:
            UnreadableSource: when it cannot be read or decoded.
        """
        kept = self._kept.get((path, ()))
        return kept.source if isinstance(kept, Syntax) else Source.read(self._project.root, path)

    def syntax(self, path: str) -> Syntax:
        """A file's syntax tree.

        Args:
            path: relative to the project's root.

        Returns:
            The parsed file.

        Raises:
            UnreadableSource: when it cannot be read or decoded.
            UnparsableSource: when it does not parse.
        """
        return self._parsed((path, ()))

    def around(self, path: str, offsets: Iterable[int]) -> Syntax:
        """The syntax tree of what matters to some places of a file.

        Args:
            path: relative to the project's root.
            offsets: of bytes in it.

        Returns:
            The functions and classes that hold the places, and the module's own statements. What is asked of other
            places is not answered.

        Raises:
            UnreadableSource: when the file cannot be read or decoded.
            UnparsableSource: when it does not parse.
            ValueError: when the file has changed, so that an offset is not between two characters.
        """
        if (path, ()) in self._kept:
            return self.syntax(path)
        source = self.source(path)
        if path not in self._excerpts:
            self._excerpts[path] = Excerpts.of(source)
        excerpts = self._excerpts[path]
        if excerpts is None:
            return self.syntax(path)
        try:
            return self._parsed((path, excerpts.left_out(map(source.index_of_offset, offsets))))
        except UnparsableSource:
            return self.syntax(path)

    def _parsed(self, part: _Part) -> Syntax:
        kept = self._kept.get(part)
        if kept is None:
            path, left_out = part
            try:
                kept = Syntax.parse(self.source(path), self._project.module_of(path), left_out)
            except UnusableSource as error:
                kept = error
            self._kept[part] = kept
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(part)
        if isinstance(kept, Syntax):
            return kept
        raise kept

    def forget(self, paths: Iterable[str]) -> None:
        """Reads the files anew when they are asked for again: they have been written.

        Args:
            paths: relative to the project's root.
        """
        written = frozenset(paths)
        for path in written:
            self._excerpts.pop(path, None)
        for part in [part for part in self._kept if part[0] in written]:
            del self._kept[part]
