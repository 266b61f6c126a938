"""The fault points: nothing without a plan, and what the plan says with one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from netra_backend.app.services import fault_points
from tests.support.server import ROOT


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    fault_points.arm("")


async def test_without_a_plan_nothing_happens() -> None:
    """Every place can be passed, any number of times, also one that nobody named."""
    assert not fault_points.is_armed()
    for name in (*fault_points.POINTS, "nowhere"):
        fault_points.reach(name)
        await fault_points.reach_async(name)


PASSES = """
import sys
from netra_backend.app.services import fault_points
fault_points.arm("after_tool=crash@3")
for _ in range(int(sys.argv[1])):
    fault_points.reach("before_tool")
    fault_points.reach("after_tool")
"""


@pytest.mark.parametrize(("passes", "code"), [(2, 0), (3, -signal.SIGKILL)])
def test_a_process_is_killed_at_the_right_place(passes: int, code: int) -> None:
    """SIGKILL comes at the named place, the nth time, and not before or at another."""
    command = [sys.executable, "-c", PASSES, str(passes)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == code


def test_a_delay_is_waited_for() -> None:
    """The named place takes the time that the plan says, another none of it."""
    fault_points.arm("before_tool=delay:0.03")
    started = time.monotonic()
    fault_points.reach("before_tool")
    assert time.monotonic() - started >= 0.03


def test_a_seed_gives_the_same_delays_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with one seed wait alike, with another seed otherwise: an interleaving can be repeated."""
    drawn: list[float] = []
    monkeypatch.setattr(time, "sleep", drawn.append)
    for seed in ("7", "7", "8"):
        fault_points.arm(f"*=shuffle:{seed}")
        for name in fault_points.POINTS:
            fault_points.reach(name)
    places = len(fault_points.POINTS)
    first, again, other = drawn[:places], drawn[places : 2 * places], drawn[2 * places :]
    assert first == again != other
    assert max(drawn) <= fault_points.SHUFFLED_SECONDS


NONSENSE = [
    *("nowhere=crash", "before_tool", "before_tool=explode", "before_tool=crash@x", "before_tool=delay:x"),
    *("*=crash", ","),
]


@pytest.mark.parametrize("plan", NONSENSE)
def test_a_plan_that_makes_no_sense_is_refused(plan: str) -> None:
    """A misspelled place would be a test that tests nothing."""
    with pytest.raises(ValueError, match=r".+"):
        fault_points.arm(plan)
    assert not fault_points.is_armed()
