"""Others that make the same rows small: gzip of each text, Zstandard of a thousand texts at once, Parquet of whole tables."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bench.common import Connection

BLOCK = 1000
LEVEL = 19
# All columns that a message has of its own; the others are computed from them.
MESSAGES = """
    SELECT tenant_id, message_id, sent_at, thread_id, guest_id, wedding_id, campaign_id, direction, channel, status, purpose,
        language, subject, body, author, source, external_id, scheduled_at, read_at, edited_at, deleted_at, metadata::text
    FROM guestcomms.messages WHERE sent_at < %s ORDER BY sent_at, message_id
"""
EVENTS = """
    SELECT e.tenant_id, e.event_id, e.occurred_at, e.message_id, e.kind, e.is_machine, e.source, e.external_id, e.detail::text,
        e.recorded_at
    FROM guestcomms.message_events AS e
    JOIN guestcomms.messages AS m ON m.tenant_id = e.tenant_id AND m.message_id = e.message_id
    WHERE m.sent_at < %s ORDER BY e.occurred_at, e.event_id
"""


@dataclass(frozen=True)
class Peers:
    """Bytes of texts, what the codecs for texts make of them, and what Parquet makes of all columns, events too."""

    messages: int
    texts: int
    gzip: int
    blocks: int
    parquet: int


def is_available() -> bool:
    return all(importlib.util.find_spec(module) for module in ("pyarrow", "zstandard"))


def measure_peers(connection: Connection, cutoff: datetime) -> Peers:
    """Of the messages before the cut-off, while they are in the hot tables."""
    names, rows = fetch(connection, MESSAGES, cutoff)
    subject, body = names.index("subject"), names.index("body")
    texts = [((row[subject] or "") + row[body]).encode() for row in rows]
    parquet = parquet_bytes(names, rows) + parquet_bytes(*fetch(connection, EVENTS, cutoff))
    connection.commit()
    return Peers(len(texts), sum(map(len, texts)), sum(len(gzip.compress(text)) for text in texts), in_blocks(texts), parquet)


def fetch(connection: Connection, query: str, cutoff: datetime) -> tuple[list[str], list[tuple[Any, ...]]]:
    found = connection.execute(query.encode(), [cutoff])
    return [column.name for column in found.description or ()], found.fetchall()


def in_blocks(texts: Sequence[bytes]) -> int:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=LEVEL)
    return sum(len(compressor.compress(b"\0".join(texts[start : start + BLOCK]))) for start in range(0, len(texts), BLOCK))


def parquet_bytes(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> int:
    """Bytes of the file; identifiers as 16 bytes each, which is the least that Parquet needs for them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not rows:
        return 0
    columns = []
    for values in zip(*rows, strict=True):
        if any(isinstance(value, UUID) for value in values):
            columns.append(pa.array([value and value.bytes for value in values], pa.binary(16)))
        else:
            columns.append(pa.array(values))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, names=list(names)), sink, compression="zstd", compression_level=LEVEL)
    return int(sink.getvalue().size)
