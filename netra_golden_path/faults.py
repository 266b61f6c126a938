"""What is done to a deployment while users travel: connections that are dropped, and a server that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from netra_golden_path.deployment import Deployment

UNTRIED_ATTEMPTS: Final = {"NETRA_MAX_ATTEMPTS": "1000"}
"""The setting under which no run fails because its server was killed too often."""

_LONGEST_GAP: Final = 3
"""Entries between two drops; few enough for five drops to fit into the cost team's run."""


@dataclass(slots=True)
class Kills:
    """How many times the server was killed, and how long it took to serve again, at most, in seconds."""

    count: int = 0
    longest_start_s: float = 0.0


def draw_drops(seed: int, user: int, journey: int, count: int) -> tuple[int, ...]:
    """Draws where a journey's connections are dropped; the same for the same seed and numbers.

    Returns:
        For each connection, after how many entries of the log it is dropped; 0 is before any answer.
    """
    random = Random(f"{seed}/{user}/{journey}/drops")  # nosec B311  # drawn from a seed, so that a run can be repeated
    return tuple(random.randint(0, _LONGEST_GAP) for _ in range(count))  # nosec B311  # drawn from a seed, so that a run can be repeated


@asynccontextmanager
async def killing(deployment: Deployment, every_s: float, seed: int, most: int | None = None) -> AsyncIterator[Kills]:
    """Kills the server by SIGKILL again and again while the block runs, and starts it again each time.

    Args:
        deployment: the server, which serves.
        every_s: how long it serves in the mean; each time is drawn, from half of it to one and a half.
        seed: what the times are drawn from.
        most: how many times at most; without a limit when not given.

    Yields:
        How many times it was killed so far.

    Raises:
        DeploymentFailed: when it does not start again, or ended by itself; the block is cancelled.
    """
    random, kills, is_over = Random(f"{seed}/kills"), Kills(), asyncio.Event()  # nosec B311  # drawn from a seed, so that a run can be repeated
    loop = asyncio.get_running_loop()

    async def kill_on() -> None:
        while most is None or kills.count < most:
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s * random.uniform(0.5, 1.5)):  # nosec B311  # drawn from a seed, so that a run can be repeated
                    await is_over.wait()
                    return
            if (failure := await deployment.failure()) is not None:
                raise failure
            await deployment.kill()
            kills.count += 1
            began = loop.time()
            await deployment.start()
            kills.longest_start_s = max(kills.longest_start_s, loop.time() - began)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(kill_on())
            try:
                yield kills
            finally:
                is_over.set()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
