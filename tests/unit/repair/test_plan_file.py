"""Plan files: what is written is what is read, and what was damaged is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.causes import Site
from netra_repair.edits import Edit
from netra_repair.errors import PlanError
from netra_repair.plan import FilePlan, Plan, SiteEdit
from netra_repair.plan_file import from_bytes, read, to_bytes, write
from netra_repair.references import Reference
from netra_repair.source import Span
from tests.support.repair_plans import AWKWARD, renaming, write_files

names = st.sampled_from(["a", "é", "名", "a b", ".x", "\udc80", '"', "\\"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
spans = st.builds(lambda start, size: Span(start, start + size), st.integers(0, 10**9), st.integers(0, 10**4))
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=4),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    Span: spans,
}


@cache
def values(kind: Any, **given_fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any small value of an annotation; far quicker than what hypothesis infers."""
    if kind in LEAVES:
        return LEAVES[kind]
    if get_origin(kind) is UnionType:
        return st.none() | values(get_args(kind)[0])
    if get_origin(kind) is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=1).map(tuple)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    hints = get_type_hints(kind)
    return st.builds(kind, **({field.name: values(hints[field.name]) for field in fields(kind)} | given_fields))


@st.composite
def file_plans(draw: st.DrawFn) -> FilePlan:
    """A file's plan, its edits anywhere but not over one another."""
    path = draw(paths)
    cuts = sorted(draw(st.sets(st.integers(0, 10**6), max_size=6)))
    site = values(Site, reference=values(Reference, path=st.just(path)))
    sites = []
    for start, end in zip(cuts[::2], cuts[1::2], strict=False):
        edits = (Edit(Span(start, end), draw(LEAVES[str])),)
        sites.append(draw(values(SiteEdit, site=site, edits=st.just(edits))))
    return FilePlan(path, draw(digests), draw(digests), tuple(sites))


plans = values(Plan, files=st.lists(file_plans(), max_size=2, unique_by=lambda file: file.path).map(tuple))


@given(made=st.lists(plans, max_size=2).map(tuple))
def test_what_is_written_is_what_is_read(made: tuple[Plan, ...]) -> None:
    """Every field of every plan comes back, whatever letters stand in names and texts."""
    assert from_bytes(to_bytes(made, "netra 1"), "plan") == made


def test_a_plan_file_is_laid_out_for_people(tmp_path: Path) -> None:
    """What fits into a line stands in one; letters of other scripts are letters; the rest is indented."""
    write_files(tmp_path, AWKWARD)
    write(tmp_path / "plan.json", [renaming(tmp_path, AWKWARD)], "netra 1.2")
    lines = (tmp_path / "plan.json").read_text("utf-8").splitlines()
    assert lines[:3] == ["{", '  "schema_version": 1,', '  "tool": "netra 1.2",']
    assert any(
        line.strip().startswith('"edits": [{"span": {"start": 8, "end": 12}, "text": "found"}]') for line in lines
    )
    assert any("Ünïcode" in line for line in lines)
    assert read(tmp_path / "plan.json") == (renaming(tmp_path, AWKWARD),)


def spoiled(change: Callable[[Any], object]) -> bytes:
    """A small plan file, changed by hand."""
    reference = {
        "path": "a.py",
        "attribute": "gone",
        "name": {"start": 4, "end": 8},
        "position": {"line": 1, "column": 5},
        "receiver": None,
        "expression": {"start": 0, "end": 8},
        "use": "reference",
    }
    site = {"reference": reference, "receiver": None, "access": None, "proofs": ["checker"], "refusal": None}
    edits = [{"span": {"start": 4, "end": 8}, "text": "new"}]
    sites = [{"site": site, "replacement": "new", "edits": edits, "before": "Ctx.gone", "after": "Ctx.new"}]
    file = {"path": "a.py", "before_sha256": "0" * 64, "after_sha256": "1" * 64, "sites": sites}
    plan = {"cause": "c", "replacement": "new", "candidate": None, "files": [file], "refused": []}
    document = {"schema_version": 1, "tool": "netra 1", "plans": [plan]}
    assert from_bytes(json.dumps(document).encode(), "plan")[0].files[0].sites[0].edits == (Edit(Span(4, 8), "new"),)
    change(document)
    return json.dumps(document).encode()


def first_file(document: Any) -> Any:
    """The JSON of the first file."""
    return document["plans"][0]["files"][0]


def first_edit(document: Any) -> Any:
    """The JSON of its first edit."""
    return first_file(document)["sites"][0]["edits"][0]


DAMAGE: dict[str, tuple[Callable[[Any], object], str]] = {
    "schema": (lambda d: d.update(schema_version=2), "schema_version: expected 1, which this version reads, got 2"),
    "missing": (lambda d: d.pop("plans"), "plans: expected a value, got 'nothing'"),
    "no list": (lambda d: d.update(plans={}), "plans: expected a list, got {}"),
    "misspelled": (lambda d: d["plans"][0].update(casue="x"), r"plans\[0\]: expected only the fields .*, got 'casue'"),
    "no text": (lambda d: d["plans"][0].update(cause=7), r"plans\[0\].cause: expected a text, got 7"),
    "kind": (
        lambda d: d["plans"][0].update(kind="odd"),
        r"plans\[0\].kind: expected one of missing-attribute, .*'odd'",
    ),
    "absolute": (lambda d: first_file(d).update(path="/a.py"), r"files\[0\].path: expected a path relative .*'/a.py'"),
    "climbing": (lambda d: first_file(d).update(path="x/../../a.py"), r"files\[0\].path: expected a path relative to"),
    "mixed up": (lambda d: first_file(d).update(path="b.py"), r"sites\[0\].site.reference.path: .* 'b.py', got 'a.py'"),
    "digest": (lambda d: first_file(d).update(before_sha256="00"), "before_sha256: expected 64 hexadecimal digits"),
    "twice": (lambda d: d["plans"][0]["files"].append(first_file(d)), r"files\[1\].path: expected each file once"),
    "turned": (lambda d: first_edit(d).update(span={"start": 5, "end": 4}), "edits: expected 0 ≤ start ≤ end"),
    "negative": (lambda d: first_edit(d)["span"].update(start=-1), "edits: expected 0 ≤ start ≤ end"),
    "quoted": (lambda d: first_edit(d)["span"].update(start="4"), "span.start: expected a whole number, got '4'"),
    "true": (lambda d: first_edit(d)["span"].update(start=True), "span.start: expected a whole number, got True"),
    "same place": (
        lambda d: first_file(d)["sites"][0].update(edits=[{"span": {"start": 4, "end": 4}, "text": t} for t in "xy"]),
        r"edits\[1\].span: expected edits that do not overlap, the one before ends at 4",
    ),
    "overlap": (
        lambda d: first_file(d)["sites"][0]["edits"].append({"span": {"start": 7, "end": 9}, "text": "x"}),
        r"edits\[1\].span: expected edits that do not overlap, the one before ends at 8",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(name: str) -> None:
    """The field, what was expected, what came, and what to do."""
    change, message = DAMAGE[name]
    with pytest.raises(PlanError, match=message) as caught:
        from_bytes(spoiled(change), "plan.json")
    assert caught.value.problem.startswith("plan.json: ")
    assert caught.value.remedy


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 100_000, b"\xff\xfe{", b'{"schema_version": 1' + b"0" * 5000 + b"}"]
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    """No damage ends in a traceback."""
    with pytest.raises(PlanError):
        from_bytes(data, "plan.json")


@pytest.mark.parametrize("data", [b"[]", b"7", b"null", b'"x"', b"{}"])
def test_json_that_is_no_plan_is_refused(data: bytes) -> None:
    """The outermost value is checked like every other."""
    with pytest.raises(PlanError, match="expected"):
        from_bytes(data, "plan.json")


@given(cut=st.integers(0, 10**6))
def test_a_plan_file_that_was_cut_off_is_refused(cut: int) -> None:
    """A half-written plan is none."""
    whole = spoiled(lambda _: None)
    with pytest.raises(PlanError):
        from_bytes(whole[: cut % len(whole)], "plan.json")


def test_a_plan_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Reading and writing say which file, and why not."""
    with pytest.raises(PlanError, match=r"none\.json cannot be read: No such file"):
        read(tmp_path / "none.json")
    with pytest.raises(PlanError, match=r"none/plan\.json cannot be written: No such file"):
        write(tmp_path / "none" / "plan.json", [], "netra")
