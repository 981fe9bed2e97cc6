"""Zips from pieces: other readers must find in them what was put in."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from guestcomms.zip_parts import (
    CLOSING_BLOCK,
    DEFLATED,
    MOST_NAME_BYTES,
    READ_BYTES,
    SIZE_MARK,
    STORED,
    Entry,
    Piece,
    ZipError,
    compress_piece,
    read_pieces,
    write_zip,
)
from hypothesis import given, settings
from hypothesis import strategies as st

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "100")))
MADE_AT = datetime(2026, 5, 17, 23, 59, 58)
TEXTS = [b"a piece of text, " * 50, b"", "Grüße aus dem Süden".encode() * 9]
files = st.lists(st.tuples(st.integers(0, 9), st.lists(st.binary(max_size=300), max_size=5)), max_size=5)


def pieces_of(texts: list[bytes], level: int) -> list[Piece]:
    """As different transactions would make them: each knows only the CRC of the one before."""
    pieces: list[Piece] = []
    for text in texts:
        pieces.append(compress_piece(text, level, pieces[-1].crc if pieces else 0))
    return pieces


def entry_of(name: str, texts: list[bytes], level: int) -> Entry:
    """An entry with sizes and CRC from its pieces."""
    pieces = pieces_of(texts, level)
    data = [piece.data for piece in pieces]
    crc = pieces[-1].crc if pieces else 0
    return Entry(name, DEFLATED if level else STORED, crc, sum(piece.plain_size for piece in pieces), sum(map(len, data)), data)


def zip_of(*entries: Entry, zip64_from: int = SIZE_MARK) -> bytes:
    """All of a zip."""
    return b"".join(write_zip(entries, MADE_AT, zip64_from))


def opened(content: bytes) -> zipfile.ZipFile:
    """As Python reads it."""
    return zipfile.ZipFile(io.BytesIO(content))


@many
@given(st.lists(st.binary(max_size=500), max_size=6), st.integers(0, 9))
def test_pieces_are_read_again(texts: list[bytes], level: int) -> None:
    data = [piece.data for piece in pieces_of(texts, level)]
    assert b"".join(read_pieces(data, DEFLATED if level else STORED)) == b"".join(texts)


@many
@given(st.lists(st.binary(max_size=500), min_size=1, max_size=6), st.integers(1, 9))
def test_joined_pieces_are_deflate_with_one_checksum(texts: list[bytes], level: int) -> None:
    pieces = pieces_of(texts, level)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    whole = b"".join(texts)
    assert inflate.decompress(b"".join(piece.data for piece in pieces) + CLOSING_BLOCK) == whole
    assert inflate.eof
    assert pieces[-1].crc == zlib.crc32(whole)


def test_a_stored_piece_is_what_was_given() -> None:
    assert compress_piece(b"abc", 0, 0) == Piece(b"abc", zlib.crc32(b"abc"), 3)


def test_higher_levels_compress_more() -> None:
    text = " ".join(str(number * number) for number in range(3000)).encode()
    assert len(compress_piece(text, 9, 0).data) < len(compress_piece(text, 1, 0).data) < len(text)


@pytest.mark.parametrize("level", [-1, 10])
def test_other_levels_are_refused(level: int) -> None:
    with pytest.raises(ZipError):
        compress_piece(b"", level, 0)


@pytest.mark.parametrize("level", [0, 6])
@pytest.mark.parametrize("size", [READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 5 * READ_BYTES])
def test_blocks_are_bounded(level: int, size: int) -> None:
    texts = [bytes(size), random.Random(5).randbytes(size)]
    blocks = list(read_pieces([piece.data for piece in pieces_of(texts, level)], DEFLATED if level else STORED))
    assert b"".join(blocks) == b"".join(texts)
    assert 0 < min(map(len, blocks)) <= max(map(len, blocks)) <= READ_BYTES


def test_reading_takes_a_piece_only_when_it_is_needed() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            taken.append(number)
            yield compress_piece(b"text", 6, 0).data

    next(read_pieces(pieces(), DEFLATED))
    assert taken == [0]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"\x07"],
        [compress_piece(TEXTS[0], 6, 0).data[:-5]],
        [compress_piece(random.Random(1).randbytes(100), 6, 0).data[:-30]],
        [compress_piece(TEXTS[0], 6, 0).data + CLOSING_BLOCK],
        [CLOSING_BLOCK, compress_piece(TEXTS[0], 6, 0).data],
    ],
)
def test_pieces_that_are_not_whole_are_refused(pieces: list[bytes]) -> None:
    with pytest.raises(ZipError, match="damaged"):
        list(read_pieces(pieces, DEFLATED))


@many
@given(files, st.sampled_from([0, 1, 100, 400, SIZE_MARK]))
def test_python_reads_what_was_written(contents: list[tuple[int, list[bytes]]], zip64_from: int) -> None:
    entries = [entry_of(f"Gäste/{number}.bin", texts, level) for number, (level, texts) in enumerate(contents)]
    with opened(zip_of(*entries, zip64_from=zip64_from)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [entry.name for entry in entries]
        for entry, (_, texts) in zip(entries, contents, strict=True):
            assert archive.read(entry.name) == b"".join(texts)
            closing = len(CLOSING_BLOCK) if entry.method == DEFLATED else 0
            assert archive.getinfo(entry.name).compress_size == entry.stored_size + closing


def test_headers_say_when_and_how_files_were_made() -> None:
    with opened(zip_of(entry_of("宿泊/客.json", TEXTS, 6), entry_of("b", TEXTS, 0))) as archive:
        first, second = archive.infolist()
    assert first.filename == "宿泊/客.json"
    assert first.flag_bits == 0x800
    assert first.date_time == (2026, 5, 17, 23, 59, 58)
    assert (first.compress_type, second.compress_type) == (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
    assert (first.create_system, first.external_attr >> 16) == (3, 0o100644)
    assert (first.extract_version, first.extra) == (20, b"")


@pytest.mark.parametrize("zip64_from", [0, 200, SIZE_MARK])
def test_command_line_tools_find_no_fault(tmp_path: Path, zip64_from: int) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(zip_of(entry_of("messages/ä.txt", TEXTS, 6), entry_of("b.txt", TEXTS, 0), zip64_from=zip64_from))
    module = [sys.executable, "-m", "zipfile"]
    listing = subprocess.run([*module, "-l", path], check=True, capture_output=True, text=True).stdout
    assert "b.txt" in listing
    tested = subprocess.run([*module, "-t", path], check=True, capture_output=True, text=True)
    assert tested.stdout == "Done testing\n"
    unzip = shutil.which("unzip")
    if unzip:
        result = subprocess.run([unzip, "-t", path], check=False, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")
        assert "No errors detected" in result.stdout


def test_only_what_does_not_fit_is_zip64() -> None:
    small, large = entry_of("small", [b"x"], 0), entry_of("large", [bytes(1000)], 6)
    with opened(zip_of(small, large, zip64_from=1000)) as archive:
        assert [info.extract_version for info in archive.infolist()] == [20, 45]
        assert archive.getinfo("large").extra == b"\1\0\x08\0" + (1000).to_bytes(8, "little")
    assert b"PK\x06\x06" not in zip_of(small, large, zip64_from=1000)
    assert b"PK\x06\x06" in zip_of(small, large, zip64_from=80)


def test_local_headers_have_both_sizes_in_zip64() -> None:
    content = zip_of(entry_of("large", [bytes(1000)], 6), zip64_from=1000)
    stored_size = opened(content).getinfo("large").compress_size
    extra = b"\1\0\x10\0" + (1000).to_bytes(8, "little") + stored_size.to_bytes(8, "little")
    assert content[18:26] == b"\xff" * 8
    assert content[30:].startswith(b"large" + extra)


def test_files_of_more_than_four_gibibytes_are_read(tmp_path: Path) -> None:
    """Zeros are left out of the file on disk, so that it takes no space."""
    zeros = bytes(1 << 26)
    large = Entry("large", STORED, 0, 65 << 26, 65 << 26, (zeros for _ in range(65)))
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        for block in write_zip([large, entry_of("after", TEXTS, 6)], MADE_AT):
            if block is zeros:
                file.seek(len(block), io.SEEK_CUR)
            else:
                file.write(block)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("large").file_size == archive.getinfo("large").compress_size == 65 << 26
        assert archive.getinfo("after").header_offset > 1 << 32
        assert archive.read("after") == b"".join(TEXTS)
        with archive.open("large") as file_in_zip:
            assert file_in_zip.read(10) == bytes(10)


@pytest.mark.parametrize(("count", "is_zip64"), [(0xFFFE, False), (0xFFFF, True), (0x10000, True)])
def test_many_files_need_zip64(count: int, is_zip64: bool) -> None:
    content = zip_of(*(Entry(str(number), STORED, 0, 0, 0, ()) for number in range(count)))
    assert (content[-42:-38] == b"PK\x06\x07") == is_zip64
    with opened(content) as archive:
        assert len(archive.infolist()) == count
        assert archive.read(str(count - 1)) == b""


def test_entries_are_taken_one_by_one() -> None:
    asked: list[str] = []

    def entries() -> Iterator[Entry]:
        for name in "ab":
            asked.append(name)
            yield entry_of(name, [b"1", b"2"], 0)

    blocks = write_zip(entries(), MADE_AT)
    assert [next(blocks)[:4], next(blocks), next(blocks)] == [b"PK\x03\x04", b"1", b"2"]
    assert asked == ["a"]


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", "./a", "a\\b", "C:a", "a\0", "a\n", "\x7f", "\ud800", "é" * 32768],
)
def test_unsafe_names_are_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(ZipError, match=r"^a name is [a-zA-Z ]+$") as caught:
        zip_of(entry_of(name, TEXTS, 6))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["..a", "a..b/.c", "ab:c", "é" * (MOST_NAME_BYTES // 2)])
def test_names_that_only_look_unsafe_are_taken(name: str) -> None:
    assert opened(zip_of(entry_of(name, TEXTS, 6))).namelist() == [name]


def test_repeated_names_are_refused() -> None:
    with pytest.raises(ZipError, match="same name"):
        zip_of(entry_of("a", [], 0), entry_of("a", [], 6))


@pytest.mark.parametrize("year", [1979, 2108])
def test_years_outside_the_format_are_refused(year: int) -> None:
    with pytest.raises(ZipError, match="years"):
        list(write_zip([], datetime(year, 1, 1)))


@pytest.mark.parametrize("year", [1980, 2107])
def test_the_first_and_last_years_are_taken(year: int) -> None:
    content = b"".join(write_zip([entry_of("a", [], 6)], datetime(year, 1, 1)))
    assert opened(content).getinfo("a").date_time == (year, 1, 1, 0, 0, 0)


@pytest.mark.parametrize("difference", [-1, 1])
def test_sizes_must_be_those_of_the_pieces(difference: int) -> None:
    entry = entry_of("a", TEXTS, 6)
    with pytest.raises(ZipError, match="the size that was said"):
        zip_of(entry._replace(stored_size=entry.stored_size + difference))
    with pytest.raises(ZipError, match="same size before and after"):
        zip_of(entry_of("a", TEXTS, 0)._replace(plain_size=difference))


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(ZipError, match="method"):
        zip_of(entry_of("a", TEXTS, 6)._replace(method=12))
    with pytest.raises(ZipError, match="method"):
        list(read_pieces([], 12))
