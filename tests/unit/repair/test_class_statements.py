"""Class statements by their names and by the names of their bases."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netra_repair.class_statements import ClassStatements
from netra_repair.definitions import Definitions
from netra_repair.owners import Owner
from netra_repair.project import Project
from netra_repair.words import Words
from tests.support.repair_plans import write_files

FILES = {
    "pkg/__init__.py": b"",
    "pkg/base.py": """\
from collections import namedtuple
import enum


class Base:
    def sent(self, to):
        return to


class Twin:
    def sent(self, to):
        return to


class Größe(Base):
    maße = 1


Point = namedtuple("Point", "x y")
Colour = enum.Enum("Colour", "RED")

TEXT = '''
class Written:
    pass
'''


def make():
    class Local(Base):
        local = 1

    return Local
""".encode(),
    "pkg/below.py": b"""\
from pkg.base import Base, Twin
from pkg import base as other


class Broad(  # the base (of all)
    Base,
    metaclass=type,
):
    wide = 1


class Middle(other.Base):
    pass


def mixed(one):
    return one


class Called(mixed(Base), Twin):
    called = 1


class Namesake:
    class Base:
        pass


class Stranger(Namesake.Base):
    strange = 1


class Deep(Middle):
    deep = 1
""",
    "pkg/twin.py": b"class Twin:\n    def sent(self, to):\n        return to\n",
    "pkg/latin.py": b"# coding: latin-1\nclass Latin\xe9:\n    pass\n\n\nclass Plain:\n    pass\n",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder."""
    folder = tmp_path_factory.mktemp("classes")
    write_files(folder, FILES)
    return folder


@pytest.fixture(scope="module")
def classes(root: Path) -> ClassStatements:
    """The class statements of the project; one of its sources has gone since it was looked at."""
    sources = tuple(sorted([*FILES, "pkg/gone.py"]))
    project = Project(root, Path(sys.executable), "3.12.0", (root,), (), sources, ())
    return ClassStatements(project, Definitions(root, (root,)), Words(project))


def owner(root: Path, name: str) -> Owner:
    """A class of the project."""
    found = Definitions(root, (root,)).named(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Twin", ["pkg.base.Twin", "pkg.twin.Twin"]),
        ("Local", ["pkg.base.make.<locals>.Local"]),
        ("Größe", ["pkg.base.Größe"]),
        ("Plain", ["pkg.latin.Plain"]),
        ("Written", []),
        ("Absent", []),
    ],
)
def test_classes_are_found_by_their_bare_name(classes: ClassStatements, name: str, found: list[str]) -> None:
    """All classes of a name are found, wherever they stand; text in a string is none."""
    named = classes.named(name)
    assert named is not None
    assert sorted(each.name for each in named) == found


@pytest.mark.parametrize("name", ["Point", "Colour"])
def test_a_class_made_without_a_statement_is_not_denied(classes: ClassStatements, name: str) -> None:
    """Of a name that a call may have made a class of nothing can be said."""
    assert classes.named(name) is None


def test_a_method_is_found_by_its_qualified_name(classes: ClassStatements) -> None:
    """A method is found by what an exception says of it, unless several classes have the name."""
    method = classes.method_named("Base.sent")
    assert method is not None
    assert method.qualified_name == "pkg.base.Base.sent"
    assert classes.method_named("Twin.sent") is None
    assert classes.method_named("Base.absent") is None
    assert classes.method_named("sent") is None


def test_a_class_that_a_stub_has_too_is_one_class(tmp_path: Path) -> None:
    """What stands in a module and in its stub is found once, and its methods are told by their qualified names."""
    write_files(
        tmp_path, {"m.py": b"class A:\n    def put(self): ...\n", "m.pyi": b"class A:\n    def put(self): ...\n"}
    )
    sources = ("m.py", "m.pyi")
    project = Project(tmp_path, Path(sys.executable), "3.12.0", (tmp_path,), (), sources, ())
    classes = ClassStatements(project, Definitions(tmp_path, (tmp_path,)), Words(project))
    assert [owner.file for owner in classes.named("A") or ()] == ["m.py"]
    found = classes.method_named("A.put")
    assert found is not None
    assert found.owner.file == "m.py"


def test_classes_inside_of_others_are_told_by_these(tmp_path: Path) -> None:
    """Of two classes of one bare name the outer class tells which one an exception means."""
    link = b"    class Link:\n        def put(self): ...\n"
    text = b"class A:\n" + link + b"class B:\n" + link
    write_files(tmp_path, {"m.py": text})
    project = Project(tmp_path, Path(sys.executable), "3.12.0", (tmp_path,), (), ("m.py",), ())
    classes = ClassStatements(project, Definitions(tmp_path, (tmp_path,)), Words(project))
    found = classes.method_named("B.Link.put")
    assert found is not None
    assert found.qualified_name == "m.B.Link.put"
    assert classes.method_named("Link.put") is None


@pytest.mark.parametrize(
    ("attribute", "below"),
    [
        ("wide", "pkg.below.Broad"),
        ("deep", "pkg.below.Deep"),
        ("local", "pkg.base.make.<locals>.Local"),
        ("maße", "pkg.base.Größe"),
        ("strange", None),
        ("absent", None),
    ],
)
def test_what_a_class_below_has_is_found(
    classes: ClassStatements, root: Path, attribute: str, below: str | None
) -> None:
    """A class below is found through other modules, brackets and classes between; a namesake's class is none."""
    found = classes.inheriting(owner(root, "pkg.base.Base"), attribute)
    assert (found and found.name) == below


def test_what_classes_below_define_themselves(tmp_path: Path) -> None:
    """Overrides are told, at any depth; what is only inherited, and what a stranger defines, is none."""
    text = (
        b"class A:\n    def f(self, a): ...\nclass B(A):\n    pass\nclass C(B):\n    def f(self, a, b): ...\n"
        b"class D:\n    def f(self): ...\n"
    )
    write_files(tmp_path, {"m.py": text})
    definitions = Definitions(tmp_path, (tmp_path,))
    project = Project(tmp_path, Path(sys.executable), "3.12.0", (tmp_path,), (), ("m.py",), ())
    classes = ClassStatements(project, definitions, Words(project))
    found = {name: classes.overriding(owner(tmp_path, f"m.{name}"), "f") for name in "ABCD"}
    assert {name: [member.qualified_name for member in members] for name, members in found.items()} == {
        "A": ["m.C.f"],
        "B": ["m.C.f"],
        "C": [],
        "D": [],
    }
    module = definitions.module_at(tmp_path / "m.py")
    assert module is not None
    assert classes.overriding(module, "A") == []


def test_bases_behind_a_call_are_seen(classes: ClassStatements, root: Path) -> None:
    """A base that stands behind another one that is called is found as well."""
    found = classes.inheriting(owner(root, "pkg.base.Twin"), "called")
    assert found is not None
    assert found.name == "pkg.below.Called"


def test_nothing_inherits_from_a_module(classes: ClassStatements, root: Path) -> None:
    """A module has no classes below it."""
    assert classes.inheriting(owner(root, "pkg.base"), "wide") is None


def test_what_a_metaclass_makes_does_not_inherit_from_it(tmp_path: Path) -> None:
    """The classes below a metaclass are metaclasses; those that it makes are not looked into."""
    text = (
        b"class Meta(type):\n    pass\nclass Below(Meta):\n    own = 1\nclass Made(metaclass=Meta):\n    other = 1\n"
        b"class Spaced(metaclass = Meta):\n    other = 1\n"
    )
    write_files(tmp_path, {"m.py": text})
    project = Project(tmp_path, Path(sys.executable), "3.12.0", (tmp_path,), (), ("m.py",), ())
    classes = ClassStatements(project, Definitions(tmp_path, (tmp_path,)), Words(project))
    below = classes.inheriting(owner(tmp_path, "m.Meta"), "own")
    assert below is not None
    assert below.name == "m.Below"
    assert classes.inheriting(owner(tmp_path, "m.Meta"), "other") is None


def test_whether_there_is_a_class_of_a_name(classes: ClassStatements) -> None:
    """A class statement is known by its bare name; what a call made is no statement."""
    assert [name for name in ("Twin", "Local", "Point", "Absent") if classes.has(name)] == ["Twin", "Local"]
