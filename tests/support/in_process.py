"""A whole server in the process of the test: called over ASGI, and every statement seen that it executes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlencode

from fastapi import FastAPI
from sqlalchemy import event
from starlette.types import Message, Scope

from netra_backend.app.api.state import Services
from tests.support.served_app import started

Frame = dict[str, Any]
HOST: Final = "localhost:8000"
ANSWER_LIMIT_S: Final = 20
_SAVEPOINT: Final = re.compile(r"sa_savepoint_[0-9]+")


@dataclass
class Answer:
    """What came back over HTTP; `body` grows while a stream goes on."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_endless(self) -> bool:
        """Whether it is a stream of events."""
        return any(name == "content-type" and "event-stream" in value for name, value in self.headers)

    def take(self, message: Message) -> None:
        """Take what the server sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = sorted((name.decode(), value.decode()) for name, value in message["headers"])
        else:
            self.body += message.get("body", b"")
        self._changed.set()

    async def until(self, condition: Callable[[Answer], object]) -> None:
        """Wait until enough has come."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()


@dataclass
class InProcess:
    """A started app.

    Attributes:
        app: the app.
        services: its parts.
    """

    app: FastAPI
    services: Services

    async def call(
        self,
        method: str,
        target: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        listening: Callable[[Answer], Awaitable[None]] | None = None,
    ) -> Answer:
        """Make a request.

        Args:
            method: of HTTP.
            target: the path, quoted.
            query: its parameters.
            headers: beside Host.
            body: the request's.
            listening: called once a stream of events has begun; when it returns, the client goes away.

        Returns:
            All that came.
        """
        answer = Answer()
        gone = asyncio.Event()
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            answer.take(message)

        scope = self._scope("http", target, query, headers)
        scope["method"] = method
        async with asyncio.timeout(ANSWER_LIMIT_S):
            serving = asyncio.create_task(self.app(scope, receive, send))
            await answer.until(lambda answer: answer.status)
            if answer.is_endless and listening is not None:
                await listening(answer)
                gone.set()
            await serving
        return answer

    @asynccontextmanager
    async def connected(self, token: str) -> AsyncIterator[InProcessSocket]:
        """A ready socket of whoever a token proves."""
        socket = InProcessSocket()
        scope = self._scope("websocket", "/ws", None, {"authorization": f"Bearer {token}"})
        scope["subprotocols"] = []
        serving = asyncio.create_task(self.app(scope, socket.incoming.get, socket.take))
        try:
            socket.incoming.put_nowait({"type": "websocket.connect"})
            await socket.until(lambda frame: frame["type"] == "connection_ready")
            yield socket
        finally:
            socket.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
            await serving

    def _scope(
        self, type_: str, target: str, query: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> Scope:
        sent = {"host": HOST, **(headers or {})}
        return {
            "type": type_,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http" if type_ == "http" else "ws",
            "path": unquote(target),
            "raw_path": target.encode(),
            "root_path": "",
            "query_string": urlencode(query or {}).encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("localhost", 8000),
            "state": {"services": self.services},
        }

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """The texts of all statements that the server executes in the block, by whichever thread."""
        executed: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
            executed.append(_SAVEPOINT.sub("savepoint", statement))

        storage = self.services.database.storage
        engines = (storage.read_engine, storage.write_engine)
        for engine in engines:
            event.listen(engine, "before_cursor_execute", note)
        try:
            yield executed
        finally:
            for engine in engines:
                event.remove(engine, "before_cursor_execute", note)

    async def until_read(self) -> None:
        """Wait until whatever was reading when this was called has read all that it wants.

        There is one reader thread (see `in_process`), so whoever reads again and again takes turns with this.
        """
        for _ in range(6):
            await self.services.database.read(lambda _connection: None)


class InProcessSocket:
    """The client's side of a socket.

    Attributes:
        incoming: what the server shall receive.
        heard: the frames that came, in order.
        closed: the server's close, or its refusal of the upgrade.
    """

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: list[Frame] = []
        self.closed: Message | None = None
        self._changed = asyncio.Event()

    async def take(self, message: Message) -> None:
        """Take what the server sends."""
        if message["type"] == "websocket.send":
            self.heard.append(json.loads(message["text"]))
        elif message["type"] != "websocket.accept":
            self.closed = message
        self._changed.set()

    def say(self, type_: str, **fields: Any) -> None:
        """Send a frame."""
        self.incoming.put_nowait({"type": "websocket.receive", "text": json.dumps({"type": type_, **fields})})

    async def until(self, is_it: Callable[[Frame], bool]) -> None:
        """Wait for a frame, or for the close."""
        async with asyncio.timeout(ANSWER_LIMIT_S):
            while self.closed is None and not any(is_it(frame) for frame in self.heard):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def in_process(data_dir: Path, **settings: Any) -> AsyncIterator[InProcess]:
    """A started app over a data folder, with one reader thread so that its statements have one order."""
    async with started(data_dir, reader_threads=1, **settings) as served:
        yield InProcess(served.app, served.services)
