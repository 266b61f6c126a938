"""The current context, and how it travels."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import pytest

from netra_backend.app.services.user_execution_context import (
    ContextIsolationError,
    NoActiveContextError,
    UserExecutionContext,
    carry,
    current,
    spawn_unbound,
)
from tests.support.bound_work import SURROUNDINGS, bound_key_of, bound_user, surroundings
from tests.support.made_contexts import make_context

USERS = [f"concurrent_user_{number}" for number in range(200)]
START_METHODS = [
    method for method in ("fork", "forkserver", "spawn") if method in multiprocessing.get_all_start_methods()
]


def test_a_bound_context_is_current_until_the_block_ends() -> None:
    """Inside the block `current()` is the context, before and after it there is none."""
    context = make_context()
    with pytest.raises(NoActiveContextError):
        current()
    with context.bind() as bound:
        assert bound is context
        assert current() is context
        assert UserExecutionContext.current() is context
    with pytest.raises(NoActiveContextError):
        UserExecutionContext.current()


def test_the_block_ends_when_it_raises() -> None:
    """An exception leaves nothing bound."""

    class ExpectedError(Exception):
        pass

    with pytest.raises(ExpectedError), make_context().bind():
        raise ExpectedError
    assert bound_user() is None


def test_contexts_of_one_user_may_be_nested() -> None:
    """A child's block inside its parent's restores the parent."""
    parent = make_context()
    child = parent.create_child_context("part")
    with parent.bind():
        with child.bind(), parent.bind():
            assert current() is parent
        assert current() is parent
        with child.bind():
            assert current() is child
    assert bound_user() is None


def test_another_users_context_cannot_be_bound_inside() -> None:
    """Binding another user's context raises, changes nothing, and names neither user."""
    ann, bob = make_context("ann-0451"), make_context("bob-0452")
    with ann.bind():
        with pytest.raises(ContextIsolationError) as caught, bob.bind():
            pass
        assert current() is ann
    assert "ann-0451" not in str(caught.value)
    assert "bob-0452" not in str(caught.value)
    with bob.bind():
        assert current() is bob


def test_a_binding_may_be_used_again_and_inside_itself() -> None:
    """One binding may be entered any number of times."""
    context = make_context()
    binding = context.bind()
    for _ in range(2):
        with binding:
            with binding:
                assert current() is context
            assert current() is context
        assert bound_user() is None
    assert not hasattr(binding, "__dict__")


def test_leaving_out_of_order_raises() -> None:
    """A block that is left before one inside it raises instead of leaving the wrong context bound."""
    context = make_context()
    outer, inner = context.bind(), context.create_child_context("part").bind()
    with outer:
        with inner:
            with pytest.raises(ContextIsolationError, match="before one inside it"):
                outer.__exit__(None, None, None)
            assert current() is not context
        assert current() is context


async def test_one_binding_may_be_shared_by_tasks() -> None:
    """Tasks that enter the same binding, and leave it in another order, do not disturb each other."""
    context = make_context()
    binding, first_in, second_out = context.bind(), asyncio.Event(), asyncio.Event()

    async def first() -> str | None:
        with binding:
            first_in.set()
            await second_out.wait()
            assert current() is context
        return bound_user()

    async def second() -> str | None:
        await first_in.wait()
        with binding:
            assert current() is context
        second_out.set()
        return bound_user()

    assert list(await asyncio.gather(first(), second())) == [None, None]


async def test_tasks_see_only_their_own_user() -> None:
    """Two hundred users' tasks, all bound at once and interleaved round by round, each see their own context."""
    rounds = asyncio.Barrier(len(USERS))

    async def work(context: UserExecutionContext) -> set[str | None]:
        seen = {bound_user()}
        with context.bind():
            for _ in range(3):
                await rounds.wait()
                seen.add(await asyncio.create_task(sub_agent(context)))
                assert current() is context
        return seen

    async def sub_agent(context: UserExecutionContext) -> str:
        await asyncio.sleep(0)
        with context.create_child_context("part").bind() as child:
            await asyncio.sleep(0)
            assert current() is child
            return child.user_id

    seen = await asyncio.gather(*[work(make_context(user)) for user in USERS])
    assert seen == [{None, user} for user in USERS]


async def test_to_thread_follows() -> None:
    """`asyncio.to_thread` runs under the context of the task that calls it, for two hundred users at once."""
    start = asyncio.Event()

    async def work(context: UserExecutionContext) -> str | None:
        with context.bind():
            await start.wait()
            return await asyncio.to_thread(bound_user)

    tasks = [asyncio.create_task(work(make_context(user))) for user in USERS]
    start.set()
    assert await asyncio.gather(*tasks) == USERS
    assert await asyncio.to_thread(bound_user) is None


def test_executor_threads_get_what_is_carried_to_them() -> None:
    """Carried functions run under their own user's context in shared threads, which are clean before and after."""
    gate = threading.Barrier(8)

    def work(user: str) -> tuple[str, str | None]:
        gate.wait(30)
        return user, bound_user()

    with ThreadPoolExecutor(8) as pool:
        futures = []
        for user in USERS:
            with make_context(user).bind():
                futures.append(pool.submit(carry(work), user))
        assert [future.result(30) for future in futures] == [(user, user) for user in USERS]
        gate.reset()
        assert set(pool.map(bound_user, range(8))) == {None}


def test_a_carried_function_serves_many_calls_at_once() -> None:
    """`executor.map` may call one carried function from several threads at the same time."""
    gate = threading.Barrier(4)

    def work(number: int) -> tuple[int, str | None]:
        gate.wait(30)
        return number, bound_user()

    with ThreadPoolExecutor(4) as pool, make_context("ann").bind():
        assert list(pool.map(carry(work), range(8))) == [(number, "ann") for number in range(8)]


def test_carrying_takes_the_other_context_variables_along_in_this_process() -> None:
    """In the same process a carried function sees the submitter's other context variables, and cannot change them."""

    def work() -> str:
        seen = surroundings()
        SURROUNDINGS.set("changed")
        return seen

    def submit() -> tuple[str, str, str]:
        SURROUNDINGS.set("submitter's")
        with make_context("ann").bind(), ThreadPoolExecutor(1) as pool:
            carried = carry(work)
            return pool.submit(carried).result(30), pool.submit(carried).result(30), surroundings()

    assert contextvars.Context().run(submit) == ("submitter's", "submitter's", "submitter's")


def test_a_carried_function_keeps_its_user_wherever_it_is_called() -> None:
    """Called inside another user's block it still runs as the one it was carried for, and that block goes on."""
    with make_context("ann").bind():
        carried = carry(bound_user)
    with make_context("bob").bind():
        assert carried() == "ann"
        assert pickle.loads(pickle.dumps(carried))() == "ann"
        assert bound_user() == "bob"
    assert bound_user() is None


def test_a_pickled_carried_function_takes_only_the_context_along() -> None:
    """In the other process the surroundings are empty but for the context."""

    def unpickle_and_call() -> tuple[str, str]:
        SURROUNDINGS.set("other process's")
        return pickle.loads(carried)(), surroundings()

    with make_context("ann").bind():
        carried = pickle.dumps(carry(surroundings))
    assert contextvars.Context().run(unpickle_and_call) == ("none", "other process's")


def test_carrying_needs_a_context() -> None:
    """Without a current context there is nothing to carry."""
    with pytest.raises(NoActiveContextError, match=r"carry\(\)"):
        carry(bound_user)


def test_coroutine_functions_are_not_carried() -> None:
    """A coroutine function, whose body would run after the call, is refused."""

    async def work() -> None:
        """Never run."""

    with make_context().bind(), pytest.raises(TypeError, match="plain function"):
        carry(work)


@pytest.mark.parametrize("method", START_METHODS)
# Python 3.12 and later warn of every fork beside threads, which is what the test is about.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_process_pools_get_what_is_carried_to_them(method: str) -> None:
    """Two hundred users' carried calls in two processes each see their own; calls not carried see nobody.

    The pool is started inside a bound block, so with fork its processes are born there.
    """
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        with make_context("born_under").bind():
            assert pool.submit(bound_user).result(60) is None
        contexts = [make_context(user) for user in USERS]
        futures = []
        for number, context in enumerate(contexts):
            with context.bind():
                futures.append(pool.submit(carry(bound_key_of), number))
        seen = [future.result(60) for future in futures]
        assert seen == [(number, context.get_context_key()) for number, context in enumerate(contexts)]
        assert set(pool.map(bound_user, range(4))) == {None}
        with contexts[0].bind():
            assert list(pool.map(carry(bound_user), range(4))) == [contexts[0].user_id] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_may_leave_the_block_it_was_born_in() -> None:
    """In a child nothing is bound; leaving its parent's block, and binding anyone, is no error there."""
    child = -1
    try:
        with make_context("ann").bind():
            child = os.fork()
            assert bound_user() == (None if child == 0 else "ann")
            if child == 0:
                with make_context("bob").bind():
                    assert bound_user() == "bob"
        assert bound_user() is None
    except BaseException:
        if child == 0:
            os._exit(1)
        raise
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)


async def test_an_unbound_task_starts_with_nothing() -> None:
    """A task for many users, started inside a user's block, is bound to nobody and may bind each of them."""

    async def serve(users: list[str]) -> list[str | None]:
        seen = [bound_user(), surroundings()]
        for user in users:
            with make_context(user).bind():
                await asyncio.sleep(0)
                seen.append(bound_user())
        return seen

    SURROUNDINGS.set("caller's")
    with make_context("ann").bind():
        task = spawn_unbound(serve(["bob", "eve"]), name="writer")
        assert task.get_name() == "writer"
        assert await task == [None, "none", "bob", "eve"]
        assert bound_user() == "ann"


def test_an_unbound_task_needs_an_event_loop() -> None:
    """Outside a running loop the attempt raises RuntimeError."""

    async def work() -> None:
        """Never run."""

    coroutine = work()
    with pytest.raises(RuntimeError, match="no running event loop"):
        _ = spawn_unbound(coroutine)
    coroutine.close()


async def test_a_callback_sees_the_context_it_was_scheduled_under() -> None:
    """Callbacks of the loop follow the code that schedules them."""
    seen: list[str | None] = []
    done = asyncio.Event()
    schedule: Callable[..., object] = asyncio.get_running_loop().call_soon
    for user in USERS[:10]:
        with make_context(user).bind():
            schedule(lambda: seen.append(bound_user()))
    schedule(partial(done.set))
    await done.wait()
    assert seen == USERS[:10]
