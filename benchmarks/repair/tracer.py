"""A pytest plugin that writes down who really asked which class for which attribute, and who really called what.

It runs inside a package's own environment, with the standard library and pytest alone, and knows nothing of types: a
recording descriptor stands in place of every method and property of the project's classes, and the interpreter's
profile hook sees every call. What it writes is joined with the syntax trees by `truth.py`.

    NETRA_TRACE_ROOT=TREE NETRA_TRACE_TO=FILE python -m pytest -p tracer --assert=plain
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

ROOT = os.path.realpath(os.environ["NETRA_TRACE_ROOT"]) + os.sep
TARGET = os.environ["NETRA_TRACE_TO"]

# Code objects go by their id, which is quick to look up; `codes` keeps them alive. A place is code and instruction.
# Who asked: the place. What for: the name, the class that defines it (its number below), class or instance.
Asked = tuple[int, int, str, int, bool]
# Who called: the place. What: a function's code, or the name of one that is not the project's.
Called = tuple[int, int, "int | str"]

classes: list[type] = []
asked: dict[Asked, set[int]] = {}
called: dict[Called, set[int]] = {}
tests: list[str] = ["(import)"]
outcomes: dict[str, str] = {}
names: set[str] = set()
codes: dict[int, CodeType] = {}
inside: dict[int, bool] = {}


def is_inside(code: CodeType) -> bool:
    """Whether code was compiled from a file of the project; remembers the code."""
    known = inside.get(id(code))
    if known is None:
        codes[id(code)] = code
        known = inside[id(code)] = os.path.realpath(code.co_filename).startswith(ROOT)
    return known


class Recorder:
    """Stands in place of a method: says who looks it up, and gives what the method would have given."""

    def __init__(self, original: Any, owner: int, name: str) -> None:
        self.original = original
        self.owner = owner
        self.attribute = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        note(sys._getframe(1), self.attribute, self.owner, instance is not None)
        return self.original.__get__(instance, owner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class DataRecorder(Recorder):
    """Stands in place of a property."""

    def __set__(self, instance: object, value: object) -> None:
        self.original.__set__(instance, value)

    def __delete__(self, instance: object) -> None:
        self.original.__delete__(instance)


def note(frame: FrameType, name: str, owner: int, is_instance: bool) -> None:
    """One lookup."""
    is_inside(frame.f_code)
    asked.setdefault((id(frame.f_code), frame.f_lasti, name, owner, is_instance), set()).add(len(tests) - 1)


def profile(frame: FrameType, event: str, argument: Any) -> None:
    """One call: of a function of the project from anywhere, or of anything else from the project."""
    if event == "c_call":
        name = getattr(argument, "__name__", "")
        if name in names and is_inside(frame.f_code):
            called.setdefault((id(frame.f_code), frame.f_lasti, name), set()).add(len(tests) - 1)
        return
    caller = frame.f_back
    if event != "call" or caller is None:
        return
    code = frame.f_code
    if is_inside(code):
        is_inside(caller.f_code)
        called.setdefault((id(caller.f_code), caller.f_lasti, id(code)), set()).add(len(tests) - 1)
    elif code.co_name in names and is_inside(caller.f_code):
        called.setdefault((id(caller.f_code), caller.f_lasti, code.co_name), set()).add(len(tests) - 1)


def instrument(cls: type) -> None:
    """Puts recorders in place of what a class defines itself, its nested classes included."""
    if cls in classes or any(name.startswith("test") for name in vars(cls)):
        return  # pytest collects the functions of a class of tests from its `__dict__`
    number = len(classes)
    classes.append(cls)
    for name, value in list(vars(cls).items()):
        if isinstance(value, type) and value.__qualname__.startswith(f"{cls.__qualname__}."):
            instrument(value)
        if name.startswith("__") and name.endswith("__"):
            continue
        if isinstance(value, (FunctionType, classmethod, staticmethod, property)):
            names.add(name)
            recorder = DataRecorder if isinstance(value, property) else Recorder
            try:
                setattr(cls, name, recorder(value, number, name))
            except (AttributeError, TypeError):
                continue  # a class that forbids it: its calls are still seen by the profile hook


def instrument_module(module: ModuleType) -> None:
    """Every class that a module defines."""
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__ and "<locals>" not in value.__qualname__:
            instrument(value)


def is_of_project(module: ModuleType) -> bool:
    """Whether a module is a file of the project."""
    return os.path.realpath(getattr(module, "__file__", None) or "").startswith(ROOT)


def watch_imports() -> None:
    """A module of the project is instrumented as soon as it is there; a warnings filter has some imported already."""
    for module in list(sys.modules.values()):
        if is_of_project(module):
            instrument_module(module)
    loader: Any = importlib.machinery.SourceFileLoader
    execute: Callable[[Any, ModuleType], None] = loader.exec_module

    def exec_module(self: Any, module: ModuleType) -> None:
        execute(self, module)
        if is_of_project(module):
            instrument_module(module)

    loader.exec_module = exec_module


@cache
def ends(code: int) -> list[tuple[int | None, int | None]]:
    """Where the source of each instruction ends: line and byte column; what the syntax tree is asked by."""
    return [(position[1], position[3]) for position in codes[code].co_positions()]


def relative(file: str | None) -> str | None:
    """A file's path inside the project; None for one outside."""
    real = os.path.realpath(file or "")
    return real[len(ROOT) :].replace(os.sep, "/") if real.startswith(ROOT) else None


def described(cls: type) -> dict[str, Any]:
    """A class: where it is, what it defines, who its bases are, and which names it shares with bases outside."""
    module = sys.modules.get(cls.__module__)
    outside = {
        name
        for base in cls.__mro__
        if base not in classes and base is not object
        for name in vars(base)
        if name in names
    }
    return {
        "file": relative(getattr(module, "__file__", None)),
        "name": cls.__qualname__,
        "mro": [classes.index(base) for base in cls.__mro__ if base in classes],
        "outside": sorted(outside),
        "dynamic": any("__getattr__" in vars(base) or "__getattribute__" in vars(base) for base in cls.__mro__[:-1]),
    }


def answer(callee: int | str) -> tuple[str | None, str | None, int, str]:
    """What was called: a name from outside, or a function of the project by file, line and name."""
    if isinstance(callee, str):
        return callee, None, 0, ""
    code = codes[callee]
    return None, relative(code.co_filename), code.co_firstlineno, code.co_name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid: str) -> None:
    """From here on everything belongs to this test."""
    tests.append(nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The worst of set-up, call and tear-down."""
    if report.outcome != "passed" or report.nodeid not in outcomes:
        outcomes[report.nodeid] = report.outcome


def pytest_unconfigure() -> None:
    """Writes everything."""
    sys.setprofile(None)
    lookups = [
        [relative(codes[code].co_filename), *ends(code)[at // 2], name, owner, is_instance, sorted(reached)]
        for (code, at, name, owner, is_instance), reached in asked.items()
    ]
    calls = [
        [relative(codes[code].co_filename), *ends(code)[at // 2], *answer(callee), sorted(reached)]
        for (code, at, callee), reached in called.items()
        if inside[code]
    ]
    with open(TARGET, "w", encoding="utf-8") as file:
        json.dump(
            {
                "tests": tests,
                "outcomes": outcomes,
                "classes": [described(cls) for cls in classes],
                "lookups": lookups,
                "calls": calls,
            },
            file,
        )


watch_imports()
sys.setprofile(profile)
