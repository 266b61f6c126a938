"""Groups sightings by root cause: the same thing missing on the same class, after its MRO, or module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from netra_repair.causes import Proof, Site
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind
from netra_repair.owners import Owner
from netra_repair.sightings import Sighting


@dataclass(frozen=True, slots=True)
class Group:
    """Sightings that have one root cause.

    Attributes:
        kind: what does not fit.
        owner: the nearest class that all receivers inherit from, or the module.
        receivers: the classes that were asked; just the owner for a module and for call kinds.
        attribute: the missing attribute; for call kinds the callable's name.
        parameter: for call kinds the keyword or parameter; else "".
        sites: the places, each once, in order.
    """

    kind: CauseKind
    owner: Owner
    receivers: tuple[Owner, ...]
    attribute: str
    parameter: str
    sites: tuple[Site, ...]


def grouped(sightings: Iterable[Sighting], definitions: Definitions) -> tuple[Group, ...]:
    """Groups sightings.

    Classes that lack the same attribute and share a class of the project above them have one cause: what is missing
    there went missing for all of them.

    Args:
        sightings: of the checker and of the tests.
        definitions: knows the MROs.

    Returns:
        The groups, most sites first.
    """
    same: dict[tuple[object, ...], list[Sighting]] = defaultdict(list)
    for sighting in _believed(list(sightings), definitions):
        if sighting.kind.is_attribute:
            same[sighting.attribute,].append(sighting)
        else:
            same[sighting.kind, sighting.receiver, sighting.attribute, sighting.parameter].append(sighting)
    groups = [_group(related, owner) for alike in same.values() for owner, related in _by_family(alike, definitions)]
    return tuple(
        sorted(groups, key=lambda group: (-len(group.sites), group.owner.name, group.attribute, group.parameter))
    )


def part_of(group: Group, receivers: Collection[Owner], definitions: Definitions) -> Group:
    """The part of a group that some of its receivers make.

    Args:
        group: with an attribute that is missing.
        receivers: some of its own; at least one.
        definitions: knows the MROs.

    Returns:
        The places where one of them is asked, with the nearest class that all of them inherit from.
    """
    sites = []
    for site in group.sites:
        asked = [owner for owner in (site.receiver, *site.others) if owner in receivers]
        if asked:
            sites.append(replace(site, receiver=asked[0], others=tuple(filter(None, asked[1:]))))
    first, *others = sorted(receivers)
    lines = [definitions.mro(other) for other in others]
    line = [owner for owner in definitions.mro(first) if owner.is_inside] or [first]
    owner = next((owner for owner in line if all(owner in other for other in lines)), group.owner)
    return replace(group, owner=owner, receivers=tuple(sorted(receivers)), sites=tuple(sites))


def _believed(sightings: Sequence[Sighting], definitions: Definitions) -> Iterator[Sighting]:
    """Leaves out what the types say where a test met another class, and the one of the types makes others of its calls.

    Its `__new__` may give anything, which the types do not follow. Where there is none, a test may have come with a
    class of its own, and the types are right about all others.
    """
    met: defaultdict[tuple[str, int], set[Owner]] = defaultdict(set)
    for sighting in sightings:
        if sighting.proof is Proof.TEST and sighting.kind.is_attribute:
            met[_place(sighting)].add(sighting.receiver)
    for sighting in sightings:
        others = met.get(_place(sighting), set()) if sighting.kind.is_attribute else set()
        maker = definitions.members(sighting.receiver).get("__new__") if others else None
        is_other = (
            maker is not None
            and maker.owner.is_inside
            and not any(_share_a_base(sighting.receiver, other, definitions) for other in others)
        )
        if not is_other:
            yield sighting


def _share_a_base(one: Owner, other: Owner, definitions: Definitions) -> bool:
    """Whether two owners are the same, or have a class of the project above both."""
    above = {each for each in definitions.mro(one) if each.is_inside}
    return one == other or not above.isdisjoint(definitions.mro(other))


def _place(sighting: Sighting) -> tuple[str, int]:
    return sighting.reference.path, sighting.reference.name.start


def _by_family(alike: Sequence[Sighting], definitions: Definitions) -> list[tuple[Owner, list[Sighting]]]:
    """Splits by families of classes; each with the nearest class that all of its receivers have above them."""
    # The classes of the project above all receivers of a family, nearest first; and its sightings.
    families: list[tuple[list[Owner], list[Sighting]]] = []
    for receiver, own in _by_receiver(alike).items():
        line = [owner for owner in definitions.mro(receiver) if owner.is_inside] or [receiver]
        for index, (shared, related) in enumerate(families):
            common = [owner for owner in shared if owner in line]
            if common:
                families[index] = (common, [*related, *own])
                break
        else:
            families.append((line, own))
    return [(line[0], related) for line, related in families]


def _by_receiver(alike: Sequence[Sighting]) -> dict[Owner, list[Sighting]]:
    by_receiver: dict[Owner, list[Sighting]] = defaultdict(list)
    for sighting in alike:
        by_receiver[sighting.receiver].append(sighting)
    return dict(sorted(by_receiver.items()))


def _group(related: Sequence[Sighting], owner: Owner) -> Group:
    first = min(related, key=lambda sighting: sighting.kind)
    return Group(
        first.kind,
        owner,
        tuple(sorted({sighting.receiver for sighting in related})),
        first.attribute,
        first.parameter,
        _sites(related),
    )


def _sites(related: Iterable[Sighting]) -> tuple[Site, ...]:
    """One site for each place, with all that was said of it."""
    places: dict[tuple[str, int], list[Sighting]] = {}
    for sighting in related:
        places.setdefault(_place(sighting), []).append(sighting)
    return tuple(_site(places[place]) for place in sorted(places))


def _site(sightings: Sequence[Sighting]) -> Site:
    """A place by all its sightings: where a test failed of it, nothing guards it that others only take for a guard."""
    failed = next((each for each in sightings if each.proof is Proof.TEST and each.refusal is None), None)
    told = failed or sightings[0]
    return Site(
        told.reference,
        sightings[0].receiver,
        sightings[0].access,
        tuple(sorted({each.proof for each in sightings})),
        None if failed is not None else next((each.refusal for each in sightings if each.refusal is not None), None),
        tuple(sorted({each.test for each in sightings if each.test})),
        others=tuple(sorted({each.receiver for each in sightings} - {sightings[0].receiver})),
    )
