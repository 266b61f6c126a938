"""The throttle: who guesses is slowed, who knows the password is not, and places are counted right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.auth.throttle import (
    FailureBudget,
    Places,
    SignInThrottle,
    TooManyAttemptsError,
    TooManyUnauthenticatedError,
)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Stands still until it is set."""
    return Clock()


def refused_for(throttle: SignInThrottle, address: str, account: str) -> float:
    """How long an attempt must wait."""
    with pytest.raises(TooManyAttemptsError) as caught:
        throttle.check(address, account)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_an_address_that_fails_waits(clock: Clock) -> None:
    """A minute's worth may fail at once at many accounts; then one after another, and others are not touched."""
    throttle = SignInThrottle(per_minute=6, per_hour=100, clock=clock)
    for number in range(6):
        throttle.check("a", f"account {number}")
        throttle.count("a", f"account {number}")
    assert refused_for(throttle, "a", "another") == 10
    throttle.check("b", "another")
    clock.now += 10
    throttle.check("a", "another")
    throttle.count("a", "another")
    assert refused_for(throttle, "a", "another") == 10
    clock.now += 60
    for _ in range(6):
        throttle.check("a", "another")
        throttle.count("a", "another")


def test_an_account_is_not_guessed_from_many_addresses(clock: Clock) -> None:
    """An hour's worth may fail at one account, whoever tries, whether the account exists or not."""
    throttle = SignInThrottle(per_minute=100, per_hour=4, clock=clock)
    for number in range(4):
        throttle.check(f"address {number}", "ann")
        throttle.count(f"address {number}", "ann")
    assert refused_for(throttle, "another address", "ann") == 900
    throttle.check("another address", "bob")


def test_who_succeeds_pays_nothing(clock: Clock) -> None:
    """Any number of sign-ins that succeed may come from one address and to one account."""
    throttle = SignInThrottle(per_minute=1, per_hour=1, clock=clock)
    for _ in range(1_000):
        throttle.check("a", "ann")


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=60))
def test_the_rate_holds_over_any_time(attempts: list[tuple[float, int]]) -> None:
    """However attempts are spread and bundled, no more fail than the first bucket, the refill and one bundle."""
    clock = Clock()
    budget = FailureBudget(10, 60, clock)
    begun, failed = clock.now, 0
    for pause, bundle in attempts:
        clock.now += pause
        if budget.wait("a") <= 1e-9:
            for _ in range(bundle):
                budget.count("a")
            failed += bundle
        assert failed <= 10 + (clock.now - begun) / 6 + 5 + 1e-6


def test_places_are_given_back_once() -> None:
    """Places in all and of one address are bounded, and giving one back twice frees one only."""
    places = Places(3, 2, lambda: TooManyUnauthenticatedError("full", retry_after=5))
    first, second = places.take("a"), places.take("a")
    with pytest.raises(TooManyUnauthenticatedError):
        places.take("a")
    with places.take("b"):
        assert places.count == 3
        with pytest.raises(TooManyUnauthenticatedError):
            places.take("c")
    first.give_back()
    first.give_back()
    assert places.count == 1
    places.take("a")
    with pytest.raises(TooManyUnauthenticatedError):
        places.take("a")
    second.give_back()
