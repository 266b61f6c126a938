"""What the prover does to a deployment on purpose."""

from __future__ import annotations

import asyncio
import sys

import pytest

from netra_golden_path.deployment import DeploymentFailed, started
from netra_golden_path.faults import draw_drops, killing

SERVER = """
import os, sys, time
note = os.path.join(os.getcwd(), "lives")
lives = len(open(note).read()) if os.path.exists(note) else 0
open(note, "a").write("x")
if lives == {most}:
    sys.exit("the disk is gone")
print("Netra is serving on http://127.0.0.1:4711", flush=True)
time.sleep(60)
"""


def server(most: int) -> tuple[str, ...]:
    """A command that stands in for the server, and does not start more often than `most` times."""
    return (sys.executable, "-c", SERVER.format(most=most))


def test_drops_are_the_same_for_the_same_seed_and_differ_between_users() -> None:
    """A storm can be repeated from its seed."""
    assert draw_drops(7, 1, 1, 5) == draw_drops(7, 1, 1, 5)
    drawn = {draw_drops(7, user, journey, 5) for user in range(20) for journey in (1, 2)}
    assert len(drawn) > 30
    assert all(len(drops) == 5 for drops in drawn)
    assert {gap for drops in drawn for gap in drops} == {0, 1, 2, 3}


async def test_the_server_is_killed_again_and_again_and_serves_at_the_end() -> None:
    """Each life is another process; when the block ends the last one serves."""
    async with started({}, server(most=99)) as deployment:
        pids = {deployment.pid}
        async with asyncio.timeout(30), killing(deployment, 0.05, seed=1) as kills:
            while kills.count < 3:
                await asyncio.sleep(0.01)
                pids.add(deployment.pid)
        assert await deployment.failure() is None
        pids.add(deployment.pid)
    assert len(pids) >= kills.count + 1
    assert kills.longest_start_s > 0


async def test_a_server_that_does_not_start_again_ends_the_proof() -> None:
    """Its last words are told, and what went on is cancelled."""
    async with started({}, server(most=1)) as deployment:
        with pytest.raises(DeploymentFailed, match="the disk is gone"):
            async with asyncio.timeout(30), killing(deployment, 0.05, seed=1):
                await asyncio.Event().wait()


async def test_a_server_that_ends_by_itself_is_not_taken_for_killed() -> None:
    """A crash of the server's own ends the proof with its last words."""
    crash = "import sys\nprint('Netra is serving on http://127.0.0.1:4711', flush=True)\nsys.exit('a fault of its own')"
    async with started({}, (sys.executable, "-c", crash)) as deployment:
        with pytest.raises(DeploymentFailed, match="a fault of its own"):
            async with asyncio.timeout(30), killing(deployment, 1, seed=1):
                await asyncio.Event().wait()


async def test_an_error_of_the_proof_is_told_as_it_is() -> None:
    """What goes wrong inside the block is not wrapped."""
    async with started({}, server(most=99)) as deployment:
        with pytest.raises(ValueError, match="of the proof"):
            async with killing(deployment, 60, seed=1):
                raise ValueError("of the proof")
