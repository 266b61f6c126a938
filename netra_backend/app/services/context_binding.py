"""The current context: one `ContextVar`, and how it travels into threads, processes and tasks.

The parameter is the truth; what is bound here is its shadow for logs, database and caches.
"""

from __future__ import annotations

import os
from contextvars import Context, ContextVar, copy_context
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from .context_errors import ContextIsolationError, NoActiveContextError

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import TypeAlias

    from .user_execution_context import UserExecutionContext

    Bound: TypeAlias = tuple[UserExecutionContext, "Bound | None"]

P = ParamSpec("P")
R = TypeVar("R")

# What is bound, and what was bound around it. Only immutable values: a child task shares whatever the variable holds.
# The chain stands in for tokens, so that one Binding may be entered twice, or by two tasks at once.
_bound: Final[ContextVar[Bound | None]] = ContextVar("netra_user_execution_context", default=None)


class Binding:
    """A `with` block in which a context is current. Made by `UserExecutionContext.bind()`.

    It may be entered more than once, nested or by several tasks and threads, since it keeps no state of its own.
    """

    __slots__ = ("_context",)

    def __init__(self, context: UserExecutionContext) -> None:
        self._context = context

    def __enter__(self) -> UserExecutionContext:
        """Make the context current.

        Returns:
            The context.

        Raises:
            ContextIsolationError: if a context of another user is bound here.
        """
        outer = _bound.get()
        if outer is not None and outer[0].user_id != self._context.user_id:
            raise ContextIsolationError(
                "bind()",
                "a context of another user is bound here",
                "Leave its block first, or start work for many users with spawn_unbound().",
            )
        _bound.set((self._context, outer))
        return self._context

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Make current again what was before.

        Raises:
            ContextIsolationError: if a block inside this one has not been left yet.
        """
        innermost = _bound.get()
        if innermost is None:
            return  # In a child process, forked inside the block.
        if innermost[0] is not self._context:
            raise ContextIsolationError(
                "bind()", "the block is left before one inside it", "Leave the inner one first."
            )
        _bound.set(innermost[1])


def current() -> UserExecutionContext:
    """Tell the context that is bound here.

    Returns:
        The context of the innermost `bind()` block around this code.

    Raises:
        NoActiveContextError: if there is none.
    """
    innermost = _bound.get()
    if innermost is None:
        raise NoActiveContextError("current()")
    return innermost[0]


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Take the current context along into executor threads and process pools, which do not follow by themselves.

    In this process each call runs in its own copy of the `contextvars.Context` of now, so that one carried function
    serves `executor.map` and concurrent calls. Pickled, it takes only the context and the function along, and each call
    in the other process runs in an otherwise empty `contextvars.Context`.

    Args:
        function: a plain function; for a process pool, one that can be pickled. Tasks follow by themselves.

    Returns:
        A callable that does what `function` does while the context of now is current.

    Raises:
        NoActiveContextError: if no context is bound.
        TypeError: if it is a coroutine function, whose body would run only after the call, outside.
    """
    if iscoroutinefunction(function):
        raise TypeError("carry() takes a plain function; a coroutine's task follows the current context by itself")
    innermost = _bound.get()
    if innermost is None:
        raise NoActiveContextError("carry()")
    return _Carried(innermost[0], function, copy_context())


def spawn_unbound(coroutine: Coroutine[Any, Any, R], *, name: str | None = None) -> Task[R]:
    """Start a task that serves many users: nothing of the caller's context is bound in it.

    Args:
        coroutine: what the task runs.
        name: the task's name.

    Returns:
        The task, in an empty `contextvars.Context`. Keep it: the event loop holds tasks weakly.

    Raises:
        RuntimeError: if no event loop is running.
    """
    import asyncio  # Here, because it costs more than all of this package; who has a coroutine has paid already.

    return asyncio.get_running_loop().create_task(coroutine, name=name, context=Context())


class _Carried:
    """A function with the context under which it is to run."""

    __slots__ = ("_context", "_function", "_surroundings")

    def __init__(
        self, context: UserExecutionContext, function: Callable[..., Any], surroundings: Context | None = None
    ) -> None:
        self._context = context
        self._function = function
        self._surroundings = surroundings

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._surroundings is None:
            return Context().run(self._bind_and_call, args, kwargs)
        return self._surroundings.copy().run(self._function, *args, **kwargs)

    def _bind_and_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Binding(self._context):
            return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[type[_Carried], tuple[UserExecutionContext, Callable[..., Any]]]:
        return _Carried, (self._context, self._function)


def _unbind() -> None:
    _bound.set(None)


# A pool's worker process, forked inside a bound block, goes on to serve other users.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unbind)
