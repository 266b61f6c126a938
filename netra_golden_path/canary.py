"""Secrets planted per user, and their detection in anything that is received.

A secret has one of two fixed shapes that begin alike, so that one search finds both: the marker and twenty letters
(for text), or the marker and twelve digits (for amounts, after the decimal point). The search is blind to letter case.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

MARKER = "731"
"""What every secret begins with. A digit other than zero, so that an amount stays whole when it loses its point."""

AMOUNTS = 3
"""How many secret amounts a user has."""

_SHAPE = re.compile(rb"731(?:[xX][A-Za-z2-7]{20}|[0-9]{12})")
_SHAPE_IN_TEXT = re.compile(_SHAPE.pattern.decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What is known of one user only.

    Attributes:
        label: stands in labels of usage records.
        model: stands in a model's name.
        account: stands in the user's e-mail address.
        amounts: runs of digits; costs are `0.` and one of them.
    """

    label: str
    model: str
    account: str
    amounts: tuple[str, ...]

    def __iter__(self) -> Iterator[str]:
        """Yields every secret."""
        yield from (self.label, self.model, self.account, *self.amounts)

    @property
    def costs(self) -> tuple[Decimal, ...]:
        """The secret amounts in US dollars, each below one."""
        return tuple(Decimal(f"0.{digits}") for digits in self.amounts)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A planted secret found in what was received.

    Attributes:
        owner: the number of the user whose secret it is.
        secret: the secret, in lower case.
    """

    owner: int
    secret: str

    def __str__(self) -> str:
        return f"{redact(self.secret)} of user {self.owner}"


class Vault:
    """Who owns which secret."""

    def __init__(self, planted: Iterable[tuple[int, Secrets]]) -> None:
        """Remembers the secrets of all users.

        Args:
            planted: each user's number and secrets.

        Raises:
            ValueError: when two users have the same secret, which another seed heals.
        """
        self._owners: dict[bytes, int] = {}
        for user, secrets in planted:
            for secret in secrets:
                owner = self._owners.setdefault(secret.encode(), user)
                if owner != user:
                    raise ValueError(f"users {owner} and {user} were given the same secret; choose another seed")

    def sightings(self, data: bytes) -> set[Sighting]:
        """Finds the planted secrets in `data`, in time proportional to its length."""
        shapes = {shape.lower() for shape in set(_SHAPE.findall(data))}
        if not shapes <= self._owners.keys():
            shapes |= set(_overlapping(data))  # what is nobody's may hide the beginning of what is somebody's
        return {Sighting(self._owners[shape], shape.decode()) for shape in shapes if shape in self._owners}

    def foreign(self, data: bytes, user: int) -> set[Sighting]:
        """Finds the secrets in `data` that are not `user`'s own."""
        return {sighting for sighting in self.sightings(data) if sighting.owner != user}

    def own(self, data: bytes, user: int) -> set[Sighting]:
        """Finds the secrets in `data` that are `user`'s own."""
        return {sighting for sighting in self.sightings(data) if sighting.owner == user}


def _overlapping(data: bytes) -> Iterator[bytes]:
    match = _SHAPE.search(data)
    while match is not None:
        yield match[0].lower()
        match = _SHAPE.search(data, match.start() + 1)


def plant(seed: int, user: int) -> Secrets:
    """Makes the secrets of one user; the same for the same seed and number."""
    return Secrets(
        label=_letters(seed, user, "label"),
        model=_letters(seed, user, "model"),
        account=_letters(seed, user, "account"),
        amounts=tuple(_digits(seed, user, f"amount {number}") for number in range(AMOUNTS)),
    )


def redact(text: str) -> str:
    """Shortens whatever in `text` has the shape of a secret, so that it may be shown."""
    return _SHAPE_IN_TEXT.sub(lambda match: f"{match[0][:6]}…", text)


def _digest(seed: int, user: int, purpose: str) -> bytes:
    return hashlib.sha256(f"{seed}/{user}/{purpose}".encode()).digest()


def _letters(seed: int, user: int, purpose: str) -> str:
    return f"{MARKER}x" + base64.b32encode(_digest(seed, user, purpose)).decode().lower()[:20]


def _digits(seed: int, user: int, purpose: str) -> str:
    number = int.from_bytes(_digest(seed, user, purpose)) % 10**11
    return f"{MARKER}{number:011d}{number % 9 + 1}"
