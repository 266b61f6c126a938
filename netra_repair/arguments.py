"""Whether the arguments of a call bind to a signature, and the keywords that make them. No value is ever invented,
and no argument changes its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from netra_repair.edits import Edit
from netra_repair.owners import Parameter, ParameterKind, Signature
from netra_repair.references import Argument, Star
from netra_repair.refusals import Reason, Refusal
from netra_repair.source import Span

_BY_POSITION = (ParameterKind.POSITIONAL_ONLY, ParameterKind.POSITIONAL_OR_KEYWORD)
_BY_NAME = (ParameterKind.POSITIONAL_OR_KEYWORD, ParameterKind.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Bound:
    """Every argument reaches a parameter, and every required parameter gets one.

    Attributes:
        edits: the keywords to insert or to rename for that, in order of position; none when the call fits as it is.
        parameters: for each argument the parameter that takes it, or the variadic one.
    """

    edits: tuple[Edit, ...]
    parameters: tuple[str, ...] = field(default=(), compare=False)


def bind(
    arguments: Sequence[Argument],
    signature: Signature,
    *,
    renamed: Mapping[str, str] | None = None,
    before: Signature | None = None,
) -> Bound | Refusal:
    """Proves that a call fits a signature, and finds the edits that it needs for it.

    Args:
        arguments: of the call, in order.
        signature: what is called, without what the lookup binds.
        renamed: parameters that got another name, old to new, where history or a person proves it.
        before: what the call was written for, when history knows it: it tells what each position meant.

    Returns:
        The binding, or why there is none that is certain.
    """
    if is_spread(arguments):
        return _bind_spread(arguments, signature, before)
    binding = _Binding(signature, {}, [], [])
    positional = [argument for argument in arguments if argument.keyword is None]
    given = {argument.keyword for argument in arguments}
    targets = _meant(positional, signature, given, renamed or {}, before)
    if isinstance(targets, Refusal):
        return targets
    for argument, target in zip(positional, targets, strict=True):
        refusal = binding.pass_by_position(argument, target)
        if refusal is not None:
            return refusal
    for argument in arguments[len(positional) :]:
        refusal = binding.pass_by_name(argument, renamed or {})
        if refusal is not None:
            return refusal
    return binding.finished()


def is_spread(arguments: Iterable[Argument]) -> bool:
    """Whether some of a call's arguments are spread by `*` or `**`, so that only the running program knows them."""
    return any(argument.star is not Star.NONE for argument in arguments)


def accepts_keyword(signature: Signature, name: str) -> bool:
    """Whether a signature has a parameter of a name that may be passed by it; `**kwargs` does not count."""
    return any(parameter.name == name and parameter.kind in _BY_NAME for parameter in signature.parameters)


@dataclass(frozen=True, slots=True)
class _Binding:
    """The binding of one call while it is made.

    Attributes:
        signature: what is called.
        taken: the argument of each parameter that has one.
        edits: so far.
        parameters: so far, by argument.
    """

    signature: Signature
    taken: dict[str, Argument]
    edits: list[Edit]
    parameters: list[str]

    def pass_by_position(self, argument: Argument, target: _Target) -> Refusal | None:
        """Binds a positional argument; one that is to be passed by name gets its keyword."""
        name = target.parameter.name
        if target.parameter.kind is not ParameterKind.VAR_POSITIONAL:
            if name in self.taken:
                return Refusal(Reason.TOO_MANY_ARGUMENTS, f"the parameter `{name}` would be given twice")
            self.taken[name] = argument
        if target.by_name:
            before, behind = (f"{name}=(", ")") if argument.bare else (f"{name}=", "")
            self.edits.append(Edit(Span(argument.span.start, argument.span.start), before))
            if behind:
                self.edits.append(Edit(Span(argument.span.end, argument.span.end), behind))
        self.parameters.append(name)
        return None

    def pass_by_name(self, argument: Argument, renamed: Mapping[str, str]) -> Refusal | None:
        """Binds a keyword argument, under its new name if it has one."""
        keyword = argument.keyword or ""
        name = keyword if accepts_keyword(self.signature, keyword) else renamed.get(keyword, keyword)
        if not accepts_keyword(self.signature, name):
            variadic = _of_kind(self.signature, ParameterKind.VAR_KEYWORD)
            if not variadic:
                return Refusal(Reason.UNKNOWN_KEYWORD, _unknown(self.signature, keyword))
            self.parameters.append(variadic[0].name)
            return None
        if name in self.taken:
            return Refusal(Reason.TOO_MANY_ARGUMENTS, f"the parameter `{name}` would be given twice")
        self.taken[name] = argument
        if name != keyword and argument.keyword_span is not None:
            self.edits.append(Edit(argument.keyword_span, name))
        self.parameters.append(name)
        return None

    def finished(self) -> Bound | Refusal:
        """The binding, if nothing that is required is missing."""
        missing = [each.name for each in self.signature.parameters if each.required and each.name not in self.taken]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            return Refusal(Reason.NEEDS_INPUT, f"no argument is passed for {names}: write the value at the call")
        return Bound(tuple(self.edits), tuple(self.parameters))


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a positional argument goes.

    Attributes:
        parameter: what takes it.
        by_name: whether it must be passed by name.
    """

    parameter: Parameter
    by_name: bool = False


def _meant(
    positional: Sequence[Argument],
    signature: Signature,
    given: Collection[str | None],
    renamed: Mapping[str, str],
    before: Signature | None,
) -> list[_Target] | Refusal:
    """The parameter that each positional argument is meant for."""
    slots = _of_kind(signature, *_BY_POSITION)
    rest = _of_kind(signature, ParameterKind.VAR_POSITIONAL)
    targets: list[_Target] = []
    for index, argument in enumerate(positional):
        here = slots[index] if index < len(slots) else rest[0] if rest else None
        meant = _name_at(before, index, renamed)
        if before is None or meant is None:
            if here is None:
                excess = _excess(positional[index:], signature, given, len(targets))
                return excess if isinstance(excess, Refusal) else [*targets, *excess]
            swapped = _other_parameter(argument, here, signature) if before is None else None
            if swapped is not None:
                return Refusal(
                    Reason.NEEDS_INPUT,
                    f"the value called `{swapped}` would be passed as `{here.name}`, beside a parameter of its name",
                )
            target = _Target(here)
        else:
            found = _by_meaning(argument, here, meant, signature)
            if isinstance(found, Refusal):
                return found
            target = found
        if targets and targets[-1].by_name and not target.by_name:
            # A positional argument cannot follow a keyword, so that it becomes one too.
            if target.parameter.kind is not ParameterKind.POSITIONAL_OR_KEYWORD:
                return _out_of_order(target.parameter.name)
            target = _Target(target.parameter, True)
        targets.append(target)
    return targets


def _by_meaning(argument: Argument, here: Parameter | None, meant: str, signature: Signature) -> _Target | Refusal:
    """The target of an argument that history knows the meaning of."""
    if here is not None and here.name == meant:
        return _Target(here)
    for parameter in signature.parameters:
        if parameter.name == meant and parameter.kind in _BY_NAME:
            return _Target(parameter, True)
        if parameter.name == meant and parameter.kind is ParameterKind.POSITIONAL_ONLY:
            return _out_of_order(meant)
    if here is not None and here.kind is ParameterKind.VAR_POSITIONAL:
        return Refusal(
            Reason.NEEDS_INPUT, f"nothing takes `{meant}` any more, and `*{here.name}` may mean another thing"
        )
    if here is not None and argument.name == here.name:
        return _Target(here)
    return Refusal(Reason.NEEDS_INPUT, f"nothing takes `{meant}` any more: say what becomes of its value")


def _excess(
    positional: Sequence[Argument], signature: Signature, given: Collection[str | None], before: int
) -> list[_Target] | Refusal:
    """The keyword-only parameters that take the positional arguments for which there is no position."""
    named = [each for each in _of_kind(signature, ParameterKind.KEYWORD_ONLY) if each.name not in given]
    if not named:
        allowed = len(_of_kind(signature, *_BY_POSITION))
        return Refusal(
            Reason.TOO_MANY_ARGUMENTS,
            f"{before + len(positional)} arguments are passed by position, and at most {allowed} can be",
        )
    by_own_name = {parameter.name: parameter for parameter in named}
    found = [by_own_name.get(argument.name or "") for argument in positional]
    if None in found and len(positional) == 1 and len(named) == 1 and named[0].required:
        found = [named[0]]
    certain = [_Target(parameter, True) for parameter in found if parameter is not None]
    if len(certain) < len(positional):
        names = ", ".join(f"`{parameter.name}`" for parameter in named)
        return Refusal(Reason.NEEDS_INPUT, f"an argument must be passed by name, and it is open which: {names}")
    return certain


def _name_at(before: Signature | None, index: int, renamed: Mapping[str, str]) -> str | None:
    """What a position meant, under the name that it has now; None when it is not known."""
    if before is None:
        return None
    slots = _of_kind(before, *_BY_POSITION)
    if index >= len(slots):
        return None
    return renamed.get(slots[index].name, slots[index].name)


def _other_parameter(argument: Argument, here: Parameter, signature: Signature) -> str | None:
    """The parameter that an argument is called like, when it is not the one that would take it."""
    if argument.name is None or argument.name == here.name:
        return None
    return argument.name if accepts_keyword(signature, argument.name) else None


def _bind_spread(arguments: Sequence[Argument], signature: Signature, before: Signature | None) -> Bound | Refusal:
    """Binds what is spread where it fits whatever it holds: the signature is as it was; or nothing is known of that,
    and a variadic parameter takes all of it, and no other one can get a second value."""
    if before == signature:
        return Bound((), tuple(argument.keyword or "" for argument in arguments))
    written = [argument for argument in arguments if argument.star is Star.NONE]
    bound = bind(written, signature)
    if before is None and isinstance(bound, Bound) and not bound.edits:
        takers = iter(bound.parameters)
        variadic = {Star.SEQUENCE: _rest(arguments, signature), Star.MAPPING: _others(arguments, bound, signature)}
        found = [next(takers) if each.star is Star.NONE else variadic[each.star] for each in arguments]
        if None not in found:
            return Bound((), tuple(filter(None, found)))
    return Refusal(
        Reason.STAR_ARGUMENTS,
        "`*` or `**` spreads values that only the running program knows: compare the parameters by hand",
    )


def _rest(arguments: Sequence[Argument], signature: Signature) -> str | None:
    """The parameter that takes all that a `*` spreads: when what is passed by position before it fills every one."""
    positional = [argument for argument in arguments if argument.keyword is None and argument.star is not Star.MAPPING]
    before = next((index for index, argument in enumerate(positional) if argument.star is Star.SEQUENCE), 0)
    rest = _of_kind(signature, ParameterKind.VAR_POSITIONAL)
    return rest[0].name if rest and before >= len(_of_kind(signature, *_BY_POSITION)) else None


def _others(arguments: Sequence[Argument], bound: Bound, signature: Signature) -> str | None:
    """The parameter that takes what one `**` spreads: when no name has a value already that may be in there."""
    others = _of_kind(signature, ParameterKind.VAR_KEYWORD)
    named = {parameter.name for parameter in (*_of_kind(signature, *_BY_NAME), *others)}
    is_only_one = sum(argument.star is Star.MAPPING for argument in arguments) == 1
    return others[0].name if others and is_only_one and named.isdisjoint(bound.parameters) else None


def _out_of_order(name: str) -> Refusal:
    return Refusal(
        Reason.EVALUATION_ORDER,
        f"`{name}` can only be passed by position, at another place: moving it would change the order of evaluation",
    )


def _unknown(signature: Signature, keyword: str) -> str:
    if any(parameter.name == keyword for parameter in signature.parameters):
        return f"`{keyword}` can only be passed by position"
    return f"no parameter is called `{keyword}` in {signature}"


def _of_kind(signature: Signature, *kinds: ParameterKind) -> list[Parameter]:
    return [parameter for parameter in signature.parameters if parameter.kind in kinds]
