"""Tokens: short access tokens that prove themselves, and refresh tokens that the database knows."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import jwt

from netra_backend.app.services.principal import AuthenticationError, Principal

ALGORITHM: Final = "HS256"
ISSUER: Final = "netra"
AUDIENCE: Final = "netra-api"
KEY_BYTES: Final = 48
LEEWAY: Final = timedelta(minutes=2)
"""How far the clock may be set back, or another node's may be ahead, before a token counts as one of the future."""
NOT_VALID: Final = "the token is not valid; sign in again"
REQUIRED: Final = ["sub", "sid", "iat", "nbf", "exp", "iss", "aud"]


class AccessTokens:
    """Issues and verifies access tokens (RFC 7519, HS256).

    Args:
        secret_key: signs; at least 32 bytes.
        ttl: how long a token is good.
        now: the clock.
    """

    def __init__(
        self, secret_key: bytes, ttl: timedelta, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._key = secret_key
        self.ttl = ttl
        self._now = now

    def issue(self, user_id: str, session_id: str) -> str:
        """A token that proves a user for one `ttl`."""
        now = self._now()
        claims = {
            "sub": user_id,
            "sid": session_id,
            "iat": now,
            "nbf": now,
            "exp": now + self.ttl,
            "iss": ISSUER,
            "aud": AUDIENCE,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def verify(self, token: str) -> Principal:
        """Who a token proves.

        Args:
            token: as received.

        Raises:
            AuthenticationError: it proves nobody; the reason tells an expired one from a bad one, and no more.
        """
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
            user_id, session_id = claims["sub"], claims["sid"]
            not_before, expires = (datetime.fromtimestamp(claims[name], UTC) for name in ("nbf", "exp"))
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, OSError):
            raise AuthenticationError(NOT_VALID) from None
        now = self._now()  # and not the library's own clock, which cannot be set
        if not isinstance(session_id, str) or not isinstance(claims["iat"], int) or not _is_canonical(token):
            raise AuthenticationError(NOT_VALID)
        if not_before > now + LEEWAY:
            raise AuthenticationError(NOT_VALID)
        if expires <= now:
            raise AuthenticationError("the token has expired; refresh it or sign in again")
        return Principal(user_id, session_id, expires)


def _is_canonical(token: str) -> bool:
    """Whether the signature is spelled as we spell it: base64's spare bits would let a changed character pass."""
    signature = token.rpartition(".")[2]
    return jwt.utils.base64url_encode(jwt.utils.base64url_decode(signature)).decode() == signature


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token: which session, and a secret of which the database keeps the hash only."""

    session_id: str
    secret: str

    @classmethod
    def generate(cls, session_id: str) -> RefreshToken:
        """A new token of a session."""
        return cls(session_id, secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> RefreshToken:
        """The token that a text spells; raises AuthenticationError."""
        session_id, dot, secret = text.partition(".")
        if not (session_id and dot and secret and text.isascii()):
            raise AuthenticationError("the refresh token is not valid; sign in again")
        return cls(session_id, secret)

    @property
    def hash(self) -> str:
        """What the database keeps; the secret is random, so a plain hash is enough."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.session_id}.{self.secret}"

    def __repr__(self) -> str:
        return f"RefreshToken({self.session_id!r}, …)"


def load_or_make_key(path: Path) -> bytes:
    """The key in a file, which is made with mode 0600 when there is none.

    Args:
        path: of the file; its folder exists.

    Returns:
        48 random bytes, the same at every start.

    Raises:
        ValueError: the file holds something else.
    """
    if not path.exists():
        _make_key(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError(
            f"{path} holds {len(key)} bytes, expected a key of {KEY_BYTES}; delete it, and a new one is made: "
            "everybody must sign in again"
        )
    return key


def _make_key(path: Path) -> None:
    """Write a key under another name, then give it its own: nobody ever reads a part of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another start was faster: its key counts
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
