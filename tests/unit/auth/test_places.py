"""Places: counted right, in all and of each address."""

from __future__ import annotations

import pytest

from netra_backend.app.auth.places import Places, TooManyUnauthenticatedError


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
