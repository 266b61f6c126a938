"""What decorators do to what a call takes: the well-known ones by name, a project's own by its syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from netra_repair.blocks import statements_in


class Kept(Enum):
    """What a decorator leaves of what it decorates."""

    ITSELF = auto()
    CALL = auto()


@dataclass(frozen=True, slots=True)
class Effect:
    """What a function does when it is used as a decorator.

    Attributes:
        kept: ITSELF when it gives back what it was given, CALL when it gives a function that hands its arguments on.
        is_factory: whether it is called first, `@retry(3)`.
        is_async: for CALL whether the function it gives is `async def`; None when it is as async as the decorated one.
    """

    kept: Kept
    is_factory: bool
    is_async: bool | None = None


def _each(names: str, modules: str) -> frozenset[str]:
    return frozenset(f"{module}.{name}" for module in modules.split() for name in names.split())


_TYPING = "typing typing_extensions"

OVERLOAD = _each("overload", _TYPING)
DEPRECATED = _each("deprecated", "warnings typing_extensions typing")
PROPERTY = (
    frozenset({"property", "builtins.property", "abc.abstractproperty", "enum.property", "enum.DynamicClassAttribute"})
    | _each("cached_property", "functools cached_property django.utils.functional werkzeug.utils")
    | frozenset({"types.DynamicClassAttribute"})
)
STATIC = frozenset({"staticmethod", "builtins.staticmethod", "abc.abstractstaticmethod"})
CLASSMETHOD = frozenset({"classmethod", "builtins.classmethod", "abc.abstractclassmethod"})
CONTEXT_MANAGER = frozenset({"contextlib.contextmanager", "contextlib.asynccontextmanager"})
AWAITABLE = frozenset({"types.coroutine", "asyncio.coroutine"})

# The call takes what the function takes.
KEEPING = (
    OVERLOAD
    | DEPRECATED
    | CONTEXT_MANAGER
    | AWAITABLE
    | _each("wraps lru_cache cache singledispatch singledispatchmethod", "functools")
    | _each("final override no_type_check runtime_checkable type_check_only", _TYPING)
    | _each("skip skipIf skipUnless expectedFailure", "unittest unittest.case")
    | frozenset({"abc.abstractmethod", "enum.member", "enum.nonmember", "reprlib.recursive_repr", "atexit.register"})
)

DATACLASS = frozenset({"dataclasses.dataclass", "pydantic.dataclasses.dataclass"})
ATTRS = _each("s attrs attributes dataclass define mutable frozen", "attr attrs") | _each("attrs", "attr._make")
ATTRS_ANNOTATED = _each("dataclass define mutable frozen", "attr attrs")
ADD_METACLASS = frozenset({"six.add_metaclass", "future.utils.add_metaclass"})

# The class has the attributes that its statement shows.
KEEPING_CLASSES = (
    DATACLASS
    | ATTRS
    | DEPRECATED
    | _each("final runtime_checkable type_check_only no_type_check dataclass_transform disjoint_base", _TYPING)
    | _each("skip skipIf skipUnless expectedFailure", "unittest unittest.case")
    | _each("unique verify global_enum", "enum")
    | _each("patch patch.object patch.dict patch.multiple", "unittest.mock mock")
    | frozenset({"functools.total_ordering", "six.python_2_unicode_compatible", "zope.interface.implementer"})
)
KEEPING_PREFIXES = ("pytest.mark.", "hypothesis.")

KNOWN = KEEPING | KEEPING_CLASSES | PROPERTY | STATIC | CLASSMETHOD | ADD_METACLASS


def effect_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Effect | None:
    """Proves what a function does as a decorator.

    Args:
        node: a function.

    Returns:
        Its effect; None when it is no decorator, or does anything that the rules here do not see through.
    """
    if isinstance(node, ast.AsyncFunctionDef):
        return None
    if (effect := _of_decorator(node, is_factory=False)) is not None:
        return effect
    inner = _returned_function(node)
    return _of_decorator(inner, is_factory=True) if isinstance(inner, ast.FunctionDef) else None


def _of_decorator(node: ast.FunctionDef, *, is_factory: bool) -> Effect | None:
    arguments = [*node.args.posonlyargs, *node.args.args]
    if not arguments or len(arguments) - len(node.args.defaults) != 1 or node.args.vararg is not None:
        return None
    given = arguments[0].arg
    returns = list(_returns(node))
    if returns and all(isinstance(value, ast.Name) and value.id == given for value in returns):
        return None if _changes(node, given) else Effect(Kept.ITSELF, is_factory)
    wrapper = _returned_function(node)
    if wrapper is None or not _hands_on(wrapper, given):
        return None
    return Effect(Kept.CALL, is_factory, _asynchronous(wrapper, given))


def _returns(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr | None]:
    return (child.value for child in statements_in(node.body) if isinstance(child, ast.Return))


def _returned_function(node: ast.FunctionDef) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The one nested function that every `return` gives, as it is or within casts such as `cast(F, wrapper)`."""
    functions = {child.name: child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)}
    names = set()
    for value in _returns(node):
        inner = value.args[-1] if isinstance(value, ast.Call) and len(value.args) == 2 else value
        names.add(inner.id if isinstance(inner, ast.Name) else None)
    name = names.pop() if len(names) == 1 else None
    return functions.get(name) if name is not None else None


def _changes(node: ast.FunctionDef, given: str) -> bool:
    """Whether it binds the parameter anew or sets attributes on it: on a class these would be members."""
    for child in ast.walk(node):
        match child:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(value=ast.Name(id=name), ctx=ast.Store()):
                if name == given:
                    return True
            case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id=name), *_]) if name == given:
                return True
    return False


def _hands_on(wrapper: ast.FunctionDef | ast.AsyncFunctionDef, given: str) -> bool:
    """Whether a wrapper takes `(*args, **kwargs)`, `self` before them or not, and calls with exactly these."""
    arguments = wrapper.args
    plain = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    if arguments.vararg is None or arguments.kwarg is None or arguments.kwonlyargs or arguments.defaults:
        return False
    if plain not in ([], ["self"], ["cls"]):
        return False
    expected = ", ".join([*plain, f"*{arguments.vararg.arg}", f"**{arguments.kwarg.arg}"])
    calls = [
        child
        for child in ast.walk(wrapper)
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == given
    ]
    kept = {given, arguments.vararg.arg, arguments.kwarg.arg, *plain}
    if any(_changed_name(child) in kept for child in ast.walk(wrapper)):
        return False
    return bool(calls) and all(ast.unparse(call) == f"{given}({expected})" for call in calls)


def _changed_name(node: ast.AST) -> str | None:
    """The variable that a node binds anew or changes in place."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return name
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="pop" | "popitem" | "update" | "setdefault")):
            return name
    return None


def _asynchronous(wrapper: ast.FunctionDef | ast.AsyncFunctionDef, given: str) -> bool | None:
    if isinstance(wrapper, ast.AsyncFunctionDef):
        return True
    direct = all(
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == given
        for value in _returns(wrapper)
    )
    return None if direct else False
