"""What one file defines, as its syntax shows it: names, classes, functions. Nothing is resolved here, nothing is run.

Griffe keeps one definition of a name and does not look into functions; here every branch, every local class and every
attribute that a method sets is kept, because a name that is overlooked would be called missing.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from netra_repair.decorators import Effect
from netra_repair.owners import Parameter


@dataclass(frozen=True, slots=True)
class Imported:
    """A name bound by an import.

    Attributes:
        name: as it is bound.
        line: of the statement.
        conditional: whether it stands in a branch that may not be taken.
        module: absolute and dotted; "" when a relative import leaves the package.
        item: what is taken from the module; None for the module itself.
    """

    name: str
    line: int
    conditional: bool
    module: str
    item: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """A name bound to a value.

    Attributes:
        name: as it is bound.
        line: of the statement.
        conditional: whether it stands in a branch that may not be taken.
        value: the expression when the name alone is its target; None for an annotation without a value and for what
            is unpacked or bound by a loop.
        annotation: the annotation, else None.
    """

    name: str
    line: int
    conditional: bool
    value: ast.expr | None = None
    annotation: ast.expr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function or method.

    Attributes:
        name: as it is bound.
        line: of the `def`.
        conditional: whether it stands in a branch that may not be taken.
        is_async: whether a call gives an awaitable: `async def` that is no generator, or annotated to return one.
        parameters: all of them, `self` included.
        decorators: outermost first.
        summary: the first line of the docstring.
        replaces: names that the docstring says it took the place of.
        effect: what it does to a function or class when it is used as a decorator; None when that cannot be told.
        gives: the attribute of `self` that it returns and does nothing else, "_kind"; "" for any other function.
        calls: what it calls of `self`, `cls` or its module and does nothing else, "made"; "" for any other function.
    """

    name: str
    line: int
    conditional: bool
    is_async: bool
    parameters: tuple[Parameter, ...]
    decorators: tuple[ast.expr, ...]
    summary: str
    replaces: tuple[str, ...]
    effect: Effect | None
    gives: str = ""
    calls: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Class:
    """A class statement.

    Attributes:
        name: as it is bound.
        qualified_name: Python's `__qualname__`: the enclosing classes and functions with dots.
        line: of the `class`.
        first_line: of its first decorator, else `line`.
        conditional: whether it stands in a branch that may not be taken.
        bases: as they are written.
        keywords: of the class statement, such as `metaclass`.
        decorators: outermost first.
        scope: what its body binds.
        sets: attributes that its methods set on `self` or `cls`, with the line.
        computed: the line where a method sets attributes whose names are not in the text; None when none does.
        computed_on_class: the line where the body, a class method or the making of a class or instance sets such
            attributes, which may be the class's own; None when none does.
    """

    name: str
    qualified_name: str
    line: int
    first_line: int
    conditional: bool
    bases: tuple[ast.expr, ...]
    keywords: tuple[tuple[str, ast.expr], ...]
    decorators: tuple[ast.expr, ...]
    scope: Scope
    sets: Mapping[str, int]
    computed: int | None
    computed_on_class: int | None = None


Definition = Imported | Assigned | Function | Class


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The names that a module, class or function binds.

    Attributes:
        names: every binding of each name, in order.
        parent: the scope around it; None for a module.
    """

    names: dict[str, list[Definition]] = field(default_factory=dict)
    parent: Scope | None = None

    def add(self, definition: Definition) -> None:
        """Notes one more binding."""
        self.names.setdefault(definition.name, []).append(definition)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A module.

    Attributes:
        name: dotted.
        file: as owners name it.
        is_package: whether it is an `__init__` file, or a folder without one.
        scope: what it binds.
        stars: modules of which it imports everything.
        exports: what its `__all__` lists; None without one, or when it cannot be read off.
        classes: by the line of the class statement, local ones too.
        attached: for a class of this module the attributes that the module sets on it from outside, with the line.
        computed: for a class of this module the line where the module sets attributes of computed names on it.
        dynamic: why the module's own names cannot be known; None when they can.
        told: texts of module-level dictionaries by their keys: where libraries say what became of a name.
    """

    name: str
    file: str
    is_package: bool
    scope: Scope = field(default_factory=Scope)
    stars: tuple[str, ...] = ()
    exports: tuple[str, ...] | None = None
    classes: Mapping[int, Class] = field(default_factory=dict)
    attached: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    computed: Mapping[str, int] = field(default_factory=dict)
    dynamic: str | None = None
    told: Mapping[str, str] = field(default_factory=dict)
