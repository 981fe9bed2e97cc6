"""Zip files whose files were compressed piece by piece, each piece by itself, perhaps hours apart.

The sections named here are of PKWARE's APPNOTE.TXT 6.3.10 (.ZIP File Format Specification). A piece is raw deflate (RFC 1951)
that ends on a byte boundary and is not final, so that pieces are joined by putting them one after the other; what ends a
file is CLOSING_BLOCK. Memory is bounded by a piece and, for the central directory, by what the names of all files take.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

STORED, DEFLATED = 0, 8  # section 4.4.5
# An empty final block with fixed codes (RFC 1951, section 3.2.6): what makes joined pieces a complete deflate stream.
CLOSING_BLOCK = b"\x03\x00"
READ_BYTES = 64 * 1024
# These values say "look at the ZIP64 field" (section 4.4.1.4), so they cannot be written as numbers.
SIZE_MARK, COUNT_MARK = 0xFFFFFFFF, 0xFFFF
MOST_NAME_BYTES = 0xFFFF
UTF8_FLAG = 1 << 11  # section 4.4.4
MADE_BY = 3 << 8 | 45  # section 4.4.2: Unix, version 4.5 of the specification
FILE_MODE = 0o100644 << 16  # section 4.4.15: what Unix keeps there; without it unzip makes files that nobody may read
# Names that could leave the directory in which a reader unpacks, or that readers understand in different ways.
UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f\\]|^/|^[A-Za-z]:|(?:^|/)\.{0,2}(?:/|$)")


class ZipError(ValueError):
    """What was given cannot be a part of a zip, or is damaged. The message never names a file."""


class Piece(NamedTuple):
    """A part of a file: its bytes in the zip, the CRC-32 of the file up to its end, its bytes before compression."""

    data: bytes
    crc: int
    plain_size: int


class Entry(NamedTuple):
    """A file of the zip: its CRC-32 (that of the last piece) and sizes in bytes must be known before its pieces are read.

    stored_size is the sum of the pieces' data alone; write_zip() counts CLOSING_BLOCK, which it adds, by itself.
    """

    name: str
    method: int
    crc: int
    plain_size: int
    stored_size: int
    pieces: Iterable[bytes]


def compress_piece(data: bytes, level: int, previous_crc: int) -> Piece:
    """The next piece of a file; previous_crc is that of the piece before, 0 for the first.

    level is zlib's, 1 to 9, for entries of method DEFLATED; 0 leaves data as it is, for entries of method STORED. All
    pieces of a file must have the same method. Raises ZipError for another level.
    """
    if not 0 <= level <= 9:
        raise ZipError("compression level is not between 0 and 9")
    crc = zlib.crc32(data, previous_crc)
    if level == 0:
        return Piece(data, crc, len(data))
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    return Piece(deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH), crc, len(data))


def write_zip(entries: Iterable[Entry], made_at: datetime, zip64_from: int = SIZE_MARK) -> Iterator[bytes]:
    """The bytes of a zip (section 4.3.6): every file after its header, then the central directory.

    Every entry's pieces are read once, before the next entry is asked for. made_at is when the files were changed, as its
    clock shows it: the format has no time zones (section 4.4.6). Sizes and offsets of zip64_from bytes or more are written
    as ZIP64 (section 4.5.3). Raises ZipError for a year outside 1980 to 2107, an unsafe, too long or repeated name, an
    unknown method, and sizes that are not those of the pieces; what was yielded until then is no zip.
    """
    if not 1980 <= made_at.year <= 2107:
        raise ZipError("zip files have years from 1980 to 2107 only")
    directory: list[bytes] = []
    names: set[bytes] = set()
    offset = 0
    for entry in entries:
        header = _Header(entry, _encoded_name(entry.name), made_at, zip64_from)
        if header.name in names:
            raise ZipError("two files have the same name")
        names.add(header.name)
        directory.append(header.central(offset))
        local = header.local()
        yield local
        yield from _checked(entry)
        if entry.method == DEFLATED:
            yield CLOSING_BLOCK
        offset += len(local) + header.stored_size
    yield from directory
    yield _end(len(directory), sum(map(len, directory)), offset, zip64_from)


def read_pieces(pieces: Iterable[bytes], method: int) -> Iterator[bytes]:
    """A file's bytes before compression, at most READ_BYTES at a time, from its pieces without CLOSING_BLOCK.

    Raises ZipError for an unknown method and for pieces that are not whole; other damage is for a checksum to find.
    """
    if method == STORED:
        for piece in pieces:
            yield from (piece[place : place + READ_BYTES] for place in range(0, len(piece), READ_BYTES))
    elif method == DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        for piece in pieces:
            yield from _inflated(inflate, piece)
            if inflate.eof:
                raise ZipError("a piece is damaged")
        # Only a stream that stands at the start of a block takes this as its end.
        if b"".join(_inflated(inflate, CLOSING_BLOCK)) or not inflate.eof or inflate.unused_data:
            raise ZipError("a piece is damaged")
    else:
        raise ZipError("unknown method of compression")


class _Header:
    """What the local and the central header of an entry have in common."""

    def __init__(self, entry: Entry, name: bytes, made_at: datetime, zip64_from: int) -> None:
        if entry.method not in (STORED, DEFLATED):
            raise ZipError("unknown method of compression")
        if entry.method == STORED and entry.plain_size != entry.stored_size:
            raise ZipError("a stored file has the same size before and after")
        self.entry, self.name, self.made_at, self.zip64_from = entry, name, made_at, zip64_from
        self.stored_size = entry.stored_size + (len(CLOSING_BLOCK) if entry.method == DEFLATED else 0)

    def _common(self, plain_size: int, stored_size: int, extra: bytes) -> bytes:
        """From "version needed to extract" (4.5 with ZIP64, section 4.4.3.2) to the length of the extra field."""
        moment = self.made_at
        return struct.pack(
            "<5H3L2H",
            45 if extra else 20,
            UTF8_FLAG,
            self.entry.method,
            moment.hour << 11 | moment.minute << 5 | moment.second // 2,
            (moment.year - 1980) << 9 | moment.month << 5 | moment.day,
            self.entry.crc,
            stored_size,
            plain_size,
            len(self.name),
            len(extra),
        )

    def local(self) -> bytes:
        """Section 4.3.7. Where one of the sizes needs ZIP64, both are there (section 4.5.3)."""
        plain_size, stored_size, extra = self.entry.plain_size, self.stored_size, b""
        if max(plain_size, stored_size) >= self.zip64_from:
            extra = struct.pack("<2H2Q", 1, 16, plain_size, stored_size)
            plain_size = stored_size = SIZE_MARK
        return b"PK\x03\x04" + self._common(plain_size, stored_size, extra) + self.name + extra

    def central(self, offset: int) -> bytes:
        """Section 4.3.12. The ZIP64 field has only what does not fit, in the order of section 4.5.3."""
        values = (self.entry.plain_size, self.stored_size, offset)
        long = [value for value in values if value >= self.zip64_from]
        extra = struct.pack(f"<2H{len(long)}Q", 1, 8 * len(long), *long) if long else b""
        plain_size, stored_size, offset = (SIZE_MARK if value >= self.zip64_from else value for value in values)
        after = struct.pack("<3H2L", 0, 0, 0, FILE_MODE, offset)
        made_by = struct.pack("<H", MADE_BY)
        return b"PK\x01\x02" + made_by + self._common(plain_size, stored_size, extra) + after + self.name + extra


def _end(count: int, size: int, offset: int, zip64_from: int) -> bytes:
    """The end of the central directory (section 4.3.16), after the ZIP64 one and its locator (4.3.14, 4.3.15) if needed."""
    zip64 = b""
    if count >= COUNT_MARK or max(size, offset) >= zip64_from:
        zip64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, MADE_BY, 45, 0, 0, count, count, size, offset)
        zip64 += struct.pack("<4sLQL", b"PK\x06\x07", 0, offset + size, 1)
        count, size, offset = COUNT_MARK, SIZE_MARK, SIZE_MARK
    return zip64 + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, offset, 0)


def _encoded_name(name: str) -> bytes:
    """UTF-8, with / between directories (section 4.4.17)."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        # Without the error, which would hold the name.
        raise ZipError("a name is not valid Unicode") from None
    if UNSAFE_NAME.search(name):
        raise ZipError("a name is empty or unsafe")
    if len(encoded) > MOST_NAME_BYTES:
        raise ZipError("a name is too long")
    return encoded


def _checked(entry: Entry) -> Iterator[bytes]:
    """The pieces, as long as they are not more than was said."""
    left = entry.stored_size
    for piece in entry.pieces:
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise ZipError("a file does not have the size that was said")


def _inflated(inflate: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    while True:
        try:
            block = inflate.decompress(data, READ_BYTES)
        except zlib.error:
            raise ZipError("a piece is damaged") from None
        if block:
            yield block
        data = inflate.unconsumed_tail
        # A full block may have more behind it although nothing is left to put in.
        if not data and len(block) < READ_BYTES:
            return
