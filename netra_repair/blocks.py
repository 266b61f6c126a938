"""The statements of a function or class, without a look into expressions: a tenth of the nodes."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_HOLDERS = (
    *_SCOPES,
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match),
)


def statements_in(body: Iterable[ast.stmt], *, nested: bool = False) -> Iterator[ast.stmt]:
    """The statements of a block and of the blocks in them.

    Args:
        body: the block.
        nested: whether those of the functions and classes in it count, too.

    Yields:
        Every statement, in no order.
    """
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, _HOLDERS) and (nested or not isinstance(node, _SCOPES)):
            for part in ("body", "orelse", "finalbody"):
                waiting += getattr(node, part, ())
            for part in ("handlers", "cases"):
                for inner in getattr(node, part, ()):
                    waiting += inner.body
