"""Arguments: that a call fits is proved by binding; the oracle is Python, which makes the call."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netra_repair.arguments import Bound, bind
from netra_repair.edits import spliced
from netra_repair.owners import Parameter, ParameterKind, Signature
from netra_repair.references import Argument, Star
from netra_repair.refusals import Reason, Refusal
from netra_repair.source import Source, Span

NAMES = ("a", "b", "c", "d", "e")


def signature(text: str) -> Signature:
    """The signature of `def f(text)`."""
    scope: dict[str, object] = {}
    exec(f"def f({text}): pass", scope)  # noqa: S102  # the texts of this file
    function = scope["f"]
    assert callable(function)
    return Signature(
        tuple(
            Parameter(
                each.name,
                ParameterKind(each.kind.description),
                each.default is each.empty and "variadic" not in each.kind.description,
            )
            for each in inspect.signature(function).parameters.values()
        )
    )


def bound_values(described: Signature, text: str) -> dict[str, object] | None:
    """What Python itself binds to each parameter in a real call; None when it refuses."""
    scope: dict[str, object] = {}
    exec(f"def f{described}: return locals()".replace("…", "..."), scope)  # noqa: S102  # made of our own names
    try:
        held = eval(f"f({text})", scope)  # noqa: S307  # as above
    except TypeError:
        return None
    return {name: value for name, value in held.items() if value not in (..., (), {})}


def call(text: str, *, named: bool = True) -> tuple[Source, list[Argument]]:
    """The source `f(text)` and its arguments, read off by `ast`."""
    source = Source.of("x.py", f"f({text})".encode())
    tree = ast.parse(source.text, mode="eval").body
    assert isinstance(tree, ast.Call)
    found: list[Argument] = []
    for value in tree.args:
        star = Star.SEQUENCE if isinstance(value, ast.Starred) else Star.NONE
        span = Span(value.col_offset, value.end_col_offset or 0)
        name = value.id if named and isinstance(value, ast.Name) else None
        found.append(Argument(span, None, None, star, name, True))
    for keyword in tree.keywords:
        span = Span(keyword.col_offset, keyword.end_col_offset or 0)
        if keyword.arg is None:
            found.append(Argument(span, None, None, Star.MAPPING, None, True))
            continue
        where = Span(span.start, span.start + len(keyword.arg))
        name = keyword.value.id if named and isinstance(keyword.value, ast.Name) else None
        found.append(Argument(span, keyword.arg, where, Star.NONE, name, True))
    return source, sorted(found, key=lambda argument: argument.span)


def edited(
    text: str, takes: str, *, named: bool = True, renamed: Mapping[str, str] | None = None, before: str | None = None
) -> str:
    """The call after binding, or the reason of the refusal."""
    source, arguments = call(text, named=named)
    old = None if before is None else signature(before)
    result = bind(arguments, signature(takes), renamed=renamed, before=old)
    if isinstance(result, Refusal):
        return result.reason.value
    return spliced(source, result.edits).decode()[2:-1]


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    """Any signature that Python allows, over few names so that calls meet them."""
    names = draw(st.permutations(NAMES))
    counts = draw(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)))
    kinds = [
        kind
        for kind, count in zip(
            (ParameterKind.POSITIONAL_ONLY, ParameterKind.POSITIONAL_OR_KEYWORD, ParameterKind.KEYWORD_ONLY),
            counts,
            strict=True,
        )
        for _ in range(count)
    ][:5]
    optional = False
    parameters: list[Parameter] = []
    for name, kind in zip(names, kinds, strict=False):
        required = draw(st.booleans())
        if kind is not ParameterKind.KEYWORD_ONLY:
            optional = optional or not required
            required = not optional
        parameters.append(Parameter(name, kind, required))
    if draw(st.booleans()):
        at = sum(each.kind is not ParameterKind.KEYWORD_ONLY for each in parameters)
        parameters.insert(at, Parameter("rest", ParameterKind.VAR_POSITIONAL, False))
    if draw(st.booleans()):
        parameters.append(Parameter("extra", ParameterKind.VAR_KEYWORD, False))
    return Signature(tuple(parameters))


@st.composite
def calls(draw: st.DrawFn) -> str:
    """Any call without stars, over the same names."""
    positional = [str(number) for number in range(draw(st.integers(0, 4)))]
    keywords = draw(st.lists(st.sampled_from((*NAMES, "rest", "z")), unique=True, max_size=4))
    return ", ".join([*positional, *(f"{name}={90 + index}" for index, name in enumerate(keywords))])


@settings(max_examples=200)
@given(described=signatures(), text=calls())
def test_a_call_fits_as_it_is_when_python_says_so(described: Signature, text: str) -> None:
    """Without a need for edits we bind exactly what Python binds, each value to the same parameter."""
    _, arguments = call(text)
    result = bind(arguments, described)
    expected = bound_values(described, text)
    assert (isinstance(result, Bound) and not result.edits) == (expected is not None)
    if expected is not None:
        assert isinstance(result, Bound)
        assert set(result.parameters) == set(expected)


@settings(max_examples=200)
@given(
    described=signatures(),
    text=calls(),
    sequences=st.integers(0, 1),
    mappings=st.integers(0, 2),
    early=st.integers(0, 2),
    values=st.integers(0, 5),
    names=st.sets(st.sampled_from((*NAMES, "rest", "z"))),
)
def test_what_is_spread_fits_whatever_it_holds(
    described: Signature, text: str, sequences: int, mappings: int, early: int, values: int, names: set[str]
) -> None:
    """Where we say that a call with `*` and `**` binds, Python binds it for any values and names that these hold."""
    positional = [part for part in text.split(", ") if part and "=" not in part]
    named = [part for part in text.split(", ") if "=" in part]
    # A keyword may stand before a `*`, which fills the positions before it.
    ordered = [*positional, *named[:early], *(["*{0}"] * sequences), *named[early:], *(["**{1}"] * mappings)]
    shape = ", ".join(ordered)
    if isinstance(bind(call(shape.format("u", "k"))[1], described), Bound):
        assert bound_values(described, shape.format(list(range(values)), dict.fromkeys(sorted(names), 1))) is not None


@settings(max_examples=200)
@given(described=signatures(), text=calls())
def test_after_the_edits_python_binds_every_value(described: Signature, text: str) -> None:
    """A call that needs keywords binds after they are inserted: every value once, in the order of the text."""
    source, arguments = call(text)
    result = bind(arguments, described)
    if isinstance(result, Refusal):
        return
    after = spliced(source, result.edits).decode()
    bound = bound_values(described, after[2:-1])
    assert bound is not None
    before_tree, after_tree = ast.parse(source.text, mode="eval").body, ast.parse(after, mode="eval").body
    assert values(before_tree) == values(after_tree)
    for value, parameter in zip(values(after_tree), result.parameters, strict=True):
        held = bound[parameter]
        inner = list(held) if isinstance(held, tuple) else list(held.values()) if isinstance(held, dict) else [held]
        assert value in inner


@st.composite
def fitting(draw: st.DrawFn, described: Signature) -> str:
    """A call that fits the signature, without variadic arguments."""
    positional: list[str] = []
    named: list[str] = []
    in_order = True
    for number, each in enumerate(described.parameters):
        if each.kind in (ParameterKind.VAR_POSITIONAL, ParameterKind.VAR_KEYWORD):
            continue
        given_by_name = each.kind is not ParameterKind.POSITIONAL_ONLY and draw(st.booleans())
        if each.kind is ParameterKind.KEYWORD_ONLY or given_by_name or not in_order:
            if each.kind is not ParameterKind.POSITIONAL_ONLY and (each.required or draw(st.booleans())):
                named.append(f"{each.name}={number}")
            in_order = False
        elif each.required or draw(st.booleans()):
            positional.append(str(number))
        else:
            in_order = False
    return ", ".join([*positional, *named])


def values(tree: ast.expr) -> list[object]:
    """The values of a call in the order of the text."""
    assert isinstance(tree, ast.Call)
    return [ast.literal_eval(each) for each in [*tree.args, *(keyword.value for keyword in tree.keywords)]]


@settings(max_examples=200)
@given(data=st.data())
def test_with_a_known_past_every_value_keeps_its_parameter(data: st.DataObject) -> None:
    """Whatever became of a signature: a value that is rewritten reaches the parameter that it was written for."""
    described, changed = data.draw(signatures()), data.draw(signatures())
    text = data.draw(fitting(described))
    old = bound_values(described, text)
    assert old is not None
    source, arguments = call(text)
    result = bind(arguments, changed, before=described)
    if isinstance(result, Refusal):
        return
    new = bound_values(changed, spliced(source, result.edits).decode()[2:-1])
    assert new is not None
    extra = new.get("extra", {})
    assert isinstance(extra, dict)
    for name, value in old.items():
        if name not in ("rest", "extra"):
            assert value == new.get(name, extra.get(name))


@pytest.mark.parametrize(
    ("text", "takes", "becomes"),
    [
        ("u, t", "u, t, r=None", "u, t"),
        ("1, 2", "user, /, *, limit", "1, limit=2"),
        ("1, 2", "user, *, limit, deadline=None", "needs-input"),
        ("1, deadline", "user, *, limit=1, deadline=None", "1, deadline=deadline"),
        ("1, deadline, limit", "user, *, limit=1, deadline=None", "1, deadline=deadline, limit=limit"),
        ("1, 2, limit=3", "user, *, limit, deadline", "1, deadline=2, limit=3"),
        ("1, 2, limit=3", "user, *, limit, deadline=None", "needs-input"),
        ("1, 2, 3", "user, *, limit", "needs-input"),
        ("1, 2", "user", "too-many-arguments"),
        ("1, user=2", "user", "too-many-arguments"),
        ("1", "user, thread", "needs-input"),
        ("1, thread=2", "user, *, run", "unknown-keyword"),
        ("1, thread=2", "user, **rest", "1, thread=2"),
        ("user=1", "user, /", "unknown-keyword"),
        ("*u", "user", "star-arguments"),
        ("**u", "user", "star-arguments"),
        ("*u, **k", "*args, **kwargs", "*u, **k"),
        ("1, *u", "user, *args", "1, *u"),
        ("*u, 1", "user, *args", "star-arguments"),
        ("user=1, *u", "user, *args", "star-arguments"),
        ("level=1, *u", "event=None, *args, level=0", "star-arguments"),
        ("1, *u", "user, thread=None, *args", "star-arguments"),
        ("1, **k", "user, **kwargs", "star-arguments"),
        ("1, **k", "user, /, *, limit=2, **kwargs", "1, **k"),
        ("limit=1, **k", "**kwargs", "star-arguments"),
        ("**j, **k", "**kwargs", "star-arguments"),
    ],
)  # fmt: skip
def test_keywords_are_inserted_only_where_one_meaning_is_left(text: str, takes: str, becomes: str) -> None:
    """A positional argument gets a keyword when exactly one parameter can be meant; no value is invented."""
    assert edited(text, takes) == becomes


def test_values_that_would_change_places_are_refused() -> None:
    """A value called like another parameter would go to the wrong one: that is for a person to say."""
    assert edited("thread_id, user_id", "user_id, thread_id") == "needs-input"
    assert edited("user_id, thread_id", "user_id, thread_id") == "user_id, thread_id"
    assert edited("thread_id, user_id", "user_id, thread_id", before="user_id, thread_id") == "thread_id, user_id"


@pytest.mark.parametrize(
    ("text", "before", "takes", "becomes"),
    [
        ("1, 2", "a, b", "b, a", "a=1, b=2"),
        ("1, 2", "a, b", "a, new=None, b=None", "1, b=2"),
        ("1, 2, 3", "a, b, c", "a, c, b", "1, b=2, c=3"),
        ("1, 2, c=3", "a, b, c", "a, *, b, c", "1, b=2, c=3"),
        ("1, 2", "a, b", "a, c", "needs-input"),
        ("1, c", "a, b", "a, c", "1, c"),
        ("1, 2", "a, b", "b, a, /", "evaluation-order"),
        ("1, 2", "a, b", "b, /, a", "evaluation-order"),
        ("1, 2, 3", "a, b, c", "b, a, c, /", "evaluation-order"),
        ("1, 2, 3", "a, b, *rest", "b, a, *rest", "evaluation-order"),
        ("*u", "a, b", "a, b", "*u"),
        ("*u, **k", "a, b", "a, b, c=None", "star-arguments"),
        ("1, *u", "a, b, *rest", "a, *rest", "star-arguments"),
    ],
)  # fmt: skip
def test_a_known_past_tells_what_a_position_meant(text: str, before: str, takes: str, becomes: str) -> None:
    """Positions that mean another parameter now become keywords; nothing ever changes its place in the text."""
    assert edited(text, takes, before=before) == becomes


def test_renamed_parameters_are_followed() -> None:
    """A keyword that history renamed gets its new name; one that is given twice then is refused."""
    renamed = {"thread": "thread_id"}
    assert edited("1, thread=2", "user, thread_id", renamed=renamed) == "1, thread_id=2"
    assert edited("1, thread=2", "user, thread_id=0, **rest", renamed=renamed) == "1, thread_id=2"
    assert edited("1, thread=2, thread_id=3", "user, thread_id", renamed=renamed) == "too-many-arguments"
    assert edited("1, 2", "user, thread_id", renamed=renamed, before="user, thread") == "1, 2"
    assert edited("1, 2", "thread_id, user", renamed=renamed, before="user, thread") == "user=1, thread_id=2"


def test_a_refusal_names_what_is_wrong() -> None:
    """The words name the parameter or keyword, for the report."""
    assert reasons("1", "user, thread, run=None") == Refusal(
        Reason.NEEDS_INPUT, "no argument is passed for `thread`: write the value at the call"
    )
    refusal = reasons("1, thread=2", "user, *, run=None")
    assert refusal.detail == "no parameter is called `thread` in (user, *, run=…)"


def reasons(text: str, takes: str) -> Refusal:
    """The refusal of a call that does not fit."""
    result: Bound | Refusal = bind(arguments_of(text), signature(takes))
    assert isinstance(result, Refusal)
    return result


def arguments_of(text: str) -> Sequence[Argument]:
    """The arguments of `f(text)`."""
    return call(text)[1]
