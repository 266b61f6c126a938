"""Classes and what they derive from: bases, the method resolution order, and what makes attributes unknowable."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from netra_repair.decorators import ADD_METACLASS, KEEPING_CLASSES, KEEPING_PREFIXES, Kept
from netra_repair.modules import Modules
from netra_repair.outline import Class, Function, Outline
from netra_repair.owners import Access, Owner, OwnerKind
from netra_repair.resolution import Entity, Resolver

# Bases that stand for something else at run time, or for nothing.
_NO_BASES = frozenset(
    f"{typing}.{name}" for typing in ("typing", "typing_extensions") for name in ("Generic", "Protocol")
)
_PROTOCOLS = frozenset({"typing.Protocol", "typing_extensions.Protocol"})
_NAMED_TUPLES = frozenset({"typing.NamedTuple", "typing_extensions.NamedTuple", "collections.namedtuple"})
_STAND_INS = {
    f"{typing}.{name}": f"builtins.{name.lower()}"
    for typing in ("typing", "typing_extensions")
    for name in ("List", "Dict", "Set", "FrozenSet", "Tuple", "Type")
} | {
    "typing.TypedDict": "builtins.dict",
    "typing_extensions.TypedDict": "builtins.dict",
    "typing.OrderedDict": "collections.OrderedDict",
    "typing.DefaultDict": "collections.defaultdict",
    "typing.Counter": "collections.Counter",
    "typing.ChainMap": "collections.ChainMap",
    "typing.Deque": "collections.deque",
    "typing.ContextManager": "contextlib.AbstractContextManager",
    "typing.AsyncContextManager": "contextlib.AbstractAsyncContextManager",
}
_WITH_METACLASS = frozenset({"six.with_metaclass", "future.utils.with_metaclass"})
# Their `__getattr__` gives what the class statement shows.
_PLAIN_METACLASSES = ("enum.", "typing.", "abc.", "builtins.")


@dataclass(frozen=True, slots=True)
class Bases:
    """What a class statement derives from.

    Attributes:
        owners: the bases that could be followed, in order.
        unresolved: the text of the first that could not; None when all could.
        metaclass: as it is written, else None.
        named_tuple: the call that makes the fields; None for `class P(NamedTuple)`, whose body does.
        is_named_tuple: whether one of the bases is a named tuple.
    """

    owners: tuple[Owner, ...]
    unresolved: str | None
    metaclass: ast.expr | None
    named_tuple: ast.Call | None
    is_named_tuple: bool


class Hierarchy:
    """Follows classes to their bases.

    Args:
        modules: where modules come from.
        resolver: follows names.
    """

    def __init__(self, modules: Modules, resolver: Resolver) -> None:
        self._modules = modules
        self._resolver = resolver
        self._bases: dict[Owner, Bases] = {}
        self._mro: dict[Owner, tuple[Owner, ...] | None] = {}

    def forget(self) -> None:
        """Follows every class again when it is asked for."""
        self._bases.clear()
        self._mro.clear()

    def named(self, qualified_name: str, asking: Outline | None = None) -> Owner | None:
        """Finds a class or module by its name, through re-exports.

        Args:
            qualified_name: as for `Definitions.named`.
            asking: the module that needs it, as for `Modules.named`.

        Returns:
            The owner where it is defined; None when there is none of the name.
        """
        parts = qualified_name.split(".")
        for end in range(len(parts), 0, -1):
            outline = self._modules.named(".".join(parts[:end]), asking)
            if outline is not None and end == len(parts):
                return module_owner(outline) if self._modules.read(outline.file) is outline else None
            if outline is not None:
                rest = parts[end:]
                found = local_class(outline, ".".join(rest)) or self._walked(outline, rest)
                if found is not None:
                    return found
        return None

    def class_of(self, owner: Owner) -> tuple[Outline, Class] | None:
        """The class statement of an owner, and its module; None when it cannot be read."""
        outline = self._modules.read(owner.file)
        class_ = outline.classes.get(owner.line) if outline is not None else None
        return None if outline is None or class_ is None else (outline, class_)

    def bases(self, owner: Owner) -> Bases:
        """What the class statement of an owner derives from."""
        if owner not in self._bases:
            self._bases[owner] = self._read_bases(owner)
        return self._bases[owner]

    def mro(self, owner: Owner) -> tuple[Owner, ...]:
        """The method resolution order, as for `Definitions.mro`."""
        if owner.kind is OwnerKind.MODULE:
            return (owner,)
        if owner not in self._mro:
            self._mro[owner] = None  # against circles
            self._mro[owner] = self._linearized(owner)
        return self._mro[owner] or (owner,)

    def dynamic(self, owner: Owner, access: Access | None) -> str | None:
        """Why the attributes of a class cannot be known, as for `Definitions.dynamic`."""
        order = self.mro(owner)
        if self.class_of(owner) is None:
            return f"`{owner.name}` cannot be read"
        if self._mro[owner] is None:
            return f"the bases of `{owner.name}` have no consistent order"
        if self._is_protocol(owner):
            return f"`{owner.name}` is a protocol: what stands for it may have more"
        if access is not Access.CLASS and owner.name != "builtins.type" and any(_is_type(each) for each in order):
            return f"instances of `{owner.name}` are classes, and have what these define"
        return next((reason for each in order if (reason := self._dynamic_class(each, access)) is not None), None)

    def _is_protocol(self, owner: Owner) -> bool:
        found = self.class_of(owner)
        if found is None:
            return False
        written, _ = self._written_bases(*found)
        return any(self.qualified(*found, base) in _PROTOCOLS for base in written)

    def resolved(self, outline: Outline, class_: Class, expression: ast.expr) -> Owner | None:
        """The class that an expression in a class statement stands for; None when it cannot be followed."""
        entity = self._resolver.entity(outline, class_.scope.parent or outline.scope, expression, before=class_.line)
        owner = owner_of(entity)
        return owner if owner is not None and owner.kind is OwnerKind.CLASS and owner.name != "typing.Any" else None

    def qualified(self, outline: Outline, class_: Class, expression: ast.expr) -> str:
        """The full dotted name of an expression in a class statement."""
        scope = class_.scope.parent or outline.scope
        return self._resolver.qualified(outline, scope, expression, before=class_.line)

    def _walked(self, outline: Outline, names: Sequence[str]) -> Owner | None:
        entity: Entity | None = Entity(outline)
        for name in names:
            entity = None if entity is None else self._resolver.attribute(entity, name)
        return owner_of(entity)

    def _read_bases(self, owner: Owner) -> Bases:
        found = self.class_of(owner)
        if found is None:
            return Bases((), None, None, None, False)
        outline, class_ = found
        written, metaclass = self._written_bases(outline, class_)
        owners: list[Owner] = []
        unresolved = named_tuple = None
        is_named_tuple = False
        for base in written:
            name = self.qualified(outline, class_, base)
            if name in _NO_BASES:
                continue
            if name in _NAMED_TUPLES:
                is_named_tuple = True
                named_tuple = base if isinstance(base, ast.Call) else None
                name = "builtins.tuple"
            resolved = self._stand_in(name, outline) or self.resolved(outline, class_, base)
            if resolved is None:
                unresolved = unresolved or ast.unparse(base)
            elif resolved not in owners:
                owners.append(resolved)
        return Bases(tuple(owners), unresolved, metaclass, named_tuple, is_named_tuple)

    def _stand_in(self, name: str, asking: Outline) -> Owner | None:
        """What a special form of `typing` is at run time; None for any other name."""
        typing, _, last = name.rpartition(".")
        if name in ("builtins.tuple", *_STAND_INS):
            return self.named(_STAND_INS.get(name, name), asking)
        return self.named(f"collections.abc.{last}", asking) if typing in ("typing", "typing_extensions") else None

    def _written_bases(self, outline: Outline, class_: Class) -> tuple[list[ast.expr], ast.expr | None]:
        metaclass = dict(class_.keywords).get("metaclass")
        written: list[ast.expr] = []
        for base in class_.bases:
            if isinstance(base, ast.Call) and base.args and self.qualified(outline, class_, base) in _WITH_METACLASS:
                metaclass, *others = base.args
                written += others
            else:
                written.append(base)
        for decorator in class_.decorators:
            if isinstance(decorator, ast.Call) and self.qualified(outline, class_, decorator) in ADD_METACLASS:
                metaclass = decorator.args[0] if decorator.args else None
        return written, metaclass

    def _linearized(self, owner: Owner) -> tuple[Owner, ...] | None:
        bases = self.bases(owner).owners
        known = self.class_of(owner)
        root = self.named("builtins.object", known[0] if known is not None else None)
        lines = [self.mro(base) for base in bases]
        merged = _merged([*lines, bases])
        if merged is None:
            return None
        tail = () if root is None or root in merged or owner == root else (root,)
        return (owner, *merged, *tail)

    def _dynamic_class(self, owner: Owner, access: Access | None) -> str | None:
        found = self.class_of(owner)
        if found is None or owner.name in ("builtins.object", "builtins.type"):
            return None
        outline, class_ = found
        bases = self.bases(owner)
        if bases.unresolved is not None:
            return f"the base `{bases.unresolved}` of `{owner.name}` cannot be followed"
        for decorator in class_.decorators:
            if not self._keeps_class(outline, class_, decorator):
                return f"`@{ast.unparse(decorator)}` may give `{owner.name}` any attribute"
        computed = class_.computed if access is not Access.CLASS else None
        if class_.name in outline.computed and class_.scope.parent is outline.scope:
            computed = outline.computed[class_.name]
        line = class_.computed_on_class or computed
        if line is not None:
            return f"{outline.file}:{line} sets attributes of computed names on `{owner.name}`"
        if access is not Access.CLASS:
            for name in ("__getattr__", "__getattribute__"):
                if name in class_.scope.names:
                    return f"`{owner.name}` defines `{name}`"
        return self._dynamic_metaclass(outline, class_, bases, access)

    def _dynamic_metaclass(self, outline: Outline, class_: Class, bases: Bases, access: Access | None) -> str | None:
        if bases.metaclass is None:
            return None
        metaclass = self.resolved(outline, class_, bases.metaclass)
        if metaclass is None:
            return f"the metaclass `{ast.unparse(bases.metaclass)}` cannot be followed"
        for each in self.mro(metaclass):
            found = self.class_of(each)
            if found is None or each.name.startswith(_PLAIN_METACLASSES):
                continue
            line = found[1].computed or found[1].computed_on_class
            if line is not None:
                return f"its metaclass `{each.name}` sets attributes of computed names, at {each.file}:{line}"
            for name in ("__getattr__", "__getattribute__"):
                if access is not Access.INSTANCE and name in found[1].scope.names:
                    return f"its metaclass `{each.name}` defines `{name}`"
        return None

    def _keeps_class(self, outline: Outline, class_: Class, decorator: ast.expr) -> bool:
        name = self.qualified(outline, class_, decorator)
        if name in KEEPING_CLASSES or name in ADD_METACLASS or name.startswith(KEEPING_PREFIXES):
            return True
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        found = self._resolver.entity(outline, class_.scope.parent or outline.scope, called)
        effect = found.definition.effect if found is not None and isinstance(found.definition, Function) else None
        return (
            effect is not None and effect.kept is Kept.ITSELF and effect.is_factory is isinstance(decorator, ast.Call)
        )


def _is_type(owner: Owner) -> bool:
    return owner.name == "builtins.type"


def module_owner(outline: Outline) -> Owner:
    """A module as an owner."""
    return Owner(outline.name, OwnerKind.MODULE, outline.file, 1)


def class_owner(outline: Outline, class_: Class) -> Owner:
    """A class as an owner."""
    return Owner(f"{outline.name}.{class_.qualified_name}", OwnerKind.CLASS, outline.file, class_.line)


def owner_of(entity: Entity | None) -> Owner | None:
    """The class or module that was found, as an owner; None for nothing or a function."""
    match entity:
        case Entity(outline=outline, definition=None):
            return module_owner(outline)
        case Entity(outline=outline, definition=Class() as class_):
            return class_owner(outline, class_)
    return None


def local_class(outline: Outline, qualified_name: str) -> Owner | None:
    """A class of a module by Python's qualified name; of several, the one that lookups find."""
    found = [each for each in outline.classes.values() if each.qualified_name == qualified_name]
    sure = [each for each in found if not each.conditional]
    return class_owner(outline, (sure[-1:] or found)[0]) if found else None


def _merged(lines: Sequence[Sequence[Owner]]) -> tuple[Owner, ...] | None:
    """C3: the merge of the bases' orders and the list of bases; None when there is none."""
    waiting = [list(line) for line in lines if line]
    merged: list[Owner] = []
    while waiting:
        tails = {owner for line in waiting for owner in line[1:]}
        head = next((line[0] for line in waiting if line[0] not in tails), None)
        if head is None:
            return None
        merged.append(head)
        waiting = [rest for line in waiting if (rest := [owner for owner in line if owner != head])]
    return tuple(merged)
