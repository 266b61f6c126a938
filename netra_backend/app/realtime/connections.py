"""The live connections of this process."""

from __future__ import annotations

from typing import Protocol

from netra_backend.app.services.principal import Principal
from netra_backend.app.services.refusals import LimitExceededError


class LiveConnection(Protocol):
    """What the register needs of a connection."""

    @property
    def principal(self) -> Principal | None:
        """Who is connected; None until it is known."""

    def close(self, code: int, reason: str) -> None:
        """Begin to end it; returns at once."""


class Connections:
    """A register with limits, and the way to end connections from outside.

    Args:
        limit: connections in all.
        limit_per_user: connections of one user.
    """

    def __init__(self, *, limit: int, limit_per_user: int) -> None:
        self._limit = limit
        self._limit_per_user = limit_per_user
        self._by_user: dict[str, set[LiveConnection]] = {}
        self.count = 0

    def add(self, user_id: str, connection: LiveConnection) -> None:
        """Register a connection; raises LimitExceededError."""
        own = self._by_user.get(user_id, set())
        if len(own) >= self._limit_per_user:
            raise LimitExceededError(f"you have {len(own)} connections already; close one first")
        if self.count >= self._limit:
            raise LimitExceededError("the server has all the connections it takes; try again in 5 s", retry_after=5)
        self._by_user.setdefault(user_id, set()).add(connection)
        self.count += 1

    def remove(self, user_id: str, connection: LiveConnection) -> None:
        """Forget a connection; one that is not registered is left alone."""
        own = self._by_user.get(user_id, set())
        if connection in own:
            own.remove(connection)
            self.count -= 1
            if not own:
                del self._by_user[user_id]

    def close_session(self, user_id: str, session_id: str) -> None:
        """End the connections of one sign-in."""
        for connection in tuple(self._by_user.get(user_id, ())):
            if connection.principal is not None and connection.principal.session_id == session_id:
                connection.close(4401, "signed out")

    def close_user(self, user_id: str, reason: str = "signed out everywhere") -> None:
        """End all connections of a user."""
        for connection in tuple(self._by_user.get(user_id, ())):
            connection.close(4401, reason)

    def close_all(self) -> None:
        """The server is going away."""
        for own in tuple(self._by_user.values()):
            for connection in tuple(own):
                connection.close(1012, "the server is going away; come back and resume")
