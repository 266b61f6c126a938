"""How often a sign-in may fail, and how many sockets may wait to be told whose they are."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from netra_backend.app.services.refusals import LimitExceededError

MAX_REMEMBERED: Final = 100_000
_ROUNDING: Final = 1e-9


class TooManyAttemptsError(LimitExceededError):
    """Raised when sign-ins of an address, or at an account, have failed too often."""

    code = "too_many_attempts"


class TooManyUnauthenticatedError(LimitExceededError):
    """Raised when as many sockets as may wait for their first frame."""

    code = "too_many_unauthenticated"


class FailureBudget:
    """A token bucket for each key that only failures empty.

    Who succeeds pays nothing, so that many users behind one address do not lock each other out. Where an attempt is
    counted once it has failed, those that are under way at the same moment may fail beyond what is left, and that debt
    is waited for. Where it is counted at once, and taken back unless it fails, nobody waits longer than one refill.

    Args:
        limit: failures that a full bucket allows at once.
        period: seconds in which an empty bucket fills.
        clock: monotonic seconds.
    """

    def __init__(self, limit: int, period: float, clock: Callable[[], float]) -> None:
        self._period = period
        self._interval = period / limit
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when the key's bucket will be full again

    def wait(self, key: str) -> float:
        """Seconds until another attempt may be made; 0 when it may be made now."""
        return max(0.0, self._full_at.get(key, 0.0) + self._interval - self._clock() - self._period)

    def count(self, key: str) -> None:
        """An attempt has failed, or may."""
        now = self._clock()
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > MAX_REMEMBERED:
            self._full_at.popitem(last=False)

    def take_back(self, key: str) -> None:
        """An attempt that was counted has not failed."""
        if key in self._full_at:
            self._full_at[key] -= self._interval
            if self._full_at[key] <= self._clock() + _ROUNDING:  # or attempts that never fail would push out who has
                del self._full_at[key]


class SignInThrottle:
    """What stands between somebody who guesses and the passwords.

    An account that does not exist is counted as one that does. Each attempt that `check` lets pass ends by `count` or
    by `forgive`.

    Args:
        per_minute: failures of one address.
        per_hour: failures at one account, whatever the address.
        clock: monotonic seconds.
    """

    def __init__(self, *, per_minute: int, per_hour: int, clock: Callable[[], float]) -> None:
        self._addresses = FailureBudget(per_minute, 60, clock)
        self._accounts = FailureBudget(per_hour, 3600, clock)

    def check(self, address: str, account: str) -> None:
        """See whether an attempt may be made, and count it at the account: however many are made at once, only those
        pass that may all fail, so that a burst of guesses keeps the owner out no longer than one guess does.

        Args:
            address: the client's, as `Client.network` tells it.
            account: the e-mail.

        Raises:
            TooManyAttemptsError: not yet; says after how many seconds.
        """
        wait = max(self._addresses.wait(address), self._accounts.wait(account))
        if wait > _ROUNDING:
            seconds = math.ceil(wait)
            raise TooManyAttemptsError(
                f"too many sign-ins have failed; try again in {seconds} s", retry_after=float(seconds)
            )
        self._accounts.count(account)

    def count(self, address: str) -> None:
        """An attempt has failed; the account has paid already."""
        self._addresses.count(address)

    def forgive(self, account: str) -> None:
        """An attempt has succeeded, or told nothing of the password: give back what `check` has taken."""
        self._accounts.take_back(account)


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
