"""The truth about a package, from running its tests: which places really meant which class's attribute.

Families are what a rename must keep together: the definitions of one name on classes that share a line of inheritance.
No type checker is asked. A place that no test reached has no truth, and is counted apart.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.repair.packages import CACHE, PYTEST_OPTIONS, Package, run_environment
from benchmarks.repair.syntax import Function, Place, Syntax

TRACE_LIMIT_S = 600.0
IMPORT = 0  # the number of the "test" that stands for everything before the first test


@dataclass(frozen=True, slots=True)
class Definition:
    """A method as the tree defines it.

    Attributes:
        file: relative to the tree.
        cls: the class's qualified name inside the file.
        function: its statement.
    """

    file: str
    cls: str
    function: Function


@dataclass
class Site:
    """A place that names an attribute, and what it meant when the tests ran.

    Attributes:
        place: of the name alone.
        families: which families of the name answered there.
        on_instance: whether it was ever looked up on an instance.
        on_class: whether it was ever looked up on a class.
        foreign: whether something that is not the project's answered there, too.
        tests: numbers of the tests that came there.
    """

    place: Place
    families: set[int] = field(default_factory=set)
    on_instance: bool = False
    on_class: bool = False
    foreign: bool = False
    tests: set[int] = field(default_factory=set)


@dataclass
class Family:
    """The definitions of one name along one line of inheritance.

    Attributes:
        name: the attribute.
        definitions: all of them.
        outside: whether a base outside the project defines the name, or somebody outside asked for it.
        dynamic: whether a class of the family answers for names that it does not define.
        indirect: whether the project asked for it by other means than `receiver.name`.
        sites: where it was asked for.
    """

    name: str
    definitions: tuple[Definition, ...]
    outside: bool
    dynamic: bool
    indirect: bool = False
    sites: list[Site] = field(default_factory=list)

    @property
    def tests(self) -> set[int]:
        """The tests that come to any of its sites."""
        return {test for site in self.sites for test in site.tests}


@dataclass
class Truth:
    """What one run of a package's tests says.

    Attributes:
        syntax: the trees.
        tests: node ids by number.
        outcomes: "passed", "failed" or "skipped", by node id.
        families: of every name that a class of the project defines.
        sites: every place that a test reached, by place.
    """

    syntax: Syntax
    tests: list[str]
    outcomes: dict[str, str]
    families: dict[str, list[Family]]
    sites: dict[Place, Site]


def trace(package: Package) -> dict[str, Any]:
    """What the tracer wrote about the unmodified tree; from the cache when it was run before."""
    target = CACHE / "traces" / f"{package.name}-{package.version}.json"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        environment = run_environment(package, package.tree)
        environment["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)
        environment |= {"NETRA_TRACE_ROOT": str(package.tree), "NETRA_TRACE_TO": str(partial)}
        command = [str(package.python), "-m", "pytest", "-p", "tracer", "--assert=plain", *PYTEST_OPTIONS]
        command += [f"--ignore={file}" for file in package.left_out] + list(package.tests)
        subprocess.run(
            command, cwd=package.tree, env=environment, stdout=subprocess.DEVNULL, timeout=TRACE_LIMIT_S, check=False
        )
        partial.rename(target)
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def truth(package: Package) -> Truth:
    """Joins what the tracer wrote with the syntax trees."""
    traced = trace(package)
    syntax = Syntax(package.tree)
    families = _families(syntax, traced["classes"])
    by_class = {
        (definition.file, definition.cls, name): number
        for name, members in families.items()
        for number, family in enumerate(members)
        for definition in family.definitions
    }
    result = Truth(syntax, traced["tests"], traced["outcomes"], families, {})
    for file, line, column, name, owner, on_instance, tests in traced["lookups"]:
        cls = traced["classes"][owner]
        number = by_class.get((cls["file"], cls["name"], name))
        if number is None:
            continue  # defined by other means than `def`: never a target
        family = families[name][number]
        if file is None:
            family.outside = True
            continue
        place = _named_at(syntax, file, line, column, name)
        if place is None:
            family.indirect = True
            continue
        site = result.sites.setdefault(place, Site(place))
        site.families.add(number)
        site.on_instance |= on_instance
        site.on_class |= not on_instance
        site.tests |= set(tests)
    _add_calls(result, traced["calls"], by_class)
    for site in result.sites.values():
        name = syntax.files[site.place.file].data[site.place.start : site.place.end].decode()
        for number in site.families:
            families[name][number].sites.append(site)
    return result


def _add_calls(result: Truth, calls: Iterable[list[Any]], by_class: dict[tuple[str, str, str], int]) -> None:
    """What the profile hook saw: lookups before the recorders were in place, and answers from outside the project."""
    by_line = {
        (definition.file, _first_line(definition.function)): (definition.cls, name)
        for name, members in result.families.items()
        for family in members
        for definition in family.definitions
    }
    for file, line, column, foreign, callee_file, callee_line, callee_name, tests in calls:
        source = result.syntax.files.get(file or "")
        if source is None or line is None or column is None:
            continue
        call = source.calls.get(source.offset(line, column))
        if call is None or not isinstance(call.func, ast.Attribute) or call.func.attr != (foreign or callee_name):
            continue
        name = call.func.attr
        end = source.end_of(call.func)
        place = Place(file, end - len(name.encode()), end)
        defined = by_line.get((callee_file, callee_line))
        if foreign is None and (defined is None or defined[1] != name):
            continue
        site = result.sites.setdefault(place, Site(place))
        site.tests |= set(tests)
        if defined is None or foreign is not None:
            site.foreign = True
        else:
            site.families.add(by_class[callee_file, defined[0], name])


def _families(syntax: Syntax, classes: list[dict[str, Any]]) -> dict[str, list[Family]]:
    """Groups the definitions of each name: those that one class can inherit together belong together."""
    numbers = {(cls["file"], cls["name"]): number for number, cls in enumerate(classes)}
    families: dict[str, list[Family]] = defaultdict(list)
    for name, places in syntax.definitions.items():
        owned = {
            numbers[file, cls]: Definition(file, cls, node) for file, cls, node in places if (file, cls) in numbers
        }
        leader = {number: number for number in owned}

        def find(number: int, leader: dict[int, int] = leader) -> int:
            while leader[number] != number:
                number = leader[number]
            return number

        heirs: dict[int, list[int]] = defaultdict(list)
        for number, cls in enumerate(classes):
            line = [base for base in cls["mro"] if base in owned]
            for base in line:
                leader[find(base)] = find(line[0])
            if line:
                heirs[line[0]].append(number)
        groups: dict[int, list[int]] = defaultdict(list)
        for number in owned:
            groups[find(number)].append(number)
        for members in groups.values():
            related = [classes[heir] for member in members for heir in {member, *heirs[member]}]
            families[name].append(
                Family(
                    name,
                    tuple(owned[number] for number in sorted(members)),
                    outside=any(name in cls["outside"] for cls in related),
                    dynamic=any(cls["dynamic"] for cls in related),
                )
            )
    return dict(families)


def _named_at(syntax: Syntax, file: str, line: int | None, column: int | None, name: str) -> Place | None:
    """The `receiver.name` whose name ends there."""
    source = syntax.files.get(file)
    if source is None or line is None or column is None:
        return None
    end = source.offset(line, column)
    node = source.attributes.get(end)
    if node is None or node.attr != name:
        return None
    return Place(file, end - len(name.encode()), end)


def _first_line(function: Function) -> int:
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
