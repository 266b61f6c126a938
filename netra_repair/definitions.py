"""The classes and modules of a project and of its libraries, with their members, told from the source alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from netra_repair.fields import joined, named_tuple_fields, own_fields, recipe_of
from netra_repair.hierarchy import Hierarchy, class_owner, local_class, module_owner
from netra_repair.members import MadeWhenAsked, MemberMaker
from netra_repair.modules import Modules
from netra_repair.outline import Assigned, Class, Outline
from netra_repair.owners import Access, Member, MemberKind, Owner, OwnerKind, Parameter, ParameterKind, Signature
from netra_repair.resolution import Resolver

_CALLABLE = frozenset(MemberKind) - {MemberKind.ATTRIBUTE, MemberKind.PROPERTY}


class Definitions:
    """Tells classes, modules, their members and what calls take. Reads files on demand, imports nothing of them.

    Args:
        project_root: the project, resolved.
        search_paths: the import roots inside it, in order.
        site_packages: where its environment keeps libraries.
        stdlib: a folder of stubs of the standard library (typeshed's `stdlib`), so that its classes are the ones the
            engine speaks of; None to read the environment's own standard library.
        python_version: of the project's interpreter, "3.11.7"; None keeps the branches of all versions.
    """

    def __init__(
        self,
        project_root: Path,
        search_paths: Sequence[Path],
        site_packages: Sequence[Path] = (),
        *,
        stdlib: Path | None = None,
        python_version: str | None = None,
    ) -> None:
        version = None if python_version is None else tuple(int(part) for part in python_version.split(".")[:2])
        self._modules = Modules(project_root, search_paths, site_packages, stdlib=stdlib, version=version)
        self._resolver = Resolver(self._modules)
        self._hierarchy = Hierarchy(self._modules, self._resolver)
        self._own: dict[Owner, Mapping[str, Member]] = {}
        self._all: dict[Owner, dict[str, Member]] = {}
        self._constructing: set[Owner] = set()

    def class_at(self, file: Path, line: int) -> Owner | None:
        """Finds a class by its place.

        Args:
            file: absolute, or relative to the project's root; a stub beside its source means the source.
            line: of the class statement or one of its decorators, from 1.

        Returns:
            The class, also one inside a function; None when there is none, or the file cannot be read.
        """
        outline = self._modules.at(file)
        if outline is None:
            return None
        # A stub beside its source: find the class there, by the name that the stub gives it.
        described = self._modules.stub(file) if outline.file != self._modules.shown(file) else outline
        for class_ in described.classes.values() if described is not None else ():
            if class_.first_line <= line <= class_.line:
                return (
                    class_owner(outline, class_)
                    if described is outline
                    else local_class(outline, class_.qualified_name)
                )
        return None

    def module_at(self, file: Path) -> Owner | None:
        """Finds a module by its file.

        Args:
            file: absolute, or relative to the project's root.

        Returns:
            The module; None when the file cannot be read.
        """
        outline = self._modules.at(file)
        return None if outline is None else module_owner(outline)

    def named(self, qualified_name: str) -> Owner | None:
        """Finds a class or module by its name, through re-exports.

        Args:
            qualified_name: "pkg.ctx.Ctx", "pkg.ctx", or a local class as Python names it, "pkg.ctx.made.<locals>.Ctx".

        Returns:
            The owner where it is defined; None when there is none of the name.
        """
        return self._hierarchy.named(qualified_name)

    def mro(self, owner: Owner) -> tuple[Owner, ...]:
        """The method resolution order.

        Args:
            owner: a class or module.

        Returns:
            Itself first, `object` last; bases that cannot be followed are left out (`dynamic` tells of them). A module
            alone.
        """
        return self._hierarchy.mro(owner)

    def is_followed(self, owner: Owner) -> bool:
        """Whether the sources tell all that a class inherits from; true for a module."""
        return all(
            self._hierarchy.bases(each).unresolved is None for each in self.mro(owner) if each.kind is OwnerKind.CLASS
        )

    def members(self, owner: Owner) -> Mapping[str, Member]:
        """What can be looked up on a class, its instances, or a module.

        Args:
            owner: the class or module.

        Returns:
            Members by name, inherited ones too, the nearest in the MRO wins; of a package also its modules.
        """
        if owner.kind is OwnerKind.MODULE:
            return self._own_members(owner)
        if owner not in self._all:
            found: dict[str, Member] = {}
            for each in reversed(self.mro(owner)):
                for name, member in self._own_members(each).items():
                    # What a method sets on `self` goes through a property of a base, or only shadows what is there.
                    if not member.instance_only or name not in found:
                        found[name] = member
            self._all[owner] = found
        return self._all[owner]

    def dynamic(self, owner: Owner, access: Access | None = None) -> str | None:
        """Tells why the members of an owner cannot be known for sure.

        Args:
            owner: a class or module.
            access: how attributes are looked up: `__getattr__` of a class is not asked for attributes of the class
                itself, nor that of its metaclass for those of instances; None to count both.

        Returns:
            The reason, for people; None when its members are what `members` gives.
        """
        if owner.kind is OwnerKind.MODULE:
            return self._dynamic_module(owner)
        return self._hierarchy.dynamic(owner, access)

    def elsewhere(self, owner: Owner, attribute: str) -> int | None:
        """The line where an owner defines an attribute for another platform or version of Python; None if nowhere."""
        return self._modules.elsewhere(owner.file, owner.line if owner.kind is OwnerKind.CLASS else None, attribute)

    def callable_named(self, qualified_name: str) -> Member | None:
        """Finds a function, method or class by its name.

        Args:
            qualified_name: "pkg.mod.made", "pkg.ctx.Base.from_request", "pkg.ctx.Ctx.__init__", "pkg.ctx.Ctx".

        Returns:
            The member; None when there is none of the name, or it is nothing to call.
        """
        holder, _, name = qualified_name.rpartition(".")
        owner = self.named(holder) if holder else None
        member = self.members(owner).get(name) if owner is not None else None
        return member if member is not None and member.kind in _CALLABLE else None

    def hints(self, owner: Owner, attribute: str) -> tuple[str, ...]:
        """What the source itself says of a name that is gone.

        Args:
            owner: the class or module that should have it.
            attribute: the missing name.

        Returns:
            Sentences: of dictionaries of removed names in the owner's module, and of docstrings of its members.
        """
        outline = self._modules.read(owner.file)
        told = outline.told.get(attribute) if outline is not None else None
        texts = [] if told is None else [f"{owner.file} says of `{attribute}`: {told}"]
        texts += [
            f"use `{member.name}`: its docstring says that it took the place of `{attribute}`"
            for member in self.members(owner).values()
            if any(name.rpartition(".")[2] == attribute for name in member.replaces)
        ]
        return tuple(texts)

    def forget(self) -> None:
        """Takes notice that files have been written: everything is read again when it is asked for."""
        self._modules.forget()
        self._hierarchy.forget()
        self._own.clear()
        self._all.clear()

    def _dynamic_module(self, owner: Owner) -> str | None:
        outline = self._modules.read(owner.file)
        if outline is None:
            return f"`{owner.name}` cannot be read"
        return outline.dynamic or self._dynamic_stars(outline, {outline.file})

    def _dynamic_stars(self, outline: Outline, seen: set[str]) -> str | None:
        """Why nobody knows what `import *` brings into a module; `seen` are the modules that were asked.

        The names of a module that lists them are known, and its `__getattr__` stays behind.
        """
        for star in outline.stars:
            holder = self._modules.named(star, outline)
            if holder is None:
                return f"`from {star} import *` cannot be followed"
            if holder.exports is not None or holder.file in seen:
                continue
            seen.add(holder.file)
            computed = None if "__getattr__" in holder.scope.names else holder.dynamic
            reason = computed or self._dynamic_stars(holder, seen)
            if reason is not None:
                return f"`from {star} import *`: {reason}"
        return None

    # --- members ---

    def _own_members(self, owner: Owner) -> Mapping[str, Member]:
        if owner not in self._own:
            self._own[owner] = {}  # against circles
            self._own[owner] = (
                self._module_members(owner) if owner.kind is OwnerKind.MODULE else self._class_members(owner)
            )
        return self._own[owner]

    def _module_members(self, owner: Owner) -> Mapping[str, Member]:
        outline = self._modules.read(owner.file)
        if outline is None:
            return {}
        maker = MemberMaker(self._resolver, owner, outline, outline.scope, self._constructor)
        found: dict[str, Callable[[], Member]] = {
            name: partial(maker.attribute, name, 1, instance_only=False) for name in self._modules.submodules(outline)
        }
        for star in outline.stars:
            holder = self._modules.named(star, outline)
            below = self._own_members(module_owner(holder)) if holder is not None else {}
            names = self._resolver.exported(holder) if holder is not None else ()
            found.update({name: partial(below.__getitem__, name) for name in names if name in below})
        for name, definitions in outline.scope.names.items():
            found[name] = partial(maker.made, name, definitions)
        return MadeWhenAsked(found)

    def _class_members(self, owner: Owner) -> dict[str, Member]:
        known = self._hierarchy.class_of(owner)
        if known is None:
            return {}
        outline, class_ = known
        maker = MemberMaker(self._resolver, owner, outline, class_.scope, self._constructor)
        found = {name: maker.attribute(name, line, instance_only=True) for name, line in class_.sets.items()}
        for name in _slots(class_):
            found[name] = maker.attribute(name, class_.line, instance_only=False)
        for name, definitions in class_.scope.names.items():
            found[name] = maker.made(name, definitions)
        attached = outline.attached.get(class_.name, {}) if class_.scope.parent is outline.scope else {}
        for name, line in attached.items():
            found.setdefault(name, maker.attribute(name, line, instance_only=False))
        return self._generated(owner, outline, class_, maker) | found

    def _generated(self, owner: Owner, outline: Outline, class_: Class, maker: MemberMaker) -> dict[str, Member]:
        """Members that no statement shows: constructors made of fields, and what named tuples have."""
        bases = self._hierarchy.bases(owner)
        if bases.is_named_tuple:
            signature = named_tuple_fields(class_, bases.named_tuple)
            made = Member("__new__", owner, MemberKind.STATIC_METHOD, False, signature, None, class_.line)
            names = [each.name for each in signature.parameters] if signature is not None else []
            fields = {name: maker.attribute(name, class_.line, instance_only=False) for name in names}
            return fields | {"__new__": made} | _named_tuple_methods(owner, class_.line)
        recipe = recipe_of(class_, lambda expression: self._hierarchy.qualified(outline, class_, expression))
        if recipe is None or not recipe.makes:
            return {}
        own = {"__init__": Member("__init__", owner, MemberKind.INSTANCE_METHOD, False, None, None, class_.line)}
        ancestors = [self._fields(each) for each in reversed(self.mro(owner))]
        if bases.unresolved is not None:
            return own
        return {
            "__init__": Member(
                "__init__", owner, MemberKind.INSTANCE_METHOD, False, joined(ancestors), None, class_.line
            )
        }

    def _fields(self, owner: Owner) -> dict[str, Parameter]:
        known = self._hierarchy.class_of(owner)
        if known is None:
            return {}
        outline, class_ = known
        recipe = recipe_of(class_, lambda expression: self._hierarchy.qualified(outline, class_, expression))
        if recipe is None:
            return {}
        inside = lambda expression: self._resolver.qualified(outline, class_.scope, expression)  # noqa: E731
        return own_fields(class_, recipe, inside)

    # --- constructors ---

    def _constructor(self, outline: Outline, class_: Class) -> Signature | None:
        """What a call of a class takes; None when that cannot be told."""
        owner = class_owner(outline, class_)
        if owner in self._constructing:
            return None
        self._constructing.add(owner)
        try:
            return self._constructed(owner)
        finally:
            self._constructing.discard(owner)

    def _constructed(self, owner: Owner) -> Signature | None:
        makers: dict[str, Member] = {}
        for each in self.mro(owner):
            if each.name == "builtins.object":
                break
            known = self._hierarchy.class_of(each)
            metaclass = self._hierarchy.bases(each).metaclass
            if known is None or (metaclass is not None and not self._plain_call(*known, metaclass)):
                return None
            own = self._own_members(each)
            for name in ("__init__", "__new__"):
                if name in own:
                    makers.setdefault(name, own[name])
            if self._hierarchy.bases(each).unresolved is not None:
                # What lies behind it is unknown, but a constructor of its own comes first.
                return makers["__init__"].signature if "__init__" in makers and "__new__" not in makers else None
        signatures = [each.signature for each in makers.values()]
        particular = [each for each in signatures if each is None or not _takes_anything(each)]
        distinct = list(dict.fromkeys(particular or signatures[:1]))
        return Signature(()) if not makers else distinct[0] if len(distinct) == 1 else None

    def _plain_call(self, outline: Outline, class_: Class, metaclass: ast.expr) -> bool:
        """Whether a metaclass makes instances the usual way."""
        owner = self._hierarchy.resolved(outline, class_, metaclass)
        if owner is None:
            return False
        return not any(
            "__call__" in self._own_members(each) for each in self.mro(owner) if not each.name.startswith("builtins.")
        )


def _slots(class_: Class) -> tuple[str, ...]:
    for definition in reversed(class_.scope.names.get("__slots__", [])):
        if isinstance(definition, Assigned) and definition.value is not None:
            try:
                value = ast.literal_eval(definition.value)
            except ValueError:
                return ()
            names = (value,) if isinstance(value, str) else tuple(value)
            return tuple(name for name in names if isinstance(name, str) and not name.startswith("__"))
    return ()


def _named_tuple_methods(owner: Owner, line: int) -> dict[str, Member]:
    untold = Signature((Parameter("kwds", ParameterKind.VAR_KEYWORD, False),))
    one = Signature((Parameter("iterable", ParameterKind.POSITIONAL_OR_KEYWORD, True),))
    return {
        "_replace": Member("_replace", owner, MemberKind.INSTANCE_METHOD, False, untold, None, line),
        "_asdict": Member("_asdict", owner, MemberKind.INSTANCE_METHOD, False, Signature(()), None, line),
        "_make": Member("_make", owner, MemberKind.CLASS_METHOD, False, one, None, line),
        "_fields": Member("_fields", owner, MemberKind.ATTRIBUTE, False, None, None, line),
        "_field_defaults": Member("_field_defaults", owner, MemberKind.ATTRIBUTE, False, None, None, line),
    }


def _takes_anything(signature: Signature) -> bool:
    kinds = [each.kind for each in signature.parameters]
    return kinds == [ParameterKind.VAR_POSITIONAL, ParameterKind.VAR_KEYWORD]
