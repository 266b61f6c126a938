"""One user's way through the golden path: connect, ask, watch until the final event, read the thread back.

Where connections are dropped on purpose or the server is killed, the user comes back: a message that was not
acknowledged is sent again under its id, and a thread is resumed behind the last entry that came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Any, Final

import aiohttp

from netra_golden_path.client import (
    CallRefused,
    Client,
    Clock,
    ConnectionEnded,
    Exchange,
    Received,
    Socket,
    WireBroken,
)

QUESTION = "Analyze my AI costs and recommend savings"
LIMIT_S = 75.0
"""How long a journey may take before it is given up."""

_LOST: Final = (None, 1006, 1012)
"""The codes of a connection whose server died or goes away."""

_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a thread, as it must be read back."""

    seq: int
    role: str
    content: Any
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a journey does.

    Attributes:
        user: the user's number.
        journey: the journey's number, from 1.
        header_form: whether the token travels in the upgrade's header, else in the first frame.
        client_message_id: the message's id.
        thread_id: the thread to send into; None lets the server choose.
        first_seq: the seq that the message must get.
        earlier: what the thread holds already.
        text: the message.
        drops: after how many further entries of the log each connection in turn is dropped; 0 is before any answer.
        outlives_server: whether to come back when the server is gone.
    """

    user: int
    journey: int
    header_form: bool
    client_message_id: str
    thread_id: str | None = None
    first_seq: int = 1
    earlier: tuple[Message, ...] = ()
    text: str = QUESTION
    drops: tuple[int, ...] = ()
    outlives_server: bool = False

    @property
    def is_disturbed(self) -> bool:
        """Whether connections may end before the journey does."""
        return bool(self.drops) or self.outlives_server


class FailureName(StrEnum):
    """Why a journey did not reach its end."""

    TIMEOUT = "timeout"
    CALL_REFUSED = "call_refused"
    MESSAGE_REFUSED = "message_refused"
    CONNECTION_ENDED = "connection_ended"
    WIRE_BROKEN = "wire_broken"
    NETWORK_ERROR = "network_error"
    PROVER_ERROR = "prover_error"


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a journey before its end, and the reason in words."""

    name: FailureName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything a journey received. Times are of one monotonic clock, in seconds.

    Attributes:
        plan: what it set out to do.
        received: the frames, in order.
        begins: where in `received` the frames of each connection begin.
        replayed: the journey's part of the log as replayed at the end; None when it was not asked for.
        drops: how many connections were dropped on purpose.
        losses: how many times the server was gone.
        resends: how many times the message was sent again.
        exchanges: the HTTP answers, in order.
        messages: the thread as read back; None when it did not come so far.
        started_at: when it began to connect.
        sent_at: when it sent the message; None when it did not come so far.
        failure: why it did not reach its end; None when it did.
    """

    plan: Plan
    received: tuple[Received, ...]
    exchanges: tuple[Exchange, ...]
    messages: tuple[Any, ...] | None
    started_at: float
    sent_at: float | None
    failure: Failure | None = None
    begins: tuple[int, ...] = (0,)
    replayed: tuple[Received, ...] | None = None
    drops: int = 0
    losses: int = 0
    resends: int = 0

    def connections(self) -> Iterator[tuple[Received, ...]]:
        """The frames of each connection."""
        for begin, end in zip(self.begins, (*self.begins[1:], len(self.received)), strict=True):
            yield self.received[begin:end]

    @property
    def connect_s(self) -> float | None:
        """From the first step of connecting to `connection_ready`."""
        return self._since(self.started_at, _is_ready)

    @property
    def first_event_s(self) -> float | None:
        """How long a connection was open and waited, from the message to the first event of the run.

        Where connections were cut before it came, the time between them does not count: how long a client was kept
        away is the prover's doing and not the server's.
        """
        if self.sent_at is None:
            return None
        waited = 0.0
        for frames in self.connections():
            ready_at = next((received.at for received in frames if _is_ready(received.frame)), self.sent_at)
            since = max(ready_at, self.sent_at)
            came_at = next((received.at for received in frames if is_event(received.frame)), None)
            if came_at is not None:
                return waited + came_at - since
            waited += max([0.0, *(received.at - since for received in frames)])
        return None

    @property
    def journey_s(self) -> float | None:
        """From the message to the final event."""
        return self._since(self.sent_at, is_final)

    def accepted(self) -> Mapping[str, Any] | None:
        """The first `message_accepted`."""
        frames = (received.frame for received in self.received)
        return next((frame for frame in frames if frame.get("type") == "message_accepted"), None)

    def final(self) -> Mapping[str, Any] | None:
        """The first frame that calls itself final."""
        return next((received.frame for received in self.received if is_final(received.frame)), None)

    def _since(self, start: float | None, matches: Callable[[Mapping[str, Any]], bool]) -> float | None:
        if start is None:
            return None
        return next((received.at - start for received in self.received if matches(received.frame)), None)


@dataclass(slots=True)
class _Progress:
    """How far a journey has come."""

    started_at: float
    waiting_for: str = "the connection"
    sockets: list[Socket] = field(default_factory=list)
    sent: int = 0
    sent_at: float | None = None
    thread_id: str | None = None
    is_accepted: bool = False
    last_seq: int = 0
    is_over: bool = False
    replayed: tuple[Received, ...] | None = None
    messages: tuple[Any, ...] | None = None
    drops: int = 0
    losses: int = 0

    def last_frame(self) -> Mapping[str, Any] | None:
        """The frame that came last."""
        return next((socket.received[-1].frame for socket in reversed(self.sockets) if socket.received), None)


class _MessageRefused(Exception):
    """Raised when an `error` frame comes in place of `message_accepted`."""


class _Dropped(Exception):
    """Raised when a connection was dropped on purpose."""


async def travel(client: Client, plan: Plan, *, limit_s: float = LIMIT_S, clock: Clock = time.monotonic) -> History:
    """Makes one journey. Whatever goes wrong in it is its failure, never an exception.

    Args:
        client: of the user, signed in.
        plan: what to do.
        limit_s: when to give up, in seconds.
        clock: monotonic, the one of `client`.

    Returns:
        Everything that was received.
    """
    failure = None
    progress = _Progress(clock(), thread_id=plan.thread_id, last_seq=plan.first_seq - 1)
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            await _until_done(plan, progress, client.renew)
            progress.started_at = clock()
            await _go(client, plan, progress, clock)
    except Exception as error:
        failure = _explain(error, progress, limit_s if limit.expired() else None)
    finally:
        for socket in progress.sockets:
            await socket.close()
    counts = [len(socket.received) for socket in progress.sockets]
    return History(
        plan=plan,
        received=tuple(frame for socket in progress.sockets for frame in socket.received),
        begins=tuple(accumulate(counts[:-1], initial=0)),
        replayed=progress.replayed,
        exchanges=client.take_exchanges(),
        messages=progress.messages,
        started_at=progress.started_at,
        sent_at=progress.sent_at,
        failure=failure,
        drops=progress.drops,
        losses=progress.losses,
        resends=max(progress.sent - 1, 0),
    )


async def _go(client: Client, plan: Plan, progress: _Progress, clock: Clock) -> None:
    await _until_done(plan, progress, lambda: _converse(client, plan, progress, clock))
    if progress.thread_id is None:
        return
    if plan.is_disturbed:
        await _until_done(plan, progress, lambda: _replay(client, plan, progress))
    await _until_done(plan, progress, lambda: _read_back(client, progress))


async def _until_done(plan: Plan, progress: _Progress, step: Callable[[], Awaitable[None]]) -> None:
    """Does a step, again from where it was cut off when a connection ends that may."""
    wait_s = _FIRST_WAIT_S
    while True:
        losses, received = progress.losses, sum(len(socket.received) for socket in progress.sockets)
        try:
            return await step()
        except _Dropped:
            progress.drops += 1
        except (ConnectionEnded, aiohttp.ClientError, OSError) as lost:
            if not plan.outlives_server or (isinstance(lost, ConnectionEnded) and lost.code not in _LOST):
                raise
            progress.losses += 1
        if progress.losses > losses:
            if sum(len(socket.received) for socket in progress.sockets) > received:
                wait_s = _FIRST_WAIT_S
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


async def _converse(client: Client, plan: Plan, progress: _Progress, clock: Clock) -> None:
    """Sends the message, or resumes the thread, and watches until the final event."""
    progress.waiting_for = "the connection"
    socket = await client.connect(header_form=plan.header_form)
    progress.sockets.append(socket)
    progress.waiting_for = "connection_ready"
    await socket.wait_for("connection_ready")

    if progress.is_accepted:
        progress.waiting_for = "the final event"
        await socket.send(type="resume", thread_id=progress.thread_id, after_seq=progress.last_seq)
    else:
        message = {"text": plan.text, "client_message_id": plan.client_message_id}
        if plan.thread_id is not None:
            message["thread_id"] = plan.thread_id
        progress.waiting_for = "message_accepted"
        progress.sent_at = progress.sent_at or clock()
        progress.sent += 1
        await socket.send(type="user_message", **message)

    drop_at = None
    if progress.drops < len(plan.drops):
        drop_at = progress.last_seq + plan.drops[progress.drops]
    while not progress.is_over:
        if progress.last_seq == drop_at:
            socket.drop()
            raise _Dropped
        _take((await socket.receive()).frame, progress)

    # What the server sends after the final event comes before its answer to this ping.
    progress.waiting_for = "pong"
    await socket.send(type="ping")
    await socket.wait_for("pong")
    progress.waiting_for = "the close"
    await socket.close()


def _take(frame: Mapping[str, Any], progress: _Progress) -> None:
    type_, seq = frame.get("type"), frame.get("seq")
    if type_ == "message_accepted":
        progress.is_accepted = True
        progress.thread_id = str(frame.get("thread_id"))
        progress.waiting_for = "the final event"
        return
    if type_ == "error" and not progress.is_accepted:
        raise _MessageRefused(f"{frame.get('code')}: {frame.get('message')}")
    if type(seq) is int:
        progress.last_seq = seq
    progress.is_over = is_final(frame)


async def _replay(client: Client, plan: Plan, progress: _Progress) -> None:
    """Reads the journey's part of the log once more, on a connection of its own."""
    progress.waiting_for = "the replay"
    socket = await client.connect(header_form=plan.header_form)
    try:
        await socket.wait_for("connection_ready")
        ready = len(socket.received)
        await socket.send(type="resume", thread_id=progress.thread_id, after_seq=plan.first_seq - 1)
        while not is_final((await socket.receive()).frame):
            pass
        await socket.send(type="ping")
        await socket.wait_for("pong")
        progress.replayed = tuple(socket.received[ready:-1])
    finally:
        await socket.close()


async def _read_back(client: Client, progress: _Progress) -> None:
    progress.waiting_for = "the thread's messages"
    progress.messages = tuple(await client.messages(str(progress.thread_id)))


def is_final(frame: Mapping[str, Any]) -> bool:
    """Tells whether a frame calls itself the run's last."""
    return frame.get("final") is True


def is_event(frame: Mapping[str, Any]) -> bool:
    """Tells whether a frame is an event of a run, as against the user's own message and what is not in the log."""
    return "seq" in frame and frame.get("type") not in ("user_message", "message_accepted")


def _is_ready(frame: Mapping[str, Any]) -> bool:
    return frame.get("type") == "connection_ready"


def _explain(error: Exception, progress: _Progress, expired_limit_s: float | None) -> Failure:
    last = progress.last_frame()
    state = f"while waiting for {progress.waiting_for}"
    if last is not None:
        state += f"; the last frame was {last.get('type')}" + (f" with seq {last['seq']}" if "seq" in last else "")
    if expired_limit_s is not None:
        return Failure(FailureName.TIMEOUT, f"not done within {expired_limit_s:g} s, {state}")
    words = f"{str(error) or type(error).__name__}, {state}"
    match error:
        case CallRefused():
            return Failure(FailureName.CALL_REFUSED, words)
        case _MessageRefused():
            return Failure(FailureName.MESSAGE_REFUSED, words)
        case ConnectionEnded():
            return Failure(FailureName.CONNECTION_ENDED, words)
        case WireBroken():
            return Failure(FailureName.WIRE_BROKEN, words)
        case aiohttp.ClientError() | OSError():
            return Failure(FailureName.NETWORK_ERROR, f"{type(error).__name__}: {words}")
        case _:
            return Failure(FailureName.PROVER_ERROR, f"{type(error).__name__}: {words}")
