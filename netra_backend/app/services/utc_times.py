"""Points in time as contexts hold them: exact `datetime` values, aware, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from .context_errors import InvalidContextError, told


def utc_now() -> datetime:
    """Tell the time.

    Returns:
        Now, aware, in UTC.
    """
    return datetime.now(UTC)


def checked_utc(field: str, value: object) -> datetime:
    """Check a point in time and express it in UTC.

    Args:
        field: the name of what is checked, for the message.
        value: what came.

    Returns:
        The same moment as an exact `datetime` whose `tzinfo` is `UTC`.

    Raises:
        InvalidContextError: if it is no `datetime`, is naive, or lies outside the years 1 to 9999 in UTC.
    """
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    if not isinstance(value, datetime):
        raise InvalidContextError(field, "an aware datetime", told(value))
    try:
        if value.utcoffset() is None:
            raise InvalidContextError(
                field, "an aware datetime", "a naive one", "Give it a tzinfo, as in datetime.now(UTC)."
            )
        utc = value.astimezone(UTC)
    except OverflowError:
        raise InvalidContextError(field, "a moment in the years 1 to 9999", "one outside them") from None
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, tzinfo=UTC)


def moment_after(field: str, span: object) -> datetime:
    """Tell when a span of time from now ends.

    Args:
        field: the name of what is checked, for the message.
        span: a positive `timedelta`.

    Returns:
        The moment, aware, in UTC.

    Raises:
        InvalidContextError: if it is no `timedelta`, is not positive, or ends after the year 9999.
    """
    if not isinstance(span, timedelta):
        raise InvalidContextError(field, "a positive timedelta", told(span))
    if span <= timedelta(0):
        raise InvalidContextError(field, "a positive timedelta", "one that is not")
    try:
        return utc_now() + span
    except OverflowError:
        raise InvalidContextError(field, "a timedelta that ends before the year 10000", "a longer one") from None


def parsed_utc(field: str, text: object) -> datetime:
    """Read a point in time from its ISO 8601 text.

    Args:
        field: the name of what is read, for the message.
        text: ISO 8601 with an offset.

    Returns:
        The moment, aware, in UTC.

    Raises:
        InvalidContextError: if it is no such text.
    """
    try:
        return checked_utc(field, datetime.fromisoformat(text))  # type: ignore[arg-type]  # TypeError is caught
    except InvalidContextError:
        raise
    except (TypeError, ValueError):
        raise InvalidContextError(field, "an ISO 8601 time with an offset", told(text)) from None
