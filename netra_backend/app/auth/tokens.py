"""Tokens: short access tokens that prove themselves, and refresh tokens that the database knows."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import jwt

from netra_backend.app.services.principal import AuthenticationError, Principal

from .keys import KeyRing

ALGORITHM: Final = "HS256"
ISSUER: Final = "netra"
AUDIENCE: Final = "netra-api"
PAGE_AUDIENCE: Final = "netra-page"
"""Of the token in the page's cookie: it is worth nothing in a header, and a header's token nothing in the cookie."""
LEEWAY: Final = timedelta(minutes=2)
"""How far the clock may be set back, or another node's may be ahead, before a token counts as one of the future."""
NOT_VALID: Final = "the token is not valid; sign in again"
REQUIRED: Final = ["sub", "sid", "iat", "nbf", "exp", "iss", "aud"]
_REFRESH: Final = "refresh"


class AccessTokens:
    """Issues and verifies tokens that prove themselves (RFC 7519, HS256), each naming the key that signed it.

    Args:
        keys: the newest signs.
        ttl: how long a token is good.
        now: the clock.
        audience: where the tokens are good.
    """

    def __init__(
        self,
        keys: KeyRing,
        ttl: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        audience: str = AUDIENCE,
    ) -> None:
        self._keys = keys
        self.ttl = ttl
        self._now = now
        self._audience = audience

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
            "aud": self._audience,
        }
        kid = self._keys.newest
        return jwt.encode(claims, self._keys.get(kid), algorithm=ALGORITHM, headers={"kid": kid})

    def verify(self, token: str) -> Principal:
        """Who a token proves.

        Args:
            token: as received.

        Raises:
            AuthenticationError: it proves nobody; the reason tells an expired one from a bad one, and no more.
        """
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise AuthenticationError(NOT_VALID)
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=self._audience,
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
    """A refresh token: which session, a secret of which the database keeps the hash only, and who has issued it.

    Attributes:
        session_id: the sign-in, and so the family of tokens that follow each other.
        secret: random, another one in each token of the family.
        code: proves that the token was issued for this session, also long after it was spent.
    """

    session_id: str
    secret: str
    code: str

    @classmethod
    def generate(cls, session_id: str, keys: KeyRing) -> RefreshToken:
        """A new token of a session."""
        secret = secrets.token_urlsafe(32)
        return cls(session_id, secret, keys.sign(_REFRESH, f"{session_id}.{secret}"))

    @classmethod
    def parse(cls, text: str) -> RefreshToken:
        """The token that a text spells; raises AuthenticationError."""
        session_id, _, rest = text.partition(".")
        secret, _, code = rest.partition(".")
        if not (session_id and secret and code and text.isascii() and text.isprintable()):
            raise AuthenticationError("the refresh token is not valid; sign in again")
        return cls(session_id, secret, code)

    def was_issued(self, keys: KeyRing) -> bool:
        """Whether it is one that this server has given out for its session: then whoever brings it was given it, or
        took it from who was."""
        return keys.signed(_REFRESH, f"{self.session_id}.{self.secret}", self.code)

    @property
    def hash(self) -> str:
        """What the database keeps; the secret is random, so a plain hash is enough."""
        return hashlib.sha256(f"{self.secret}.{self.code}".encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.session_id}.{self.secret}.{self.code}"

    def __repr__(self) -> str:
        return f"RefreshToken({self.session_id!r}, …)"
