"""Usages: how candidates are called elsewhere, on real files."""

from __future__ import annotations

from pathlib import Path

from netra_repair.source import Source, Span
from netra_repair.usages import usages

# The sets of keywords that the tests pass, none among them.
PASSED = [frozenset(words) for words in ((), "a", "b", "c", ("user_id", "thread_id"))]


def write(root: Path, **files: str) -> list[str]:
    """Writes files, "/" for "__" in their names."""
    paths = []
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        paths.append(path.relative_to(root).as_posix())
    return paths


def test_calls_are_told_with_their_keywords_and_receivers(tmp_path: Path) -> None:
    """Each call has its place, what is passed by name and by position, and the last name left of the dot."""
    paths = write(
        tmp_path,
        app="def f(ctx):\n    é = ctx.Ctx.made(1, user_id=2,\n        thread_id=3)\n    return (lambda: 0)().made()\n",
        other="Ctx.made(*a, **k); Ctx.unmade(); made(1)\n",
    )
    found = usages(tmp_path, paths, ["made"], PASSED)["made"]
    assert [(call.path, call.position.line, call.position.column, call.receiver) for call in found.calls] == [
        ("app.py", 2, 9, "Ctx"),
        ("app.py", 4, 12, ""),
        ("other.py", 1, 1, "Ctx"),
    ]
    assert found.calls[0].keywords == {"user_id", "thread_id"}
    assert found.mentions == 3


def test_texts_and_references_are_no_calls(tmp_path: Path) -> None:
    """What stands in strings and comments, and what is not called, is mentioned but not called."""
    paths = write(tmp_path, app='"""x.made(1)"""\n# x.made(2)\ny = x.made\nz = f"{x.made(3)}"\n')
    found = usages(tmp_path, paths, ["made"], PASSED)["made"]
    assert (found.mentions, found.calls) == (4, ())


def test_the_owners_files_prove_nothing(tmp_path: Path) -> None:
    """Calls where the candidates are defined count as mentions only."""
    paths = write(tmp_path, ctx="class Ctx:\n  def made(cls): return cls.made(a=1)\n", app="Ctx.made(a=1)\n")
    found = usages(tmp_path, paths, ["made"], PASSED, apart_from=["ctx.py"])["made"]
    assert (found.mentions, [call.path for call in found.calls]) == (2, ["app.py"])


def test_receivers_are_proven_where_they_can_be(tmp_path: Path) -> None:
    """Calls on something else are left out; those that nobody can tell stay, unproven."""
    paths = write(tmp_path, app="é = 1; Ctx.made(a=1)\nother.made(b=1)\nwho().made(c=1)\n")

    def prove(source: Source, span: Span) -> bool | None:
        return {"Ctx": True, "other": False}.get(source.slice(span))

    calls = usages(tmp_path, paths, ["made"], PASSED, prove=prove)["made"].calls
    assert [(sorted(call.keywords), call.proven) for call in calls] == [(["a"], True), (["c"], False)]


def test_functions_are_found_without_a_receiver_when_asked(tmp_path: Path) -> None:
    """A function that was imported is called by its name alone; its definition is no use of it."""
    paths = write(
        tmp_path, m="def made(): pass\nclass made: pass\n", app="from m import made\nmade(a=1)\nm.made(b=2)\nremade()\n"
    )
    assert usages(tmp_path, paths, ["made"], PASSED)["made"].mentions == 1
    found = usages(tmp_path, paths, ["made"], PASSED, alone=True)["made"]
    assert found.mentions == 3
    assert [sorted(call.keywords) for call in found.calls] == [["a"], ["b"]]


def test_files_that_cannot_be_read_or_parsed_are_passed_over(tmp_path: Path) -> None:
    """Other encodings are read; what is no Python is only mentioned; what is not there does no harm."""
    paths = write(tmp_path, bad="x.made(a=1\n", good="x.made(a=1)\n")
    (tmp_path / "latin.py").write_bytes(b"# coding: latin-1\n\xe9 = x.made(b=1)\n")
    found = usages(tmp_path, [*paths, "latin.py", "absent.py"], ["made", "never"], PASSED)
    assert [call.path for call in found["made"].calls] == ["good.py", "latin.py"]
    assert found["made"].mentions == 3
    assert (found["never"].mentions, found["never"].calls) == (0, ())


def test_a_sample_is_small_spread_and_the_same_every_time(tmp_path: Path) -> None:
    """Of many calls a few are looked at, from all over the tree; every mention is counted."""
    paths = write(
        tmp_path, **{f"d{number:03}__m": "x.made(a=1)\nx.made(b=1)\nx.rare(c=1)\n" * 2 for number in range(100)}
    )
    first = usages(tmp_path, paths, ["made", "rare"], PASSED, limit=40)
    assert first == usages(tmp_path, reversed(paths), ["rare", "made"], PASSED, limit=40)
    assert first["made"].mentions == 400
    assert 20 <= len(first["made"].calls) <= 80
    touched = {call.path for call in first["made"].calls}
    assert min(touched) < "d020"
    assert max(touched) > "d080"


def test_only_calls_with_the_keywords_that_tell_are_looked_at(tmp_path: Path) -> None:
    """A call that passes more, fewer or other keywords is mentioned and not told; of no keywords, no file is parsed."""
    paths = write(
        tmp_path,
        app="x.made(a=1, b=2)\nx.made(b=2, a=1)\nx.made(a=1)\nx.made(a=1, b=2, c=3)\nx.made(1, a=1, b=2)\n",
        other="x.made(c=1)\n",
    )
    found = usages(tmp_path, paths, ["made"], [frozenset("ab")])["made"]
    assert [call.position.line for call in found.calls] == [1, 2, 5]
    assert found.mentions == 6
    none = usages(tmp_path, paths, ["made"], [])["made"]
    assert (none.mentions, none.calls) == (6, ())
