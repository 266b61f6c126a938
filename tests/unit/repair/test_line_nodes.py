"""Nodes on some lines: as many as a walk over the whole tree finds there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.blocks import statements_in
from netra_repair.line_nodes import lines_of, nodes_on, span_of
from netra_repair.source import Source

FILES = sorted((Path(__file__).resolve().parents[3] / "netra_repair").glob("*.py"))


def outside_of_formatted(tree: ast.AST) -> Iterable[ast.AST]:
    """Every node that is in no f-string."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.JoinedStr):
            yield child
            yield from outside_of_formatted(child)


@given(file=st.sampled_from(FILES), lines=st.sets(st.integers(1, 300), max_size=5))
def test_every_node_that_reaches_over_a_line_is_found(file: Path, lines: set[int]) -> None:
    """No node on a line is missed, and no other that has a position is given."""
    tree = ast.parse(file.read_bytes())
    found = {node for node in nodes_on(tree, sorted(lines)) if isinstance(node, ast.expr | ast.stmt)}
    wanted = set()
    for node in outside_of_formatted(tree):
        if isinstance(node, ast.expr | ast.stmt):
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            if any(first <= line <= (node.end_lineno or first) for line in lines):
                wanted.add(node)
    assert found == wanted


def test_decorators_belong_to_what_they_decorate() -> None:
    """A decorator stands above the line of its function, and is found all the same."""
    tree = ast.parse("@one\n@two.name\ndef f():\n    pass\n")
    assert [node.attr for node in nodes_on(tree, [2]) if isinstance(node, ast.Attribute)] == ["name"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_of_matches(newline: str) -> None:
    """Each line on which a match begins is given once, in order, counted from 1."""
    data = newline.join(["a.x; a.x", "", "é.x", "'", "x'.x", "a.y"]).encode()
    assert lines_of(data, re.compile(rb"\.x")) == [1, 3, 5]


def test_the_span_of_an_expression_is_its_bytes() -> None:
    """Spans count bytes of the file, whatever its encoding, and end where the expression ends."""
    for encoding in ("utf-8", "latin-1"):
        source = Source.of("a.py", f"# coding: {encoding}\nx = 'é'; é.né(\n    1)\n".encode(encoding))
        call = next(node for node in ast.walk(ast.parse(source.text)) if isinstance(node, ast.Call))
        assert source.slice(span_of(source, call)) == "é.né(\n    1)"
        assert source.slice(span_of(source, call.func)) == "é.né"


BLOCKS = """
if a:
    b
elif c:
    d
else:
    e
for f in g:
    h
else:
    i
while j:
    k
with l:
    m
try:
    n
except o:
    p
else:
    q
finally:
    r
try:
    s
except* t:
    u
match v:
    case w:
        x
def y():
    z
class A:
    if B:
        C
async def D():
    async for E in F:
        G
    async with H:
        I
"""


def test_every_statement_of_a_block_is_met() -> None:
    """Branches, loops, handlers and cases are looked into; functions and classes only where that is asked."""
    body = ast.parse(BLOCKS).body

    def named(nested: bool) -> set[str]:
        statements = statements_in(body, nested=nested)
        values = [statement.value for statement in statements if isinstance(statement, ast.Expr)]
        return {value.id for value in values if isinstance(value, ast.Name)}

    assert named(nested=False) == set("bdehikmnpqrsux")
    assert named(nested=True) == set("bdehikmnpqrsuxzCGI")


@pytest.mark.parametrize("file", FILES[::7], ids=lambda file: file.name)
def test_nested_statements_are_those_of_the_whole_tree(file: Path) -> None:
    """Asked for all, it gives the statements that a walk over every node gives."""
    tree = ast.parse(file.read_bytes())
    found = list(statements_in(tree.body, nested=True))
    wanted = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    assert len(found) == len(wanted)
    assert set(found) == set(wanted)
