"""A server that is killed by SIGKILL at any named place of a run's life has lost nothing and done nothing twice."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from netra_backend.app.services.fault_points import POINTS
from tests.support.nursery import Home, Nursery
from tests.support.returning_client import Frame, ReturningClient, Saying

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Of its charge, the first tool, a client must be told that nobody knows whether it was made.
CHARGING = ("after_commit:tool_executing", "before_tool", "after_tool", "before_commit:tool_completed")
LATER = (
    *("before_tool@2", "after_tool@2", "before_tool@3"),
    *("after_commit:agent_thinking@2", "after_commit:agent_started@2"),
)
DELIVERIES = tuple(f"after_delivery@{number}" for number in (2, 3, 4, 6))  # the first is connection_ready
PLACES = (*(point for point in POINTS if point != "after_delivery"), *LATER, *DELIVERIES)


def _sayings(calls: Path) -> list[Saying]:
    return [Saying(f"{word} {calls}") for word in ("work", "fail", "hold")]


def _check_log(log: list[Frame]) -> None:
    assert [frame["seq"] for frame in log] == list(range(1, len(log) + 1))
    assert [frame.get("final", False) for frame in log] == [False] * (len(log) - 1) + [True]
    assert len({frame["run_id"] for frame in log}) == 1
    for type_ in ("tool_executing", "tool_completed"):
        calls = [frame["data"]["tool_call_id"] for frame in log if frame["type"] == type_]
        assert len(calls) == len(set(calls))
    starts = [frame["request_id"] for frame in log if frame["type"] == "agent_started"]
    assert len(starts) == len(set(starts))


@pytest.mark.parametrize("place", PLACES)
async def test_killed_at(place: str, nursery: Nursery, home: Home, tmp_path: Path) -> None:
    """Killed there and started again: each message ends once, each event comes once and in order, no charge is made
    twice, and what may be repeated is repeated under the same key."""
    calls = tmp_path / "calls"
    client = ReturningClient(home.access_token, _sayings(calls))
    name, _, count = place.partition("@")
    armed = await nursery.start(home, fault_points=f"{name}=crash@{count or 1}")
    assert not await client.converse(armed.websocket_url), "the server did not come to the place"
    assert await nursery.ended(armed) == -signal.SIGKILL
    again = await nursery.start(home)
    assert await client.converse(again.websocket_url)
    replayed = await client.read_back(again.websocket_url)
    again.signal(signal.SIGKILL)
    await nursery.ended(again)

    assert replayed == [saying.log for saying in client.sayings]
    for log in replayed:
        _check_log(log)
    work, fail, hold = (saying.final or {} for saying in client.sayings)
    made = calls.read_text().splitlines()
    assert made.count("charge") <= 1
    # Events are committed in groups: whether a charge that follows a thought is cut off, the log itself tells.
    is_cut_off = client.sayings[0].types().count("tool_executing") > client.sayings[0].types().count("tool_completed")
    assert is_cut_off or place not in CHARGING
    if is_cut_off:
        assert (work["type"], work["data"]["code"]) == ("agent_failed", "tool_outcome_unknown")
        assert client.sayings[0].types()[-2:] == ["tool_executing", "agent_failed"]
    else:
        assert work["data"] == {"result": {"charge": {"charged": 12}, "helper": 7}}
        assert client.sayings[0].types() == WORK
        assert made.count("charge") == 1
        assert len({line for line in made if line.startswith("notify ")}) == 1
        assert 1 <= made.count("look") <= 2
    assert (fail["type"], fail["data"]["code"]) == ("agent_failed", "agent_error")
    assert hold["type"] == "run_cancelled"


@pytest.mark.parametrize("seed", range(3))
async def test_killed_in_another_interleaving(seed: int, nursery: Nursery, home: Home, tmp_path: Path) -> None:
    """Whatever the order of the steps, drawn from a seed, and wherever two lives end: the promise is the same."""
    calls = tmp_path / "calls"
    client = ReturningClient(home.access_token, _sayings(calls))
    draw = random.Random(seed)
    for life in range(2):
        place = draw.choice(POINTS)
        plan = f"*=shuffle:{seed}{life},{place}=crash@{draw.randint(1, 3)}"
        server = await nursery.start(home, fault_points=plan)
        if server.url:
            await client.converse(server.websocket_url)
        server.signal(signal.SIGKILL)
        assert await nursery.ended(server) == -signal.SIGKILL
    server = await nursery.start(home, fault_points=f"*=shuffle:{seed}")
    assert await client.converse(server.websocket_url)
    replayed = await client.read_back(server.websocket_url)
    assert replayed == [saying.log for saying in client.sayings]
    for log in replayed:
        _check_log(log)
    made = calls.read_text().splitlines()
    assert made.count("charge") <= 1
    assert len({line for line in made if line.startswith("notify ")}) <= 1


WORK = [
    *("user_message", "agent_started", "agent_thinking"),
    *("tool_executing", "tool_completed") * 2,
    *("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"),
    "agent_completed",
]


async def test_a_crash_loop_ends(nursery: Nursery, home: Home, tmp_path: Path) -> None:
    """A run that takes its server down each time is tried as often as the setting says, and then fails with the reason;
    the messages behind it are answered."""
    calls = tmp_path / "calls"
    poison = Saying(f"work {calls}")
    client = ReturningClient(home.access_token, [poison])
    for _ in range(2):
        server = await nursery.start(home, fault_points="before_completion=crash", max_attempts="2")
        if server.url:
            await client.converse(server.websocket_url)
        assert await nursery.ended(server) == -signal.SIGKILL
    server = await nursery.start(home, fault_points="before_completion=crash", max_attempts="2")
    client.sayings.append(Saying(f"fail {calls}"))
    assert await client.converse(server.websocket_url)
    assert poison.final is not None
    assert (poison.final["type"], poison.final["data"]["code"]) == ("agent_failed", "attempts_exhausted")
    _check_log(poison.log)


async def test_a_server_that_ends_during_the_handshake() -> None:
    """A server that took the connection and died before it answered is gone for the client, as any other is: what it
    wanted to say waits for the next one."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    client = ReturningClient("token", [Saying("work")])
    async with await asyncio.start_server(hang_up, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        assert not await client.converse(f"ws://127.0.0.1:{port}/ws")
    assert client.sayings[0].log == []
