"""The project's files, parsed once each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from netra_repair.project import Project
from netra_repair.source import Source, UnusableSource
from netra_repair.syntax import Syntax

# Syntax trees are large (some 10 MB for 1,000 lines), and the sites of a cause are visited file by file.
_KEPT = 32


class Files:
    """Reads and parses files of a project, and keeps the last ones.

    Args:
        project: whose files.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._kept: OrderedDict[str, Syntax | UnusableSource] = OrderedDict()

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
        kept = self._kept.get(path)
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
        kept = self._kept.get(path)
        if kept is None:
            try:
                kept = Syntax.parse(Source.read(self._project.root, path), self._project.module_of(path))
            except UnusableSource as error:
                kept = error
            self._kept[path] = kept
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(path)
        if isinstance(kept, Syntax):
            return kept
        raise kept

    def forget(self, paths: Iterable[str]) -> None:
        """Reads the files anew when they are asked for again: they have been written.

        Args:
            paths: relative to the project's root.
        """
        for path in paths:
            self._kept.pop(path, None)
