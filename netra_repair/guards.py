"""Code that expects an attribute to be absent: where it guards, and for which attribute.

A guard is looked for from its own place, not from each reference: every `hasattr`, `except AttributeError`,
`pytest.raises` … of a file says which stretches of text it guards.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import libcst as cst

from netra_repair.calls import called, keywords
from netra_repair.decisions import branches, decorated, followers
from netra_repair.layout import Layout, Place
from netra_repair.misfits import expects_misfit, may_be_of_others
from netra_repair.references import Guard
from netra_repair.regions import Region
from netra_repair.string_targets import Probe, StringTarget

# `except Exception`, `suppress(Exception)` and `raises(Exception)` are no guards: they swallow whatever is wrong, which
# is how code that means nothing goes unnoticed. Who writes AttributeError has thought of this attribute.
_RAISES = re.compile(r"raises\w*|assert_?raises\w*", re.IGNORECASE)
_ASSERTS = re.compile(r"assert\w*", re.IGNORECASE)
_ASSERTS_THE_OPPOSITE = re.compile(r"assert_?(?:is_?)?(?:false|not\w*)", re.IGNORECASE)
# What is raised where something that may be absent is.
_OPTIONAL = re.compile(r"raise\s+[\w.]*(?:[Ss]kip|NotImplemented|ImportError|ModuleNotFound|Unsupported)")
_WAYS_ON: tuple[type[cst.CSTNode], ...] = (cst.Return, cst.Break, cst.Continue, cst.Yield)
_VERSIONS = frozenset(
    {"version_info", "hexversion", "python_version", "python_version_tuple", "python_implementation"}
    | {"__version__", "VERSION", "PY2", "PY3", "PYPY"}
)
_PLATFORMS = frozenset({"sys.platform", "sys.implementation.name", "os.name", "platform.system", "platform.machine"})


class Guards:
    """The guards of one file.

    Args:
        layout: of the file.
        targets: all names in its strings.
    """

    def __init__(self, layout: Layout, targets: Iterable[StringTarget]) -> None:
        self._layout = layout
        regions = [
            *self._of_questions(targets),
            *self._of_memberships(),
            *self._of_versions(),
            *self._of_handlers(),
            *self._of_contexts(),
            *self._of_calls(),
        ]
        # Innermost first: of two that guard a place, the shorter one. But a branch for a version last: that it ran does
        # not tell of what is around it.
        self._regions = sorted(regions, key=lambda region: (region.guard is Guard.VERSION, region.end - region.start))

    def of(self, place: Place, attribute: str, receivers: Collection[str], error: str) -> Guard | None:
        """The innermost guard of an attribute.

        Args:
            place: of its name.
            attribute: its name.
            receivers: what it is looked up on, as it may be written.
            error: what Python raises where it is absent: the name of the exception.

        Returns:
            The guard, or None.
        """
        wanted = {_squeezed(receiver) for receiver in receivers}
        for region in self._regions:
            if not region.start <= place[0] < region.end or (region.errors and error not in region.errors):
                continue
            if region.attribute in (None, attribute) and (region.receiver is None or region.receiver in wanted):
                return region.guard
        return None

    def of_call(self, call: cst.Call) -> Guard | None:
        """The innermost guard of a call whose arguments may not fit.

        Whether the callee exists is not asked here. A test that expects any exception counts: it may be made to get it.
        RAISES_OTHERS for one that is not called as TypeErrors are: where that test dies of one, it was not made for it.

        Args:
            call: of this file.

        Returns:
            The guard, or None.
        """
        start, _ = self._layout.inner(call)
        for region in self._regions:
            if not region.start <= start < region.end:
                continue
            if region.guard is Guard.RAISES and region.errors and not any(map(_catches_type_errors, region.errors)):
                return Guard.RAISES_OTHERS
            if region.guard in (Guard.RAISES, Guard.EAGER, Guard.VERSION):
                return region.guard
            if "TypeError" in region.errors:
                return Guard.SWALLOWED if may_be_of_others(self._layout, region, call) else Guard.MISFIT
        return None

    def expects_misfit(self, call: cst.Call) -> bool:
        """Whether a test expects a TypeError, and does nothing there but a call: `with raises(TypeError): f(1)`."""
        return expects_misfit(self._layout, self._regions, call)

    def of_string(self, target: StringTarget) -> Guard | None:
        """The guard of a name in a string: what the call that holds it says of itself, else what is around.

        An assertion that the attribute is there, `assert hasattr(C, "m")`, has none.
        """
        match target.probe:
            case Probe.HAS_A_DEFAULT:
                return Guard.GETATTR_DEFAULT
            case Probe.CREATES_IT:
                return Guard.CREATED
            case Probe.ASKS:
                asserted = self._asserted(target.call)
                return Guard.HASATTR if asserted is None else None if asserted else Guard.ASSERTS_ABSENCE
            case _:
                receiver = target.receiver
                spelled = _endings(target.dotted or "") if receiver is None else [self._layout.text(receiver)]
                return self.of(target.place, target.attribute, spelled, "AttributeError")

    def _of_questions(self, targets: Iterable[StringTarget]) -> Iterator[Region]:
        """`hasattr(X, "m")`, and `getattr(X, "m", default)` where it decides something."""
        for target in targets:
            if target.probe in (Probe.ASKS, Probe.HAS_A_DEFAULT) and target.receiver is not None:
                yield from self._decided(target.call, target.attribute, target.receiver)

    def _of_memberships(self) -> Iterator[Region]:
        """`"m" in dir(X)`, `"m" in vars(X)`, `"m" in X.__dict__`."""
        for comparison in self._layout.of_type(cst.Comparison):
            match comparison:
                case cst.Comparison(
                    left=cst.SimpleString(raw_value=attribute),
                    comparisons=[cst.ComparisonTarget(operator=cst.In() | cst.NotIn(), comparator=names)],
                ):
                    owner = _whose_names(names)
                    if owner is not None:
                        yield from self._decided(comparison, attribute, owner)
                case _:
                    pass

    def _decided(self, question: cst.BaseExpression, attribute: str, receiver: cst.BaseExpression) -> Iterator[Region]:
        spelled = _squeezed(self._layout.text(receiver))
        for start, end in (*branches(self._layout, question), *followers(self._layout, question)):
            yield Region(start, end, Guard.HASATTR, attribute, spelled)

    def _of_versions(self) -> Iterator[Region]:
        """Branches for a version or a platform. What follows a check of the version is for this one."""
        for name in self._layout.of_type(cst.Name):
            if name.value in _VERSIONS:
                yield from self._versioned(name)
        for attribute in self._layout.of_type(cst.Attribute):
            if _squeezed(self._layout.text(attribute)) in _PLATFORMS:
                yield from self._versioned(attribute)

    def _versioned(self, condition: cst.BaseExpression) -> Iterator[Region]:
        for start, end in branches(self._layout, condition):
            yield Region(start, end, Guard.VERSION)

    def _of_handlers(self) -> Iterator[Region]:
        """`try` bodies, by what their handlers name."""
        for plain in self._layout.of_type(cst.Try):
            for is_fatal, guard in ((False, Guard.EXCEPT), (True, Guard.TRANSLATED)):
                handlers = [handler for handler in plain.handlers if self._is_fatal(handler.body) is is_fatal]
                yield from self._handled(plain.body, handlers, guard)
        for starred in self._layout.of_type(cst.TryStar):
            yield from self._handled(starred.body, starred.handlers, Guard.EXCEPT)

    def _handled(
        self, body: cst.BaseSuite, handlers: Sequence[cst.ExceptHandler | cst.ExceptStarHandler], guard: Guard
    ) -> Iterator[Region]:
        types = (handler.type for handler in handlers if handler.type is not None)
        errors = frozenset(name for value in types for name in _exceptions(value))
        if errors:
            places = tuple(map(self._layout.outer, handlers))
            yield Region(*self._layout.outer(body), guard, errors=errors, handlers=places)

    def _is_fatal(self, body: cst.BaseSuite) -> bool:
        """Whether a handler ends by an exception, whatever comes: then nothing works without the attribute."""
        match body:
            case (
                cst.IndentedBlock(body=[*_, cst.SimpleStatementLine(body=[*_, cst.Raise() as raised])])
                | cst.SimpleStatementSuite(body=[*_, cst.Raise() as raised])
            ):
                start, end = self._layout.outer(body)
                ways_on = (node for kind in _WAYS_ON for node in self._layout.of_type(kind))
                goes_on = any(start <= self._layout.outer(node)[0] < end for node in ways_on)
                return not goes_on and _OPTIONAL.match(self._layout.text(raised)) is None
            case _:
                return False

    def _of_contexts(self) -> Iterator[Region]:
        """`with suppress(…)` and `with raises(…)`: from the manager to the end of the block."""
        for statement in self._layout.of_type(cst.With):
            end = self._layout.outer(statement)[1]
            for item in statement.items:
                if isinstance(item.item, cst.Call):
                    guard = _context_guard(item.item)
                    errors = _expected(item.item)
                    if guard is not None and errors:
                        yield Region(self._layout.outer(item)[1], end, guard, errors=errors)

    def _of_calls(self) -> Iterator[Region]:
        """`raises(AttributeError, lambda: …)`, `assertRaises(AttributeError, C.m)`; decorators that expect failure."""
        expected: dict[cst.Call, frozenset[str]] = {}
        for call in self._layout.of_type(cst.Call):
            name = called(call)[0]
            expects = keywords(call).get("raises") if name == "xfail" else None
            errors = _expected(call) if _RAISES.fullmatch(name) else frozenset(_exceptions(expects) if expects else ())
            if errors:
                expected[call] = errors
                yield Region(*self._layout.outer(call), Guard.EAGER, errors=errors)
                body = decorated(self._layout, call)
                if body is not None:
                    yield Region(*body, Guard.RAISES, errors=errors)
        # What stands in such a call and is done when that runs.
        deferred: list[cst.CSTNode] = []
        if expected:
            deferred += (node.body for node in self._layout.of_type(cst.Lambda))
            deferred += (node.elt for node in self._layout.of_type(cst.GeneratorExp))
            deferred += self._layout.of_type(cst.SimpleString)
        for node in deferred:
            around = (parent for _, parent in self._layout.line_of_descent(node) if isinstance(parent, cst.Call))
            errors = next((expected[each] for each in around if each in expected), frozenset())
            if errors:
                yield Region(*self._layout.outer(node), Guard.RAISES, errors=errors)

    def _asserted(self, question: cst.Call) -> bool | None:
        """What an assertion around a question says of the answer; None when there is no assertion around it."""
        name = called(question)[0]
        if _ASSERTS.fullmatch(name):
            return not _ASSERTS_THE_OPPOSITE.fullmatch(name)
        answer = True
        for child, parent in self._layout.line_of_descent(question):
            match parent:
                case cst.UnaryOperation(operator=cst.Not()):
                    answer = not answer
                case cst.Comparison():
                    answer = answer is _compared(parent)
                case cst.Assert():
                    return answer if child is parent.test else None
                case cst.Call() if _ASSERTS.fullmatch(called(parent)[0]):
                    opposite = bool(_ASSERTS_THE_OPPOSITE.fullmatch(called(parent)[0])) is not _is_false_among(parent)
                    return answer is not opposite
                case cst.BaseSmallStatement() | cst.BaseCompoundStatement() | cst.Lambda():
                    return None
                case _:
                    pass
        return None


def _endings(dotted: str) -> list[str]:
    """A dotted path, and what is left of it when it is shortened from the front: all may be what a guard says."""
    parts = dotted.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _catches_type_errors(name: str) -> bool:
    """Whether who expects an exception of that name gets TypeErrors, too: by its own name, or by that of a base."""
    known = getattr(builtins, name, None)
    return isinstance(known, type) and issubclass(TypeError, known)


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _whose_names(names: cst.BaseExpression) -> cst.BaseExpression | None:
    """The object whose attributes' names an expression gives."""
    match names:
        case cst.Call(func=cst.Name(value="dir" | "vars"), args=[cst.Arg(value=owner)]):
            return owner
        case cst.Attribute(value=owner, attr=cst.Name(value="__dict__")):
            return owner
        case _:
            return None


def _context_guard(call: cst.Call) -> Guard | None:
    name = called(call)[0]
    if name == "suppress":
        return Guard.SUPPRESS
    return Guard.RAISES if _RAISES.fullmatch(name) else None


def _expected(call: cst.Call) -> frozenset[str]:
    """The exceptions that a call of `raises`, `assertRaises` or `suppress` names."""
    by_name = keywords(call)
    every = called(call)[0] == "suppress"
    values = [argument.value for argument in call.args if argument.keyword is None][: None if every else 1]
    values += [by_name[name] for name in ("expected_exception", "exception") if name in by_name]
    return frozenset(name for value in values for name in _exceptions(value))


def _exceptions(value: cst.BaseExpression) -> Iterator[str]:
    """The last parts of the names of exceptions: `AttributeError`, `(ImportError, AttributeError)`."""
    match value:
        case cst.Name(value=name) | cst.Attribute(attr=cst.Name(value=name)):
            yield name
        case cst.Tuple(elements=elements):
            for element in elements:
                yield from _exceptions(element.value)
        case _:
            pass


def _compared(comparison: cst.Comparison) -> bool:
    """What a comparison with True or False makes of an answer: False when it turns it round."""
    sides = [comparison.left, *(target.comparator for target in comparison.comparisons)]
    turned = any(isinstance(side, cst.Name) and side.value == "False" for side in sides)
    for target in comparison.comparisons:
        turned ^= isinstance(target.operator, cst.IsNot | cst.NotEqual)
    return not turned


def _is_false_among(call: cst.Call) -> bool:
    return any(isinstance(argument.value, cst.Name) and argument.value.value == "False" for argument in call.args)
