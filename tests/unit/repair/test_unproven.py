"""Unproven references: places of a missing name on something that nobody can tell, for people to look at."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from netra_repair import unproven
from netra_repair.candidates import Decision, Ranking
from netra_repair.causes import RootCause
from netra_repair.diagnostics import CauseKind
from netra_repair.files import Files
from netra_repair.history import Past, Verdict
from netra_repair.occurrences import Occurrences
from netra_repair.owners import Access, Member, Owner, OwnerKind
from netra_repair.project import Project
from netra_repair.receivers import Receiver
from netra_repair.references import Reference, Use
from netra_repair.source import Source, Span
from netra_repair.syntax import Syntax
from netra_repair.unproven import Spot, UnprovenReferences
from tests.support.repair_plans import write_files

CTX = Owner("m.Ctx", OwnerKind.CLASS, "m.py", 1)


@dataclass
class Told:
    """Receivers of which only `known` is known; what is asked ahead and then asked."""

    ahead: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def of(self, source: Source, span: Span) -> Receiver:
        """Tells what an expression is."""
        text = source.slice(span)
        self.asked.append(text)
        return Receiver(((CTX, Access.INSTANCE),), "") if text == "known" else Receiver((), "the type is Any")

    def ask_ahead(self, source: Source, spans: Iterable[Span]) -> None:
        """Notes what will be asked."""
        self.ahead += [source.slice(span) for span in spans]

    def callee(self, source: Source, span: Span) -> Member | None:
        """Tells what a call calls: nobody knows."""
        return None


def cause(name: str, decision: Decision = Decision.CHOSEN, kind: CauseKind = CauseKind.MISSING_ATTRIBUTE) -> RootCause:
    """A cause without sites."""
    ranking = Ranking(decision, (), 0.0, "")
    return RootCause(kind, CTX, name, "", (), (), (), 0, Past(Verdict.UNKNOWN, ""), ranking)


def searched(root: Path, files: dict[str, str]) -> tuple[UnprovenReferences, Told]:
    """A search through some files."""
    write_files(root, {name: text.encode() for name, text in files.items()})
    project = Project(root, Path(sys.executable), "3.11.7", (root,), (), tuple(sorted(files)), ())
    told = Told()
    return UnprovenReferences(Files(project), Occurrences(project), told), told


def listed(search: UnprovenReferences, causes: Sequence[RootCause], known: Collection[Spot] = ()) -> list[RootCause]:
    """Causes with what a search finds for them."""
    return search.listed(causes, search.found(causes, known))


def places(references: Iterable[Reference]) -> list[tuple[str, int, int]]:
    """File, line and column."""
    return [(each.path, each.position.line, each.position.column) for each in references]


def test_what_nobody_can_tell_is_listed(tmp_path: Path) -> None:
    """Of the places of a name those are listed whose receiver is not known, without the sites of causes."""
    text = "x.gone(1)\nknown.gone\nx.gone\n# x.gone\n'x.gone'\nx.goner\nx.gone = 1\ndel x.gone\n"
    search, told = searched(tmp_path, {"a.py": text, "b.py": "def f(é):\n    é .gone\n", "c.py": "broken(.gone\n"})
    [found] = listed(search, [cause("gone")], {("a.py", text.index("gone\n# x"))})
    assert places(found.unproven) == [("a.py", 1, 3), ("a.py", 7, 3), ("a.py", 8, 7), ("b.py", 2, 8)]
    assert [each.use for each in found.unproven] == [Use.REFERENCE, Use.ASSIGNMENT, Use.DELETION, Use.REFERENCE]
    assert told.ahead == told.asked  # nothing is waited for that was not asked ahead


def test_bare_references_stand_where_the_syntax_tree_has_them(tmp_path: Path) -> None:
    """Name, receiver and expression are those of the parsed file, to the byte; only what is around is left open."""
    text = (
        "é = 1\n(a.b(c)[0] # why\n .gone(1)), (d) . gone, f'{x.gone}', '😀', g.gone.gone\nfor h.gone in ():\n    pass\n"
    )
    search, _ = searched(tmp_path, {"a.py": text})
    [found] = listed(search, [cause("gone")])
    whole = {each.name: each for each in Syntax.parse(Source.of("a.py", text.encode())).references({"gone"})}
    assert len(found.unproven) == 5
    for reference in found.unproven:
        real = whole[reference.name]
        assert (reference.position, reference.receiver) == (real.position, real.receiver)
        assert reference.expression == real.expression
        assert (reference.use is Use.ASSIGNMENT) == (real.use is Use.ASSIGNMENT)


def test_rare_names_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more places than are asked for, names of few files are listed whole, and of the others what is left."""
    monkeypatch.setattr(unproven, "_MAX_ASKED", 5)
    files = {f"f{number}.py": "x.often\nknown.often\n" for number in range(4)}
    search, told = searched(tmp_path, {**files, "z.py": "x.rare\nx.rare\n"})
    often, rare = listed(search, [cause("often"), cause("rare")])
    assert places(rare.unproven) == [("z.py", 1, 3), ("z.py", 2, 3)]
    assert places(often.unproven) == [("f0.py", 1, 3), ("f1.py", 1, 3)]
    assert len(told.asked) == 5


def test_of_many_causes_only_those_with_a_replacement(tmp_path: Path) -> None:
    """A scan with very many causes lists places only where somebody may change them; call kinds never have any."""
    search, _ = searched(tmp_path, {"a.py": "x.gone\nx.lost\nx.called\n"})
    called = cause("called", kind=CauseKind.POSITIONAL_COUNT)
    many = [cause("gone", Decision.NONE), cause("lost"), called, *(cause(f"n{number}") for number in range(50))]
    found = listed(search, many)
    assert [len(each.unproven) for each in found[:3]] == [0, 1, 0]
    assert [len(each.unproven) for each in listed(search, many[:3])] == [1, 1, 0]
    assert [each.attribute for each in found] == [each.attribute for each in many]
