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
        (SELECT array_agg(p.polname::text ORDER BY p.polname) FROM pg_policy AS p WHERE p.polrelid = c.oid) AS policies,
        EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS has_tenant,
        c.reloptions AS options,
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
    "guestcomms_internal.erasure_gate": "the store's own record",
    "guestcomms_internal.erased_indexes": "indexes are of the whole store",
    "guestcomms_internal.report_refreshes": "materialized views are of the whole store",
    "guestcomms_bi.agg_event_day_all": "sums over all tenants",
    "guestcomms_bi.agg_message_day_all": "sums over all tenants",
    "guestcomms_bi.dim_channel": "the same for all",
    "guestcomms_bi.dim_date": "the same for all",
    "guestcomms_bi.dim_time": "the same for all",
}
# COPY is refused on a table with row security; applications may only insert the payload columns.
WITHOUT_ROW_SECURITY = {"guestcomms.import_messages", "guestcomms.import_guest_lines"}
TEMPLATES = {
    f"guestcomms_internal.{name}_template"
    for name in ("messages", "message_events", "fact_message", "fact_message_event", "archive_segments")
}
# What BI tools read: the policies of its tables are those of analysts, who see several tenants or all.
BI = "guestcomms_bi."
SAME_FOR_ALL = {"guestcomms_bi.dim_channel", "guestcomms_bi.dim_date", "guestcomms_bi.dim_time"}
OF_ALL_TENANTS = {"guestcomms_bi.agg_event_day_all", "guestcomms_bi.agg_message_day_all"}
POLICIES = {
    "all_tenants": (
        "r",
        "guestcomms_all_tenants,guestcomms_operator",
        "( SELECT guestcomms_internal.sees_all_tenants() AS sees_all_tenants)",
    ),
    "owner_only": ("*", "guestcomms_owner", "true"),
    "same_for_all": ("r", "guestcomms_analyst,guestcomms_operator", "true"),
    "tenant_isolation": ("*", "-", "(tenant_id = ( SELECT guestcomms.current_tenant() AS current_tenant))"),
    "visible_tenants": (
        *("r", "guestcomms_analyst,guestcomms_operator"),
        "(tenant_id = ANY (( SELECT guestcomms.visible_tenants() AS visible_tenants)::uuid[]))",
    ),
}
# Views and whether they read with the rights of who asks; the others name their tenants themselves, behind a barrier.
INVOKER_VIEWS = {"guestcomms_bi.agg_event_quarter_hour_live", "guestcomms_bi.agg_message_quarter_hour_live"}
BARRIER_VIEWS = {
    f"guestcomms_bi.mv_{name}"
    for name in ("campaign_performance", "daily_channels", "guest_engagement", "response_times", "tenant_overview")
}
VIEWS_WITHOUT_ROWS_OF_TENANTS = {"guestcomms_bi.metrics"}


@pytest.fixture(scope="module")
def relations(db: Database) -> list[dict[str, Any]]:
    cursor = db.connect().execute(TABLES)
    names = [column.name for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@pytest.fixture(scope="module")
def tables(relations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [relation for relation in relations if relation["kind"] in "rp"]


def test_row_security_is_forced_everywhere(tables: list[dict[str, Any]]) -> None:
    assert {table["name"] for table in tables if not table["is_forced"]} == WITHOUT_ROW_SECURITY


def expected_policies(table: dict[str, Any]) -> list[str] | None:
    if table["is_partition"] or table["name"] in TEMPLATES | WITHOUT_ROW_SECURITY:
        return None
    if not table["name"].startswith(BI):
        return ["tenant_isolation"] if table["has_tenant"] else ["owner_only"]
    if table["name"] in SAME_FOR_ALL:
        return ["owner_only", "same_for_all"]
    if table["name"] in OF_ALL_TENANTS:
        return ["all_tenants", "owner_only"]
    return ["all_tenants", "owner_only", "visible_tenants"]


def test_each_table_has_the_policies_of_its_kind_and_partitions_and_templates_none(tables: list[dict[str, Any]]) -> None:
    assert {table["name"]: table["policies"] for table in tables} == {table["name"]: expected_policies(table) for table in tables}


def test_each_policy_says_the_same_everywhere(db: Database) -> None:
    found = db.connect().execute(
        "SELECT DISTINCT p.polname::text, p.polcmd::text,"
        " (SELECT string_agg(r::regrole::text, ',') FROM unnest(p.polroles) AS r),"
        " pg_get_expr(p.polqual, p.polrelid), p.polwithcheck IS NULL, p.polpermissive FROM pg_policy AS p"
    )
    assert sorted(found) == [(name, *rest, True, True) for name, rest in sorted(POLICIES.items())]


def test_owner(relations: list[dict[str, Any]]) -> None:
    """Materialized views are the engine's: refreshed by a role that row security binds they would be empty."""
    for relation in relations:
        assert relation["owner"] == ("guestcomms_engine" if relation["kind"] == "m" else "guestcomms_owner"), relation["name"]


def test_materialized_views_lie_where_no_reader_comes(db: Database, relations: list[dict[str, Any]]) -> None:
    """Row security does not reach them."""
    materialized = {relation["name"] for relation in relations if relation["kind"] == "m"}
    assert materialized == {name.replace("guestcomms_bi.mv_", "guestcomms_internal.report_") for name in BARRIER_VIEWS}
    readers = db.connect().execute(
        "SELECT c.relname, r.rolname FROM pg_class AS c CROSS JOIN pg_roles AS r"
        " WHERE c.relkind = 'm' AND NOT r.rolsuper AND r.rolname !~ '^pg_'"
        " AND r.rolname NOT IN ('guestcomms_owner', 'guestcomms_engine')"
        " AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
        " OR has_any_column_privilege(r.oid, c.oid, 'SELECT'))"
    )
    assert readers.fetchall() == []


def test_nobody_but_operators_enters_the_internal_schema_and_they_read_nothing_there(db: Database) -> None:
    connection = db.connect()
    users = connection.execute(
        "SELECT r.rolname::text FROM pg_roles AS r WHERE r.rolname LIKE 'guestcomms\\_%'"
        " AND has_schema_privilege(r.oid, 'guestcomms_internal', 'USAGE')"
    ).fetchall()
    assert {name for (name,) in users} == {"guestcomms_owner", "guestcomms_engine", "guestcomms_operator"}
    readable = connection.execute(
        "SELECT c.relname, r.rolname FROM pg_class AS c CROSS JOIN pg_roles AS r"
        " WHERE c.relnamespace = 'guestcomms_internal'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')"
        " AND r.rolname LIKE 'guestcomms\\_%' AND r.rolname NOT IN ('guestcomms_owner', 'guestcomms_engine')"
        " AND has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')"
    )
    assert readable.fetchall() == []


def test_views_read_with_the_rights_of_who_asks_or_behind_a_barrier(relations: list[dict[str, Any]]) -> None:
    views = {(relation["name"], *(relation["options"] or ())) for relation in relations if relation["kind"] == "v"}
    assert views == {
        *((name, "security_invoker=true") for name in INVOKER_VIEWS),
        *((name, "security_barrier=true") for name in BARRIER_VIEWS),
        *((name,) for name in VIEWS_WITHOUT_ROWS_OF_TENANTS),
    }


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
        WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%'
            AND (c.relkind IN ('r', 'p') OR c.relkind = 'v' AND c.relnamespace = 'guestcomms_bi'::regnamespace)
            AND NOT c.relispartition AND c.relname NOT LIKE '%\\_template' AND a.attnum > 0 AND NOT a.attisdropped
        """
    ).fetchall()
    assert len(columns) > 500
    assert {table for table, _, _ in columns if ".mv_" in table} == BARRIER_VIEWS
    for table, column, description in columns:
        found = re.fullmatch(r".+ \[retention: (\w+)\]", description)
        assert found, (table, column, description)
        assert found[1] in classes, (table, column, description)


def test_every_relation_says_what_it_is_for(relations: list[dict[str, Any]]) -> None:
    assert [relation["name"] for relation in relations if not relation["is_partition"] and not relation["description"]] == []


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
