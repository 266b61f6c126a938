"""Frames that nobody means, over real sockets of a real server."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Final
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from tests.support.frames import Frames, Payload
from tests.support.person import Person, a_person
from tests.support.siege import Siege

SENDERS: Final = 4
FRAMES_PER_SOCKET: Final = 400
IN_A_ROW: Final = 15
"""After so many frames comes a good one: twenty bad ones in a row would end the socket."""
FLOOD: Final = 100
ENDS_BADLY: Final = 0.3
"""How often a socket that is still open ends by a frame that the server closes it for."""
LIMIT_S: Final = 60.0
"""After which a socket that has not answered all is given up: never reached unless the server is at fault."""
LAST: Final = "the last one"
"""The client's id of a message without a text, which is refused under that id: by then all is answered."""
ANSWERS: Final = frozenset({"error", "pong", "message_accepted", "auth_success"})
"""What comes for a frame, one for one; the others come for what is going on."""
RIGHT_CLOSES: Final = frozenset({1000, 1003, 1007, 1008, 1009, 4401, 4403})
"""With what the server may close a socket that is fuzzed."""


@dataclass
class Fuzzed:
    """What came of it.

    Attributes:
        frames: that the server has taken; those that a close has overtaken do not count.
        sockets: that were opened.
        answers: by type; an error by its code.
        closes: by code.
        refusals: of upgrades, by status.
        faults: what must not have been.
    """

    frames: int = 0
    sockets: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)
    refusals: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def find(self, fault: str) -> None:
        """Something must not have been."""
        if len(self.faults) < 20:
            self.faults.append(fault)

    def __str__(self) -> str:
        told = "; ".join(self.faults) or "nothing wrong"
        return (
            f"{self.frames} frames over {self.sockets} sockets; answers {dict(self.answers.most_common())}; "
            f"closes {dict(self.closes)}; refused upgrades {dict(self.refusals)}: {told}"
        )


async def fuzz_frames(siege: Siege, *, frames: int, seed: int) -> Fuzzed:
    """Send so many frames at least, from several users at once.

    Args:
        siege: the server.
        frames: how many.
        seed: of all of them.
    """
    fuzzed = Fuzzed()
    async with a_person(siege.server) as ann, a_person(siege.server) as bob:

        async def send(number: int) -> None:
            random = Random(f"{seed} {number}")
            person, other = (ann, bob) if number % 2 else (bob, ann)
            threads = [str(uuid4()) for _ in range(4)]
            drawn = Frames(random, person.access_token, other.access_token, threads)
            while fuzzed.frames < frames and len(fuzzed.faults) < 20:
                await _one_socket(person, drawn, random, fuzzed)
                await _one_refusal(person, drawn, fuzzed)

        await asyncio.gather(*(send(number) for number in range(SENDERS)))
    return fuzzed


async def _one_refusal(person: Person, drawn: Frames, fuzzed: Fuzzed) -> None:
    """An upgrade whose header proves nobody."""
    headers = {"Authorization": f"Bearer {drawn.header()}"}
    try:
        async with connect(person.server.websocket_url, additional_headers=headers, compression=None):
            fuzzed.find(f"a socket was opened for {headers}")
    except InvalidStatus as refused:
        fuzzed.refusals[refused.response.status_code] += 1
        if refused.response.status_code != HTTPStatus.UNAUTHORIZED:
            fuzzed.find(f"{headers} was answered with {refused.response.status_code}")


async def _one_socket(person: Person, drawn: Frames, random: Random, fuzzed: Fuzzed) -> None:
    """One socket from its upgrade to its close, in either form of signing in."""
    by_header = random.random() < 0.7
    headers = {"Authorization": f"Bearer {person.access_token}"} if by_header else {}
    async with connect(
        person.server.websocket_url, additional_headers=headers, compression=None, max_size=None
    ) as connection:
        fuzzed.sockets += 1
        first: Payload | None = None
        if not by_header:
            authenticate = json.dumps({"type": "authenticate", "token": person.access_token})
            first = drawn.draw() if random.random() < 0.1 else authenticate
        await _Socket(connection, drawn, random, fuzzed).use(first)
    code = connection.close_code
    fuzzed.closes[code or 0] += 1
    if code not in RIGHT_CLOSES:
        fuzzed.find(f"a socket was closed with {code} {connection.close_reason!r}")


class _Socket:
    """A socket over which frames are sent that nobody means, while what is answered is read."""

    def __init__(self, connection: ClientConnection, drawn: Frames, random: Random, fuzzed: Fuzzed) -> None:
        self._connection = connection
        self._drawn = drawn
        self._random = random
        self._fuzzed = fuzzed
        self._sent = 0
        self._answered = 0
        self._all_answered = asyncio.Event()

    async def use(self, first: Payload | None) -> None:
        """Send, beginning with the first one if there is one, until the last was answered or the socket is closed."""
        reading = asyncio.create_task(self._read())
        with suppress(ConnectionClosed):
            if first is not None:
                await self._send(first)
            await self._send_many()
            await self._send(json.dumps({"type": "user_message", "client_message_id": LAST}))
            await self._settle(reading)
            self._answered = self._sent
            if self._random.random() < ENDS_BADLY:
                await self._send(self._drawn.fatal())
                await asyncio.wait({reading}, timeout=LIMIT_S)
        await self._connection.close()
        await reading
        self._fuzzed.frames += self._answered

    async def _send_many(self) -> None:
        for number in range(self._random.randrange(FRAMES_PER_SOCKET)):
            if number % IN_A_ROW == 0:
                await self._send('{"type":"ping"}')
            frame = self._drawn.draw()
            for _ in range(FLOOD if self._random.random() < 0.002 else 1):
                await self._send(frame)

    async def _send(self, frame: Payload) -> None:
        is_broken_text = isinstance(frame, bytes) and frame.startswith(b"{")
        await self._connection.send(frame, text=True if is_broken_text else None)
        self._sent += 1

    async def _settle(self, reading: asyncio.Task[None]) -> None:
        """See that the socket has answered all, or was closed."""
        answered = asyncio.ensure_future(self._all_answered.wait())
        done, _ = await asyncio.wait({answered, reading}, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()
        if not done:
            self._fuzzed.find("a socket did not answer any more")
        if not self._all_answered.is_set():
            await self._connection.wait_closed()
            raise ConnectionClosedError(None, None)

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self._connection:
                self._take(json.loads(text))

    def _take(self, answer: dict[str, str]) -> None:
        kind = answer["type"]
        if kind == "error":
            kind = answer["code"]
            if kind == "internal_error":
                self._fuzzed.find(f"a fault of the server's: {answer}")
            if answer.get("client_message_id") == LAST:
                self._all_answered.set()
        elif kind == "message_accepted":
            self._drawn.remember(answer["thread_id"])
            self._drawn.remember(answer["run_id"])
        self._answered += answer["type"] in ANSWERS
        self._fuzzed.answers[kind] += 1
