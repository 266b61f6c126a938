"""Points in time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_backend.app.services.user_execution_context import InvalidContextError
from netra_backend.app.services.utc_times import checked_utc, moment_after, parsed_utc, utc_now
from tests.support.strategies import moments


class Stamp(datetime):
    """A datetime of a subclass, as pandas' is."""


class Nowhere(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """No offset."""
        return None

    def dst(self, when: datetime | None) -> timedelta | None:
        """No summer time."""
        return None

    def tzname(self, when: datetime | None) -> str | None:
        """No name."""
        return None


@given(moments())
def test_a_moment_in_utc_is_kept(moment: datetime) -> None:
    """An aware UTC datetime is returned as it is, and its ISO text reads back to it."""
    assert checked_utc("deadline", moment) is moment
    assert parsed_utc("deadline", moment.isoformat()) == moment


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.timezones()))
def test_a_moment_elsewhere_is_expressed_in_utc(moment: datetime) -> None:
    """Another zone's time becomes the same moment in UTC, as an exact datetime."""
    checked = checked_utc("deadline", moment)
    assert checked == moment.astimezone(UTC)
    assert (type(checked), checked.tzinfo) == (datetime, UTC)


def test_a_subclass_becomes_exact() -> None:
    """What is kept is a plain datetime."""
    checked = checked_utc("created_at", Stamp(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))
    assert (type(checked), checked) == (datetime, datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))
    summer = checked_utc("created_at", datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")))
    assert summer == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=Nowhere()),
        date(2026, 1, 1),
        "2026-01-01T00:00:00+00:00",
        1.0,
        None,
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    ],
    ids=["naive", "unknown offset", "date", "text", "number", "None", "too late", "too early"],
)
def test_other_values_are_refused(value: object) -> None:
    """Naive times, other types and times outside the calendar raise InvalidContextError with the field's name."""
    with pytest.raises(InvalidContextError, match=r"^deadline: expected"):
        checked_utc("deadline", value)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", None, 5, b"2026"])
def test_other_texts_are_refused(text: Any) -> None:
    """What is no ISO 8601 time with an offset raises InvalidContextError."""
    with pytest.raises(InvalidContextError, match=r"^created_at: expected"):
        parsed_utc("created_at", text)


def test_a_span_ends_in_the_future() -> None:
    """The end of a span lies that far from now."""
    before = utc_now()
    end = moment_after("ttl", timedelta(minutes=1))
    assert before <= end - timedelta(minutes=1) <= utc_now()


@pytest.mark.parametrize("span", [timedelta(0), timedelta(seconds=-1), timedelta.max, 3600, None])
def test_a_span_is_positive_and_ends_in_the_calendar(span: Any) -> None:
    """Other spans raise InvalidContextError."""
    with pytest.raises(InvalidContextError, match=r"^ttl: expected"):
        moment_after("ttl", span)
