"""A journey's own times: what the prover does to its connections is not the server's lateness."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from netra_golden_path.client import Received
from netra_golden_path.journey import History, Plan

READY: dict[str, Any] = {"type": "connection_ready"}
ACCEPTED: dict[str, Any] = {"type": "message_accepted", "thread_id": "t-1", "seq": 1}
STARTED: dict[str, Any] = {"type": "agent_started", "seq": 2}


def history(*connections: list[tuple[float, dict[str, Any]]]) -> History:
    """What came on each connection, and when; the message was sent at 101 s."""
    frames = [Received(at, orjson.dumps(frame), frame) for frames in connections for at, frame in frames]
    begins = [sum(map(len, connections[:number])) for number in range(len(connections))]
    return History(
        plan=Plan(user=1, journey=1, header_form=True, client_message_id="c-1"),
        received=tuple(frames),
        begins=tuple(begins),
        exchanges=(),
        messages=None,
        started_at=100,
        sent_at=101,
    )


@pytest.mark.parametrize(
    ("connections", "first_event_s"),
    [
        ([[(100.5, READY), (101.2, ACCEPTED), (101.5, STARTED)]], 0.5),
        ([[(100.5, READY), (101.2, ACCEPTED), (101.5, STARTED)], [(109, READY), (109.5, STARTED)]], 0.5),
        ([[(100.5, READY)], [(106, READY), (106.2, ACCEPTED), (106.75, STARTED)]], 0.75),
        ([[(100.5, READY), (101.25, ACCEPTED)], [], [(107, READY)], [(109, READY), (109.25, STARTED)]], 0.5),
        ([[(100.5, READY), (121, ACCEPTED)], [(121.5, READY), (121.75, STARTED)]], 20.25),
        ([[(100.5, READY), (101.25, ACCEPTED)], [(107, READY)]], None),
    ],
)
def test_the_first_event_is_waited_for_where_it_comes(
    connections: list[list[tuple[float, dict[str, Any]]]], first_event_s: float | None
) -> None:
    """From the message on, without the time in which its connection was cut and no other one was there."""
    assert history(*connections).first_event_s == first_event_s
