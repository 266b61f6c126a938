"""Reads the outline of a module off its syntax tree."""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from netra_repair.blocks import statements_in
from netra_repair.conditions import truth, unseen_by_checkers
from netra_repair.decorators import effect_of
from netra_repair.outline import Assigned, Class, Function, Imported, Outline, Scope
from netra_repair.owners import Parameter, ParameterKind

_LOCALS = "<locals>"

# A module without a word that ends so sets attributes by assignment only: no expression need be looked into.
_COMPUTING = ("setattr", "__setattr__", "__dict__", "vars", "locals")
# Without one of these, what a function does shows outside of it only where it makes a class or says `global`.
_REACHING_OUT = ("globals", "vars", "locals", "modules", "setattr", "namedtuple", "NamedTuple")

# What a docstring says of a name that it took the place of.
_REPLACES = re.compile(
    r"(?i)\b(?:renamed from|replaces|formerly|previously(?: called| named)?|was called|supersedes|successor (?:of|to)"
    r"|new name (?:of|for)|instead of the (?:removed|old))\s+(?::\w+:)?[`'\"]*([\w.]+)"
)


def outlined(
    text: str, name: str, file: str, *, is_package: bool, version: tuple[int, ...] | None = None
) -> Outline | None:
    """Reads the outline of a module.

    Args:
        text: the decoded source.
        name: the module's dotted name.
        file: as owners name it.
        is_package: whether it is an `__init__` file.
        version: of the project's interpreter, which decides the branches of `if sys.version_info …`; None keeps all.

    Returns:
        The outline; None when the text does not parse.
    """
    try:
        tree = parsed(text)
        reader = _Reader(
            name if is_package else name.rpartition(".")[0],
            version,
            may_compute=_has_one(text, _COMPUTING),
            reaching_out=_Marked.of(text, _REACHING_OUT),
        )
        reader.statements(tree.body, reader.module, "", conditional=False)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if "__getattr__" in reader.module.names:
        reader.dynamic = "the module defines `__getattr__`"
    return Outline(
        name,
        file,
        is_package,
        reader.module,
        tuple(reader.stars),
        _exports(tree),
        reader.classes,
        reader.attached,
        reader.computed,
        reader.dynamic,
        reader.told,
    )


def _has_one(text: str, endings: Iterable[str]) -> bool:
    """Whether a text has a word that ends so. One by one, which is faster than a pattern of all of them."""
    return any(re.search(rf"{ending}\b", text) is not None for ending in endings)


@dataclass(frozen=True, slots=True)
class _Marked:
    """The lines of a module that have one of some words.

    Attributes:
        lines: from 1, in order; None when every line may.
    """

    lines: Sequence[int] | None

    @classmethod
    def of(cls, text: str, endings: Iterable[str]) -> _Marked:
        """Looks for words that end so."""
        found = sorted(match.start() for ending in endings for match in re.finditer(rf"{ending}\b", text))
        if found and "\r" in text:
            return cls(None)  # a line may end in several ways
        lines: list[int] = []
        line, behind = 1, 0
        for start in found:
            line += text.count("\n", behind, start)
            behind = start
            lines.append(line)
        return cls(lines)

    def within(self, node: ast.stmt) -> bool:
        """Whether one of a statement's lines has, or one of its decorators'."""
        if self.lines is None:
            return True
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        return bisect_left(self.lines, first) < bisect_right(self.lines, node.end_lineno or node.lineno)


def parsed(text: str) -> ast.Module:
    """The syntax tree of a text, without the compiler's warnings about it.

    Args:
        text: decoded source of the version that runs this tool, or older.

    Returns:
        The tree.

    Raises:
        SyntaxError: when it does not parse.
        ValueError: as above, for a NUL byte.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _given(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The attribute that a method only hands out: `return self._kind`."""
    match node.body[-1], _only_value(node), node.args.args[:1]:
        case ast.Return(), ast.Attribute(value=ast.Name(id=name), attr=attribute), [ast.arg(arg=first)]:
            return attribute if name == first else ""
    return ""


def _called(node: ast.FunctionDef | ast.AsyncFunctionDef, *, bound: bool) -> str:
    """What a function only calls, of its own object or module: `return cls.made(name)`."""
    value = _only_value(node)
    match value.value if isinstance(value, ast.Await) else value, node.args.args[:1]:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=called)), [ast.arg(arg=first)] if name == first:
            return called
        case ast.Call(func=ast.Name(id=called)), _ if not bound:
            return called
    return ""


def _only_value(node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.expr | None:
    """What a function returns, or does, when that is all there is in it but texts."""
    match node.body[-1]:
        case ast.Return(value=value) | ast.Expr(value=value):
            rest = node.body[:-1]
            is_all = all(isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) for each in rest)
            return value if is_all else None
    return None


def parameters_of(arguments: ast.arguments) -> tuple[Parameter, ...]:
    """The parameters of a function, in order of definition.

    Args:
        arguments: as the syntax tree has them.

    Returns:
        All of them, `self` included. Names that begin with two underscores are positional-only in a stub of old
        (PEP 484), but not in code, and stay what they are.
    """
    positional = [*arguments.posonlyargs, *arguments.args]
    first_default = len(positional) - len(arguments.defaults)
    found = [
        Parameter(
            argument.arg,
            ParameterKind.POSITIONAL_ONLY
            if index < len(arguments.posonlyargs)
            else ParameterKind.POSITIONAL_OR_KEYWORD,
            index < first_default,
        )
        for index, argument in enumerate(positional)
    ]
    if arguments.vararg is not None:
        found.append(Parameter(arguments.vararg.arg, ParameterKind.VAR_POSITIONAL, False))
    found += [
        Parameter(argument.arg, ParameterKind.KEYWORD_ONLY, default is None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg is not None:
        found.append(Parameter(arguments.kwarg.arg, ParameterKind.VAR_KEYWORD, False))
    return tuple(found)


class _Reader:
    """Walks the statements of one module. Expressions are looked at only where they bind or set something."""

    def __init__(
        self, package: str, version: tuple[int, ...] | None, *, may_compute: bool, reaching_out: _Marked
    ) -> None:
        self.package = package
        self.version = version
        self.may_compute = may_compute
        self.reaching_out = reaching_out
        self.module = Scope()
        self.stars: list[str] = []
        self.classes: dict[int, Class] = {}
        self.attached: dict[str, dict[str, int]] = {}
        self.computed: dict[str, int] = {}
        self.dynamic: str | None = None
        self.told: dict[str, str] = {}

    def statements(self, body: Iterable[ast.stmt], scope: Scope, prefix: str, *, conditional: bool) -> None:
        """Notes what a block binds."""
        for node in body:
            self._statement(node, scope, prefix, conditional)

    def _statement(self, node: ast.stmt, scope: Scope, prefix: str, conditional: bool) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, scope, prefix, conditional)
            case ast.ClassDef():
                self._class(node, scope, prefix, conditional)
            case ast.Import() | ast.ImportFrom():
                self._import(node, scope, conditional)
            case ast.If():
                self._branches(node, scope, prefix, conditional)
            case ast.Delete(targets=targets) if not conditional:
                for target in targets:
                    if isinstance(target, ast.Name):
                        scope.names.pop(target.id, None)
            case ast.Global(names=names):
                for name in names:
                    self.module.add(Assigned(name, node.lineno, True))
            case ast.Expr(value=ast.Call() as call):
                self._names_of_module(call)
                if scope is self.module:
                    self._module_call(call)
            case _:
                self._bindings(node, scope, prefix, conditional)
                self._blocks(node, scope, prefix, conditional)

    def _branches(self, node: ast.If, scope: Scope, prefix: str, conditional: bool) -> None:
        taken = truth(node.test, self.version)
        unseen = unseen_by_checkers(node)
        for block, runs in ((node.body, taken is not False), (node.orelse, taken is not True)):
            if runs:
                # A `__getattr__` that its author hides from type checkers is not meant to make attributes valid.
                shown = [each for each in block if getattr(each, "name", "") != "__getattr__" or block is not unseen]
                sure = taken is not None or block is unseen
                self.statements(shown, scope, prefix, conditional=conditional or not sure)

    def _blocks(self, node: ast.stmt, scope: Scope, prefix: str, conditional: bool) -> None:
        """The blocks of a compound statement other than `if`; only that of a `with` is sure to run."""
        match node:
            case ast.With(body=body) | ast.AsyncWith(body=body):
                self.statements(body, scope, prefix, conditional=conditional)
            case ast.Match(cases=cases):
                for each in cases:
                    self.statements(each.body, scope, prefix, conditional=True)
            case _:
                for part in ("body", "handlers", "orelse", "finalbody"):
                    for child in getattr(node, part, ()):
                        block = child.body if isinstance(child, ast.ExceptHandler) else [child]
                        self.statements(block, scope, prefix, conditional=conditional or part != "finalbody")

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope, prefix: str, conditional: bool
    ) -> None:
        documentation = (ast.get_docstring(node, clean=False) or "").lstrip()
        scope.add(
            Function(
                node.name,
                node.lineno,
                conditional,
                _gives_awaitable(node),
                parameters_of(node.args),
                tuple(node.decorator_list),
                documentation.partition("\n")[0][:200],
                tuple(_REPLACES.findall(documentation)),
                effect_of(node) if scope is self.module else None,
                _given(node) if scope is not self.module else "",
                _called(node, bound=scope is not self.module),
            )
        )
        if self.reaching_out.within(node) or _makes_more_than_locals(node):
            self.statements(node.body, Scope(parent=scope), f"{prefix}{node.name}.{_LOCALS}.", conditional=False)

    def _class(self, node: ast.ClassDef, scope: Scope, prefix: str, conditional: bool) -> None:
        body = Scope(parent=scope)
        self.statements(node.body, body, f"{prefix}{node.name}.", conditional=False)
        sets, computed, of_class = _set_by_methods(node.body, may_compute=self.may_compute)
        found = Class(
            node.name,
            prefix + node.name,
            node.lineno,
            min([decorator.lineno for decorator in node.decorator_list], default=node.lineno),
            conditional,
            tuple(node.bases),
            tuple((keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg is not None),
            tuple(node.decorator_list),
            body,
            sets,
            computed,
            of_class or (_computed_in_body(node.body) if self.may_compute else None),
        )
        scope.add(found)
        self.classes[node.lineno] = found

    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope, conditional: bool) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                module = alias.name if alias.asname else bound
                scope.add(Imported(bound, node.lineno, conditional, module, None))
            return
        module = self._absolute(node.module or "", node.level)
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                scope.add(Imported(alias.asname or alias.name, node.lineno, conditional, module, alias.name))

    def _absolute(self, module: str, level: int) -> str:
        if level == 0:
            return module
        parts = self.package.split(".") if self.package else []
        if level - 1 >= len(parts):
            return ""
        return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])

    def _bindings(self, node: ast.stmt, scope: Scope, prefix: str, conditional: bool) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._bind(target, value, scope, prefix, conditional)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=annotated):
                scope.add(Assigned(name, node.lineno, conditional, annotated, annotation))
            case ast.AugAssign(target=target) | ast.For(target=target) | ast.AsyncFor(target=target):
                self._bind(target, None, scope, prefix, True)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                for item in items:
                    if item.optional_vars is not None:
                        self._bind(item.optional_vars, None, scope, prefix, conditional)
            case _ if type(node).__name__ == "TypeAlias":  # PEP 695, where this interpreter knows it
                name = node.name.id  # type: ignore[attr-defined]  # as above
                scope.add(Assigned(name, node.lineno, conditional, node.value))  # type: ignore[attr-defined]  # as above

    def _bind(self, target: ast.expr, value: ast.expr | None, scope: Scope, prefix: str, conditional: bool) -> None:
        match target:
            case ast.Name(id=name) if _makes_named_tuple(value):
                self._named_tuple(name, target.lineno, value, scope, prefix, conditional)
            case ast.Name(id=name):
                scope.add(Assigned(name, target.lineno, conditional, value))
                if scope is self.module and isinstance(value, ast.Dict):
                    self.told.update(_texts(value))
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._bind(element, None, scope, prefix, conditional)
            case ast.Starred(value=inner):
                self._bind(inner, None, scope, prefix, conditional)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if scope is self.module:
                self.attached.setdefault(name, {}).setdefault(attribute, target.lineno)
            case ast.Subscript(value=value_of):
                self._module_subscript(value_of, target, is_module=scope is self.module)

    def _named_tuple(
        self, name: str, line: int, value: ast.expr | None, scope: Scope, prefix: str, conditional: bool
    ) -> None:
        """`Point = namedtuple("Point", "x y")` is a class whose base is the call."""
        bases = () if value is None else (value,)
        body = Scope(parent=scope)
        found = Class(name, prefix + name, line, line, conditional, bases, (), (), body, {}, None)
        scope.add(found)
        self.classes[line] = found

    def _module_subscript(self, value: ast.expr, target: ast.Subscript, *, is_module: bool) -> None:
        match value:
            case ast.Call(func=ast.Name(id="globals" | "vars" | "locals" as names), args=[]):
                if not is_module and names != "globals":
                    return  # of a function, or of a class, whose outline tells
                if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
                    self.module.add(Assigned(target.slice.value, target.lineno, True))
                else:
                    self.dynamic = f"line {target.lineno} sets names of the module that are computed"
            case ast.Attribute(value=ast.Name(id="sys"), attr="modules"):
                if isinstance(target.slice, ast.Name) and target.slice.id == "__name__":
                    self.dynamic = f"line {target.lineno} puts another object in the module's place"

    def _module_call(self, call: ast.Call) -> None:
        match call:
            case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id=name), key, *_]):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self.attached.setdefault(name, {}).setdefault(key.value, call.lineno)
                else:
                    self.computed.setdefault(name, call.lineno)
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="vars"), args=[]), attr="update")):
                self.dynamic = f"line {call.lineno} sets names of the module that are computed"
            case ast.Call(func=ast.Name(id="exec")):
                self.dynamic = f"line {call.lineno} runs computed code"

    def _names_of_module(self, call: ast.Call) -> None:
        """What sets names of the module wherever it stands, also in a function."""
        match call:
            case ast.Call(func=ast.Name(id="setattr"), args=[ast.Subscript(), *_]):
                self.dynamic = f"line {call.lineno} sets names of the module by `setattr`"
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="globals")), attr="update")):
                self.dynamic = f"line {call.lineno} sets names of the module that are computed"


def _makes_more_than_locals(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(node, ast.ClassDef | ast.Global) for node in statements_in(function.body, nested=True))


def _gives_awaitable(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    if isinstance(node, ast.AsyncFunctionDef):
        return not any(isinstance(child, ast.Yield | ast.YieldFrom) for child in own_nodes(node.body))
    returns = node.returns.value if isinstance(node.returns, ast.Subscript) else node.returns
    name = returns.attr if isinstance(returns, ast.Attribute) else returns.id if isinstance(returns, ast.Name) else ""
    return name in ("Awaitable", "Coroutine", "Future", "Task")


def own_nodes(body: Sequence[ast.AST]) -> Iterable[ast.AST]:
    """The nodes of a function's body without those of the functions and classes in it.

    Args:
        body: its statements.

    Yields:
        Every node, in no order.
    """
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


# Methods that put back what was there before: the names they set are those that other methods set.
_RESTORING = frozenset({"__setstate__", "__setattr__", "__delattr__", "__copy__", "__deepcopy__", "__reduce__"})


# Methods of the class itself, also without a decorator that says so.
_OF_CLASS = frozenset({"__init_subclass__", "__class_getitem__", "__new__"})


def _set_by_methods(body: Iterable[ast.stmt], *, may_compute: bool) -> tuple[dict[str, int], int | None, int | None]:
    """Attributes that methods set on their first parameter, and the lines that set those of computed names.

    Args:
        body: of a class.
        may_compute: whether attributes may be set by anything but assignments.

    Returns:
        The attributes; the first such line in a method of instances; the first one in a method of the class.
    """
    sets: dict[str, int] = {}
    computed: int | None = None
    on_class: int | None = None
    for method in _methods(body):
        arguments = [*method.args.posonlyargs, *method.args.args]
        if not arguments:
            continue
        # `__new__` sets attributes on what it makes, and that of a metaclass on the class or in its namespace.
        made = {each.arg for each in arguments[3:4]} if method.name == "__new__" else set()
        own = {arguments[0].arg} | (_assigned(method) if method.name == "__new__" else set())
        owners = sorted(own)
        # What `__new__` puts into a namespace are no attributes, whatever the module's words are.
        for node in ast.walk(method) if may_compute or made else _targets(method):
            found = [_set_on(node, owner) for owner in owners]
            name, line = next((each for each in found if each[1]), (None, 0))
            if name is not None:
                sets.setdefault(name, line)
            elif (line or (line := _put_into(node, made))) and method.name not in _RESTORING:
                if method.name in _OF_CLASS or _is_class_method(method):
                    on_class = on_class or line
                else:
                    computed = computed or line
    return sets, computed, on_class


def _targets(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """What the statements of a method assign to, functions in it included."""
    for node in statements_in(method.body, nested=True):
        match node:
            case ast.Assign(targets=waiting):
                waiting = list(waiting)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target) | ast.For(target=target):
                waiting = [target]
            case ast.AsyncFor(target=target):
                waiting = [target]
            case ast.With(items=items) | ast.AsyncWith(items=items):
                waiting = [item.optional_vars for item in items if item.optional_vars is not None]
            case _:
                continue
        while waiting:
            target = waiting.pop()
            yield target
            if isinstance(target, ast.Tuple | ast.List):
                waiting += target.elts
            elif isinstance(target, ast.Starred):
                waiting.append(target.value)


def _assigned(method: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    return {node.id for node in ast.walk(method) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _is_class_method(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "classmethod" for each in method.decorator_list)


def _put_into(node: ast.AST, mappings: Collection[str]) -> int:
    """The line where a node puts a computed key, or any keys, into one of some mappings; else 0."""
    match node:
        case ast.Subscript(value=ast.Name(id=name), slice=key, ctx=ast.Store()) if name in mappings:
            return 0 if isinstance(key, ast.Constant) else node.lineno
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="update")) if name in mappings:
            return node.lineno
    return 0


def _computed_in_body(body: Iterable[ast.stmt]) -> int | None:
    """The line where the body of a class puts computed names into its own namespace."""
    for node in own_nodes(list(body)):
        match node:
            case ast.Subscript(
                value=ast.Call(func=ast.Name(id="vars" | "locals"), args=[]), slice=key, ctx=ast.Store()
            ):
                if not isinstance(key, ast.Constant):
                    return node.lineno
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="vars" | "locals"), args=[]), attr="update")
            ):
                return node.lineno
    return None


def _methods(body: Iterable[ast.stmt]) -> Iterable[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node
            case ast.If() | ast.Try():
                yield from _methods([*node.body, *node.orelse])


def _set_on(node: ast.AST, owner: str) -> tuple[str | None, int]:
    """The attribute that a node sets on a variable; (None, line) for a computed one; (None, 0) when it sets none."""
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Store()) if name == owner:
            return (None if attribute == "__dict__" else attribute), node.lineno
        case ast.Subscript(value=ast.Attribute(value=ast.Name(id=name), attr="__dict__"), ctx=ast.Store()):
            return _named(node.slice, node.lineno) if name == owner else (None, 0)
        case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id=name), key, _]) if name == owner:
            return _named(key, node.lineno)
        case ast.Call(func=ast.Attribute(attr="__setattr__"), args=[ast.Name(id=name), key, _]) if name == owner:
            return _named(key, node.lineno)
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__setattr__"), args=[key, _]):
            return _named(key, node.lineno)
        case ast.Call(func=ast.Attribute(value=held, attr="update")):
            match held:
                case ast.Attribute(value=ast.Name(id=name), attr="__dict__") if name == owner:
                    return None, node.lineno
                case ast.Call(func=ast.Name(id="vars"), args=[ast.Name(id=name)]) if name == owner:
                    return None, node.lineno
    return None, 0


def _named(key: ast.expr, line: int) -> tuple[str | None, int]:
    return (key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None), line


def _makes_named_tuple(value: ast.expr | None) -> bool:
    match value:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str()), _, *_]):
            return name.endswith(("namedtuple", "NamedTuple"))  # imported as `_namedtuple` in places
    return False


def _texts(value: ast.Dict) -> dict[str, str]:
    return {
        key.value: text.value
        for key, text in zip(value.keys, value.values, strict=True)
        if isinstance(key, ast.Constant)
        and isinstance(key.value, str)
        and isinstance(text, ast.Constant)
        and isinstance(text.value, str)
    }


def _exports(tree: ast.Module) -> tuple[str, ...] | None:
    """What `__all__` lists, when every statement that makes it is a display of texts."""
    found: list[str] | None = None
    for node in tree.body:
        value: ast.expr | None = None
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.AnnAssign(target=ast.Name(id="__all__")):
                found, value = [], node.value
            case ast.AugAssign(target=ast.Name(id="__all__")):
                value = node.value
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(value=ast.Name(id="__all__"), attr="extend"), args=[argument])
            ):
                value = argument
            case _:
                continue
        try:
            listed = ast.literal_eval(value) if value is not None else None
        except ValueError:
            return None
        if found is None or not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
            return None
        found += listed
    return None if found is None else tuple(found)
