"""Groups of sightings: the same thing missing on the same class, after its MRO, or module."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.causes import Proof
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind
from netra_repair.grouping import grouped, part_of
from netra_repair.owners import Access, Owner
from netra_repair.references import Reference, Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.sightings import Sighting
from netra_repair.source import Position, Span
from tests.support.repair_plans import write_files

CLASSES = b"""\
class Base: ...
class Left(Base): ...
class Right(Base): ...
class LeftMost(Left): ...
class Other: ...
class OtherBelow(Other): ...
class Both(Left, Other): ...
class Error(Exception): ...
class Failure(Exception): ...
class Maker:
    def __new__(cls): ...
class MakerBelow(Maker): ...
class MakerToo(Maker): ...
"""
NAMES = ("Base", "Left", "Right", "LeftMost", "Other", "OtherBelow", "Both", "Error", "Failure")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    """Classes that inherit from each other."""
    root = tmp_path_factory.mktemp("families")
    write_files(root, {"pkg/__init__.py": b"", "pkg/base.py": CLASSES, "pkg/other.py": b""})
    return Definitions(root, (root,))


def place(path: str, line: int, name: str = "gone") -> Reference:
    """A place of a name, one for each line."""
    span = Span(line * 100, line * 100 + len(name))
    return Reference(path, name, span, Position(line, 1), None, span, Use.REFERENCE)


def sighting(
    owner: Owner | None,
    line: int = 1,
    *,
    path: str = "pkg/use.py",
    name: str = "gone",
    kind: CauseKind = CauseKind.MISSING_ATTRIBUTE,
    parameter: str = "",
    proof: Proof = Proof.TYPE_SERVER,
    test: str | None = None,
    refusal: Refusal | None = None,
) -> Sighting:
    """What was seen at one place."""
    assert owner is not None
    return Sighting(
        kind, name, parameter, owner, Access.CLASS, place(path, line, name), proof, test=test, refusal=refusal
    )


def owners(definitions: Definitions, receivers: Iterable[str]) -> list[tuple[str, int]]:
    """The owners of the groups that receivers come into, with the number of their places."""
    seen = [sighting(definitions.named(f"pkg.base.{name}"), line) for line, name in enumerate(receivers)]
    return [(group.owner.short_name, len(group.sites)) for group in grouped(seen, definitions)]


@pytest.mark.parametrize(
    ("receivers", "expected"),
    [
        (["Left"], [("Left", 1)]),
        (["Left", "Left"], [("Left", 2)]),
        (["Left", "Right"], [("Base", 2)]),
        (["LeftMost", "Left"], [("Left", 2)]),
        (["LeftMost", "Right", "Left"], [("Base", 3)]),
        (["Left", "Other"], [("Left", 1), ("Other", 1)]),
        (["Left", "Left", "OtherBelow", "Other"], [("Left", 2), ("Other", 2)]),
        (["Error", "Failure"], [("Error", 1), ("Failure", 1)]),
    ],
)
def test_classes_that_share_a_class_of_the_project_have_one_cause(
    definitions: Definitions, receivers: list[str], expected: list[tuple[str, int]]
) -> None:
    """Receivers come together at the nearest class of the project above all of them; a library's class joins nobody."""
    assert owners(definitions, receivers) == expected


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=8))
def test_every_place_has_one_owner_above_its_receiver(definitions: Definitions, receivers: list[str]) -> None:
    """Every place is in one group, whose owner the receiver inherits from, whatever the order of the sightings."""
    seen = [sighting(definitions.named(f"pkg.base.{name}"), line) for line, name in enumerate(receivers)]
    groups = grouped(seen, definitions)
    places = [site.reference.position.line for group in groups for site in group.sites]
    assert sorted(places) == list(range(len(receivers)))
    for group in groups:
        assert all(group.owner in definitions.mro(receiver) for receiver in group.receivers)
        assert {site.receiver for site in group.sites} == set(group.receivers)
    assert grouped(reversed(seen), definitions) == groups


def test_an_attribute_and_an_import_of_a_module_are_one_cause(definitions: Definitions) -> None:
    """`m.gone` and `from m import gone` lack the same; the same name of another module is another cause."""
    module, other = definitions.named("pkg.base"), definitions.named("pkg.other")
    groups = grouped(
        [
            sighting(module, 1, kind=CauseKind.MISSING_IMPORT),
            sighting(module, 2),
            sighting(other, 3, kind=CauseKind.MISSING_IMPORT),
        ],
        definitions,
    )
    assert [(group.owner.name, group.kind, len(group.sites)) for group in groups] == [
        ("pkg.base", CauseKind.MISSING_ATTRIBUTE, 2),
        ("pkg.other", CauseKind.MISSING_IMPORT, 1),
    ]


def test_calls_are_told_apart_by_callable_and_parameter(definitions: Definitions) -> None:
    """Calls that do not fit have one cause only for the same callable and the same parameter in the same way."""
    base, left = definitions.named("pkg.base.Base"), definitions.named("pkg.base.Left")
    unexpected = CauseKind.UNEXPECTED_KEYWORD
    groups = grouped(
        [
            sighting(base, 1, kind=unexpected, parameter="old"),
            sighting(base, 2, kind=unexpected, parameter="old"),
            sighting(base, 3, kind=unexpected, parameter="other"),
            sighting(base, 4, kind=CauseKind.MISSING_ARGUMENT, parameter="old"),
            sighting(left, 5, kind=unexpected, parameter="old"),
        ],
        definitions,
    )
    assert sorted(len(group.sites) for group in groups) == [1, 1, 1, 2]
    assert groups[0].parameter == "old"


def test_what_several_said_of_a_place_is_one_site(definitions: Definitions) -> None:
    """The checker and two tests at one place make one site, with all proofs and both tests."""
    base = definitions.named("pkg.base.Base")
    [group] = grouped(
        [
            sighting(base),
            sighting(base, proof=Proof.TEST, test="t::b"),
            sighting(base, proof=Proof.TEST, test="t::a"),
        ],
        definitions,
    )
    [site] = group.sites
    assert site.proofs == (Proof.TEST, Proof.TYPE_SERVER)
    assert site.tests == ("t::a", "t::b")


def test_the_classes_that_come_to_one_place_are_kept(definitions: Definitions) -> None:
    """Where tests bring two classes to one place, the site names both, and so does each part of the group."""
    left, right = definitions.named("pkg.base.Left"), definitions.named("pkg.base.Right")
    assert left is not None
    assert right is not None
    seen = [sighting(each, proof=Proof.TEST, test="t::a") for each in (left, right)]
    [group] = grouped([*seen, sighting(right, 2)], definitions)
    assert [(site.receiver, site.others) for site in group.sites] == [(left, (right,)), (right, ())]
    for receiver, lines in ((left, [1]), (right, [1, 2])):
        part = part_of(group, (receiver,), definitions)
        assert (part.owner, part.receivers) == (receiver, (receiver,))
        assert [site.reference.position.line for site in part.sites] == lines
        assert {site.receiver for site in part.sites} == {receiver}
    assert part_of(group, (left, right), definitions) == group


def test_what_one_said_against_a_place_stays(definitions: Definitions) -> None:
    """A place that one of the sightings shows as guarded is guarded, whichever came first."""
    base = definitions.named("pkg.base.Base")
    refusal = Refusal(Reason.GUARDED, "guarded")
    for seen in ([sighting(base), sighting(base, refusal=refusal)], [sighting(base, refusal=refusal), sighting(base)]):
        [group] = grouped(seen, definitions)
        assert group.sites[0].refusal == refusal


def test_groups_and_sites_are_in_order(definitions: Definitions) -> None:
    """The group with the most places comes first, and places come by file and position."""
    base, other = definitions.named("pkg.base.Base"), definitions.named("pkg.base.Other")
    groups = grouped(
        [
            sighting(base, 1),
            sighting(other, 9, path="b.py"),
            sighting(other, 5, path="b.py"),
            sighting(other, 7, path="a.py"),
        ],
        definitions,
    )
    assert [group.owner.short_name for group in groups] == ["Other", "Base"]
    places = [(site.reference.path, site.reference.position.line) for site in groups[0].sites]
    assert places == [("a.py", 7), ("b.py", 5), ("b.py", 9)]


def test_no_sightings_are_no_groups(tmp_path: Path) -> None:
    """Where nothing was seen there is no cause."""
    assert grouped([], Definitions(tmp_path, (tmp_path,))) == ()


@pytest.mark.parametrize(
    ("typed", "met", "expected"),
    [
        ("Maker", "Other", [("Maker", 1), ("Other", 1)]),  # its calls give something else, as the test has seen
        ("Maker", "MakerBelow", [("Maker", 2)]),
        ("MakerBelow", "MakerToo", [("Maker", 2)]),
        ("Other", "Left", [("Left", 1), ("Other", 2)]),  # the test may have come with a class of its own
        ("Left", "LeftMost", [("Left", 2)]),
        ("Left", "Right", [("Base", 2)]),
        ("Other", "Both", [("Other", 2)]),
    ],
)
def test_the_types_are_not_believed_where_a_class_makes_something_else_of_its_calls(
    definitions: Definitions, typed: str, met: str, expected: list[tuple[str, int]]
) -> None:
    """Where a test met an unrelated class, one that has a `__new__` is no receiver; any other is, and so elsewhere."""
    named = {name: definitions.named(f"pkg.base.{name}") for name in (typed, met)}
    by_types = [sighting(named[typed], line) for line in (1, 2)]
    by_test = sighting(named[met], 1, proof=Proof.TEST, test="t::a")
    groups = grouped([*by_types, by_test], definitions)
    assert sorted((group.owner.short_name, len(group.sites)) for group in groups) == expected
