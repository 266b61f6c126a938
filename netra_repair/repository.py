"""A git repository, asked without changing anything. Nothing of the user's settings changes the answers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from netra_repair.source import Source, UnreadableSource

_SECONDS = 10.0
# What a call may print before it is cut: a diff of a huge commit is not worth more.
_BYTES = 32 * 1024 * 1024

# These make the output, and what git runs on the way, independent of any configuration.
_SETTINGS = (
    "core.quotePath=off",
    "core.fsmonitor=false",
    "core.hooksPath=" + os.devnull,
    "diff.renames=true",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.suppressBlankEmpty=false",
    "diff.relative=false",
    "diff.orderFile=" + os.devnull,
    "log.showSignature=false",
    "log.follow=false",
    "log.diffMerges=separate",
    "status.renames=false",
    "color.ui=false",
)
# A hook or a worktree of the caller's must not decide which repository is asked.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_EXTERNAL_DIFF")
_FIXED = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """A file of a commit.

    Attributes:
        commit: its full hash.
        before: the file in the parent, relative to the repository's top; None when it was added.
        after: the file in the commit; None when it was deleted.
    """

    commit: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Search:
    """What a search of the history found.

    Attributes:
        changes: newest commit first.
        complete: whether git came to an end within its time and limit.
    """

    changes: tuple[Changed, ...]
    complete: bool


class Repository:
    """Asks git about the project.

    Args:
        root: the project; the repository may begin above it.
        seconds: how long one call may take.
    """

    def __init__(self, root: Path, seconds: float = _SECONDS) -> None:
        self.root = root
        self._seconds = seconds
        self._program = shutil.which("git")

    @cached_property
    def unavailable(self) -> str | None:
        """Why nothing is known of the project's history; None when git answers."""
        if self._program is None:
            return "git is not installed"
        if self._place is None:
            return "not a git repository, or one that git refuses to read"
        return None if self._run("rev-parse", "--verify", "-q", "HEAD") else "the repository has no commit"

    @cached_property
    def shallow(self) -> bool:
        """Whether the history was cut off when the repository was cloned."""
        return (self._run("rev-parse", "--is-shallow-repository") or b"").strip() == b"true"

    def dirty(self) -> frozenset[str]:
        """Tracked files that differ from the last commit.

        Returns:
            Their paths relative to the project's root; empty without git.
        """
        return frozenset(path for code, path in self._status() if code not in ("??", "!!"))

    @cached_property
    def tracked(self) -> frozenset[str]:
        """Files that git knows, relative to the project's root; empty without git."""
        listed = self._run("ls-files", "-z", "--cached")
        return frozenset(_names(listed or b""))

    def search(self, pattern: str, paths: Collection[str], *, follow: bool = False, limit: int = 40) -> Search:
        """Finds the commits whose changes touch a pattern.

        Args:
            pattern: a POSIX extended regular expression.
            paths: files relative to the project's root, or git's patterns.
            follow: whether the one file is followed through its renames, and every changed line is looked at; else
                only changes of how often the pattern stands in a file count, which is much faster.
            limit: how many commits are looked for.

        Returns:
            The files that these commits changed.
        """
        how = ["--follow", f"-G{pattern}"] if follow else ["--pickaxe-regex", f"-S{pattern}"]
        fixed = ["--format=%x00%x00%H", "--name-status", "-z", "-M", "--no-ext-diff", "--no-textconv"]
        shown = self._run("log", *fixed, f"--max-count={limit}", *how, "--", *paths)
        if shown is None:
            return Search((), False)
        changes = tuple(_changes(shown))
        return Search(changes, len({change.commit for change in changes}) < limit)

    def source(self, commit: str, path: str) -> Source | None:
        """A file as it was.

        Args:
            commit: any name of a commit, "0123abc^".
            path: relative to the repository's top.

        Returns:
            The source; None when it was not there, or cannot be decoded.
        """
        data = self._run("cat-file", "blob", f"{commit}:{path}")
        try:
            return None if data is None else Source.of(path, data)
        except UnreadableSource:
            return None

    def changed_lines(self, commit: str | None) -> list[tuple[list[str], list[str]]]:
        """The lines that a commit took out of Python files and put in.

        Args:
            commit: its hash; None for what is not committed yet.

        Returns:
            For each hunk the lines before and after, without the surroundings.
        """
        command = ["diff", "HEAD"] if commit is None else ["show", "--format=", commit]
        options = ["--unified=0", "-M", "--no-ext-diff", "--no-textconv", "--no-color"]
        shown = self._run(*command, *options, "--", "*.py")
        return list(_hunks((shown or b"").decode("utf-8", "replace")))

    def above(self, path: str) -> str:
        """A path of the project relative to the repository's top."""
        return f"{self._place or ''}{path}"

    @cached_property
    def _place(self) -> str | None:
        """Where the project lies in the repository, "" or "sub/"; None outside of one."""
        shown = self._run("rev-parse", "--show-prefix")
        return None if shown is None else os.fsdecode(shown).removesuffix("\n")

    def _status(self) -> Iterator[tuple[str, str]]:
        shown = self._run("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", ".")
        prefix = self._place or ""
        for entry in _names(shown or b""):
            yield entry[:2], entry[3:].removeprefix(prefix)

    def _run(self, *arguments: str) -> bytes | None:
        """What git prints; None when it fails or takes too long."""
        if self._program is None:
            return None
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN} | _FIXED
        try:
            done = subprocess.run(  # nosec B603  # git, by its path
                [self._program, "--no-pager", *settings, *arguments],
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout[:_BYTES] if done.returncode == 0 else None


def _names(listed: bytes) -> list[str]:
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def _changes(shown: bytes) -> Iterator[Changed]:
    """Reads `log -z --name-status`: status and names, each ended by a NUL."""
    for entry in re.split(rb"\0\0(?=[0-9a-f]{40,64}(?:\0|\n|$))", b"\0" + shown):
        commit, _, rest = entry.partition(b"\0")
        words = [word.lstrip(b"\n") for word in rest.split(b"\0") if word.strip(b"\n")]
        index = 0
        while index + 1 < len(words):
            status, name = words[index][:1], os.fsdecode(words[index + 1])
            if status in (b"R", b"C") and index + 2 < len(words):
                yield Changed(commit.decode(), name, os.fsdecode(words[index + 2]))
                index += 3
                continue
            yield Changed(commit.decode(), None if status == b"A" else name, None if status == b"D" else name)
            index += 2


def _hunks(diff: str) -> Iterator[tuple[list[str], list[str]]]:
    removed: list[str] = []
    added: list[str] = []
    inside = False
    for line in diff.split("\n"):
        if line.startswith(("@@", "diff ")):
            if removed or added:
                yield removed, added
            removed, added, inside = [], [], line.startswith("@@")
        elif inside and line.startswith("-"):
            removed.append(line[1:])
        elif inside and line.startswith("+"):
            added.append(line[1:])
    if removed or added:
        yield removed, added
