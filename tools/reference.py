"""Writes docs/reference from the catalog of a store: functions, settings and tables as their comments describe them.

``python3 -m tools.reference DSN`` writes the pages; a contract test compares them with the catalog.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
GENERATED = "<!-- Written by tools/reference.py from the catalog's comments. -->"


def functions_page(connection: Connection) -> str:
    rows = connection.execute(
        """
        SELECT h.function, h.signature, h.summary, h.example, h.see_also,
            (SELECT string_agg(DISTINCT replace(g.rolname, 'guestcomms_', ''), ', '
                ORDER BY replace(g.rolname, 'guestcomms_', ''))
             FROM pg_proc AS p CROSS JOIN aclexplode(p.proacl) AS a JOIN pg_roles AS g ON g.oid = a.grantee
             WHERE p.pronamespace = 'guestcomms'::regnamespace AND p.proname = h.function
                AND g.rolname IN ('guestcomms_app', 'guestcomms_analyst', 'guestcomms_privacy', 'guestcomms_operator',
                    'guestcomms_issuer'))
        FROM guestcomms.help() AS h
        """
    )
    parts = [GENERATED, "# Functions", "In psql: `SELECT * FROM guestcomms.help('topic');`"]
    for name, signature, summary, example, see_also, roles in rows:
        links = ", ".join(f"[{other}](#{other})" for other in see_also.split(", "))
        parts.append(f"## {name}\n\n`{signature}`\n\n{summary}\n\n```sql\n{example}\n```\n\nFor: {roles}. See also: {links}.")
    return "\n\n".join(parts) + "\n"


def settings_page(connection: Connection) -> str:
    rows = connection.execute(
        "SELECT name, type, default_value, min_value, max_value, is_per_tenant, description "
        "FROM guestcomms_internal.setting_definitions()"
    )
    lines = [
        GENERATED,
        "# Settings",
        "",
        "`guestcomms.list_settings()` shows the values in force, `guestcomms.set_setting(name, value)` changes them.",
        "",
    ]
    lines += ["| setting | default | from | to | per tenant | what it is |", "|---|---|---|---|---|---|"]
    for name, _, default, low, high, per_tenant, description in rows:
        lines.append(f"| `{name}` | {default} | {low or ''} | {high or ''} | {'yes' if per_tenant else 'no'} | {description} |")
    return "\n".join(lines) + "\n"


def tables_page(connection: Connection) -> str:
    return "\n".join(table_lines(connection)) + "\n"


# Those of guestcomms_bi with their schema, as analysts write them. What is kept as sketches is there only with hll and tdigest.
DOCUMENTED = """
    SELECT c.oid, CASE WHEN c.relnamespace = 'guestcomms'::regnamespace THEN c.relname ELSE 'guestcomms_bi.' || c.relname END,
        obj_description(c.oid, 'pg_class')
    FROM pg_class AS c
    WHERE (c.relnamespace = 'guestcomms'::regnamespace AND c.relkind IN ('r', 'p')
            OR c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind IN ('r', 'p', 'v'))
        AND NOT c.relispartition AND c.relname !~ '^agg_(guest|response)_(quarter_hour|day)$'
    ORDER BY c.relnamespace = 'guestcomms_bi'::regnamespace, c.relname
"""


def table_lines(connection: Connection) -> Iterator[str]:
    yield (
        f"{GENERATED}\n# Tables\n\nOperators read them; applications call functions. Analysts read those of schema "
        "`guestcomms_bi`, tables and views: rows of the tenants that they see. Where hll and tdigest are installed, it "
        "also holds `agg_guest_quarter_hour`, `agg_guest_day`, `agg_response_quarter_hour` and `agg_response_day`. "
        "Retention classes:\n"
    )
    for name, meaning in connection.execute("SELECT retention_class, meaning FROM guestcomms_internal.retention_classes()"):
        yield f"- **{name}**: {meaning}"
    for table, name, description in connection.execute(DOCUMENTED).fetchall():
        yield f"\n## {name}\n\n{description}\n\n| column | type | class | meaning |\n|---|---|---|---|"
        columns = connection.execute(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum) "
            "FROM pg_attribute AS a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            [table],
        )
        for column, type_name, comment in columns:
            meaning, _, retention = comment.rpartition(" [retention: ")
            yield f"| {column} | {type_name} | {retention.rstrip(']')} | {meaning} |"


def pages(connection: Connection) -> dict[str, str]:
    return {
        "functions.md": functions_page(connection),
        "settings.md": settings_page(connection),
        "tables.md": tables_page(connection),
    }


def main() -> None:
    with psycopg.connect(sys.argv[1]) as connection:
        for name, text in pages(connection).items():
            (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
