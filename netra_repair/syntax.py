"""Places in a file that name an attribute, as its syntax tree shows them. Says nothing about types."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

import libcst as cst

from netra_repair.awaiting import is_awaited
from netra_repair.calls import arguments, called
from netra_repair.excerpts import Stretch
from netra_repair.guards import Guards
from netra_repair.imported_names import ImportedNames
from netra_repair.layout import Layout, Place
from netra_repair.namings import Naming, Namings
from netra_repair.references import Argument, Guard, Reference, Use
from netra_repair.source import Source, Span, UnparsableSource
from netra_repair.string_targets import Probe
from netra_repair.value_uses import calls_of

_FORMATTED = (cst.FormattedStringExpression, cst.TemplatedStringExpression)

# What takes a callable, and nothing else, first and with its first arguments, or as its target.
_TAKES_FIRST = frozenset({"asyncio.to_thread", "functools.partial", "functools.partialmethod"})
_TAKES_TARGET = frozenset({"multiprocessing.Process", "threading.Thread"})
_TAKERS = frozenset(name.rpartition(".")[2] for name in _TAKES_FIRST | _TAKES_TARGET)


class Syntax:
    """A file's syntax: parsed when it is first needed, and then kept.

    Every question that needs the tree raises UnparsableSource when there is none, or when a position is not certain.

    Args:
        source: the file.
        module: its own dotted name, which relative imports need; "" when that is not known.
        left_out: stretches of whole lines of which nothing is asked.
    """

    def __init__(self, source: Source, module: str = "", left_out: Sequence[Stretch] = ()) -> None:
        self.source = source
        self._module = module
        self._left_out = left_out

    @classmethod
    def parse(cls, source: Source, module: str = "", left_out: Sequence[Stretch] = ()) -> Syntax:
        """Parses a file at once.

        Args:
            source: the file.
            module: its own dotted name; "" when that is not known.
            left_out: stretches of whole lines of which nothing is asked; see `Excerpts`.

        Returns:
            The syntax.

        Raises:
            UnparsableSource: when it is not Python, or not so that every position is certain.
        """
        syntax = cls(source, module, left_out)
        _ = syntax._layout
        return syntax

    def references(self, names: Collection[str]) -> tuple[Reference, ...]:
        """Every place that names one of some attributes.

        Attributes, `from m import name`, and strings that are looked up as attributes: `patch("pkg.C.name")`,
        `patch.object(C, "name")`, `getattr(C, "name")` and the like. A file in whose text none of the names occurs is
        not parsed.

        Args:
            names: of the attributes.

        Returns:
            The places, in order of position.
        """
        return tuple(self._reference(naming) for naming in self._named(names))

    def ending_at(self, offset: int) -> Reference | None:
        """The attribute, imported name or string that ends at a byte of the file.

        Args:
            offset: after the last byte of the name; for a string also after its quote.

        Returns:
            The place; None when no attribute's name ends there.
        """
        naming = self._namings.ending_at(self.source.index_of_offset(offset))
        return None if naming is None else self._reference(naming)

    def call_covering(self, span: Span) -> Reference | None:
        """The innermost call whose callee, arguments or parentheses contain a span: what checkers say about calls.

        Its guard is about arguments that do not fit: `except TypeError`, or a test that expects any exception.

        Args:
            span: what is marked.

        Returns:
            The call, without receiver where a plain name is called; None when there is none, or what it calls has no
            name.
        """
        start, end = self.source.index_of_offset(span.start), self.source.index_of_offset(span.end)
        covering: cst.Call | None = None
        for call in self._layout.of_type(cst.Call):
            first, last = self._layout.inner(call)
            if first <= start and end <= last:
                covering = call  # calls come from the outside in: one that comes later and covers is inside
        if covering is None:
            return None
        guard = self._guards.of_call(covering)
        match covering.func:
            case cst.Attribute(attr=name):
                naming = self._namings.ending_at(self._layout.outer(name)[1])
                return None if naming is None else self._made(naming, guard)
            case cst.Name(value=name) as function:
                place = self._layout.inner(function)
                return self._made(Naming(name, place, None, place, function, Use.CALL, covering), guard)
            case _:
                return None

    def expects_misfit(self, reference: Reference) -> bool:
        """Whether a test expects a TypeError, and does nothing there but the call of a reference of this file."""
        naming = self._namings.ending_at(self.source.index_of_offset(reference.name.end))
        return naming is not None and naming.call is not None and self._guards.expects_misfit(naming.call)

    def imported_as(self, reference: Reference) -> str | None:
        """What stands left of the dot, by the file's imports and its own classes alone.

        Args:
            reference: of this file.

        Returns:
            The fully qualified name, "pkg.ctx.Ctx"; None when it is neither, or may be something else as well.
        """
        naming = self._namings.ending_at(self.source.index_of_offset(reference.name.end))
        match None if naming is None else naming.owner:
            case cst.ImportFrom() as statement:
                return self._imported_names.module(statement)
            case cst.BaseExpression() as expression:
                return self._imported_names.qualified(expression)
            case owner:
                return owner

    def writers(self, names: Collection[str]) -> tuple[Reference, ...]:
        """Places that set or delete one of some attributes, so that no class tells any more whether it has it.

        `C.m = …`, `del C.m`, `setattr(C, "m", …)`, `delattr(C, "m")`, and patches that create it.

        Args:
            names: of the attributes.

        Returns:
            The places, in order of position.
        """
        return tuple(
            self._reference(naming)
            for naming in self._named(names)
            if naming.use in (Use.ASSIGNMENT, Use.DELETION)
            or (naming.target is not None and naming.target.probe in (Probe.CREATES_IT, Probe.DELETES_IT))
        )

    def _named(self, names: Collection[str]) -> Sequence[Naming]:
        occurring = frozenset(name for name in names if name in self.source.text)
        if not occurring:
            return ()
        return sorted(self._namings.of(occurring), key=lambda naming: naming.place)

    def _reference(self, naming: Naming) -> Reference:
        if naming.target is not None:
            return self._made(naming, self._guards.of_string(naming.target))
        place = self._owner_place(naming.owner)
        spelled = () if place is None else (self.source.text[slice(*place)],)
        error = "ImportError" if naming.use is Use.IMPORT else "AttributeError"
        return self._made(naming, self._guards.of(naming.place, naming.attribute, spelled, error))

    def _made(self, naming: Naming, guard: Guard | None) -> Reference:
        name, call = self._layout.span(naming.place), naming.call
        receiver = self._owner_place(naming.owner)
        if self.source.slice(name) != naming.attribute:
            raise UnparsableSource(self.source.path, f"the place of `{naming.attribute}` is not certain")
        return Reference(
            path=self.source.path,
            attribute=naming.attribute,
            name=name,
            position=self.source.position(name.start),
            receiver=None if receiver is None else self._layout.span(receiver),
            expression=self._layout.span(naming.expression),
            use=naming.use,
            awaited=call is not None and is_awaited(self._layout, call),
            arguments=None if call is None else arguments(self._layout, call),
            call=None if call is None else self._layout.span(self._layout.inner(call)),
            guard=guard,
            scope=self._scope(naming.node),
            in_string=any(isinstance(parent, _FORMATTED) for _, parent in self._layout.line_of_descent(naming.node)),
            passed_on=naming.use is Use.REFERENCE and self._is_passed_on(naming.node),
            called_later=self._called_later(naming.node) if naming.use is Use.REFERENCE else None,
        )

    def _owner_place(self, owner: cst.BaseExpression | cst.ImportFrom | str | None) -> Place | None:
        match owner:
            case cst.ImportFrom(relative=dots, module=module):
                parts = [*dots, *([] if module is None else [module])]
                return self._layout.outer(parts[0])[0], self._layout.outer(parts[-1])[1]
            case cst.BaseExpression():
                return self._layout.inner(owner)
            case _:
                return None

    def _is_passed_on(self, node: cst.CSTNode) -> bool:
        match self._layout.parent(node):
            case cst.Arg() as argument:
                return isinstance(self._layout.parent(argument), cst.Call)
            case cst.Assign(value=kept) | cst.AnnAssign(value=kept) | cst.Return(value=kept):
                return kept is node
            case cst.Element():
                return True
            case cst.DictElement(value=kept):
                return kept is node
            case cst.BooleanOperation() | cst.IfExp():
                return self._is_one_of_callables(node)
            case _:
                return False

    def _is_one_of_callables(self, node: cst.CSTNode) -> bool:
        """Whether what is called by a name afterwards is this or another: `check = strict and x.same or x.like`."""
        line = list(self._layout.line_of_descent(node))
        for child, parent in line:
            match parent:
                case cst.BooleanOperation(left=tested) | cst.IfExp(test=tested):
                    if tested is child:
                        return False  # it decides, and is not what the whole gives
                case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=name))]):
                    functions = (each for _, each in line if isinstance(each, cst.FunctionDef))
                    place = self._layout.span(self._layout.outer(next(functions, line[-1][1])))
                    begins = self._layout.span(self._layout.outer(parent)).end
                    calls = (call for call in calls_of(self._layout, name) if begins <= call.start < place.end)
                    return any(calls)
                case _:
                    return False
        return False

    def _called_later(self, node: cst.CSTNode) -> tuple[Argument, ...] | None:
        argument = self._layout.parent(node)
        if not isinstance(argument, cst.Arg):
            return None
        call = self._layout.parent(argument)
        if not isinstance(call, cst.Call) or called(call)[0] not in _TAKERS:
            return None
        taker = self._imported_names.qualified(call.func)
        if argument.keyword is not None:
            return () if argument.keyword.value == "target" and taker in _TAKES_TARGET else None
        is_first = argument is call.args[0] and not argument.star
        return arguments(self._layout, call)[1:] if is_first and taker in _TAKES_FIRST else None

    def _scope(self, node: cst.CSTNode) -> str:
        """The functions and classes in whose bodies a node is."""
        names = [
            parent.name.value
            for child, parent in self._layout.line_of_descent(node)
            if isinstance(parent, cst.FunctionDef | cst.ClassDef) and child is parent.body
        ]
        return ".".join(reversed(names))

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self.source, self._left_out)

    @cached_property
    def _namings(self) -> Namings:
        return Namings(self._layout)

    @cached_property
    def _guards(self) -> Guards:
        return Guards(self._layout, self._namings.strings)

    @cached_property
    def _imported_names(self) -> ImportedNames:
        return ImportedNames(self._layout, self._module)
