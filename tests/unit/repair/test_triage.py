"""What is ruled out by a bare class name, and what is no cause by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from netra_repair.class_statements import ClassStatements
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind, Diagnostic
from netra_repair.owners import Access, Owner
from netra_repair.project import Project
from netra_repair.refusals import Reason
from netra_repair.source import Position
from netra_repair.triage import Triage
from netra_repair.words import Words
from tests.support.repair_plans import write_files

FILES = {
    "pkg/__init__.py": b"",
    "pkg/base.py": b"""\
from collections import namedtuple


class Base:
    pass


class Below(Base):
    title = 1


class Open:
    def __getattr__(self, name):
        return name


class Half:
    pass


Point = namedtuple("Point", "x y")


class Meta(type):
    def shown(cls):
        return cls.title
""",
    "pkg/systems.py": b"""\
import sys

if sys.platform == "no such":
    import wrong as gone

    def opened(first, *, second): third = 1
else:
    here = 1
if sys.version_info < (3, 0):
    try:
        old: int
    except ImportError:
        older, oldest = 1, 2


class Here:
    if sys.platform == "no such":
        import gone
        def size(self): ...
    def shown(self):
        if sys.platform == "no such":
            inner = 1
""",
    "pkg/open.py": b"class Half:\n    def __getattr__(self, name):\n        return name\n",
    "pkg/whole.py": b"class Open:\n    def __getattr__(self, name):\n        return name\n",
}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    """The classes of a small project."""
    root = tmp_path_factory.mktemp("triage")
    write_files(root, FILES)
    return Definitions(root, (root,))


@pytest.fixture(scope="module")
def triage(definitions: Definitions, tmp_path_factory: pytest.TempPathFactory) -> Triage:
    """The triage of the project, whose sources lie in the same places of another folder."""
    root = tmp_path_factory.mktemp("triage")
    write_files(root, FILES)
    own = Definitions(root, (root,), python_version="3.11.7")
    project = Project(root, Path(sys.executable), "3.11.7", (root,), (), tuple(sorted(FILES)), ())
    return Triage(own, ClassStatements(project, own, Words(project)))


def marked(message: str, kind: CauseKind = CauseKind.MISSING_ATTRIBUTE, *, name: str = "gone") -> Diagnostic:
    """A finding of the checker with these words."""
    place = Position(1, 1)
    return Diagnostic(kind, "pkg/use.py", place, place, name, None, False, message, "pyrefly 1.4.1")


def owner(definitions: Definitions, name: str) -> Owner:
    """A class or module by its name."""
    found = definitions.named(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Object of class `str` has no attribute `gone`", Reason.OUTSIDE_THE_PROJECT),
        ("Class `Absent` has no class attribute `gone`", Reason.OUTSIDE_THE_PROJECT),
        ("Object of class `Open` has no attribute `gone`", Reason.DYNAMIC_OWNER),
        ("Class `Open` has no class attribute `gone`", None),
        ("Object of class `Half` has no attribute `gone`", None),
        ("Object of class `Base` has no attribute `gone`", None),
        ("Object of class `Point` has no attribute `gone`", None),
        ("No attribute `gone` in module `pkg.base`", None),
        ("Object of type `Base | Half | None` has no attribute `gone`", Reason.SOME_OF_A_UNION),
        ("Object of type `Base | Unknown` has no attribute `gone`", Reason.SOME_OF_A_UNION),
        ("Object of type `Base | str` has no attribute `gone`", Reason.SOME_OF_A_UNION),
        ("Object of type `Base | None` has no attribute `gone`", None),
        ("Object of type `Base | T` has no attribute `gone`", None),
        ("Object of type `Base | Self@Base` has no attribute `gone`", None),
        ("Object of type `type[Base] | Base` has no attribute `gone`", None),
    ],
    ids=[
        *("outside", "unknown", "all open", "open to instances only", "one open", "closed", "made", "a module"),
        *("two classes", "one unknown", "one built in", "one or none", "a type variable", "itself", "the class itself"),
    ],
)
def test_a_bare_class_name_rules_out_only_what_every_such_class_does(
    triage: Triage, message: str, reason: Reason | None
) -> None:
    """A finding is ruled out when each class of the name is out of the question, or one of two is meant; else it is
    looked at.
    """
    refusal = triage.ruled_out(marked(message))
    assert (refusal and refusal.reason) == reason
    assert triage.ruled_out(marked(message)) == refusal


def test_the_attribute_counts(triage: Triage) -> None:
    """What a class below has is ruled out for the class above, and nothing else of it."""
    message = "Object of class `Base` has no attribute `{}`"
    refusal = triage.ruled_out(marked(message.format("title"), name="title"))
    assert refusal is not None
    assert "pkg.base.Below" in refusal.detail
    assert triage.ruled_out(marked(message.format("name"), name="name")) is None


def test_other_findings_are_not_ruled_out(triage: Triage) -> None:
    """Imports, calls and the texts of patches are about something else than the class that is named."""
    message = "Object of class `str` has no attribute `gone`"
    assert triage.ruled_out(marked(message, CauseKind.MISSING_IMPORT)) is None
    assert triage.ruled_out(marked(message, CauseKind.MISSING_ARGUMENT)) is None


@pytest.mark.parametrize(
    ("name", "attribute", "reason"),
    [
        ("pkg.base.Base", "gone", None),
        ("pkg.base.Base", "title", Reason.DYNAMIC_OWNER),
        ("pkg.base.Below", "title", None),
        ("pkg.base.Open", "gone", Reason.DYNAMIC_OWNER),
        ("pkg.base", "gone", None),
        ("builtins.str", "gone", Reason.OUTSIDE_THE_PROJECT),
        ("pkg.base.Meta", "title", Reason.DYNAMIC_OWNER),
        *(("pkg.systems", name, Reason.UNREACHABLE) for name in ("gone", "opened", "old", "older", "oldest")),
        *(("pkg.systems", name, None) for name in ("wrong", "first", "second", "third", "size", "inner")),
        *(("pkg.systems.Here", name, Reason.UNREACHABLE) for name in ("gone", "size")),
        *(("pkg.systems.Here", name, None) for name in ("opened", "inner", "second")),
    ],
)
def test_an_owner_speaks_for_itself(
    triage: Triage, definitions: Definitions, name: str, attribute: str, reason: Reason | None
) -> None:
    """Of a known owner it is told whether what it lacks is a cause without a failing test."""
    refusal = triage.of_owner(owner(definitions, name), Access.INSTANCE, attribute)
    assert (refusal and refusal.reason) == reason
