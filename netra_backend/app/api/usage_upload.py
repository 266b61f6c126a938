"""Reading an upload of usage records: CSV or JSON lines, row by row, every error with its line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import count
from typing import Any, Final, TextIO

from netra_backend.app.services.refusals import RefusedError
from netra_backend.app.services.usage_record import UsageRecord

MAX_ERRORS: Final = 20
MAX_LINE_CHARACTERS: Final = 64 * 1024
MAX_COUNT: Final = 10**12
MAX_COST: Final = Decimal(10**9)
COLUMNS: Final = tuple(field.name for field in fields(UsageRecord))

_INTEGER: Final = re.compile(r"[0-9]{1,13}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]{1,32}(\.[0-9]{0,32})?|\.[0-9]{1,32})([eE][+-]?[0-9]{1,3})?")


class UploadFormat(StrEnum):
    """The forms an upload may have: their media types."""

    CSV = "text/csv"
    JSON_LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class RowError:
    """What is wrong with one field of one row.

    Attributes:
        line: of the file, from 1; the row's first.
        field: the column; None when the row as a whole is meant.
    """

    line: int
    field: str | None
    expected: str
    got: str


class InvalidUploadError(RefusedError):
    """Raised when rows of an upload cannot be taken; nothing of it was stored.

    Attributes:
        errors: the first of them, for the client.
    """

    code = "invalid_upload"

    def __init__(self, faults: list[RowError]) -> None:
        first = faults[0]
        where = f"line {first.line}" + (f", {first.field}" if first.field else "")
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{where}: expected {first.expected}, got {first.got}{more}; nothing was stored")
        self.faults = faults
        self.errors = [asdict(fault) for fault in faults]

    def __reduce__(self) -> tuple[type[InvalidUploadError], tuple[list[RowError]]]:
        return type(self), (self.faults,)


class _BadValue(Exception):
    pass


def _text(value: Any, most: int, *, least: int = 1) -> str:
    if not isinstance(value, str) or not least <= len(value) <= most or "\0" in value or not _is_utf8(value):
        raise _BadValue(f"text of {least} to {most} characters without NUL")
    return value


def _is_utf8(value: str) -> bool:
    """Whether UTF-8 can spell a text; JSON can hold half of a surrogate pair, which nothing can store."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _time(value: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value.strip())
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (AttributeError, ValueError, OverflowError):
        pass
    raise _BadValue("an ISO 8601 time with offset, such as 2026-01-31T12:00:00+00:00")


def _count(value: Any) -> int:
    number = value
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_COUNT:
        raise _BadValue(f"a whole number from 0 to {MAX_COUNT}")
    return number


def _decimal(value: Any, what: str) -> Decimal:
    number = value
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        number = Decimal(value.strip())
    elif isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    if not isinstance(number, Decimal) or not number.is_finite() or not 0 <= number <= MAX_COST or _places(number) > 24:
        raise _BadValue(what)
    return number.copy_abs()  # `abs` would round to the context's 28 digits


def _places(number: Decimal) -> int:
    return max(0, -int(number.as_tuple().exponent))


def _flag(value: Any) -> bool:
    flags = {"true": True, "false": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in flags:
        return flags[value.strip().lower()]
    raise _BadValue("true or false")


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "timestamp": _time,
    "request_id": lambda value: _text(value, 256),
    "model": lambda value: _text(value, 256),
    "operation": lambda value: _text(value, 256),
    "prompt_fingerprint": lambda value: _text(value, 256),
    "input_tokens": _count,
    "output_tokens": _count,
    "cost_usd": lambda value: _decimal(value, "a decimal number from 0 to 1000000000 with at most 24 places"),
    "latency_ms": lambda value: float(_decimal(value, "a number of milliseconds from 0 to 1000000000")),
    "deferrable": _flag,
    "label": lambda value: _text(value, 200, least=0),
}


def read_records(file: TextIO, format_: UploadFormat) -> Iterator[tuple[int, UsageRecord]]:
    """The records of an upload.

    Args:
        file: its text; for CSV opened with `newline=""`.
        format_: what it holds.

    Yields:
        The line on which each record begins, and the record; nothing any more once a row was bad.

    Raises:
        InvalidUploadError: after the end of the file or `MAX_ERRORS` bad values; also when there is no row at all.
    """
    rows = _csv_rows(file) if format_ is UploadFormat.CSV else _json_rows(file)
    errors: list[RowError] = []
    is_empty = True
    for line, row in rows:
        is_empty = False
        record = row if isinstance(row, RowError) else _record(line, row, errors)
        if isinstance(record, RowError):
            errors.append(record)
        elif record is not None and not errors:
            yield line, record
        if len(errors) >= MAX_ERRORS:
            break
    if is_empty:
        errors.append(RowError(1, None, "at least one record", "none"))
    if errors:
        raise InvalidUploadError(errors[:MAX_ERRORS])


def _record(line: int, row: Mapping[str, Any], errors: list[RowError]) -> UsageRecord | None:
    values = {}
    for name, read in _READERS.items():
        try:
            values[name] = read(row[name])
        except KeyError:
            errors.append(RowError(line, name, "a value", "none"))
        except _BadValue as bad:
            errors.append(RowError(line, name, str(bad), _shown(row[name])))
    if unknown := sorted(set(row) - set(COLUMNS)):
        errors.append(RowError(line, _name(unknown[0]), f"only the fields {', '.join(COLUMNS)}", "another one"))
        return None
    return UsageRecord(**values) if len(values) == len(_READERS) else None


def _shown(value: Any) -> str:
    text = "nothing" if value == "" else repr(value)
    return _sendable(text if len(text) <= 60 else f"{text[:60]}…")


def _name(name: str) -> str:
    return _sendable(name[:60])


def _sendable(text: str) -> str:
    return text if _is_utf8(text) else ascii(text)


Rows = Iterator[tuple[int, Mapping[str, Any] | RowError]]


def _csv_rows(file: TextIO) -> Rows:
    reader = csv.reader(_bounded_lines(file), strict=True)
    line = 1
    try:
        header = next(reader, None)
        if header is None:
            yield 1, RowError(1, None, f"a header line with the columns {', '.join(COLUMNS)}", "an empty file")
            return
        header = [name.strip() for name in header]
        if fault := _header_fault(header):
            yield 1, fault
            return
        line = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(header):
                yield line, RowError(line, None, f"{len(header)} values", f"{len(values)}")
            elif values:
                yield line, dict(zip(header, values, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        yield line, RowError(line, None, "well-formed CSV (RFC 4180)", str(error))


def _header_fault(header: list[str]) -> RowError | None:
    for name in COLUMNS:
        if name not in header:
            return RowError(1, name, "a column of this name", f"the columns {_shown(', '.join(header))}")
    if len(header) != len(set(header)):
        twice = next(name for name in header if header.count(name) > 1)
        return RowError(1, twice, "each column once", f"{header.count(twice)} of this name")
    if unknown := [name for name in header if name not in COLUMNS]:
        return RowError(1, _name(unknown[0]), f"only the columns {', '.join(COLUMNS)}", "another one")
    return None


def _json_rows(file: TextIO) -> Rows:
    for line, text in enumerate(_bounded_lines(file), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, ArithmeticError, RecursionError):
            yield line, RowError(line, None, "one JSON object", "text that is not JSON")
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            yield line, RowError(line, None, "one JSON object", _shown(row))


def _bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines of a file, with an end to a line that has none: memory stays bounded whatever is uploaded."""
    for number in count(1):
        try:
            text = file.readline(MAX_LINE_CHARACTERS + 1)
        except UnicodeDecodeError as error:  # the decoder reads ahead
            line = number + error.object[: error.start].count(b"\n")
            raise InvalidUploadError([RowError(line, None, "UTF-8 text", "other bytes")]) from None
        if not text:
            return
        if len(text) > MAX_LINE_CHARACTERS:
            raise InvalidUploadError(
                [RowError(number, None, f"a line of at most {MAX_LINE_CHARACTERS} characters", "a longer one")]
            )
        yield text
