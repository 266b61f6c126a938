"""What an exception, and those it came from, say of undefined things. The facts are the fields of `failures.Raised`."""

from __future__ import annotations

import dis
import inspect
import os
import re
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .job import MESSAGE_LENGTH, said, text_of
from .places import places_of, position, without_forwarders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from .job import Job
    from .places import Facts, Fallback, Place

_CHAIN_LENGTH = 50  # more exceptions than that tell nothing new

_NO_ATTRIBUTE = re.compile(
    r"(?:(?P<module>module) '(?P<receiver>[\w.]+)'|(?P<class>type object) '.*?'|.*?) has no attribute '(?P<name>\w+)'"
)
_NO_NAME = re.compile(r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)'")
# What the interpreter says when arguments do not bind, with the kind of cause.
_UNBOUND = tuple(
    (kind, re.compile(r"^(?P<callee>[\w.<>]+)\(\) " + words))
    for kind, words in (
        ("unexpected-keyword", r"got an unexpected keyword argument (?P<names>'\w+')"),
        ("unexpected-keyword", r"got multiple values for argument (?P<names>'\w+')"),
        ("unexpected-keyword", r"got some positional-only arguments passed as keyword arguments: (?P<names>'.*')"),
        ("missing-argument", r"missing \d+ required (?:positional|keyword-only) arguments?: (?P<names>'.*')"),
        ("positional-count", r"takes .*positional arguments? but .* (?:was|were) given(?P<names>)"),
    )
)


def raised_by(job: Job, error: BaseException, fallback: Fallback) -> list[Facts]:
    """Describes every exception of a chain that speaks of something undefined.

    Args:
        job: knows which files are the project's.
        error: what ended a phase of a test or a collection.
        fallback: from the missing name, path and line when no frame is the project's.

    Returns:
        Outermost first, each once.
    """
    found: dict[tuple[Any, ...], Facts] = {}
    for link, places in islice(_chain(job, error), _CHAIN_LENGTH):
        for facts in _told(job, link, places, fallback):
            identity = tuple(facts[key] for key in ("kind", "receiver", "name", "callee", "path", "line"))
            identity += tuple(map(tuple, filter(None, (facts["start"], facts["end"]))))
            found.setdefault(identity, facts)
    return list(found.values())


def raised_at(job: Job, error: BaseException, traceback: TracebackType) -> list[Facts]:
    """Describes one exception that is on its way, without those it came from.

    Args:
        job: knows which files are the project's.
        error: the exception.
        traceback: from a frame of the project to where it was raised.
    """
    return _told(job, error, list(places_of(job, traceback)), lambda _: ("", 0))


def _chain(job: Job, error: BaseException) -> Iterator[tuple[BaseException, list[Place]]]:
    """The exception, the members of a group, and what each was raised from or during.

    Also where that is hidden by `from None`: it is hidden from readers, and happened all the same.

    Each comes with its frames, and before them those of the exception it led to: one that a library raised and caught
    has no frame of the project.
    """
    waiting: list[tuple[BaseException, list[Place]]] = [(error, [])]
    seen = set()
    while waiting:
        link, around = waiting.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        places = [*around, *places_of(job, link.__traceback__)]
        yield link, places
        earlier = link.__cause__ or link.__context__
        waiting += [] if earlier is None else [(earlier, places)]
        # Also the backport's groups.
        if any(base.__name__ == "BaseExceptionGroup" for base in type(link).__mro__):
            waiting += [(member, places) for member in reversed(link.exceptions)]  # type: ignore[attr-defined]


def _told(job: Job, error: BaseException, places: list[Place], fallback: Fallback) -> list[Facts]:
    try:
        return _described(error, places, fallback)
    except Exception as fault:  # a class of the project that fails at being looked at
        job.write(note=f"{said(error)}: cannot be described: {said(fault)}")
        return []


def _described(error: BaseException, places: list[Place], fallback: Fallback) -> list[Facts]:
    message = text_of(error)
    if "partially initialized module" in message:
        return []  # a circle of imports: the name comes later, nothing is undefined
    if isinstance(error, AttributeError):
        facts = _missing_attribute(error, message, places)
        places = without_forwarders(places, facts[0]["name"]) if facts else places
    elif isinstance(error, ImportError):
        facts = _missing_import(message)
    elif isinstance(error, TypeError):
        facts = _unbound_call(message, places)
    else:
        facts = []
    for fact in facts:
        fact.update(position(places, fact["kind"], fact["name"], fallback), message=message[:MESSAGE_LENGTH])
    return [fact for fact in facts if fact["path"].endswith(".py")]


def _fact(
    kind: str,
    name: str,
    receiver: str | None = None,
    access: str | None = None,
    bases: tuple[str, ...] = (),
    callee: str | None = None,
) -> Facts:
    return {"kind": kind, "name": name, "receiver": receiver, "access": access, "bases": bases, "callee": callee}


def _missing_attribute(error: AttributeError, message: str, places: list[Place]) -> list[Facts]:
    kind = "missing-attribute"
    asked = _asked(error, message, places)
    if asked is not None:
        receiver, name = asked
        # A property that raised, or a slot without a value, is defined.
        return [] if _is_defined(receiver, name) else [_fact(kind, name, *_receiver(receiver))]
    told = _NO_ATTRIBUTE.search(message)
    if told is None:
        return [_fact(kind, message)] if message.isidentifier() else []
    access = "module" if told["module"] else "class" if told["class"] else "instance"
    return [_fact(kind, told["name"], told["receiver"], access)]


def _asked(error: AttributeError, message: str, places: list[Place]) -> tuple[Any, str] | None:
    """The object and the attribute it was asked for: from the exception (3.10), or from a patching library's frame."""
    name, receiver = getattr(error, "name", None), getattr(error, "obj", None)
    if isinstance(name, str) and (receiver is not None or "'NoneType'" in message):
        return receiver, name
    if not places:
        return None
    code, values = places[-1].frame.f_code, places[-1].frame.f_locals
    where = (os.path.basename(code.co_filename), code.co_name)
    if where == ("mock.py", "get_original"):
        receiver, name = values["target"], values["self"].attribute
    elif where in (("monkeypatch.py", "setattr"), ("monkeypatch.py", "delattr")):
        receiver, name = values["target"], values["name"]
    elif where == ("monkeypatch.py", "annotated_getattr"):
        receiver, name = values["obj"], values["name"]
    else:
        return None
    return (receiver, name) if isinstance(name, str) else None


def _is_defined(receiver: Any, name: str) -> bool:
    try:
        inspect.getattr_static(receiver, name)
    except AttributeError:
        return False
    return True


def _receiver(receiver: Any) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Qualified name, access and bases of what was asked. Looks at `type()`: a mock lies about its `__class__`."""
    kind = type(receiver)
    if issubclass(kind, ModuleType):
        return str(vars(receiver).get("__name__")), "module", ()
    if kind is super:
        bases = receiver.__self_class__.__mro__
        after = bases[bases.index(receiver.__thisclass__) + 1 :]
        return _qualified(after[0]), _access(receiver.__self__), tuple(map(_qualified, after))
    if any(base.__name__ == "NonCallableMock" for base in kind.__mro__):
        return _mocked(vars(receiver))
    cls = receiver if issubclass(kind, type) else kind
    return _qualified(cls), _access(receiver), tuple(map(_qualified, cls.__mro__))


def _mocked(mock: dict[str, Any]) -> tuple[str | None, str | None, tuple[str, ...]]:
    specification = mock.get("_spec_class")
    if not isinstance(specification, type):
        return None, "instance", ()
    # Of a class, create_autospec makes a mock whose call gives a mock with the same specification.
    made = getattr(mock.get("_mock_return_value"), "__dict__", {})
    access = "class" if made.get("_spec_class") is specification else "instance"
    return _qualified(specification), access, tuple(map(_qualified, specification.__mro__))


def _access(receiver: Any) -> str:
    return "class" if issubclass(type(receiver), type) else "instance"


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _missing_import(message: str) -> list[Facts]:
    told = _NO_NAME.search(message)
    return [] if told is None else [_fact("missing-import", told["name"], told["module"], "module")]


def _unbound_call(message: str, places: list[Place]) -> list[Facts]:
    """From the interpreter's own words only, which come from the frame of the call; a `raise` may say anything."""
    if not places or _is_raise(places[-1]):
        return []
    for kind, words in _UNBOUND:
        told = words.search(message)
        if told is not None:
            names = [word for word in re.findall(r"\w+", told["names"]) if word != "and"]
            return [_fact(kind, name, callee=told["callee"]) for name in names or [""]]
    return []


def _is_raise(place: Place) -> bool:
    code = place.frame.f_code.co_code
    return place.instruction >= 0 and dis.opname[code[place.instruction]].startswith(("RAISE", "RERAISE"))
