"""Bytes on disk: the months that are archived, before and after, and the archive, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bench.common import Connection, Report

TABLES = {"messages": "guestcomms.messages", "events": "guestcomms.message_events"}
PARTS = ("heap", "indexes", "TOAST")
MONTHS = """
    SELECT sum(pg_table_size(c.oid) - coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)),
        sum(pg_indexes_size(c.oid)), sum(coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0))
    FROM guestcomms_internal.list_partitions(%s) AS p JOIN pg_class AS c ON c.oid = p.partition WHERE p.until <= %s
"""
SEGMENTS = """
    WITH leaf AS (
        SELECT c.oid, c.reltoastrelid
        FROM pg_partition_tree('guestcomms.archive_segments') AS t JOIN pg_class AS c ON c.oid = t.relid WHERE t.isleaf
    ), index AS (
        SELECT pg_relation_size(i.indexrelid) AS bytes, m.amname = 'gin' AS is_search
        FROM leaf AS l JOIN pg_index AS i ON i.indrelid = l.oid
        JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam
    )
    SELECT (SELECT sum(pg_table_size(l.oid) - coalesce(pg_total_relation_size(nullif(l.reltoastrelid, 0)), 0)) FROM leaf AS l),
        (SELECT sum(coalesce(pg_total_relation_size(nullif(l.reltoastrelid, 0)), 0)) FROM leaf AS l),
        (SELECT sum(i.bytes) FROM index AS i WHERE i.is_search), (SELECT sum(i.bytes) FROM index AS i WHERE NOT i.is_search),
        pg_total_relation_size('guestcomms.archive_dictionaries')
"""
# What a row is made of; where its values are out of line, they are counted though they lie in TOAST.
CONTENT = """
    SELECT coalesce(sum(octet_length(payload)), 0), coalesce(sum(pg_column_size(search)), 0),
        coalesce(sum(pg_column_size(message_ids) + pg_column_size(thread_ids)), 0), coalesce(sum(message_count), 0)
    FROM guestcomms.archive_segments
"""
# Of the whole store, not of its archived months alone. Keys stay as they are; which messages a run moved is kept until it can
# no longer be undone.
KEYS = ("message_keys", "event_keys")
APART = (*KEYS, "archive_runs", "archive_codec_trials")


@dataclass(frozen=True)
class Sizes:
    """Bytes by part, of the archived months or of the archive."""

    parts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def hot_sizes(connection: Connection, cutoff: datetime) -> Sizes:
    parts: dict[str, int] = {}
    for name, table in TABLES.items():
        found = connection.execute(MONTHS, [table, cutoff]).fetchone() or (0, 0, 0)
        parts |= {f"{name}, {part}": int(size or 0) for part, size in zip(PARTS, found, strict=True)}
    connection.commit()
    return Sizes(parts)


def archive_sizes(connection: Connection) -> Sizes:
    found = connection.execute(SEGMENTS).fetchone() or ()
    names = ("segments, heap", "segments, TOAST", "segments, search index", "segments, other indexes", "dictionaries")
    connection.commit()
    return Sizes({name: int(size or 0) for name, size in zip(names, found, strict=True)})


def apart_sizes(connection: Connection) -> dict[str, int]:
    found = {
        name: int(
            (connection.execute("SELECT pg_total_relation_size(('guestcomms.' || %s)::regclass)", [name]).fetchone() or (0,))[0]
        )
        for name in APART
    }
    connection.commit()
    return found


def add_sizes(report: Report, connection: Connection, name: str, before: Sizes, cutoff: datetime, messages: int) -> None:
    """messages: those archived."""
    left, archive = hot_sizes(connection, cutoff), archive_sizes(connection)
    after = left.total + archive.total
    least = f"store before ({before.total / messages:,.0f})"
    report.add(f"{name}: store of {messages:,} messages before", before.total / messages, "bytes each", "itself", 1)
    report.add(f"{name}: the same after", after / messages, "bytes each", least, after / before.total, "at most 0.60")
    for part, size in before.parts.items():
        report.add(f"{name}: before, {part}", size / messages, "bytes each", least, size / before.total)
    for part, size in (archive.parts | {"left of the emptied months": left.total}).items():
        report.add(f"{name}: after, {part}", size / messages, "bytes each", least, size / before.total)
    payload, search, ids, count = connection.execute(CONTENT).fetchone() or (0, 0, 0, 0)
    connection.commit()
    total = f"heap and TOAST ({(archive.parts['segments, heap'] + archive.parts['segments, TOAST']) / messages:,.0f})"
    whole = archive.parts["segments, heap"] + archive.parts["segments, TOAST"]
    for part, size in (("payload", payload), ("stems", search), ("identifiers", ids)):
        report.add(f"{name}: in segments, {part}", int(size) / int(count), "bytes each", total, int(size) / whole)
    apart = apart_sizes(connection)
    for part, size in apart.items():
        report.add(f"{name}: apart, {part}", size / messages, "bytes each", least, size / before.total)
    keys = sum(apart[part] for part in KEYS)
    with_keys, base = after + sum(apart.values()), before.total + keys
    title = f"{name}: the same after, with all that is apart"
    report.add(title, with_keys / messages, "bytes each", f"store before with keys ({base / messages:,.0f})", with_keys / base)
