"""What must be true of every journey: pure functions over what was received."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import pairwise, zip_longest
from typing import Any, Self

import orjson

from netra_golden_path.canary import Vault, redact
from netra_golden_path.client import PROTOCOL, Exchange, Received
from netra_golden_path.figures import Figures
from netra_golden_path.journey import History, Message, is_event, is_final

THE_FIVE_EVENTS = ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed")

_IN_THE_LOG = frozenset((*THE_FIVE_EVENTS, "user_message", "agent_failed", "run_cancelled"))
_BESIDE_THE_LOG = frozenset(("auth_success", "connection_ready", "message_accepted", "agent_delta", "pong", "error"))
_SHOWN = 400


class Violation(StrEnum):
    """What can be wrong with a journey that reached its end."""

    LEAK = "leak"
    MISSING_EVENT = "missing_event"
    HANDSHAKE = "handshake"
    NOT_ACCEPTED = "not_accepted"
    SEQ_HOLE = "seq_hole"
    WRONG_ID = "wrong_id"
    WRONG_MESSAGE = "wrong_message"
    NESTING = "nesting"
    FINAL_EVENT = "final_event"
    EVENT_FAILED = "event_failed"
    TIMESTAMP = "timestamp"
    WRONG_FIGURE = "wrong_figure"
    OWN_SECRET_MISSING = "own_secret_missing"  # nosec B105  # the name of a finding
    ERROR_FRAME = "error_frame"
    UNEXPECTED_FRAME = "unexpected_frame"
    READ_BACK = "read_back"
    REPLAY = "replay"
    SLOW_CONNECT = "slow_connect"
    SLOW_FIRST_EVENT = "slow_first_event"
    SLOW_JOURNEY = "slow_journey"
    SILENCE = "silence"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLevels:
    """How long things may take, in seconds."""

    connect_s: float = 3.0
    first_event_s: float = 5.0
    journey_s: float = 60.0
    silence_s: float = 30.0

    @classmethod
    def none(cls, limit_s: float) -> Self:
        """Levels that promise nothing within a journey of at most `limit_s`."""
        return cls(connect_s=limit_s, first_event_s=limit_s, journey_s=limit_s, silence_s=limit_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of a user from outside.

    Attributes:
        user: the user's number.
        user_id: as the server told over HTTP.
        figures: of the records the user uploaded.
    """

    user: int
    user_id: str
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One promise that was not kept.

    Attributes:
        name: of the promise or the failure.
        user: the user's number.
        journey: the journey's number; 0 is the preparation.
        detail: what was expected and what came, without secrets in full.
    """

    name: str
    user: int
    journey: int
    detail: str


def check(
    history: History, expected: Expected, vault: Vault, levels: ServiceLevels | None = None
) -> tuple[Finding, ...]:
    """Checks one journey.

    Args:
        history: what it received, of whatever shape.
        expected: what is known of its user.
        vault: the secrets of all users.
        levels: how long things may take; those of the design when not given.

    Returns:
        What is wrong; nothing when all is right.
    """
    evidence = _Evidence(history, expected, vault, levels or ServiceLevels())
    found: list[tuple[str, str]] = []
    if history.failure is not None:
        found.append((history.failure.name, history.failure.reason))
    for rule in _RULES if history.sent_at is not None else _RULES_BEFORE_THE_MESSAGE:
        try:
            found += rule(evidence)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            found.append((Violation.UNREADABLE, f"{rule.__name__}: {error!r}"))
    return tuple(
        Finding(name=str(name), user=expected.user, journey=history.plan.journey, detail=_shortened(detail))
        for name, detail in found
    )


def leaks(
    received: tuple[Received, ...], exchanges: tuple[Exchange, ...], vault: Vault, user: int
) -> Iterator[tuple[Violation, str]]:
    """Finds every secret of another user in what one user received."""
    pieces = [(_place(item), item.raw) for item in received]
    for exchange in exchanges:
        pieces.append((f"headers of {exchange.call}", exchange.headers))
        pieces.append((f"body of {exchange.call}", exchange.body))
    deltas = "".join(str(item.frame.get("text")) for item in received if item.frame.get("type") == "agent_delta")
    pieces.append(("the streamed text", deltas.encode(errors="replace")))
    for sighting in vault.foreign(b"\n".join(data for _, data in pieces), user):
        where = next(place for place, data in pieces if sighting in vault.sightings(data))
        yield Violation.LEAK, f"{sighting} in {where}"


@dataclass(frozen=True)
class _Evidence:
    """A history with what the rules ask of it."""

    history: History
    expected: Expected
    vault: Vault
    levels: ServiceLevels

    @cached_property
    def log(self) -> list[Mapping[str, Any]]:
        """The frames of the thread's log, in the order received."""
        frames = (received.frame for received in self.history.received)
        return [frame for frame in frames if "seq" in frame and frame.get("type") != "message_accepted"]

    @cached_property
    def events(self) -> list[Mapping[str, Any]]:
        """The events of the run, in the order received."""
        return [frame for frame in self.log if is_event(frame)]

    @cached_property
    def accepted(self) -> Mapping[str, Any]:
        return self.history.accepted() or {}

    @cached_property
    def final(self) -> Mapping[str, Any]:
        return self.history.final() or {}

    @cached_property
    def result(self) -> Any:
        return _data(self.final).get("result")


Found = Iterator[tuple[Violation, str]]


def no_leak(evidence: _Evidence) -> Found:
    """No secret of another user in anything received: frames, HTTP bodies, headers."""
    history = evidence.history
    received = (*history.received, *(history.replayed or ()))
    yield from leaks(received, history.exchanges, evidence.vault, evidence.expected.user)


def all_five_events(evidence: _Evidence) -> Found:
    """Each of the five events at least once."""
    seen = {event.get("type") for event in evidence.events}
    for type_ in THE_FIVE_EVENTS:
        if type_ not in seen:
            yield Violation.MISSING_EVENT, f"no {type_} among {len(evidence.events)} events"


def handshake(evidence: _Evidence) -> Found:
    """`auth_success` when the token came in a frame, then `connection_ready`, nothing else, for this user; also when
    the user came back."""
    history = evidence.history
    for number, connection in enumerate(history.connections(), 1):
        may_be_cut_off = number < len(history.begins) or history.failure is not None
        yield from _handshake([received.frame for received in connection], evidence, may_be_cut_off)


def _handshake(frames: list[Mapping[str, Any]], evidence: _Evidence, may_be_cut_off: bool) -> Found:
    wanted = ["connection_ready"] if evidence.history.plan.header_form else ["auth_success", "connection_ready"]
    got = [frame.get("type") for frame in frames[: len(wanted)]]
    if may_be_cut_off:
        wanted = wanted[: len(got)]
    if got != wanted:
        yield Violation.HANDSHAKE, f"expected {wanted}, got {got}"
        return
    for frame in frames[: len(wanted)]:
        if frame.get("user_id") != evidence.expected.user_id:
            yield Violation.WRONG_ID, f"{frame.get('type')} is for user_id {frame.get('user_id')!r}"
    if "connection_ready" not in wanted:
        return
    ready = frames[len(wanted) - 1]
    if ready.get("protocol") != PROTOCOL or not _is_id(ready.get("connection_id")):
        yield Violation.HANDSHAKE, f"expected {PROTOCOL} and a connection_id, got {dict(ready)}"
    if _moment(ready.get("server_time")) is None:
        yield Violation.TIMESTAMP, f"connection_ready has server_time {ready.get('server_time')!r}"


def accepted_once(evidence: _Evidence) -> Found:
    """The message was accepted once, before its own entry in the log, under the ids that it carried."""
    plan, accepted = evidence.history.plan, evidence.accepted
    types = [received.frame.get("type") for received in evidence.history.received]
    if types.count("message_accepted") != 1:
        yield Violation.NOT_ACCEPTED, f"expected one message_accepted, got {types.count('message_accepted')}"
    if not accepted:
        return
    if any("seq" in received.frame for received in evidence.history.received[: types.index("message_accepted")]):
        yield Violation.NOT_ACCEPTED, "message_accepted came after entries of the log"
    if accepted.get("client_message_id") != plan.client_message_id:
        yield (
            Violation.NOT_ACCEPTED,
            f"expected client_message_id {plan.client_message_id!r}, got {accepted.get('client_message_id')!r}",
        )
    if plan.thread_id not in (None, accepted.get("thread_id")):
        yield Violation.WRONG_ID, f"sent into thread {plan.thread_id!r}, accepted in {accepted.get('thread_id')!r}"
    for name in ("thread_id", "run_id"):
        if not _is_id(accepted.get(name)):
            yield Violation.WRONG_ID, f"message_accepted has {name} {accepted.get(name)!r}"


def seq_without_holes(evidence: _Evidence) -> Found:
    """The log goes on where the thread ended, one by one, in the order of delivery."""
    wanted = evidence.history.plan.first_seq
    if evidence.accepted and not _is_number(evidence.accepted.get("seq"), wanted):
        yield Violation.SEQ_HOLE, f"message_accepted: expected seq {wanted}, got {evidence.accepted.get('seq')!r}"
    for frame in evidence.log:
        if not _is_number(frame.get("seq"), wanted):
            yield Violation.SEQ_HOLE, f"{frame.get('type')}: expected seq {wanted}, got {frame.get('seq')!r}"
            return
        wanted += 1


def right_ids(evidence: _Evidence) -> Found:
    """Every entry of the log, and every streamed piece of text, is of this user, thread and run."""
    accepted = {name: evidence.accepted[name] for name in ("thread_id", "run_id") if name in evidence.accepted}
    right = {"user_id": evidence.expected.user_id, **accepted}
    wrong: Counter[str] = Counter()
    for frame in evidence.log:
        for name, value in right.items():
            if frame.get(name) != value:
                wrong[f"{name} {frame.get(name)!r} in place of {value!r}"] += 1
        if not _is_id(frame.get("request_id")):
            wrong[f"request_id {frame.get('request_id')!r}"] += 1
    for received in evidence.history.received:
        if received.frame.get("type") == "agent_delta":
            for name, value in accepted.items():
                if received.frame.get(name) != value:
                    wrong[f"{name} {received.frame.get(name)!r} in place of {value!r}"] += 1
    for text, count in wrong.items():
        yield Violation.WRONG_ID, f"{text} ({count} frames)"


def message_in_the_log(evidence: _Evidence) -> Found:
    """The log holds the user's message first and once, as it was sent."""
    plan = evidence.history.plan
    entries = [frame for frame in evidence.log if frame.get("type") == "user_message"]
    if len(entries) != 1 or entries[0] is not evidence.log[0]:
        yield Violation.WRONG_MESSAGE, f"expected one user_message first in the log, got {len(entries)}"
    for entry in entries[:1]:
        data = _data(entry)
        if (data.get("text"), data.get("client_message_id")) != (plan.text, plan.client_message_id):
            yield Violation.WRONG_MESSAGE, f"expected the text and id as sent, got {dict(data)}"
        if entry.get("agent", "absent") is not None:
            yield Violation.WRONG_MESSAGE, f"expected agent null, got {entry.get('agent', 'no agent')!r}"


@dataclass(slots=True)
class _Scope:
    """One agent at work: its name, its parent's request, its own open tool calls by id."""

    agent: Any
    parent: Any
    open_tools: dict[str, Any]


def nested(evidence: _Evidence) -> Found:
    """Agents and tools end what they start, inside the agent that started them, and the chain leads to the run's."""
    if not evidence.events:
        return
    root = evidence.events[0]
    if root.get("type") != "agent_started":
        yield Violation.NESTING, f"expected agent_started first, got {root.get('type')}"
        return
    attempt = _data(root).get("attempt")
    if type(attempt) is not int or attempt < 1:
        yield Violation.NESTING, f"the run's agent_started has attempt {attempt!r}"
    scopes = {_key(root): _Scope(root.get("agent"), root.get("parent_request_id"), {})}
    used_requests, used_tools = set(scopes), set[str]()
    for event in evidence.events[1:]:
        type_, key, where = event.get("type"), _key(event), _named(event)
        parent = event.get("parent_request_id")
        if type_ == "agent_started":
            if key in used_requests:
                yield Violation.NESTING, f"{where}: its request_id was used before"
            if repr(parent) not in scopes:
                yield Violation.NESTING, f"{where}: its parent {parent!r} is no agent at work"
            scopes[key] = _Scope(event.get("agent"), parent, {})
            used_requests.add(key)
            continue
        scope = scopes.get(key)
        if scope is None:
            yield Violation.NESTING, f"{where}: its request {event.get('request_id')!r} is no agent at work"
            continue
        right, got = (scope.agent, scope.parent), (event.get("agent"), parent)
        if got != right:
            yield Violation.NESTING, f"{where}: expected agent and parent_request_id {right}, got {got}"
        if type_ in ("tool_executing", "tool_completed"):
            yield from _tool(event, scope, used_tools)
        elif type_ in ("agent_completed", "agent_failed", "run_cancelled"):
            del scopes[key]
            yield from ((Violation.NESTING, f"{where}: its tool call {tool!r} has no end") for tool in scope.open_tools)
            yield from (
                (Violation.NESTING, f"{where}: its sub-agent {child.agent!r} has no end")
                for child in scopes.values()
                if repr(child.parent) == key
            )
    if evidence.final:
        for scope in scopes.values():
            yield Violation.NESTING, f"agent {scope.agent!r} has no end"


def _tool(event: Mapping[str, Any], scope: _Scope, used: set[str]) -> Found:
    data, where = _data(event), _named(event)
    call, tool = repr(data.get("tool_call_id")), data.get("tool")
    if not _is_id(data.get("tool_call_id")) or not _is_id(tool):
        yield Violation.NESTING, f"{where}: tool_call_id {call}, tool {tool!r}"
    if event.get("type") == "tool_executing":
        if call in used:
            yield Violation.NESTING, f"{where}: tool call {call} was used before"
        used.add(call)
        scope.open_tools[call] = tool
    elif call not in scope.open_tools:
        yield Violation.NESTING, f"{where}: tool call {call} is not open in this agent"
    elif (started := scope.open_tools.pop(call)) != tool:
        yield Violation.NESTING, f"{where}: tool call {call} began as {started!r}, ended as {tool!r}"


def one_final_event(evidence: _Evidence) -> Found:
    """One event calls itself final: the last one, `agent_completed` of the run's own agent."""
    if evidence.history.failure is not None and not evidence.final:
        return
    frames = [received.frame for received in evidence.history.received]
    finals = [frame for frame in frames if frame.get("final", False) is not False]
    if len(finals) != 1:
        yield Violation.FINAL_EVENT, f"expected one final event, got {[_named(frame) for frame in finals]}"
    if not evidence.final:
        return
    if evidence.events:
        root = evidence.events[0]
        right = "agent_completed", root.get("agent"), root.get("request_id")
        got = tuple(evidence.final.get(name) for name in ("type", "agent", "request_id"))
        if got != right:
            yield Violation.FINAL_EVENT, f"expected {right}, got {got}"
    place = next(place for place, frame in enumerate(frames) if is_final(frame))
    begun_later = any(begin > place for begin in evidence.history.begins)
    allowed = ("pong", "auth_success", "connection_ready") if begun_later else ("pong",)
    after = [_named(frame) for frame in frames[place + 1 :] if frame.get("type") not in allowed]
    if after:
        yield Violation.FINAL_EVENT, f"after the final event came {after}"


def nothing_failed(evidence: _Evidence) -> Found:
    """No agent and no tool failed."""
    for event in evidence.events:
        data = _data(event)
        if event.get("type") in ("agent_failed", "run_cancelled"):
            yield Violation.EVENT_FAILED, f"{_named(event)}: {dict(data)}"
        if event.get("type") == "tool_completed" and data.get("status") != "ok":
            yield Violation.EVENT_FAILED, f"{_named(event)}: {dict(data)}"


def time_goes_forward(evidence: _Evidence) -> Found:
    """The timestamps have an offset and do not go backwards within the run."""
    for entry in evidence.log:
        if _moment(entry.get("timestamp")) is None:
            yield Violation.TIMESTAMP, f"{_named(entry)}: timestamp {entry.get('timestamp')!r}"
            return
    moments = [(event, datetime.fromisoformat(event["timestamp"])) for event in evidence.events]
    for (_, earlier), (event, later) in pairwise(moments):
        if later < earlier:
            yield Violation.TIMESTAMP, f"{_named(event)}: {later.isoformat()} after {earlier.isoformat()}"


def right_figures(evidence: _Evidence) -> Found:
    """The answer's figures are those of the records that the user uploaded, and there is a text."""
    if evidence.final.get("type") != "agent_completed":
        return
    if not isinstance(evidence.result, dict):
        yield Violation.WRONG_FIGURE, f"expected a result with figures, got {evidence.result!r}"
        return
    answer = evidence.result.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        yield Violation.WRONG_FIGURE, f"expected an answer in words, got {answer!r}"
    for difference in evidence.expected.figures.differences(evidence.result.get("figures")):
        yield Violation.WRONG_FIGURE, difference


def own_secret_in_the_answer(evidence: _Evidence) -> Found:
    """The answer holds the user's own secret: the detector sees what there is to be seen."""
    if evidence.final.get("type") != "agent_completed":
        return
    if not evidence.vault.own(orjson.dumps(evidence.result), evidence.expected.user):
        yield Violation.OWN_SECRET_MISSING, "no secret of the user's own in the answer"


def no_error_frames(evidence: _Evidence) -> Found:
    """No `error` frame."""
    for received in evidence.history.received:
        if received.frame.get("type") == "error":
            yield Violation.ERROR_FRAME, f"{received.frame.get('code')}: {received.frame.get('message')}"


def known_frames(evidence: _Evidence) -> Found:
    """Only frames of the wire, numbered exactly when they stand in the log."""
    unexpected: Counter[str] = Counter()
    for received in evidence.history.received:
        type_ = received.frame.get("type")
        in_the_log = "seq" in received.frame and type_ != "message_accepted"
        if type_ not in (_IN_THE_LOG if in_the_log else _BESIDE_THE_LOG):
            unexpected[f"{type_!r} {'with' if in_the_log else 'without'} seq"] += 1
    for text, count in unexpected.items():
        yield Violation.UNEXPECTED_FRAME, f"{text} ({count} frames)"


def read_back_equal(evidence: _Evidence) -> Found:
    """The thread read back over HTTP holds what was there, the message and the answer, and nothing else."""
    if evidence.history.messages is None:
        return
    right = [*evidence.history.plan.earlier, *said(evidence.history)]
    got = evidence.history.messages
    if len(got) != len(right):
        yield Violation.READ_BACK, f"expected {len(right)} messages, got {len(got)}"
    for message, read in zip(right, got, strict=False):
        for name in ("seq", "role", "content", "run_id"):
            value = read.get(name)
            if value != getattr(message, name):
                yield (
                    Violation.READ_BACK,
                    f"{message.role} at {message.seq}: expected {name} {getattr(message, name)!r}, got {value!r}",
                )
        if _moment(read.get("timestamp")) is None:
            yield Violation.READ_BACK, f"{message.role} at {message.seq}: timestamp {read.get('timestamp')!r}"


def replayed_equal(evidence: _Evidence) -> Found:
    """What is replayed at the end is what was received: every entry once, in order, unchanged."""
    if evidence.history.replayed is None:
        return
    replayed = [received.frame for received in evidence.history.replayed]
    if replayed == evidence.log:
        return
    for received, again in zip_longest(evidence.log, replayed):
        if received != again:
            first, second = ("nothing" if frame is None else _named(frame) for frame in (received, again))
            yield Violation.REPLAY, f"received {first}, replayed {second}, of {len(evidence.log)} entries"
            return


def said(history: History) -> tuple[Message, Message]:
    """The two messages that a journey leaves in its thread, as seen on the socket."""
    accepted, final = history.accepted() or {}, history.final() or {}
    run_id = accepted.get("run_id", "")
    return (
        Message(accepted.get("seq", 0), "user", history.plan.text, run_id),
        Message(final.get("seq", 0), "assistant", _data(final).get("result"), run_id),
    )


def within_service_levels(evidence: _Evidence) -> Found:
    """Connecting, the first event, the whole journey and every silence are short enough."""
    history, levels = evidence.history, evidence.levels
    for name, took, allowed in (
        (Violation.SLOW_CONNECT, history.connect_s, levels.connect_s),
        (Violation.SLOW_FIRST_EVENT, history.first_event_s, levels.first_event_s),
        (Violation.SLOW_JOURNEY, history.journey_s, levels.journey_s),
    ):
        if took is not None and took > allowed:
            yield name, f"{took:.3f} s, allowed {allowed:g} s"
    if history.sent_at is None:
        return
    moments = [history.sent_at, *(received.at for received in history.received if received.at >= history.sent_at)]
    silence = max((later - earlier for earlier, later in pairwise(moments)), default=0.0)
    if silence > levels.silence_s:
        yield Violation.SILENCE, f"{silence:.3f} s without a frame, allowed {levels.silence_s:g} s"


Rule = Callable[[_Evidence], Found]

_RULES_BEFORE_THE_MESSAGE: tuple[Rule, ...] = (no_leak, no_error_frames, within_service_levels)
_RULES: tuple[Rule, ...] = (
    no_leak,
    all_five_events,
    handshake,
    accepted_once,
    seq_without_holes,
    right_ids,
    message_in_the_log,
    nested,
    one_final_event,
    nothing_failed,
    time_goes_forward,
    right_figures,
    own_secret_in_the_answer,
    no_error_frames,
    known_frames,
    read_back_equal,
    replayed_equal,
    within_service_levels,
)


def _data(frame: Mapping[str, Any]) -> Mapping[str, Any]:
    data = frame.get("data")
    return data if isinstance(data, dict) else {}


def _key(frame: Mapping[str, Any]) -> str:
    return repr(frame.get("request_id"))


def _named(frame: Mapping[str, Any]) -> str:
    return f"{frame.get('type')} at {frame['seq']}" if "seq" in frame else str(frame.get("type"))


def _place(item: Received) -> str:
    return f"the frame {_named(item.frame)}"


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: Any, right: int) -> bool:
    return type(value) is int and value == right


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


def _shortened(detail: str) -> str:
    text = redact(detail)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
