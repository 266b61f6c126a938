"""The rate limit: a minute's worth at once, refilled evenly, for each user alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.runs import rate_limit as rate_limit_module
from netra_backend.app.runs.rate_limit import RateLimit
from netra_backend.app.services.refusals import RateLimitedError
from tests.support.manual_clock import ManualClock


def _spent(limit: RateLimit, user_id: str = "alice") -> int:
    """How many messages go through until one does not."""
    for count in range(10_000):
        try:
            limit.spend(user_id)
        except RateLimitedError:
            return count
    raise AssertionError("nothing is ever refused")


@pytest.mark.parametrize("per_minute", [1, 7, 120])
def test_a_minutes_worth_goes_at_once(per_minute: int) -> None:
    """Exactly the number of a minute goes through in one moment, whatever the clock says and also at its beginning."""
    for now in (0.0, 0.1, 1e9):
        assert _spent(RateLimit(per_minute, ManualClock(now))) == per_minute


@pytest.mark.parametrize("per_minute", [1, 7, 120])
def test_it_is_refilled_evenly(per_minute: int) -> None:
    """An empty bucket holds one again after its share of a minute, all after a minute, and never more than that."""
    clock = ManualClock()
    limit = RateLimit(per_minute, clock)
    _spent(limit)
    clock.now += 60 / per_minute
    assert _spent(limit) == 1
    clock.now += 60
    assert _spent(limit) == per_minute
    clock.now += 86_400
    assert _spent(limit) == per_minute


def test_a_refusal_tells_when_it_may_work() -> None:
    """Before the time that the refusal names the next message is refused too; at that time it goes through."""
    clock = ManualClock()
    limit = RateLimit(6, clock)
    _spent(limit)
    clock.now += 4
    with pytest.raises(RateLimitedError, match=r"more than 6 messages in a minute; try again in 6\.0 s") as caught:
        limit.spend("alice")
    assert caught.value.retry_after == pytest.approx(6)
    assert caught.value.retry_after is not None
    clock.now += caught.value.retry_after - 0.001
    with pytest.raises(RateLimitedError):
        limit.spend("alice")
    clock.now += 0.001
    limit.spend("alice")


def test_a_refused_message_does_not_count() -> None:
    """Who keeps trying does not have to wait longer."""
    clock = ManualClock()
    limit = RateLimit(6, clock)
    _spent(limit)
    for _ in range(1_000):
        assert _spent(limit) == 0
    with pytest.raises(RateLimitedError) as caught:
        limit.spend("alice")
    assert caught.value.retry_after == pytest.approx(10)


def test_each_user_has_an_own_bucket() -> None:
    """One user's messages cost another nothing."""
    limit = RateLimit(3, ManualClock())
    assert _spent(limit, "alice") == 3
    assert _spent(limit, "bob") == 3
    assert _spent(limit, "alice") == 0


def test_a_clock_that_stands_still_gives_nothing() -> None:
    """Without time there is no refill."""
    limit = RateLimit(3, ManualClock())
    assert [_spent(limit) for _ in range(3)] == [3, 0, 0]


def test_who_has_sent_is_not_forgotten_for_newcomers(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many others come, a user's empty bucket stays empty; full ones are forgotten, so memory is bounded."""
    monkeypatch.setattr(rate_limit_module, "MAX_REMEMBERED", 10)
    clock = ManualClock()
    limit = RateLimit(3, clock)
    assert _spent(limit, "alice") == 3
    for number in range(100):
        limit.spend(f"user-{number}")
    assert _spent(limit, "alice") == 0
    most = len(limit._buckets)
    clock.now += 60
    for number in range(100, 300):
        limit.spend(f"user-{number}")
        clock.now += 60
    assert len(limit._buckets) <= most  # the only way to see what is kept


@given(st.integers(1, 60), st.lists(st.tuples(st.integers(0, 600), st.sampled_from("ab")), max_size=150))
def test_it_does_as_a_plain_bucket_does(per_minute: int, arrivals: list[tuple[int, str]]) -> None:
    """Any messages at any times fare as with a counter that is refilled by hand, in exact arithmetic."""
    clock = ManualClock(0)
    limit = RateLimit(per_minute, clock)
    buckets = {"a": (0, 60 * 10 * per_minute), "b": (0, 60 * 10 * per_minute)}  # the time, and 600 for each message
    for tenths, user_id in arrivals:
        clock.now = round(clock.now * 10 + tenths) / 10
        now = round(clock.now * 10)
        before, level = buckets[user_id]
        level = min(600 * per_minute, level + (now - before) * per_minute)
        allowed = level >= 600
        buckets[user_id] = now, level - 600 if allowed else level
        if allowed:
            limit.spend(user_id)
        else:
            with pytest.raises(RateLimitedError) as caught:
                limit.spend(user_id)
            assert caught.value.retry_after == pytest.approx((600 - level) / per_minute / 10)
