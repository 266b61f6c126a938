"""Who is speaking, as a verified token says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

SESSION_ENDED: Final = "the session has ended; sign in again"
"""Why a token that is good by itself proves nobody any more."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in user. Only a verified access token makes one.

    Attributes:
        user_id: our own id of the user.
        session_id: the sign-in the token belongs to.
        expires_at: when the token ends, aware UTC.
    """

    user_id: str
    session_id: str
    expires_at: datetime


class AuthenticationError(Exception):
    """Raised when a token or a password proves nothing. The reason is for the client and names no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
