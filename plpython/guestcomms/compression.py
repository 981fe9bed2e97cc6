"""How archived segments become small: the codecs of a whole segment.

A payload is a varint with the length of the opaque part, that part as it is (random bits do not shrink), then the rest by
a codec: none, gzip's deflate (RFC 1951), or Zstandard (RFC 8878) without or with a dictionary. What the archive knows
better is left out: gzip's header and checksum; Zstandard's magic number, sizes, checksum and dictionary id.
"""

from __future__ import annotations

import zlib
from typing import Any

from guestcomms.segment_bits import ByteReader, ByteWriter

# Candidates (codec, level) in the order of their effort.
CODECS = (("stored", 0), ("gzip", 6), ("zstd", 3), ("zstd_dict", 3), ("zstd", 19), ("zstd_dict", 19))
MOST_BYTES = 64 << 20
# How a frame of Zstandard without size, checksum and dictionary id begins: magic number and descriptor. Left out of
# payloads; since it is the reader who adds it, a damaged payload cannot claim a size.
FRAME_START = b"\x28\xb5\x2f\xfd\0"


class Dictionary:
    """A dictionary of Zstandard: its bytes, and what is made of them once per session (level 19 takes long).

    Bytes that begin with Zstandard's magic number of dictionaries have entropy tables in front, others are content only.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._compressors: dict[int, Any] = {}
        self._decompressor: Any = None

    def compressor(self, level: int) -> Any:
        """A zstandard.ZstdCompressor of that level, the same at every call. Raises ImportError without zstandard."""
        if level not in self._compressors:
            import zstandard

            data = zstandard.ZstdCompressionDict(self.content)
            data.precompute_compress(level=level)
            self._compressors[level] = _new_compressor(level, data)
        return self._compressors[level]

    def decompressor(self) -> Any:
        """A zstandard.ZstdDecompressor, the same at every call. Raises ImportError without zstandard."""
        if self._decompressor is None:
            import zstandard

            self._decompressor = _new_decompressor(zstandard.ZstdCompressionDict(self.content))
        return self._decompressor


def available_codecs(has_dictionary: bool) -> list[tuple[str, int]]:
    """Those of CODECS that can be used here, in their order."""
    try:
        import zstandard
    except ImportError:
        return [candidate for candidate in CODECS if candidate[0] in ("stored", "gzip")]
    return [
        (codec, level)
        for codec, level in CODECS
        if (has_dictionary or codec != "zstd_dict") and level <= zstandard.MAX_COMPRESSION_LEVEL
    ]


def compress_payload(opaque: bytes, rest: bytes, codec: str, level: int, dictionary: Dictionary | None = None) -> bytes:
    """The payload of a segment; level is zlib's or Zstandard's, and says nothing for 'stored'.

    Raises ValueError for an unknown codec, zstd_dict without a dictionary and a rest of more than MOST_BYTES,
    ImportError for Zstandard without zstandard.
    """
    if len(rest) > MOST_BYTES:
        raise ValueError("segment is too large to compress")
    head = ByteWriter()
    head.varint(len(opaque))
    return bytes(head.data) + opaque + _compress(rest, codec, level, dictionary)


def decompress_payload(payload: bytes, codec: str, dictionary: Dictionary | None = None) -> tuple[bytes, bytes]:
    """opaque and rest of a payload.

    Raises ValueError for damage, an unknown codec, zstd_dict without a dictionary and more than MOST_BYTES of rest,
    ImportError for Zstandard without zstandard. Damage that Zstandard cannot see is for the checksum to find.
    """
    reader = ByteReader(payload)
    opaque = reader.take(reader.varint())
    return opaque, _decompress(reader.take(len(payload) - reader.place), codec, dictionary)


def _compress(rest: bytes, codec: str, level: int, dictionary: Dictionary | None) -> bytes:
    if codec == "stored":
        return rest
    if codec == "gzip":
        deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
        return deflate.compress(rest) + deflate.flush()
    if codec == "zstd":
        return _zstd(_new_compressor(level, None), rest)
    if codec == "zstd_dict":
        return _zstd(_required(dictionary).compressor(level), rest)
    raise ValueError("unknown codec")


def _decompress(data: bytes, codec: str, dictionary: Dictionary | None) -> bytes:
    if codec == "stored":
        return data
    if codec == "gzip":
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            rest = inflate.decompress(data, MOST_BYTES)
        except zlib.error as error:
            raise ValueError("damaged payload") from error
        if not inflate.eof or inflate.unused_data:
            raise ValueError("damaged payload")
        return rest
    if codec in ("zstd", "zstd_dict"):
        import zstandard

        decompressor = _required(dictionary).decompressor() if codec == "zstd_dict" else _new_decompressor(None)
        try:
            return bytes(decompressor.decompress(FRAME_START + data, max_output_size=MOST_BYTES))
        except zstandard.ZstdError as error:
            raise ValueError("damaged payload") from error
    raise ValueError("unknown codec")


def _new_compressor(level: int, data: Any) -> Any:
    import zstandard

    without = {"write_content_size": False, "write_checksum": False, "write_dict_id": False}
    parameters = zstandard.ZstdCompressionParameters.from_level(level, **without)
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=data)


def _new_decompressor(data: Any) -> Any:
    import zstandard

    return zstandard.ZstdDecompressor(dict_data=data)


def _zstd(compressor: Any, rest: bytes) -> bytes:
    frame = bytes(compressor.compress(rest))
    if not frame.startswith(FRAME_START):
        raise ValueError("zstandard wrote a frame that could not be read again")
    return frame[len(FRAME_START) :]


def _required(dictionary: Dictionary | None) -> Dictionary:
    if dictionary is None:
        raise ValueError("zstd_dict needs a dictionary")
    return dictionary
