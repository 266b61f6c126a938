"""What a name stands for, followed through imports, re-exports and aliases; nothing is imported for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netra_repair.decorators import KEEPING_PREFIXES, KNOWN
from netra_repair.modules import Modules
from netra_repair.outline import Assigned, Class, Definition, Function, Imported, Outline, Scope

# How many imports and aliases are followed before a circle is assumed.
_FAR = 30


@dataclass(frozen=True, slots=True)
class Entity:
    """What a name stands for.

    Attributes:
        outline: the module that defines it.
        definition: the class or function; None for the module itself.
    """

    outline: Outline
    definition: Class | Function | None = None


@dataclass(frozen=True, slots=True)
class Resolver:
    """Follows names.

    Attributes:
        modules: where modules come from.
    """

    modules: Modules

    def entity(
        self, outline: Outline, scope: Scope, expression: ast.expr, *, before: int | None = None, steps: int = 0
    ) -> Entity | None:
        """Follows an expression.

        Args:
            outline: the module it stands in.
            scope: the scope it stands in.
            expression: a name, a dotted name, or one of these with a subscript (`Base[int]`).
            before: a line: bindings below it do not count where there are others, `class Ctx(Ctx)`.
            steps: how far it was followed already.

        Returns:
            What it stands for; None when it cannot be told.
        """
        if steps > _FAR:
            return None
        match expression:
            case ast.Name(id=name):
                return self._name(outline, scope, name, before, steps + 1)
            case ast.Attribute(value=value, attr=attribute):
                holder = self.entity(outline, scope, value, before=before, steps=steps + 1)
                return None if holder is None else self.attribute(holder, attribute, steps=steps + 1)
            case ast.Subscript(value=value):
                return self.entity(outline, scope, value, before=before, steps=steps + 1)
        return None

    def attribute(self, holder: Entity, name: str, *, steps: int = 0) -> Entity | None:
        """Follows an attribute of a module or class.

        Args:
            holder: the module or class.
            name: the attribute.
            steps: how far it was followed already.

        Returns:
            What it stands for; None when it cannot be told.
        """
        if steps > _FAR or isinstance(holder.definition, Function):
            return None
        outline = holder.outline
        scope = outline.scope if holder.definition is None else holder.definition.scope
        found = self._first(outline, scope, scope.names.get(name, ()), steps + 1)
        if found is not None or holder.definition is not None:
            return found
        below = self.modules.named(f"{outline.name}.{name}", outline) if outline.is_package else None
        return self._starred(outline, name, steps + 1) if below is None else Entity(below)

    def bound(self, outline: Outline, scope: Scope, definition: Definition, *, steps: int = 0) -> Entity | None:
        """Follows one binding.

        Args:
            outline: the module it stands in.
            scope: the scope it stands in.
            definition: the binding.
            steps: how far it was followed already.

        Returns:
            What it stands for; None when it cannot be told.
        """
        match definition:
            case Class() | Function():
                return Entity(outline, definition)
            case Imported(module=module, item=item):
                holder = self.modules.named(module, outline) if module else None
                if holder is None or item is None:
                    return None if holder is None else Entity(holder)
                return self.attribute(Entity(holder), item, steps=steps + 1)
            case Assigned(value=ast.expr() as value, line=line):
                return self.entity(outline, scope, value, before=line, steps=steps + 1)
        return None

    def qualified(self, outline: Outline, scope: Scope, expression: ast.expr, *, before: int | None = None) -> str:
        """The full dotted name of an expression, as far as imports tell.

        Args:
            outline: the module it stands in.
            scope: the scope it stands in.
            expression: a dotted name, or a call or subscript of one.
            before: as for `entity`.

        Returns:
            The name under which the well-known decorators and bases are listed if it is one of them, else that of the
            definition, else what the imports say; "" when it is no dotted name.
        """
        match expression:
            case ast.Call(func=inner) | ast.Subscript(value=inner):
                return self.qualified(outline, scope, inner, before=before)
        spelled = self._spelled(outline, scope, expression, before)
        if spelled in KNOWN or spelled.startswith((*KEEPING_PREFIXES, "typing.", "typing_extensions.")):
            return spelled
        found = self.entity(outline, scope, expression, before=before)
        return spelled if found is None else qualified_name(found)

    def exported(self, outline: Outline, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """The names that `from outline import *` binds; `seen` are the modules on the way, against circles."""
        if outline.exports is not None:
            yield from outline.exports
            return
        yield from (name for name in outline.scope.names if not name.startswith("_"))
        for star in outline.stars:
            below = self.modules.named(star, outline)
            if below is not None and below.file not in seen:
                yield from self.exported(below, seen | {outline.file})

    def _name(self, outline: Outline, scope: Scope, name: str, before: int | None, steps: int) -> Entity | None:
        later: list[tuple[Scope, list[Definition]]] = []
        around: Scope | None = scope
        while around is not None:
            found = around.names.get(name, [])
            earlier = [each for each in found if before is None or each.line < before]
            if earlier:
                return self._first(outline, around, earlier, steps)
            if found:
                later.append((around, found))
            around = around.parent
        # `TimeoutError = TimeoutError` means the builtin; else a name that is bound below, as functions may use it.
        outer = self._starred(outline, name, steps) or self._builtin(outline, name, steps)
        if outer is None and later:
            return self._first(outline, *later[0], steps)
        return outer

    def _builtin(self, outline: Outline, name: str, steps: int) -> Entity | None:
        builtins = self.modules.named("builtins", outline)
        return None if builtins is None or builtins is outline else self.attribute(Entity(builtins), name, steps=steps)

    def _starred(self, outline: Outline, name: str, steps: int) -> Entity | None:
        for star in reversed(outline.stars):
            holder = self.modules.named(star, outline)
            if holder is not None and holder is not outline and (holder.exports is None or name in holder.exports):
                found = self.attribute(Entity(holder), name, steps=steps + 1)
                if found is not None:
                    return found
        return None

    def _first(self, outline: Outline, scope: Scope, found: Sequence[Definition], steps: int) -> Entity | None:
        """The last sure binding, else the first of the branches that can be followed: the one without the error."""
        sure = [each for each in reversed(found) if not each.conditional]
        for each in [*sure, *[each for each in found if each.conditional]]:
            entity = self.bound(outline, scope, each, steps=steps + 1)
            if entity is not None:
                return entity
        return None

    def _spelled(self, outline: Outline, scope: Scope, expression: ast.expr, before: int | None) -> str:
        match expression:
            case ast.Attribute(value=value, attr=attribute):
                holder = self._spelled(outline, scope, value, before)
                return f"{holder}.{attribute}" if holder else ""
            case ast.Name(id=name):
                around: Scope | None = scope
                while around is not None:
                    for each in around.names.get(name, ()):
                        if isinstance(each, Imported):
                            return each.module if each.item is None else f"{each.module}.{each.item}"
                    if name in around.names:
                        return f"{outline.name}.{name}"
                    around = around.parent
                return name
        return ""


def qualified_name(entity: Entity) -> str:
    """The dotted name of what was found: "pkg.ctx", "pkg.ctx.Ctx", "pkg.ctx.made"."""
    match entity.definition:
        case Class(qualified_name=name) | Function(name=name):
            return f"{entity.outline.name}.{name}"
    return entity.outline.name
