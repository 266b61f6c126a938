"""Made-up scans, plans and fixes for tests of what is made from them; every position and edit fits the sources here.

The story is the motivating one, cut small: a factory that never existed, two that could stand there, a guarded site,
a site nobody can bind, a name that was removed from a module.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from netra_repair.candidates import Candidate, Clue, Decision, Evidence, Ranking
from netra_repair.causes import Proof, RootCause, Site
from netra_repair.diagnostics import Blind, CauseKind
from netra_repair.edits import Edit, spliced
from netra_repair.failures import CaseResult, Outcome, Raised, SuiteResult
from netra_repair.findings import Findings, LeftOut
from netra_repair.history import Past, Verdict
from netra_repair.owners import Access, Member, MemberKind, Owner, OwnerKind, Parameter, ParameterKind, Signature
from netra_repair.plan import FilePlan, Plan, RefusedSite, SiteEdit
from netra_repair.references import Argument, Guard, Reference, Star, Use
from netra_repair.refusals import Reason, Refusal
from netra_repair.repair import CauseRepair, Comparison, Repair
from netra_repair.source import Position, Source, Span, UnreadableSource

MACHINE = "/srv/builds/4711"
"""The folder of the machine on which the samples were "made"; no portable report names it."""

TEXTS = {
    "app/context.py": '''"""For whom work is done."""


class Context:
    @classmethod
    def from_request(cls, user_id, thread_id, run_id=None):
        return cls()

    @classmethod
    def from_supervisor(cls, user_id, thread_id, *, metadata=None):
        return cls()
''',
    "app/ids.py": "def new_id():\n    return 'id'\n",
    "tests/test_login.py": """from app.context import Context


def test_login():
    context = Context.create_for_user("ann", "t-1")
    assert context


class TestGreeting:
    def test_many(self):
        # Grüße an alle: 👋🏽, in one line
        pair = ["👋🏽 é", Context.create_for_user("bob", "t-2"), Context.create_for_user("cy", "t-3")]
        assert pair

    def test_stars(self, fields):
        assert Context.create_for_user(*fields)
""",
    "tests/test our (old) 100%/test_guard.py": """from app.context import Context


def test_absence():
    if hasattr(Context, "create_for_user"):
        Context.create_for_user("dan", "t-4")


def test_many_lines():
    Context.create_for_user(
        "eve",
        "t-5",
    )
""",
    "tests/test_ids.py": "from app.ids import make_id\n\n\ndef test_id():\n    assert make_id()\n",
}
"""The project's files."""

CONTEXT = Owner("app.context.Context", OwnerKind.CLASS, "app/context.py", 4)
IDS = Owner("app.ids", OwnerKind.MODULE, "app/ids.py", 1)
FRAME = Owner(
    "pandas.core.frame.DataFrame",
    OwnerKind.CLASS,
    f"{MACHINE}/.venv/lib/python3.11/site-packages/pandas/core/frame.py",
    511,
)
OLD = "tests/test our (old) 100%/test_guard.py"


def read(path: str) -> Source:
    """A file of the project; UnreadableSource where it has none."""
    if path not in TEXTS:
        raise UnreadableSource(path, "cannot be read: No such file or directory")
    return Source.of(path, TEXTS[path].encode())


def reference(path: str, name: str, nth: int = 0, scope: str = "", guard: Guard | None = None) -> Reference:
    """The nth place of a file that names something after a dot, or imports it.

    Args:
        path: one of TEXTS.
        name: what is named there.
        nth: which of the places, from 0.
        scope: as in a Reference.
        guard: as in a Reference.
    """
    source = read(path)
    word = list(re.finditer(rf"(?<=\.){name}\b|(?<=import ){name}\b", source.text))[nth]
    start, end = (source.offset_of_index(index) for index in word.span())
    used = source.text[word.start() - 1] == "."
    begin = start - len("Context.") if used else start
    call = re.compile(r"\([^)]*\)").match(source.text, word.end()) if used else None
    return Reference(
        path=path,
        attribute=name,
        name=Span(start, end),
        position=source.position(start),
        receiver=Span(begin, start - 1) if used else None,
        expression=Span(begin, end),
        use=Use.CALL if call else Use.IMPORT,
        arguments=_arguments(source, call) if call else None,
        call=Span(begin, source.offset_of_index(call.end())) if call else None,
        guard=guard,
        scope=scope,
    )


def _arguments(source: Source, call: re.Match[str]) -> tuple[Argument, ...]:
    begin = call.start() + 1
    return tuple(
        Argument(
            Span(source.offset_of_index(begin + word.start()), source.offset_of_index(begin + word.end())),
            keyword=None,
            keyword_span=None,
            star=Star.SEQUENCE if word[0].startswith("*") else Star.NONE,
            name=None,
            pure=not word[0].startswith("*"),
        )
        for word in re.finditer(r"[^\s,]+", call[0][1:-1])
    )


def site(at: Reference, owner: Owner = CONTEXT, refusal: Refusal | None = None, tests: tuple[str, ...] = ()) -> Site:
    """A site that the checker and, where it has tests, a failure have proven."""
    proofs = (Proof.CHECKER, Proof.TEST) if tests else (Proof.CHECKER,)
    access = Access.MODULE if owner.kind is OwnerKind.MODULE else Access.CLASS
    return Site(at, owner, access, proofs, refusal, tests)


def candidate(name: str = "from_request", score: float = 9.5, fits: int = 5, owner: Owner = CONTEXT) -> Candidate:
    """A class method that most sites bind to, with two pieces of evidence for it and one against."""
    parameters = (
        Parameter("user_id", ParameterKind.POSITIONAL_OR_KEYWORD, required=True),
        Parameter("thread_id", ParameterKind.POSITIONAL_OR_KEYWORD, required=True),
        Parameter("metadata", ParameterKind.KEYWORD_ONLY, required=False),
    )
    member = Member(name, owner, MemberKind.CLASS_METHOD, False, Signature(parameters), None, 6)
    evidence = (
        Evidence(Clue.FIT, 5.0, f"{fits} of 6 calls bind"),
        Evidence(Clue.USE, score - 4.5, "212 calls with the same arguments elsewhere"),
        Evidence(Clue.NAME, -0.5, "1 of 3 words of the name"),
    )
    return Candidate(name, member, score, evidence, fits, 6)


GUARDED = Refusal(Reason.GUARDED, Guard.HASATTR.value)
STARS = Refusal(Reason.STAR_ARGUMENTS, "`*fields` may hold anything: write the arguments out")
GONE = "create_for_user"
LOGIN, GREETING = "tests/test_login.py", "TestGreeting.test_many"
TESTS = (
    f"{LOGIN}::test_login",
    f"{LOGIN}::TestGreeting::test_many",
    f"{LOGIN}::TestGreeting::test_stars",
    f"{OLD}::test_many_lines",
)


def factory_cause() -> RootCause:
    """`Context.create_for_user`, which never existed: six sites, of which one is guarded; a replacement is chosen."""
    sites = (
        site(reference(OLD, GONE, 0, "test_absence", Guard.HASATTR), refusal=GUARDED),
        site(reference(OLD, GONE, 1, "test_many_lines"), tests=TESTS[3:]),
        site(reference(LOGIN, GONE, 0, "test_login"), tests=TESTS[:1]),
        site(reference(LOGIN, GONE, 1, GREETING), tests=TESTS[1:2]),
        site(reference(LOGIN, GONE, 2, GREETING)),
        site(reference(LOGIN, GONE, 3, "TestGreeting.test_stars"), tests=TESTS[2:3]),
    )
    return RootCause(
        kind=CauseKind.MISSING_ATTRIBUTE,
        owner=CONTEXT,
        attribute=GONE,
        parameter="",
        sites=sites,
        unproven=(replace(reference(LOGIN, GONE, 0), scope="helper"),),
        tests=TESTS,
        mentions=14,
        past=Past(Verdict.NEVER_EXISTED, "none of 212 commits defines `create_for_user`"),
        ranking=Ranking(
            Decision.CHOSEN,
            (candidate(), candidate("from_supervisor", 5.5, 3)),
            4.0,
            "`from_request` binds 5 of 6 calls and is 4.0 ahead of `from_supervisor`",
        ),
    )


def import_cause() -> RootCause:
    """`app.ids.make_id`, which was removed: one site, and two candidates that tie."""
    names = (candidate("new_id", 3.0, 1, IDS), candidate("next_id", 3.0, 1, IDS))
    return RootCause(
        kind=CauseKind.MISSING_IMPORT,
        owner=IDS,
        attribute="make_id",
        parameter="",
        sites=(site(reference("tests/test_ids.py", "make_id"), IDS, tests=("tests/test_ids.py",)),),
        unproven=(),
        tests=("tests/test_ids.py",),
        mentions=0,
        past=Past(Verdict.REMOVED, "removed in 1a2b3c4, “Shorter ids”", commit="1a2b3c4"),
        ranking=Ranking(Decision.TIE, names, 0.0, "`new_id` and `next_id` are alike; say which with `--to NAME`"),
    )


def keyword_cause() -> RootCause:
    """A keyword that an installed class does not take, with no candidate and no place in a file of TEXTS."""
    at = Reference(
        path="app/täble.py",
        attribute="merge",
        name=Span(40, 45),
        position=Position(3, 12),
        receiver=Span(34, 39),
        expression=Span(34, 45),
        use=Use.CALL,
    )
    return RootCause(
        kind=CauseKind.UNEXPECTED_KEYWORD,
        owner=FRAME,
        attribute="merge",
        parameter="keys",
        sites=(site(at, FRAME),),
        unproven=(),
        tests=(),
        mentions=0,
        past=Past(Verdict.UNKNOWN, "defined outside the project"),
        ranking=Ranking(Decision.NONE, (), 0.0, "no parameter of `merge` could stand there; name one with `--to NAME`"),
    )


def suite() -> SuiteResult:
    """A run in which the four tests of the first cause, the file of the second and one more failed, and two passed."""
    raised = Raised(
        kind=CauseKind.MISSING_IMPORT,
        name="make_id",
        receiver="app.ids",
        access=Access.MODULE,
        bases=(),
        callee=None,
        path="tests/test_ids.py",
        line=1,
        start=Position(1, 1),
        end=Position(1, 28),
        in_library=False,
        message=f"cannot import name 'make_id' from 'app.ids' ({MACHINE}/my work/app/ids.py)",
    )
    cases = {test: CaseResult(test, Outcome.FAILED, True, (), 0.01) for test in (*TESTS, "tests/test_b.py::test_other")}
    cases["tests/test_ids.py"] = CaseResult("tests/test_ids.py", Outcome.ERROR, False, (raised,), 0.002)
    for test in ("tests/test_a.py::test_one", "tests/test_a.py::test_two"):
        cases[test] = CaseResult(test, Outcome.PASSED, True, (), 0.01)
    return SuiteResult(cases, 1, 1.25, (), f"rootdir: {MACHINE}\n6 failed, 2 passed")


def findings() -> Findings:
    """A scan with three causes, tests, and everything there may be to warn of."""
    return Findings(
        root=".",
        checker="pyrefly 1.4.1",
        python="3.11.7",
        files=412,
        causes=(factory_cause(), import_cause(), keyword_cause()),
        left_out=(LeftOut("app/api_pb2.py", Refusal(Reason.GENERATED, "its first lines say `@generated`")),),
        blind=(Blind("app/latin.py", "it is not UTF-8"),),
        unresolved=(("redis", 14), ("redis.asyncio", 2)),
        suite=suite(),
        unexplained=("tests/test_b.py::test_other",),
        warnings=("2 tests are skipped everywhere",),
        seconds=(("checker", 4.1), ("receivers", 0.6), ("tests", 1.25)),
        set_aside=(RefusedSite(factory_cause().sites[0], GUARDED),),
    )


def plan(cause: RootCause | None = None) -> Plan:
    """The plan for the first cause: four sites rewritten in two files, the guarded one and the starred one refused."""
    cause = cause or factory_cause()
    files = []
    for path in sorted({site.reference.path for site in cause.sites}):
        changes = tuple(change(site) for site in cause.sites if site.reference.path == path and not _refusal_of(site))
        source = read(path)
        after = Source.of(path, spliced(source, [edit for each in changes for edit in each.edits]))
        files.append(FilePlan(path, source.digest, after.digest, changes))
    refused = [RefusedSite(site, refusal) for site in cause.sites if (refusal := _refusal_of(site))]
    return Plan(cause.key, "from_request", cause.ranking.candidates[0], tuple(files), tuple(refused))


def change(at: Site, replacement: str = "from_request") -> SiteEdit:
    """Renames a call, and names its second argument."""
    source, call, arguments = read(at.reference.path), at.reference.call, at.reference.arguments
    assert call is not None
    assert arguments is not None
    second = arguments[1].span.start
    edits = (Edit(at.reference.name, replacement), Edit(Span(second, second), "thread_id="))
    before = source.slice(call)
    words = source.slice(arguments[1].span)
    after = before.replace(at.reference.attribute, replacement).replace(words, f"thread_id={words}")
    return SiteEdit(at, replacement, edits, before, after)


def _refusal_of(at: Site) -> Refusal | None:
    starred = any(argument.star is not Star.NONE for argument in at.reference.arguments or ())
    return STARS if starred else at.refusal


def diff(of: Plan) -> str:
    """What a plan changes, as git would show it."""
    lines: list[str] = []
    for file in of.files:
        source = read(file.path)
        after = spliced(source, [edit for each in file.sites for edit in each.edits]).decode()
        a, b = f"a/{file.path}", f"b/{file.path}"
        compared = difflib.unified_diff(source.text.splitlines(True), after.splitlines(True), a, b)
        lines += [f"diff --git {a} {b}\n", *compared]
    return "".join(lines)


def repair(run: str | None = "20260105-090000-1f2e") -> Repair:
    """A fix of the first cause: three of its four tests pass now, one still fails, one other regressed.

    Args:
        run: its id; None when nothing was written.
    """
    return Repair(
        findings=findings(),
        causes=(
            CauseRepair(
                key=factory_cause().key,
                plan=plan(),
                broken=TESTS,
                restored=(*TESTS[:2], TESTS[3]),
                batches=3,
                rolled_back=1,
                uncovered=2,
            ),
        ),
        comparison=Comparison(
            restored=(*TESTS[:2], TESTS[3]),
            regressed=("tests/test_a.py::test_two",),
            otherwise=(TESTS[2],),
            unchanged=("tests/test_b.py::test_other", "tests/test_ids.py"),
            flaky=("tests/test_c.py::test_now_and_then",),
            passed=1,
        ),
        remaining=4,
        refused=(RefusedSite(import_cause().sites[0], Refusal(Reason.TIE, "`new_id` and `next_id` are alike")),),
        diff=diff(plan()),
        run=run,
        seconds=21.5,
    )
