"""Codecs of archived segments and the numbers in them."""

from __future__ import annotations

import os
import random
import sys
import zlib

import pytest
from guestcomms import compression
from guestcomms.compression import CODECS, MOST_BYTES, Dictionary, available_codecs, compress_payload, decompress_payload
from guestcomms.segment_bits import (
    BitReader,
    BitWriter,
    ByteReader,
    ByteWriter,
    read_numbers,
    read_times,
    unzigzag,
    write_numbers,
    write_times,
    zigzag,
)
from hypothesis import given, settings
from hypothesis import strategies as st

many = settings(deadline=None, max_examples=int(os.environ.get("GUESTCOMMS_EXAMPLES", "100")))
PHRASES = [b"we are looking forward to seeing you", b"the shuttle leaves the hotel at nine", b"please tell us of any allergies"]
REST = b"\0".join(PHRASES * 5) + bytes(range(40))
OPAQUE = random.Random(3).randbytes(300)
LEAST, MOST = -(1 << 63), (1 << 63) - 1
int64 = st.integers(LEAST, MOST)


def dictionary() -> Dictionary:
    """One without entropy tables."""
    return Dictionary(b"\0".join(PHRASES))


def codecs() -> list[tuple[str, int]]:
    """All that can be used here."""
    return available_codecs(True)


@many
@given(st.binary(max_size=300), st.binary(max_size=3000))
def test_every_codec_restores_every_payload(opaque: bytes, rest: bytes) -> None:
    for codec, level in codecs():
        payload = compress_payload(opaque, rest, codec, level, dictionary())
        assert decompress_payload(payload, codec, dictionary()) == (opaque, rest)
        assert compress_payload(opaque, rest, codec, level, dictionary()) == payload


def test_large_payloads_are_restored() -> None:
    rest = random.Random(1).randbytes(1000) * 3000
    for codec, level in codecs():
        assert decompress_payload(compress_payload(OPAQUE, rest, codec, level, dictionary()), codec, dictionary()) == (
            OPAQUE,
            rest,
        )


def test_candidates_are_in_the_order_of_their_effort() -> None:
    pytest.importorskip("zstandard")
    assert available_codecs(True) == list(CODECS)
    assert available_codecs(False) == [candidate for candidate in CODECS if candidate[0] != "zstd_dict"]


def test_without_zstandard_gzip_and_stored_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)  # type: ignore[misc]
    assert available_codecs(True) == [("stored", 0), ("gzip", 6)]
    for codec, level in available_codecs(True):
        assert decompress_payload(compress_payload(OPAQUE, REST, codec, level), codec) == (OPAQUE, REST)
    for codec in ("zstd", "zstd_dict"):
        with pytest.raises(ImportError):
            compress_payload(OPAQUE, REST, codec, 3, dictionary())
        with pytest.raises(ImportError):
            decompress_payload(b"\0abc", codec, dictionary())


def test_the_opaque_part_costs_its_length_and_the_rest_shrinks() -> None:
    for codec, level in codecs():
        payload = compress_payload(OPAQUE, REST, codec, level, dictionary())
        assert OPAQUE in payload
        assert len(payload) == 2 + len(OPAQUE) + len(compress_payload(b"", REST, codec, level, dictionary())) - 1
        assert (len(payload) < len(OPAQUE) + len(REST) / 2) == (codec != "stored")


def test_a_dictionary_helps() -> None:
    pytest.importorskip("zstandard")
    rest = b"\0".join(PHRASES)
    alone = len(compress_payload(b"", rest, "zstd", 19))
    assert len(compress_payload(b"", rest, "zstd_dict", 19, dictionary())) < alone / 3


def test_frames_hold_nothing_that_is_known() -> None:
    zstandard = pytest.importorskip("zstandard")
    ours = compress_payload(b"", REST, "zstd", 19)
    assert len(ours) - 1 <= len(zstandard.ZstdCompressor(level=19).compress(REST)) - 6
    assert len(compress_payload(b"", REST, "gzip", 6)) - 1 == len(zlib.compress(REST, 6)) - 6


def test_compressors_are_made_once() -> None:
    pytest.importorskip("zstandard")
    kept = dictionary()
    assert kept.compressor(3) is kept.compressor(3)
    assert kept.compressor(3) is not kept.compressor(19)
    assert kept.decompressor() is kept.decompressor()


def test_dictionaries_with_entropy_tables_are_read_as_such() -> None:
    zstandard = pytest.importorskip("zstandard")
    chance = random.Random(2)
    samples = [b" ".join(chance.choices([*PHRASES, b"%d" % chance.randrange(10**6)], k=6)) for _ in range(500)]
    content = zstandard.train_dictionary(4096, samples).as_bytes()
    kept, bare = Dictionary(content), Dictionary(content[4:])
    rest = b"Is there any room left for two, or shall we ask the hotel?"
    for level in (3, 19):
        payload = compress_payload(b"", rest, "zstd_dict", level, kept)
        assert decompress_payload(payload, "zstd_dict", kept) == (b"", rest)
        assert payload != compress_payload(b"", rest, "zstd_dict", level, bare)


@pytest.mark.parametrize("codec", ["lz4", "", "GZIP"])
def test_unknown_codecs_are_refused(codec: str) -> None:
    with pytest.raises(ValueError, match="codec"):
        compress_payload(OPAQUE, REST, codec, 3)
    with pytest.raises(ValueError, match="codec"):
        decompress_payload(b"\0", codec)


def test_a_dictionary_that_is_missing_is_refused() -> None:
    pytest.importorskip("zstandard")
    with pytest.raises(ValueError, match="dictionary"):
        compress_payload(OPAQUE, REST, "zstd_dict", 3)
    with pytest.raises(ValueError, match="dictionary"):
        decompress_payload(compress_payload(OPAQUE, REST, "zstd_dict", 3, dictionary()), "zstd_dict")


def test_payloads_cut_short_are_refused() -> None:
    for codec, level in codecs():
        payload = compress_payload(OPAQUE, REST, codec, level, dictionary())
        for length in range(len(payload) if codec != "stored" else 2 + len(OPAQUE)):
            with pytest.raises(ValueError, match=r"."):
                decompress_payload(payload[:length], codec, dictionary())


def test_flipped_bits_are_refused_or_read() -> None:
    for codec, level in codecs():
        payload = compress_payload(b"12345", REST, codec, level, dictionary())
        for place in range(8 * len(payload)):
            damaged = bytearray(payload)
            damaged[place // 8] ^= 1 << place % 8
            try:
                _, rest = decompress_payload(bytes(damaged), codec, dictionary())
            except ValueError:
                continue
            assert len(rest) <= MOST_BYTES


@many
@given(st.binary(max_size=100))
def test_any_bytes_are_refused_or_read(payload: bytes) -> None:
    for codec in {codec for codec, _ in codecs()}:
        try:
            decompress_payload(payload, codec, dictionary())
        except ValueError:
            continue


def test_what_would_fill_the_memory_is_refused() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(65)) + deflate.flush()
    with pytest.raises(ValueError, match="damaged"):
        decompress_payload(b"\0" + bomb, "gzip")
    with pytest.raises(ValueError, match="large"):
        compress_payload(b"", bytes(MOST_BYTES + 1), "gzip", 6)


def test_what_would_fill_the_memory_is_refused_by_zstandard() -> None:
    zstandard = pytest.importorskip("zstandard")
    parameters = zstandard.ZstdCompressionParameters.from_level(3, write_content_size=False)
    bomb = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(MOST_BYTES + 1))
    with pytest.raises(ValueError, match="damaged"):
        decompress_payload(b"\0" + bomb[5:], "zstd")
    full = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(MOST_BYTES))
    assert len(decompress_payload(b"\0" + full[5:], "zstd")[1]) == MOST_BYTES


@many
@given(st.lists(st.tuples(st.integers(0, 2**200 - 1), st.integers(0, 60)), max_size=30))
def test_bits_are_read_as_written(numbers: list[tuple[int, int]]) -> None:
    writer = BitWriter()
    sized = [(number, number.bit_length() + more) for number, more in numbers]
    for number, width in sized:
        writer.write(number, width)
    data = writer.to_bytes()
    assert len(data) == (sum(width for _, width in sized) + 7) // 8
    reader = BitReader(data)
    assert [reader.read(width) for _, width in sized] == [number for number, _ in sized]
    reader.finish()
    with pytest.raises(ValueError, match="early"):
        reader.read(8)


def test_bits_that_are_left_are_refused() -> None:
    for data in (b"\0\0", b"\x01"):
        reader = BitReader(data)
        reader.read(4)
        with pytest.raises(ValueError, match="left"):
            reader.finish()


@many
@given(st.lists(int64, max_size=20), st.booleans())
def test_columns_of_numbers_are_read_as_written(numbers: list[int], alike: bool) -> None:
    if alike:
        numbers = numbers[:1] * len(numbers)
    for signed, steps in ((True, False), (False, False), (False, True)):
        values = numbers if signed else [abs(number) >> 3 for number in numbers]
        writer = ByteWriter()
        write_numbers(writer, values, signed=signed, steps=steps)
        reader = ByteReader(bytes(writer.data))
        assert read_numbers(reader, len(values), signed=signed, steps=steps) == values
        reader.finish()


@many
@given(st.lists(st.tuples(st.none() | int64, int64), max_size=20), st.sampled_from([1, 1000, 10**6]), st.booleans())
def test_columns_of_times_are_read_as_written(rows: list[tuple[int | None, int]], unit: int, near: bool) -> None:
    times: list[int | None] = [time if time is None else time // unit * unit + (unit if time < 0 else 0) for time, _ in rows]
    bases = [time or 0 if near else base for time, (_, base) in zip(times, rows, strict=True)]
    writer, bits = ByteWriter(), BitWriter()
    write_times(writer, bits, times, bases, True)
    reader, bit_reader = ByteReader(bytes(writer.data)), BitReader(bits.to_bytes())
    assert read_times(reader, bit_reader, len(times), bases, True) == times
    reader.finish()
    bit_reader.finish()


def test_times_take_the_largest_unit_and_the_nearest_base() -> None:
    def size(times: list[int], bases: list[int]) -> int:
        writer, bits = ByteWriter(), BitWriter()
        write_times(writer, bits, list(times), bases, False)
        return len(writer.data) + len(bits.to_bytes())

    chance = random.Random(4)
    seconds = [chance.randrange(10**5) for _ in range(100)]
    assert size([10**6 * second for second in seconds], [0] * 100) == size([1000 * second for second in seconds], [0] * 100)
    assert size([10**6 * second for second in seconds], [0] * 100) < size([10**6 * s + 1 for s in seconds], [0] * 100) - 200
    assert size(seconds, seconds) < 5
    assert size([10**15 + 7] * 100, seconds) < size([10**15 + second for second in seconds], seconds[::-1]) / 2


@given(st.integers(-(2**70), 2**70))
def test_zigzag_keeps_the_sign(number: int) -> None:
    assert unzigzag(zigzag(number)) == number
    assert zigzag(number) in (2 * abs(number), 2 * abs(number) - 1)


def test_numbers_without_end_are_refused() -> None:
    for data in (b"", b"\x80", b"\xff" * 20):
        with pytest.raises(ValueError, match="end"):
            ByteReader(data).varint()


@pytest.mark.parametrize("column", [b"\0\2\1", b"\2\x0c", b"\2\0\0\x48", b"\2\0\x08\x00"])
def test_damaged_columns_of_times_are_refused(column: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        read_times(ByteReader(column + bytes(20)), BitReader(b"\xff" * 100), 2, [0, 0], True)


def test_times_and_numbers_beyond_64_bits_are_refused() -> None:
    writer = ByteWriter()
    writer.data += bytes([2, 6])  # all present, all alike, in seconds
    writer.varint(zigzag(MOST // 10**6 + 1))
    with pytest.raises(ValueError, match="64 bits"):
        read_times(ByteReader(bytes(writer.data)), BitReader(b""), 1, [0], True)
    writer = ByteWriter()
    write_numbers(writer, [zigzag(MOST + 1)])
    with pytest.raises(ValueError, match="64 bits"):
        read_numbers(ByteReader(bytes(writer.data)), 1, signed=True)


def test_bytes_after_what_was_deflated_are_refused() -> None:
    with pytest.raises(ValueError, match="damaged"):
        decompress_payload(compress_payload(OPAQUE, REST, "gzip", 6) + b"x", "gzip")


def test_a_frame_of_another_form_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "FRAME_START", b"another")
    with pytest.raises(ValueError, match="read again"):
        compress_payload(b"", b"text", "zstd", 3)
