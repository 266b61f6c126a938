"""A client that says a few things, one after the other, and comes back whenever its server is gone."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

Frame = dict[str, Any]
PATIENCE_S = 20.0


@dataclass
class Saying:
    """One message, and all that was received of its thread.

    Attributes:
        run_id: known from the acknowledgement on.
        log: the entries of the thread, in the order in which they came.
    """

    text: str
    agent: str = "steps"
    thread_id: str = field(default_factory=lambda: str(uuid4()))
    client_message_id: str = field(default_factory=lambda: str(uuid4()))
    run_id: str = ""
    log: list[Frame] = field(default_factory=list)

    @property
    def final(self) -> Frame | None:
        """The run's last event, when it has come."""
        return self.log[-1] if self.log and self.log[-1].get("final") else None

    @property
    def last_seq(self) -> int:
        """The last entry that came."""
        return self.log[-1]["seq"] if self.log else 0

    def types(self) -> list[str]:
        """What came."""
        return [frame["type"] for frame in self.log]


class ReturningClient:
    """Says each message after the one before has had its final event, and cancels what says "hold".

    Args:
        access_token: of the user.
        sayings: the messages.
    """

    def __init__(self, access_token: str, sayings: list[Saying]) -> None:
        self._headers = {"Authorization": f"Bearer {access_token}"}
        self.sayings = sayings
        self.close_code = 0

    async def converse(self, websocket_url: str) -> bool:
        """Go on where the last conversation was cut off; whether all has been said and answered."""
        try:
            async with (
                asyncio.timeout(PATIENCE_S),
                connect(websocket_url, additional_headers=self._headers, compression=None) as socket,
            ):
                for saying in self.sayings:
                    if saying.final is None:
                        await self._follow(socket, saying)
        except (ConnectionClosed, InvalidMessage, OSError) as error:  # InvalidMessage: gone during the handshake
            self.close_code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else 1006
            return False
        return True

    async def _follow(self, socket: ClientConnection, saying: Saying) -> None:
        if saying.run_id:
            await _send(socket, "resume", thread_id=saying.thread_id, after_seq=saying.last_seq)
        else:
            about = {"thread_id": saying.thread_id, "client_message_id": saying.client_message_id}
            await _send(socket, "user_message", text=saying.text, agent=saying.agent, **about)
        cancelled = False
        while saying.final is None:
            if saying.text.startswith("hold") and "tool_executing" in saying.types() and not cancelled:
                await _send(socket, "cancel_run", run_id=saying.run_id)
                cancelled = True
            frame = json.loads(await socket.recv())
            if frame["type"] == "message_accepted":
                assert saying.run_id in ("", frame["run_id"]), "a message sent again became another one"
                saying.run_id = frame["run_id"]
            elif frame.get("thread_id") == saying.thread_id:
                saying.log.append(frame)
            else:
                assert frame["type"] in ("connection_ready", "pong"), frame

    async def read_back(self, websocket_url: str) -> list[list[Frame]]:
        """The log of each thread, replayed from its beginning."""
        logs = []
        async with (
            asyncio.timeout(PATIENCE_S),
            connect(websocket_url, additional_headers=self._headers, compression=None) as socket,
        ):
            for saying in self.sayings:
                log: list[Frame] = []
                await _send(socket, "resume", thread_id=saying.thread_id, after_seq=0)
                while len(log) < saying.last_seq:
                    frame = json.loads(await socket.recv())
                    if "seq" in frame:
                        log.append(frame)
                logs.append(log)
        return logs


async def _send(socket: ClientConnection, type_: str, **fields: Any) -> None:
    await socket.send(json.dumps({"type": type_, **fields}))
