"""One user's way through the golden path: connect, ask, watch until the final event, read the thread back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

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
    """

    user: int
    journey: int
    header_form: bool
    client_message_id: str
    thread_id: str | None = None
    first_seq: int = 1
    earlier: tuple[Message, ...] = ()
    text: str = QUESTION


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

    @property
    def connect_s(self) -> float | None:
        """From the first step of connecting to `connection_ready`."""
        return self._since(self.started_at, _is_ready)

    @property
    def first_event_s(self) -> float | None:
        """From the message to the first event of the run."""
        return self._since(self.sent_at, is_event)

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
    socket: Socket | None = None
    sent_at: float | None = None
    messages: tuple[Any, ...] | None = None


class _MessageRefused(Exception):
    """Raised when an `error` frame comes in place of `message_accepted`."""


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
    progress = _Progress(clock())
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            await client.renew()
            progress.started_at = clock()
            await _go(client, plan, progress, clock)
    except Exception as error:
        failure = _explain(error, progress, limit_s if limit.expired() else None)
    finally:
        if progress.socket is not None:
            await progress.socket.close()
    return History(
        plan=plan,
        received=tuple(progress.socket.received) if progress.socket else (),
        exchanges=client.take_exchanges(),
        messages=progress.messages,
        started_at=progress.started_at,
        sent_at=progress.sent_at,
        failure=failure,
    )


async def _go(client: Client, plan: Plan, progress: _Progress, clock: Clock) -> None:
    socket = progress.socket = await client.connect(header_form=plan.header_form)
    progress.waiting_for = "connection_ready"
    await socket.wait_for("connection_ready")

    message = {"text": plan.text, "client_message_id": plan.client_message_id}
    if plan.thread_id is not None:
        message["thread_id"] = plan.thread_id
    progress.waiting_for = "message_accepted"
    progress.sent_at = clock()
    await socket.send(type="user_message", **message)

    thread_id = plan.thread_id
    while not is_final(frame := (await socket.receive()).frame):
        type_ = frame.get("type")
        if type_ == "message_accepted":
            thread_id = str(frame.get("thread_id"))
            progress.waiting_for = "the final event"
        elif type_ == "error" and progress.waiting_for == "message_accepted":
            raise _MessageRefused(f"{frame.get('code')}: {frame.get('message')}")

    # What the server sends after the final event comes before its answer to this ping.
    progress.waiting_for = "pong"
    await socket.send(type="ping")
    await socket.wait_for("pong")
    progress.waiting_for = "the close"
    await socket.close()

    if thread_id is not None:
        progress.waiting_for = "the thread's messages"
        progress.messages = tuple(await client.messages(thread_id))


def is_final(frame: Mapping[str, Any]) -> bool:
    """Tells whether a frame calls itself the run's last."""
    return frame.get("final") is True


def is_event(frame: Mapping[str, Any]) -> bool:
    """Tells whether a frame is an event of a run, as against the user's own message and what is not in the log."""
    return "seq" in frame and frame.get("type") not in ("user_message", "message_accepted")


def _is_ready(frame: Mapping[str, Any]) -> bool:
    return frame.get("type") == "connection_ready"


def _explain(error: Exception, progress: _Progress, expired_limit_s: float | None) -> Failure:
    last = progress.socket.received[-1].frame if progress.socket and progress.socket.received else None
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
