"""Where every node of a parsed file stands.

LibCST gives no positions while it parses. Its own providers compute them for all nodes, one dictionary each, and take
several times as long as the parser. Writing the tree out once tells the same: which node is inside which, and how many
characters stand before it.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import accumulate
from typing import TypeVar, cast

import libcst as cst

# Private, and the only way to see a tree while it is written out; the tests compare with LibCST's own providers.
from libcst._nodes.internal import CodegenState

from netra_repair.excerpts import Stretch, blanked
from netra_repair.source import Source, Span, UnparsableSource

Place = tuple[int, int]

_T = TypeVar("_T")
_Node = TypeVar("_Node", bound=cst.CSTNode)

# The native parser goes down the stack with the code's nesting, and would end the process with a segmentation fault.
# Of a stack only what is touched takes memory.
_STACK_BYTES = 256 * 2**20
_DEPTH = 200_000
_starting = threading.Lock()
_going_deep = threading.Lock()

# What LibCST loses between statements (1.9 does): form feeds before the indentation, a backslash alone on its line, a
# carriage return at the very end.
_MAY_BE_LOST = frozenset(" \t\f\\\r\n\ufeff")


def parsed(path: str, text: str) -> cst.Module:
    """Parses Python with the newest grammar LibCST knows, whatever the running Python's is.

    Args:
        path: of the file, for messages.
        text: all of it, or some of its lines.

    Returns:
        The tree.

    Raises:
        UnparsableSource: when it is not Python.
    """
    try:
        return _on_a_deep_stack(lambda: cst.parse_module(text))
    except cst.ParserSyntaxError as error:
        where = error.message.partition(": expected")[0]
        raise UnparsableSource(path, f"cannot be parsed: {where}") from error
    except Exception as error:
        # The tree checks itself while it is built, and raises what it likes on code that Python would not compile.
        raise UnparsableSource(path, f"cannot be parsed: {type(error).__name__}: {error}") from error


def deeply(work: Callable[[], _T]) -> _T:
    """Does work that recurses as deep as the code is nested: first as usual, then with all the room it may need."""
    try:
        return work()
    except RecursionError:
        with _going_deep:
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(max(limit, _DEPTH))
            try:
                return _on_a_deep_stack(work)
            finally:
                sys.setrecursionlimit(limit)


def _on_a_deep_stack(work: Callable[[], _T]) -> _T:
    outcome: Future[_T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="netra-repair-parser")
    with _starting:
        usual = threading.stack_size(_STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(usual)
    thread.join()
    return outcome.result()


class _Writing(CodegenState):
    """LibCST's state while it writes a tree out; keeps which tokens belong to which node."""

    def __init__(self, module: cst.Module) -> None:
        super().__init__(module.default_indent, module.default_newline)
        self.nodes: list[cst.CSTNode] = []
        self.parents: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self._open = [-1]

    def before_codegen(self, node: cst.CSTNode) -> None:
        self.parents.append(self._open[-1])
        self._open.append(len(self.nodes))
        self.nodes.append(node)
        self.starts.append(len(self.tokens))
        self.ends.append(0)

    def after_codegen(self, node: cst.CSTNode) -> None:
        self.ends[self._open.pop()] = len(self.tokens)


class Layout:
    """A file's syntax tree with the place of every node.

    A Place is the index of the first character in the file's text, and the one after the last; `span` makes bytes of
    the file of it.

    Args:
        source: the file.
        left_out: stretches of whole lines that are not parsed; see `Excerpts`.

    Raises:
        UnparsableSource: when the file cannot be parsed, or LibCST does not give back what it was given.
    """

    def __init__(self, source: Source, left_out: Sequence[Stretch] = ()) -> None:
        self.source = source
        text = blanked(source.text, left_out)
        self.module = parsed(source.path, text)
        writing = deeply(self._written)
        self._nodes = writing.nodes
        self._parents = writing.parents
        self._index = {id(node): index for index, node in enumerate(writing.nodes)}
        # The module takes back the newline that it wrote at the end of a file that has none.
        before = [*accumulate(map(len, writing.tokens), initial=0)]
        before.append(before[-1])
        self._starts = [before[token] for token in writing.starts]
        self._ends = [before[token] for token in writing.ends]
        code = "".join(writing.tokens)
        self._solid = None if code == text else self._solid_characters(code, text)

    def of_type(self, kind: type[_Node]) -> Sequence[_Node]:
        """The nodes of exactly this type, in order of position."""
        return cast(Sequence[_Node], self._by_type[kind])

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The node that holds it; None for the module."""
        parent = self._parents[self._index[id(node)]]
        return None if parent < 0 else self._nodes[parent]

    def line_of_descent(self, node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
        """Pairs of child and parent, from the node up to the module."""
        while (parent := self.parent(node)) is not None:
            yield node, parent
            node = parent

    def outer(self, node: cst.CSTNode) -> Place:
        """The node's place with the parentheses around it."""
        index = self._index[id(node)]
        return self._place(self._starts[index], self._ends[index])

    def inner(self, node: cst.CSTNode) -> Place:
        """The node's place without the parentheses around it, as other parsers tell it."""
        index = self._index[id(node)]
        start, end = self._starts[index], self._ends[index]
        if isinstance(node, cst.BaseExpression) and node.lpar:
            start, end = self._ends[self._index[id(node.lpar[-1])]], self._starts[self._index[id(node.rpar[0])]]
        return self._place(start, end)

    def text(self, node: cst.CSTNode) -> str:
        """What the node is written as, without the parentheses around it."""
        start, end = self.inner(node)
        return self.source.text[start:end]

    def span(self, place: Place) -> Span:
        """The bytes of a place."""
        return self.source.span(*place)

    @cached_property
    def _by_type(self) -> dict[type[cst.CSTNode], list[cst.CSTNode]]:
        by_type: defaultdict[type[cst.CSTNode], list[cst.CSTNode]] = defaultdict(list)
        for node in self._nodes:
            by_type[type(node)].append(node)
        return by_type

    def _written(self) -> _Writing:
        writing = _Writing(self.module)
        self.module._codegen(writing)
        return writing

    def _solid_characters(self, code: str, text: str) -> tuple[list[int], list[int]]:
        """Where the characters that LibCST does not lose stand, in what it gave back and in what it was given."""
        given_back = [index for index, character in enumerate(code) if character not in _MAY_BE_LOST]
        there = [index for index, character in enumerate(text) if character not in _MAY_BE_LOST]
        if [code[index] for index in given_back] != [text[index] for index in there]:
            raise UnparsableSource(self.source.path, "the parser does not give back what it was given")
        return given_back, there

    def _place(self, start: int, end: int) -> Place:
        """Where characters of the written tree stand in the file: the same, unless LibCST lost some before.

        A place then goes from its first solid character to its last one.
        """
        if self._solid is None:
            return start, end
        given_back, there = self._solid
        first, behind = bisect_left(given_back, start), bisect_left(given_back, end)
        if first < behind:
            return there[first], there[behind - 1] + 1
        at = there[first] if first < len(there) else len(self.source.text)
        return at, at
