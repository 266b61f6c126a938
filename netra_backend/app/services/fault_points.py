"""Named places where a test lets the server fail: crash, stall, or have its steps shuffled.

Off unless `arm` was called, which only the setting NETRA_FAULT_POINTS does; a place then costs one comparison.
A plan is written as `NAME=ACTION`, several with commas between them:

- `before_tool=crash` ends the process by SIGKILL when it comes there, `before_tool=crash@3` the third time;
- `before_tool=delay:0.2` lets it wait there for so many seconds, each time;
- `*=shuffle:SEED` lets it wait everywhere for up to 5 ms, drawn from the seed: other interleavings, repeatable ones.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from typing import Final

from .agent_events import EventType

POINTS: Final = (
    "before_store",
    "after_acknowledge",
    "before_claim",
    "after_claim",
    "before_tool",
    "after_tool",
    "before_completion",
    "after_completion",
    "before_delivery",
    "after_delivery",
    *(f"{when}_commit:{type_}" for type_ in EventType for when in ("before", "after")),
)
"""Every place, in the order in which a run comes to them, as far as there is one."""

SHUFFLED_SECONDS: Final = 0.005


class _Plan:
    def __init__(self, text: str) -> None:
        self._crashes: dict[str, int] = {}
        self._delays: dict[str, float] = {}
        self._random: random.Random | None = None
        self._reached: Counter[str] = Counter()
        for entry in text.split(","):
            name, _, action = entry.strip().partition("=")
            self._add(name, action)

    def _add(self, name: str, action: str) -> None:
        kind, _, value = action.partition(":")
        verb, _, count = kind.partition("@")
        if name == "*" and verb == "shuffle" and value:
            self._random = random.Random(value)  # noqa: S311  a seed that can be repeated is the point  # nosec B311
        elif name in POINTS and verb == "crash" and not value:
            self._crashes[name] = int(count or 1)
        elif name in POINTS and verb == "delay" and value:
            self._delays[name] = float(value)
        else:
            raise ValueError(
                f"expected NAME=crash, NAME=crash@N, NAME=delay:SECONDS or *=shuffle:SEED with a NAME of "
                f"{', '.join(POINTS)}; got {name}={action}"
            )

    def seconds_at(self, name: str) -> float:
        """How long to wait at a place; does not return when this is where the process ends."""
        self._reached[name] += 1
        if self._crashes.get(name) == self._reached[name]:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # the signal is on its way: nothing may happen after this place
        shuffled = self._random.random() * SHUFFLED_SECONDS if self._random is not None else 0.0
        return self._delays.get(name, 0.0) + shuffled


_plan: _Plan | None = None


def arm(text: str) -> None:
    """Let the process fail as a plan says; an empty one disarms.

    Args:
        text: the plan, see above.

    Raises:
        ValueError: it is none; says what was expected.
    """
    global _plan
    _plan = _Plan(text) if text else None


def reach(name: str) -> None:
    """Come to a place; a delay holds the whole thread, as a slow disk or a busy machine does."""
    if _plan is not None:
        time.sleep(_plan.seconds_at(name))


async def reach_async(name: str) -> None:
    """Come to a place of one run; a delay holds only that run."""
    if _plan is not None:
        await asyncio.sleep(_plan.seconds_at(name))


def is_armed() -> bool:
    """Whether there is a plan, where coming to the places would cost something of itself."""
    return _plan is not None
