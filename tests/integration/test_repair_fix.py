"""A fix keeps what its tests hold, takes back what they do not, and writes only what was verified: with real runs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from netra_repair import oracle
from netra_repair.candidates import Decision
from netra_repair.fix import Fixer, Options
from netra_repair.git import Git
from netra_repair.images import images
from netra_repair.project import discover
from netra_repair.refusals import Reason
from netra_repair.repair import CauseRepair, Repair
from netra_repair.report.progress import shown
from netra_repair.scanner import opened
from netra_repair.suite import Suite
from netra_repair.workspace import Workspace
from tests.support.git_repository import Repo
from tests.support.sample_project import CAUSE, TEST, contents, mended, repair, write

CARD = """\
from typing import TYPE_CHECKING


class Card:
    @staticmethod
    def upper_limit():
        return 10

    if TYPE_CHECKING:

        def shown_name(self):
            return "?"

    @classmethod
    def made(cls, name):
        return cls()

    def first_name(self):
        return "Ann"

    def second_name(self):
        return "Bea"

    def third_name(self):
        return "Cid"
"""
FLOW = """\
from app.card import Card


def flow(card):
    names = [card.first_nmae()]
    names.append(card.secnd_name())
    return [*names, card.third_nam()]


def both(card):
    return card.first_nmae() + card.secnd_name()


def untested(card: Card):
    return card.first_nmae()
"""
QUIET = """\
from app.card import Card


def quiet():
    try:
        return Card.uper_limit()
    except Exception:
        return None


def loud():
    return Card.uper_limit()
"""
SHOWN = "def shown(card):\n    return card.shown_nmae()\n"
TESTS = """\
import os
from pathlib import Path

from app.card import Card
from app.flow import both, flow
from app.quiet import loud
from app.shown import shown


def test_flow():
    assert flow(Card.made("ann")) == ["Ann", "Bea", "Cid"]


def test_both():
    assert both(Card()) == "AnnBea"


def test_quiet():
    source = Path(__file__).parents[1] / "app" / "quiet.py"
    assert "return Card.uper_limit()\\n    except" in source.read_text()


def test_loud():
    assert loud() == 10


def test_shown():
    assert shown(Card())


def test_now_and_then():
    seen = Path(os.environ["OUTSIDE"], "seen")
    seen.unlink() if seen.exists() else seen.touch()
    assert seen.exists()
"""
MORE = """\
from app.ctx import Ctx


def made(factory=Ctx.create):
    return factory(user_id="bob", thread_id="t-2")


def test_more():
    assert made().user_id == "bob"
"""
FILES = {
    "tests/test_ctx.py": "",
    "app/card.py": CARD,
    "app/flow.py": FLOW,
    "app/quiet.py": QUIET,
    "app/shown.py": SHOWN,
    "tests/test_card.py": TESTS,
}


def fixed(root: Path, options: Options) -> Repair:
    """Fixes a project in a copy, as the command does; what its tests leave in the folder OUTSIDE stays there."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory() as outside,
        shown(Console(quiet=True)) as progress,
    ):
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("OUTSIDE", outside)
        with Workspace(discover(root)) as copy, opened(copy.project, Git(root), progress) as scanner:
            suite = Suite(copy.root, copy.project.python, copy.project.search_paths, around=copy.as_it_is)
            return Fixer(root, scanner, suite, options, progress).run()


@dataclass(frozen=True)
class Fixed:
    """The project, its files before, and what one fix of all its causes came to."""

    root: Path
    before: Mapping[str, bytes]
    repair: Repair

    def cause(self, name: str) -> CauseRepair:
        """What became of the cause of a missing method of the card."""
        [cause] = [cause for cause in self.repair.causes if cause.key == f"app.card.Card.{name}"]
        return cause


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Fixed:
    """The one fix that most tests look at."""
    root = write(tmp_path_factory.mktemp("fixed"), FILES)
    before = contents(root)
    return Fixed(root, before, fixed(root, Options()))


def changed(cause: CauseRepair) -> list[tuple[str, int]]:
    """Where a cause's places were changed and kept."""
    return [(file.path, site.site.reference.position.line) for file in cause.plan.files for site in file.sites]


def refused(cause: CauseRepair) -> list[tuple[str, int, Reason]]:
    """Where a cause's places were left or taken back, and why."""
    return [
        (each.site.reference.path, each.site.reference.position.line, each.refusal.reason)
        for each in cause.plan.refused
    ]


def test_a_chain_of_places_is_repaired_in_rounds(project: Fixed) -> None:
    """A test on an untyped receiver dies at one place after the other; in the end all are repaired and it passes."""
    assert [
        cause.key for cause in project.repair.findings.causes if "second" in cause.key or "third" in cause.key
    ] == []
    assert {cause.key for cause in project.repair.later} == {"app.card.Card.secnd_name", "app.card.Card.third_nam"}
    assert changed(project.cause("secnd_name")) == [("app/flow.py", 6), ("app/flow.py", 11)]
    assert changed(project.cause("third_nam")) == [("app/flow.py", 7)]
    assert "tests/test_card.py::test_flow" in project.repair.comparison.restored


def test_two_causes_in_one_file_and_line_are_both_repaired(project: Fixed) -> None:
    """Two causes meet on one line in two rounds; the plans are for the bytes that the project has now."""
    assert ("app/flow.py", 11) in changed(project.cause("first_nmae"))
    assert ("app/flow.py", 11) in changed(project.cause("secnd_name"))
    images_after = {
        image.path: image.after for image in images([cause.plan for cause in project.repair.causes], project.root)
    }
    assert images_after["app/flow.py"].decode() == (
        FLOW.replace("first_nmae", "first_name")
        .replace("secnd_name", "second_name")
        .replace("third_nam(", "third_name(")
    )


def test_a_change_that_breaks_a_passing_test_is_taken_back_alone(project: Fixed) -> None:
    """The one place whose change breaks a test that passed is refused as regressed; the others of its file stay."""
    cause = project.cause("uper_limit")
    assert refused(cause) == [("app/quiet.py", 6, Reason.REGRESSED)]
    assert "test_quiet" in cause.plan.refused[0].refusal.detail
    assert changed(cause) == [("app/quiet.py", 12)]
    assert project.repair.comparison.regressed == ()


def test_a_replacement_whose_call_dies_again_is_taken_back(project: Fixed) -> None:
    """What still dies at the place, now of the name that was put there, is refused as still failing."""
    cause = project.cause("shown_nmae")
    assert (changed(cause), refused(cause)) == ([], [("app/shown.py", 2, Reason.STILL_FAILS)])
    assert cause.restored == ()
    assert cause.success_rate == 0


def test_flaky_tests_prove_nothing(project: Fixed) -> None:
    """A test that ends differently without any change is named, and neither restored nor regressed."""
    comparison = project.repair.comparison
    assert comparison.flaky == ("tests/test_card.py::test_now_and_then",)
    assert not {*comparison.flaky} & {*comparison.restored, *comparison.regressed}


def test_success_is_counted_by_cause(project: Fixed) -> None:
    """Each cause counts the tests it broke, also those that came to it in a later round, and how many pass now."""
    cause = project.cause("secnd_name")
    assert cause.broken == cause.restored == ("tests/test_card.py::test_both", "tests/test_card.py::test_flow")
    assert cause.success_rate == 1


def test_what_no_test_ran_is_counted_as_uncovered(project: Fixed) -> None:
    """Of the three places of a cause the one that no test reaches is proven by types only."""
    cause = project.cause("first_nmae")
    assert changed(cause) == [("app/flow.py", 5), ("app/flow.py", 11), ("app/flow.py", 15)]
    assert cause.uncovered == 1


def test_what_remains_is_counted(project: Fixed) -> None:
    """After the fix only the two places are left that were taken back."""
    assert project.repair.remaining == 2


def test_nothing_is_written_to_the_project(project: Fixed) -> None:
    """A fix works on a copy: without an apply every file of the project is as it was."""
    assert contents(project.root) == project.before
    assert project.repair.run is None


BATCHED = {
    "tests/test_ctx.py": "",
    "app/card.py": CARD,
    "app/one.py": "from app.card import Card\n\n\ndef one():\n    return Card.uper_limit()\n",
    "app/two.py": QUIET,
    "tests/test_one.py": "from app.one import one\n\n\ndef test_one():\n    assert one() == 10\n",
    "tests/test_two.py": "from app.two import loud\n\n\ndef test_two():\n    assert loud() == 10\n",
    "tests/test_far.py": """\
from pathlib import Path


def test_far():
    source = Path(__file__).parents[1] / "app" / ("two" + ".py")
    assert "return Card.uper_limit()\\n    except" in source.read_text()
""",
}


def test_batches_together_stand_before_all_tests(tmp_path: Path) -> None:
    """Batches run their related tests, and in the end all tests run: what only these see is taken back, and no more."""
    root = write(tmp_path, BATCHED)
    repair = fixed(root, Options(batch_size=1))
    [cause] = repair.causes
    assert refused(cause) == [("app/two.py", 6, Reason.REGRESSED)]
    assert "tests/test_far.py::test_far" in cause.plan.refused[0].refusal.detail
    assert changed(cause) == [("app/one.py", 5), ("app/two.py", 12)]
    assert repair.comparison.regressed == ()
    assert set(repair.comparison.restored) == {"tests/test_one.py::test_one", "tests/test_two.py::test_two"}
    assert cause.batches > cause.rolled_back > 0


def test_a_persons_choice_is_applied_undone_and_applied_again(tmp_path: Path) -> None:
    """With --to and --apply the verified bytes are written, a second fix finds nothing, and undo restores all."""
    root = write(tmp_path, {"tests/test_more.py": MORE})
    before = contents(root)
    report = tmp_path.with_name("report.json")
    answer = repair(root, "fix", CAUSE, "--to", "from_request", "--apply", "-o", f"json:{report}")
    assert answer.code == 0, answer.told
    found = json.loads(report.read_text())["fix"]
    after = contents(root)
    assert after == before | {
        TEST: mended(before[TEST]),
        "tests/test_more.py": MORE.replace("create", "from_request").encode(),
    }
    assert found["causes"][0]["success_rate"]["after"]["percent"] == 100
    again = repair(root, "fix")
    assert again.code == 0, again.told
    assert contents(root) == after
    assert repair(root, "undo", found["run"]).code == 0
    assert contents(root) == before


def test_a_cause_is_met_again_at_a_class_above(tmp_path: Path) -> None:
    """A cause first seen on a subclass keeps its replacement, also when it turns out to be missing further up."""
    files = {
        "app/cards.py": """\
class Card:
    def shown_again(self):
        return self


class Red(Card):
    def shown_name(self):
        return "red"


class Blue(Card):
    pass
""",
        "app/show.py": "def show(one, other):\n    return [one.shown_nmae(), other.shown_nmae()]\n",
        "tests/test_ctx.py": """\
from app.cards import Blue, Red
from app.show import show


def test_show():
    assert show(Red(), Red()) == ["red", "red"]


def test_mixed():
    assert show(Red(), Blue()) == ["red", "blue"]
""",
    }
    repair = fixed(write(tmp_path, files), Options(causes=("shown_nmae",), to="shown_name"))
    [cause] = repair.causes
    assert (changed(cause), repair.remaining) == ([("app/show.py", 2)], 1)
    assert repair.comparison.regressed == ()


def test_a_place_that_two_classes_come_to_is_not_contested(tmp_path: Path) -> None:
    """Where two unrelated classes would need different names at one place, it is refused for both of them."""
    files = {
        "app/cards.py": """\
class Red:
    def shown_name(self):
        return "red"


class Blue:
    def shown_fame(self):
        return "blue"
""",
        "app/show.py": "def show(one):\n    return one.shown_nane()\n",
        "tests/test_ctx.py": """\
from app.cards import Blue, Red
from app.show import show


def test_red():
    assert show(Red()) == "red"


def test_blue():
    assert show(Blue()) == "blue"
""",
    }
    repair = fixed(write(tmp_path, files), Options())
    assert [cause.plan.replacement for cause in repair.causes] == ["shown_fame", "shown_name"]
    for cause in repair.causes:
        assert (changed(cause), refused(cause)) == ([], [("app/show.py", 2, Reason.SOME_OF_A_UNION)])


SHAPES = """\
class Round:
    def outline(self):
        return "o"


class Square:
    def outlne(self):
        return "s"
"""
SHARED: dict[str, str | bytes] = {
    "tests/test_ctx.py": "",
    "app/shapes.py": SHAPES,
    "app/draw.py": "def draw(shape):\n    return shape.outlne()\n\n\ndef both(one, two):\n"
    "    return one.outlne() + two.outlne()\n",
}
USES = """\
from app.draw import both, draw
from app.shapes import Round, Square


def test_round():
    assert draw(Round()) == "o"


def test_square():
    assert draw(Square()) == "s"


def test_both():
    assert both(Square(), Round()) == "so"
"""


@pytest.mark.parametrize("also", [{}, {"app/shapes.py": SHAPES + "\n    def outline(self):\n        return 'other'\n"}])
def test_a_place_that_passing_tests_run_with_another_class_is_left_alone(also: dict[str, str], tmp_path: Path) -> None:
    """An untyped place is not rewritten for one class while a test passes there with another; the other places are."""
    root = write(tmp_path, {**SHARED, **also, "tests/test_shapes.py": USES})
    [cause] = fixed(root, Options()).causes
    assert (cause.key, cause.plan.replacement) == ("app.shapes.Round.outlne", "outline")
    assert refused(cause) == [("app/draw.py", 2, Reason.SOME_OF_A_UNION)]
    [file] = cause.plan.files
    [site] = file.sites
    assert (site.site.reference.position.line, site.site.reference.position.column) == (6, 31)
    assert cause.restored == ("tests/test_shapes.py::test_both",)


def test_a_place_that_an_undecided_class_comes_to_is_left_alone(tmp_path: Path) -> None:
    """Where another class dies too and nothing shows what it means, the place is not rewritten for the first alone."""
    shapes = SHAPES.replace("def outlne", "def a_outlne") + "\n    def b_outlne(self):\n        return 'b'\n"
    root = write(tmp_path, {**SHARED, "app/shapes.py": shapes, "tests/test_shapes.py": USES})
    repair = fixed(root, Options(causes=("Round.outlne",)))
    [cause] = repair.causes
    assert {each.key for each in repair.findings.causes} == {"app.shapes.Round.outlne", "app.shapes.Square.outlne"}
    assert ("app/draw.py", 2, Reason.SOME_OF_A_UNION) in refused(cause)
    assert changed(cause) == []


def test_classes_of_one_base_get_each_what_is_meant_for_it(tmp_path: Path) -> None:
    """Two siblings that lack the same name are two causes where each has another method that comes nearest."""
    files = {
        "tests/test_ctx.py": "",
        "app/kinds.py": "class Base:\n    pass\n\n\nclass A(Base):\n    def show_name(self):\n        return 1\n\n\n"
        "class B(Base):\n    def shown_names(self):\n        return 2\n",
        "tests/test_kinds.py": "from app.kinds import A, B\n\n\ndef test_a():\n    assert A().shown_name() == 1\n\n\n"
        "def test_b():\n    assert B().shown_name() == 2\n",
    }
    repair = fixed(write(tmp_path, files), Options())
    assert {(cause.key, cause.plan.replacement) for cause in repair.causes} == {
        ("app.kinds.A.shown_name", "show_name"),
        ("app.kinds.B.shown_name", "shown_names"),
    }
    assert len(repair.comparison.restored) == 2


def test_classes_of_one_base_with_different_parameters_share_no_place(tmp_path: Path) -> None:
    """A place that two siblings come to is left alone when the call does not fit what one of them has."""
    files = {
        "tests/test_ctx.py": "",
        "app/kinds.py": "class Base:\n    pass\n\n\n"
        "class A(Base):\n    def shown_names(self, one):\n        return 1\n\n\n"
        "class B(Base):\n    def shown_names(self, one, two):\n        return 2\n",
        "tests/test_kinds.py": "import pytest\nfrom app.kinds import A, B\n\n\n"
        "@pytest.mark.parametrize('kind', [A, B])\ndef test_kind(kind):\n    assert kind().shown_name(1)\n",
    }
    [cause] = fixed(write(tmp_path, files), Options()).causes
    assert refused(cause) == [("tests/test_kinds.py", 7, Reason.SOME_OF_A_UNION)]


def test_what_a_base_had_once_is_told_for_its_subclasses(tmp_path: Path) -> None:
    """What a base lost is found in the base's history, also where only a subclass is asked for it."""
    repo = Repo(tmp_path / "project")
    body = "\n".join(f"        self.seen.append({number})" for number in range(6))
    base = "class Base:\n    def __init__(self):\n        self.seen = []\n\n"
    base += f"    def gathered(self):\n{body}\n        return self\n"
    repo.commit(lib=base + "\n\nclass Below(Base):\n    pass\n")
    repo.commit(lib=base.replace("gathered", "with_all") + "\n\nclass Below(Base):\n    pass\n")
    repo.commit(test_lib="from lib import Below\n\n\ndef test_it():\n    assert Below().gathered().seen\n")
    [cause] = fixed(repo.root, Options()).causes
    assert (cause.key, cause.plan.replacement) == ("lib.Below.gathered", "with_all")
    assert cause.restored == ("test_lib.py::test_it",)


TRIED = """\
class Box:
    def count_all(self):
        return 3

    def weigh_all(self):
        return 70


class Shelf:
    def list_boxes(self):
        return ["one"]

    def drop_boxes(self, boxes):
        return None
"""
TRIES = """\
from tried import Box, Shelf

def test_count():
    assert Box().count() == 3

def test_count_twice():
    assert Box().count() + Box().count() == 6

def test_list():
    assert Shelf().list_first() == "one"

def test_list_again():
    assert Shelf().list_first()[0] == "o"
"""


def test_what_is_only_likely_is_kept_where_its_tests_pass_and_taken_back_where_not(tmp_path: Path) -> None:
    """A likely replacement is tried: one brings its tests back, the other does not and leaves no trace."""
    (tmp_path / "tried.py").write_text(TRIED)
    (tmp_path / "test_tried.py").write_text(TRIES)
    repair = fixed(tmp_path, Options())
    by_key = {cause.key: cause for cause in repair.causes}
    kept, withdrawn = by_key["tried.Box.count"], by_key["tried.Shelf.list_first"]
    assert {cause.ranking.decision for cause in repair.findings.causes} == {Decision.LIKELY}
    assert [line for _, line in changed(kept)] == [4, 7, 7]
    assert kept.restored == kept.broken
    assert changed(withdrawn) == []
    assert [reason for *_, reason in refused(withdrawn)] == [Reason.NOT_CONFIRMED] * 2
    assert "list_boxes" not in repair.diff


NEXT = """\
class Store:
    def count_boxes(self):
        return 70

    def count_all(self):
        return 3

    def count_each(self, box):
        return 3
"""
NEXT_TESTS = """\
from store import Store

def test_count():
    assert Store().count_stored_boxes() == {right}

def test_count_twice():
    assert Store().count_stored_boxes() + Store().count_stored_boxes() == 2 * {right}
"""


@pytest.mark.parametrize(("right", "replacement"), [(70, "count_boxes"), (3, "count_all")])
def test_the_next_likely_one_is_tried_where_the_tests_speak_against_the_first(
    right: int, replacement: str, tmp_path: Path
) -> None:
    """What the tests have refuted is no candidate any more; what is likely without it is kept where they pass."""
    (tmp_path / "store.py").write_text(NEXT)
    (tmp_path / "test_store.py").write_text(NEXT_TESTS.format(right=right))
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert cause.plan.replacement == replacement
    assert [line for _, line in changed(cause)] == [4, 7, 7]
    assert cause.restored == cause.broken


HOOKS = """\
class Step:
    def run(self, value):
        return self._run(value)

    def _the_run(self, value):
        return value + 1


def test_run():
    assert Step().run(1) == 2
"""


def test_the_public_name_gives_way_where_the_tests_speak_for_a_private_one(tmp_path: Path) -> None:
    """`run` is likely for a missing `_run`, and calls it: the tests refute it, and confirm the next one."""
    (tmp_path / "test_hooks.py").write_text(HOOKS)
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert cause.plan.replacement == "_the_run"
    assert repair.comparison.restored == ("test_hooks.py::test_run",)


def test_no_other_name_is_tried_for_a_choice_that_has_grounds(tmp_path: Path) -> None:
    """A test that fails with the very name in another spelling has found a bug, which another name would hide."""
    (tmp_path / "test_store.py").write_text(
        "class Store:\n    items = ()\n\n    def save_all(self, items):\n        raise ValueError('full')\n\n"
        "    def save_all_later(self, items):\n        self.queued = items\n\n\n"
        "def test_it():\n    Store().saveAll([1])\n"
    )
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert (cause.plan.replacement, changed(cause), repair.diff) == ("save_all", [], "")
    assert [reason for *_, reason in refused(cause)] == [Reason.NOT_CONFIRMED]


SWALLOWED = """\
class Basket:
    def __init__(self, prices):
        self.prices = prices

    def each(self, *, lowest):
        return [price for price in self.prices if price >= lowest]


def total(basket: Basket):
    try:
        return sum(basket.each(2))
    except TypeError:
        return None


def probed(basket: Basket):
    try:
        return sorted(basket.each(2))
    except TypeError:
        return None


def test_total():
    assert total(Basket([1, 2, 3])) == 5


def test_probed():
    assert probed(Basket([3])) is None


def test_each():
    assert Basket([1]).each(1) == [1]
"""


def test_an_except_for_something_else_does_not_keep_a_call_from_being_mended(tmp_path: Path) -> None:
    """Where a failing test caught that the call does not fit, what may be meant for `sum` guards nothing."""
    (tmp_path / "test_basket.py").write_text(SWALLOWED)
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert [line for _, line in changed(cause)] == [11, 32]
    assert repair.comparison.restored == ("test_basket.py::test_total", "test_basket.py::test_each")
    [left] = [site for site in repair.findings.causes[0].sites if site.reference.position.line == 18]
    assert left.refusal is not None
    assert left.refusal.reason is Reason.GUARDED


FALLBACK = """\
class Cache:
    def get(self, key, default_value=""):
        return key

    def get_name(self):
        return "cache"


def load(cache: Cache):
    try:
        return str(cache.get("a", defaultValue="b"))
    except TypeError:
        return None


def name_of(cache: Cache):
    try:
        return cache.get_nmae()
    except Exception:
        return ""


def test_it():
    assert load(Cache()) is None
    assert name_of(Cache()) == "cache"
"""


def test_what_a_test_caught_besides_what_it_failed_of_stays_guarded(tmp_path: Path) -> None:
    """A misfit that code catches on purpose is seen in a test that fails of something else, and is not mended."""
    (tmp_path / "test_cache.py").write_text(FALLBACK)
    repair = fixed(tmp_path, Options())
    assert {path_line for cause in repair.causes for path_line in changed(cause)} == {("test_cache.py", 18)}
    assert repair.comparison.restored == ("test_cache.py::test_it",)


NOT_ALONE = """\
import sys


class Disk:
    def load_all(self):
        return 1

    def run(self, job, retries=0):
        return retries


class Tape:
    def load_al(self):
        return 2


class Fast(Disk):
    def run(self, job, retries=0, retry=0):
        return retry


class Console:
    if sys.platform == "win32":
        def clear_windows(self):
            return 1

    def clear_window(self):
        return 1


def start(store: Disk | Tape):
    return store.load_al()


def begin(disk: Disk):
    return disk.run("a", retry=1)


def clear(console: Console):
    if sys.platform == "win32":
        return console.clear_windows()
    return 0


def test_start():
    assert start(Disk()) == 1


def test_begin():
    assert begin(Disk()) == 1


def test_clear(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert clear(Console()) == 1
"""


def test_one_failing_test_does_not_speak_for_all_that_come_to_a_place(tmp_path: Path) -> None:
    """What another class of the same place has, a subclass takes, or another platform defines stays as it is."""
    (tmp_path / "test_shared.py").write_text(NOT_ALONE)
    repair = fixed(tmp_path, Options())
    assert (repair.diff, repair.comparison.restored) == ("", ())


LEFTOVERS = """\
from pathlib import Path

from store import Store


def test_it():
    out = Path("out.txt")
    assert not out.exists()
    out.write_text("once")
    assert Store().count_stored_boxes() == 70
    out.unlink()
"""


def test_what_a_failing_test_leaves_behind_does_not_fail_the_next_run(tmp_path: Path) -> None:
    """Every run of the tests begins with the files of the project, whatever the run before has left."""
    (tmp_path / "store.py").write_text(NEXT)
    (tmp_path / "test_store.py").write_text(LEFTOVERS)
    repair = fixed(tmp_path, Options())
    assert repair.comparison.restored == ("test_store.py::test_it",)


TOO_LATE = """\
import sys, unittest

from store import Store


class Tests(unittest.TestCase):
    def test_raises(self):
        self.assertRaises(TypeError, Store().countBoxes, 1)
        self.assertRaises(AttributeError, Store(1).countBoxes)
        with self.assertRaises(TypeError):
            Store().countBoxes(1)

    def test_empty(self):
        self.assertRaises(AttributeError, Store(None).countBoxes)
        self.assertEqual(Store().countBoxes()(1), 0)

    def test_new(self):
        if sys.version_info >= (3, 8):
            self.assertEqual(Store().countBoxes()(1), 0)
"""


def test_what_an_assertion_came_too_late_for_is_repaired(tmp_path: Path) -> None:
    """`assertRaises(AttributeError, C.m)` asks for `m` first, a call in `raises` need not fit, what ran is meant."""
    (tmp_path / "store.py").write_text(
        "class Store:\n    def __init__(self, boxes=()):\n        self.boxes = boxes\n\n"
        "    def count_boxes(self):\n        return self.boxes.count\n"
    )
    (tmp_path / "test_store.py").write_text(TOO_LATE)
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert ([line for _, line in changed(cause)], refused(cause)) == ([8, 9, 11, 14, 15, 19], [])
    assert len(repair.comparison.restored) == 3


def test_what_comes_to_light_after_a_second_try_is_repaired_too(tmp_path: Path) -> None:
    """A test that goes on, with the second name, to die of something else that is missing has that repaired as well."""
    (tmp_path / "store.py").write_text(NEXT + "\n\nclass Card:\n    def first_name(self):\n        return 'Ann'\n")
    (tmp_path / "test_store.py").write_text(
        "from store import Card, Store\n\n\ndef use(card):\n    return card.firstName()\n\n\n"
        "def test_it():\n    assert Store().count_stored_boxes() == 3\n    assert use(Card()) == 'Ann'\n"
    )
    repair = fixed(tmp_path, Options())
    assert {cause.key: cause.plan.replacement for cause in repair.causes} == {
        "store.Store.count_stored_boxes": "count_all",
        "store.Card.firstName": "first_name",
    }
    assert repair.comparison.restored == ("test_store.py::test_it",)


def test_when_the_tests_refute_all_that_is_likely_nothing_is_changed(tmp_path: Path) -> None:
    """Each is tried once, and no more is made of it than a refusal that names the one that came nearest."""
    (tmp_path / "store.py").write_text(NEXT)
    (tmp_path / "test_store.py").write_text(NEXT_TESTS.format(right=5))
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert (cause.plan.replacement, cause.restored, repair.diff) == ("count_boxes", (), "")
    assert [reason for *_, reason in refused(cause)] == [Reason.NOT_CONFIRMED] * 3


CACHES = """\
class Timed:
    def __init__(self):
        self._timer = lambda: 3

    @property
    def clock(self):
        return self._timer

    def now(self):
        return self.timer()
"""
CACHE_TESTS = """\
from caches import Timed


class Mixin:
    def test_it(self):
        assert self.Cache().now() == 3

    def test_below(self):
        class Below(self.Cache):
            pass

        assert Below().now() == 3

    def test_further_below(self):
        class FurtherBelow(self.Cache):
            kept = 1

        assert FurtherBelow().now() == 3


class TestTimed(Mixin):
    Cache = Timed
"""


def test_classes_whose_bases_only_the_program_knows_have_their_cause_above(tmp_path: Path) -> None:
    """What lacks something that its base has lost, and says its base by a variable, is no cause of its own."""
    (tmp_path / "caches.py").write_text(CACHES)
    (tmp_path / "test_caches.py").write_text(CACHE_TESTS)
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert (cause.key, cause.plan.replacement, changed(cause)) == ("caches.Timed.timer", "clock", [("caches.py", 10)])
    assert len(cause.restored) == 3


MACHINE = """\
from functools import partial


class State:
    def __init__(self):
        self.on_enter = []

    def scoped_enter_here(self, model):
        return f"entered {model}"


class Change:
    def run(self):
        return self._change_state(1)

    def _on_change_state(self, state):
        return state


class AsyncChange(Change):
    async def run(self):
        return await self._change_state(2)

    async def _on_change_state(self, state):
        return state


def entering(state, model):
    return partial(state.scoped_enter, model)


def is_entering(state, part):
    return state.scoped_enter == part.func
"""
MACHINE_TESTS = """\
import asyncio

from machine import AsyncChange, Change, State, entering, is_entering


def test_entering():
    state = State()
    part = entering(state, 1)
    assert part() == "entered 1"
    assert is_entering(state, part)


def test_change():
    assert Change().run() == 1
    assert asyncio.run(AsyncChange().run()) == 2
"""


def test_what_tests_met_says_what_stands_there(tmp_path: Path) -> None:
    """A coroutine that overrides a function, and what `partial` takes, are fitted as the tests met them; and a
    comparison that comes to light later is of the same method."""
    (tmp_path / "machine.py").write_text(MACHINE)
    (tmp_path / "test_machine.py").write_text(MACHINE_TESTS)
    repair = fixed(tmp_path, Options())
    found = {cause.key: (cause.plan.replacement, [line for _, line in changed(cause)]) for cause in repair.causes}
    assert found == {
        "machine.State.scoped_enter": ("scoped_enter_here", [29, 33]),
        "machine.Change._change_state": ("_on_change_state", [14, 22]),
    }
    assert len({test for cause in repair.causes for test in cause.restored}) == 2


OTHERS = """\
from functools import partial


class Api:
    def __init__(self):
        self.sent = []

    def submit(self, body):
        self.sent.append(body)


class Order:
    def pay_load(self):
        return {}


class Job:
    def Status(self):
        return "done"


class Button:
    def __init__(self, call_back):
        self.call_back = call_back


def send(api: Api, order: Order):
    api.submit(order.payload)


def is_same(order: Order, other: dict):
    return order.payload == other


def run(job: Job):
    return job.status()


def is_done(job: Job):
    return job.status == "done"


def pressing(button: Button):
    return partial(button.callback, 1)
"""
OTHERS_TESTS = """\
from others import Api, Button, Job, Order, pressing, run, send


def test_send():
    api = Api()
    send(api, Order())
    assert len(api.sent) == 1


def test_run():
    assert run(Job()) == "done"


def test_pressing():
    assert pressing(Button(lambda count: count + 1))() == 2
"""


def test_methods_and_values_are_told_apart(tmp_path: Path) -> None:
    """A method takes no value's place, also where that is compared; and what `partial` takes may be a field."""
    (tmp_path / "others.py").write_text(OTHERS)
    (tmp_path / "test_others.py").write_text(OTHERS_TESTS)
    repair = fixed(tmp_path, Options())
    found = {cause.key: (cause.plan.replacement, [line for _, line in changed(cause)]) for cause in repair.causes}
    assert found == {"others.Job.status": ("Status", [36]), "others.Button.callback": ("call_back", [44])}
    [job] = [cause for cause in repair.causes if cause.key == "others.Job.status"]
    assert refused(job) == [("others.py", 40, Reason.KIND_MISMATCH)]


FAMILY = """\
class Timed:
    def expire(self, *, time): ...
    def drop(self, time): ...


class Mixin:
    def expire(self, *, time): ...


class Short(Timed, Mixin):
    def expire(self, *, time): ...
    def drop(self, time, count): ...


class Long(Short):
    def expire(self, *, time): ...


def expiring(timed: Timed, short: Short, long: Long, now, then):
    timed.expire(now, then)
    short.expire(now, then)
    long.expire(now, then)
    short.drop(now, now, then)
"""


def test_causes_in_methods_that_override_each_other_name_the_first_one(tmp_path: Path) -> None:
    """A call that does not fit an override names the method farthest up its own line that takes the same, as its kin.

    They stay causes of their own, since what one's tests and history say may be wrong for the other.
    """
    (tmp_path / "caches.py").write_text(FAMILY)
    (tmp_path / "test_caches.py").write_text("def test_it(): pass\n")
    causes = fixed(tmp_path, Options()).findings.causes
    assert {cause.key: cause.family for cause in causes} == {
        "caches.Timed.expire(*)": "",
        "caches.Short.expire(*)": "caches.Timed.expire",
        "caches.Long.expire(*)": "caches.Timed.expire",
        "caches.Short.drop(*)": "",
    }


def test_the_past_of_what_breaks_tests_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many causes to ask git about, those that break tests come before those with more places."""
    monkeypatch.setattr("netra_repair.scanner._CLOSELY", 1)
    code = "class A:\n    def made(self): ...\nclass B:\n    def done(self): ...\n\n\n"
    code += "def run(a: A): return a.maed()\ndef more(b: B): return b.doen() + b.doen()\n"
    (tmp_path / "shop.py").write_text(code)
    (tmp_path / "test_shop.py").write_text("from shop import A, run\n\n\ndef test_it():\n    run(A())\n")
    causes = fixed(tmp_path, Options()).findings.causes
    asked = {cause.attribute: not cause.past.detail.startswith("not looked up") for cause in causes}
    assert asked == {"maed": True, "doen": False}


HANDED_OUT = """\
class Base:
    _label = "a"

    @property
    def caption(self):
        return self._label


class Fancy(Base):
    @property
    def caption(self):
        return {fancy}


def plain(base: Base):
    return base.label


def fancy(fancy: Fancy):
    return fancy.label
"""


@pytest.mark.parametrize(("fancy", "lines"), [("self._label", [16, 20]), ("f'*{self._label}*'", [])])
def test_a_property_that_hands_out_the_field_does_so_for_every_class(
    fancy: str, lines: list[int], tmp_path: Path
) -> None:
    """What stands before the field of the missing name is chosen where each class that is asked has it so."""
    (tmp_path / "labels.py").write_text(HANDED_OUT.replace("{fancy}", fancy))
    (tmp_path / "test_labels.py").write_text("def test_it():\n    assert True\n")
    repair = fixed(tmp_path, Options())
    assert [line for cause in repair.causes for _, line in changed(cause)] == lines


TRANSLATING = """\
class Row:
    def toRow(self):
        return 3


class Exporter:
    def __init__(self, row: Row):
        self.row: Row = row

    def export(self):
        try:
            return self.row.to_row()
        except AttributeError:
            raise TypeError("rows need to_row()") from None
"""


@pytest.mark.parametrize(("test", "lines"), [("assert Exporter(Row()).export() == 3", [12]), ("pass", [])])
def test_what_is_raised_anew_is_repaired_where_a_test_fails_of_it(test: str, lines: list[int], tmp_path: Path) -> None:
    """A handler that always raises may tell of a contract, so types alone are not enough there."""
    (tmp_path / "rows.py").write_text(TRANSLATING)
    (tmp_path / "test_rows.py").write_text(f"from rows import Exporter, Row\n\n\ndef test_it():\n    {test}\n")
    repair = fixed(tmp_path, Options())
    assert [line for cause in repair.causes for _, line in changed(cause)] == lines


ENDPOINT = """\
class Endpoint:
    def __init__(self, kind, handlers):
        self._kind = kind
        self._handlers = handlers

    @property
    def handlers(self):
        return self._handlers

    @property
    def default_response_kind(self):
        return self._kind

    def named(self, kind):
        return self.handlers.get(kind, self.default_response_kind_handler)

    def answer(self, kind):
        return self.handlers.get(kind, self.default_response_kind_handler).upper()

    def checked(self, kind):
        handler = self.handlers.get(kind, self.default_response_kind_handler)
        return handler.checked
"""
ENDPOINT_TESTS = """\
import pytest
from endpoint import Endpoint


class Handler:
    checked = True

    def upper(self):
        return "HANDLED"


@pytest.fixture
def endpoint():
    return Endpoint("code", {"code": Handler(), "token": Handler()})


def test_named(endpoint):
    assert endpoint.named("token").upper() == "HANDLED"


def test_answer(endpoint):
    assert endpoint.answer("token") == "HANDLED"


def test_checked(endpoint):
    assert endpoint.checked("token")


"""
# With the value of the other property: one fails of what the value is, one of what it lacks.
OTHERWISE = {
    "another value": "def test_default(endpoint):\n    assert endpoint.answer('none') == 'HANDLED'\n",
    "missing on the value": "def test_default(endpoint):\n    assert endpoint.checked('none')\n",
}


@pytest.mark.parametrize("test", OTHERWISE.values(), ids=OTHERWISE)
def test_a_dropped_property_does_not_become_its_neighbour(test: str, tmp_path: Path) -> None:
    """Nearly its name, unused and fitting, and three of four tests pass with it: it is likely, tried and taken back."""
    (tmp_path / "endpoint.py").write_text(ENDPOINT)
    (tmp_path / "test_endpoint.py").write_text(ENDPOINT_TESTS + test)
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert (cause.key, cause.plan.replacement) == (
        "endpoint.Endpoint.default_response_kind_handler",
        "default_response_kind",
    )
    assert [each.ranking.decision for each in repair.findings.causes] == [Decision.LIKELY]
    assert refused(cause) == [("endpoint.py", line, Reason.NOT_CONFIRMED) for line in (15, 18, 21)]
    assert "test_default" in cause.plan.refused[0].refusal.detail
    assert (len(cause.broken), cause.restored, repair.diff) == (4, (), "")


RENAMED = """\
class Scale:
    def __init__(self):
        self.seen = []

    def {}(self, amount):
        self.seen.append(amount)
        self.seen.append(amount + 1)
        self.seen.append(amount + 2)
        return sum(self.seen){}
"""


def test_a_choice_that_brings_no_test_back_is_taken_back(tmp_path: Path) -> None:
    """What git saw renamed has grounds of its own; where it gives other values, its tests still speak against it."""
    repo = Repo(tmp_path / "project")
    repo.commit(scale=RENAMED.format("weighed", ""))
    repo.commit(scale=RENAMED.format("as_total", " * 1000"))
    repo.commit(
        test_scale="from scale import Scale\n\n\ndef test_one():\n    assert Scale().weighed(1) == 6\n\n\n"
        "def test_two():\n    assert Scale().weighed(2) > 0\n"
    )
    repair = fixed(repo.root, Options())
    [cause] = repair.causes
    assert [each.ranking.decision for each in repair.findings.causes] == [Decision.CHOSEN]
    assert refused(cause) == [("test_scale.py", 5, Reason.NOT_CONFIRMED)]
    assert "test_one" in cause.plan.refused[0].refusal.detail
    assert (changed(cause), cause.restored) == ([("test_scale.py", 9)], ("test_scale.py::test_two",))
    told = fixed(repo.root, Options(causes=(cause.key,), to="as_total"))
    assert changed(told.causes[0]) == [("test_scale.py", 5), ("test_scale.py", 9)]


def test_what_a_passing_test_runs_is_left_alone(tmp_path: Path) -> None:
    """A place that a passing test runs before any change lives, whatever the types say; the dead one is repaired."""
    (tmp_path / "lib.py").write_text(
        "class C:\n    def total(self):\n        return 1\n\n\ndef alive(c: C):\n    return c.totl()\n\n\n"
        "def dead(c: C):\n    return c.totl()\n"
    )
    (tmp_path / "test_lib.py").write_text(
        "from lib import C, alive, dead\n\n\ndef test_alive():\n    c = C()\n"
        "    getattr(c, '__dict__')['totl'] = lambda: 2\n"
        "    assert alive(c) == 2\n\n\ndef test_dead():\n    assert dead(C()) == 1\n"
    )
    [cause] = fixed(tmp_path, Options()).causes
    assert changed(cause) == [("lib.py", 11)]
    assert refused(cause) == [("lib.py", 7, Reason.DYNAMIC_OWNER)]


def test_a_change_with_which_a_test_never_ends_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is likely may make a loop endless: the run is stopped when nothing comes any more, and says so."""
    monkeypatch.setattr(oracle, "QUIET_S", 1.0)
    (tmp_path / "lib.py").write_text(
        "class Retry:\n    def _wants_more_now(self):\n        return True\n\n"
        "    def run(self):\n        while self._wants_more():\n            pass\n"
    )
    (tmp_path / "test_lib.py").write_text("from lib import Retry\n\n\ndef test_run():\n    Retry().run()\n")
    [cause] = fixed(tmp_path, Options()).causes
    assert refused(cause) == [("lib.py", 6, Reason.REGRESSED)]
    assert "no test had begun or ended for" in cause.plan.refused[0].refusal.detail
    assert "while test_lib.py::test_run ran" in cause.plan.refused[0].refusal.detail


def test_a_place_that_another_class_comes_to_later_takes_nothing_back_but_itself(tmp_path: Path) -> None:
    """A test that dies at a mended place of a class without the new name speaks against that place alone."""
    (tmp_path / "lib.py").write_text(
        "class Sheet:\n    def __init__(self):\n        self.rules = []\n\n"
        "    def add_here(self, rule):\n        self.rules.append(rule)\n\n\n"
        "class Media:\n    rules = ()\n\n    def add(self, rule):\n        self.rules += (rule,)\n\n\n"
        "def put(target, rule):\n    target.add(rule)\n\n\ndef put_also(target, rule):\n    target.add(rule)\n"
    )
    (tmp_path / "test_lib.py").write_text(
        "from lib import Media, Sheet, put, put_also\n\n\n"
        "def test_one():\n    sheet = Sheet()\n    sheet.add(1)\n    assert sheet.rules == [1]\n\n\n"
        "def test_both():\n    sheet, media = Sheet(), Media()\n    put(sheet, 1)\n    put_also(sheet, 2)\n"
        "    put(media, 1)\n    assert (sheet.rules, media.rules) == ([1, 2], (1,))\n"
    )
    cause, *_ = fixed(tmp_path, Options()).causes
    assert (changed(cause), cause.restored) == ([("lib.py", 21), ("test_lib.py", 6)], ("test_lib.py::test_one",))
    assert refused(cause) == [("lib.py", 17, Reason.SOME_OF_A_UNION)]


def test_a_test_that_goes_through_many_untyped_calls_is_repaired_to_its_end(tmp_path: Path) -> None:
    """Each repaired call lets the test run on to the next one, which only then shows: all of them are repaired."""
    calls = "".join(f"    assert given[{number}].mesured() == {number}\n" for number in range(14))
    (tmp_path / "lib.py").write_text(
        "class C:\n    def __init__(self, n):\n        self.n = n\n\n    def measured(self):\n        return self.n\n"
    )
    (tmp_path / "test_lib.py").write_text(
        f"from lib import C\n\n\ndef test_all():\n    given = eval('[C(n) for n in range(14)]')\n{calls}"
    )
    [cause] = fixed(tmp_path, Options()).causes
    assert len(changed(cause)) == 14
    assert cause.restored == ("test_lib.py::test_all",)


SHORT = """\
class C:
    def total(self):
        return 1

    def sized(self, *, limit: int):
        return limit


def both(c: C | None):
    return c is not None and c.total_()


def sized(c: C):
    return c.sized(limit_=1)


def run(work, *arguments):
    try:
        return work(*arguments)
    except Exception:
        return "failed"
"""
STOPS_SHORT = """\
from lib import C, both, run, sized


def test_none():
    assert not both(None)


def test_failing():
    assert run(sized, None) == run(both, 1) == "failed"
    run(sized, C())


def test_both():
    assert both(C()) == 1


def test_sized():
    assert run(sized, C()) == 1
"""


def test_a_place_that_a_passing_test_does_not_reach_is_repaired(tmp_path: Path) -> None:
    """A passing test that stops short of a place, or sees it fail and expects that, does not keep it from repair."""
    (tmp_path / "lib.py").write_text(SHORT)
    (tmp_path / "test_lib.py").write_text(STOPS_SHORT)
    repair = fixed(tmp_path, Options())
    assert {cause.key: changed(cause) for cause in repair.causes} == {
        "lib.C.total_": [("lib.py", 10)],
        "lib.C.sized(limit_=)": [("lib.py", 14)],
    }
    assert repair.comparison.restored == ("test_lib.py::test_both", "test_lib.py::test_sized")
    # What dies of it out of the test's sight belongs to it as well.
    assert {test for cause in repair.causes for test in cause.broken} == set(repair.comparison.restored)


DEAD = "class C:\n    def total(self):\n        return 1\n\n\ndef dead(c: C):\n    return c.total_()\n"
SLOW = """\
import os
from pathlib import Path
from lib import C, dead


def test_dead():
    assert dead(C()) == 1


def test_slow():
    runs = Path(os.environ["OUTSIDE"], "runs")
    runs.write_text(runs.read_text() + "." if runs.exists() else ".")
    assert len(runs.read_text()) != 3
"""
DEPENDING = """\
from lib import C, dead


def test_dead():
    C.done = dead(C())
"""


def test_a_test_that_fails_newly_once_is_flaky(tmp_path: Path) -> None:
    """A test that fails with the changes, and passes with the same changes when it is run again, proves nothing."""
    (tmp_path / "lib.py").write_text(DEAD)
    (tmp_path / "test_slow.py").write_text(SLOW)
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert (changed(cause), repair.comparison.regressed) == ([("lib.py", 7)], ())
    assert repair.comparison.flaky == ("test_slow.py::test_slow",)


def test_a_test_that_fails_newly_among_the_others_has_regressed(tmp_path: Path) -> None:
    """A test that passes by itself, and fails with the changes whenever the others run before it, is not flaky."""
    (tmp_path / "lib.py").write_text(DEAD)
    (tmp_path / "test_first.py").write_text(DEPENDING)
    (tmp_path / "test_last.py").write_text(
        "from lib import C\n\n\ndef test_last():\n    assert 'done' not in vars(C)\n"
    )
    repair = fixed(tmp_path, Options())
    [cause] = repair.causes
    assert (changed(cause), refused(cause)) == ([], [("lib.py", 7, Reason.REGRESSED)])
    assert "test_last" in cause.plan.refused[0].refusal.detail
    assert repair.comparison.flaky == ()
