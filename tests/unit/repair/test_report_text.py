"""The report for terminals and logs."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from netra_repair.causes import RootCause
from netra_repair.diagnostics import CauseKind
from netra_repair.findings import Findings
from netra_repair.repair import Comparison
from netra_repair.report import unified
from netra_repair.report.page import Page
from netra_repair.report.progress import shown
from netra_repair.report.rates import BeforeAfter, Rate
from netra_repair.report.text import print_comparison, print_diff, print_findings, print_plan, print_repair
from netra_repair.report.unified import LineKind
from netra_repair.report.words import headline, portable, printable, without_machine_paths
from tests.support import repair_values as values


def console(width: int = 80, *, terminal: bool = False) -> tuple[Console, io.StringIO]:
    """A console of a width, and what is written to it."""
    stream = io.StringIO()
    environment = {"TERM": "xterm-256color"}
    return Console(file=stream, width=width, force_terminal=terminal, _environ=environment), stream


def told(findings: Findings, *, verbose: bool = False, width: int = 80, terminal: bool = False) -> str:
    """The text of a scan's report."""
    target, stream = console(width, terminal=terminal)
    print_findings(target, findings, verbose)
    return stream.getvalue()


def fixed(*, verbose: bool = False, run: str | None = "run-1") -> str:
    """The text of a fix's report."""
    target, stream = console()
    print_repair(target, values.repair(run), verbose)
    return stream.getvalue()


def named(name: str) -> Findings:
    """The sample scan, with one cause whose attribute, scope and tests are called so."""
    cause = values.factory_cause()
    sites = tuple(replace(site, reference=replace(site.reference, scope=name)) for site in cause.sites)
    renamed = replace(cause, attribute=name, sites=sites, tests=(name,))
    return replace(values.findings(), causes=(renamed,), unexplained=(name,), warnings=(name,))


def test_a_cause_names_the_method_that_its_own_overrides() -> None:
    """Who reads of calls that do not fit an override is told of the method above; where there is none, of nothing."""
    cause = replace(values.factory_cause(), family="app.base.Base.made")
    assert "overrides   app.base.Base.made, which takes the same" in told(replace(values.findings(), causes=(cause,)))
    assert "overrides" not in told(values.findings())


def test_a_scan_tells_each_cause_with_its_evidence() -> None:
    """Headline, key, reach, history, candidates with score, margin and evidence, decision and refusals are there."""
    text = told(values.findings())
    for expected in (
        "3 root causes: 8 sites in 4 files, 5 tests broken",
        "1. class `Context` has no attribute `create_for_user`",
        "app.context.Context.create_for_user",
        "defined in  app/context.py:4",
        "6 sites in 2 files, 4 tests broken",
        "never existed: none of 212 commits defines `create_for_user`",
        "14 in comments",
        "1. from_request(user_id, thread_id, *, metadata=…)",
        "score 9.5, 4.0 ahead, fits 5 of 6 sites",
        "+5.0 fit       5 of 6 calls bind",
        "-0.5 name",
        "chosen: `from_request` binds",
        "1 guarded: inside `if hasattr(…)` for this name",
        f"{values.OLD}:6:17 in test_absence",
        "tie: `new_id` and `next_id` are alike",
        "none: no parameter of `merge`",
    ):
        assert expected in text, expected


def test_the_greatest_cause_comes_first() -> None:
    """Causes are numbered in the order of the scan, which is by sites."""
    text = told(values.findings())
    assert text.index("1. class `Context`") < text.index("2. module `app.ids`") < text.index("3. `DataFrame.merge()`")


@pytest.mark.parametrize(
    ("root", "command"),
    [
        (".", "netra repair fix 'pandas.core.frame.DataFrame.merge(keys=)' --apply"),
        ("my project", "netra repair fix 'pandas.core.frame.DataFrame.merge(keys=)' --apply --root 'my project'"),
    ],
)
def test_the_next_command_can_be_typed(root: str, command: str) -> None:
    """What to do next is a command that a shell takes as it stands, unbroken also on a narrow terminal."""
    cause = replace(values.keyword_cause(), ranking=values.factory_cause().ranking)
    text = told(replace(values.findings(), root=root, causes=(cause,)), width=40, terminal=True)
    assert f"              {command}\n" in Text.from_ansi(text).plain + "\n"


def test_a_tie_offers_both() -> None:
    """Where two candidates tie, a person is told how to choose either."""
    text = told(values.findings())
    assert "netra repair fix app.ids.make_id --to new_id" in text
    assert "netra repair fix app.ids.make_id --to next_id" in text


def test_what_must_be_known_is_told() -> None:
    """Warnings, unresolved imports, files the checker could not read and unexplained failures stand in the report."""
    suite = replace(values.suite(), interrupted="after tests/test_z.py", foreign=("app.ids",), notes=("no columns",))
    text = told(replace(values.findings(), suite=suite))
    for expected in (
        "come to their end: after tests/test_z.py",
        "another folder, and prove nothing: app.ids",
        "no columns",
    ):
        assert expected in text, expected
    for expected in ("2 tests are skipped everywhere", "redis (14)", "app/latin.py", "tests/test_b.py::test_other"):
        assert expected in text, expected


def test_nothing_analysed_is_no_success() -> None:
    """A scan of no file says so, instead of that there is nothing wrong only."""
    text = told(replace(values.findings(), files=0, causes=()))
    assert "no file was analysed: nothing is proven" in text


def test_lists_are_short_unless_asked() -> None:
    """Without -v three of a list are shown and the rest is counted; with it all are."""
    short, long = told(values.findings()), told(values.findings(), verbose=True)
    last = values.factory_cause().tests[-1]
    assert "… 1 more; -v lists them" in short
    assert f"              {last}\n" not in short
    assert f"              {last}\n" in long
    assert "more; -v" not in long
    assert "tests/test_login.py:5:23 in helper" in long


def test_a_pipe_gets_whole_lines_without_codes() -> None:
    """Where there is no terminal a line is as long as it has to be, no name is cut, and there are no control codes."""
    name = "a_very_long_name_of_a_test_" * 20
    text = told(named(name), width=40)
    assert "\x1b" not in text
    assert f"  ! {name}\n" in text
    assert f"has no attribute `{name}`\n" in text


@pytest.mark.parametrize("width", [60, 80])
def test_a_terminal_gets_no_line_that_is_too_long(width: int) -> None:
    """On a terminal lines are broken at its width, but for commands, and keep their indentation."""
    text = Text.from_ansi(told(named("x" * 200), width=width, terminal=True)).plain
    assert [line for line in text.splitlines() if len(line) > width and "netra repair" not in line] == []
    assert text.replace("\n", "").replace(" ", "").count("x" * 200) > 3


def test_no_colour_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a terminal gets no colour, and the words are those of the pipe."""
    target = Console(file=io.StringIO(), width=200, force_terminal=True, _environ={"NO_COLOR": "1", "TERM": "xterm"})
    print_findings(target, values.findings())
    assert isinstance(target.file, io.StringIO)
    text = target.file.getvalue()
    assert not any(f"\x1b[{code}m" in text for code in (31, 32, 33, 36))
    assert Text.from_ansi(text).plain.split() == told(values.findings()).split()


@given(st.text(st.characters(), min_size=1))
def test_whatever_things_are_called_the_page_is_text(name: str) -> None:
    """No name can bring a control code, a turned direction of writing or a markup tag into a report."""
    text = told(named(name))
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    assert f"  ! {printable(name)}\n" in text


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[/nothing]", ":smile:", "https://example.com", "\\[x]"])
def test_nothing_is_taken_for_markup(name: str) -> None:
    """What looks like markup or an emoji is shown as it is."""
    assert f"  ! {name}\n" in told(named(name))


def test_a_fix_tells_the_rates_before_and_after() -> None:
    """All tests and each cause have a rate before and after; restored, regressed, otherwise, flaky are counted."""
    text = fixed()
    for expected in (
        "success rate 25 % → 50 %",
        "2 of 8 tests passed before, 4 pass now",
        "   0 %   75 %        4        2  app.context.Context.create_for_user → from_request",
        "3 of 4 broken tests pass now",
        f"still fails: {values.TESTS[2]}",
        "3 batches verified, 1 rolled back",
        "2 changed sites that no test ran",
        "star-arguments: `*fields` may hold anything",
        "3 restored",
        "1 regressed",
        "tests/test_a.py::test_two",
        "2 root causes not worked on",
        "1 flaky",
        "4 sites that the checker still reports",
        "netra repair undo run-1",
    ):
        assert expected in text, expected


def test_two_runs_are_compared() -> None:
    """A comparison alone has the rates and what was restored and what regressed."""
    target, stream = console()
    print_comparison(target, values.repair().comparison)
    assert stream.getvalue().startswith("success rate 25 % → 50 %\n2 of 8 tests passed before, 4 pass now\n")
    assert "1 regressed: passed before, not passing now\n              tests/test_a.py::test_two\n" in stream.getvalue()
    target, stream = console()
    print_comparison(target, Comparison((), (), (), (), (), 0))
    assert "no test was run" in stream.getvalue()


def test_every_regressed_test_is_told() -> None:
    """Whatever else is cut short, each test that passed before and does not now is named."""
    repair = values.repair()
    regressed = tuple(f"tests/test_r.py::test_{number}" for number in range(9))
    target, stream = console()
    print_repair(target, replace(repair, comparison=replace(repair.comparison, regressed=regressed)))
    assert all(test in stream.getvalue().split() for test in regressed)


def test_a_fix_that_wrote_nothing_says_so() -> None:
    """Without a run there is nothing to undo, and that is told."""
    text = fixed(run=None)
    assert "nothing was written to the project" in text
    assert "undo" not in text


def test_a_cause_of_a_later_round_is_told() -> None:
    """A cause that the first scan could not see has its line and its chapter as well."""
    repair = values.repair()
    later = replace(values.import_cause(), attribute="make_key")
    outcome = replace(repair.causes[0], key=later.key)
    target, stream = console()
    print_repair(target, replace(repair, causes=(*repair.causes, outcome), later=(later,)))
    assert "app.ids.make_key → from_request" in stream.getvalue()
    assert "2. module `app.ids` has no `make_key` to import" in stream.getvalue()


def test_a_plan_shows_each_call_before_and_after() -> None:
    """A plan tells replacement, places, both texts of each call, and what it refuses."""
    target, stream = console()
    print_plan(target, values.plan())
    text = stream.getvalue()
    assert "app.context.Context.create_for_user → from_request" in text
    assert "would change 4 sites in 2 files, refuses 2 sites" in text
    assert '5 - Context.create_for_user("ann", "t-1")' in text
    assert '+ Context.from_request("ann", thread_id="t-1")' in text


def test_a_piped_diff_is_the_patch_itself() -> None:
    """A diff that goes into a file is letter for letter the diff; on a terminal its lines are coloured."""
    diff = values.diff(values.plan()) + "\x0c form feed \x1b[31m\r\n"
    target, stream = console()
    print_diff(target, diff)
    assert stream.getvalue() == diff
    target, stream = console(terminal=True)
    print_diff(target, diff)
    assert "\x1b[32m+" in stream.getvalue()
    assert "\\x0c form feed \\x1b[31m\\r" in stream.getvalue()


def test_lines_of_a_diff_are_told_apart_by_the_lengths_of_hunks() -> None:
    """A removed line that begins with two hyphens is no file name, and the next file begins where the hunk ends."""
    diff = "\n".join(
        [
            *("diff --git a/x b/x", "--- a/x", "+++ b/x", "@@ -1,2 +1,2 @@", "--- a/y", "+++ b/y", " end"),
            *(r"\ No newline", "--- a/z z\t", '+++ "b/z z"\t', "@@ -1 +1 @@", "-1", "+2", ""),
        ]
    )
    first, second = unified.files(diff)
    assert [line.kind for line in first.lines] == [
        *(LineKind.FILE,) * 3,
        LineKind.HUNK,
        LineKind.REMOVED,
        LineKind.ADDED,
        *(LineKind.CONTEXT,) * 2,
    ]
    assert (first.path, second.path) == ("x", "z z")
    assert (second.count(LineKind.ADDED), second.count(LineKind.REMOVED)) == (1, 1)


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_only_all_is_a_hundred_per_cent(passed: int, failed: int) -> None:
    """A rate is never rounded up: 100 % means all, and without tests there is no rate."""
    rate = Rate(passed, passed + failed)
    if passed + failed == 0:
        assert (rate.percent, str(rate)) == (None, "–")
    else:
        assert rate.percent is not None
        assert (rate.percent == 100) == (failed == 0)
        assert 0 <= 100 * passed / (passed + failed) - rate.percent < 0.1 + 1e-9


@given(*(st.integers(0, 30),) * 6)
def test_rates_count_every_test_that_is_not_flaky(
    restored: int, regressed: int, otherwise: int, unchanged: int, flaky: int, passed: int
) -> None:
    """Before and after speak of the same tests, and differ by what was restored and what regressed."""
    counts = (restored, regressed, otherwise, unchanged, flaky)
    groups = [tuple(f"{name}{number}" for number in range(count)) for name, count in zip("abcde", counts, strict=True)]
    rates = BeforeAfter.of_tests(Comparison(groups[0], groups[1], groups[2], groups[3], groups[4], passed))
    assert rates.before.total == rates.after.total == restored + regressed + otherwise + unchanged + passed
    assert rates.after.passed - rates.before.passed == restored - regressed


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (CauseKind.MISSING_ATTRIBUTE, "class `Context` has no attribute `make`"),
        (CauseKind.MISSING_IMPORT, "class `Context` has no `make` to import"),
        (CauseKind.UNEXPECTED_KEYWORD, "`Context.make()` takes no argument `run`"),
        (CauseKind.POSITIONAL_COUNT, "`Context.make()` takes fewer positional arguments than it gets"),
        (CauseKind.MISSING_ARGUMENT, "`Context.make()` needs its argument `run`"),
    ],
)
def test_every_kind_has_its_words(kind: CauseKind, told: str) -> None:
    """What is missing on what is told in one sentence for each kind of cause."""
    cause: RootCause = replace(values.factory_cause(), kind=kind, attribute="make", parameter="run")
    assert headline(cause) == told


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        ("app/ctx.py", "app/ctx.py"),
        ("/home/ann/.venv/lib/python3.11/site-packages/pandas/frame.py", "site-packages/pandas/frame.py"),
        ("/usr/lib/python3.11/json/decoder.py", "python3.11/json/decoder.py"),
        ("/var/cache/typeshed-4711/builtins.pyi", "builtins.pyi"),
        (r"C:\Users\ann\Lib\site-packages\x.py", "site-packages/x.py"),
    ],
)
def test_a_definition_is_shown_without_the_machine(file: str, shown: str) -> None:
    """An absolute path begins where every machine has the same."""
    assert portable(file) == shown


def test_messages_lose_their_absolute_paths() -> None:
    """The path that an ImportError quotes is made portable; the rest of a message is left."""
    message = "cannot import name 'x' from 'a' (/home/an n/a/b.py), GET /api/threads, see /x/y.py"
    assert without_machine_paths(message) == "cannot import name 'x' from 'a' (b.py), GET /api/threads, see y.py"


def test_progress_is_a_line_a_step_in_a_log_and_a_bar_on_a_terminal() -> None:
    """A log gets one line for each step and no control codes; a terminal gets a bar that is gone in the end."""
    target, stream = console()
    with shown(target) as progress:
        progress.step("checking [x]", 1200)
        progress.advance(600)
        progress.step("running the tests")
    assert stream.getvalue() == "checking [x] (1,200)\nrunning the tests\n"
    target, stream = console(terminal=True)
    with shown(target) as progress:
        progress.step("checking [x]", 2)
        progress.advance()
        progress.step("running the tests")
    assert "running the tests" in stream.getvalue()
    assert stream.getvalue().rstrip("\n").endswith("\x1b[2K")


def test_a_page_breaks_long_words_rather_than_lose_them() -> None:
    """A word that is wider than what is left is folded, and every letter is kept."""
    target, stream = console(30, terminal=True)
    Page(target, verbose=False).line("x" * 100, indent=14, label="  label")
    assert Text.from_ansi(stream.getvalue()).plain.count("x") == 100
