"""One socket, from its first frame to its close."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from uuid import uuid4

from netra_backend.app.services.fault_points import reach_async
from netra_backend.app.services.ports import Desk
from netra_backend.app.services.principal import SESSION_ENDED, AuthenticationError, Principal
from netra_backend.app.services.refusals import InvalidRequestError, LimitExceededError, RefusedError
from netra_backend.app.services.submission import Accepted, IfBusy, Submission
from netra_backend.app.services.user_execution_context import UserExecutionContext
from netra_backend.app.telemetry import SecurityEvent, tell_security_event

from .connections import Connections
from .hub import Hub, Subscription
from .messages import (
    PROTOCOL,
    Authenticate,
    CancelRunFrame,
    ClientFrame,
    Ping,
    Resume,
    UserMessage,
    frame,
    parse_client_frame,
    server_time,
)
from .outbox import Outbox, Room

MAX_BAD_FRAMES: Final = 20
MAX_REPLAYS: Final = 8
MAX_WATCHED: Final = 1_000
CLOSE_SECONDS: Final = 5.0
TOO_SLOW: Final = 1013
TOO_SLOW_REASON: Final = "the reader is too slow; come back and resume"
EXPIRED: Final = "the token has expired"
INTERNAL_ERROR: Final = "internal_error"
SERVER_FAILED: Final = "the server failed; try again"

_logger = logging.getLogger(__name__)


class Socket(Protocol):
    """The transport, accepted already."""

    async def receive(self) -> str | bytes | None:
        """The next message; None once the other side is gone."""

    async def send(self, text: str) -> None:
        """Send a text message; waits while the other side does not read."""

    async def close(self, code: int, reason: str) -> None:
        """Close the socket."""


class _Closed(Exception):
    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


class Connection:
    """The state machine of one socket: authenticate, get ready, then serve frames until either side ends it.

    Args:
        socket: the transport.
        desk: authenticates, submits, cancels, reads logs.
        hub: says what is new in the threads that this socket watches.
        connections: the register, with its limits.
        principal: who is connected, when the upgrade's header has proved it; else the first frame must.
        authentication_timeout: how long the first frame may take.
        room: how much may wait for a slow reader.
    """

    def __init__(
        self,
        socket: Socket,
        desk: Desk,
        hub: Hub,
        connections: Connections,
        principal: Principal | None,
        *,
        authentication_timeout: timedelta,
        room: Room,
    ) -> None:
        self.principal = principal
        self._id = str(uuid4())
        self._socket = socket
        self._desk = desk
        self._hub = hub
        self._connections = connections
        self._authentication_timeout = authentication_timeout
        self._outbox = Outbox(room, self._overflow)
        self._subscriptions: dict[str, Subscription] = {}
        self._replays: dict[str, asyncio.Task[None]] = {}
        self._closing: asyncio.Future[_Closed] = asyncio.get_running_loop().create_future()
        self._expiry: asyncio.TimerHandle | None = None
        self._bad_frames = 0

    def close(self, code: int, reason: str) -> None:
        """Begin to end the connection; returns at once."""
        if not self._closing.done():
            self._closing.set_result(_Closed(code, reason))

    def _overflow(self) -> None:
        self.close(TOO_SLOW, TOO_SLOW_REASON)

    async def run(self) -> None:
        """Serve the socket until it ends."""
        work = asyncio.ensure_future(self._serve())
        sender: asyncio.Task[None] | None = None
        try:
            sender = asyncio.create_task(self._send())
            await asyncio.wait((work, sender, self._closing), return_when=asyncio.FIRST_COMPLETED)
            ended = self._closing.result() if self._closing.done() else _ended(work)
            if ended is not None:
                sender.cancel()
                await self._close_socket(ended)
        finally:
            self._leave()
            tasks = [task for task in (work, sender, *self._replays.values()) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _close_socket(self, ended: _Closed) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if ended.code != TOO_SLOW:
                    for text in self._outbox.drain():
                        await self._socket.send(text)
                await self._socket.close(ended.code, ended.reason)
        except (TimeoutError, OSError):
            _logger.debug("connection %s did not take its close frame", self._id)

    def _leave(self) -> None:
        self._closing.cancel()  # an acknowledgement that comes later finds nobody here
        if self._expiry is not None:
            self._expiry.cancel()
        if self.principal is not None:
            self._connections.remove(self.principal.user_id, self)
        for subscription in self._subscriptions.values():
            self._hub.unsubscribe(subscription)

    async def _send(self) -> None:
        while True:
            await self._socket.send(await self._outbox.take())
            await reach_async("after_delivery")

    async def _serve(self) -> None:
        if self.principal is None:
            self.principal = await self._authenticate()
            self._outbox.put(frame("auth_success", user_id=self.principal.user_id))
        principal = self.principal
        try:
            self._connections.add(principal.user_id, self)
        except LimitExceededError as refusal:
            self._refuse(refusal.code, refusal.message, None, refusal.retry_after)
            raise _Closed(4429, refusal.message) from None
        if not await self._desk.holds(principal):  # it may have ended before there was a connection to close
            raise _Closed(4401, SESSION_ENDED)
        self._expire_with(principal)
        self._outbox.put(
            frame(
                "connection_ready",
                protocol=PROTOCOL,
                connection_id=self._id,
                user_id=principal.user_id,
                server_time=server_time(),
            )
        )
        while (message := await self._receive()) is not None:
            await self._take_frame(message)

    async def _receive(self) -> str | None:
        message = await self._socket.receive()
        if isinstance(message, bytes):
            raise _Closed(1003, "expected text frames; came a binary one")
        return message

    async def _authenticate(self) -> Principal:
        try:
            async with asyncio.timeout(self._authentication_timeout.total_seconds()):
                message = await self._receive()
        except TimeoutError:
            raise _Closed(4408, "no authenticate frame came in time") from None
        if message is None:
            raise _Closed(1000, "")
        try:
            first = parse_client_frame(message)
        except InvalidRequestError:
            first = None
        if not isinstance(first, Authenticate):
            raise _Closed(4401, 'expected {"type":"authenticate","token":…} as the first frame')
        try:
            return await self._desk.authenticate(first.token)
        except AuthenticationError as error:
            raise _Closed(4401, error.reason) from None

    def _expire_with(self, principal: Principal) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        seconds = (principal.expires_at - datetime.now(UTC)).total_seconds()
        self._expiry = asyncio.get_running_loop().call_later(max(seconds, 0), self.close, 4401, EXPIRED)

    async def _take_frame(self, message: str) -> None:
        try:
            parsed = parse_client_frame(message)
        except InvalidRequestError as refusal:
            self._bad_frames += 1
            self._refuse(refusal.code, refusal.message, refusal.client_message_id)
            if self._bad_frames >= MAX_BAD_FRAMES:
                raise _Closed(1008, f"{MAX_BAD_FRAMES} bad frames in a row") from None
            return
        self._bad_frames = 0
        client_message_id = parsed.client_message_id if isinstance(parsed, UserMessage) else None
        try:
            await self._obey(parsed)
        except RefusedError as refusal:
            retry_after = getattr(refusal, "retry_after", None)
            self._refuse(refusal.code, refusal.message, client_message_id, retry_after)
        except _Closed:
            raise
        except Exception:  # a fault of ours: the client is told, and the socket stays open for what works
            _logger.exception("connection %s: a %s frame failed", self._id, parsed.type)
            self._refuse(INTERNAL_ERROR, SERVER_FAILED, client_message_id)

    def _refuse(self, code: str, message: str, client_message_id: str | None, retry_after: float | None = None) -> None:
        about: dict[str, object] = {"client_message_id": client_message_id, "retry_after": retry_after}
        known = {name: value for name, value in about.items() if value is not None}
        self._outbox.put(frame("error", code=code, message=message, **known))

    async def _obey(self, parsed: ClientFrame) -> None:
        match parsed:
            case UserMessage():
                await self._submit(parsed)
            case Resume():
                await self._resume_in_turn(parsed.thread_id, parsed.after_seq)
            case CancelRunFrame():
                await self._desk.cancel(self._context(self._id, parsed.run_id), parsed.run_id)
            case Authenticate():
                await self._renew(parsed.token)
            case Ping():
                self._outbox.put(frame("pong", server_time=server_time()))

    def _context(self, thread_id: str, run_id: str) -> UserExecutionContext:
        return UserExecutionContext.from_request(self._who.user_id, thread_id, run_id, websocket_client_id=self._id)

    @property
    def _who(self) -> Principal:
        if self.principal is None:
            raise RuntimeError("a frame was served before anybody was authenticated")
        return self.principal

    async def _submit(self, message: UserMessage) -> None:
        context = self._context(message.thread_id or str(uuid4()), str(uuid4()))
        self._check_may_watch(context.thread_id)
        submission = Submission(
            text=message.text,
            client_message_id=message.client_message_id,
            names_thread=message.thread_id is not None,
            if_busy=IfBusy(message.if_busy),
            agent=message.agent,
        )
        with context.bind():
            await self._desk.submit(context, submission, self._acknowledge)
        await self._wait_for_replays(MAX_REPLAYS)  # a message that came again is replayed

    def _acknowledge(self, accepted: Accepted) -> None:
        if self._closing.done():
            return
        self._outbox.put(
            frame(
                "message_accepted",
                client_message_id=accepted.client_message_id,
                thread_id=accepted.thread_id,
                run_id=accepted.run_id,
                seq=accepted.seq,
            )
        )
        watched = self._subscriptions.get(accepted.thread_id)
        if watched is not None and not watched.is_over:
            return
        if accepted.repeated:
            self._resume(accepted.thread_id, accepted.seq - 1)
        else:
            self._subscribe(accepted.thread_id).go_live(accepted.seq - 1)

    def _check_may_watch(self, thread_id: str) -> None:
        if len(self._subscriptions) >= MAX_WATCHED:
            self._subscriptions = {name: kept for name, kept in self._subscriptions.items() if not kept.is_over}
        if thread_id not in self._subscriptions and len(self._subscriptions) >= MAX_WATCHED:
            raise LimitExceededError(f"this socket watches {MAX_WATCHED} threads already; open another one")

    async def _resume_in_turn(self, thread_id: str, after_seq: int) -> None:
        """Begin a replay; while many are under way, what the client says next waits, and so does the client."""
        self._check_may_watch(thread_id)
        if thread_id not in self._replays:
            await self._wait_for_replays(MAX_REPLAYS - 1)
        self._resume(thread_id, after_seq)

    async def _wait_for_replays(self, most: int) -> None:
        while len(self._replays) > most:
            await asyncio.wait(self._replays.values(), return_when=asyncio.FIRST_COMPLETED)

    def _subscribe(self, thread_id: str) -> Subscription:
        if before := self._subscriptions.get(thread_id):
            self._hub.unsubscribe(before)
        subscription = Subscription((self._who.user_id, thread_id), self._outbox.put)
        self._subscriptions[thread_id] = subscription
        self._hub.subscribe(subscription)
        return subscription

    def _resume(self, thread_id: str, after_seq: int) -> None:
        if replay := self._replays.pop(thread_id, None):
            replay.cancel()
        context = self._context(thread_id, self._id)
        subscription = self._subscribe(thread_id)
        replay = asyncio.create_task(self._replay(context, subscription, after_seq))
        self._replays[thread_id] = replay
        replay.add_done_callback(lambda done: self._replays.get(thread_id) is done and self._replays.pop(thread_id))

    async def _replay(self, context: UserExecutionContext, subscription: Subscription, after_seq: int) -> None:
        try:
            with context.bind():
                await subscription.catch_up(self._desk.log(context), after_seq, self._outbox.put_when_free)
        except RefusedError as refusal:
            self._give_up(subscription, refusal.code, refusal.message)
        except Exception:  # a fault of ours: the client must learn that it is not being told what happens
            _logger.exception("connection %s: a replay failed", self._id)
            self._give_up(subscription, INTERNAL_ERROR, SERVER_FAILED)

    def _give_up(self, subscription: Subscription, code: str, message: str) -> None:
        self._hub.unsubscribe(subscription)
        thread_id = subscription.key[1]
        if self._subscriptions.get(thread_id) is subscription:
            del self._subscriptions[thread_id]
        self._refuse(code, message, None)

    async def _renew(self, token: str) -> None:
        try:
            principal = await self._desk.authenticate(token)
        except AuthenticationError as error:
            raise _Closed(4401, error.reason) from None
        if principal.user_id != self._who.user_id:
            tell_security_event(SecurityEvent.WRONG_USER_ON_SOCKET, user_id=self._who.user_id)
            raise _Closed(4403, "the socket belongs to another user; open a new one")
        self.principal = principal
        if not await self._desk.holds(principal):
            raise _Closed(4401, SESSION_ENDED)
        self._expire_with(principal)
        self._outbox.put(frame("auth_success", user_id=principal.user_id))


def _ended(work: asyncio.Future[None]) -> _Closed | None:
    """Why the serving ended, when it did so by itself; None when the other side is gone."""
    if not work.done():
        return None
    error = work.exception()
    if isinstance(error, _Closed):
        return error
    if error is not None:
        _logger.error("a connection failed", exc_info=error)
        return _Closed(1011, "the server failed")
    return None
