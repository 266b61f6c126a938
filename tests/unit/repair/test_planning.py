"""Planning: which sites are rewritten and how, and which are left alone and why."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair import planning
from netra_repair.apply import apply
from netra_repair.candidates import Candidate, Decision, Ranking
from netra_repair.causes import Proof, RootCause, Site
from netra_repair.definitions import Definitions
from netra_repair.diagnostics import CauseKind
from netra_repair.edits import Edit, spliced
from netra_repair.errors import PlanError
from netra_repair.files import Files
from netra_repair.history import Past, Verdict
from netra_repair.images import images
from netra_repair.owners import Access, Owner, Parameter, ParameterKind, Signature
from netra_repair.plan import Plan
from netra_repair.planning import Planner
from netra_repair.project import Project
from netra_repair.refusals import Reason, Refusal
from netra_repair.source import Source
from tests.support.repair_plans import AWKWARD, quick_folder, write_files

CONTEXT = b"""
class Ctx:
    limit = 10

    def __init__(self, user_id):
        self.user_id = user_id

    @classmethod
    def made(cls, user_id, thread_id, run_id=None):
        return cls(user_id)

    @classmethod
    def named(cls, *, user_id, thread_id):
        return cls(user_id)

    @staticmethod
    async def fetched(user_id, thread_id):
        return Ctx(user_id)

    @property
    def age(self):
        return 1

    def is_good(self):
        return True


class Sub(Ctx):
    pass


class Strict(Ctx):
    @classmethod
    def made(cls, user_id):
        return cls(user_id)
"""
IDS = b"""
def fresh(prefix):
    return prefix


async def awaited(prefix):
    return prefix


def marked(*, prefix):
    return prefix


class Key:
    pass
"""
PACKAGE = {"pkg/__init__.py": b"from pkg.ctx import Ctx\n", "pkg/ctx.py": CONTEXT, "pkg/ids.py": IDS}
HEAD = "from pkg import ids\nfrom pkg.ctx import Ctx, Strict, Sub\n\nctx = Ctx('u')\na, b, c, d = 1, 2, 3, 4\n"


@dataclass
class Ground:
    """A project on disk with everything that planning asks."""

    root: Path
    project: Project
    definitions: Definitions

    @classmethod
    def of(cls, root: Path, files: Mapping[str, bytes], definitions: Definitions) -> Ground:
        """Writes a project."""
        write_files(root, {**PACKAGE, **files})
        sources = tuple(sorted({*PACKAGE, *files}))
        return cls(root, Project(root, Path(sys.executable), "3.11.7", (root,), (), sources, ()), definitions)

    def owner(self, name: str) -> Owner:
        """A class or module of the project."""
        owner = self.definitions.named(name)
        assert owner
        return owner

    def sites(self, path: str, names: tuple[str, ...] = ("gone",)) -> Iterator[Site]:
        """The places of names in a file, their receivers told by how they are spelled."""
        syntax = Files(self.project).syntax(path)
        for reference in syntax.references(names):
            spelled = syntax.source.slice(reference.receiver) if reference.receiver else "pkg.ctx.Ctx"
            name, access = {
                "ctx": ("pkg.ctx.Ctx", Access.INSTANCE),
                "ids": ("pkg.ids", Access.MODULE),
                "Sub": ("pkg.ctx.Sub", Access.CLASS),
                "Strict": ("pkg.ctx.Strict", Access.CLASS),
            }.get(spelled, ("pkg.ctx.Ctx", Access.CLASS))
            yield Site(reference, self.owner(name), access, (Proof.CHECKER,), None)

    def cause(
        self, *paths: str, kind: CauseKind = CauseKind.MISSING_ATTRIBUTE, owner: str = "pkg.ctx.Ctx"
    ) -> RootCause:
        """The cause of everything that names `gone` in some files."""
        sites = tuple(site for path in paths for site in self.sites(path))
        return RootCause(kind, self.owner(owner), "gone", "", sites, (), (), 0, NEVER, UNDECIDED)

    def planner(self, **changes: object) -> Planner:
        """A planner that may change every file."""
        files = Files(self.project)
        planner = Planner(root=self.root, read=files.around, definitions=self.definitions, left_out={})
        return replace(planner, **changes)  # type: ignore[arg-type]  # test data

    def becomes(self, plan: Plan) -> dict[str, bytes]:
        """What the files of a plan become; the digests in it are right."""
        made = images([plan], self.root)
        assert [file.before_sha256 for file in plan.files] == [image.source.digest for image in made]
        return {image.path: image.after for image in made}


NEVER = Past(Verdict.NEVER_EXISTED, "never there")
UNDECIDED = Ranking(Decision.NONE, (), 0.0, "nothing is like it")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    """What the package defines, which is the same in every project here; reading the builtins takes a while."""
    root = tmp_path_factory.mktemp("definitions")
    write_files(root, PACKAGE)
    return Definitions(root, [root])


@pytest.fixture
def ground(tmp_path: Path, definitions: Definitions) -> Iterator[Callable[..., Ground]]:
    """Makes projects."""
    folder = quick_folder(tmp_path)
    yield lambda files: Ground.of(folder, files, definitions)
    shutil.rmtree(folder)


def single(make: Callable[..., Ground], text: str, replacement: str, **changes: object) -> tuple[Plan, str]:
    """The plan for a file of one text below the head, and what the text becomes."""
    made = make({"use.py": (HEAD + text).encode()})
    plan = made.planner(**changes).build(made.cause("use.py"), replacement)
    after = made.becomes(plan).get("use.py", (HEAD + text).encode()).decode()
    return plan, after.removeprefix(HEAD)


BECOMES = {
    "x = Ctx.gone(a, b)": "x = Ctx.made(a, b)",
    "x = Ctx.gone(a, b, c)": "x = Ctx.made(a, b, c)",
    "x = Ctx.gone(user_id=a, thread_id=b)": "x = Ctx.made(user_id=a, thread_id=b)",
    "x = Sub.gone(a, b)": "x = Sub.made(a, b)",
    "x = Strict.gone(a)": "x = Strict.made(a)",
    "x = ctx.gone(a, b)": "x = ctx.made(a, b)",
    "x = Ctx . gone (a, b)": "x = Ctx . made (a, b)",
    "x = (Ctx\n  # why\n  .gone(  # here\n    a,\n\n    b,  # c\n  ))": (
        "x = (Ctx\n  # why\n  .made(  # here\n    a,\n\n    b,  # c\n  ))"
    ),
    "x = Ctx.gone(Ctx.gone(a, b), Sub.gone(b, a))": "x = Ctx.made(Ctx.made(a, b), Sub.made(b, a))",
    "x = Ctx.gone(a, b).user_id; y = Ctx.gone(b, a)": "x = Ctx.made(a, b).user_id; y = Ctx.made(b, a)",
    "x = [Ctx.gone(n, n) for n in range(3)]": "x = [Ctx.made(n, n) for n in range(3)]",
    "x = lambda n=Ctx.gone(a, b): Ctx.gone(n, n)": "x = lambda n=Ctx.made(a, b): Ctx.made(n, n)",
    "x = f'é{Ctx.gone(a, b)}'": "x = f'é{Ctx.made(a, b)}'",
    "x = '😀'; y = Ctx.gone(a, b)": "x = '😀'; y = Ctx.made(a, b)",
    "make = Ctx.gone": "make = Ctx.made",
    "make = None or Ctx.gone": "make = None or Ctx.made",
    "if Ctx.gone in makers: Ctx.gone(a, b)": "if Ctx.made in makers: Ctx.made(a, b)",
    "import functools\nx = functools.partial(Ctx.gone, 1)": "import functools\nx = functools.partial(Ctx.made, 1)",
    "from unittest.mock import patch\nwith patch('pkg.ctx.Ctx.gone'): pass": (
        "from unittest.mock import patch\nwith patch('pkg.ctx.Ctx.made'): pass"
    ),
    "from unittest.mock import patch\nwith patch('pkg.Ctx.gone'): pass": (
        "from unittest.mock import patch\nwith patch('pkg.Ctx.made'): pass"
    ),
}


@pytest.mark.parametrize("before", BECOMES)
def test_proven_sites_are_rewritten(ground: Callable[..., Ground], before: str) -> None:
    """The name alone changes, wherever and however it is written."""
    plan, after = single(ground, f"{before}\n", "made")
    assert after == f"{BECOMES[before]}\n"
    assert plan.refused == ()
    assert (plan.cause, plan.replacement, plan.kind) == ("pkg.ctx.Ctx.gone", "made", CauseKind.MISSING_ATTRIBUTE)


STAYS = {
    "x = Ctx.gone(a)": Reason.NEEDS_INPUT,
    "x = Ctx.gone(a, b, c, d)": Reason.TOO_MANY_ARGUMENTS,
    "x = Ctx.gone(a, b, other=c)": Reason.UNKNOWN_KEYWORD,
    "x = Ctx.gone(*[a, b])": Reason.STAR_ARGUMENTS,
    "x = Strict.gone(a, b)": Reason.TOO_MANY_ARGUMENTS,
    "async def f(): await Ctx.gone(a, b)": Reason.ASYNC_MISMATCH,
    "Ctx.gone = 1": Reason.NOT_A_LOAD,
    "del Ctx.gone": Reason.NOT_A_LOAD,
    "if Ctx.gone: pass": Reason.KIND_MISMATCH,
    "if a and not Ctx.gone: pass": Reason.KIND_MISMATCH,
    "assert ctx.gone == 3": Reason.KIND_MISMATCH,
    "assert 3 in ctx.gone": Reason.KIND_MISMATCH,
    "assert ctx.gone not in names": Reason.KIND_MISMATCH,
    "x = ctx.gone or 3": Reason.KIND_MISMATCH,
    "x = f'{ctx.gone}'": Reason.KIND_MISMATCH,
    "x = ctx.gone + 1": Reason.KIND_MISMATCH,
    "for x in ctx.gone: pass": Reason.KIND_MISMATCH,
    "if hasattr(Ctx, 'gone'): Ctx.gone(a, b)": Reason.GUARDED,
    "try:\n    Ctx.gone(a, b)\nexcept AttributeError:\n    pass": Reason.GUARDED,
    "from unittest.mock import patch\nwith patch('pkg.ids.gone'): pass": Reason.STRING,
    "from unittest.mock import patch\nwith patch.object(Ctx, 'gone'): pass": Reason.STRING,
}


@pytest.mark.parametrize("text", STAYS)
def test_sites_without_proof_stay_with_their_reason(ground: Callable[..., Ground], text: str) -> None:
    """What cannot be proven, or is meant to be absent, keeps its bytes, and its reason is in the plan."""
    plan, after = single(ground, f"{text}\n", "made")
    assert after == f"{text}\n"
    assert plan.files == ()
    assert {refused.refusal.reason for refused in plan.refused} >= {STAYS[text]}


MISFITS = [
    ("with pytest.raises(TypeError): Ctx.gone(a)", True),
    ("with pytest.raises(TypeError):\n    Ctx.gone(a, b, c, d)", True),
    ("with pytest.raises((TypeError, ValueError)): Ctx.gone(a, b, other=c)", True),
    ("self.assertRaises(TypeError, lambda: Ctx.gone(a))", True),
    # Something else there may be what fails, or the error is another.
    ("with pytest.raises(TypeError):\n    Ctx.gone(a)\n    a + 1", False),
    ("with pytest.raises(TypeError):\n    Ctx.gone(a); a + 1", False),
    ("with pytest.raises(TypeError): Ctx.gone(a); a + 1", False),
    ("with pytest.raises(TypeError):\n    if a:\n        Ctx.gone(a)", False),
    ("with pytest.raises(TypeError), a: Ctx.gone(a)", False),
    ("with pytest.raises(TypeError):\n    with a: Ctx.gone(a)", False),
    ("with pytest.raises(TypeError):\n    a(lambda: Ctx.gone(a))", False),
    ("with contextlib.suppress(TypeError): Ctx.gone(a)", False),
    ("self.assertRaises(TypeError, run, lambda: Ctx.gone(a))", False),
    ("with pytest.raises(TypeError): a + Ctx.gone(a)", False),
    ("with pytest.raises(TypeError): x = Ctx.gone(a)", False),
    ("with pytest.raises(TypeError): Ctx.gone(a).more()", False),
    ("with pytest.raises(TypeError): Ctx.gone(*a)", False),
    ("with pytest.raises(TypeError): Ctx.gone(a())", False),
    ("with pytest.raises(ValueError): Ctx.gone(a)", False),
    ("self.assertRaises(TypeError, Ctx.gone(a))", False),
]


@pytest.mark.parametrize(("text", "is_rewritten"), MISFITS)
def test_a_call_that_a_test_expects_to_fail_need_not_fit(
    ground: Callable[..., Ground], text: str, is_rewritten: bool
) -> None:
    """`raises(TypeError)` around nothing but the call: its name changes once the replacement is certain, else not."""
    made = ground({"use.py": f"{HEAD}import pytest\n{text}\n".encode()})
    cause = made.cause("use.py")
    certain = replace(cause, ranking=replace(cause.ranking, decision=Decision.CHOSEN))
    after = [made.becomes(made.planner().build(each, "made")) for each in (certain, cause)]
    rewritten = f"{HEAD}import pytest\n{text.replace('gone', 'made')}\n".encode()
    assert after == [{"use.py": rewritten} if is_rewritten else {}, {}]


KINDS = [
    ("x = Ctx.gone(a, b)", "is_good", Reason.KIND_MISMATCH),
    ("x = Ctx.gone", "is_good", Reason.KIND_MISMATCH),
    ("x = Ctx.gone", "age", Reason.KIND_MISMATCH),
    ("x = Ctx.gone", "user_id", Reason.KIND_MISMATCH),
    ("x = Ctx.gone(self)", "is_good", "x = Ctx.is_good(self)"),
    ("x = Ctx.gone(self, a)", "is_good", Reason.TOO_MANY_ARGUMENTS),
    ("x = Ctx.gone(self=self)", "is_good", Reason.KIND_MISMATCH),
    ("x = Ctx.gone(*self)", "is_good", Reason.KIND_MISMATCH),
    ("x = Ctx.gone(self)", "age", Reason.KIND_MISMATCH),
    ("x = ctx.gone()", "age", Reason.KIND_MISMATCH),
    ("x = ctx.gone()", "limit", Reason.KIND_MISMATCH),
    ("x = ctx.gone(a, b)", "fetched", Reason.ASYNC_MISMATCH),
    ("x = ctx.gone()", "is_good", "x = ctx.is_good()"),
    ("if ctx.gone: pass", "age", "if ctx.age: pass"),
    ("if ctx.gone: pass", "user_id", "if ctx.user_id: pass"),
    ("if Ctx.gone: pass", "limit", "if Ctx.limit: pass"),
    ("async def f(): await Ctx.gone(a, b)", "fetched", "async def f(): await Ctx.fetched(a, b)"),
    ("x = Ctx.gone(user_id=a, thread_id=b)", "named", "x = Ctx.named(user_id=a, thread_id=b)"),
]


@pytest.mark.parametrize(("text", "replacement", "expected"), KINDS)
def test_the_kind_of_the_replacement_has_to_fit(
    ground: Callable[..., Ground], text: str, replacement: str, expected: Reason | str
) -> None:
    """Class or instance, method or value, awaited or not."""
    plan, after = single(ground, f"{text}\n", replacement)
    if isinstance(expected, Reason):
        assert ([refused.refusal.reason for refused in plan.refused], after) == ([expected], f"{text}\n")
    else:
        assert after == f"{expected}\n"


def test_arguments_get_the_keywords_that_the_replacement_needs(ground: Callable[..., Ground]) -> None:
    """Keywords are inserted where the argument stands, in nested calls too."""
    nested = "y = Ctx.gone(Ctx.gone(user_id, thread_id), a)\n"
    text = f"user_id, thread_id = 1, 2\nx = Ctx.gone(user_id, (thread_id))\n{nested}"
    plan, after = single(ground, text, "named")
    assert "x = Ctx.named(user_id=user_id, thread_id=(thread_id))\n" in after
    assert "y = Ctx.gone(Ctx.named(user_id=user_id, thread_id=thread_id), a)\n" in after
    assert [refused.refusal.reason for refused in plan.refused] == [Reason.NEEDS_INPUT]
    (file,) = plan.files
    assert [(site.before, site.after) for site in file.sites] == [
        ("Ctx.gone(user_id, (thread_id))", "Ctx.named(user_id=user_id, thread_id=(thread_id))"),
        ("Ctx.gone(user_id, thread_id)", "Ctx.named(user_id=user_id, thread_id=thread_id)"),
    ]


def test_a_reference_without_a_call_says_what_is_not_checked(ground: Callable[..., Ground]) -> None:
    """The reader of a plan is told how far the proof reaches."""
    plan, _ = single(ground, "make = Ctx.gone\nx = Ctx.gone(a, b)\n", "made")
    assert [site.note for site in plan.files[0].sites] == ["not called here, so its arguments are not checked", ""]


def test_a_site_that_does_not_fit_takes_the_alternative(ground: Callable[..., Ground]) -> None:
    """What fits the outlier for sure is put there; where it does not fit either, the first reason stands."""
    made = ground({"use.py": (HEAD + "x = Ctx.gone(a, b)\ny = Ctx.gone(user_id=a)\nz = ctx.gone()\n").encode()})
    member = made.definitions.members(made.owner("pkg.ctx.Ctx"))["is_good"]
    other = Candidate("is_good", member, 1.0, (), 1, 3)
    plan = made.planner().build(made.cause("use.py"), "made", lambda _: other)
    after = made.becomes(plan)["use.py"].decode().removeprefix(HEAD)
    assert after == "x = Ctx.made(a, b)\ny = Ctx.gone(user_id=a)\nz = ctx.is_good()\n"
    assert [site.replacement for site in plan.files[0].sites] == ["made", "is_good"]
    assert [refused.refusal.reason for refused in plan.refused] == [Reason.NEEDS_INPUT]


def test_a_site_refused_by_the_analysis_keeps_its_reason(ground: Callable[..., Ground]) -> None:
    """Planning does not overrule what the scan has found, and touches nothing that nobody has proven."""
    made = ground({"use.py": (HEAD + "Ctx.gone(a, b)\nCtx.gone(a, b)\n").encode()})
    cause = made.cause("use.py")
    first, second = cause.sites
    refusal = Refusal(Reason.UNREACHABLE, "never runs")
    cause = replace(cause, sites=(replace(first, refusal=refusal), replace(second, proofs=())))
    plan = made.planner().build(cause, "made")
    assert plan.files == ()
    assert [refused.refusal.reason for refused in plan.refused] == [Reason.UNREACHABLE, Reason.UNKNOWN_RECEIVER]
    assert plan.refused[0].refusal is refusal


@pytest.mark.parametrize(("decision", "reason"), [(Decision.TIE, Reason.TIE), (Decision.NONE, Reason.NO_CANDIDATE)])
def test_without_a_replacement_every_site_is_refused(
    ground: Callable[..., Ground], decision: Decision, reason: Reason
) -> None:
    """A tie is not guessed: the ranking's own words stand at every site."""
    made = ground({"use.py": (HEAD + "Ctx.gone(a, b)\n").encode()})
    cause = replace(made.cause("use.py"), ranking=Ranking(decision, (), 0.0, "two are alike"))
    plan = made.planner().build(cause, None)
    assert [refused.refusal for refused in plan.refused] == [Refusal(reason, "two are alike")]


def test_a_replacement_that_is_not_there_is_refused_with_what_is(ground: Callable[..., Ground]) -> None:
    """A misspelled `--to` does not put another phantom in place of the first."""
    made = ground({"use.py": (HEAD + "Ctx.gone(a, b)\n").encode()})
    with pytest.raises(PlanError, match=r"pkg\.ctx\.Ctx has no attribute 'mad'; name one that it has: .*made"):
        made.planner().build(made.cause("use.py"), "mad")


def test_a_file_that_changed_since_the_analysis_is_not_guessed_at(ground: Callable[..., Ground]) -> None:
    """Places of an older text mean nothing in the new one."""
    made = ground({"use.py": (HEAD + "Ctx.gone(a, b)\n").encode()})
    cause = made.cause("use.py")
    write_files(made.root, {"use.py": ("\n" + HEAD + "Ctx.gone(a, b)\n").encode()})
    with pytest.raises(PlanError, match=r"use\.py has changed since it was analysed"):
        made.planner().build(cause, "made")


def reasons(plan: Plan) -> list[Reason]:
    """Why the sites of a plan are refused."""
    assert plan.files == ()
    return [refused.refusal.reason for refused in plan.refused]


def test_files_that_may_not_be_edited_are_refused_whole(ground: Callable[..., Ground]) -> None:
    """Left out, uncommitted, read-only, behind a link, undecodable, unparsable: each with its reason."""
    text = (HEAD + "Ctx.gone(a, b)\n").encode()
    made = ground({"use.py": text, "real/other.py": text})
    cause, planner = made.cause("use.py"), made.planner()
    generated = Refusal(Reason.GENERATED, "made by a tool")
    guarded = replace(cause.sites[0], refusal=Refusal(Reason.GUARDED, "expected to be absent"))
    both = replace(planner, left_out={"use.py": generated}).build(replace(cause, sites=(guarded, *cause.sites)), "made")
    assert reasons(both) == [Reason.GUARDED, Reason.GENERATED]
    assert reasons(replace(planner, left_out={"use.py": generated}).build(cause, "made")) == [Reason.GENERATED]
    assert reasons(replace(planner, dirty={"use.py"}).build(cause, "made")) == [Reason.DIRTY]
    (made.root / "use.py").chmod(0o444)
    assert reasons(planner.build(cause, "made")) == [Reason.READ_ONLY]
    (made.root / "use.py").unlink()
    (made.root / "use.py").symlink_to("real/other.py")
    assert reasons(made.planner().build(cause, "made")) == [Reason.SYMLINK]
    (made.root / "use.py").unlink()
    assert reasons(made.planner().build(cause, "made")) == [Reason.UNREADABLE]
    for data, reason in ((b"\xff" + text, Reason.UNREADABLE), (text + b"def (:\n", Reason.SYNTAX_ERROR)):
        write_files(made.root, {"use.py": data})
        assert reasons(made.planner().build(cause, "made")) == [reason]


def test_a_name_that_the_encoding_lacks_is_refused(ground: Callable[..., Ground]) -> None:
    """A latin-1 file cannot hold every name that Python takes."""
    made = ground({"use.py": b"# coding: latin-1\nfrom pkg.ctx import Ctx\nCtx.gone(1, 2)  # \xe9\n"})
    write_files(made.root, {"pkg/ctx.py": CONTEXT.replace(b"def made", "def 作る".encode())})
    made.definitions = Definitions(made.root, [made.root])
    assert reasons(made.planner().build(made.cause("use.py"), "作る")) == [Reason.UNENCODABLE]


IMPORTS = {
    "from pkg.ids import gone\nx = gone('a')\n": "from pkg.ids import fresh as gone\nx = gone('a')\n",
    "from pkg.ids import gone as g\nx = g('a')\n": "from pkg.ids import fresh as g\nx = g('a')\n",
    "from pkg.ids import (\n    Key,\n    gone,  # as such\n)\n": (
        "from pkg.ids import (\n    Key,\n    fresh as gone,  # as such\n)\n"
    ),
    "from pkg.ids import (gone  # old\n    as g)\n": "from pkg.ids import (fresh  # old\n    as g)\n",
    "from pkg.ids import Key, gone; assert gone\n": "from pkg.ids import Key, fresh as gone; assert gone\n",
    "def f():\n    from pkg.ids import gone\n    gone = gone('a')\n": (
        "def f():\n    from pkg.ids import fresh as gone\n    gone = gone('a')\n"
    ),
}


def import_cause(made: Ground, path: str) -> RootCause:
    """The cause of an imported name that is gone."""
    cause = made.cause(path, kind=CauseKind.MISSING_IMPORT, owner="pkg.ids")
    module = made.owner("pkg.ids")
    return replace(cause, sites=tuple(replace(site, receiver=module, access=Access.MODULE) for site in cause.sites))


@pytest.mark.parametrize("before", IMPORTS)
def test_an_imported_name_is_replaced_and_goes_on_to_work(ground: Callable[..., Ground], before: str) -> None:
    """The name that the file uses stays bound, so that none of its uses, here or elsewhere, can break."""
    made = ground({"use.py": before.encode()})
    plan = made.planner().build(import_cause(made, "use.py"), "fresh")
    assert made.becomes(plan) == {"use.py": IMPORTS[before].encode()}
    assert plan.refused == ()


@pytest.mark.parametrize(
    ("text", "replacement", "reason"),
    [
        ("from pkg.ids import gone\nx = gone()\n", "fresh", Reason.NEEDS_INPUT),
        ("from pkg.ids import gone as g\nx = g(1, 2)\n", "fresh", Reason.TOO_MANY_ARGUMENTS),
        ("from pkg.ids import gone\nx = gone(1)\n", "awaited", Reason.ASYNC_MISMATCH),
        ("from pkg.ids import gone\nx = gone(1)\n", "marked", Reason.NEEDS_INPUT),
    ],
)
def test_an_imported_name_is_left_when_a_call_of_it_does_not_fit(
    ground: Callable[..., Ground], text: str, replacement: str, reason: Reason
) -> None:
    """The calls of what is imported are looked at before the import is changed."""
    made = ground({"use.py": text.encode()})
    plan = made.planner().build(import_cause(made, "use.py"), replacement)
    assert reasons(plan) == [reason]
    assert plan.refused[0].refusal.detail.startswith(("called in line 2: ", "the call in line 2 needs keywords"))


def call_cause(made: Ground, kind: CauseKind, parameter: str, past: Past = NEVER) -> RootCause:
    """The cause of calls of `made` that do not fit."""
    owner = made.owner("pkg.ctx.Ctx")
    candidate = Candidate("thread_id", made.definitions.members(owner)["made"], 1.0, (), 1, 1)
    sites = tuple(made.sites("use.py", ("made", "named")))
    ranking = Ranking(Decision.CHOSEN, (candidate,), 1.0, "")
    return RootCause(kind, owner, "made", parameter, sites, (), (), 0, past, ranking)


def test_a_keyword_that_is_not_there_gets_its_new_name(ground: Callable[..., Ground]) -> None:
    """Of the call that does not fit only the keyword changes."""
    made = ground({"use.py": (HEAD + "x = Ctx.made(a, thread=b)\ny = Ctx.made(a, thread=b, other=c)\n").encode()})
    cause = call_cause(made, CauseKind.UNEXPECTED_KEYWORD, "thread")
    plan = made.planner().build(cause, "thread_id")
    after = made.becomes(plan)["use.py"].decode().removeprefix(HEAD)
    assert after == "x = Ctx.made(a, thread_id=b)\ny = Ctx.made(a, thread=b, other=c)\n"
    assert plan.cause == "pkg.ctx.Ctx.made(thread=)"
    assert plan.kind is CauseKind.UNEXPECTED_KEYWORD
    assert plan.candidate == cause.ranking.candidates[0]
    assert [refused.refusal.reason for refused in plan.refused] == [Reason.UNKNOWN_KEYWORD]
    with pytest.raises(PlanError, match=r"Ctx\.made\(thread=\) has no parameter 'thred_id'; name one .*thread_id"):
        made.planner().build(cause, "thred_id")


def test_positional_arguments_get_the_names_that_they_must_be_passed_by(ground: Callable[..., Ground]) -> None:
    """A parameter that became keyword-only takes its argument by name, as far as the names tell."""
    made = ground({"use.py": (HEAD + "user_id = thread_id = 1\nx = Ctx.named(user_id, thread_id)\n").encode()})
    cause = call_cause(made, CauseKind.POSITIONAL_COUNT, "")
    member = made.definitions.members(cause.owner)["named"]
    ranking = replace(cause.ranking, candidates=(replace(cause.ranking.candidates[0], member=member, name="user_id"),))
    plan = made.planner().build(replace(cause, ranking=ranking), "user_id")
    assert b"x = Ctx.named(user_id=user_id, thread_id=thread_id)\n" in made.becomes(plan)["use.py"]
    positions = (Parameter(name, ParameterKind.POSITIONAL_OR_KEYWORD, True) for name in ("thread_id", "user_id"))
    past = Past(Verdict.UNKNOWN, "", signature=Signature(tuple(positions)))
    plan = made.planner().build(replace(cause, ranking=ranking, past=past), "user_id")
    assert b"x = Ctx.named(thread_id=user_id, user_id=thread_id)\n" in made.becomes(plan)["use.py"]


def test_a_call_that_fits_already_is_left_alone(ground: Callable[..., Ground]) -> None:
    """Where the engine and the definition disagree nothing is changed."""
    made = ground({"use.py": (HEAD + "x = Ctx.made(a, thread_id=b)\n").encode()})
    plan = made.planner().build(call_cause(made, CauseKind.UNEXPECTED_KEYWORD, "thread"), "thread_id")
    assert reasons(plan) == [Reason.NO_CANDIDATE]


def test_history_tells_what_the_old_positions_meant(ground: Callable[..., Ground]) -> None:
    """Arguments are bound by what they meant when the missing method was there, not by where they happen to stand."""
    made = ground({"use.py": (HEAD + "x = Ctx.gone(a, b)\n").encode()})
    parameters = (Parameter(name, ParameterKind.POSITIONAL_OR_KEYWORD, True) for name in ("thread", "user_id"))
    past = Past(
        Verdict.RENAMED, "", None, "named", Signature(tuple(parameters)), renamed_parameters=(("thread", "thread_id"),)
    )
    plan = made.planner().build(replace(made.cause("use.py"), past=past), "named")
    assert b"x = Ctx.named(thread_id=a, user_id=b)\n" in made.becomes(plan)["use.py"]


def test_awkward_files_change_by_the_name_alone(ground: Callable[..., Ground]) -> None:
    """Byte order marks, encodings, line ends and form feeds survive from the syntax tree to the bytes."""
    files = {path: data for path, data in AWKWARD.items() if path != "often.py"}
    made = ground(files)
    plan = made.planner().build(made.cause(*files), "limit")
    assert made.becomes(plan) == {path: data.replace(b".gone", b".limit") for path, data in files.items()}
    assert plan.refused == ()


@pytest.mark.parametrize(("marker", "left"), [(b"1, 1", 1), (b"", 0)], ids=["one site", "every site"])
def test_a_fault_of_the_splicing_is_found_before_anything_is_planned(
    ground: Callable[..., Ground], monkeypatch: pytest.MonkeyPatch, marker: bytes, left: int
) -> None:
    """Bytes that do not come out as the edits say are refused: the proof does not trust what it proves."""
    made = ground({"use.py": (HEAD + "Ctx.gone(1, 1)\nCtx.gone(2, 2)\nctx.gone = 1\n").encode()})

    def faulty(source: Source, edits: Iterable[Edit]) -> bytes:
        after = spliced(source, edits)
        return after.replace(b".made(" + marker, b".made(0 + " + marker)

    monkeypatch.setattr(planning, "spliced", faulty)
    plan = made.planner().build(made.cause("use.py"), "made")
    assert [len(file.sites) for file in plan.files] == [left] * left
    told = [refused.refusal.reason for refused in plan.refused]
    assert told == [Reason.NOT_PROVEN] * (2 - left) + [Reason.NOT_A_LOAD]


def test_applied_there_is_nothing_left_to_plan(ground: Callable[..., Ground]) -> None:
    """A second plan, made from the result, is empty."""
    made = ground({"use.py": (HEAD + "x = Ctx.gone(Ctx.gone(a, b), b)\nif ctx.gone: pass\n").encode()})
    first = made.planner().build(made.cause("use.py"), "made")
    assert apply([first], made.root, "test")
    second = made.planner().build(made.cause("use.py"), "made")
    assert second.files == ()
    assert [refused.refusal for refused in second.refused] == [refused.refusal for refused in first.refused]


FILLERS = ["pass", "z = 'gone .gone'", "# Ctx.gone(a)", "", "\x0c", "def f(gone): return gone"]
SINGLE_LINES = sorted(before for before in BECOMES if "\n" not in before)


@given(
    lines=st.lists(st.sampled_from(SINGLE_LINES) | st.sampled_from(FILLERS), max_size=8),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_mixture_of_sites_becomes_what_each_becomes(
    lines: list[str], end: str, tmp_path_factory: pytest.TempPathFactory, definitions: Definitions
) -> None:
    """Sites do not disturb one another, and everything between them stays."""
    text = (HEAD + "".join(f"{line}\n" for line in lines)).replace("\n", end).encode()
    made = Ground.of(tmp_path_factory.getbasetemp() / "mixture", {"use.py": text}, definitions)
    plan = made.planner().build(made.cause("use.py"), "made")
    expected = (HEAD + "".join(f"{BECOMES.get(line, line)}\n" for line in lines)).replace("\n", end)
    assert made.becomes(plan).get("use.py", text) == expected.encode()
    assert plan.refused == ()
