"""How small texts become in payloads, by which codecs, and whether dictionaries hold only what five guests have in common."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.archive_peers import Peers
from bench.common import Connection, Report
from bench.corpus import Tenant

SAMPLE = """
    SELECT s.codec, s.level, octet_length(s.payload), d.content, guestcomms_internal.read_segment(s.tenant_id, s.segment_id)::text
    FROM (SELECT * FROM guestcomms.archive_segments ORDER BY md5(segment_id::text) LIMIT %s) AS s
    LEFT JOIN guestcomms.archive_dictionaries AS d ON d.tenant_id = s.tenant_id AND d.dictionary_id = s.dictionary_id
"""
# What a tenant's dictionary is made from.
LEARNED = """
    SELECT guest_id::text, left(concat_ws(E'\\n', subject, body), 10000) FROM guestcomms.messages
    WHERE tenant_id = %s ORDER BY sent_at DESC, message_id DESC LIMIT 50000
"""
CODECS = """
    SELECT codec, level, count(*), sum(count(*)) OVER () FROM guestcomms.archive_segments GROUP BY codec, level ORDER BY 3 DESC
"""
GuestTexts = list[tuple[str, str]]


def use_plpython() -> None:
    """Lets the extension's Python be imported here."""
    path = str(Path(__file__).parents[1] / "plpython")
    if path not in sys.path:
        sys.path.append(path)


def texts_alone(connection: Connection, sample: int) -> float:
    """Bytes of texts per byte that these add to payloads: less what the same segments take with empty texts."""
    use_plpython()
    from guestcomms.compression import Dictionary, compress_payload
    from guestcomms.segment_format import pack_segment, split_plain

    dictionaries: dict[bytes, Dictionary] = {}
    texts = added = 0
    for codec, level, stored, dictionary, content in connection.execute(SAMPLE, [sample]).fetchall():
        parsed = json.loads(content)
        for message in parsed["messages"]:
            texts += len(message["body"].encode()) + len((message["subject"] or "").encode())
            message["body"], message["subject"] = "", None if message["subject"] is None else ""
        _, opaque, rest = split_plain(pack_segment(json.dumps(parsed)).plain)
        known = dictionaries.setdefault(dictionary, Dictionary(dictionary)) if dictionary else None
        added += stored - len(compress_payload(opaque, rest, codec, level, known))
    connection.commit()
    return texts / added


def learned_texts(connection: Connection, tenants: list[Tenant]) -> dict[str, GuestTexts]:
    """By tenant, before any message is archived."""
    found = {tenant.tenant_id: connection.execute(LEARNED, [tenant.tenant_id]).fetchall() for tenant in tenants}
    connection.commit()
    return found


def add_dictionaries(report: Report, connection: Connection, name: str, learned: dict[str, GuestTexts]) -> None:
    use_plpython()
    from guestcomms.dictionary import check_dictionary, dictionary_strings

    strings = broken = 0
    for tenant_id, content in connection.execute(
        "SELECT tenant_id::text, content FROM guestcomms.archive_dictionaries"
    ).fetchall():
        strings += len(dictionary_strings(content))
        broken += len(check_dictionary(content, learned[tenant_id]))
    connection.commit()
    title = f"{name}: strings of dictionaries that fewer than five guests have"
    report.add(title, broken, "strings", f"all of them ({strings:,})", broken / max(strings, 1), "0")


def add_ratios(
    report: Report, connection: Connection, name: str, goal: str, texts: int, peers: Peers | None, sample: int
) -> None:
    """texts: bytes of the texts of all archived messages."""
    found = connection.execute(
        "SELECT sum(octet_length(payload)), sum(message_count) FROM guestcomms.archive_segments"
    ).fetchone()
    payload, messages = map(int, found or (0, 0))
    measures = [(f"{name}: texts / payload", texts / payload)]
    measures.append((f"{name}: texts / payload but for times, identifiers, events", texts_alone(connection, sample)))
    for title, ratio in measures:
        report.add(title, ratio, "x", "texts as they are", ratio, goal)
        if peers:
            for peer, size in (("gzip of each text", peers.gzip), ("zstd 19 of 1,000 texts each", peers.blocks)):
                base = peers.texts / size
                report.add(title, ratio, "x", f"{peer} ({base:.2f})", ratio / base)
    if peers:
        whole, base = (payload + 16 * messages) / messages, peers.parquet / peers.messages
        title = f"{name}: payloads and message_ids"
        report.add(title, whole, "bytes each", f"Parquet, zstd 19, all columns, events too ({base:.0f})", whole / base)


def add_codecs(report: Report, connection: Connection, name: str) -> None:
    found = connection.execute(CODECS).fetchall()
    connection.commit()
    for codec, level, count, total in found:
        share = float(count / total)
        report.add(f"{name}: segments by {codec} {level}", 100 * share, "%", f"all segments ({total:,})", share)
