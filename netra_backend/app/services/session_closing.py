"""How a session ends: closed once, to the end, whatever happens to the task that closes it."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import CancelledError
    from collections.abc import Awaitable


async def close_session(session: Any) -> None:
    """Close a session through its `close()`, or else its `aclose()`; either may be synchronous or not.

    Args:
        session: what is to be closed. None, or an object with neither method, is left alone.

    Raises:
        Exception: what closing raised.
        CancelledError: after closing has ended, if the task was cancelled meanwhile.
    """
    close = getattr(session, "close", None) or getattr(session, "aclose", None)
    if close is None:
        return
    closing = close()
    if isawaitable(closing):
        await _finished(closing)


async def _finished(work: Awaitable[object]) -> None:
    """Await to the end, and only then let a cancellation go on."""
    import asyncio  # Here, because it costs more than all of the context; who awaits has paid already.

    task = asyncio.ensure_future(work)
    cancelled: CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        task.result()
    finally:
        if cancelled is not None:
            raise cancelled
