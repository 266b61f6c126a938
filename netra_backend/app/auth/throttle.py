"""How often a sign-in may fail, and how many accounts an address may make."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from netra_backend.app.services.refusals import LimitExceededError
from netra_backend.app.services.token_buckets import TokenBuckets

MAX_REMEMBERED: Final = 100_000


class TooManyAttemptsError(LimitExceededError):
    """Raised when sign-ins of an address, or at an account, have failed too often."""

    code = "too_many_attempts"


class TooManyRegistrationsError(LimitExceededError):
    """Raised when an address has made as many accounts as it may for now."""

    code = "too_many_registrations"


class SignInThrottle:
    """What stands between somebody who guesses and the passwords.

    Who succeeds pays nothing, so that many users behind one address do not lock each other out. An account that does
    not exist is counted as one that does. Each attempt that `check` lets pass ends by `count` or by `forgive`.

    Args:
        per_minute: failures of one address.
        per_hour: failures at one account, whatever the address.
        clock: monotonic seconds.
    """

    def __init__(self, *, per_minute: int, per_hour: int, clock: Callable[[], float]) -> None:
        self._addresses = TokenBuckets(per_minute, 60, clock, most=MAX_REMEMBERED, is_strict=True)
        self._accounts = TokenBuckets(per_hour, 3600, clock, most=MAX_REMEMBERED, is_strict=True)

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
        if wait:
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


class RegistrationThrottle:
    """How many accounts strangers make from one address, where they may make any.

    Args:
        per_hour: accounts of one address.
        clock: monotonic seconds.
    """

    def __init__(self, *, per_hour: int, clock: Callable[[], float]) -> None:
        self._addresses = TokenBuckets(per_hour, 3600, clock, most=MAX_REMEMBERED, is_strict=True)

    def count(self, address: str) -> None:
        """Count an account before it is made, so that no burst goes beyond the limit.

        Args:
            address: the client's, as `Client.network` tells it.

        Raises:
            TooManyRegistrationsError: not yet; says after how many seconds.
        """
        wait = self._addresses.wait(address)
        if wait:
            seconds = math.ceil(wait)
            raise TooManyRegistrationsError(
                f"too many accounts were made from this address; try again in {seconds} s", retry_after=float(seconds)
            )
        self._addresses.count(address)

    def forgive(self, address: str) -> None:
        """The account was not made: give back what `count` has taken."""
        self._addresses.take_back(address)
