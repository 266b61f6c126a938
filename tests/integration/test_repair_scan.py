"""A scan joins what the engine, the imports and failing tests know: a small project, scanned once with real parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from netra_repair.candidates import Decision
from netra_repair.causes import Proof, RootCause, Site
from netra_repair.diagnostics import CauseKind
from netra_repair.failures import SuiteResult
from netra_repair.findings import Findings
from netra_repair.git import Git
from netra_repair.project import discover
from netra_repair.refusals import Reason
from netra_repair.report.progress import shown
from netra_repair.scanner import Scanner, opened
from netra_repair.suite import Suite
from tests.support.sample_project import write

BASE = """\
class Base:
    @classmethod
    def made(cls, user):
        return cls()

    def sent(self, to, text):
        return to


class Left(Base):
    pass


class Right(Base):
    pass


Alias = Left


class Stranger:
    pass


class Late:
    pass


class Filled:
    pass


class Handed:
    pass


class Kept:
    pass


class Mixin:
    def greeting(self):
        return self.title


class Page(Mixin):
    title = "page"
"""
FILES: dict[str, str | bytes] = {
    "app/base.py": BASE,
    "app/names.py": "def new_name():\n    return 'name'\n",
    "app/family.py": """\
from app.base import Alias, Base, Left, Right, Stranger


def family():
    return Left.lost("a"), Right.lost("b"), Alias.lost("c")


def stranger():
    return Stranger.lost("d")


def anybody(thing):
    return thing.lost("e")


def nobody(thing):
    return thing.lost("f")


def probing():
    try:
        return Base.probed()
    except AttributeError:
        return None


def half(one: Left | Stranger):
    return one.made("g")


def perhaps(one: Left | None):
    return one.sent("a", "b"), one.lost("j")


def text(word: str):
    return word.shout()
""",
    "app/imports.py": "from app.names import old_name\n",
    "app/dotted.py": "import app.names as names\n\n\ndef named():\n    return names.old_name()\n",
    "app/late.py": """\
from app.base import Filled, Late


def fill(value):
    Late.filled = value
    setattr(Late, "put", value)
    Late.asked = value


def read():
    return Late.filled, Late.put


def ask():
    return Late.asked


def ask_again():
    return Late.asked


for each in ("a", "b"):
    setattr(Filled, "made_" + each, None)


def made():
    return Filled.made_a, Filled.lost_a
""",
    "app/tables.py": """\
import copyreg

import nowhere_orm.tables as tables
from app.base import Handed, Kept
from app.family import nobody


def columns():
    return Handed.column, Handed().column, Kept.column


tables.mapper(
    Handed,
    "handed",
)
nobody(Kept)
copyreg.pickle(Kept, nobody)
kept = tables.looked_at(Kept)
""",
    "app/calls.py": """\
from app.base import Base


def calls(rest, more):
    base = Base()
    base.sent(adress="a", text="b")
    base.sent("a", "b", "c")
    base.sent(adress="a", **more)
    base.sent("a", "b", "c", *rest)
""",
    "app/answers.py": "class Answer:\n    def __init__(self, status, body=''):\n        self.status = status\n",
    "app/refusals.py": """\
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nowhere_http as http
else:
    import app.answers as http


class Closed(Exception):
    def __init__(self, code=1000):
        self.code = code


class Refusal(http.Answer, Closed):
    pass


def refuse():
    raise Refusal(status=403, body="no")


def close():
    raise Closed(status=403)
""",
    "app/points.py": """\
from typing import NamedTuple


class Point(NamedTuple):
    colour: int = 0


class Cell:
    def __new__(cls, level):
        return object.__new__(cls)


def points():
    return Point(color=1), Cell(levels=2)
""",
    "app/latin.py": b"# coding: latin-1\n# \xe9\nfrom app.base import Left\n\n\ndef f():\n    return Left.lost('h')\n",
    "app/broken.py": "from app.base import Left\n\n\ndef call():\n    return Left.lost('i')\n\n\ndef broken(:\n",
    "tests/test_app.py": """\
from app.base import Left
from app.family import anybody, family
from app.late import ask


def test_family():
    assert family()


def test_anybody():
    assert anybody(Left())


def test_asked():
    assert ask()


def test_unexplained():
    getattr(Left, "un" + "known")


def test_of_something_else():
    assert 1 == 2


def test_good():
    assert Left.made("ann")
""",
}


@dataclass(frozen=True)
class Scanned:
    """The project, its scanner, and one scan with a run of its tests."""

    root: Path
    scanner: Scanner
    suite: SuiteResult
    findings: Findings

    def cause(self, key: str) -> RootCause:
        """A cause by its key."""
        [cause] = [cause for cause in self.findings.causes if cause.key == key]
        return cause

    def aside(self, attribute: str) -> list[tuple[str, Reason, str]]:
        """The places of a name that are set aside: file, reason and words."""
        return [
            (one.site.reference.path, one.refusal.reason, one.refusal.detail)
            for one in self.findings.set_aside
            if one.site.reference.attribute == attribute
        ]


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanned]:
    """The one scan that all tests look at."""
    root = write(tmp_path_factory.mktemp("scanned"), FILES)
    with pytest.MonkeyPatch.context() as patch, shown(Console(quiet=True)) as progress:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        project = discover(root)
        suite = Suite(project.root, project.python, project.search_paths).run(("tests/test_app.py",))
        with opened(project, Git(root), progress) as scanner:
            yield Scanned(root, scanner, suite, scanner.scan((), suite))


def lines(cause: RootCause) -> list[tuple[str, int]]:
    """Where the sites of a cause are."""
    return [(site.reference.path, site.reference.position.line) for site in cause.sites]


def at(cause: RootCause, path: str, line: int) -> Site:
    """The first site of a cause on a line."""
    return next(site for site in cause.sites if (site.reference.path, site.reference.position.line) == (path, line))


def test_subclasses_and_aliases_are_one_cause_at_the_class_above_them(scanned: Scanned) -> None:
    """What two subclasses and an alias lack is one cause, of the class that all of them inherit from."""
    cause = scanned.cause("app.base.Base.lost")
    family = [site for site in cause.sites if site.reference.position.line == 5 and "family" in site.reference.path]
    assert [site.receiver and site.receiver.short_name for site in family] == ["Left", "Right", "Left"]
    assert cause.owner.file == "app/base.py"
    assert not [other.key for other in scanned.findings.causes if "Left" in other.key or "Right" in other.key]


def test_what_a_library_is_handed_may_have_anything(scanned: Scanned) -> None:
    """A class that is given to a library for what that does to it has unknown attributes; other calls mean nothing."""
    handed = ("app/tables.py", Reason.DYNAMIC_OWNER)
    found = scanned.aside("column")
    assert [(path, reason) for path, reason, _ in found] == [handed, handed]
    assert "app/tables.py:13 hands app.base.Handed to a library" in found[0][2]
    assert lines(scanned.cause("app.base.Kept.column")) == [("app/tables.py", 9)]


def test_a_class_of_another_family_is_another_cause(scanned: Scanned) -> None:
    """The same name missing on a class that shares no base of the project is a cause of its own."""
    assert lines(scanned.cause("app.base.Stranger.lost")) == [("app/family.py", 9)]


def test_an_import_and_a_dotted_use_are_one_cause(scanned: Scanned) -> None:
    """`from m import old` and `m.old` lack the same thing of the same module."""
    cause = scanned.cause("app.names.old_name")
    assert lines(cause) == [("app/dotted.py", 5), ("app/imports.py", 1)]
    assert cause.ranking.decision is Decision.LIKELY
    assert cause.ranking.candidates[0].name == "new_name"


def test_guarded_places_alone_are_no_cause(scanned: Scanned) -> None:
    """What the code itself expects to be absent is set aside as guarded."""
    assert [(path, reason) for path, reason, _ in scanned.aside("probed")] == [("app/family.py", Reason.GUARDED)]
    assert not [cause.key for cause in scanned.findings.causes if cause.attribute == "probed"]


def test_a_mixin_may_count_on_its_subclasses(scanned: Scanned) -> None:
    """What a mixin uses and only a class below it has is set aside, naming that class."""
    [(path, reason, detail)] = scanned.aside("title")
    assert (path, reason) == ("app/base.py", Reason.DYNAMIC_OWNER)
    assert "app.base.Page" in detail


@pytest.mark.parametrize(("attribute", "line"), [("filled", 5), ("put", 6)])
def test_what_is_set_at_run_time_is_set_aside(scanned: Scanned, attribute: str, line: int) -> None:
    """An attribute that the program sets from outside is no cause, and the place that sets it is named."""
    [(path, reason, detail)] = scanned.aside(attribute)
    assert (path, reason) == ("app/late.py", Reason.DYNAMIC_OWNER)
    assert f"app/late.py:{line}" in detail


def test_what_may_be_set_under_a_computed_name_is_set_aside(scanned: Scanned) -> None:
    """An attribute that a place may set whose names are computed is no cause; one that it cannot spell is."""
    [(path, reason, detail)] = scanned.aside("made_a")
    assert (path, reason) == ("app/late.py", Reason.DYNAMIC_OWNER)
    assert "app/late.py:23 sets attributes of computed names" in detail
    assert lines(scanned.cause("app.base.Filled.lost_a")) == [("app/late.py", 27)]


def test_what_is_set_at_run_time_is_a_cause_where_a_test_died(scanned: Scanned) -> None:
    """Where a test died of it nothing had set it: that place is proven, and the others stay unproven."""
    cause = scanned.cause("app.base.Late.asked")
    died, other = cause.sites
    assert Proof.TEST in died.proofs
    assert died.refusal is None
    assert other.refusal is not None
    assert other.refusal.reason is Reason.DYNAMIC_OWNER
    assert cause.tests == ("tests/test_app.py::test_asked",)


def test_unions_are_set_aside(scanned: Scanned) -> None:
    """A place that may have one of several types is set aside, naming the one that lacks it."""
    [(path, reason, detail)] = scanned.aside("made")
    assert (path, reason) == ("app/family.py", Reason.SOME_OF_A_UNION)
    assert "only app.base.Stranger lacks it" in detail


def test_what_only_none_lacks_is_set_aside(scanned: Scanned) -> None:
    """What the class of an optional value has, and only None has not, is no cause."""
    [(path, reason, detail)] = scanned.aside("sent")[-1:]
    assert (path, reason) == ("app/family.py", Reason.OUTSIDE_THE_PROJECT)
    assert "None" in detail


def test_what_an_optional_value_lacks_is_a_site(scanned: Scanned) -> None:
    """What the class of an optional value lacks is missing there, whether or not it may be None as well."""
    site = at(scanned.cause("app.base.Base.lost"), "app/family.py", 32)
    assert site.receiver is not None
    assert site.receiver.name == "app.base.Left"
    assert site.proofs == (Proof.TYPE_SERVER,)


def test_an_owner_outside_of_the_project_is_set_aside(scanned: Scanned) -> None:
    """What a class of Python or of a library lacks is no cause of the project by itself."""
    assert scanned.aside("shout") == [("app/family.py", Reason.OUTSIDE_THE_PROJECT, "`str` is not of this project")]


def test_unknown_receivers_are_listed_as_unproven(scanned: Scanned) -> None:
    """A place of the name whose receiver nobody can tell is listed with the cause, and is no site of it."""
    cause = scanned.cause("app.base.Base.lost")
    assert [(place.path, place.position.line) for place in cause.unproven] == [("app/family.py", 17)]
    assert ("app/family.py", 17) not in lines(cause)


def test_what_no_engine_reads_is_covered_by_imports(scanned: Scanned) -> None:
    """A file that is not UTF-8 is listed as unread, and its places are proven by what it imports."""
    site = at(scanned.cause("app.base.Base.lost"), "app/latin.py", 7)
    assert site.proofs == (Proof.IMPORTS,)
    assert site.refusal is None
    assert "app/latin.py" in [blind.path for blind in scanned.findings.blind]


def test_what_does_not_parse_is_listed_and_refused(scanned: Scanned) -> None:
    """A file with a syntax error is listed, and a place in it is a site that is never rewritten."""
    site = at(scanned.cause("app.base.Base.lost"), "app/broken.py", 5)
    assert site.refusal is not None
    assert site.refusal.reason is Reason.SYNTAX_ERROR
    assert site.refusal.detail.startswith("the file cannot be parsed: ")
    assert "app/broken.py" in [blind.path for blind in scanned.findings.blind]


def test_calls_that_do_not_fit_are_causes(scanned: Scanned) -> None:
    """An unexpected keyword and too many positional arguments are causes of the function that is called."""
    misnamed = scanned.cause("app.base.Base.sent(adress=)")
    assert (misnamed.kind, lines(misnamed)) == (CauseKind.UNEXPECTED_KEYWORD, [("app/calls.py", 6)])
    counted = scanned.cause("app.base.Base.sent(*)")
    assert (counted.kind, lines(counted)) == (CauseKind.POSITIONAL_COUNT, [("app/calls.py", 7)])


def test_a_misnamed_keyword_is_not_also_a_missing_argument(scanned: Scanned) -> None:
    """That the parameter has no argument only follows from the keyword's wrong name: it is no cause of its own."""
    assert not [cause.key for cause in scanned.findings.causes if cause.kind is CauseKind.MISSING_ARGUMENT]


def test_a_call_that_another_base_takes_is_set_aside(scanned: Scanned) -> None:
    """A checker that cannot read the first base looks at the second one's constructor, which the call does not mean."""
    [closed] = [cause for cause in scanned.findings.causes if cause.owner.file in ("app/answers.py", "app/refusals.py")]
    assert (closed.key, lines(closed)) == ("app.refusals.Closed.__init__(status=)", [("app/refusals.py", 23)])
    aside = [one for one in scanned.findings.set_aside if one.site.reference.path == "app/refusals.py"]
    assert {(one.site.reference.position.line, one.refusal.reason) for one in aside} == {(19, Reason.DYNAMIC_OWNER)}
    assert {one.refusal.detail for one in aside} == {"app.answers.Answer.__init__ takes such a call"}


def test_what_makes_an_object_is_named_by_its_class(scanned: Scanned) -> None:
    """Where only `__new__` takes arguments, as of a NamedTuple, the call is its, and not `object.__init__`'s."""
    found = [cause for cause in scanned.findings.causes if cause.owner.file == "app/points.py"]
    assert {cause.key: cause.ranking.decision for cause in found} == {
        "app.points.Point.__new__(color=)": Decision.CHOSEN,
        "app.points.Cell.__new__(levels=)": Decision.LIKELY,
    }


def test_spread_arguments_are_set_aside(scanned: Scanned) -> None:
    """What `*rest` and `**more` hold only a run can tell: such calls are set aside."""
    found = [
        (one.site.reference.position.line, one.refusal.reason)
        for one in scanned.findings.set_aside
        if one.site.reference.path == "app/calls.py"
    ]
    assert found == [(8, Reason.STAR_ARGUMENTS), (9, Reason.STAR_ARGUMENTS)]


def test_a_test_proves_what_no_engine_can(scanned: Scanned) -> None:
    """Where a test died on an untyped receiver the place is a site, proven by that test alone."""
    site = at(scanned.cause("app.base.Base.lost"), "app/family.py", 13)
    assert site.proofs == (Proof.TEST,)
    assert site.tests == ("tests/test_app.py::test_anybody",)
    assert site.receiver is not None
    assert site.receiver.name == "app.base.Left"


def test_tests_are_joined_to_causes(scanned: Scanned) -> None:
    """Every test that died of something missing stands with its cause; other failures with none."""
    assert scanned.cause("app.base.Base.lost").tests == (
        "tests/test_app.py::test_anybody",
        "tests/test_app.py::test_family",
    )
    named = {test for cause in scanned.findings.causes for test in cause.tests}
    assert "tests/test_app.py::test_of_something_else" not in named


def test_tests_that_no_cause_explains_are_named(scanned: Scanned) -> None:
    """A test that died of something missing at a place that nobody can find is named as unexplained, and only that."""
    assert scanned.findings.unexplained == ("tests/test_app.py::test_unexplained",)


def test_only_what_was_asked_for_is_scanned(scanned: Scanned) -> None:
    """With paths only the places in them count, but the cause is the same."""
    findings = scanned.scanner.scan(["app/dotted.py"])
    assert [(cause.key, len(cause.sites)) for cause in findings.causes] == [("app.names.old_name", 1)]
    assert findings.files == 1


def test_without_tests_nothing_is_proven_by_tests(scanned: Scanned) -> None:
    """Without a run of the tests their sites are unproven, and what is set at run time is no cause."""
    findings = scanned.scanner.scan()
    assert "app.base.Late.asked" not in [cause.key for cause in findings.causes]
    [cause] = [cause for cause in findings.causes if cause.key == "app.base.Base.lost"]
    assert [place.position.line for place in cause.unproven] == [13, 17]
    assert cause.tests == findings.unexplained == ()


def test_causes_come_by_their_number_of_sites(scanned: Scanned) -> None:
    """The cause with the most sites is the first."""
    sizes = [len(cause.sites) for cause in scanned.findings.causes]
    assert sizes == sorted(sizes, reverse=True)
    assert scanned.findings.causes[0].key == "app.base.Base.lost"
