"""The words that all reports share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath, PureWindowsPath

from netra_repair.causes import RootCause
from netra_repair.diagnostics import CauseKind
from netra_repair.failures import SuiteResult
from netra_repair.findings import Findings
from netra_repair.owners import Owner, OwnerKind
from netra_repair.references import Reference

TOOL = "netra repair"

# Where an installed or a standard module's path begins to be the same on every machine.
_PORTABLE = re.compile(r"(?:site|dist)-packages|python3(?:\.\d+)?t?")
# A Python file by its absolute path, as exceptions quote it; between parentheses it may hold spaces.
_ABSOLUTE = re.compile(
    r"(?<=\()(?:/|[A-Za-z]:[/\\])[^()\n]*\.pyi?(?=\))|(?:(?<![\w.])/|\b[A-Za-z]:[/\\])[^\s'\"()]+\.pyi?"
)


def tool_version() -> str:
    """The installed version of the tool; "unknown" when it runs from a folder that was never installed."""
    try:
        return version("netra")
    except PackageNotFoundError:
        return "unknown"


def printable(text: str, keep: str = "") -> str:
    """Makes a text safe to show: names of files and tests may hold anything.

    Args:
        text: any text.
        keep: characters that are let through although they cannot be seen, such as the tabs of source code.

    Returns:
        The text with everything invisible but the space written as an escape: control codes, marks that turn the
        direction of writing, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """A number and what is counted: "1 site", "1,234 sites", "0 batches"."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def headline(cause: RootCause) -> str:
    """What is missing on what, in one line, with names in backticks."""
    owner = f"{cause.owner.kind.value} `{_owner_name(cause)}`"
    called = (
        f"`{_owner_name(cause)}()`" if cause.attribute == "__init__" else f"`{_owner_name(cause)}.{cause.attribute}()`"
    )
    match cause.kind:
        case CauseKind.MISSING_ATTRIBUTE:
            return f"{owner} has no attribute `{cause.attribute}`"
        case CauseKind.MISSING_IMPORT:
            return f"{owner} has no `{cause.attribute}` to import"
        case CauseKind.UNEXPECTED_KEYWORD:
            return f"{called} takes no argument `{cause.parameter}`"
        case CauseKind.POSITIONAL_COUNT:
            return f"{called} takes fewer positional arguments than it gets"
        case CauseKind.MISSING_ARGUMENT:
            return f"{called} needs its argument `{cause.parameter}`"


def _owner_name(cause: RootCause) -> str:
    return cause.owner.name if cause.owner.kind is OwnerKind.MODULE else cause.owner.short_name


def scope_of(cause: RootCause) -> str:
    """How far a cause reaches: "109 sites in 86 files, 97 tests broken"."""
    reach = places([site.reference for site in cause.sites])
    return f"{reach}, {counted(len(cause.tests), 'test')} broken" if cause.tests else reach


def places(references: Iterable[Reference]) -> str:
    """How many places in how many files: "109 sites in 86 files"."""
    paths = [reference.path for reference in references]
    return f"{counted(len(paths), 'site')} in {counted(len(set(paths)), 'file')}"


def place(reference: Reference) -> str:
    """A place as editors and terminals understand it, "path:line:column"."""
    return f"{reference.path}:{reference.position.line}:{reference.position.column}"


def cautions(findings: Findings) -> tuple[str, ...]:
    """What a reader must know before trusting a scan, one sentence each, gravest first."""
    told = []
    if not findings.files:
        told.append("no file was analysed: nothing is proven")
    told += findings.warnings
    if findings.suite is not None:
        told += _cautions_of(findings.suite)
    if findings.unresolved:
        modules = ", ".join(f"{module} ({places:,})" for module, places in findings.unresolved)
        told.append(
            f"{counted(len(findings.unresolved), 'import')} could not be resolved, so what they give is unknown "
            f"(is this the project's interpreter?): {modules}"
        )
    told += [f"{blind.path}: the checker could not read it: {blind.reason}" for blind in findings.blind]
    return tuple(told)


def _cautions_of(suite: SuiteResult) -> Iterator[str]:
    if suite.foreign:
        modules = ", ".join(suite.foreign)
        yield (
            f"the tests imported modules of the project from another folder, and prove nothing: {modules}; "
            "name the import root in pytest's `pythonpath`"
        )
    if suite.interrupted is not None:
        yield f"the tests did not come to their end: {suite.interrupted}"
    yield from suite.notes


def definition(owner: Owner) -> str:
    """Where an owner is defined, "path:line"; the word for it when it has no source."""
    return f"{owner.file}:{owner.line}" if has_source(owner) else owner.file


def has_source(owner: Owner) -> bool:
    """Whether an owner is defined in a file: what is built in is not."""
    return not owner.file.startswith("<")


def is_absolute(file: str) -> bool:
    """Whether a path is absolute on any system."""
    return PurePosixPath(file).is_absolute() or PureWindowsPath(file).is_absolute()


def portable(file: str) -> str:
    """A definition's path without what is only true of this machine.

    Args:
        file: relative to the project's root, or absolute.

    Returns:
        A relative path as it is; an absolute one from "site-packages" or "python3.11" on, else its last part.
    """
    if not is_absolute(file):
        return file
    parts = re.split(r"[/\\]", file)
    begins = [index for index, part in enumerate(parts) if _PORTABLE.fullmatch(part)]
    return "/".join(parts[begins[-1] :] if begins else parts[-1:])


def without_machine_paths(message: str) -> str:
    """An exception's message with the absolute paths of Python files made portable."""
    return _ABSOLUTE.sub(lambda path: portable(path[0]), message)


def from_working_folder(root: str, path: str) -> str:
    """A file's path as the one who started the tool would write it, with forward slashes.

    Args:
        root: the project's root as the user gave it.
        path: relative to that.

    Returns:
        Both joined when the root lies below the working folder; else the path as it is.
    """
    folder = PurePosixPath(root.replace("\\", "/"))
    return path if is_absolute(root) or not folder.parts or ".." in folder.parts else f"{folder}/{path}"


def moved_left(text: str) -> list[str]:
    """The lines of a part of a file that begins in the middle of a line: the others as far left as the first one."""
    first, *others = text.splitlines() or [""]
    depths = (len(line) - len(line.lstrip()) for line in others if line.strip())
    depth = min(depths, default=0)
    return [first, *(line[depth:] for line in others)]
