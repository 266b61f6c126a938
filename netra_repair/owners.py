"""What a project defines: owners of attributes (classes and modules), their members, and signatures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath


class OwnerKind(StrEnum):
    """What an attribute is looked up on."""

    CLASS = "class"
    MODULE = "module"


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """A class or a module.

    Attributes:
        name: fully qualified, "pkg.ctx.Ctx" or "pkg.ctx".
        kind: class or module.
        file: where it is defined: relative to the project's root when inside, else absolute, also when the environment
            lies in the project's folder; "<builtins>" for what has no source.
        line: of the class statement, from 1; 1 for a module.
    """

    name: str
    kind: OwnerKind
    file: str
    line: int

    @property
    def short_name(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    @property
    def is_inside(self) -> bool:
        """Whether it is defined in the project itself."""
        return not PurePath(self.file).is_absolute() and not self.file.startswith("<")


class Access(StrEnum):
    """What stands left of the dot."""

    CLASS = "class"
    INSTANCE = "instance"
    MODULE = "module"


class MemberKind(StrEnum):
    """How a member behaves when it is looked up."""

    INSTANCE_METHOD = "instance method"
    CLASS_METHOD = "class method"
    STATIC_METHOD = "static method"
    PROPERTY = "property"
    ATTRIBUTE = "attribute"
    FUNCTION = "function"
    CLASS = "class"


class ParameterKind(StrEnum):
    """How a parameter takes its argument; the values are those of `inspect.Parameter.kind.description`."""

    POSITIONAL_ONLY = "positional-only"
    POSITIONAL_OR_KEYWORD = "positional or keyword"
    VAR_POSITIONAL = "variadic positional"
    KEYWORD_ONLY = "keyword-only"
    VAR_KEYWORD = "variadic keyword"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a signature.

    Attributes:
        name: without stars.
        kind: how it takes its argument.
        required: whether it has no default; False for the variadic ones.
    """

    name: str
    kind: ParameterKind
    required: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """What a caller passes: without `self` or `cls` where the lookup binds it.

    Attributes:
        parameters: in order of definition.
    """

    parameters: tuple[Parameter, ...]

    def __str__(self) -> str:
        words: list[str] = []
        previous: ParameterKind | None = None
        for parameter in self.parameters:
            kind = parameter.kind
            if previous is ParameterKind.POSITIONAL_ONLY and kind is not ParameterKind.POSITIONAL_ONLY:
                words.append("/")
            if kind is ParameterKind.KEYWORD_ONLY and previous not in (
                ParameterKind.KEYWORD_ONLY,
                ParameterKind.VAR_POSITIONAL,
            ):
                words.append("*")
            stars = {ParameterKind.VAR_POSITIONAL: "*", ParameterKind.VAR_KEYWORD: "**"}.get(kind, "")
            default = "" if parameter.required or stars else "=…"
            words.append(f"{stars}{parameter.name}{default}")
            previous = kind
        if previous is ParameterKind.POSITIONAL_ONLY:
            words.append("/")
        return f"({', '.join(words)})"


@dataclass(frozen=True, slots=True)
class Member:
    """Something an owner has, itself or by inheritance.

    Attributes:
        name: the attribute.
        owner: the class or module that defines it, which may be a base of the one that was asked.
        kind: how it behaves when it is looked up.
        is_async: whether a call gives an awaitable (`async def`).
        signature: what a call takes; None when it is not callable or cannot be told.
        deprecated: the text of its PEP 702 `@deprecated`, else None.
        line: of its definition, from 1, in `owner.file`.
        instance_only: whether only instances have it: set by a method, or annotated in the class without a value.
        summary: the first line of its docstring; "" without one.
        replaces: names that its docstring says it took the place of.
        note: why its signature cannot be told though it may be called; "" when it can, or is none.
        gives: the attribute of the instance that it hands out and does nothing else, "_kind"; "" for anything else.
        calls: what it calls of the same object or module and does nothing else, "made"; "" for anything else.
    """

    name: str
    owner: Owner
    kind: MemberKind
    is_async: bool
    signature: Signature | None
    deprecated: str | None
    line: int
    instance_only: bool = False
    summary: str = ""
    replaces: tuple[str, ...] = ()
    note: str = ""
    gives: str = ""
    calls: str = ""

    @property
    def qualified_name(self) -> str:
        """Owner and name, with a dot."""
        return f"{self.owner.name}.{self.name}"

    @property
    def is_private(self) -> bool:
        """Whether the name begins with an underscore and is not a special one."""
        return self.name.startswith("_") and not (self.name.startswith("__") and self.name.endswith("__"))
