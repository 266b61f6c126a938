"""Runs LibCST's RenameCommand or rope on a tree, inside the environment of the peers.

python peer_runner.py libcst ROOT OLD NEW MODULE:CLASS …
python peer_runner.py rope ROOT OLD NEW FILE OFFSET
"""

from __future__ import annotations

import sys
from pathlib import Path


def libcst_rename(root: Path, old: str, new: str, owners: list[str]) -> None:
    """Every file that names the attribute; a file that it cannot parse or dies at is left alone."""
    import libcst
    from libcst.codemod import CodemodContext
    from libcst.codemod.commands.rename import RenameCommand
    from libcst.metadata import MetadataWrapper

    # Only the new name may have a colon, which says where the module ends: without one, imports of the class become
    # imports from it.
    names = [{"old_name": f"{owner.replace(':', '.')}.{old}", "new_name": f"{owner}.{new}"} for owner in owners]
    for each in names:
        RenameCommand(CodemodContext(), **each)  # names that it refuses are no fault of a file
    for path in root.rglob("*.py"):
        data = path.read_bytes()
        if old.encode() not in data:
            continue
        try:
            module = libcst.parse_module(data)
            for each in names:
                wrapper = MetadataWrapper(module)
                context = CodemodContext(filename=str(path), wrapper=wrapper)
                module = RenameCommand(context, **each).transform_module(wrapper.module)
        except Exception:  # noqa: S112 - whatever it is, this tool cannot mend this file
            continue
        if module.bytes != data:
            path.write_bytes(module.bytes)


def rope_rename(root: Path, old: str, new: str, file: str, offset: int) -> None:
    """From the definition at a byte offset, in the files that name it."""
    from rope.base.project import Project  # type: ignore[import-not-found] # only in the environment of the peers
    from rope.refactor.rename import Rename  # type: ignore[import-not-found]

    project = Project(str(root), ropefolder=None, ignore_syntax_errors=True)
    source = root / file
    position = len(source.read_bytes()[:offset].decode().replace("\r\n", "\n"))
    named = [path for path in root.rglob("*.py") if old.encode() in path.read_bytes()]
    resources = [project.get_resource(path.relative_to(root).as_posix()) for path in named]
    changes = Rename(project, project.get_resource(file), position).get_changes(
        new, in_hierarchy=True, resources=resources
    )
    project.do(changes)


if __name__ == "__main__":
    tool, place, *words = sys.argv[1:]
    if tool == "libcst":
        libcst_rename(Path(place), words[0], words[1], words[2:])
    else:
        rope_rename(Path(place), words[0], words[1], words[2], int(words[3]))
