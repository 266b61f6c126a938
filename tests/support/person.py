"""A user of a server, as a test plays one: over real HTTP and a real socket."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.support.server import Reachable

Frame = dict[str, Any]
ANSWER_LIMIT_S = 20.0
_TLS = ssl.create_default_context()
"""Made once for all clients, though none of them uses it: making it reads every certificate of the machine."""


def http_client(server: Reachable, **headers: str) -> httpx.AsyncClient:
    """A client of a server that sends such headers with every call."""
    return httpx.AsyncClient(base_url=server.url, timeout=ANSWER_LIMIT_S, headers=headers, verify=_TLS)


@dataclass(slots=True)
class Person:
    """A signed-in user.

    Attributes:
        http: calls carry the user's token.
    """

    server: Reachable
    http: httpx.AsyncClient
    email: str
    password: str
    user_id: str = ""
    access_token: str = ""
    refresh_token: str = ""

    async def sign_in(self) -> None:
        """Log in; later calls carry the new token."""
        form = {"username": self.email, "password": self.password}
        answer = await self.http.post("/auth/login", data=form)
        answer.raise_for_status()
        self.access_token = answer.json()["access_token"]
        self.refresh_token = answer.json()["refresh_token"]
        self.http.headers["Authorization"] = f"Bearer {self.access_token}"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Socket]:
        """A ready socket, authenticated by its header."""
        headers = {"Authorization": f"Bearer {self.access_token}"}
        async with connect(self.server.websocket_url, additional_headers=headers, compression=None) as connection:
            socket = Socket(connection)
            await socket.expect("connection_ready")
            yield socket


class Socket:
    """A socket whose frames are JSON; whatever it waits for comes within a limit or the test fails."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, type_: str, **fields: Any) -> None:
        """Send a frame."""
        await self.connection.send(json.dumps({"type": type_, **fields}))

    async def receive(self) -> Frame:
        """The next frame."""
        async with asyncio.timeout(ANSWER_LIMIT_S):
            frame: Frame = json.loads(await self.connection.recv())
        return frame

    async def expect(self, type_: str) -> Frame:
        """The next frame, which must be of a type."""
        frame = await self.receive()
        assert frame["type"] == type_, frame
        return frame

    async def until(self, type_: str, **fields: Any) -> list[Frame]:
        """The frames up to one of a type with such fields, that one last."""
        frames = []
        while True:
            frame = await self.receive()
            frames.append(frame)
            if frame["type"] == type_ and all(frame.get(name) == value for name, value in fields.items()):
                return frames

    async def until_final(self, run_id: str | None = None) -> list[Frame]:
        """The frames up to the last one of a run; of any run when none is named."""
        frames = []
        while True:
            frame = await self.receive()
            frames.append(frame)
            if frame.get("final") and run_id in (None, frame["run_id"]):
                return frames

    async def ask(self, text: str, **fields: Any) -> list[Frame]:
        """Say something and collect what comes, from `message_accepted` to the run's last event."""
        await self.send("user_message", text=text, **fields)
        accepted = await self.expect("message_accepted")
        return [accepted, *await self.until_final(accepted["run_id"])]

    async def closed(self) -> tuple[int, str]:
        """Wait for the close; its code and reason. Frames before it are dropped."""
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def a_person(server: Reachable) -> AsyncIterator[Person]:
    """A new user of the server, signed in."""
    async with http_client(server) as http:
        person = Person(server, http, f"{secrets.token_hex(6)}@users.netra.invalid", secrets.token_urlsafe(12))
        answer = await http.post("/auth/register", json={"email": person.email, "password": person.password})
        answer.raise_for_status()
        person.user_id = answer.json()["user_id"]
        await person.sign_in()
        yield person
