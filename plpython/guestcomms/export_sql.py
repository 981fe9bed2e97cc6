"""Records as a script that psql loads into an empty database, with nothing of the extension."""

from __future__ import annotations

import json
from typing import Any

from guestcomms.export_context import Context, Records, Stage

SCHEMA = "guestcomms_export"
ROWS = 500  # a statement
# Tables whose rows are told apart by more than their first column, or by none where they are made up.
KEYS: dict[str, tuple[str, ...]] = {
    "guest_addresses": (),
    "wedding_guests": ("wedding_id", "guest_id"),
    "subject_request_steps": ("request_id", "step_number"),
    "message_versions": ("message_id", "version_number"),
}
HEAD = f"""\
-- Load into an empty database: psql --set ON_ERROR_STOP=1 --file export.sql
BEGIN;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
CREATE SCHEMA {SCHEMA};
"""


def sql_file(stage: Stage, records: Records, context: Context) -> dict[str, bytes]:
    """`export.sql`: all tables, then INSERTs, in one transaction."""
    text = "COMMIT;\n" if stage == "close" else ""
    if stage == "open":
        text = HEAD + "".join(_create(table, columns) for table, columns in context.tables.items())
    return {
        "export.sql": (text + "".join(_inserts(table, rows, context.tables[table]) for table, rows in records.items())).encode()
    }


def _create(table: str, columns: list[tuple[str, str]]) -> str:
    definitions = [f"    {_name(name)} {kind}" for name, kind in columns]
    key = ", ".join(map(_name, KEYS.get(table, (columns[0][0],))))
    if key:
        definitions.append(f"    PRIMARY KEY ({key})")
    return f"CREATE TABLE {SCHEMA}.{_name(table)} (\n" + ",\n".join(definitions) + "\n);\n"


def _inserts(table: str, rows: list[dict[str, Any]], columns: list[tuple[str, str]]) -> str:
    names = ", ".join(_name(name) for name, _ in columns)
    takers = [(name, _json if kind == "jsonb" else _literal) for name, kind in columns]
    statements = []
    for start in range(0, len(rows), ROWS):
        values = ",\n".join(
            "(" + ", ".join([take(row[name]) for name, take in takers]) + ")" for row in rows[start : start + ROWS]
        )
        statements.append(f"INSERT INTO {SCHEMA}.{_name(table)} ({names}) VALUES\n{values};\n")
    return "".join(statements)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Any) -> str:
    """Everything is a text to PostgreSQL, which takes it for what the column is; a quote is the only thing that could end it."""
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else json.dumps(value)
    return "'" + text.replace("'", "''") + "'"


def _json(value: Any) -> str:
    # What SQL calls NULL and what JSON calls null are the same in a record.
    return "NULL" if value is None else _literal(json.dumps(value, ensure_ascii=False))
