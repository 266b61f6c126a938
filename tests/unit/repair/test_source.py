"""A file's bytes and text: decoding, and conversions between the ways in which engines count."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_repair.source import Position, Source, Span, UnreadableSource

BOM = b"\xef\xbb\xbf"
# What goes wrong where bytes, code points and UTF-16 units are mixed up, or lines are told by str.splitlines().
AWKWARD = [*"aé€😀\u0301\u200d𝒳ſ\t\f\v \x1c\x85\u2028\u2029\ufeff", "\r\n", "\r", "\n", "\n\n", "'", "#"]
JAPANESE = [*"aソ表ｶ予\t\f", "\r\n", "\r", "\n", "x" * 700]

awkward_texts = st.lists(st.sampled_from(AWKWARD), max_size=40).map("".join)
# Longer than a block of characters, so that conversions start in the middle of the file.
long_texts = st.tuples(awkward_texts, st.integers(0, 3_000), awkward_texts).map(lambda parts: "é".join(map(str, parts)))


def written(text: str, encoding: str = "utf-8", bom: bool = False) -> Source:
    """A file with this text; other encodings than UTF-8 get a cookie."""
    cookie = "" if encoding == "utf-8" else f"# -*- coding: {encoding} -*-\n"
    return Source.of("m.py", (BOM if bom else b"") + (cookie + text).encode(encoding))


def sources() -> st.SearchStrategy[Source]:
    """Files of one byte for a character, and of several."""
    utf8 = st.builds(written, awkward_texts | long_texts, bom=st.booleans())
    japanese = st.builds(
        written, st.lists(st.sampled_from(JAPANESE), max_size=30).map("".join), st.sampled_from(["shift_jis", "cp932"])
    )
    western = st.builds(
        written, st.text(st.sampled_from("aéñ\t\f\r\n"), max_size=30), st.sampled_from(["latin-1", "cp1252"])
    )
    return utf8 | japanese | western


def lines_of(text: str) -> list[str]:
    """The lines as Python's tokenizer sees them, with their ends: an oracle that counts one by one."""
    lines = [""]
    for index, character in enumerate(text):
        lines[-1] += character
        if character == "\n" or (character == "\r" and text[index + 1 : index + 2] != "\n"):
            lines.append("")
    return lines


@given(sources(), st.data())
def test_every_count_of_a_place_names_the_same_byte(source: Source, data: st.DataObject) -> None:
    """Lines and columns, UTF-16, UTF-8 columns and indices of characters lead to one byte offset and back."""
    index = data.draw(st.integers(0, len(source.text)))
    before = source.text[:index]
    offset = len(source.data) - len(source.text[index:].encode(source.encoding))
    lines = lines_of(before)
    line, column = len(lines), len(lines[-1])
    if before.endswith("\r") and source.text[index : index + 1] == "\n":
        line, column = line - 1, len(lines_of(before[:-1])[-1]) + 1
    start = index - column

    assert source.offset_of_index(index) == offset
    assert source.index_of_offset(offset) == index
    assert source.position(offset) == Position(line, column + 1)
    assert source.offset(Position(line, column + 1)) == offset
    assert source.utf16(offset) == (line - 1, len(source.text[start:index].encode("utf-16-le")) // 2)
    assert source.offset_of_utf8(line, len(source.text[start:index].encode())) == offset


@given(sources(), st.data())
def test_a_span_holds_its_characters(source: Source, data: st.DataObject) -> None:
    """What lies between two characters is sliced out of the bytes unchanged."""
    start = data.draw(st.integers(0, len(source.text)))
    end = data.draw(st.integers(start, len(source.text)))
    assert source.slice(source.span(start, end)) == source.text[start:end]


@given(sources(), st.data())
def test_places_that_are_not_there_are_refused(source: Source, data: st.DataObject) -> None:
    """A line, a column or an offset outside the file raises; a column never runs into the next line."""
    lines = lines_of(source.text)
    line = data.draw(st.integers(-1, len(lines) + 1))
    column = data.draw(st.integers(-1, len(lines[min(max(line, 1), len(lines)) - 1]) + 3))
    there = 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1
    if there:
        assert source.offset(Position(line, column)) <= len(source.data)
    else:
        with pytest.raises(ValueError, match=r"m\.py"):
            source.offset(Position(line, column))
    for outside in (-1, len(source.text) + 1):
        with pytest.raises(ValueError, match="characters"):
            source.offset_of_index(outside)
    with pytest.raises(ValueError, match="no text at byte"):
        source.position(len(source.data) + 1)


def test_a_line_ends_with_its_newline() -> None:
    """The place behind a line's end is the last one that the line has."""
    source = written("x = 1\ny = 2\n")
    assert source.offset(Position(1, 7)) == 6
    with pytest.raises(ValueError, match="no column 8"):
        source.offset(Position(1, 8))


def test_a_byte_inside_a_character_is_no_place() -> None:
    """Neither the middle of a character nor of the byte order mark has a position."""
    source = written("é = '😀'", bom=True)
    for offset in (0, 1, 2, 4, 10):
        with pytest.raises(ValueError, match=r"byte|decode"):
            source.position(offset)
    with pytest.raises(ValueError, match="decode"):
        source.offset_of_utf8(1, 1)
    with pytest.raises(ValueError, match="bytes"):
        source.offset_of_utf8(1, 30)


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"", "utf-8", ""),
        (BOM + b"x\n", "utf-8", "x\n"),
        (BOM + b"# coding: utf-8\nx", "utf-8", "# coding: utf-8\nx"),
        (BOM + BOM + b"x", "utf-8", "\ufeffx"),
        ("# coding: latin-1\n'é'".encode("latin-1"), "iso-8859-1", "# coding: latin-1\n'é'"),
        ("#!/bin/python\n# vim: set fileencoding=cp1252 :\n'€'".encode("cp1252"), "cp1252", None),
        ("# coding: shift_jis\nx = 'ソ表'".encode("shift_jis"), "shift_jis", "# coding: shift_jis\nx = 'ソ表'"),
        (b"x = 1\r\ny = 2\rz", "utf-8", "x = 1\r\ny = 2\rz"),
        ("# coding: iso2022-jp\nx = '日本'; y.gone".encode("iso2022-jp"), "iso2022-jp", None),
    ],
)
def test_files_are_decoded_as_python_does(data: bytes, encoding: str, text: str | None) -> None:
    """The byte order mark and the coding cookie decide; line ends stay as they are."""
    source = Source.of("m.py", data)
    assert source.encoding == encoding
    assert source.text == (data.decode(encoding) if text is None else text)
    assert source.digest == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"# coding: no-such-codec\n", "unknown encoding"),
        (BOM + b"# coding: latin-1\n", "encoding problem"),
        (b"x = '\xe9'\n", "invalid or missing encoding"),
        (b"\n\n\nx = '\xe9'\n", "can't decode"),
        ("x = 1".encode("utf-16"), "cannot be decoded"),
        # Each writes some character in two ways, so that no count of characters tells the byte.
        (b"# coding: unicode_escape\nx = '\\x41'", "character by character"),
        (b"# coding: utf-7\nx = '+AGEAYg-'", "character by character"),
        (b"# coding: iso2022-jp\nx = '\x1b$BF|\x1b(B\x1b$BK\\\x1b(B'", "character by character"),
    ],
)
def test_what_cannot_be_decoded_for_sure_is_unreadable(data: bytes, reason: str) -> None:
    """Unknown codecs, wrong bytes, and bytes whose places cannot be told give a reason, not a guess."""
    with pytest.raises(UnreadableSource, match=reason) as caught:
        Source.of("m.py", data)
    assert caught.value.path == "m.py"


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    """The system's words are the reason."""
    (tmp_path / "m.py").write_bytes(b"x = 1\n")
    assert Source.read(tmp_path, "m.py").data == b"x = 1\n"
    for path in ("gone.py", "."):
        with pytest.raises(UnreadableSource, match="cannot be read"):
            Source.read(tmp_path, path)


def test_conversions_do_not_walk_through_a_large_file() -> None:
    """A hundred times as many conversions in a file of 5 MB, lines long and short, take little more than one."""
    source = written("naïve = 'é😀'\n" * 250_000 + "x" * 500_000 + "é.gone")
    last = source.text.rindex("gone")

    def seconds(conversions: int) -> float:
        begun = time.process_time()
        for index in range(last - conversions, last):
            assert source.index_of_offset(source.offset_of_index(index)) == index
        return time.process_time() - begun

    seconds(1)
    assert seconds(2_000) < 1
    assert source.slice(source.span(last, last + 4)) == "gone"
    assert source.position(source.offset_of_index(last)) == Position(250_001, 500_003)


def test_spans_and_positions_sort_as_they_stand() -> None:
    """The order of values is the order in the file."""
    assert sorted([Span(3, 4), Span(1, 9), Span(1, 2)]) == [Span(1, 2), Span(1, 9), Span(3, 4)]
    assert sorted([Position(2, 1), Position(1, 9)]) == [Position(1, 9), Position(2, 1)]
