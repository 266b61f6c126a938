"""Sightings: what is made of the places that a checker or a failing test names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest

from netra_repair.causes import Proof, Site
from netra_repair.class_statements import ClassStatements
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind, Diagnostic
from netra_repair.failures import CaseResult, Outcome, Raised, SuiteResult
from netra_repair.files import Files
from netra_repair.owners import Access, Member, Owner
from netra_repair.project import Project
from netra_repair.receivers import ImportReceivers, Receiver
from netra_repair.refusals import Reason
from netra_repair.sightings import Sighter, Sighting
from netra_repair.source import Position, Source, Span
from netra_repair.triage import Triage
from netra_repair.words import Words
from tests.support.repair_plans import write_files

CTX = b"class Ctx:\n    def made(self, user):\n        return user\n\n\nclass Below(Ctx):\n    pass\n"
USE = """\
from pkg.ctx import Ctx
a = Ctx.gone
b = (Ctx
     . gone(1))
c = 'é', Ctx.gone if hasattr(Ctx, "gone") else None
d = Ctx.gone, Ctx.gone
e = Ctx().made(users=1)
"""


@dataclass(frozen=True)
class Told:
    """Receivers that are told by their own text: `Ctx` is the class or an instance, anything else is unknown."""

    owner: Owner
    asked: list[str]
    access: Access = Access.CLASS

    def of(self, source: Source, span: Span) -> Receiver:
        """Tells what an expression is."""
        text = source.slice(span)
        self.asked.append(text)
        known = text.strip() == "Ctx"
        return Receiver(((self.owner, self.access),), "") if known else Receiver((), "the type is Any")

    def ask_ahead(self, source: Source, spans: Iterable[Span]) -> None:
        """Knows at once."""

    def callee(self, source: Source, span: Span) -> Member | None:
        """Tells what a call calls: nobody knows."""
        return None


@dataclass(frozen=True)
class Ground:
    """A small project, its sighter, and what it has asked."""

    root: Path
    sighter: Sighter
    asked: list[str]

    @classmethod
    def of(cls, root: Path, modules: Mapping[str, bytes], access: Access = Access.CLASS) -> Self:
        """The ground of some modules, where `Ctx` is asked in one way."""
        files = {"pkg/__init__.py": b"", **modules}
        write_files(root, files)
        project = Project(root, Path(sys.executable), "3.11.7", (root,), (), tuple(sorted(files)), ())
        definitions = Definitions(root, (root,))
        owner = definitions.named("pkg.ctx.Ctx")
        assert owner is not None
        told = Told(owner, [], access)
        imports, classes = ImportReceivers(project, definitions), ClassStatements(project, definitions, Words(project))
        triage = Triage(definitions, classes)
        return cls(root, Sighter(Files(project), told, imports, definitions, classes, triage), told.asked)

    def seen(self, line: int, start: int, end: int, last: int | None = None) -> Sighting | None:
        """What becomes of a mark of the checker, if it is a sighting."""
        sightings = self.sighter.of_checker([marked(line, start, end, last)]).sightings
        return sightings[0] if sightings else None


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """A project with one class and one user."""
    return Ground.of(tmp_path, {"pkg/ctx.py": CTX, "pkg/use.py": USE.encode()})


def marked(
    line: int, start: int, end: int, last: int | None = None, *, name: str = "gone", path: str = "pkg/use.py"
) -> Diagnostic:
    """A mark of the checker from a line and column to a column, of its last line where it has several."""
    begin, until = Position(line, start), Position(last or line, end)
    message = "Class `Ctx` has no class attribute `gone`"
    return Diagnostic(CauseKind.MISSING_ATTRIBUTE, path, begin, until, name, None, False, message, "pyrefly")


def raised(line: int, end: int | None, *, in_library: bool = False, receiver: str = "pkg.ctx.Below") -> Raised:
    """An AttributeError of a test at the end of a column; None where the interpreter told none."""
    at = None if end is None else Position(line, end)
    bases = (receiver, "pkg.ctx.Ctx", "object")
    return Raised(
        *(CauseKind.MISSING_ATTRIBUTE, "gone", receiver, Access.CLASS, bases, None),
        *("pkg/use.py", line, at, at, in_library, "no gone"),
    )


def of_tests(ground: Ground, one: Raised) -> tuple[Sighting, ...]:
    """What is made of a test that died of it."""
    case = CaseResult("t::a", Outcome.FAILED, True, (one,), 0.1)
    return ground.sighter.of_tests(SuiteResult({"t::a": case}, 1, 1.0, (), ""))


@pytest.mark.parametrize(("line", "start", "end", "last"), [(2, 5, 13, 2), (3, 6, 12, 4), (5, 10, 18, 5)])
def test_a_mark_of_the_checker_is_a_place(ground: Ground, line: int, start: int, end: int, last: int) -> None:
    """Of receiver, dot and name the checker marks, the receiver is asked about, and the place is the name."""
    seen = ground.seen(line, start, end, last)
    assert seen is not None
    assert [text.strip() for text in ground.asked] == ["Ctx"]
    assert Source.read(ground.root, "pkg/use.py").slice(seen.reference.name) == "gone"
    assert (seen.receiver.name, seen.proof) == ("pkg.ctx.Ctx", Proof.TYPE_SERVER)


def test_a_mark_that_the_file_does_not_have_is_left_out(ground: Ground) -> None:
    """A mark behind the end of a file that was written meanwhile is no place, and a file that has gone is listed."""
    assert ground.seen(99, 1, 5) is None
    blind = ground.sighter.of_checker([marked(1, 1, 5, path="pkg/absent.py")]).blind
    assert [each.path for each in blind] == ["pkg/absent.py"]


def test_what_a_class_has_is_not_missing(ground: Ground) -> None:
    """A mark on something that the class has according to its source is no sighting."""
    assert ground.sighter.of_checker([marked(2, 5, 13, name="made")]).sightings == ()


def test_an_unknown_receiver_is_set_aside(ground: Ground) -> None:
    """Where nobody can tell what is left of the dot the place is set aside, and says so."""
    write_files(ground.root, {"pkg/use.py": b"a = any.gone\n"})
    [aside] = ground.sighter.of_checker([marked(1, 5, 13)]).set_aside
    assert aside.refusal.reason is Reason.UNKNOWN_RECEIVER
    assert "the type is Any" in aside.refusal.detail


def test_a_place_gets_what_stands_around_it(ground: Ground) -> None:
    """The syntax tree shows the call, and a guard that refuses the place."""
    plain, guarded = ground.seen(3, 6, 12, 4), ground.seen(5, 10, 18)
    assert plain is not None
    assert guarded is not None
    assert plain.reference.call is None
    placed = ground.sighter.placed("pkg/use.py", [site(plain)])[0]
    assert (placed.reference.call is not None, placed.refusal) == (True, None)
    refusal = ground.sighter.placed("pkg/use.py", [site(guarded)])[0].refusal
    assert refusal is not None
    assert refusal.reason is Reason.GUARDED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (USE.replace("Ctx.gone", "Ctx.rest").encode(), Reason.NOT_PROVEN),
        (f"{USE}def broken(:\n".encode(), Reason.SYNTAX_ERROR),
        (USE.encode("latin-1"), Reason.UNREADABLE),
    ],
    ids=["another name", "broken", "another code"],
)
def test_a_place_that_cannot_be_shown_is_refused(ground: Ground, data: bytes, reason: Reason) -> None:
    """Where the syntax tree does not show the name at the place it is never rewritten."""
    seen = ground.seen(2, 5, 13)
    assert seen is not None
    write_files(ground.root, {"pkg/use.py": data})
    refusal = ground.sighter.placed("pkg/use.py", [site(seen)])[0].refusal
    assert refusal is not None
    assert refusal.reason is reason


def site(seen: Sighting) -> Site:
    """The site of a sighting."""
    return Site(seen.reference, seen.receiver, seen.access, (seen.proof,), seen.refusal)


def test_a_failing_test_names_its_place_by_column(ground: Ground) -> None:
    """Of two places on a line the column tells which; the receiver is the class that the interpreter saw."""
    [seen] = of_tests(ground, raised(6, 23))
    assert seen.reference.position == Position(6, 19)
    assert (seen.receiver.name, seen.proof, seen.test) == ("pkg.ctx.Below", Proof.TEST, "t::a")


@pytest.mark.parametrize("line", [6, 7, 99])
def test_a_line_without_one_place_of_the_name_proves_nothing(ground: Ground, line: int) -> None:
    """Without a column a line proves a place only when it has exactly one of the name."""
    assert of_tests(ground, raised(line, None)) == ()


def test_a_line_with_one_place_of_the_name_is_enough(ground: Ground) -> None:
    """An older interpreter, or a library that looked it up, names only the line."""
    for one in (raised(2, None), raised(2, 5, in_library=True)):
        [seen] = of_tests(ground, one)
        assert seen.reference.position == Position(2, 9)


def test_a_class_made_at_run_time_is_known_by_its_base(ground: Ground) -> None:
    """A class that no source has is known by the nearest of its bases that one has."""
    [seen] = of_tests(ground, raised(2, 13, receiver="pkg.ctx.make.<locals>.Made"))
    assert seen.receiver.name == "pkg.ctx.Ctx"


MIXED = b"""\
class Base:
    pass


class Ctx:
    pass


class Left:
    pass


class Right:
    pass
"""


@pytest.mark.parametrize(
    ("above", "receivers"),
    [
        ((("Left", "Base"), ("Right", "Base")), ["Base", "Base"]),
        ((("Left", "Base"), ("Base",)), ["Base", "Base"]),
        ((("Left", "Right", "Base"), ("Right", "Left", "Base")), ["Left", "Left"]),
        ((("Left",), ("Right", "Base")), ["Left", "Right"]),
        ((("Left", "Base"), ("Left", "Base")), ["Left", "Left"]),
    ],
    ids=["one base", "one adds nothing", "another order", "nothing in common", "the same twice"],
)
def test_classes_made_at_run_time_share_the_cause_of_one_place(
    above: tuple[tuple[str, ...], ...], receivers: list[str], tmp_path: Path
) -> None:
    """Classes that no source has, and that come to one place, lack what the nearest one above them all should have."""
    ground = Ground.of(tmp_path, {"pkg/ctx.py": MIXED, "pkg/use.py": USE.encode()})
    cases = {}
    for number, bases in enumerate(above):
        made = "pkg.ctx.make.<locals>.Made"
        one = replace(raised(2, 13, receiver=made), bases=(made, *(f"pkg.ctx.{base}" for base in bases), "object"))
        cases[f"t::{number}"] = CaseResult(f"t::{number}", Outcome.FAILED, True, (one,), 0.1)
    seen = ground.sighter.of_tests(SuiteResult(cases, 1, 1.0, (), ""))
    assert [sighting.receiver.short_name for sighting in seen] == receivers


ASKING = b"""\
class Near:
    pass


class Ctx:
    def go(self, other):
        self.gone
        other.gone
"""


@pytest.mark.parametrize(("line", "end", "owner"), [(7, 17, "pkg.ctx.Ctx"), (8, 18, "pkg.ctx.Near")])
def test_a_class_asks_itself_for_what_it_should_have(tmp_path: Path, line: int, end: int, owner: str) -> None:
    """What a method lacks on `self` its own class should have, whatever was made of it at run time; on others not."""
    ground = Ground.of(tmp_path, {"pkg/ctx.py": ASKING, "pkg/use.py": USE.encode()})
    made = "pkg.ctx.make.<locals>.Made"
    one = replace(raised(line, end, receiver=made), bases=(made, "pkg.ctx.Near", "pkg.ctx.Ctx", "object"))
    [seen] = of_tests(ground, replace(one, path="pkg/ctx.py"))
    assert seen.receiver.name == owner


def test_what_the_class_defines_is_a_consequence(tmp_path: Path) -> None:
    """An instance that lacks what its class or a method of it defines was left half made: no cause, but on a class."""
    text = CTX + b"\n    def start(self):\n        self.gone = 1\n"
    ground = Ground.of(tmp_path, {"pkg/ctx.py": text, "pkg/use.py": USE.encode()})
    assert of_tests(ground, replace(raised(2, 13), access=Access.INSTANCE)) == ()
    assert len(of_tests(ground, raised(2, 13))) == 1


OVERRIDDEN = b"""\
class Ctx:
    def made(self, user):
        return user


class Below(Ctx):
    def made(self, user, limit=1):
        return super().made(user, limit)


class Other:
    def made(self, user, extra, limit):
        return user
"""


@pytest.mark.parametrize(
    ("call", "is_cause"),
    [
        ("Ctx.made(1, limit=2)", False),
        ("Ctx.made(1, extra=2)", True),
        ("other.made(1, limit=2)", True),
        ("super().made(1, limit=2)", True),
        ("made(1, limit=2)", True),
    ],
)
def test_a_call_that_an_override_takes_is_no_cause(tmp_path: Path, call: str, is_cause: bool) -> None:
    """Where a class below takes such a call it may be meant; not on a stranger, not upwards, not without receiver."""
    text = f"from pkg.ctx import Ctx\na = {call}\n"
    ground = Ground.of(tmp_path, {"pkg/ctx.py": OVERRIDDEN, "pkg/use.py": text.encode()}, Access.INSTANCE)
    start, end = Position(2, len(call)), Position(2, len(call) + 2)
    keyword = call.partition("(1, ")[2].partition("=")[0]
    message = f"Unexpected keyword argument `{keyword}` in function `pkg.ctx.Ctx.made`"
    said = Diagnostic(
        CauseKind.UNEXPECTED_KEYWORD, "pkg/use.py", start, end, keyword, "pkg.ctx.Ctx.made", False, message, "pyrefly"
    )
    seen = ground.sighter.of_checker([said])
    assert [sighting.parameter for sighting in seen.sightings] == ([keyword] if is_cause else [])
    assert [aside.refusal.reason for aside in seen.set_aside] == ([] if is_cause else [Reason.DYNAMIC_OWNER])
    assert is_cause or "pkg.ctx.Below.made" in seen.set_aside[0].refusal.detail


def test_a_file_that_no_engine_reads_is_covered_by_its_imports(ground: Ground) -> None:
    """What others lack is looked for where only imports can tell, and what the class has is not missing there."""
    known = ground.seen(2, 5, 13)
    assert known is not None
    write_files(ground.root, {"pkg/use.py": b"from pkg.ctx import Ctx as C\nC.gone, C.made, other.gone\n"})
    [seen] = ground.sighter.of_blind(["pkg/use.py", "pkg/absent.py"], [known])
    assert (seen.reference.position, seen.receiver.name) == (Position(2, 3), "pkg.ctx.Ctx")
    assert seen.proof is Proof.IMPORTS
