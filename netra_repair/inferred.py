"""What a type server says that an expression is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ClassType:
    """An instance of a class, or the class itself.

    Attributes:
        name: of the class, without its module.
        file: where it is defined, absolute.
        line: of its name there, from 1; None when only the file is known, as for literals.
        is_class_object: whether the expression is the class itself.
    """

    name: str
    file: Path
    line: int | None
    is_class_object: bool


@dataclass(frozen=True, slots=True)
class ModuleType:
    """A module.

    Attributes:
        name: dotted.
        file: absolute; None when it cannot be found.
    """

    name: str
    file: Path | None


@dataclass(frozen=True, slots=True)
class FunctionType:
    """A function or a method, also an overloaded one.

    Attributes:
        name: without its class and module.
        file: where it is defined, absolute.
        line: of its name there, from 1; of the first overload.
        bound_to: what it is bound to, for a method that was looked up; else None.
    """

    name: str
    file: Path
    line: int
    bound_to: InferredType | None


@dataclass(frozen=True, slots=True)
class VariableType:
    """A type variable.

    Attributes:
        name: of the variable.
        file: where `name = TypeVar(…)` stands, absolute; None for one of a `[T: …]` list (PEP 695).
        line: of that statement, from 1.
        is_class_object: whether the expression is the class that the variable stands for.
    """

    name: str
    file: Path | None
    line: int | None
    is_class_object: bool


@dataclass(frozen=True, slots=True)
class UnionType:
    """One of several.

    Attributes:
        parts: none of them a union itself.
    """

    parts: tuple[InferredType, ...]


@dataclass(frozen=True, slots=True)
class UnknownType:
    """Nothing that has an owner.

    Attributes:
        reason: why, for people.
    """

    reason: str


InferredType: TypeAlias = ClassType | ModuleType | FunctionType | VariableType | UnionType | UnknownType
