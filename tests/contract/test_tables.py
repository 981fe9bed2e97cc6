"""What every table of the store must have, read from the catalog."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.database import Database

TABLES = """
    SELECT c.oid::regclass::text AS name, c.relispartition AS is_partition, c.relkind AS kind,
        c.relrowsecurity AND c.relforcerowsecurity AS is_forced, r.rolname AS owner,
        (SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_index AS i
         CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
         JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number
         WHERE i.indrelid = c.oid AND i.indisprimary) AS primary_key,
        (SELECT array_agg(p.polname::text) FROM pg_policy AS p WHERE p.polrelid = c.oid) AS policies,
        obj_description(c.oid, 'pg_class') AS description
    FROM pg_class AS c
    JOIN pg_roles AS r ON r.oid = c.relowner
    WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%' AND c.relkind IN ('r', 'p', 'v', 'm')
    ORDER BY 1
"""

# Tables whose primary key does not start with the tenant, and why.
WITHOUT_TENANT_FIRST = {
    "guestcomms.change_log": "read across tenants in the order of transactions",
    "guestcomms.consumers": "readers of the change log, of the whole store",
    "guestcomms.jobs": "maintenance of the whole store",
    "guestcomms.job_runs": "maintenance of the whole store",
    "guestcomms_internal.store_migrations": "the store's own record",
    "guestcomms_internal.store_identity": "the store's own record",
    "guestcomms_internal.store_secrets": "the store's own keys",
    "guestcomms_internal.partition_ranges": "the store's own record",
}
# COPY is refused on a table with row security; applications may only insert the payload columns.
WITHOUT_ROW_SECURITY = {"guestcomms.import_messages"}
TEMPLATES = {"guestcomms_internal.messages_template", "guestcomms_internal.message_events_template"}


@pytest.fixture(scope="module")
def tables(db: Database) -> list[dict[str, Any]]:
    cursor = db.connect().execute(TABLES)
    names = [column.name for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def test_row_security_is_forced_everywhere(tables: list[dict[str, Any]]) -> None:
    assert {table["name"] for table in tables if not table["is_forced"]} == WITHOUT_ROW_SECURITY


def test_partitions_and_templates_have_no_policy_and_tables_have_one(tables: list[dict[str, Any]]) -> None:
    for table in tables:
        if table["is_partition"] or table["name"] in TEMPLATES | WITHOUT_ROW_SECURITY:
            assert table["policies"] is None, table["name"]
        else:
            assert len(table["policies"]) == 1, table["name"]


def test_owner(tables: list[dict[str, Any]]) -> None:
    assert {table["owner"] for table in tables} == {"guestcomms_owner"}


def test_primary_key_starts_with_the_tenant(tables: list[dict[str, Any]]) -> None:
    others = {
        table["name"]
        for table in tables
        if not table["is_partition"] and table["name"] not in TEMPLATES and (table["primary_key"] or [""])[0] != "tenant_id"
    }
    assert others == set(WITHOUT_TENANT_FIRST)


def test_every_column_has_a_meaning_and_a_retention_class(db: Database) -> None:
    connection = db.connect()
    classes = {name for (name,) in connection.execute("SELECT retention_class FROM guestcomms_internal.retention_classes()")}
    columns = connection.execute(
        """
        SELECT a.attrelid::regclass::text, a.attname, coalesce(col_description(a.attrelid, a.attnum), '')
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relnamespace::regnamespace::text IN ('guestcomms', 'guestcomms_internal') AND c.relkind IN ('r', 'p')
            AND NOT c.relispartition AND c.relname NOT LIKE '%\\_template' AND a.attnum > 0 AND NOT a.attisdropped
        """
    ).fetchall()
    assert len(columns) > 150
    for table, column, description in columns:
        found = re.fullmatch(r".+ \[retention: (\w+)\]", description)
        assert found, (table, column, description)
        assert found[1] in classes, (table, column, description)


def test_every_index_says_why(db: Database) -> None:
    """Those of constraints explain themselves; partitions inherit."""
    missing = (
        db.connect()
        .execute(
            """
        SELECT c.oid::regclass::text FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_class AS t ON t.oid = i.indrelid
        WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%' AND NOT t.relispartition
            AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = c.oid)
            AND obj_description(c.oid, 'pg_class') IS NULL
        """
        )
        .fetchall()
    )
    assert missing == []


def test_constraints_are_named_after_their_table(db: Database) -> None:
    odd = (
        db.connect()
        .execute(
            """
        SELECT k.conrelid::regclass::text, k.conname FROM pg_constraint AS k
        JOIN pg_class AS t ON t.oid = k.conrelid
        WHERE t.relnamespace::regnamespace::text LIKE 'guestcomms%' AND NOT t.relispartition
            AND k.conname !~ ('^' || t.relname || '_\\w+_?(pkey|fkey|check|key)$') AND k.conname <> t.relname || '_pkey'
        """
        )
        .fetchall()
    )
    assert odd == []


def test_frozen_functions(db: Database, snapshot: Any) -> None:
    """Rows hold the results of these: another body would make a restored dump answer differently."""
    rows = db.connect().execute(
        "SELECT p.proname || ' ' || encode(sha256(convert_to(pg_get_functiondef(p.oid), 'UTF8')), 'hex') FROM pg_proc AS p "
        "WHERE p.pronamespace = 'guestcomms_internal'::regnamespace AND p.proname ~ '_v[0-9]+$' ORDER BY p.proname"
    )
    snapshot("frozen_functions.txt", [line for (line,) in rows])
