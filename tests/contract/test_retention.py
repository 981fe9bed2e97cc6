"""Every class says what a policy does with it; every table with rows of tenants is emptied when a tenant is closed."""

from __future__ import annotations

from itertools import pairwise

from tests.support.database import Database
from tests.support.queries import column, one, rows

# Those that outlive their tenant, each as proof of what was done or for what is still to be done.
KEPT = {
    "guestcomms.attachment_removals",
    "guestcomms.audit_entries",
    "guestcomms.audit_heads",
    "guestcomms.tenant_closure_tables",
    "guestcomms.tenant_closures",
}
WITH_TENANT = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname LIKE 'guestcomms%' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relname NOT LIKE '%\\_template'
        AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)"""
WITHOUT_KEY = """
    SELECT t.table_name FROM guestcomms_internal.tenant_tables() AS t
    WHERE NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = t.table_name::regclass AND i.indisprimary)"""
REFERENCES = """
    SELECT c.conrelid::regclass::text, c.confrelid::regclass::text FROM pg_constraint AS c
    WHERE c.contype = 'f' AND c.conparentid = 0 AND c.conrelid <> c.confrelid
        AND c.conrelid::regclass::text LIKE 'guestcomms%'"""
TIED = """
    SELECT c.conname FROM pg_constraint AS c
    WHERE c.contype = 'f' AND c.conrelid = c.confrelid AND c.conrelid::regclass::text LIKE 'guestcomms%'
        AND NOT EXISTS (SELECT FROM pg_attribute AS a
            WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND NOT a.attnotnull)"""
PERSONAL = """
    SELECT DISTINCT format('%I.%I', n.nspname, c.relname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname LIKE 'guestcomms%' AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
        AND c.relname NOT LIKE '%\\_template'
        AND (col_description(c.oid, a.attnum) ~ '\\[retention: (contact|content|behaviour)\\]' OR a.attname = 'guest_id')"""
EFFECTS = "SELECT retention_class, has_policy, may_follow_wedding, steps, effect FROM guestcomms_internal.retention_effects()"
STEPS = "SELECT e.retention_class, unnest(e.steps) FROM guestcomms_internal.retention_effects() AS e"
LIFETIMES = "SELECT table_name, setting, lifetime FROM guestcomms_internal.table_lifetimes()"
IS_SETTING = "SELECT EXISTS (SELECT FROM guestcomms.list_settings() WHERE name = %s)"


def test_each_class_says_what_a_policy_does_with_it(db: Database) -> None:
    connection = db.connect()
    effects = rows(connection, EFFECTS)
    classes = column(connection, "SELECT retention_class FROM guestcomms_internal.retention_classes()")
    assert sorted(name for name, *_ in effects) == sorted(classes)
    for name, has_policy, may_follow_wedding, steps, effect in effects:
        assert effect, name
        assert bool(steps) == has_policy, name
        assert has_policy or not may_follow_wedding, name
    assert {name for name, has_policy, *_ in effects if not has_policy} == {"key"}


def test_each_step_of_each_class_runs(db: Database) -> None:
    connection = db.connect()
    tenant = one(connection, "SELECT guestcomms.add_tenant('Steps')")
    connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
    steps = rows(connection, STEPS)
    for name in {name for name, _ in steps}:
        connection.execute("SELECT guestcomms.add_retention_policy(%s, %s, '1 day')", [name, name])
    assert set(rows(connection, "SELECT retention_class, step FROM guestcomms.preview_retention()")) == set(steps)
    assert one(connection, "SELECT is_done FROM guestcomms.run_retention()")
    assert rows(connection, "SELECT name FROM guestcomms.list_retention_policies() WHERE error_code IS NOT NULL") == []


def test_no_table_with_rows_of_tenants_is_forgotten(db: Database) -> None:
    connection = db.connect()
    listed = rows(connection, "SELECT table_name, kept_because FROM guestcomms_internal.tenant_tables()")
    assert sorted(name for name, _ in listed) == sorted(column(connection, WITH_TENANT))
    assert {name for name, reason in listed if reason} == KEPT
    # Each is found by its primary key.
    assert column(connection, WITHOUT_KEY) == []


def test_what_refers_to_others_goes_before_them(db: Database) -> None:
    connection = db.connect()
    order = column(connection, "SELECT table_name FROM guestcomms_internal.tenant_tables() ORDER BY place")
    assert all(first != second for first, second in pairwise(order))
    for child, parent in rows(connection, REFERENCES):
        if child in order and parent in order:
            assert order.index(child) < order.index(parent), (child, parent)
        # What stays refers to nothing that goes.
        assert child not in KEPT or parent in KEPT, (child, parent)
    # Rows that refer to rows of their own table are untied first, so these columns may be empty.
    assert column(connection, TIED) == []


def test_records_of_processing_have_every_table_with_data_of_guests(db: Database) -> None:
    connection = db.connect()
    tenant = one(connection, "SELECT guestcomms.add_tenant('Records')")
    connection.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
    found = set(column(connection, "SELECT table_name FROM guestcomms.records_of_processing()"))
    assert set(column(connection, PERSONAL)) - found == set()


def test_lifetimes_name_tables_and_settings_that_there_are(db: Database) -> None:
    connection = db.connect()
    for table, setting, lifetime in rows(connection, LIFETIMES):
        assert one(connection, "SELECT to_regclass(%s) IS NOT NULL", table), table
        assert (setting is None) != (lifetime is None), table
        assert setting is None or one(connection, IS_SETTING, setting), setting
