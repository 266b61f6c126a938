"""Modules of the standard library that have no source: a stub of what the running interpreter shows of them.

Only the standard library's own compiled modules are ever imported here, never the project's code.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from keyword import iskeyword
from types import ModuleType


def stub_of(name: str) -> str | None:
    """Writes what a compiled module of the standard library defines as Python source.

    Args:
        name: a top-level module.

    Returns:
        Its stub; None when it is no compiled module of the standard library, or is not in this interpreter.
    """
    if name not in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(name)
        if spec is None or (spec.origin or "").endswith((".py", ".pyc")) or spec.origin == "frozen":
            return None
        module = importlib.import_module(name)
    except (ImportError, ValueError):
        return None
    return "\n".join(_lines(module)) + "\n"


def _lines(module: ModuleType) -> Iterator[str]:
    for name, value in sorted(vars(module).items()):
        if not name.isidentifier() or iskeyword(name):
            continue
        if isinstance(value, type) and value.__name__ == name:
            yield from _class(value, module)
        elif isinstance(value, type) and _is_in(value, module):
            yield f"{name} = {value.__name__}"
        elif callable(value):
            yield from _function(name, value, "")
        else:
            yield f"{name} = ..."


def _class(value: type, module: ModuleType) -> Iterator[str]:
    bases = [_base(base, module) for base in value.__bases__]
    yield from [f"import {base.rpartition('.')[0]}" for base in bases if "." in base]
    yield f"class {value.__name__}({', '.join(bases)}):"
    yield "    ..."
    for name, member in sorted(vars(value).items()):
        # Every compiled class has `__getattribute__` in its slots; it is the one of `object`.
        if not name.isidentifier() or iskeyword(name) or name in ("__getattribute__", "__doc__"):
            continue
        if isinstance(member, classmethod | staticmethod) or inspect.ismethoddescriptor(member) or callable(member):
            yield from _method(name, member, value)
        elif inspect.isdatadescriptor(member):
            yield from ["    @property", f"    def {name}(self): ..."]
        else:
            yield f"    {name} = ..."


def _base(base: type, module: ModuleType) -> str:
    return base.__name__ if _is_in(base, module) else f"{base.__module__}.{base.__qualname__}"


def _is_in(value: type, module: ModuleType) -> bool:
    return vars(module).get(value.__name__) is value


def _method(name: str, member: object, owner: type) -> Iterator[str]:
    if isinstance(member, type):
        yield f"    {name} = ..."
        return
    if isinstance(member, staticmethod) or name == "__new__":
        yield "    @staticmethod"
    elif isinstance(member, classmethod) or type(member).__name__ == "classmethod_descriptor":
        yield "    @classmethod"
    yield from _function(name, getattr(owner, name, member), "    ")


def _function(name: str, value: object, indent: str) -> Iterator[str]:
    bound = inspect.ismethod(value) or (inspect.isbuiltin(value) and isinstance(value.__self__, type))
    try:
        parameters = list(inspect.signature(value).parameters.values())  # type: ignore[arg-type]  # callers checked it
    except (TypeError, ValueError, NameError, AttributeError):  # its text signature does not hold
        yield f"{indent}@untold"  # an unknown decorator leaves it open what a call takes
        yield f"{indent}def {name}(*args, **kwargs): ..."
        return
    first = [inspect.Parameter("cls", inspect.Parameter.POSITIONAL_ONLY)] if bound and indent else []
    shown = inspect.Signature(
        [*first, *(each.replace(default=_shown(each), annotation=each.empty) for each in parameters)]
    )
    yield f"{indent}def {name}{str(shown).replace('=Ellipsis', '=...')}: ..."


def _shown(parameter: inspect.Parameter) -> object:
    return parameter.empty if parameter.default is parameter.empty else ...
