"""Issue 674 rebuilt: a project whose tests call a factory that never existed, and what is true of every byte of it."""

from __future__ import annotations

import codecs
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from string import Template

from tests.support.drifted_shapes import (
    ABSENCE,
    CONTEXT_IMPORT,
    DRIFTED,
    FAN_OUT,
    MIGRATED,
    PROJECT,
    RIGHT,
    TALK,
    Shape,
)

ROOT = Path(__file__).resolve().parents[2]
SERVICES = "netra_backend/app/services"
CAUSE = "netra_backend.app.services.user_execution_context.UserExecutionContext.create_for_user"
GONE = "create_for_user"
MEANT = "from_request"

AREAS = "agent billing cache chat export grant import journal memory model prompt quota report search tool".split()
NOUNS = "answer batch budget digest event frame invoice key letter note page plan record slice token trace".split()
LEVELS = ("unit", "unit", "integration", "mission_critical")


class Kind(StrEnum):
    """How a call of the name is meant. The values are what a shape writes with a dollar sign."""

    KEYWORDS = "gone"
    POSITIONS = "posit"
    MISFIT = "misfit"
    RIGHT = "right"


_PLACES: dict[str, str] = {kind.value: chr(0xE000 + number) for number, kind in enumerate(Kind)}
"""What keeps a call's place while the rest of the text is filled in: characters for private use."""

_KINDS = {place: Kind(kind) for kind, place in _PLACES.items()}


@dataclass(frozen=True)
class Call:
    """One call of the name.

    Attributes:
        path: the file, relative to the project.
        offset: of the name's first byte in the file before the fix.
        kind: how it is meant.
        line: the text of the line that the name is on, without its end.
    """

    path: str
    offset: int
    kind: Kind
    line: str


@dataclass(frozen=True)
class DriftedSuite:
    """What was written, and what has to come of it.

    Attributes:
        root: the project.
        calls: the 109 calls of the missing method.
        right: the 700 calls of the same name on other classes.
        absence: the files that assert that the method is absent.
        before: the bytes of every file as it was written.
        after: the bytes of every file after the fix; the same for those that must not be touched.
        broken: the tests that die of the missing method and that a fix mends: the fixable tests.
        misfits: the tests that die of it too, and whose arguments fit nothing.
        hidden: the files that cannot be collected before the fix; their tests are among the broken ones.
    """

    root: Path
    calls: tuple[Call, ...]
    right: tuple[Call, ...]
    absence: tuple[str, ...]
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    broken: frozenset[str]
    misfits: frozenset[str]
    hidden: tuple[str, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """The files that the fix changes."""
        return tuple(path for path, data in self.before.items() if self.after[path] != data)

    def now(self) -> dict[str, bytes]:
        """The bytes of every file as it is on disk now."""
        return {path: (self.root / path).read_bytes() for path in self.before}


@dataclass(frozen=True)
class _File:
    """A shape that was filled in."""

    path: str
    before: bytes
    after: bytes
    calls: tuple[Call, ...]
    broken: tuple[str, ...]
    misfits: tuple[str, ...]
    hidden: bool


def write(folder: Path, *, with_migrated: bool = True, seed: int = 674) -> DriftedSuite:
    """Writes the project into a folder.

    Args:
        folder: an empty one, or one that is not there yet.
        with_migrated: whether some tests call `from_request` already; without them three factories fit equally well.
        seed: names, users and places of the files are drawn from it.

    Returns:
        The truth about it.
    """
    files = list(_files(random.Random(seed), MIGRATED if with_migrated else ()))
    files += [_File(path, data, data, (), (), (), False) for path, data in class_and_siblings()]
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_bytes(file.before)
    calls = sorted((call for file in files for call in file.calls), key=lambda call: (call.path, call.offset))
    return DriftedSuite(
        root=folder,
        calls=tuple(call for call in calls if call.kind is not Kind.RIGHT),
        right=tuple(call for call in calls if call.kind is Kind.RIGHT),
        absence=tuple(shape.path for shape in ABSENCE),
        before={file.path: file.before for file in files},
        after={file.path: file.after for file in files},
        broken=frozenset(f"{file.path}::{name}" for file in files for name in file.broken),
        misfits=frozenset(f"{file.path}::{name}" for file in files for name in file.misfits),
        hidden=tuple(file.path for file in files if file.hidden),
    )


def _files(draw: random.Random, migrated: tuple[Shape, ...]) -> Iterator[_File]:
    words = list(itertools.product(AREAS, NOUNS))
    draw.shuffle(words)
    names = iter(words)
    for shape in (*PROJECT, *TALK, *ABSENCE, *DRIFTED, *FAN_OUT, *RIGHT, *migrated):
        for _ in range(shape.times):
            area, noun = next(names)
            path = shape.path or f"tests/{draw.choice(LEVELS)}/test_${{noun}}.py"
            yield _filled(replace(shape, path=path), f"{area}_{noun}", draw.randrange(1000, 10_000))


def _filled(shape: Shape, noun: str, number: int) -> _File:
    words: dict[str, str] = {
        "noun": noun,
        "Noun": noun.title().replace("_", ""),
        "context": CONTEXT_IMPORT,
        "user": f"user-{number}",
        "other": f"user-{number + 1}",
        "thread": f"thread-{number}",
        "run": f"run-{number}",
        **_PLACES,
    }
    path = Template(shape.path).substitute(words)
    bodies = "".join(Template(shape.body).substitute(words, n=n) for n in range(shape.repeats))
    text = _with_newlines(Template(shape.text).substitute(words) + bodies, shape.newline)
    before, calls = _with_calls(path, text, shape.encoding)
    return _File(
        path=path,
        before=before,
        after=_fixed(text, shape.encoding),
        calls=calls,
        broken=tuple(Template(shape.broken).substitute(words).split()),
        misfits=tuple(Template(shape.misfit).substitute(words).split()),
        hidden=shape.hides,
    )


def _with_newlines(text: str, newline: str) -> str:
    if newline != "mixed":
        return text.replace("\n", newline)
    lines = text.split("\n")
    return "".join(line + "\r\n"[number % 2 :] for number, line in enumerate(lines[:-1])) + lines[-1]


def _with_calls(path: str, text: str, encoding: str) -> tuple[bytes, tuple[Call, ...]]:
    """The bytes as they are before the fix, and where the calls are in them."""
    data = bytearray(codecs.BOM_UTF8 if encoding == "utf-8-sig" else b"")
    encoding = encoding.removesuffix("-sig")
    calls: list[Call] = []
    lines = text.translate({ord(place): GONE for place in _KINDS}).replace("\r", "").split("\n")
    line = 0
    for character in text:
        if kind := _KINDS.get(character):
            calls.append(Call(path, len(data), kind, lines[line]))
        data += GONE.encode() if kind else character.encode(encoding)
        line += character == "\n"
    return bytes(data), tuple(calls)


def _fixed(text: str, encoding: str) -> bytes:
    """The bytes as they are after the fix, made from the text and not from the bytes before."""
    meant = {Kind.KEYWORDS: MEANT, Kind.POSITIONS: MEANT}
    return text.translate({ord(place): meant.get(kind, GONE) for place, kind in _KINDS.items()}).encode(encoding)


def class_and_siblings() -> Iterator[tuple[str, bytes]]:
    """The real class of this repository, and the modules beside it.

    Yields:
        A path in the project, and the file's bytes.
    """
    for path in ("netra_backend/__init__.py", "netra_backend/app/__init__.py"):
        yield path, (ROOT / path).read_bytes()
    for file in sorted((ROOT / SERVICES).glob("*.py")):
        yield f"{SERVICES}/{file.name}", file.read_bytes()
