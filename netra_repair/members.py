"""Members made of definitions: kinds, signatures and what decorators do to them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netra_repair.decorators import (
    AWAITABLE,
    CLASSMETHOD,
    CONTEXT_MANAGER,
    DEPRECATED,
    KEEPING,
    KEEPING_PREFIXES,
    OVERLOAD,
    PROPERTY,
    STATIC,
    Kept,
)
from netra_repair.outline import Assigned, Class, Definition, Function, Imported, Outline, Scope
from netra_repair.outline_reader import parameters_of
from netra_repair.owners import Member, MemberKind, Owner, OwnerKind, Parameter, ParameterKind, Signature
from netra_repair.resolution import Entity, Resolver

_BINDING = (MemberKind.INSTANCE_METHOD, MemberKind.CLASS_METHOD)
_CLASS_METHODS = frozenset({"__init_subclass__", "__class_getitem__"})
_PARTS_OF_PROPERTIES = ("setter", "getter", "deleter")

# What a call of a class takes; None when that cannot be told.
Construct = Callable[[Outline, Class], Signature | None]


class MadeWhenAsked(Mapping[str, Member]):
    """Members of a module, each made when it is first asked for: what a package imports lies in many other files.

    Args:
        makers: by name.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Member]]) -> None:
        self._makers = makers
        self._made: dict[str, Member] = {}

    def __getitem__(self, name: str) -> Member:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True, slots=True)
class MemberMaker:
    """Makes the members that one class or module has by its own statements.

    Attributes:
        resolver: follows names.
        owner: the class or module.
        outline: the module that it is, or is in.
        scope: what it binds.
        construct: for members that are classes.
    """

    resolver: Resolver
    owner: Owner
    outline: Outline
    scope: Scope
    construct: Construct

    @property
    def _in_class(self) -> bool:
        return self.owner.kind is OwnerKind.CLASS

    def made(self, name: str, definitions: Sequence[Definition]) -> Member:
        """Makes the member that the bindings of a name come to.

        Args:
            name: of the member.
            definitions: all bindings, in order; at least one.

        Returns:
            The member. Where branches differ, it is that of the first branch, without a signature.
        """
        sure = [index for index, each in enumerate(definitions) if not each.conditional]
        lasting = definitions[sure[-1] :] if sure else definitions
        overloads = [each for each in definitions if self._is(each, OVERLOAD)]
        accessors = [each for each in definitions if self._is_accessor(each)]
        if accessors:
            return self._member(next((each for each in definitions if each not in accessors), accessors[0]), name)
        if overloads:
            real = [each for each in lasting if each not in overloads]
            return self._agreed(name, real or overloads, "its overloads differ")
        return self._agreed(name, lasting, "it is defined in several branches")

    def attribute(self, name: str, line: int, *, instance_only: bool) -> Member:
        """A member that is set, by a method or from outside the class.

        Args:
            name: of the member.
            line: where it is set.
            instance_only: whether the class itself has it not.

        Returns:
            The member.
        """
        return Member(name, self.owner, MemberKind.ATTRIBUTE, False, None, None, line, instance_only)

    def _agreed(self, name: str, definitions: Sequence[Definition], otherwise: str) -> Member:
        made = [self._member(each, name) for each in definitions]
        callables = [each for each in made if each.kind not in (MemberKind.ATTRIBUTE, MemberKind.PROPERTY)]
        first = (callables or made)[0]
        if all(each.signature == first.signature and each.kind is first.kind for each in callables):
            return first
        return replace(first, signature=None, note=otherwise)

    def _member(self, definition: Definition, name: str) -> Member:
        match definition:
            case Function():
                return self._function(definition, name, definition.line, in_class=self._in_class)
            case Class():
                return self._class(Entity(self.outline, definition), name, definition.line)
            case Imported():
                return self._followed(definition, name)
        return self._assigned(definition, name)

    def _followed(self, definition: Imported | Assigned, name: str) -> Member:
        """What an import or an alias stands for, under the name and at the place where it is bound."""
        found = self.resolver.bound(self.outline, self.scope, definition)
        match found:
            case Entity(outline=outline, definition=Function() as function):
                maker = replace(self, outline=outline, scope=outline.scope)
                return maker._function(function, name, definition.line, in_class=self._in_class)
            case Entity(definition=Class()):
                return self._class(found, name, definition.line)
        return self.attribute(name, definition.line, instance_only=False)

    def _class(self, found: Entity, name: str, line: int) -> Member:
        signature = self.construct(found.outline, found.definition) if isinstance(found.definition, Class) else None
        note = "" if signature is not None else "what its constructor takes cannot be told"
        return Member(name, self.owner, MemberKind.CLASS, False, signature, None, line, note=note)

    def _assigned(self, definition: Assigned, name: str) -> Member:
        value = definition.value
        match value:
            case ast.Lambda(args=arguments):
                return self._callable(name, definition.line, parameters_of(arguments), MemberKind.INSTANCE_METHOD)
            case ast.Call(args=[ast.Name() | ast.Attribute() as inner, *_]) if self._in_class:
                wrapper = self._qualified(value)
                if wrapper in PROPERTY:
                    return replace(self.attribute(name, definition.line, instance_only=False), kind=MemberKind.PROPERTY)
                if wrapper in STATIC or wrapper in CLASSMETHOD:
                    kind = MemberKind.STATIC_METHOD if wrapper in STATIC else MemberKind.CLASS_METHOD
                    found = self.resolver.entity(self.outline, self.scope, inner, before=definition.line)
                    if found is not None and isinstance(found.definition, Function):
                        return self._callable(name, definition.line, found.definition.parameters, kind)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._followed(definition, name)
        annotated_only = self._in_class and value is None and definition.annotation is not None
        of_class = annotated_only and "ClassVar" in ast.unparse(definition.annotation or ast.Constant(""))
        only = annotated_only and not of_class and not self.outline.file.endswith(".pyi")
        return self.attribute(name, definition.line, instance_only=only)

    def _callable(self, name: str, line: int, parameters: tuple[Parameter, ...], kind: MemberKind) -> Member:
        kind = kind if self._in_class else MemberKind.FUNCTION
        signature = bound_signature(parameters) if kind in _BINDING else Signature(parameters)
        return Member(name, self.owner, kind, False, signature, None, line)

    def _function(self, function: Function, name: str, line: int, *, in_class: bool) -> Member:
        kind = MemberKind.INSTANCE_METHOD if in_class else MemberKind.FUNCTION
        if in_class and name in _CLASS_METHODS:
            kind = MemberKind.CLASS_METHOD
        if in_class and name == "__new__":
            kind = MemberKind.STATIC_METHOD
        is_async, deprecated, note = function.is_async, None, ""
        for decorator in reversed(function.decorators):
            meaning = self._qualified(decorator)
            if self._is_property(decorator, meaning):
                kind = MemberKind.PROPERTY
            elif meaning in STATIC or meaning in CLASSMETHOD:
                kind = MemberKind.STATIC_METHOD if meaning in STATIC else MemberKind.CLASS_METHOD
            elif meaning in DEPRECATED:
                deprecated = _first_text(decorator)
            elif meaning in CONTEXT_MANAGER or meaning in AWAITABLE:
                is_async = meaning in AWAITABLE
            elif meaning not in KEEPING and not meaning.startswith(KEEPING_PREFIXES):
                kept, asynchronous = self._own_decorator(decorator)
                is_async = is_async if asynchronous is None else asynchronous
                note = note if kept else f"`@{ast.unparse(decorator)}` decides what it takes"
        binds = kind in _BINDING or (in_class and name == "__new__")
        signature = bound_signature(function.parameters) if binds else Signature(function.parameters)
        found = None if note or kind is MemberKind.PROPERTY else signature
        if found is None and not note and kind is not MemberKind.PROPERTY:
            note = "it takes no first parameter to be bound to"
        told = (function.summary, function.replaces, note, function.gives, function.calls)
        return Member(name, self.owner, kind, is_async, found, deprecated, line, False, *told)

    def _own_decorator(self, decorator: ast.expr) -> tuple[bool, bool | None]:
        """Whether a decorator of the project is proven to keep what a call takes, and its asynchrony."""
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        found = self.resolver.entity(self.outline, self.scope, called)
        effect = found.definition.effect if found is not None and isinstance(found.definition, Function) else None
        if effect is None or effect.is_factory is not isinstance(decorator, ast.Call):
            return False, None
        return True, effect.is_async if effect.kept is Kept.CALL else None

    def _is(self, definition: Definition, decorators: frozenset[str]) -> bool:
        return isinstance(definition, Function) and any(
            self._qualified(each) in decorators for each in definition.decorators
        )

    def _is_accessor(self, definition: Definition) -> bool:
        return isinstance(definition, Function) and any(
            isinstance(each, ast.Attribute) and each.attr in _PARTS_OF_PROPERTIES for each in definition.decorators
        )

    def _is_property(self, decorator: ast.expr, meaning: str) -> bool:
        if isinstance(decorator, ast.Attribute) and decorator.attr in _PARTS_OF_PROPERTIES:
            return True
        # Properties of libraries are called like one: hybrid_property, lazyproperty, cached_property, reify.
        return meaning in PROPERTY or meaning.endswith(("property", ".reify"))

    def _qualified(self, expression: ast.expr) -> str:
        return self.resolver.qualified(self.outline, self.scope, expression)


def bound_signature(parameters: tuple[Parameter, ...]) -> Signature | None:
    """What a caller passes when the lookup fills the first parameter.

    Args:
        parameters: all of them.

    Returns:
        The signature without the first; None when there is none that takes it.
    """
    match parameters[0].kind if parameters else None:
        case ParameterKind.POSITIONAL_ONLY | ParameterKind.POSITIONAL_OR_KEYWORD:
            return Signature(parameters[1:])
        case ParameterKind.VAR_POSITIONAL:
            return Signature(parameters)
    return None


def _first_text(decorator: ast.expr) -> str:
    match decorator:
        case ast.Call(args=[ast.Constant(value=str(text)), *_]):
            return text
        case ast.Call(args=[ast.JoinedStr() as text, *_]):
            return ast.unparse(text)
    return ""
