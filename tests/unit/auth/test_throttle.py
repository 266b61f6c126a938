"""The throttle: who guesses is slowed, who knows the password is not."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netra_backend.app.auth.throttle as throttle_module
from netra_backend.app.auth.throttle import (
    RegistrationThrottle,
    SignInThrottle,
    TooManyAttemptsError,
    TooManyRegistrationsError,
)
from tests.support.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Stands still until it is set."""
    return ManualClock()


def refused_for(throttle: SignInThrottle, address: str, account: str) -> float:
    """How long an attempt must wait."""
    with pytest.raises(TooManyAttemptsError) as caught:
        throttle.check(address, account)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_an_address_that_fails_waits(clock: ManualClock) -> None:
    """A minute's worth may fail at once at many accounts; then one after another, and others are not touched."""
    throttle = SignInThrottle(per_minute=6, per_hour=100, clock=clock)
    for number in range(6):
        throttle.check("a", f"account {number}")
        throttle.count("a")
    assert refused_for(throttle, "a", "another") == 10
    throttle.check("b", "another")
    clock.now += 10
    throttle.check("a", "another")
    throttle.count("a")
    assert refused_for(throttle, "a", "another") == 10
    clock.now += 60
    for _ in range(6):
        throttle.check("a", "another")
        throttle.count("a")


def test_an_account_is_not_guessed_from_many_addresses(clock: ManualClock) -> None:
    """An hour's worth may fail at one account, whoever tries, whether the account exists or not."""
    throttle = SignInThrottle(per_minute=100, per_hour=4, clock=clock)
    for number in range(4):
        throttle.check(f"address {number}", "ann")
        throttle.count(f"address {number}")
    assert refused_for(throttle, "another address", "ann") == 900
    throttle.check("another address", "bob")


def test_who_succeeds_pays_nothing(clock: ManualClock) -> None:
    """Any number of sign-ins that succeed may come from one address and to one account, one after another."""
    throttle = SignInThrottle(per_minute=1, per_hour=1, clock=clock)
    for _ in range(1_000):
        throttle.check("a", "ann")
        throttle.forgive("ann")


def test_a_burst_of_guesses_keeps_the_owner_out_no_longer_than_one(clock: ManualClock) -> None:
    """Of guesses that are under way at once only as many pass as may fail, and one refill later the owner gets in."""
    throttle = SignInThrottle(per_minute=1_000, per_hour=20, clock=clock)
    passed = 0
    for number in range(500):
        with suppress(TooManyAttemptsError):
            throttle.check(f"address {number}", "ann")
            passed += 1
    for number in range(passed):
        throttle.count(f"address {number}")
    assert passed == 20
    assert refused_for(throttle, "ann's own", "ann") == 180
    clock.now += 180
    throttle.check("ann's own", "ann")


def test_attempts_that_do_not_fail_are_not_remembered(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody makes the throttle forget an account that was guessed at by attempts at others that never fail."""
    monkeypatch.setattr(throttle_module, "MAX_REMEMBERED", 10)
    throttle = SignInThrottle(per_minute=100, per_hour=1, clock=clock)
    throttle.check("a", "ann")
    throttle.count("a")
    for number in range(50):
        throttle.check("a", f"account {number}")
        throttle.forgive(f"account {number}")
        throttle.forgive("nobody")
    assert refused_for(throttle, "a", "ann") == 3600


@given(st.lists(st.tuples(st.floats(0, 1_000), st.lists(st.booleans(), min_size=1, max_size=30)), max_size=60))
def test_the_rate_holds_over_any_time(bundles: list[tuple[float, list[bool]]]) -> None:
    """However attempts are spread and bundled, no more fail than the first bucket and the refill, and no wait is
    longer than one refill."""
    clock = ManualClock()
    throttle = SignInThrottle(per_minute=100_000, per_hour=10, clock=clock)
    begun, failed = clock.now, 0
    for pause, bundle in bundles:
        clock.now += pause
        under_way = []
        for fails in bundle:
            with suppress(TooManyAttemptsError):
                throttle.check("a", "ann")
                under_way.append(fails)
        for fails in under_way:
            if fails:
                throttle.count("a")
                failed += 1
            else:
                throttle.forgive("ann")
        assert failed <= 10 + (clock.now - begun) / 360 + 1e-6
    clock.now += 361
    throttle.check("a", "ann")


def test_an_address_that_makes_accounts_waits(clock: ManualClock) -> None:
    """An hour's worth may be made at once, then one after another; what was not made costs nothing, others go on."""
    throttle = RegistrationThrottle(per_hour=4, clock=clock)
    for _ in range(4):
        throttle.count("a")
    with pytest.raises(TooManyRegistrationsError) as caught:
        throttle.count("a")
    assert caught.value.retry_after == 900
    throttle.count("b")
    throttle.forgive("a")
    throttle.count("a")
    clock.now += 900
    throttle.count("a")
    with pytest.raises(TooManyRegistrationsError):
        throttle.count("a")
