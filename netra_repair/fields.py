"""Constructors that nobody wrote: of data classes, attrs classes and named tuples, from the fields in their bodies."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from netra_repair.decorators import ATTRS, ATTRS_ANNOTATED, DATACLASS
from netra_repair.outline import Assigned, Class, Function
from netra_repair.owners import Parameter, ParameterKind, Signature

# The full dotted name of an expression in the body of the class that is read.
Qualify = Callable[[ast.expr], str]

_ATTRS_FIELDS = frozenset(
    {"attr.ib", "attr.attrib", "attr.attr", "attr.field", "attrs.field", "attr._make.attrib", "attr._next_gen.field"}
)
_CLASS_VARIABLES = ("typing.ClassVar", "typing_extensions.ClassVar")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a class's constructor is made from its fields.

    Attributes:
        is_attrs: by attrs, else as a data class.
        annotated: whether fields are the annotated names; else those set to `attr.ib()`.
        keyword_only: whether all of them are passed by name.
        makes: whether a constructor is made at all, `init=True`.
    """

    is_attrs: bool
    annotated: bool
    keyword_only: bool
    makes: bool


def recipe_of(class_: Class, qualify: Qualify) -> Recipe | None:
    """Reads from its decorators how a class's constructor is made.

    Args:
        class_: the class.
        qualify: for its decorators.

    Returns:
        The recipe; None for an ordinary class.
    """
    for decorator in class_.decorators:
        name = qualify(decorator)
        if name not in DATACLASS and name not in ATTRS:
            continue
        options = _options(decorator)
        annotated = name in DATACLASS or name in ATTRS_ANNOTATED or options.get("auto_attribs") is True
        return Recipe(name in ATTRS, annotated, options.get("kw_only") is True, options.get("init") is not False)
    return None


def own_fields(class_: Class, recipe: Recipe, qualify: Qualify) -> dict[str, Parameter]:
    """The constructor's parameters that the fields in a class's own body make.

    Args:
        class_: the class.
        recipe: how it is made.
        qualify: for expressions in its body.

    Returns:
        Parameters by the name of the field, in order; fields that are no parameters are left out.
    """
    keyword_only = recipe.keyword_only
    found: dict[str, Parameter] = {}
    for field in _assigned(class_):
        call = field.value if isinstance(field.value, ast.Call) else None
        if field.annotation is not None:
            annotation = qualify(field.annotation)
            if annotation in _CLASS_VARIABLES:
                continue
            if annotation == "dataclasses.KW_ONLY":
                keyword_only = True
                continue
        is_specified = call is not None and (qualify(call) in _ATTRS_FIELDS or qualify(call) == "dataclasses.field")
        if field.annotation is None and not (recipe.is_attrs and is_specified):
            continue
        if field.annotation is not None and not recipe.annotated and not is_specified:
            continue
        options = _options(call) if call is not None and is_specified else {}
        if call is not None and call.args and is_specified:
            options["default"] = call.args[0]  # the first parameter of `attr.ib`
        if options.get("init") is False:
            continue
        found[field.name] = _parameter(class_, field, options, is_specified, recipe.is_attrs, keyword_only)
    return found


def joined(inherited: Iterable[Mapping[str, Parameter]]) -> Signature:
    """The constructor's signature.

    Args:
        inherited: the parameters by field of every class of the MRO, the furthest base first.

    Returns:
        What a call takes: an overriding field keeps its base's place; those passed by name come last.
    """
    fields: dict[str, Parameter] = {}
    for own in inherited:
        fields.update(own)
    by_name = [each for each in fields.values() if each.kind is ParameterKind.KEYWORD_ONLY]
    return Signature((*[each for each in fields.values() if each.kind is not ParameterKind.KEYWORD_ONLY], *by_name))


def named_tuple_fields(class_: Class, call: ast.Call | None) -> Signature | None:
    """The constructor's signature of a named tuple.

    Args:
        class_: a class whose base is `NamedTuple`, or a call of `namedtuple` or `NamedTuple`.
        call: that call, else None.

    Returns:
        The signature, whose parameters are the fields; None when they cannot be read off.
    """
    if call is None:
        fields = [(field.name, field.value is None) for field in _assigned(class_) if field.annotation is not None]
        return _positional(fields)
    try:
        listed = ast.literal_eval(call.args[1])
        options = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg != "module"}
    except (ValueError, IndexError):
        return _typed_fields(call)
    names = listed.replace(",", " ").split() if isinstance(listed, str) else list(listed)
    if options.get("rename") or not all(isinstance(name, str) for name in names):
        return None
    defaults = options.get("defaults") or ()
    return _positional([(name, index < len(names) - len(defaults)) for index, name in enumerate(names)])


def _typed_fields(call: ast.Call) -> Signature | None:
    """The fields of `NamedTuple("Point", [("x", int)])`."""
    if len(call.args) < 2 or not isinstance(call.args[1], ast.List | ast.Tuple):
        return None
    names: list[tuple[str, bool]] = []
    for each in call.args[1].elts:
        match each:
            case ast.Tuple(elts=[ast.Constant(value=str(name)), _]):
                names.append((name, True))
            case _:
                return None
    return _positional(names)


def _positional(fields: Iterable[tuple[str, bool]]) -> Signature:
    kind = ParameterKind.POSITIONAL_OR_KEYWORD
    return Signature(tuple(Parameter(name, kind, required) for name, required in fields))


def _parameter(
    class_: Class, field: Assigned, options: Mapping[str, object], is_specified: bool, is_attrs: bool, by_name: bool
) -> Parameter:
    required = not options.keys() & {"default", "default_factory", "factory"} if is_specified else field.value is None
    if is_attrs and _has_default_method(class_, field.name):
        required = False
    name = field.name.lstrip("_") if is_attrs else field.name
    alias = options.get("alias")
    by_name = bool(options["kw_only"]) if isinstance(options.get("kw_only"), bool) else by_name
    kind = ParameterKind.KEYWORD_ONLY if by_name else ParameterKind.POSITIONAL_OR_KEYWORD
    made = Parameter(name, kind, required)
    return replace(made, name=alias) if is_attrs and isinstance(alias, str) else made


def _has_default_method(class_: Class, field: str) -> bool:
    """Whether a method is decorated with `@field.default`."""
    return any(
        isinstance(definition, Function)
        and any(ast.unparse(each) == f"{field}.default" for each in definition.decorators)
        for definitions in class_.scope.names.values()
        for definition in definitions
    )


def _assigned(class_: Class) -> Iterable[Assigned]:
    for definitions in class_.scope.names.values():
        found = [each for each in definitions if isinstance(each, Assigned)]
        if found:
            yield found[-1]


def _options(call: ast.expr) -> dict[str, object]:
    """The keywords of a call; the value where it is a constant, else the expression."""
    keywords = call.keywords if isinstance(call, ast.Call) else []
    return {
        each.arg: each.value.value if isinstance(each.value, ast.Constant) else each.value
        for each in keywords
        if each.arg is not None
    }
