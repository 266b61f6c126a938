"""Token buckets: a full one at once, refilled evenly, for each key alone, and so many keys."""

from __future__ import annotations

import pytest

from netra_backend.app.services.token_buckets import TokenBuckets
from tests.support.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """It stands still."""
    return ManualClock()


def test_a_bucket_is_emptied_and_refilled(clock: ManualClock) -> None:
    """A bucket of three in a minute holds three at once, the next after twenty seconds; another key has its own."""
    buckets = TokenBuckets(3, 60, clock, most=10, is_strict=True)
    for _ in range(3):
        assert buckets.wait("a") == 0
        buckets.count("a")
    assert buckets.wait("a") == pytest.approx(20)
    assert buckets.wait("b") == 0
    clock.now += 20
    assert buckets.wait("a") == 0


def test_what_is_counted_beyond_it_is_a_debt(clock: ManualClock) -> None:
    """More than a bucket holds may be counted, and is waited for in full; what is taken back was never there."""
    buckets = TokenBuckets(3, 60, clock, most=10, is_strict=True)
    for _ in range(5):
        buckets.count("a")
    assert buckets.wait("a") == pytest.approx(60)
    for _ in range(5):
        buckets.take_back("a")
    buckets.take_back("unknown")
    assert len(buckets) == 0


@pytest.mark.parametrize(("is_strict", "remembered"), [(True, 10), (False, 50)])
def test_so_many_keys_are_remembered(clock: ManualClock, is_strict: bool, remembered: int) -> None:
    """Strict buckets are never more than asked for; others are while none of them is full again."""
    buckets = TokenBuckets(1, 60, clock, most=10, is_strict=is_strict)
    for number in range(50):
        buckets.count(str(number))
    assert len(buckets) == remembered
    clock.now += 60
    buckets.count("new")
    assert len(buckets) == remembered
