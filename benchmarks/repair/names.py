"""New names for old ones, as people would choose them: another verb, another noun, a word more, another order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random

VERBS = {
    "add": "insert",
    "append": "push",
    "build": "make",
    "check": "verify",
    "clear": "reset",
    "compile": "translate",
    "convert": "transform",
    "copy": "clone",
    "create": "build",
    "delete": "remove",
    "dump": "write",
    "emit": "send",
    "enable": "activate",
    "fail": "abort",
    "feed": "supply",
    "find": "locate",
    "flush": "drain",
    "format": "layout",
    "from": "of",
    "generate": "produce",
    "get": "fetch",
    "group": "gather",
    "has": "contains",
    "insert": "put",
    "is": "looks",
    "iter": "walk",
    "keys": "names",
    "lookup": "find",
    "make": "build",
    "match": "fits",
    "next": "advance",
    "open": "begin",
    "parse": "read",
    "pop": "take",
    "process": "handle",
    "push": "append",
    "put": "store",
    "read": "load",
    "receive": "accept",
    "remove": "discard",
    "render": "draw",
    "replace": "swap",
    "reset": "clear",
    "resolve": "settle",
    "run": "execute",
    "select": "pick",
    "send": "transmit",
    "serialize": "encode",
    "set": "assign",
    "skip": "pass_over",
    "split": "divide",
    "start": "begin",
    "to": "as",
    "update": "refresh",
    "use": "apply",
    "validate": "check",
    "visit": "enter",
    "walk": "traverse",
    "write": "save",
}
NOUNS = {
    "args": "arguments",
    "attr": "attribute",
    "block": "section",
    "char": "character",
    "children": "offspring",
    "context": "scope",
    "data": "content",
    "error": "problem",
    "field": "column",
    "file": "document",
    "header": "heading",
    "index": "position",
    "item": "entry",
    "key": "label",
    "line": "row",
    "list": "sequence",
    "map": "table",
    "name": "title",
    "node": "element",
    "option": "choice",
    "param": "parameter",
    "path": "location",
    "rule": "principle",
    "source": "origin",
    "state": "status",
    "stream": "flow",
    "text": "content",
    "token": "symbol",
    "tokens": "symbols",
    "type": "sort",
    "url": "address",
    "value": "content",
    "values": "contents",
    "wire": "octets",
}
SUFFIXES = ("now", "all", "one", "here", "safely")
PREFIXES = ("do", "run", "the", "on")


def renamed(name: str, taken: Collection[str], random: Random) -> str:
    """Another name for a method.

    Args:
        name: as it is.
        taken: what it must not be called.
        random: decides which of the ways is taken; the others are tried when that one gives nothing new.

    Raises:
        ValueError: when every way leads to a name that is taken.
    """
    private = name[: len(name) - len(name.lstrip("_"))]
    words = name.strip("_").split("_")
    ways: list[Callable[[], list[str]]] = [
        lambda: [VERBS.get(words[0], words[0]), *words[1:]],
        lambda: [*words[:-1], NOUNS.get(words[-1], words[-1])],
        lambda: [*words[1:], words[0]],
        lambda: [*words, random.choice(SUFFIXES)],
        lambda: [random.choice(PREFIXES), *words],
    ]
    random.shuffle(ways)
    for way in ways:
        new = private + "_".join(way())
        if new != name and new not in taken:
            return new
    raise ValueError(f"no new name for {name!r}")


def renamed_parameter(name: str, taken: Collection[str], random: Random) -> str:
    """Another name for a parameter; as `renamed`."""
    words = name.split("_")
    ways = [
        "_".join([*words[:-1], NOUNS.get(words[-1], words[-1])]),
        f"{name}_value",
        f"{name}_",
        f"given_{name}",
        f"use_{name}",
    ]
    random.shuffle(ways)
    for new in ways:
        if new != name and new not in taken:
            return new
    raise ValueError(f"no new name for the parameter {name!r}")
