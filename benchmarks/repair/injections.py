"""Which drifts are injected: drawn by a published seed from what the truth allows, the same list every time."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from random import Random

from benchmarks.repair.drift import Drift, History, Kind, Splice, Spot, moved
from benchmarks.repair.names import renamed, renamed_parameter
from benchmarks.repair.packages import Package
from benchmarks.repair.syntax import Function, Place, SourceFile, names_in_body
from benchmarks.repair.truth import IMPORT, Definition, Family, Site, Truth

SEED = 681
# How many of each are drawn from a package, while it has enough; what is missing is made up with renames.
QUOTA = {
    Kind.RENAME: 9,
    Kind.DROP: 2,
    Kind.PARAMETER: 2,
    Kind.KEYWORD_ONLY: 2,
    Kind.REORDER: 1,
    Kind.CLASS_TO_INSTANCE: 1,
    Kind.INSTANCE_TO_CLASS: 1,
    Kind.MOVED: 1,
    Kind.MOVED_RENAMED: 1,
}
PER_PACKAGE = sum(QUOTA.values())
MOST_TEST_FILES = 6
PLAIN_DECORATORS = frozenset({"abc.abstractmethod", "abstractmethod", "classmethod", "property", "staticmethod"})
# Bases that a new base class would not get along with.
SPECIAL_BASES = ("Enum", "Flag", "NamedTuple", "Protocol", "TypedDict")


@dataclass(frozen=True, slots=True)
class Target:
    """A family that may drift, with its places sorted by what they mean.

    Attributes:
        family: what drifts.
        right: places that mean it alone.
        mixed: places that mean other things, too.
        others: places of the same name that mean something else.
        unlabelled: places of the same name where no test comes.
    """

    family: Family
    right: tuple[Site, ...]
    mixed: tuple[Site, ...]
    others: tuple[Site, ...]
    unlabelled: tuple[Place, ...]


Change = tuple[str, list[Splice], list[Spot]]
"""The answer, the splices, and the spots in the tree before the drift."""


class Unsuitable(Exception):
    """Raised when a target cannot drift in the wanted way."""


def injections(package: Package, truth: Truth, seed: int = SEED) -> Iterator[Drift]:
    """Every drift that could be injected into a package, in the order in which they are tried.

    Args:
        package: whose tree.
        truth: what its tests said.
        seed: decides order, new names and histories.

    Yields:
        Drifts without their broken tests. More than are needed: those that break no test are dropped by the caller.
    """
    random = Random(f"{seed} {package.name}")
    targets = sorted(_targets(package, truth), key=lambda target: _identity(target.family))
    number = 0
    for kind in Kind:
        order = list(targets)
        random.shuffle(order)
        # Names that several families share come first in every second draw: they are the hard ones.
        order.sort(key=lambda target: not target.others and random.random() < 0.5)
        for target in order:
            try:
                answer, splices, spots = MAKERS[kind](truth, target, random)
                files = _test_files(package, truth, target, spots)
            except (Unsuitable, ValueError):
                continue
            number += 1
            yield _drift(package, truth, target, kind, number, answer, splices, spots, files, random)


def _drift(
    package: Package,
    truth: Truth,
    target: Target,
    kind: Kind,
    number: int,
    answer: str,
    splices: list[Splice],
    spots: list[Spot],
    files: tuple[str, ...],
    random: Random,
) -> Drift:
    """A drift with its places moved to where they are after it."""
    name = target.family.name
    history = History.BOTH if random.random() < 0.5 else random.choice([History.AFTER, History.NONE])

    def kept(found: Iterable[Spot]) -> tuple[Spot, ...]:
        placed = [(spot, moved(splices, spot.file, spot.start)) for spot in found]
        return tuple(sorted(replace(spot, start=start) for spot, start in placed if start is not None))

    def plain(sites: Iterable[Site]) -> list[Spot]:
        return [Spot(site.place.file, site.place.start, name, "", _node_ids(truth, site)) for site in sites]

    return Drift(
        id=f"{package.name}-{number}",
        package=package.name,
        kind=kind,
        history=history,
        owners=tuple(f"{definition.file}:{definition.cls}" for definition in target.family.definitions),
        attribute=name,
        answer=answer,
        splices=tuple(sorted(set(splices))),
        spots=kept(spots),
        mixed=kept(plain(target.mixed)),
        others=kept(plain(target.others)),
        unlabelled=kept(_unlabelled(truth, target, kind, answer, spots)),
        test_files=files,
    )


def _unlabelled(truth: Truth, target: Target, kind: Kind, answer: str, spots: Sequence[Spot]) -> Iterator[Spot]:
    """What the drift could change where no test comes: the name, or the same argument of a call of the name."""
    first = target.family.definitions[0].function
    bound = 0 if "staticmethod" in _plain_decorators(first) else 1
    names = [argument.arg for argument in first.args.args][bound:]
    for place in target.unlabelled:
        source = truth.syntax.files[place.file]
        call = source.callees.get(place.end)
        match kind:
            case Kind.PARAMETER if call is not None:
                words = (word for word in call.keywords if word.arg == spots[0].old)
                yield from (Spot(place.file, source.start_of(word), spots[0].old, answer) for word in words)
            case Kind.KEYWORD_ONLY if call is not None:
                by_position = list(zip(names, call.args, strict=False))[names.index(answer) :]
                yield from (Spot(place.file, source.start_of(value), "", f"{word}=") for word, value in by_position)
            case Kind.PARAMETER | Kind.KEYWORD_ONLY:
                continue
            case _:
                yield Spot(place.file, place.start, target.family.name, answer)


def _targets(package: Package, truth: Truth) -> Iterator[Target]:
    """The families that may drift at all."""
    syntax = truth.syntax
    for name, families in truth.families.items():
        if name.startswith(("__", "test")) or name in syntax.written:
            continue
        known = {id(definition.function) for family in families for definition in family.definitions}
        if any(id(function) not in known for _, _, function in syntax.definitions[name]):
            continue  # a class that the tracer did not see defines it, too: nobody could tell the places apart
        if any(_is_protocol(truth, definition) for family in families for definition in family.definitions):
            continue
        reached = {site.place: site for family in families for site in family.sites}
        unlabelled = tuple(place for place in syntax.named.get(name, ()) if place not in truth.sites)
        for number, family in enumerate(families):
            if not _may_drift(package, truth, family):
                continue
            mine = [site for site in reached.values() if number in site.families]
            right = tuple(site for site in mine if site.families == {number} and not site.foreign)
            mixed = tuple(site for site in mine if site.families != {number} or site.foreign)
            others = tuple(
                site
                for place in syntax.named.get(name, ())
                if (site := truth.sites.get(place)) is not None and number not in site.families
            )
            if right and any(site.tests - {IMPORT} for site in right):
                yield Target(family, right, mixed, others, unlabelled)


def _may_drift(package: Package, truth: Truth, family: Family) -> bool:
    """Whether nobody outside depends on the name, and its definitions are plain."""
    if family.outside or family.dynamic or family.indirect:
        return False
    if not any(definition.file.startswith(f"{package.top}/") for definition in family.definitions):
        return False
    for definition in family.definitions:
        source = truth.syntax.files[definition.file]
        cls = source.classes[definition.cls]
        if family.name in names_in_body(cls) or _decorators(source, definition.function) - PLAIN_DECORATORS:
            return False
        if sum(node.name == family.name for node in ast.walk(cls) if isinstance(node, Function)) > 1:
            return False
    return True


def _test_files(package: Package, truth: Truth, target: Target, spots: list[Spot]) -> tuple[str, ...]:
    """Few test files that come to every spot, or to every place when nothing must be mended.

    Raises:
        Unsuitable: when more than a handful is needed: the run would take too long.
    """
    wanted = spots or [Spot(site.place.file, site.place.start, "", "", _node_ids(truth, site)) for site in target.right]
    reach: dict[str, set[Spot]] = defaultdict(set)
    for spot in wanted:
        for test in spot.tests:
            reach[test.partition("::")[0]].add(spot)
    left = set().union(*reach.values())
    files: list[str] = []
    while left:
        best = max(sorted(reach), key=lambda file: len(reach[file] & left))
        files.append(best)
        left -= reach[best]
    if not files or len(files) > MOST_TEST_FILES:
        raise Unsuitable
    return tuple(sorted(files))


# How each kind is made.


def _rename(truth: Truth, target: Target, random: Random) -> Change:
    name = target.family.name
    new = renamed(name, truth.syntax.identifiers, random)
    places = [
        truth.syntax.files[definition.file].name_of(definition.function) for definition in target.family.definitions
    ]
    splices = [Splice(place.file, place.start, place.end, new) for place in places]
    return new, splices, [_spot(truth, site, new) for site in target.right]


def _drop(truth: Truth, target: Target, random: Random) -> Change:
    splices = []
    for definition in target.family.definitions:
        source = truth.syntax.files[definition.file]
        place = source.lines_of(definition.function)
        alone = len(source.classes[definition.cls].body) == 1
        indent = " " * definition.function.col_offset
        splices.append(Splice(place.file, place.start, place.end, f"{indent}pass\n" if alone else ""))
    return "", splices, [_spot(truth, site, "") for site in target.right]


def _parameter(truth: Truth, target: Target, random: Random) -> Change:
    """A parameter that calls pass by keyword gets another name in every definition."""
    calls = _calls(truth, target)
    passed = sorted({word.arg for _, _, call in calls for word in call.keywords if word.arg})
    shared = [name for name in passed if all(_parameter_named(d.function, name) for d in target.family.definitions)]
    if not shared or any(d.function.args.kwarg for d in target.family.definitions):  # which takes the old name as well
        raise Unsuitable
    name = random.choice(shared)
    taken = {node.id for d in target.family.definitions for node in ast.walk(d.function) if isinstance(node, ast.Name)}
    taken |= {argument.arg for d in target.family.definitions for argument in _arguments(d.function)}
    new = renamed_parameter(name, taken, random)
    splices = list(chain.from_iterable(_parameter_uses(truth, d, name, new) for d in target.family.definitions))
    spots = [
        Spot(source.path, source.start_of(word), name, new, _node_ids(truth, site))
        for site, source, call in calls
        for word in call.keywords
        if word.arg == name
    ]
    return new, splices, spots


def _keyword_only(truth: Truth, target: Target, random: Random) -> Change:
    """A star stands before a parameter that calls pass by position."""
    calls = _calls(truth, target)
    first = target.family.definitions[0].function
    names = [argument.arg for argument in first.args.args]
    bound = 0 if "staticmethod" in _plain_decorators(first) else 1
    most = max((len(call.args) for _, _, call in calls), default=0)
    choices = [index for index in range(bound, len(names)) if index - bound < most]
    for definition in target.family.definitions:
        arguments = definition.function.args
        if arguments.vararg or arguments.kwonlyargs or arguments.posonlyargs:
            raise Unsuitable
        if [argument.arg for argument in arguments.args] != names:
            raise Unsuitable
    if not choices:
        raise Unsuitable
    index = random.choice(choices)
    splices = []
    for definition in target.family.definitions:
        source = truth.syntax.files[definition.file]
        start = source.start_of(definition.function.args.args[index])
        splices.append(Splice(source.path, start, start, "*, "))
    spots = [
        Spot(source.path, source.start_of(argument), "", f"{names[position + bound]}=", _node_ids(truth, site))
        for site, source, call in calls
        for position, argument in enumerate(call.args)
        if position + bound >= index
    ]
    if any(not _bare(truth, spot) for spot in spots):
        raise Unsuitable
    return names[index], splices, spots


def _reorder(truth: Truth, target: Target, random: Random) -> Change:
    """Two required parameters that calls pass by position change places."""
    calls = _calls(truth, target)
    bound = 0 if "staticmethod" in _plain_decorators(target.family.definitions[0].function) else 1
    index = bound
    splices = []
    for definition in target.family.definitions:
        source = truth.syntax.files[definition.file]
        arguments = definition.function.args
        if len(arguments.args) - len(arguments.defaults) < index + 2 or arguments.posonlyargs:
            raise Unsuitable
        one, two = arguments.args[index : index + 2]
        splices += [
            Splice(source.path, source.start_of(one), source.end_of(one), source.text(two)),
            Splice(source.path, source.start_of(two), source.end_of(two), source.text(one)),
        ]
    spots = [
        Spot(site.place.file, site.place.start, target.family.name, "", _node_ids(truth, site))
        for site, _, call in calls
        if len(call.args) >= 2
    ]
    if not spots:
        raise Unsuitable
    return "", splices, spots


def _class_to_instance(truth: Truth, target: Target, random: Random) -> Change:
    splices = []
    for definition in target.family.definitions:
        source = truth.syntax.files[definition.file]
        function = definition.function
        how = [node for node in function.decorator_list if source.text(node) in ("classmethod", "staticmethod")]
        if not how:
            raise Unsuitable
        line = how[0].lineno
        splices.append(Splice(source.path, source.line_start(line), source.line_start(line + 1), ""))
        if source.text(how[0]) == "staticmethod":
            open_ = source.data.index(b"(", source.name_of(function).end) + 1
            splices.append(Splice(source.path, open_, open_, "self, " if _arguments(function) else "self"))
    on_class = [site for site in target.right if site.on_class]
    if not on_class:
        raise Unsuitable
    return "", splices, [_spot(truth, site, "") for site in on_class]


def _instance_to_class(truth: Truth, target: Target, random: Random) -> Change:
    splices = []
    for definition in target.family.definitions:
        function = definition.function
        if function.decorator_list or not function.args.args:
            raise Unsuitable
        own = function.args.args[0].arg
        words = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        if any(node.id in (own, "super", "locals", "vars") for node in words):
            raise Unsuitable
        source = truth.syntax.files[definition.file]
        start = source.line_start(function.lineno)
        indent = " " * function.col_offset
        splices.append(Splice(source.path, start, start, f"{indent}@classmethod\n"))
    if any(site.on_class for site in target.right):
        raise Unsuitable
    return "", splices, []


def _moved(truth: Truth, target: Target, random: Random) -> Change:
    """The class becomes the base of a new class that has its name."""
    definition = target.family.definitions[0]
    source = truth.syntax.files[definition.file]
    cls = source.classes.get(definition.cls)
    if (
        cls is None
        or "." in definition.cls
        or cls.col_offset
        or cls.decorator_list
        or len(target.family.definitions) > 1
    ):
        raise Unsuitable
    if any(source.text(base).partition("[")[0].endswith(SPECIAL_BASES) for base in cls.bases):
        raise Unsuitable
    base = f"{cls.name}Core"
    if base in truth.syntax.identifiers:
        raise Unsuitable
    place = source.name_of(cls)
    end = source.end_of(cls)
    tail = f'\n\n\nclass {cls.name}({base}):\n    """What {cls.name} was before its methods moved to a base."""'
    return "", [Splice(source.path, place.start, place.end, base), Splice(source.path, end, end, tail)], []


def _moved_renamed(truth: Truth, target: Target, random: Random) -> Change:
    _, move, _ = _moved(truth, target, random)
    new, rename, spots = _rename(truth, target, random)
    return new, move + rename, spots


MAKERS: dict[Kind, Callable[[Truth, Target, Random], Change]] = {
    Kind.RENAME: _rename,
    Kind.DROP: _drop,
    Kind.PARAMETER: _parameter,
    Kind.KEYWORD_ONLY: _keyword_only,
    Kind.REORDER: _reorder,
    Kind.CLASS_TO_INSTANCE: _class_to_instance,
    Kind.INSTANCE_TO_CLASS: _instance_to_class,
    Kind.MOVED: _moved,
    Kind.MOVED_RENAMED: _moved_renamed,
}


# What the makers ask.


def _spot(truth: Truth, site: Site, new: str) -> Spot:
    old = truth.syntax.files[site.place.file].data[site.place.start : site.place.end].decode()
    return Spot(site.place.file, site.place.start, old, new, _node_ids(truth, site))


def _node_ids(truth: Truth, site: Site) -> tuple[str, ...]:
    return tuple(truth.tests[test] for test in sorted(site.tests - {IMPORT}))


def _calls(truth: Truth, target: Target) -> list[tuple[Site, SourceFile, ast.Call]]:
    """The target's places as calls.

    Raises:
        Unsuitable: when one of them is no call, spreads arguments, or means other things, too.
    """
    found = []
    if target.mixed:
        raise Unsuitable
    for site in target.right:
        source = truth.syntax.files[site.place.file]
        call = source.callees.get(site.place.end)
        if call is None or any(isinstance(argument, ast.Starred) for argument in call.args):
            raise Unsuitable
        if any(word.arg is None for word in call.keywords) or (site.on_class and not _static(target)):
            raise Unsuitable
        found.append((site, source, call))
    return found


def _static(target: Target) -> bool:
    """Whether no definition takes the instance as its first argument."""
    return all(
        {"classmethod", "staticmethod"} & _plain_decorators(definition.function)
        for definition in target.family.definitions
    )


def _plain_decorators(function: Function) -> set[str]:
    return {node.id for node in function.decorator_list if isinstance(node, ast.Name)}


def _decorators(source: SourceFile, function: Function) -> set[str]:
    return {source.text(node) for node in function.decorator_list}


def _arguments(function: Function) -> list[ast.arg]:
    arguments = function.args
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def _parameter_named(function: Function, name: str) -> ast.arg | None:
    """The parameter of that name that takes a keyword."""
    candidates = [*function.args.args, *function.args.kwonlyargs]
    return next((argument for argument in candidates if argument.arg == name), None)


def _parameter_uses(truth: Truth, definition: Definition, name: str, new: str) -> Iterator[Splice]:
    """The parameter and everything in the body that reads it.

    Raises:
        Unsuitable: when a scope inside takes the name for its own, or it stands where the tree gives no exact place.
    """
    source = truth.syntax.files[definition.file]
    argument = _parameter_named(definition.function, name)
    assert argument is not None
    start = source.start_of(argument)
    yield Splice(source.path, start, start + len(name.encode()), new)
    for statement in definition.function.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.JoinedStr | ast.Global | ast.Nonlocal):
                raise Unsuitable
            if isinstance(node, Function | ast.Lambda) and any(
                word.arg == name for word in ast.walk(node.args) if isinstance(word, ast.arg)
            ):
                raise Unsuitable
            if isinstance(node, ast.Name) and node.id in ("locals", "vars"):
                raise Unsuitable
            if isinstance(node, ast.Name) and node.id == name:
                yield Splice(source.path, source.start_of(node), source.end_of(node), new)


def _bare(truth: Truth, spot: Spot) -> bool:
    """Whether the argument stands in no parentheses of its own: only then can a keyword stand right before it."""
    before = truth.syntax.files[spot.file].data[: spot.start].rstrip()
    return before.endswith((b"(", b",")) and not before.endswith((b"((", b",("))


def _is_protocol(truth: Truth, definition: Definition) -> bool:
    source = truth.syntax.files[definition.file]
    bases = source.classes[definition.cls].bases
    return any(source.text(base).partition("[")[0].endswith("Protocol") for base in bases)


def _identity(family: Family) -> tuple[str, str, str]:
    first = family.definitions[0]
    return first.file, first.cls, family.name
