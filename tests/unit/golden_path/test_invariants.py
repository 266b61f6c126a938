"""Invariants: each promise of the wire, and that a broken one is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_golden_path import scenario
from netra_golden_path.canary import Vault, plant
from netra_golden_path.client import Exchange, Received
from netra_golden_path.figures import compute
from netra_golden_path.invariants import Expected, check
from netra_golden_path.journey import QUESTION, Failure, FailureName, History, Message, Plan

SEED = 5
USER = 1
RECORDS = scenario.write(SEED, USER).records
VAULT = Vault((user, plant(SEED, user)) for user in range(3))
EXPECTED = Expected(user=USER, user_id="u-1", figures=compute(RECORDS))
FOREIGN = plant(SEED, 2)
START = datetime(2025, 6, 1, tzinfo=UTC)

Frame = dict[str, Any]


@dataclass
class Tape:
    """A journey as a right server answers it, to be tampered with."""

    before: list[Frame]
    frames: list[Frame]
    messages: list[Any]
    plan: Plan
    exchanges: list[Exchange] = field(default_factory=lambda: [Exchange("GET /ws", 101, b"upgrade: websocket", b"")])
    step_s: float = 0.01
    connect_s: float = 0.01
    failure: Failure | None = None

    def history(self) -> History:
        """Plays the tape: a frame every `step_s`, after the connection took `connect_s`."""
        moments = [self.connect_s] * len(self.before)
        moments += [self.connect_s + self.step_s * number for number in range(1, len(self.frames) + 1)]
        return History(
            plan=self.plan,
            received=tuple(
                Received(100 + at, orjson.dumps(frame), frame)
                for at, frame in zip(moments, [*self.before, *self.frames], strict=True)
            ),
            exchanges=tuple(self.exchanges),
            messages=None if self.failure else tuple(self.messages),
            started_at=100.0,
            sent_at=100 + self.connect_s,
            failure=self.failure,
        )

    def event(self, type_: str, place: int = 0) -> Frame:
        """The first event of a type, or the one at another place among them."""
        return [frame for frame in self.frames if frame["type"] == type_][place]

    def renumber(self) -> None:
        """Gives the log's entries seqs without holes."""
        log = [frame for frame in self.frames if "seq" in frame and frame["type"] != "message_accepted"]
        for seq, frame in enumerate(log, 1):
            frame["seq"] = seq
        self.messages[1]["seq"] = next((frame["seq"] for frame in log if "final" in frame), 0)

    def remove(self, frame: Frame) -> None:
        """Takes a frame out, without leaving a hole."""
        self.frames[:] = [other for other in self.frames if other is not frame]
        self.renumber()


def right() -> Tape:
    """The tape of a supervisor with one sub-agent and a tool of its own, and a continued life of one message."""
    figures = EXPECTED.figures
    result = {
        "answer": f"You spend most on {RECORDS[0].model}.",
        "figures": {
            "currency": "USD",
            "record_count": figures.record_count,
            "total_usd": figures.total_usd,
            "by_model_usd": dict(figures.by_model_usd),
            "by_operation_usd": dict(figures.by_operation_usd),
            "savings_usd": dict(figures.savings_usd),
            "costliest": [
                {
                    "timestamp": record.timestamp.isoformat(),
                    "request_id": record.request_id,
                    "model": record.model,
                    "operation": record.operation,
                    "cost_usd": f"{record.cost_usd:f}",
                    "label": record.label,
                }
                for record in figures.costliest
            ],
        },
    }
    run = {"user_id": "u-1", "thread_id": "t-1", "run_id": "r-1"}
    root = {**run, "request_id": "q-1", "parent_request_id": None, "agent": "supervisor"}
    child = {**run, "request_id": "q-2", "parent_request_id": "q-1", "agent": "data"}
    entries: list[tuple[str, Frame, Frame]] = [
        ("user_message", {**root, "agent": None}, {"text": QUESTION, "client_message_id": "c-1"}),
        ("agent_started", root, {"attempt": 1}),
        ("agent_thinking", root, {"text": "Let me see."}),
        ("agent_started", child, {}),
        ("tool_executing", child, {"tool_call_id": "k-1", "tool": "read", "arguments": {}}),
        ("tool_executing", child, {"tool_call_id": "k-2", "tool": "sum", "arguments": {}}),
        (
            "tool_completed",
            child,
            {"tool_call_id": "k-1", "tool": "read", "status": "ok", "result": 1, "duration_ms": 1},
        ),
        (
            "tool_completed",
            child,
            {"tool_call_id": "k-2", "tool": "sum", "status": "ok", "result": 2, "duration_ms": 1},
        ),
        ("agent_completed", child, {"result": "done"}),
        ("agent_completed", root, {"result": result}),
    ]
    log: list[Frame] = [
        {
            "type": type_,
            "seq": seq,
            **ids,
            "timestamp": (START + timedelta(milliseconds=seq)).isoformat(),
            "data": data,
        }
        for seq, (type_, ids, data) in enumerate(entries, 1)
    ]
    log[-1]["final"] = True
    accepted = {"type": "message_accepted", "client_message_id": "c-1", "thread_id": "t-1", "run_id": "r-1", "seq": 1}
    delta = {"type": "agent_delta", "thread_id": "t-1", "run_id": "r-1", "text": "You "}
    ready = {"type": "connection_ready", "protocol": "netra.v1", "connection_id": "w-1", "user_id": "u-1"}
    stamp = START.isoformat()
    return Tape(
        before=[{"type": "auth_success", "user_id": "u-1"}, {**ready, "server_time": stamp}],
        frames=copy.deepcopy([accepted, *log[:-1], delta, log[-1], {"type": "pong", "server_time": stamp}]),
        messages=[
            {"seq": 1, "role": "user", "content": QUESTION, "run_id": "r-1", "timestamp": stamp},
            {"seq": 10, "role": "assistant", "content": copy.deepcopy(result), "run_id": "r-1", "timestamp": stamp},
        ],
        plan=Plan(user=USER, journey=1, header_form=False, client_message_id="c-1"),
    )


def found(tape: Tape) -> set[str]:
    """The names of what is wrong with a tape."""
    return {finding.name for finding in check(tape.history(), EXPECTED, VAULT)}


def test_a_right_journey_has_no_findings() -> None:
    """What a right server answers passes every check, in both forms of authentication."""
    assert check(right().history(), EXPECTED, VAULT) == ()
    tape = right()
    tape.before.pop(0)
    tape.plan = replace(tape.plan, header_form=True)
    assert check(tape.history(), EXPECTED, VAULT) == ()


def test_a_continued_thread_has_no_findings() -> None:
    """A journey into a thread that holds messages goes on at its seq and reads all of them back."""
    tape = right()
    for frame in tape.frames:
        if "seq" in frame:
            frame["seq"] += 7
    for message in tape.messages:
        message["seq"] += 7
    tape.messages.insert(0, {"seq": 1, "role": "user", "content": "x", "run_id": "r-0", "timestamp": START.isoformat()})
    tape.plan = replace(tape.plan, thread_id="t-1", first_seq=8, earlier=(Message(1, "user", "x", "r-0"),))
    assert check(tape.history(), EXPECTED, VAULT) == ()
    tape.plan = replace(tape.plan, first_seq=7)
    assert found(tape) == {"seq_hole"}


Tamper = Callable[[Tape], object]

TAMPERED: list[tuple[str, Tamper, set[str]]] = [
    # the five events
    ("no thinking", lambda tape: tape.remove(tape.event("agent_thinking")), {"missing_event"}),
    ("no tool at all", lambda tape: _without_tools(tape), {"missing_event"}),
    # the handshake
    ("no auth_success", lambda tape: tape.before.pop(0), {"handshake"}),
    ("another's auth_success", lambda tape: tape.before[0].update(user_id="u-2"), {"wrong_id"}),
    ("another's connection", lambda tape: tape.before[1].update(user_id="u-2"), {"wrong_id"}),
    ("another protocol", lambda tape: tape.before[1].update(protocol="netra.v2"), {"handshake"}),
    ("no connection_id", lambda tape: tape.before[1].pop("connection_id"), {"handshake"}),
    ("no server time", lambda tape: tape.before[1].pop("server_time"), {"timestamp"}),
    # acceptance
    ("accepted twice", lambda tape: tape.frames.insert(1, dict(tape.frames[0])), {"not_accepted"}),
    ("accepted late", lambda tape: tape.frames.insert(3, tape.frames.pop(0)), {"not_accepted"}),
    ("never accepted", lambda tape: tape.frames.pop(0), {"not_accepted", "read_back"}),
    ("another's message", lambda tape: tape.frames[0].update(client_message_id="c-2"), {"not_accepted"}),
    ("accepted at another seq", lambda tape: tape.frames[0].update(seq=2), {"seq_hole", "read_back"}),
    ("accepted elsewhere", lambda tape: setattr(tape, "plan", replace(tape.plan, thread_id="t-9")), {"wrong_id"}),
    ("accepted without ids", lambda tape: tape.frames[0].pop("run_id"), {"wrong_id", "read_back"}),
    # seq
    ("a hole", lambda tape: tape.frames.remove(tape.event("agent_thinking")), {"seq_hole", "missing_event"}),
    ("a seq twice", lambda tape: tape.event("agent_thinking").update(seq=2), {"seq_hole"}),
    ("out of order", lambda tape: _swap(tape, 6, 7), {"seq_hole", "timestamp"}),
    ("seq is text", lambda tape: tape.event("agent_thinking").update(seq="3"), {"seq_hole"}),
    ("seq is true", lambda tape: tape.event("user_message").update(seq=True), {"seq_hole"}),
    # ids
    ("another's event", lambda tape: tape.event("agent_thinking").update(user_id="u-2"), {"wrong_id"}),
    ("another thread", lambda tape: tape.event("agent_thinking").update(thread_id="t-2"), {"wrong_id"}),
    ("another run", lambda tape: tape.event("tool_completed").update(run_id="r-2"), {"wrong_id"}),
    ("another's text", lambda tape: tape.event("agent_delta").update(run_id="r-2"), {"wrong_id"}),
    ("no request_id", lambda tape: tape.event("user_message").pop("request_id"), {"wrong_id"}),
    # the message's own entry
    ("another text", lambda tape: tape.event("user_message")["data"].update(text="Hi"), {"wrong_message"}),
    ("another id", lambda tape: tape.event("user_message")["data"].pop("client_message_id"), {"wrong_message"}),
    ("an agent's message", lambda tape: tape.event("user_message").update(agent="supervisor"), {"wrong_message"}),
    ("no message", lambda tape: tape.frames.pop(1), {"wrong_message", "seq_hole"}),
    # nesting
    ("thinking before start", lambda tape: _start_late(tape), {"nesting", "timestamp"}),
    ("no attempt", lambda tape: tape.event("agent_started")["data"].clear(), {"nesting"}),
    ("a sub-agent of nobody", lambda tape: _child(tape, parent_request_id="q-9"), {"nesting"}),
    ("a sub-agent without parent", lambda tape: _child(tape, parent_request_id=None), {"nesting"}),
    ("a sub-agent of itself", lambda tape: _child(tape, parent_request_id="q-2"), {"nesting"}),
    ("a request used twice", lambda tape: _child(tape, request_id="q-1", parent_request_id="q-1"), {"nesting"}),
    ("an unknown request", lambda tape: tape.event("tool_executing").update(request_id="q-9"), {"nesting"}),
    ("another agent", lambda tape: tape.event("tool_executing").update(agent="report"), {"nesting"}),
    ("another parent", lambda tape: tape.event("tool_executing").update(parent_request_id=None), {"nesting"}),
    ("an endless sub-agent", lambda tape: tape.remove(tape.event("agent_completed")), {"nesting"}),
    (
        "a sub-agent that ends late",
        lambda tape: _after_the_end(tape, tape.event("agent_completed")),
        {"nesting", "final_event", "timestamp"},
    ),
    ("an endless tool", lambda tape: tape.remove(tape.event("tool_completed")), {"nesting"}),
    ("a tool that never began", lambda tape: tape.remove(tape.event("tool_executing")), {"nesting"}),
    ("swapped tool ids", lambda tape: _swap_tools(tape), {"nesting"}),
    ("a tool call used twice", lambda tape: _reuse_tool(tape), {"nesting"}),
    ("a tool without id", lambda tape: tape.event("tool_executing")["data"].pop("tool_call_id"), {"nesting"}),
    ("a tool that ends twice", lambda tape: _twice(tape, "tool_completed"), {"nesting"}),
    ("data is no object", lambda tape: tape.event("tool_executing").update(data=[1]), {"nesting"}),
    # the end
    ("two finals", lambda tape: _twice(tape, "agent_completed", 1), {"final_event", "nesting"}),
    (
        "a sub-agent's final",
        lambda tape: tape.event("agent_completed").update(final=True),
        {"final_event", "wrong_figure", "own_secret_missing", "read_back"},
    ),
    ("final is text", lambda tape: tape.event("agent_thinking").update(final="no"), {"final_event"}),
    (
        "one more event",
        lambda tape: _after_the_end(tape, dict(tape.event("agent_thinking"))),
        {"final_event", "nesting", "timestamp"},
    ),
    ("one more text", lambda tape: tape.frames.append(tape.event("agent_delta")), {"final_event"}),
    (
        "a failed run",
        lambda tape: tape.event("agent_completed", 1).update(type="agent_failed"),
        {"event_failed", "final_event"},
    ),
    (
        "a cancelled run",
        lambda tape: tape.event("agent_completed", 1).update(type="run_cancelled"),
        {"event_failed", "final_event"},
    ),
    ("a failed tool", lambda tape: tape.event("tool_completed")["data"].update(status="error"), {"event_failed"}),
    # time
    ("back in time", lambda tape: tape.event("tool_completed").update(timestamp=START.isoformat()), {"timestamp"}),
    ("no offset", lambda tape: tape.event("agent_thinking").update(timestamp="2025-06-01T00:00:00"), {"timestamp"}),
    ("no time", lambda tape: tape.event("user_message").update(timestamp=1748736000), {"timestamp"}),
    # the answer
    ("a wrong total", lambda tape: _result(tape)["figures"].update(total_usd="0.00"), {"wrong_figure"}),
    ("a wrong saving", lambda tape: _result(tape)["figures"]["savings_usd"].update(total="1.00"), {"wrong_figure"}),
    ("no figures", lambda tape: _result(tape).pop("figures"), {"wrong_figure", "own_secret_missing"}),
    ("no words", lambda tape: _result(tape).update(answer=" "), {"wrong_figure"}),
    ("no result", lambda tape: _both(tape, None), {"wrong_figure", "own_secret_missing"}),
    ("a text for a result", lambda tape: _both(tape, "All is well."), {"wrong_figure", "own_secret_missing"}),
    # frames
    ("an error", lambda tape: tape.frames.insert(5, {"type": "error", "code": "x", "message": "y"}), {"error_frame"}),
    ("an unknown frame", lambda tape: tape.frames.insert(5, {"type": "surprise"}), {"unexpected_frame"}),
    ("a frame without type", lambda tape: tape.frames.insert(5, {}), {"unexpected_frame"}),
    ("a gap", lambda tape: tape.frames.insert(5, {"type": "gap", "thread_id": "t-1"}), {"unexpected_frame"}),
    (
        "an unnumbered event",
        lambda tape: tape.event("agent_thinking").pop("seq"),
        {"unexpected_frame", "seq_hole", "missing_event"},
    ),
    # reading back
    ("a message lost", lambda tape: tape.messages.pop(), {"read_back"}),
    ("a message more", lambda tape: tape.messages.append(tape.messages[0]), {"read_back"}),
    ("another answer", lambda tape: tape.messages[1].update(content={}), {"read_back"}),
    ("another question", lambda tape: tape.messages[0].update(content="Hi"), {"read_back"}),
    ("another place", lambda tape: tape.messages[1].update(seq=9), {"read_back"}),
    ("another run's", lambda tape: tape.messages[1].update(run_id="r-2"), {"read_back"}),
    ("roles swapped", lambda tape: tape.messages[0].update(role="assistant"), {"read_back"}),
    ("no timestamp", lambda tape: tape.messages[0].pop("timestamp"), {"read_back"}),
    ("no object", lambda tape: tape.messages.__setitem__(0, "message"), {"unreadable"}),
    # service levels
    ("slow to connect", lambda tape: setattr(tape, "connect_s", 3.1), {"slow_connect"}),
    ("slow to begin", lambda tape: setattr(tape, "step_s", 1.7), {"slow_first_event"}),
    ("slow to end", lambda tape: setattr(tape, "step_s", 5.5), {"slow_first_event", "slow_journey"}),
    ("long silence", lambda tape: setattr(tape, "step_s", 31), {"slow_first_event", "slow_journey", "silence"}),
    # leaks
    ("a leak in a tool", lambda tape: tape.event("tool_completed")["data"].update(result=FOREIGN.label), {"leak"}),
    ("a leaked amount", lambda tape: tape.event("agent_delta").update(text=f"0.{FOREIGN.amounts[0]}"), {"leak"}),
    ("a leak in capitals", lambda tape: tape.event("agent_thinking")["data"].update(x=FOREIGN.model.upper()), {"leak"}),
    ("a leak in pieces", lambda tape: _in_pieces(tape, FOREIGN.model), {"leak"}),
    ("a leak in a header", lambda tape: _answered(tape, f"X-Model: {FOREIGN.model}", ""), {"leak"}),
    ("a leak in a body", lambda tape: _answered(tape, "", FOREIGN.account), {"leak"}),
    ("a leak before the message", lambda tape: tape.before[1].update(server=FOREIGN.label), {"leak"}),
    ("a leak in a key", lambda tape: tape.frames[0].update({FOREIGN.label: 1}), {"leak"}),
]


@pytest.mark.parametrize(
    ("tamper", "expected"), [row[1:] for row in TAMPERED], ids=[row[0].replace(" ", "-") for row in TAMPERED]
)
def test_what_is_broken_is_found(tamper: Tamper, expected: set[str]) -> None:
    """Each way to break a promise gives the findings that name it, and no others."""
    tape = right()
    tamper(tape)
    assert found(tape) == expected


def test_each_missing_event_is_counted() -> None:
    """A run without two of the five events has two findings."""
    tape = right()
    _without_tools(tape)
    details = [finding.detail for finding in check(tape.history(), EXPECTED, VAULT)]
    assert len(details) == 2
    assert "no tool_executing" in details[0]


def test_own_secrets_are_no_leak() -> None:
    """The user's own secrets may be anywhere."""
    tape = right()
    _answered(tape, plant(SEED, USER).label, plant(SEED, USER).account)
    assert found(tape) == set()


def disturbed() -> History:
    """A right journey whose connection was lost after three entries, and once more before the handshake's end."""
    tape = right()
    history = tape.history()
    cut = len(tape.before) + 4
    hello = history.received[: len(tape.before)]
    return replace(
        history,
        plan=replace(tape.plan, drops=(3, 0), outlives_server=True),
        received=(*history.received[:cut], hello[0], *hello, *history.received[cut:]),
        begins=(0, cut, cut + 1),
        replayed=tuple(item for item in history.received if "timestamp" in item.frame),
    )


def test_a_journey_that_came_back_has_no_findings() -> None:
    """Frames of several connections that add up to every entry once, and to what is replayed, are right."""
    assert check(disturbed(), EXPECTED, VAULT) == ()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (lambda history: replace(history, replayed=history.replayed[:-1]), {"replay"}),
        (lambda history: replace(history, replayed=(*history.replayed, history.replayed[-1])), {"replay"}),
        (lambda history: replace(history, replayed=tuple(reversed(history.replayed))), {"replay"}),
        (lambda history: replace(history, begins=(0, 6, 8)), {"handshake"}),
        (lambda history: _received_twice(history, 5), {"seq_hole", "replay"}),
        (lambda history: _not_received(history, 5), {"seq_hole", "replay", "missing_event"}),
        (lambda history: _replays_a_secret(history), {"leak", "replay"}),
    ],
)
def test_what_coming_back_must_not_do_is_found(changed: Callable[[History], History], expected: set[str]) -> None:
    """An entry that comes twice, never, or otherwise than before is found."""
    assert {finding.name for finding in check(changed(disturbed()), EXPECTED, VAULT)} == expected


def test_findings_show_no_secret_in_full() -> None:
    """A detail names owner and place of a leak and does not repeat the secret, wherever it stood."""
    tape = right()
    tape.event("tool_completed")["data"]["result"] = FOREIGN.label
    tape.event("agent_thinking")["run_id"] = FOREIGN.model
    _result(tape)["figures"]["by_model_usd"][f"gpt-{FOREIGN.model}"] = "1.00"
    tape.messages[0]["content"] = "x" * 30 + FOREIGN.label.upper()
    findings = check(tape.history(), EXPECTED, VAULT)
    assert {"leak", "wrong_figure", "wrong_id", "read_back"} <= {finding.name for finding in findings}
    assert not VAULT.foreign(" ".join(finding.detail for finding in findings).encode(), USER)
    leak = next(finding.detail for finding in findings if FOREIGN.label[:6] in finding.detail)
    assert "of user 2 in the frame tool_completed at 7" in leak


def test_a_journey_that_ended_early_says_why_and_what_it_lacks() -> None:
    """A connection that ends mid-way is a finding, and the events that did not come are counted."""
    tape = right()
    del tape.frames[5:]
    tape.failure = Failure(FailureName.CONNECTION_ENDED, "the connection ended with code 1006")
    findings = check(tape.history(), EXPECTED, VAULT)
    names = [finding.name for finding in findings]
    assert names == ["connection_ended", "missing_event", "missing_event", "missing_event"]
    assert "1006" in findings[0].detail


def test_a_journey_that_never_connected_is_one_finding() -> None:
    """Before the message was sent, nothing is missing but the connection; a leak is a leak even then."""
    tape = right()
    tape.frames.clear()
    tape.before.clear()
    tape.failure = Failure(FailureName.NETWORK_ERROR, "refused")
    assert [finding.name for finding in check(replace(tape.history(), sent_at=None), EXPECTED, VAULT)] == [
        "network_error"
    ]
    _answered(tape, "", FOREIGN.label)
    assert {finding.name for finding in check(replace(tape.history(), sent_at=None), EXPECTED, VAULT)} == {
        "network_error",
        "leak",
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 12) | st.sampled_from(["q-1", "q-2", "k-1", "u-1", "t-1", ""]),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.sampled_from("ab"), children, max_size=2),
    max_leaves=3,
)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 11), values), max_size=6),
    st.permutations(range(13)),
)
def test_no_history_breaks_the_checker(changes: list[tuple[int, bool, int, Any]], order: list[int]) -> None:
    """Frames of any shape in any order give findings, never an exception."""
    tape = right()
    for place, inside, name, value in changes:
        frame = tape.frames[place]
        part = frame["data"] if inside and isinstance(frame.get("data"), dict) else frame
        if part:
            part[list(part)[name % len(part)]] = value
    shuffled = replace(tape, frames=[tape.frames[place] for place in order])
    check(tape.history(), EXPECTED, VAULT)
    check(shuffled.history(), EXPECTED, VAULT)


def _received_twice(history: History, place: int) -> History:
    item = history.received[place]
    return replace(
        history,
        received=(*history.received[:place], item, *history.received[place:]),
        begins=tuple(begin + (begin > place) for begin in history.begins),
    )


def _not_received(history: History, place: int) -> History:
    return replace(
        history,
        received=(*history.received[:place], *history.received[place + 1 :]),
        begins=tuple(begin - (begin > place) for begin in history.begins),
    )


def _replays_a_secret(history: History) -> History:
    assert history.replayed is not None
    first = history.replayed[0]
    raw = first.raw + FOREIGN.label.encode()
    return replace(history, replayed=(replace(first, raw=raw, frame={**first.frame, "x": 1}), *history.replayed[1:]))


def _result(tape: Tape) -> Any:
    """The answer, the same on the socket and when read back."""
    tape.messages[1]["content"] = tape.event("agent_completed", 1)["data"]["result"]
    return tape.messages[1]["content"]


def _both(tape: Tape, result: Any) -> None:
    tape.event("agent_completed", 1)["data"]["result"] = tape.messages[1]["content"] = result


def _without_tools(tape: Tape) -> None:
    for type_ in ("tool_executing", "tool_completed"):
        for _ in range(2):
            tape.remove(tape.event(type_))


def _child(tape: Tape, **ids: Any) -> None:
    """Gives the sub-agent's events other ids."""
    for frame in tape.frames:
        if frame.get("request_id") == "q-2":
            frame.update(ids)


def _swap(tape: Tape, one: int, other: int) -> None:
    tape.frames[one], tape.frames[other] = tape.frames[other], tape.frames[one]


def _start_late(tape: Tape) -> None:
    _swap(tape, 2, 3)
    tape.renumber()


def _swap_tools(tape: Tape) -> None:
    one, other = (tape.event("tool_completed", place)["data"] for place in (0, 1))
    one["tool_call_id"], other["tool_call_id"] = other["tool_call_id"], one["tool_call_id"]


def _reuse_tool(tape: Tape) -> None:
    for type_ in ("tool_executing", "tool_completed"):
        tape.event(type_, 1)["data"]["tool_call_id"] = "k-1"


def _twice(tape: Tape, type_: str, place: int = 0) -> None:
    """Sends an event twice, without leaving a hole."""
    frame = tape.event(type_, place)
    tape.frames.insert(tape.frames.index(frame), dict(frame))
    tape.renumber()


def _after_the_end(tape: Tape, frame: Frame) -> None:
    """Sends an event after the final one."""
    tape.frames[:] = [other for other in tape.frames if other is not frame]
    tape.frames.insert(len(tape.frames) - 1, frame)
    tape.renumber()


def _in_pieces(tape: Tape, secret: str) -> None:
    delta = tape.event("agent_delta")
    delta["text"] = secret[:9]
    tape.frames.insert(tape.frames.index(delta) + 1, {**delta, "text": secret[9:]})


def _answered(tape: Tape, headers: str, body: str) -> None:
    tape.exchanges.append(Exchange("GET /api/threads/t-1/messages", 200, headers.encode(), body.encode()))
