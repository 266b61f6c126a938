"""One user's calls to a deployment, over HTTP and WebSocket, keeping everything that was received."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import orjson

PROTOCOL = "netra.v1"
CALL_LIMIT_S = 60.0
"""How long one HTTP call may take."""

_CLOSE_LIMIT_S = 2.0
_KEEPALIVE_S = 2.0  # below the five seconds after which common servers drop an idle connection
_NAMES_S = 300
_RENEWAL_MARGIN_S = 90.0
_SHOWN = 500

Clock = Callable[[], float]
"""Monotonic, in seconds."""


class WireError(Exception):
    """Raised when a call or a connection does not do what the wire promises."""


class CallRefused(WireError):
    """Raised when an HTTP call is answered with another status than the promised one."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.exchange = exchange

    def __str__(self) -> str:
        words = self.exchange.body[:_SHOWN].decode(errors="replace")
        return f"{self.exchange.call} was answered with {self.exchange.status}: {words or '(no body)'}"


class WireBroken(WireError):
    """Raised when what was received is not in the promised form."""


class ConnectionEnded(WireError):
    """Raised when the socket ends before the journey does."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection ended with code {self.code}{f' ({self.reason})' if self.reason else ''}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a deployment is.

    Attributes:
        base_url: of the HTTP calls, without a slash at the end.
        websocket_url: of the socket.
    """

    base_url: str
    websocket_url: str

    @classmethod
    def of(cls, url: str, websocket_url: str | None = None) -> Self:
        """Reads a deployment's address.

        Args:
            url: `http(s)://host[:port]`.
            websocket_url: of the socket; derived from `url` when not given.

        Raises:
            ValueError: when `url` is something else.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(f"expected http(s)://host[:port], got {url!r}")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError(f"expected http(s)://host[:port] without a path, got {url!r}")
        _ = parts.port  # raises ValueError when it is not a port
        scheme = "wss" if parts.scheme == "https" else "ws"
        derived = urlunsplit((scheme, parts.netloc, "/ws", "", ""))
        return cls(urlunsplit((parts.scheme, parts.netloc, "", "", "")), websocket_url or derived)


@dataclass(frozen=True, slots=True)
class Account:
    """How a user signs in."""

    email: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one HTTP call, or the upgrade to a socket, was answered with."""

    call: str
    status: int
    headers: bytes
    body: bytes

    def json(self) -> dict[str, Any]:
        """Reads the body.

        Raises:
            WireBroken: when it is not a JSON object.
        """
        return _object(self.body, self.call)


@dataclass(frozen=True, slots=True)
class Received:
    """One frame.

    Attributes:
        at: when it was received, by the monotonic clock, in seconds.
        raw: its bytes.
        frame: its JSON.
    """

    at: float
    raw: bytes
    frame: Mapping[str, Any]


class Socket:
    """One connection; every frame that comes is kept in `received`."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse[bool], clock: Clock) -> None:
        self.received: list[Received] = []
        self._websocket = websocket
        self._clock = clock

    async def send(self, **frame: Any) -> None:
        """Sends one frame."""
        await self._websocket.send_frame(orjson.dumps(frame), aiohttp.WSMsgType.TEXT)

    async def receive(self) -> Received:
        """Waits for the next frame.

        Raises:
            ConnectionEnded: when the connection ends instead.
            WireBroken: when the frame is not a JSON object.
        """
        message = await self._websocket.receive()
        at = self._clock()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            try:
                if message.type is aiohttp.WSMsgType.BINARY:
                    raise WireBroken("a binary frame came")
                received = Received(at, message.data, _object(message.data, "a frame"))
            except WireBroken:
                self.received.append(Received(at, message.data, {}))
                raise
            self.received.append(received)
            return received
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ConnectionEnded(self._websocket.close_code, str(message.data))
        raise ConnectionEnded(self._websocket.close_code, str(message.extra or ""))

    async def wait_for(self, type_: str) -> Received:
        """Receives until a frame of that type has come."""
        while (received := await self.receive()).frame.get("type") != type_:
            pass
        return received

    def drop(self) -> None:
        """Cuts the connection as a lost network does: without a word, and what was on its way is lost."""
        if isinstance(self._websocket, _WebSocket):
            self._websocket.abort()

    async def close(self) -> None:
        """Closes the connection, waiting a moment for the other side to agree."""
        await self._websocket.close()


class Client:
    """One user's calls. What they were answered with is kept in `exchanges`."""

    def __init__(self, transport: Transport, target: Target, clock: Clock = time.monotonic) -> None:
        """Makes a client that is not signed in.

        Args:
            transport: how to reach it.
            target: where the deployment is.
            clock: monotonic, in seconds.
        """
        self.exchanges: list[Exchange] = []
        self._transport = transport
        self._target = target
        self._clock = clock
        self._access_token = ""  # nosec B105  # none yet
        self._refresh_token = ""  # nosec B105  # none yet
        self._renew_at = 0.0

    def take_exchanges(self) -> tuple[Exchange, ...]:
        """Gives what was received over HTTP since the last time."""
        exchanges = tuple(self.exchanges)
        self.exchanges.clear()
        return exchanges

    async def register(self, account: Account) -> None:
        """Makes the account."""
        body = {"email": account.email, "password": account.password}
        await self._call("POST", "/auth/register", 201, json=body)

    async def login(self, account: Account) -> None:
        """Signs in; later calls are the user's."""
        form = {"username": account.email, "password": account.password}
        self._sign_in(await self._call("POST", "/auth/login", 200, data=form))

    async def renew(self) -> None:
        """Renews the access token when it would end within the next journey."""
        if self._clock() >= self._renew_at:
            body = {"refresh_token": self._refresh_token}
            self._sign_in(await self._call("POST", "/auth/refresh", 200, json=body))

    async def user_id(self) -> str:
        """Asks who the server takes this user for."""
        exchange = await self._call("GET", "/auth/me", 200)
        user_id = exchange.json().get("user_id")
        if not isinstance(user_id, str) or not user_id:
            raise WireBroken(f"{exchange.call}: expected a user_id, got {user_id!r}")
        return user_id

    async def delete_usage_records(self) -> None:
        """Deletes all of the user's usage records."""
        await self._call("DELETE", "/api/usage-records", 200)

    async def upload(self, content_type: str, body: bytes, count: int) -> None:
        """Uploads `count` usage records."""
        exchange = await self._call(
            "POST", "/api/usage-records", 201, data=body, headers={"Content-Type": content_type}
        )
        if exchange.json().get("accepted") != count:
            raise WireBroken(f"{exchange.call}: expected accepted {count}, got {exchange.json()!r}")

    async def messages(self, thread_id: str) -> list[Any]:
        """Reads all messages of a thread, oldest first, page by page."""
        path = f"/api/threads/{quote(thread_id, safe='')}/messages"
        messages: list[Any] = []
        query: dict[str, str] = {}
        while True:
            page = (await self._call("GET", path, 200, params=query)).json()
            if not isinstance(page.get("messages"), list):
                raise WireBroken(f"GET {path}: expected a list of messages, got {page.get('messages')!r}")
            messages += page["messages"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return messages
            if not isinstance(cursor, str) or not page["messages"] or query == {"cursor": cursor}:
                raise WireBroken(f"GET {path}: next_cursor {cursor!r} leads nowhere")
            query = {"cursor": cursor}

    async def connect(self, *, header_form: bool) -> Socket:
        """Opens the socket and sends the token.

        Args:
            header_form: whether the token travels in the Authorization header, else in the first frame.

        Raises:
            CallRefused: when the upgrade is refused.
        """
        try:
            websocket = await self._transport.sockets.ws_connect(
                self._target.websocket_url,
                protocols=(PROTOCOL,),
                headers=self._authorization() if header_form else None,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_LIMIT_S),
                compress=0,
                decode_text=False,
            )
        except aiohttp.WSServerHandshakeError as refused:
            pairs = (refused.headers or {}).items()
            headers = b"\n".join(f"{name}: {value}".encode() for name, value in pairs)
            exchange = Exchange("GET /ws", refused.status, headers, b"")
            self.exchanges.append(exchange)
            raise CallRefused(exchange) from refused
        if isinstance(websocket, _WebSocket):
            self.exchanges.append(Exchange("GET /ws", 101, websocket.headers, b""))
        socket = Socket(websocket, self._clock)
        if not header_form:
            await socket.send(type="authenticate", token=self._access_token)
        return socket

    async def _call(self, method: str, path: str, expected: int, **options: Any) -> Exchange:
        headers = (self._authorization() if self._access_token else {}) | options.pop("headers", {})
        url = self._target.base_url + path
        async with self._transport.http.request(
            method, url, headers=headers, allow_redirects=False, **options
        ) as response:
            body = await response.read()
            exchange = Exchange(f"{method} {path}", response.status, _joined(response.raw_headers), body)
        self.exchanges.append(exchange)
        if exchange.status != expected:
            raise CallRefused(exchange)
        return exchange

    def _sign_in(self, exchange: Exchange) -> None:
        answer = exchange.json()
        tokens = answer.get("access_token"), answer.get("refresh_token")
        lifetime = answer.get("expires_in")
        if not (isinstance(tokens[0], str) and isinstance(tokens[1], str) and isinstance(lifetime, int | float)):
            raise WireBroken(f"{exchange.call}: expected access_token, refresh_token and expires_in")
        self._access_token, self._refresh_token = tokens[0], tokens[1]
        self._renew_at = self._clock() + max(lifetime - _RENEWAL_MARGIN_S, lifetime / 2)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._access_token}"}


class _WebSocket(aiohttp.ClientWebSocketResponse[Literal[True]]):
    """A socket that keeps the headers its upgrade was answered with."""

    def __init__(
        self, reader: Any, writer: Any, protocol: Any, response: aiohttp.ClientResponse, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(reader, writer, protocol, response, *args, **kwargs)
        self.headers = _joined(response.raw_headers)
        self._upgraded = response

    def abort(self) -> None:
        """Ends the transport at once."""
        connection = self._upgraded.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


@dataclass(frozen=True, slots=True)
class Transport:
    """How calls and sockets reach a deployment; may be shared by all users.

    Attributes:
        http: for calls, which reuse connections.
        sockets: for sockets, each of which makes its own connection.
    """

    http: aiohttp.ClientSession
    sockets: aiohttp.ClientSession


@asynccontextmanager
async def open_transport() -> AsyncIterator[Transport]:
    """Opens connections for the block: no cookies, no limit on their number."""
    reused = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=_NAMES_S)
    single = aiohttp.TCPConnector(limit=0, force_close=True, ttl_dns_cache=_NAMES_S)
    limit = aiohttp.ClientTimeout(total=CALL_LIMIT_S)
    cookies = aiohttp.DummyCookieJar()
    async with (
        aiohttp.ClientSession(connector=reused, cookie_jar=cookies, timeout=limit, json_serialize=_text) as http,
        aiohttp.ClientSession(
            connector=single, cookie_jar=cookies, timeout=limit, ws_response_class=_WebSocket
        ) as sockets,
    ):
        yield Transport(http, sockets)


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _joined(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"\n".join(b"%b: %b" % pair for pair in headers)


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as broken:
        raise WireBroken(f"{what} is not JSON: {data[:_SHOWN]!r}") from broken
    if not isinstance(value, dict):
        raise WireBroken(f"{what} is not a JSON object: {data[:_SHOWN]!r}")
    return value
