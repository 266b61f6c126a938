"""Reading an upload of usage records: every row exactly as it was written, or an error with its line."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netra_backend.app.api.usage_upload import (
    COLUMNS,
    MAX_COST,
    MAX_COUNT,
    MAX_ERRORS,
    MAX_LINE_CHARACTERS,
    InvalidUploadError,
    RowError,
    UploadFormat,
    read_records,
)
from netra_backend.app.services.usage_record import UsageRecord

GOOD: dict[str, str] = {
    "timestamp": "2026-01-31T12:00:00+00:00",
    "request_id": "r1",
    "model": "small",
    "operation": "chat",
    "prompt_fingerprint": "f1",
    "input_tokens": "1000",
    "output_tokens": "100",
    "cost_usd": "0.0123",
    "latency_ms": "250.5",
    "deferrable": "true",
    "label": "a label",
}
RECORD = UsageRecord(
    timestamp=datetime(2026, 1, 31, 12, tzinfo=UTC),
    request_id="r1",
    model="small",
    operation="chat",
    prompt_fingerprint="f1",
    input_tokens=1000,
    output_tokens=100,
    cost_usd=Decimal("0.0123"),
    latency_ms=250.5,
    deferrable=True,
    label="a label",
)
CSV, JSON_LINES = UploadFormat.CSV, UploadFormat.JSON_LINES
HEADER = ",".join(COLUMNS)
NAMES = ("request_id", "model", "operation", "prompt_fingerprint")


def read(body: str | bytes, format_: UploadFormat = CSV) -> list[tuple[int, UsageRecord]]:
    """The records of a body, decoded as the route decodes it."""
    raw = body.encode() if isinstance(body, str) else body
    newline = "" if format_ is CSV else None
    return list(read_records(io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8-sig", newline=newline), format_))


def faults(body: str | bytes, format_: UploadFormat = CSV) -> list[RowError]:
    """What is wrong with a body."""
    with pytest.raises(InvalidUploadError) as caught:
        read(body, format_)
    return caught.value.faults


def csv_text(*rows: dict[str, str], columns: Sequence[str] = COLUMNS) -> str:
    """A CSV file of rows, as `csv` writes it."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def json_lines(*rows: object) -> str:
    """A file of JSON lines."""
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def with_json(field: str, text: str) -> str:
    """A JSON line whose field is such a JSON text."""
    row = json.dumps({name: value for name, value in GOOD.items() if name != field})
    return f'{row[:-1]}, "{field}": {text}}}\n'


def fault_of(field: str, value: str) -> RowError | None:
    """What is wrong with one field's value, the same in both forms; None when it is taken."""
    bodies = ((csv_text(GOOD | {field: value}), CSV), (json_lines(GOOD | {field: value}), JSON_LINES))
    found: list[RowError | None] = []
    for body, format_ in bodies:
        try:
            read(body, format_)
        except InvalidUploadError as error:
            (fault,) = error.faults
            found.append(replace(fault, line=0))
        else:
            found.append(None)
    assert found[0] == found[1]
    return found[0]


# Forms


@pytest.mark.parametrize("format_", UploadFormat)
def test_a_record_is_read(format_: UploadFormat) -> None:
    """A row of either form is a record with exactly its values, with the line it begins on."""
    body = (
        csv_text(GOOD, GOOD | {"request_id": "r2"}) if format_ is CSV else json_lines(GOOD, GOOD | {"request_id": "r2"})
    )
    first = 2 if format_ is CSV else 1
    assert read(body, format_) == [(first, RECORD), (first + 1, replace(RECORD, request_id="r2"))]


@given(st.permutations(COLUMNS))
def test_columns_may_come_in_any_order(columns: list[str]) -> None:
    """The header says which column is which, with or without spaces around the names."""
    assert read(csv_text(GOOD, columns=columns)) == [(2, RECORD)]
    header, rest = csv_text(GOOD, columns=columns).split("\r\n", 1)
    assert read(f" {header.replace(',', ' , ')} \r\n{rest}") == [(2, RECORD)]
    assert read(json_lines({name: GOOD[name] for name in columns}), JSON_LINES) == [(1, RECORD)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_and_the_byte_order_mark_do_not_matter(end: str, bom: bytes, last: bool) -> None:
    """A file of any editor is read: LF or CRLF, with or without a byte-order mark, and a last line end or none."""
    lines = csv_text(GOOD, GOOD).split("\r\n")[:-1]
    body = end.join(lines) + (end if last else "")
    assert read(bom + body.encode()) == [(2, RECORD), (3, RECORD)]
    body = end.join(json_lines(GOOD, GOOD).split("\n")[:-1]) + (end if last else "")
    assert read(bom + body.encode(), JSON_LINES) == [(1, RECORD), (2, RECORD)]


def test_a_quoted_value_may_hold_line_ends() -> None:
    """Quotes, commas and line ends inside quotes belong to the value, and lines are still counted as an editor does."""
    label = 'says "hi",\r\nthen\n\nleaves'
    body = csv_text(GOOD | {"label": label}, GOOD, GOOD | {"label": "\n"}, GOOD)
    assert read(body) == [
        (2, replace(RECORD, label=label)),
        (6, RECORD),
        (7, replace(RECORD, label="\n")),
        (9, RECORD),
    ]
    (fault,) = faults(csv_text(GOOD | {"label": label}, GOOD, GOOD | {"label": "\n", "model": ""}))
    assert (fault.line, fault.field) == (7, "model")


def test_blank_lines_are_nothing() -> None:
    """Empty lines between and after records are passed over, and counted."""
    header, row = csv_text(GOOD).split("\r\n")[:2]
    assert read(f"{header}\n\n{row}\n\n\n{row}\n\n") == [(3, RECORD), (6, RECORD)]
    line = json_lines(GOOD)
    assert read(f"\n{line}  \t\n\r\n{line}\n", JSON_LINES) == [(2, RECORD), (5, RECORD)]


@pytest.mark.parametrize(
    ("body", "format_"),
    [
        (HEADER, CSV), (f"{HEADER}\r\n\r\n", CSV),
        ("", JSON_LINES), ("\n \n", JSON_LINES), (b"\xef\xbb\xbf", JSON_LINES),
    ],
)  # fmt: skip
def test_a_file_without_a_record_is_refused(body: str | bytes, format_: UploadFormat) -> None:
    """Nothing at all is a mistake somebody wants to know about."""
    assert faults(body, format_) == [RowError(1, None, "at least one record", "none")]


def test_an_empty_csv_file_is_told_what_it_should_begin_with() -> None:
    """A CSV file begins with a header."""
    (fault,) = faults("")
    assert fault == RowError(1, None, f"a header line with the columns {', '.join(COLUMNS)}", "an empty file")


@pytest.mark.parametrize(
    ("header", "field", "expected"),
    [
        (HEADER.replace("model,", ""), "model", "a column of this name"),
        (HEADER.replace("model", "Model"), "model", "a column of this name"),
        (HEADER.replace(",", ";"), "timestamp", "a column of this name"),
        ("\n" + HEADER, "timestamp", "a column of this name"),
        (HEADER + ",label", "label", "each column once"),
        (HEADER + ",user_id", "user_id", f"only the columns {', '.join(COLUMNS)}"),
        (HEADER + "," + "x" * 5_000, "x" * 60, f"only the columns {', '.join(COLUMNS)}"),
        (HEADER + ",", "", f"only the columns {', '.join(COLUMNS)}"),
    ],
)
def test_a_wrong_header_names_the_column(header: str, field: str, expected: str) -> None:
    """A missing, doubled or unknown column is named, once, however many rows follow."""
    (fault,) = faults(f"{header}\r\n" + "1,2,3\r\n" * 50)
    assert (fault.line, fault.field, fault.expected) == (1, field, expected)
    assert len(fault.got) <= 80


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_row_of_another_width_is_told(extra: int) -> None:
    """A row with too few or too many values is an error of its line, and the next lines are still looked at."""
    header, row = csv_text(GOOD).split("\r\n")[:2]
    wrong = row + ",x" if extra > 0 else row.rsplit(",", 1)[0]
    assert faults("\n".join([header, row, wrong, row, wrong])) == [
        RowError(line, None, "11 values", f"{11 + extra}") for line in (3, 5)
    ]


def test_what_is_no_csv_is_told_with_its_line() -> None:
    """Text after a closing quote is an error of its line; a quote inside a bare value is only a quote."""
    header, row = csv_text(GOOD).split("\r\n")[:2]
    (fault,) = faults("\n".join([header, row, row.replace("a label", '"a"b'), row]))
    assert (fault.line, fault.field, fault.expected) == (3, None, "well-formed CSV (RFC 4180)")
    assert read("\n".join([header, row.replace("a label", 'x"y"')])) == [(2, replace(RECORD, label='x"y"'))]


def test_a_quote_that_is_never_closed_is_told_where_it_was_opened() -> None:
    """The line of a broken row is its first, where the author finds the quote, not the end of the file."""
    header, row = csv_text(GOOD).split("\r\n")[:2]
    (fault,) = faults("\n".join([header, row, row.replace("a label", '"a label')] + [row] * 100))
    assert (fault.line, fault.expected) == (3, "well-formed CSV (RFC 4180)")


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null", "true", "{} {}", "{", "}", "{'a': 1}", "nul", '{"a": 01}'])
def test_a_line_that_is_no_json_object_is_told(text: str) -> None:
    """A line of anything but one JSON object is an error of its line, and the next lines are still looked at."""
    found = faults(f"{json_lines(GOOD)}{text}\n{json_lines(GOOD)}{text}\n", JSON_LINES)
    assert [(fault.line, fault.field) for fault in found] == [(2, None), (4, None)]
    assert {fault.expected for fault in found} == {"one JSON object"}


@pytest.mark.parametrize("deep", [60_000, 30_000])
@pytest.mark.parametrize("around", ["{}", '{{"label": {}}}'])
def test_deep_json_is_told(deep: int, around: str) -> None:
    """JSON nested deeper than Python goes is an error of its line like any other."""
    found = faults(around.format("[" * (deep // 2) + "]" * (deep // 2)), JSON_LINES)
    assert {fault.line for fault in found} == {1}


@pytest.mark.parametrize("around", ["{}", '{{"label": {}}}'])
def test_json_of_every_depth_is_told(around: str) -> None:
    """Whatever depth Python still reads, telling of the value does not go deeper than it can."""
    for depth in range(800, 1_050):
        found = faults(around.format("[" * depth + "]" * depth), JSON_LINES)
        assert {fault.line for fault in found} == {1}


def test_a_huge_line_is_not_read_whole() -> None:
    """A line without an end is refused once it is too long, with its number; what follows is never read."""
    header, row = csv_text(GOOD).split("\r\n")[:2]

    class Endless(io.TextIOBase):
        """A header, a row, then a line that never ends."""

        def __init__(self) -> None:
            self.lines = [f"{header}\n", f"{row}\n"]
            self.served = 0

        def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # a text file's takes no None here
            assert size > 0, "an unbounded read"
            if self.lines:
                return self.lines.pop(0)
            self.served += size
            assert self.served < 10 * MAX_LINE_CHARACTERS
            return "x" * size

    with pytest.raises(InvalidUploadError) as caught:
        list(read_records(Endless(), CSV))  # type: ignore[arg-type]  # a text file by duck type
    assert caught.value.faults == [
        RowError(3, None, f"a line of at most {MAX_LINE_CHARACTERS} characters", "a longer one")
    ]


def test_a_quoted_value_over_many_lines_is_bounded_too() -> None:
    """Many short lines inside one pair of quotes do not fill the memory either."""
    header, row = csv_text(GOOD).split("\r\n")[:2]
    (fault,) = faults("\n".join([header, row, row.replace("a label", '"' + "x\n" * 1_000_000 + '"')]))
    assert fault.expected == "well-formed CSV (RFC 4180)"


def test_what_is_not_utf_8_is_told_with_its_line() -> None:
    """Bytes that are no UTF-8 are an error of the line they are on."""
    lines = csv_text(GOOD, GOOD, GOOD).encode().split(b"\r\n")
    lines[2] = lines[2].replace(b"a label", b"a l\xe4bel")
    assert faults(b"\r\n".join(lines)) == [RowError(3, None, "UTF-8 text", "other bytes")]


@pytest.mark.parametrize("format_", UploadFormat)
@given(body=st.binary(max_size=200))
@example(body=b"\xff\xfe")
@example(body=b"\x00")
@example(body=b'"')
@example(body=b'{"\\ud800": 1}')
@example(body=b'{"cost_usd": 1e999999999999999999999}')
@example(body=b'{"cost_usd": -1e-999999999999999999999}')
@example(body=b'{"input_tokens": ' + b"9" * 5_000 + b"}")
def test_any_bytes_are_refused_in_order(format_: UploadFormat, body: bytes) -> None:
    """Whatever bytes come, they are refused as an upload with lines and short words that can be sent; nothing else."""
    with pytest.raises(InvalidUploadError) as caught:
        read(body, format_)
    assert 1 <= len(caught.value.errors) <= MAX_ERRORS
    assert json.dumps(caught.value.errors, ensure_ascii=False).encode()
    assert all(1 <= fault.line <= body.count(b"\n") + body.count(b"\r") + 1 for fault in caught.value.faults)


# Fields


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("timestamp", "2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("timestamp", " 2026-01-31T13:30:00.25+01:30 ", datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("request_id", "x" * 256, "x" * 256),
        ("model", " keeps its spaces ", " keeps its spaces "),
        ("operation", "名前", "名前"),
        ("prompt_fingerprint", "=cmd()", "=cmd()"),
        ("input_tokens", "0", 0),
        ("input_tokens", " 007 ", 7),
        ("output_tokens", str(MAX_COUNT), MAX_COUNT),
        ("cost_usd", "0", Decimal(0)),
        ("cost_usd", "-0.00", Decimal("0.00")),
        ("cost_usd", "+.5", Decimal("0.5")),
        ("cost_usd", "5.", Decimal(5)),
        ("cost_usd", "1.5e-3", Decimal("0.0015")),
        ("cost_usd", "1E9", MAX_COST),
        ("cost_usd", "0." + "0" * 23 + "1", Decimal("1e-24")),
        ("cost_usd", "123456789.123456789012345678901234", Decimal("123456789.123456789012345678901234")),
        ("latency_ms", "0", 0.0),
        ("latency_ms", "1000000000", 1e9),
        ("latency_ms", "2.5e2", 250.0),
        ("deferrable", "TRUE", True),
        ("deferrable", " false ", False),
        ("label", "", ""),
        ("label", "x" * 200, "x" * 200),
        ("label", "😀" * 200, "😀" * 200),
    ],
)  # fmt: skip
def test_every_fields_bounds_are_within(field: str, text: str, value: object) -> None:
    """What is just within a field's bounds is taken exactly, the same in both forms."""
    for body, format_ in ((csv_text(GOOD | {field: text}), CSV), (json_lines(GOOD | {field: text}), JSON_LINES)):
        ((_, record),) = read(body, format_)
        assert getattr(record, field) == value
        assert type(getattr(record, field)) is type(value)
        if isinstance(value, Decimal):
            assert not record.cost_usd.is_signed()
        if isinstance(value, datetime):
            assert record.timestamp.tzinfo is UTC


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("timestamp", ""),
        ("timestamp", "2026-01-31"),
        ("timestamp", "2026-01-31T12:00:00"),
        ("timestamp", "2026-02-30T12:00:00Z"),
        ("timestamp", "1769860800"),
        ("timestamp", "٢٠٢٦-٠١-٣١T12:00:00Z"),
        ("timestamp", "0001-01-01T00:00:00+14:00"),
        ("timestamp", "9999-12-31T23:59:59-14:00"),
        *((field, text) for field in NAMES for text in ("", "x" * 257, "a\0b")),
        *((field, text) for field in ("input_tokens", "output_tokens") for text in (
            "", "-1", "+1", "1.0", "1e3", "1_000", "1,000", "0x10", "１２", "٣", "²", "NaN",
            str(MAX_COUNT + 1), "9" * 5_000,
        )),
        ("cost_usd", ""),
        ("cost_usd", "-0.01"),
        ("cost_usd", "1000000000.000000000000000000000001"),
        ("cost_usd", "1e10"),
        ("cost_usd", "1e999"),
        ("cost_usd", "1e9999"),
        ("cost_usd", "1e-25"),
        ("cost_usd", "0." + "0" * 24 + "1"),
        ("cost_usd", "1_000"),
        ("cost_usd", "1,5"),
        ("cost_usd", "$1"),
        ("cost_usd", "１"),
        ("cost_usd", "٣.٥"),
        ("cost_usd", "."),
        ("cost_usd", "1e"),
        ("cost_usd", "--1"),
        ("cost_usd", "NaN"),
        ("cost_usd", "sNaN"),
        ("cost_usd", "Infinity"),
        ("cost_usd", "-inf"),
        ("cost_usd", "0x1p3"),
        ("cost_usd", "9" * 60_000),
        ("latency_ms", ""),
        ("latency_ms", "-1"),
        ("latency_ms", "nan"),
        ("latency_ms", "inf"),
        ("latency_ms", "1000000000.5"),
        ("latency_ms", "1_0"),
        ("deferrable", ""),
        ("deferrable", "1"),
        ("deferrable", "yes"),
        ("deferrable", "ＴＲＵＥ"),
        ("label", "x" * 201),
        ("label", "a\0b"),
    ],
)  # fmt: skip
def test_every_fields_bounds_are_kept(field: str, text: str) -> None:
    """What is just beyond a field's bounds is refused, named, the same in both forms, and repeated in few words."""
    fault = fault_of(field, text)
    assert fault is not None
    assert fault.field == field
    assert len(fault.got) <= 61
    assert len(fault.expected) < 100


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("input_tokens", "1000", 1000),
        ("cost_usd", "0.1", Decimal("0.1")),
        ("cost_usd", "1", Decimal(1)),
        ("cost_usd", "0.100000000000000005551115", Decimal("0.100000000000000005551115")),
        ("cost_usd", "12345678.123456789012345678901234", Decimal("12345678.123456789012345678901234")),
        ("cost_usd", "1e-24", Decimal("1e-24")),
        ("latency_ms", "250.5", 250.5),
        ("latency_ms", "250", 250.0),
        ("deferrable", "true", True),
        ("deferrable", "false", False),
        ("label", '"\\u00e9\\ud83d\\ude00"', "é😀"),
    ],
)
def test_json_values_are_exact(field: str, text: str, value: object) -> None:
    """A JSON number is read as it is spelled, never by way of a float, and a JSON boolean is a boolean."""
    ((_, record),) = read(with_json(field, text), JSON_LINES)
    assert getattr(record, field) == value
    assert type(getattr(record, field)) is type(value)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *((name, text) for name in COLUMNS for text in ("null", "[]", "{}", "NaN", "-Infinity", "Infinity")),
        *((name, text) for name in COLUMNS if name != "deferrable" for text in ("true", "false")),
        *((name, "5") for name in ("timestamp", *NAMES, "deferrable", "label")),
        *((name, text) for name in ("input_tokens", "output_tokens") for text in ("1.0", "1e3", "-1", "1e400")),
        *((name, text) for name in ("cost_usd", "latency_ms") for text in ("-1", "1e400", "1e-400", "1000000001")),
        ("cost_usd", "1e999999999999999999999"),
        ("cost_usd", "9" * 4_000),
        ("label", '"\\ud800"'),
        ("model", '"\\udc00x"'),
        ("label", '"\\u0000"'),
        ("timestamp", '"\\ud800"'),
    ],
)  # fmt: skip
def test_json_values_of_another_kind_are_refused(field: str, text: str) -> None:
    """A JSON value of another type, or text that UTF-8 cannot spell, is refused; NaN and Infinity are no JSON."""
    (fault,) = faults(json_lines(GOOD) + with_json(field, text), JSON_LINES)
    assert fault.line == 2
    assert fault.field == field or (fault.field is None and fault.expected == "one JSON object")
    assert len(fault.got) <= 61


def test_a_field_too_few_or_too_many_is_told() -> None:
    """A JSON object without one of the fields, or with another one, is refused by that field's name."""
    without = {name: value for name, value in GOOD.items() if name != "model"}
    assert faults(json_lines(without), JSON_LINES) == [RowError(1, "model", "a value", "none")]
    (fault,) = faults(json_lines(GOOD | {"user_id": "bob"}), JSON_LINES)
    assert (fault.line, fault.field, fault.got) == (1, "user_id", "another one")


def test_a_long_unknown_field_is_told_in_few_words() -> None:
    """However long the name of an unknown field, the refusal is short."""
    with pytest.raises(InvalidUploadError) as caught:
        read(json_lines(GOOD | {"x" * 60_000: 1}), JSON_LINES)
    assert len(json.dumps(caught.value.errors)) < 1_000


# Errors


def test_nothing_comes_after_a_bad_row() -> None:
    """Rows before the first bad one are given, none after it; the error comes at the end, with every bad row."""
    rows = [GOOD, GOOD, GOOD | {"cost_usd": "x", "model": ""}, GOOD, GOOD | {"label": "x" * 201}, GOOD]
    for body, format_, first in ((csv_text(*rows), CSV, 2), (json_lines(*rows), JSON_LINES, 1)):
        records = read_records(io.StringIO(body, newline=""), format_)
        assert [next(records)[0], next(records)[0]] == [first, first + 1]
        with pytest.raises(InvalidUploadError) as caught:
            next(records)
        assert [(fault.line, fault.field) for fault in caught.value.faults] == [
            (first + 2, "model"),
            (first + 2, "cost_usd"),
            (first + 4, "label"),
        ]


@pytest.mark.parametrize("wrong", [{"model": ""}, {"model": "", "cost_usd": "x", "label": "x" * 201}])
def test_there_are_never_more_errors_than_the_limit(wrong: dict[str, str]) -> None:
    """However bad a file is, at most MAX_ERRORS errors are told, and reading ends there."""
    rows = csv_text(*[GOOD | wrong] * 100)

    class Counted(io.StringIO):
        """A file that counts the lines it has given."""

        given = 0

        def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # a text file's takes no None here
            self.given += 1
            return super().readline(size)

    file = Counted(rows, newline="")
    with pytest.raises(InvalidUploadError) as caught:
        list(read_records(file, CSV))
    assert len(caught.value.faults) == MAX_ERRORS
    assert file.given <= MAX_ERRORS + 2


def test_the_error_is_told_in_a_sentence() -> None:
    """The message names the first error's line, field, what was expected and what came, and how many more there are."""
    with pytest.raises(InvalidUploadError) as caught:
        read(csv_text(GOOD | {"deferrable": "maybe"}, GOOD | {"input_tokens": "-1"}))
    error = caught.value
    assert error.message == "line 2, deferrable: expected true or false, got 'maybe' (and 1 more); nothing was stored"
    assert error.errors == [
        {"line": 2, "field": "deferrable", "expected": "true or false", "got": "'maybe'"},
        {"line": 3, "field": "input_tokens", "expected": f"a whole number from 0 to {MAX_COUNT}", "got": "'-1'"},
    ]
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.errors, again.code) == (error.message, error.errors, "invalid_upload")


# Round trips


def _texts(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=least, max_size=most)


def _records() -> st.SearchStrategy[UsageRecord]:
    offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.builds(
        UsageRecord,
        timestamp=st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=offsets),
        request_id=_texts(1, 256),
        model=_texts(1, 30),
        operation=_texts(1, 30),
        prompt_fingerprint=_texts(1, 30),
        input_tokens=st.integers(0, MAX_COUNT),
        output_tokens=st.integers(0, MAX_COUNT),
        cost_usd=st.integers(0, 10**33).map(lambda units: Decimal(f"{units}e-24")) | st.decimals(0, 100, places=6),
        latency_ms=st.floats(0, 1e9, width=32).filter(lambda value: value == 0 or value > 1e-6),
        deferrable=st.booleans(),
        label=_texts(0, 200),
    )


def _row(record: UsageRecord) -> dict[str, Any]:
    return {
        "timestamp": record.timestamp.isoformat(),
        **{name: getattr(record, name) for name in COLUMNS if name != "timestamp"},
        "cost_usd": f"{record.cost_usd:f}",
        "latency_ms": f"{Decimal(record.latency_ms):.24f}".rstrip("0"),
        "deferrable": "true" if record.deferrable else "false",
    }


@given(st.lists(_records(), min_size=1, max_size=4))
def test_records_are_the_same_after_a_trip_through_csv(records: list[UsageRecord]) -> None:
    """Any records written as CSV read back equal, to the last digit and the last character of a label."""
    assert [record for _, record in read(csv_text(*map(_row, records)))] == records


@given(st.lists(_records(), min_size=1, max_size=4), st.booleans())
def test_records_are_the_same_after_a_trip_through_json_lines(records: list[UsageRecord], ascii_only: bool) -> None:
    """Any records written as JSON lines read back equal, with numbers as JSON numbers and text escaped or not."""
    lines = []
    for record in records:
        row = _row(record)
        numbers = {name: row.pop(name) for name in ("cost_usd", "latency_ms")}
        text = json.dumps(row | {"deferrable": record.deferrable}, ensure_ascii=ascii_only)
        for name, number in numbers.items():
            text = f'{text[:-1]}, "{name}": {number.rstrip(".")}}}'
        lines.append(text)
    read_back = read("\n".join(lines), JSON_LINES)
    assert [line for line, _ in read_back] == list(range(1, len(records) + 1))
    assert [record for _, record in read_back] == records
