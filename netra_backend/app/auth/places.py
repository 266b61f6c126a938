"""How many passwords and sockets may wait before anybody is known."""

from __future__ import annotations

from collections.abc import Callable

from netra_backend.app.services.refusals import LimitExceededError


class TooManyUnauthenticatedError(LimitExceededError):
    """Raised when as many sockets as may wait for their first frame."""

    code = "too_many_unauthenticated"


class Places:
    """A bounded number of places, of which each address has a bounded part.

    Args:
        limit: places in all.
        limit_per_address: places of one address.
        refusal: made when there is none.
    """

    def __init__(self, limit: int, limit_per_address: int, refusal: Callable[[], LimitExceededError]) -> None:
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._refusal = refusal
        self._taken: dict[str, int] = {}
        self.count = 0

    def take(self, address: str) -> Place:
        """A place, to be given back; raises the refusal when there is none."""
        taken = self._taken.get(address, 0)
        if self.count >= self._limit or taken >= self._limit_per_address:
            raise self._refusal()
        self._taken[address] = taken + 1
        self.count += 1
        return Place(self, address)

    def _give_back(self, address: str) -> None:
        self.count -= 1
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]


class Place:
    """One place; `with` gives it back at the end."""

    def __init__(self, places: Places, address: str) -> None:
        self._places = places
        self._address = address
        self._is_taken = True

    def give_back(self) -> None:
        """Give the place back; a second call does nothing."""
        if self._is_taken:
            self._is_taken = False
            self._places._give_back(self._address)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()
