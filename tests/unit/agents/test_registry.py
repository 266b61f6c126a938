"""The agents' registry: names, fresh agents and import paths."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netra_backend.app.agents.registry import (
    AgentImportError,
    AgentNameTakenError,
    AgentRegistry,
    AgentRegistryError,
    InvalidAgentNameError,
    UnknownAgentError,
)
from netra_backend.app.services.json_values import JsonValue
from netra_backend.app.services.ports import Emitter
from netra_backend.app.services.user_execution_context import UserExecutionContext


class Echo:
    """Answers with the message."""

    async def run(self, context: UserExecutionContext, message: str, emit: Emitter) -> JsonValue:
        """Give the message back."""
        return message


def test_every_run_gets_a_fresh_agent() -> None:
    """`create` calls the factory each time."""
    registry = AgentRegistry()
    registry.register("echo", Echo)
    first, second = registry.create("echo"), registry.create("echo")
    assert isinstance(first, Echo)
    assert isinstance(second, Echo)
    assert first is not second
    assert "echo" in registry
    assert "other" not in registry


def test_an_unknown_name_says_what_is_known() -> None:
    """An agent that nobody registered is refused with the sorted names of those that are."""
    registry = AgentRegistry()
    with pytest.raises(UnknownAgentError, match="no agent is named 'x'; known: none"):
        registry.create("x")
    registry.register("b", Echo)
    registry.register("a", Echo)
    with pytest.raises(UnknownAgentError, match="no agent is named 'x'; known: a, b") as caught:
        registry.create("x")
    assert (caught.value.name, caught.value.known) == ("x", registry.names) == ("x", ("a", "b"))


@pytest.mark.parametrize("name", ["a", "0", "_", "-", "cost_team-2", "x" * 64])
def test_names_of_the_policy_are_taken(name: str) -> None:
    """A name is 1 to 64 of a-z, 0-9, "_" and "-"."""
    registry = AgentRegistry()
    registry.register(name, Echo)
    assert name in registry


@pytest.mark.parametrize("name", ["", "A", "é", "a b", "a.b", "a\n", "x" * 65, "٣"])
def test_other_names_are_refused(name: str) -> None:
    """A name of another form is refused and not registered."""
    registry = AgentRegistry()
    with pytest.raises(InvalidAgentNameError, match="1 to 64 of"):
        registry.register(name, Echo)
    assert name not in registry


def test_a_name_is_taken_once() -> None:
    """A second agent of the same name is refused and the first one stays."""
    registry = AgentRegistry()
    registry.register("echo", Echo)
    with pytest.raises(AgentNameTakenError, match="'echo' is registered already"):
        registry.register("echo", lambda: Echo())
    assert isinstance(registry.create("echo"), Echo)


AGENTS = """
class Good:
    async def run(self, context, message, emit):
        return message

def make():
    return Good()

class Sync:
    def run(self, context, message, emit):
        return message

class Narrow:
    async def run(self, message):
        return message

class Needy:
    def __init__(self, key):
        self.key = key

class Broken:
    def __init__(self):
        raise RuntimeError("no key")

async def bare(context, message, emit):
    return message

good = Good()
number = 674
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package on the path with a module `agents` and two modules that fail to import."""
    name = "a_users_package"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "agents.py").write_text(AGENTS)
    (folder / "hungry.py").write_text("import a_module_that_is_not_there\n")
    (folder / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


@pytest.mark.parametrize("attribute", ["Good", "make"])
def test_an_import_path_gives_a_factory(package: str, attribute: str) -> None:
    """A class and a function are both factories of fresh agents."""
    registry = AgentRegistry()
    registry.register("mine", AgentRegistry.load(f"{package}.agents:{attribute}"))
    assert registry.create("mine") is not registry.create("mine")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "expected the form 'package.module:attribute'"),
        ("{package}.agents", "expected the form 'package.module:attribute'"),
        ("{package}.agents:", "expected the form 'package.module:attribute'"),
        (":make", "expected the form 'package.module:attribute'"),
        (".agents:make", "expected the form 'package.module:attribute'"),
        ("{package}/agents.py:make", "expected the form 'package.module:attribute'"),
        ("{package}.agents:make()", "expected the form 'package.module:attribute'"),
        ("nowhere_at_all:make", "there is no module 'nowhere_at_all'; is its folder on the path?"),
        ("nowhere_at_all.agents:make", "there is no module 'nowhere_at_all'; is its folder on the path?"),
        ("{package}.none:make", "there is no module '{package}.none'; is its folder on the path?"),
        (
            "{package}.hungry:make",
            "importing '{package}.hungry' raised ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
        ),
        ("{package}.broken:make", "importing '{package}.broken' raised ZeroDivisionError: division by zero"),
        ("{package}.agents:none", "the module '{package}.agents' has no attribute 'none'"),
        ("{package}.agents:number", "expected a class or a function that makes an agent, got a value of type 'int'"),
        ("{package}.agents:good", "expected a class or a function that makes an agent, got a value of type 'Good'"),
        ("{package}.agents:bare", "expected a class or a function that makes an agent, got an async function"),
        ("{package}.agents:Broken", "calling it without arguments raised RuntimeError: no key"),
        ("{package}.agents:Sync", "it made a value of type 'Sync', which has no `async def run`"),
        ("{package}.agents:Narrow", "expected `run(context, message, emit)`, got `run(message)`"),
    ],
)
def test_a_wrong_import_path_says_what_is_wrong(package: str, path: str, reason: str) -> None:
    """Every way to be wrong is refused at once, with the path and the reason."""
    path = path.format(package=package)
    with pytest.raises(AgentImportError) as caught:
        AgentRegistry.load(path)
    assert caught.value.path == path
    assert caught.value.reason == reason.format(package=package)
    assert str(caught.value) == f"cannot load the agent {path!r}: {caught.value.reason}"


def test_a_factory_that_needs_arguments_is_refused(package: str) -> None:
    """A class that cannot be made without arguments is refused with Python's own words."""
    with pytest.raises(AgentImportError, match=r"calling it without arguments raised TypeError: .*'key'"):
        AgentRegistry.load(f"{package}.agents:Needy")


@pytest.mark.parametrize(
    "error",
    [
        InvalidAgentNameError("A"),
        AgentNameTakenError("a"),
        UnknownAgentError("a", ["c", "b"]),
        AgentImportError("m:a", "why"),
    ],
)
def test_errors_survive_another_process(error: AgentRegistryError) -> None:
    """An error that is pickled keeps its type, its data and its words."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
