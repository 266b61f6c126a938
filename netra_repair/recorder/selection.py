"""Which collected tests a run is limited to. A wanted entry is a node id, or a file, folder or class for all of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def container(test: str) -> str:
    """The file of a node id; for a conftest.py or `__init__.py` the folder, for all of which it speaks."""
    path = test.partition("::")[0] or "."
    folder, _, name = path.rpartition("/")
    return (folder or ".") if name in ("conftest.py", "__init__.py") else path


def paths(root: str, wanted: Iterable[str]) -> list[str]:
    """What pytest needs to collect for the wanted tests, in their order, without what is not there any more."""
    found = dict.fromkeys(container(test) for test in wanted)
    return [path for path in found if os.path.exists(os.path.join(root, path))]


class Selection:
    """Tells wanted tests.

    Args:
        wanted: the entries.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self._entries = {entry if "::" in entry else container(entry) for entry in wanted}

    def __contains__(self, test: str) -> bool:
        return any(around in self._entries for around in _around(test))


def _around(test: str) -> list[str]:
    """The node id itself and everything it is part of: without parameters, the classes, the file, the folders."""
    path, *names = test.partition("[")[0].split("::")
    folders = path.split("/")
    return [
        test,
        ".",
        *("/".join(folders[: count + 1]) for count in range(len(folders))),
        *("::".join([path, *names[: count + 1]]) for count in range(len(names))),
    ]
