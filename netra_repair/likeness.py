"""How much alike two names are, by their words. Names of opposite meaning are not alike, however they are spelled."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

# Alikeness, from which on two names are the same name in another spelling: other case, other order, a slip of a key.
SAME_NAME = 0.9
# Of what is all but that, with an article more or a direction in another place; above that of different words.
NEARLY = 0.87

_SAME = 1.0
_REORDERED = 0.95
_MISSPELLED = 0.9
# The most that different words can reach, so that they stay below another spelling of the same ones.
_DIFFERENT = 0.85
_SYNONYM = 0.8
_PLURAL = 0.7
_ABBREVIATION = 0.5  # below the whole name with a word more: `iterfind` is no `iter`, and may be `iterfind_now`
_OPPOSITE = 0.1

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")

# Words that say nothing of what a name is for.
_FILLING = frozenset(
    "a an the of for from to by with in on at as and or do my new old v1 v2 v3 v impl internal ex 1 2 3".split()
)

_OPPOSITES = frozenset(
    frozenset(pair.split("/"))
    for pair in """
    acquire/release add/del add/delete add/remove add/sub allow/deny any/all append/remove asc/desc attach/detach
    before/after begin/commit begin/end bind/unbind client/server commit/rollback compress/decompress
    connect/disconnect create/delete create/destroy create/remove create/update enable/disable encode/decode
    encrypt/decrypt enter/exit expand/collapse first/last forward/backward from/to get/delete get/post get/put
    get/set global/local grow/shrink has/get has/set head/tail horizontal/vertical import/export in/out inc/dec
    include/exclude increase/decrease increment/decrement index/value input/output insert/delete insert/remove
    install/uninstall is/get is/has is/set join/leave join/split key/value keys/values left/right load/dump
    load/save load/unload local/remote lock/unlock login/logout lower/upper min/max mount/unmount next/prev
    next/previous old/new on/off one/all one/many open/close pack/unpack parent/child parents/children pre/post
    public/private push/pop push/pull read/set read/write register/unregister request/response row/col row/column
    rows/columns send/receive serialize/deserialize show/hide source/target src/dst start/end start/finish
    start/stop subscribe/unsubscribe success/error success/failure sync/async top/bottom true/false up/down
    upload/download width/height x/y
    """.split()
)

_SYNONYMS = tuple(
    frozenset(group.split())
    for group in (
        "get fetch retrieve obtain",
        "find lookup search query",
        "remove delete drop discard erase",
        "create make build construct generate",
        "add append insert register",
        "update modify change",
        "start begin launch",
        "run execute perform invoke",
        "stop end halt terminate finish",
        "close shutdown dispose",
        "send emit dispatch publish",
        "check validate verify",
        "show display render",
        "parse decode",
        "serialize encode dump",
        "save store persist",
        "count length size",
        "compute calculate",
        "handle process",
        "convert transform",
        "merge combine",
        "copy clone duplicate",
        "init initialize setup",
        "clear reset",
        "config configuration settings options",
        "params parameters arguments args",
        "directory folder dir",
        "error exception failure",
        "id identifier",
        "url uri",
    )
)

# Sets and lists have both: these are two things, whatever else they have in common.
_SIDE_BY_SIDE = (frozenset({"remove", "discard"}), frozenset({"append", "insert"}))

# What turns a word round when it stands before it.
_NEGATIONS = frozenset("anti de dis in non un".split())

# With one of these the order of the others is the meaning: `json_to_dict`, `dict_to_json`.
_DIRECTIONS = frozenset("to 2 from of in by as into minus over src dst min max".split())


@lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """The words of a name in snake or camel case, in lower case."""
    return tuple(word.lower() for word in _WORD.findall(name))


def likeness(left: str, right: str) -> float:
    """How much alike two names are.

    Args:
        left: a name.
        right: another.

    Returns:
        From 0, nothing in common or opposite, to 1, the same words; `SAME_NAME` and above for spellings of one name.
    """
    a, b = words(left), words(right)
    if not a or not b:
        return 0.0
    if "".join(a) == "".join(b):
        return _SAME
    only_a, only_b = list((Counter(a) - Counter(b)).elements()), list((Counter(b) - Counter(a)).elements())
    if not only_a and not only_b:
        if not _DIRECTIONS & set(a):
            return _REORDERED
        # From one end to the other, with nothing that changes places: `closed_by`, `by_closed`.
        (first, *rest), (*front, last) = sorted((a, b), key=lambda each: each[0] not in _DIRECTIONS)
        is_moved = first == last and rest == front and not _DIRECTIONS & set(rest)
        return NEARLY if is_moved else _OPPOSITE
    if any(frozenset((x, y)) in _OPPOSITES or _negates(x, y) for x in only_a for y in only_b):
        return _OPPOSITE
    if only_a + only_b == ["the"]:  # not `a`, which may be an operand: `a_to_b`
        return NEARLY
    if len(only_a) == len(only_b) == 1 and _misspelled(only_a[0], only_b[0]):
        return _MISSPELLED
    shared = len(a) - len(only_a) + _matched(only_a, only_b)
    return _DIFFERENT * 2 * shared / (len(a) + len(b))


def is_sibling(left: str, right: str) -> bool:
    """Whether two names share a word and each has one of its own: two things side by side, `add_user`, `drop_user`."""
    a, b = set(words(left)) - _FILLING, set(words(right)) - _FILLING
    return bool(a & b) and bool(a - b) and bool(b - a)


def is_told_apart(part: str, whole: str, others: Iterable[str]) -> bool:
    """Whether the words that one name has around another one mean something among the others.

    They tell two of them apart, so that `symmetric_difference_update` is not `difference_update` where there are
    `difference` and `symmetric_difference`; or are one of them: `difference_update` is not `update` then either.
    """
    inner, outer = words(part), words(whole)
    around = _around(inner, outer)
    if around is None or inner == outer:
        return False
    before, behind = around
    known = {words(name) for name in others} - {inner, outer, ()}
    return (*before, *behind) in known or any((*before, *each, *behind) in known for each in known)


def contains(whole: str, part: str) -> bool:
    """Whether a name has all words of another one, side by side and in order."""
    return _around(words(part), words(whole)) is not None


def _around(inner: tuple[str, ...], outer: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The words before and behind the words of a name in a longer one; None when that does not have them."""
    for start in range(len(outer) - len(inner) + 1 if inner else 0):
        if outer[start : start + len(inner)] == inner:
            return outer[:start], outer[start + len(inner) :]
    return None


def _matched(only_a: list[str], only_b: list[str]) -> float:
    """What the words that are not the same have in common, each counted once, the best pairs first."""
    pairs = sorted(((_word_likeness(x, y), x, y) for x in only_a for y in only_b), reverse=True)
    left, right = Counter(only_a), Counter(only_b)
    total = 0.0
    for value, x, y in pairs:
        if value > 0 and left[x] and right[y]:
            left[x] -= 1
            right[y] -= 1
            total += value
    return total


def _word_likeness(x: str, y: str) -> float:
    if _synonymous(x, y):
        return _SYNONYM
    short, long = sorted((x, y), key=len)
    if long in (short + "s", short + "es") or (short.endswith("y") and long == short[:-1] + "ies"):
        return _PLURAL
    if _misspelled(x, y):
        return _MISSPELLED
    return _ABBREVIATION if len(short) >= 3 and long.startswith(short) else 0.0


def _negates(x: str, y: str) -> bool:
    """Whether one of two words is the other with a prefix that turns it round: `safe`, `unsafe`."""
    short, long = sorted((x, y), key=len)
    return len(short) >= 3 and long.endswith(short) and long.removesuffix(short) in _NEGATIONS


def _synonymous(x: str, y: str) -> bool:
    return {x, y} not in _SIDE_BY_SIDE and any(x in group and y in group for group in _SYNONYMS)


def _misspelled(x: str, y: str) -> bool:
    """A slip of a key in a word of five letters or more, of two in one of nine or more; the first letter holds."""
    short, long = sorted((x, y), key=len)
    if x[0] != y[0] or len(short) < 5 or long in (short + "s", short + "es", short + "d", short + "ed", short + "r"):
        return False
    # Another last letter is another thing: `canvasx`, `canvasy`.
    changed_end = len(x) == len(y) and x[-1] != y[-1] and x[-2:] != y[:-3:-1]
    return not changed_end and _distance(x, y) <= (2 if len(short) >= 9 else 1)


def _distance(x: str, y: str) -> int:
    """How many letters must be put in, taken out, changed or swapped with their neighbour."""
    rows = [list(range(len(y) + 1))]
    for i, left in enumerate(x, 1):
        row = [i]
        for j, right in enumerate(y, 1):
            cost = min(rows[-1][j] + 1, row[j - 1] + 1, rows[-1][j - 1] + (left != right))
            if i > 1 and j > 1 and left == y[j - 2] and x[i - 2] == right:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]
