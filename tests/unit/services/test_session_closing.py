"""A managed context and the session it owns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from netra_backend.app.services.user_execution_context import (
    ContextIsolationError,
    InvalidContextError,
    NoActiveContextError,
    current,
    managed_user_context,
)
from tests.support.made_contexts import make_context


class SyncSession:
    """A session that closes at once."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def close(self) -> None:
        """Close, and remember for whom."""
        self.events.append(f"closed for {current().user_id}")


class AsyncSession:
    """A session that takes its time to close."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.closing = asyncio.Event()
        self.may_finish = asyncio.Event()

    async def close(self) -> None:
        """Close when the test lets it."""
        self.events.append(f"closing for {current().user_id}")
        self.closing.set()
        await self.may_finish.wait()
        self.events.append("closed")


class OldSession:
    """A session that only knows `aclose()`."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def aclose(self) -> None:
        """Close."""
        self.events.append("closed")


async def test_a_managed_context_is_current_and_its_session_closed() -> None:
    """The context is bound inside the block; at its end the session is closed, still under the context."""
    session = SyncSession()
    context = make_context("ann", db_session=session)
    async with managed_user_context(context) as managed:
        assert managed is current() is context
        assert session.events == []
    assert session.events == ["closed for ann"]
    with pytest.raises(NoActiveContextError):
        current()


@pytest.mark.parametrize("session", [None, object(), 5])
async def test_what_cannot_be_closed_is_left_alone(session: Any) -> None:
    """A context without a session, or with something else in its place, is managed too."""
    async with managed_user_context(make_context(db_session=session)) as managed:
        assert managed.db_session is session


async def test_a_session_may_close_asynchronously() -> None:
    """An asynchronous `close()` or `aclose()` is awaited."""
    slow, old = AsyncSession(), OldSession()
    slow.may_finish.set()
    async with managed_user_context(make_context("ann", db_session=slow)):
        pass
    async with managed_user_context(make_context("ann", db_session=old)):
        pass
    assert (slow.events, old.events) == (["closing for ann", "closed"], ["closed"])


async def test_the_session_is_closed_when_the_body_raises() -> None:
    """The body's exception comes out after closing."""
    session = SyncSession()
    with pytest.raises(ZeroDivisionError):
        async with managed_user_context(make_context("ann", db_session=session)):
            1 / 0  # noqa: B018  # raises
    assert session.events == ["closed for ann"]


async def test_closing_finishes_before_a_cancellation_goes_on() -> None:
    """Cancelled in the body, and again and again while closing, the task closes its session to the end, then ends."""
    session, inside = AsyncSession(), asyncio.Event()

    async def work() -> None:
        async with managed_user_context(make_context("ann", db_session=session)):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel("first")
    await session.closing.wait()
    for _ in range(3):
        task.cancel("again")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    assert session.events == ["closing for ann"]
    session.may_finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert session.events == ["closing for ann", "closed"]


async def test_a_timeout_while_closing_is_still_a_timeout() -> None:
    """`asyncio.timeout` around the block gives TimeoutError, after closing has finished."""
    session = AsyncSession()

    async def let_it_finish() -> None:
        await session.closing.wait()
        session.may_finish.set()

    helper = asyncio.create_task(let_it_finish())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), managed_user_context(make_context("ann", db_session=session)):
            await asyncio.Event().wait()
    assert session.events == ["closing for ann", "closed"]
    await helper


async def test_an_error_of_closing_comes_out() -> None:
    """What `close()` raises is raised, unless the task is cancelled meanwhile; either way nothing stays bound."""
    started, go_on = asyncio.Event(), asyncio.Event()

    class BrokenSession:
        async def close(self) -> None:
            started.set()
            await go_on.wait()
            raise OSError("the database is gone")

    async def work() -> None:
        async with managed_user_context(make_context(db_session=BrokenSession())):
            pass

    cancelled = asyncio.create_task(work())
    await started.wait()
    cancelled.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await cancelled
    assert isinstance(caught.value.__context__, OSError)
    with pytest.raises(OSError, match="gone"):
        await work()
    with pytest.raises(NoActiveContextError):
        current()


async def test_only_contexts_are_managed_and_only_of_the_bound_user() -> None:
    """Anything else is refused, and so is another user's context inside a bound block."""
    with pytest.raises(InvalidContextError, match="got dict"):
        async with managed_user_context({"user_id": "ann"}):  # type: ignore[arg-type]  # what the test is about
            pass
    with make_context("ann").bind(), pytest.raises(ContextIsolationError):
        async with managed_user_context(make_context("bob")):
            pass
