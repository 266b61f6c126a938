"""Frames for `/ws` as nobody means them, drawn from a seed: valid ones that are bent, cut, nested, and plain noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final
from uuid import UUID

from netra_backend.app.realtime.messages import MAX_CLIENT_MESSAGE_ID, MAX_FRAME_BYTES, MAX_TEXT_CHARACTERS

Fields = dict[str, Any]
Payload = str | bytes

ODD_TEXTS: Final = (
    "", " ", "\t\n", "\0", "a\0b", "\ufeff", "\u202e\u2066", "é", "e\u0301" * 40, "ﷺ", "\U0001f469\u200d\U0001f467",
    "\U0010ffff", "\ud800", "\udfff\ud83d", "null", "true", "NaN", "../../etc/passwd", "${user_id}", "{{7*7}}", "%00",
    "' OR 1=1 --", "</script>", "\r\nx: y", "\u2028", "\x1b[2J", "0" * 36, "-" * 36, "x" * 129, "x" * 4_097,
    "x" * MAX_TEXT_CHARACTERS, "x" * (MAX_TEXT_CHARACTERS + 1),
)  # fmt: skip
ODD_NUMBERS: Final = (
    "0", "-0", "-1", "0.1", "1e0", "007", "1e400", "-1e400", "1E-400", "9007199254740993", "18446744073709551616",
    "1" * 5_000, "NaN", "Infinity",
)  # fmt: skip
ODD_VALUES: Final = ("null", "true", "false", "[]", "{}", '""', "[[]]", '{"type":"ping"}')
NOISE: Final = "{}[]:,\"\\'0123456789eE+-.truefalsn \t\n\0ué\u2028\U0001f600"
DEEPEST: Final = 20_000
LONGEST_NOISE: Final = 400


class Frames:
    """Draws frames.

    Args:
        random: says which.
        token: of who sends them.
        foreign: a token of somebody else.
        threads: ids of threads, the sender's and others'.
    """

    def __init__(self, random: Random, token: str, foreign: str, threads: Sequence[str]) -> None:
        self._random = random
        self._token = token
        self._foreign = foreign
        self._ids = list(threads)
        self._kinds: tuple[tuple[int, Callable[[], Payload]], ...] = (
            (25, self._valid),
            (30, self._bent),
            (12, self._cut),
            (8, self._spliced),
            (6, self._nested),
            (12, self._noise),
            (2, self._other_json),
        )

    def draw(self) -> Payload:
        """A text frame."""
        weights = [weight for weight, _ in self._kinds]
        kind: Callable[[], Payload] = self._random.choices([kind for _, kind in self._kinds], weights)[0]
        return kind()

    def fatal(self) -> Payload:
        """A frame that the server may close the socket for; bytes that are not UTF-8 are meant as text, too."""
        random = self._random
        kind = random.randrange(6)
        if kind == 0:
            return random.randbytes(random.randrange(200))
        if kind == 1:
            return b'{"type":"ping","\xff\xfe":1}'
        if kind == 2:
            return "x" * (MAX_FRAME_BYTES + 1)
        if kind == 3:
            return json.dumps({"type": "authenticate", "token": self._foreign})
        token = self._token[: random.randrange(1, len(self._token))] if kind == 4 else self._text()
        return json.dumps({"type": "authenticate", "token": token})

    def header(self) -> str:
        """What an upgrade may bring instead of a token."""
        text = self._random.choice((self._token[:-1], f"{self._token}x", self._text(), self._value()))
        return "".join(character for character in text if 32 < ord(character) < 127)[:4_096]

    def remember(self, identifier: str) -> None:
        """Use an id that the server has told in frames to come."""
        if len(self._ids) < 200:
            self._ids.append(identifier)

    def _id(self) -> str:
        if self._random.random() < 0.2:
            return str(UUID(int=self._random.getrandbits(128)))
        return self._random.choice(self._ids)

    def _fields(self) -> Fields:
        random = self._random
        message: Fields = {"type": "user_message", "text": random.choice(("hello", "hold a", "open a", self._text()))}
        if random.random() < 0.9:
            message["agent"] = "gate"
        if random.random() < 0.6:
            message["thread_id"] = self._id()
        if random.random() < 0.4:
            message["client_message_id"] = random.choice(("m1", "m2", self._text()[:MAX_CLIENT_MESSAGE_ID] or "m"))
        if random.random() < 0.4:
            message["if_busy"] = random.choice(("enqueue", "reject", "interrupt"))
        frames: tuple[Fields, ...] = (
            message,
            {"type": "resume", "thread_id": self._id(), "after_seq": random.choice((0, 1, 5, 2**53))},
            {"type": "cancel_run", "run_id": self._id()},
            {"type": "ping"},
            {"type": "authenticate", "token": self._token},
        )
        return random.choices(frames, (40, 20, 20, 10, 2))[0]  # a bent token ends the socket

    def _text(self) -> str:
        return self._random.choice(ODD_TEXTS)

    def _valid(self) -> str:
        return _spelled(json.dumps(self._fields(), ensure_ascii=self._random.random() < 0.5))

    def _bent(self) -> str:
        """A valid frame of which a field is missing, too much, twice, or of another kind."""
        random = self._random
        texts = {name: json.dumps(value) for name, value in self._fields().items()}
        for _ in range(random.randint(1, 2)):
            name = random.choice((*texts, "type", "user_id", "text", "seq", json.dumps(self._text())[1:-1]))
            if random.random() < 0.25:
                texts.pop(name, None)
            else:
                texts[name] = self._value()
        if random.random() < 0.1 and texts:
            name = random.choice(list(texts))
            return _object(texts)[:-1] + f',"{name}":{self._value()}}}'
        return _object(texts)

    def _value(self) -> str:
        kind = self._random.randrange(4)
        if kind == 0:
            return self._random.choice(ODD_NUMBERS)
        if kind == 1:
            return self._random.choice(ODD_VALUES)
        return json.dumps(self._text() if kind == 2 else [self._text()] * self._random.randrange(5))

    def _cut(self) -> str:
        text = self._valid()
        return text[: self._random.randrange(len(text))]

    def _spliced(self) -> str:
        """Two frames in one, or one with something in its middle."""
        text, other = self._valid(), self._random.choice((self._valid(), self._text(), self._value()))
        place = self._random.choice((len(text), self._random.randrange(len(text))))
        return _spelled(text[:place] + other + text[place:])

    def _nested(self) -> str:
        depth = self._random.choice((2, 50, 200, 1_000, DEEPEST))
        opening, closing = self._random.choice((("[", "]"), ('{"type":', "}"), ('{"text":[', "]}"), ('[{"a":', "}]")))
        text = opening * depth + "1" + (closing * depth if self._random.random() < 0.7 else "")
        return text if self._random.random() < 0.5 else f'{{"type":"user_message","text":"x","thread_id":{text}}}'

    def _noise(self) -> str:
        return "".join(self._random.choices(NOISE, k=self._random.randrange(LONGEST_NOISE)))

    def _other_json(self) -> str:
        return self._random.choice((*ODD_VALUES, *ODD_NUMBERS))


def _object(texts: Mapping[str, str]) -> str:
    return _spelled("{" + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}")


def _spelled(text: str) -> str:
    """The text as UTF-8 can spell it."""
    return text.encode("utf-8", "replace").decode()
