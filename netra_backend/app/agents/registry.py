"""The agents a server can run, by name."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable

from netra_backend.app.services.ports import Agent, AgentFactory

_NAME = re.compile(r"[a-z0-9_-]{1,64}")


class AgentRegistryError(Exception):
    """The root of what the registry raises."""


class InvalidAgentNameError(AgentRegistryError):
    """Raised when an agent is registered under a name that the policy refuses."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"an agent's name is 1 to 64 of a-z, 0-9, '_' and '-', got {self.name!r}"


class AgentNameTakenError(AgentRegistryError):
    """Raised when a second agent is registered under the same name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"an agent named {self.name!r} is registered already"


class UnknownAgentError(AgentRegistryError):
    """Raised when an agent is asked for by a name that nobody registered."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(name, self.known)

    def __str__(self) -> str:
        return f"no agent is named {self.name!r}; known: {', '.join(self.known) or 'none'}"


class AgentImportError(AgentRegistryError):
    """Raised when an import path leads to nothing that makes agents."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot load the agent {self.path!r}: {self.reason}"


class AgentRegistry:
    """Maps an agent's name to the factory that builds one for each run."""

    def __init__(self) -> None:
        self._factories: dict[str, AgentFactory] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the agents that are known, sorted."""
        return tuple(sorted(self._factories))

    def register(self, name: str, factory: AgentFactory) -> None:
        """Make an agent known.

        Args:
            name: 1 to 64 of a-z, 0-9, "_" and "-".
            factory: builds a fresh agent; called once for each run.

        Raises:
            InvalidAgentNameError: if the name is of another form.
            AgentNameTakenError: if the name is registered already.
        """
        if not _NAME.fullmatch(name):
            raise InvalidAgentNameError(name)
        if name in self._factories:
            raise AgentNameTakenError(name)
        self._factories[name] = factory

    def create(self, name: str) -> Agent:
        """Build a fresh agent for one run.

        Raises:
            UnknownAgentError: if no agent of this name is registered.
        """
        factory = self._factories.get(name)
        if factory is None:
            raise UnknownAgentError(name, self._factories)
        return factory()

    @staticmethod
    def load(path: str) -> AgentFactory:
        """Import a factory and try it once, so that a wrong one is noticed at start and not in a run.

        Args:
            path: "package.module:attribute"; the attribute is a class or a function that makes an agent when called
                without arguments.

        Raises:
            AgentImportError: if the path is of another form, the module or the attribute is missing or fails to
                import, the attribute cannot be called without arguments, or what it makes has no
                `async def run(self, context, message, emit)`.
        """
        factory = _import(path)
        if not callable(factory):
            raise AgentImportError(path, f"expected a class or a function that makes an agent, got {_kind(factory)}")
        if inspect.iscoroutinefunction(factory):
            raise AgentImportError(path, "expected a class or a function that makes an agent, got an async function")
        try:
            agent = factory()
        except Exception as error:
            raise AgentImportError(path, f"calling it without arguments raised {_told(error)}") from error
        run = getattr(agent, "run", None)
        if not inspect.iscoroutinefunction(run):
            raise AgentImportError(path, f"it made {_kind(agent)}, which has no `async def run`")
        try:
            inspect.signature(run).bind("context", "message", "emit")
        except TypeError as error:
            raise AgentImportError(
                path, f"expected `run(context, message, emit)`, got `run{inspect.signature(run)}`"
            ) from error
        return factory


def _import(path: str) -> object:
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise AgentImportError(path, "expected the form 'package.module:attribute'")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise AgentImportError(path, f"importing {module_name!r} raised {_told(error)}") from error
        raise AgentImportError(path, f"there is no module {error.name!r}; is its folder on the path?") from error
    except Exception as error:
        raise AgentImportError(path, f"importing {module_name!r} raised {_told(error)}") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise AgentImportError(path, f"the module {module_name!r} has no attribute {attribute!r}") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _kind(value: object) -> str:
    return f"a value of type {type(value).__qualname__!r}"
