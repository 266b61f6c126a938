"""Which classes and modules a place concerns that sets attributes of computed names: told by the real type server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netra_repair.computed_writers import ComputedWriters
from netra_repair.definitions import Definitions
from netra_repair.owners import Access
from netra_repair.project import discover
from netra_repair.receivers import TypeServerReceivers
from netra_repair.type_server import TypeServer
from netra_repair.words import Words
from tests.support.sample_project import write

FILES: dict[str, str | bytes] = {
    "app/__init__.py": "",
    "app/kinds.py": """\
class Looped: ...
class Listed: ...
class Dotted: ...
class Typed: ...
class Given: ...
class GivenOn: ...
class Onto: ...
class Prefixed: ...
class Base: ...
class Below(Base): ...
class Thing: ...
class Held: ...
class Quiet: ...
class Asked: ...
class Named: ...
class Passed: ...
class Handed: ...
class Tabled: ...
class Keyed: ...
class Told: ...
class Grown: ...
""",
    "app/helper.py": """\
def add(kind, names):
    for name in names:
        setattr(kind, name, None)


def add_all(kind):
    add(kind, ["one"])
    return kind


def onto(kind):
    def put(function):
        setattr(kind, "made_" + function.__name__, function)
        return function

    return put


class Keeper:
    def __init__(self, kept, values):
        kept.__dict__.update(values)
        self.kept = kept
""",
    "app/late.py": """\
import app.kinds
import app.names
from app.helper import Keeper, add, add_all, onto
from app.kinds import Grown, Handed, Keyed, Passed, Tabled, Told
from app.kinds import Base, Given, GivenOn, Held, Listed, Looped, Named, Onto, Prefixed, Quiet, Thing, Typed

NAMES = open("names").read().split()
TABLE = {"first": 1, "second": 2}
GROWN = ["one"]
GROWN.append(NAMES[0])


def install():
    for name in NAMES:
        setattr(Looped, name, None)


for kind in (Listed,):
    setattr(kind, NAMES[0], None)
for name in NAMES:
    setattr(app.kinds.Dotted, name, None)
    type.__setattr__(Typed, name, None)
    setattr(Prefixed, f"made_{name}_later", None)
    setattr(Base, name, None)
    setattr(app.names, name, None)
add(Given, NAMES)
add_all(GivenOn)


@onto(Onto)
def one():
    pass


@add_all
class Decorated:
    pass


def fill(thing: Thing, values):
    thing.__dict__.update(values)


def name(named: Named):
    vars(named).update(first=1, second=2)


def keep(held: Held):
    vars(held)["kept"] = 1
    return Keeper(held, {})


def put(tabled: type[Tabled], names):
    for name in names:
        setattr(tabled, name, TABLE[name])


class Optioned:
    def __init__(self, passed: Passed):
        self._option(passed, "first")
        self._option(passed, name="second")

    def _option(self, passed: Passed, name):
        setattr(passed, name, None)


def _handed(which, name):
    setattr(which, name, None)


for name in TABLE:
    setattr(Keyed, "the_" + name, 1)
for name, value in TABLE.items():
    setattr(Keyed, f"a_{name}", value)
for name in ("first", "second"):
    setattr(Told, name, 1)
for name in GROWN:
    setattr(Grown, name, 1)
_handed(Handed, "first")
CALLBACKS = [_handed]
print(Quiet, getattr(Quiet, NAMES[0], None))
setattr(Quiet, "known", 1)
""",
    "app/names.py": "",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Definitions, ComputedWriters]]:
    """The classes of a small project, and what writes to them."""
    project = discover(write(tmp_path_factory.mktemp("written"), FILES))
    definitions = Definitions(project.root, project.search_paths, project.site_packages)
    with TypeServer(project) as server:
        receivers = TypeServerReceivers(project, definitions, server)
        yield definitions, ComputedWriters(project, definitions, receivers, Words(project))


def line(text: str) -> str:
    """Where a line of late.py stands."""
    file = FILES["app/late.py"]
    assert isinstance(file, str)
    [number] = [number for number, each in enumerate(file.splitlines(), 1) if text in each]
    return f"app/late.py:{number}"


@pytest.mark.parametrize(
    ("name", "attribute", "access", "where"),
    [
        ("app.kinds.Looped", "gone", Access.CLASS, "setattr(Looped"),
        ("app.kinds.Looped", "gone", Access.INSTANCE, "setattr(Looped"),
        ("app.kinds.Listed", "gone", Access.CLASS, "setattr(kind"),
        ("app.kinds.Dotted", "gone", Access.CLASS, "app.kinds.Dotted"),
        ("app.kinds.Typed", "gone", None, "type.__setattr__"),
        ("app.kinds.Given", "gone", Access.CLASS, "add(Given"),
        ("app.kinds.GivenOn", "gone", Access.CLASS, "add_all(GivenOn"),
        ("app.kinds.Onto", "made_gone", Access.CLASS, "@onto"),
        ("app.kinds.Prefixed", "made_it_later", Access.CLASS, "setattr(Prefixed"),
        ("app.kinds.Below", "gone", Access.CLASS, "setattr(Base"),
        ("app.late.Decorated", "gone", Access.CLASS, "@add_all"),
        ("app.kinds.Thing", "gone", Access.INSTANCE, "thing.__dict__"),
        ("app.kinds.Named", "second", Access.INSTANCE, "vars(named)"),
        ("app.kinds.Tabled", "second", Access.CLASS, "setattr(tabled"),
        ("app.kinds.Keyed", "the_second", Access.CLASS, 'setattr(Keyed, "the_'),
        ("app.kinds.Keyed", "a_first", Access.CLASS, 'setattr(Keyed, f"a_'),
        ("app.kinds.Told", "first", Access.CLASS, "setattr(Told"),
        ("app.kinds.Passed", "second", Access.INSTANCE, "setattr(passed"),
        ("app.kinds.Handed", "gone", Access.CLASS, "_handed(Handed"),
        ("app.kinds.Grown", "gone", Access.CLASS, "setattr(Grown"),
        ("app.kinds.Held", "kept", Access.INSTANCE, "vars(held)"),
        ("app.kinds.Held", "gone", Access.INSTANCE, "return Keeper(held"),
        ("app.names", "gone", Access.MODULE, "setattr(app.names"),
    ],
)
def test_a_place_that_may_set_it_is_named(
    name: str, attribute: str, access: Access | None, where: str, project: tuple[Definitions, ComputedWriters]
) -> None:
    """Whatever sets attributes of computed names on a class, directly or through a helper, is found with its place."""
    definitions, writers = project
    owner = definitions.named(name)
    assert owner is not None
    assert writers.on(owner, access, attribute) == line(where)


@pytest.mark.parametrize(
    ("name", "attribute", "access"),
    [
        ("app.kinds.Quiet", "gone", None),
        ("app.kinds.Asked", "gone", None),
        ("app.kinds.Prefixed", "gone", Access.CLASS),
        ("app.kinds.Onto", "gone", Access.CLASS),
        ("app.kinds.Thing", "gone", Access.CLASS),
        ("app.kinds.Named", "gone", Access.INSTANCE),
        ("app.kinds.Tabled", "gone", Access.CLASS),
        ("app.kinds.Keyed", "the_gone", Access.CLASS),
        ("app.kinds.Told", "gone", Access.CLASS),
        ("app.kinds.Passed", "gone", Access.INSTANCE),
        ("app.kinds", "gone", Access.MODULE),
    ],
)
def test_other_classes_and_other_names_are_not_concerned(
    name: str, attribute: str, access: Access | None, project: tuple[Definitions, ComputedWriters]
) -> None:
    """A writer says nothing of other classes, of names that it cannot spell, or of a class when it fills instances."""
    definitions, writers = project
    owner = definitions.named(name)
    assert owner is not None
    assert writers.on(owner, access, attribute) is None
