"""Exports made for tests: the zip of docs/reference/export-format.md, from a tenant's rows or from whatever a test says."""

from __future__ import annotations

import io
import json
import zipfile
from hashlib import sha256
from typing import Any
from uuid import UUID

from psycopg import sql

from tests.support.columns import COMPUTED
from tests.support.database import Connection
from tests.support.queries import Row, rows

RECORD_SETS = (
    *("guests", "guest_addresses", "weddings", "wedding_guests", "consents", "campaigns", "threads"),
    *("subject_requests", "subject_request_steps", "messages", "message_events"),
    *("message_versions", "attachments", "message_annotations"),
)
COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute AS a
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> ALL (%s)
ORDER BY a.attnum
"""
LEFT_OUT = ["tenant_id", *COMPUTED]
Records = dict[str, list[dict[str, Any]]]
Files = dict[str, bytes]


def read_records(connection: Connection, tenant: UUID) -> Records:
    """All rows of a tenant as an export has them, in an order of their own."""
    found = {}
    with connection.transaction():
        connection.execute("SET LOCAL timezone = 'UTC'")
        for table in RECORD_SETS:
            query = sql.SQL(
                "SELECT r.record FROM (SELECT to_jsonb(t) - %s::text[] AS record FROM guestcomms.{} AS t"
                " WHERE tenant_id = %s) AS r"
                ' ORDER BY r.record::text COLLATE "C"'
            ).format(sql.Identifier(table))
            found[table] = [row[0] for row in connection.execute(query, [LEFT_OUT, tenant])]
    return found


def read_columns(connection: Connection) -> dict[str, list[Row]]:
    """Names and types of each record set's columns."""
    return {table: rows(connection, COLUMNS, f"guestcomms.{table}", LEFT_OUT) for table in RECORD_SETS}


def make_files(records: Records, columns: dict[str, list[Row]], **manifest: Any) -> Files:
    """The files of an export by name; any key of the manifest may be said."""
    files = {
        f"jsonl/{table}.jsonl": "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found).encode()
        for table, found in records.items()
    }
    plain: dict[str, Any] = {
        "format": "guestcomms-export",
        "schema_version": 1,
        "export_id": "0197c0de-0000-7000-8000-000000000001",
        "made_at": "2026-05-17T12:00:00+00:00",
        "subject": {"tenant_id": "6f9c0c3e-0d1f-4a53-9d2b-2f1d8d1f6a11"},
        "business": "Rose & Quill",
        "scope": "portability",
        "period": {"since": None, "until": None},
        "formats": ["jsonl"],
        "options": {"redact_others": False, "anonymize": False},
        "counts": {table: len(found) for table, found in records.items()},
        "tables": {table: [{"name": name, "type": kind} for name, kind in columns[table]] for table in records},
        "files": [
            {"name": name, "bytes": len(content), "sha256": sha256(content).hexdigest()} for name, content in files.items()
        ],
        "left_out": [],
    }
    return {"manifest.json": json.dumps(plain | manifest).encode(), **files}


def make_zip(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def make_export(connection: Connection, tenant: UUID) -> bytes:
    """An export of all of a tenant."""
    return make_zip(make_files(read_records(connection, tenant), read_columns(connection)))
