"""Frames that nobody means, sent to `/ws`: every answer must be one of the wire's, and every close code too."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from netra_backend.app.realtime.messages import FRAMES, MAX_FRAME_BYTES
from tests.support.person import ANSWER_LIMIT_S, Person
from tests.support.server import Reachable

BATCH: Final = 15
"""Frames between two pings, fewer than the bad ones in a row that end a socket."""

CLOSES: Final = frozenset({1003, 1007, 1008, 1009, 4401, 4403, 4408})
"""Those of docs/wire.md that a client's own frames bring about, and 1007 of RFC 6455 for text that is none."""

_WORDS: Final = (
    "", " ", "a", "\0", "null", "true", "-1", "\ud800", "\U0001f511", "\u202e", "x" * 200, "..", "../../etc/passwd",
    "' OR 1=1 --", "<script>", "{}", "%s%n", "user_id", "4b50638d-1871-48be-bfe2-600773b7ef5b",
)  # fmt: skip
_NUMBERS: Final = (0, -1, 1, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308)


@dataclass(slots=True)
class FrameOutcome:
    """What was sent and what came.

    Attributes:
        sent: frames.
        answers: by type, of an error by its code.
        closes: by code.
        faults: answers and codes that are not the wire's.
    """

    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    closes: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class FrameMaker:
    """Makes frames: good ones, good ones with something changed, and what is no frame at all.

    Args:
        seed: of whatever is random.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ids = [str(UUID(int=self._random.getrandbits(128), version=4)) for _ in range(8)]

    def make(self) -> str | bytes:
        """A frame; what begins with a NUL is sent as a binary one, all else as text, whatever it holds."""
        kinds: tuple[Callable[[], str | bytes], ...] = (self._changed, self._broken, self._other_json, self._nonsense)
        return self._random.choices(kinds, weights=(70, 15, 10, 5))[0]()

    def _changed(self) -> str:
        frame = self._good()
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 4))):
            name = self._random.choice([*frame, "type", "user_id", "token", "text", self._word()])
            if self._random.random() < 0.25:
                frame.pop(name, None)
            else:
                frame[name] = self._value(2)
        return json.dumps(frame, ensure_ascii=self._random.random() < 0.9, default=str)

    def _good(self) -> dict[str, Any]:
        name = self._random.choice([*FRAMES])
        every: dict[str, dict[str, Any]] = {
            "authenticate": {"token": self._word() or "x"},
            "ping": {},
            "cancel_run": {"run_id": self._id()},
            "resume": {"thread_id": self._id(), "after_seq": self._random.choice((0, 1, 5, 2**53))},
            "user_message": {"text": self._word() or "hello", "thread_id": self._id(), "agent": "gate"},
        }
        if name == "authenticate" and self._random.random() < 0.9:  # a bad token ends the socket, and little is learnt
            return {"type": "ping"}
        return {"type": name, **every[name]}

    def _broken(self) -> str:
        text = self._changed()
        place = self._random.randrange(len(text) + 1)
        return self._random.choice(
            (text[:place], text[:place] + self._word() + text[place:], text + text, text[::-1], text.replace('"', "'"))
        )

    def _other_json(self) -> str:
        return self._random.choice(
            (
                json.dumps(self._value(4)),
                "[" * self._random.choice((10, 5_000)),
                '{"type":"ping","type":"resume"}',
                '{"a":' * 2_000,
                '{"type":' + "9" * 5_000 + "}",
                "NaN",
                '{"type":Infinity}',
            )
        )

    def _nonsense(self) -> str | bytes:
        if self._random.random() < 0.02:
            return b"\0" + self._random.randbytes(20)
        if self._random.random() < 0.01:
            return " " * (MAX_FRAME_BYTES + 1)
        if self._random.random() < 0.02:
            return b'{"type":"\xff\xfe"}'
        return "".join(chr(self._random.choice((65, 0x20, 0xE9, 0x4E00, 0x1F511))) for _ in range(20))

    def _value(self, depth: int) -> Any:
        kind = self._random.randrange(7 if depth else 5)
        if kind == 0:
            return self._random.choice((None, True, False))
        if kind == 1:
            return self._random.choice(_NUMBERS)
        if kind == 2:
            return self._id()
        if kind <= 4:
            return self._word()
        if kind == 5:
            return [self._value(depth - 1) for _ in range(self._random.randrange(4))]
        return {self._word(): self._value(depth - 1) for _ in range(self._random.randrange(4))}

    def _word(self) -> str:
        return self._random.choice(_WORDS)

    def _id(self) -> str:
        return self._random.choice(self._ids)


async def fuzz_frames(server: Reachable, person: Person, count: int, seed: int) -> FrameOutcome:
    """Send frames on one socket after another, a batch and a ping at a time.

    Args:
        server: to send them to.
        person: whose sockets they are; the same one's all the time.
        count: how many.
        seed: of whatever is random.
    """
    outcome, maker = FrameOutcome(), FrameMaker(seed)
    headers = {"Authorization": f"Bearer {person.access_token}"}
    batch = _Batch(maker, outcome)
    while outcome.sent < count:
        async with connect(server.websocket_url, additional_headers=headers, compression=None) as connection:
            try:
                while outcome.sent < count:
                    await batch.send(connection)
            except ConnectionClosed:
                await connection.wait_closed()
                code = connection.close_code or 0
                outcome.closes[code] += 1
                if code not in CLOSES and not (code == 1006 and batch.breaks_protocol):
                    outcome.faults.append(f"closed with {code}: {connection.close_reason}")
    return outcome


class _Batch:
    """Sends some frames and takes what is answered.

    Attributes:
        breaks_protocol: whether one of the last frames was too large or no text; then the server hangs up at once, and
            its close frame may be lost with what it has not read.
    """

    def __init__(self, maker: FrameMaker, outcome: FrameOutcome) -> None:
        self._maker = maker
        self._outcome = outcome
        self.breaks_protocol = False

    async def send(self, connection: ClientConnection) -> None:
        """Send a batch on a socket."""
        self.breaks_protocol = False
        for _ in range(BATCH):
            made = self._maker.make()
            frame = made.encode("utf-8", "surrogatepass") if isinstance(made, str) else made
            self.breaks_protocol = self.breaks_protocol or len(frame) > MAX_FRAME_BYTES or not _is_text(frame)
            self._outcome.sent += 1
            await connection.send(frame, text=not frame.startswith(b"\0"))
        mark = f"batch {self._outcome.sent}"
        await connection.send(json.dumps({"type": "cancel_run", "run_id": mark}))  # refused, and so the last answer
        async with asyncio.timeout(ANSWER_LIMIT_S):
            while not self._is_last(json.loads(await connection.recv()), mark):
                pass

    def _is_last(self, answer: dict[str, Any], mark: str) -> bool:
        kind = answer["code"] if answer["type"] == "error" else answer["type"]
        self._outcome.answers[kind] += 1
        if kind == "internal_error":
            self._outcome.faults.append(f"answered: {answer}")
        return kind == "invalid_run_id" and mark in answer["message"]


def _is_text(frame: bytes) -> bool:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return True
