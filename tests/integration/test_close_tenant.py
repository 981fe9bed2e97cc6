"""A business that leaves: its data is taken along, then nothing of it is left in any table, and nothing of others is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import pytest
from psycopg import sql

from tests.support.archive import Archive
from tests.support.database import Connection, Database
from tests.support.exports import opened, read, records
from tests.support.population import TABLES, populate
from tests.support.queries import Row, column, one, refused, rows
from tests.support.retention import count_all
from tests.support.store import Store, create_tenants

CLOSE = "SELECT table_name, row_count, kept_because FROM guestcomms.close_tenant(%s)"
STEP = "SELECT guestcomms_internal.close_next(%s)"
RUN = "CALL guestcomms.run_job('close_tenants')"
KEPT = {
    "guestcomms.audit_entries",
    "guestcomms.audit_heads",
    "guestcomms.attachment_removals",
    "guestcomms.tenant_closures",
    "guestcomms.tenant_closure_tables",
}
SUMS = """SELECT date_key, channel_key, direction, {} FROM guestcomms_bi.{}
    GROUP BY 1, 2, 3 HAVING sum({}) <> 0 ORDER BY 1, 2, 3"""
RECEIPT = """SELECT table_name, row_count, removed_count, left_count, kept_because
    FROM guestcomms.list_closure_tables() WHERE tenant_id = %s"""
TEMPLATES = """SELECT oid::regclass::text FROM pg_class
    WHERE relname LIKE '%\\_template' AND relkind = 'r' AND relnamespace = 'guestcomms_internal'::regnamespace"""
CLOSED = "SELECT finished_at, row_count, removed_count FROM guestcomms.list_closed_tenants()"
ACTIONS = "SELECT action FROM guestcomms.audit_entries WHERE tenant_id = %s ORDER BY occurred_at"
REASONS = "SELECT reason FROM guestcomms.list_attachment_removals() WHERE tenant_id = %s"
CHECKSUM = "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {} AS t WHERE tenant_id = %s"


@dataclass(frozen=True)
class Full:
    """A store with rows of A and B in every table."""

    store: Store
    root: Connection

    def close(self) -> None:
        with self.store.connect("operator_login", self.store.tenant_a) as operator:
            rows(operator, CLOSE, False)

    def checksums(self, tenant: UUID) -> dict[str, str]:
        """All rows of a tenant, by table."""
        found = {}
        for schema, name, has_tenant in self.root.execute(TABLES).fetchall():
            if has_tenant:
                query = sql.SQL(CHECKSUM).format(sql.Identifier(schema, name))
                found[f"{schema}.{name}"] = self.root.execute(query, [tenant]).fetchall()[0][0]
        return found


@pytest.fixture
def full(new_database: Callable[..., Database], logins: None) -> Full:
    store = create_tenants(new_database())
    populate(store)
    root = store.connect()
    # Populating leaves a row in every table.
    root.execute("DELETE FROM guestcomms.tenant_closure_tables; DELETE FROM guestcomms.tenant_closures")
    root.execute("DELETE FROM guestcomms.legal_holds")
    root.execute("UPDATE guestcomms.exports SET status = 'removed' WHERE status = 'waiting'")
    root.execute("DELETE FROM guestcomms.audit_heads")
    one(root, "SELECT guestcomms.seal_audit_trail()")
    for template in column(root, TEMPLATES):
        root.execute(f"TRUNCATE {template}".encode())
    root.execute("UPDATE guestcomms.guests SET merged_into = guest_id")
    return Full(store, root)


def sums(root: Connection, table: str, measure: str) -> list[Row]:
    return rows(root, SUMS.format(f"sum({measure})::bigint", table, measure).encode())


def follow(root: Connection) -> None:
    """Whatever reads the change log comes to its end."""
    while one(root, "SELECT guestcomms.refresh_warehouse()") or one(root, "SELECT guestcomms.refresh_term_statistics()"):
        pass


def finish(root: Connection, max_rows: int = 2000) -> int:
    """All batches; how many."""
    count = 0
    while one(root, STEP, max_rows):
        count += 1
        assert count < 20_000, "closing goes round in circles"
    return count


def test_nothing_is_left_and_nothing_else_is_touched(full: Full) -> None:
    a, b = full.store.tenant_a, full.store.tenant_b
    root = full.root
    root.execute(
        "INSERT INTO guestcomms.attachments (tenant_id, message_id, name, media_type, byte_count, uri)"
        " SELECT %s, gen_random_uuid(), 'a', 'image/png', 1, 's3://' || n FROM generate_series(1, 7) AS n",
        [a],
    )
    used = "SELECT count(DISTINCT uri) FROM guestcomms_internal.attachment_contents WHERE tenant_id = %s"
    listed = "SELECT count(*) FROM guestcomms.attachment_removals WHERE tenant_id = %s"
    contents, listed_before = one(root, used, a), one(root, listed, a)
    assert contents >= 7
    with full.store.connect("operator_login", a) as operator:
        previewed = rows(operator, CLOSE, True)
        assert {name for name, count, _ in previewed if count == 0} <= {"guestcomms.legal_holds", *KEPT}
        assert {name for name, _, reason in previewed if reason} == KEPT
        before, counts = full.checksums(b), count_all(root, b)
        told = rows(operator, CLOSE, False)
        # What closing itself wrote is beside it.
        assert {name for name, _, _ in told} == {name for name, _, _ in previewed}
    with full.store.connect("operator_login") as operator, refused("42501"):
        operator.execute("SELECT guestcomms.use_tenant(%s)", [a])
    root.execute(RUN)
    left = count_all(root, a)
    assert set(left) == KEPT
    assert left["guestcomms.attachment_removals"] == contents + listed_before
    receipt = {row[0]: row[1:] for row in rows(root, RECEIPT, a)}
    assert set(receipt) == {name for name, _, _ in previewed}
    for name, (count, removed, remaining, reason) in receipt.items():
        if reason is None:
            assert remaining == 0, name
            assert removed >= count, name
        else:
            assert removed == 0, name
    ((finished, total, removed),) = rows(root, CLOSED)
    assert finished is not None
    assert removed >= total > 0
    after = full.checksums(b)
    assert {name for name in before if before[name] != after[name]} == set()
    assert {name: count for name, count in count_all(root, b).items() if "report" not in name} == {
        name: count for name, count in counts.items() if "report" not in name
    }
    for table, measure in (("agg_message_day", "message_count"), ("agg_event_day", "event_count")):
        assert sums(root, table, measure) == sums(root, f"{table}_all", measure)
    # Whatever follows the change log makes nothing anew.
    follow(root)
    assert set(count_all(root, a)) == KEPT
    one(root, "SELECT guestcomms.seal_audit_trail()")
    assert all(column(root, "SELECT is_ok FROM guestcomms.verify_audit_trail()"))
    trail = column(root, ACTIONS, a)
    assert trail[-2:] == ["close_tenant", "finish_closure"]
    assert column(root, REASONS, a).count("tenant closed") == contents


def test_it_goes_on_where_it_was_interrupted(full: Full) -> None:
    a, b = full.store.tenant_a, full.store.tenant_b
    follow(full.root)
    full.close()
    before = full.checksums(b)
    for number in range(40):
        if number % 10 == 0:
            follow(full.root)
        with full.root.transaction(force_rollback=True):
            one(full.root, STEP, 3)
        assert one(full.root, STEP, 3)
    # The server is stopped in the midst of a batch.
    victim = full.store.connect(autocommit=False)
    victim.execute(STEP, [3])
    one(full.root, "SELECT pg_terminate_backend(%s)", victim.info.backend_pid)
    assert finish(full.root, 3) > 40
    assert set(count_all(full.root, a)) <= KEPT
    after = full.checksums(b)
    assert {name for name in before if before[name] != after[name]} == set()


def test_every_batch_is_bounded(full: Full) -> None:
    count = "SELECT sum(removed_count) FROM guestcomms.tenant_closure_tables"
    full.close()
    total = 0
    while one(full.root, STEP, 5):
        now = int(one(full.root, count))
        assert now - total <= 30
        total = now
    assert total > 100


def test_who_began_before_is_waited_for(full: Full) -> None:
    a = full.store.tenant_a
    writer = full.store.connect("app_login", a, autocommit=False)
    guest = one(writer, "SELECT guestcomms.add_guest('late')")
    full.close()
    assert one(full.root, STEP, 1000) == 0
    with refused("GC001"):
        writer.execute("SELECT guestcomms.open_thread(guest_id => %s)", [guest])
    writer.rollback()
    finish(full.root)
    assert set(count_all(full.root, a)) <= KEPT


def test_a_hold_or_an_export_underway_stops_it(store: Store) -> None:
    with Archive(store) as archive:
        hold = one(archive.root, "SELECT guestcomms.place_hold('{}', 'court')")
        with refused("55000"):
            archive.root.execute(CLOSE, [False])
        assert rows(archive.root, CLOSE, True)
        archive.root.execute("SELECT guestcomms.release_hold(%s)", [hold])
        archive.root.execute("SELECT guestcomms.set_setting('privacy.export_at_once', '0')")
        archive.write_many(2)
        export = one(archive.root, "SELECT guestcomms.export_tenant()")
        with refused("55000"):
            archive.root.execute(CLOSE, [False])
        with refused("22004"):
            archive.root.execute(CLOSE, [None])
        archive.root.execute("SELECT guestcomms.remove_export(%s)", [export])
        assert one(archive.root, "SELECT closed_at FROM guestcomms.tenants WHERE tenant_id = %s", archive.tenant) is None
        archive.root.execute(CLOSE, [False])


def test_all_is_taken_along_before(store: Store) -> None:
    with Archive(store) as archive:
        messages = archive.write_many(3, 300) + archive.write_many(2, 10)
        archive.policy(older_than="100 days")
        archive.archive()
        export = one(archive.root, "SELECT guestcomms.export_tenant('{jsonl,csv}')")
        files = opened(read(archive.root, export))
        assert {record["message_id"] for record in records(files, "messages")} == {str(message) for message in messages}
        assert len(records(files, "guests")) == 2
        assert "export_tenant" in column(archive.root, ACTIONS, archive.tenant)


def test_only_operators(store: Store) -> None:
    with Archive(store) as archive:
        for login in ("privacy_login", "analyst_login"):
            archive.root.execute("SELECT guestcomms.add_member(%s)", [login])
        for login in ("app_login", "privacy_login", "analyst_login"):
            connection = archive.connect(login)
            for call in ("close_tenant()", "export_tenant()", "list_closed_tenants()", "list_closure_tables()"):
                with refused("42501"):
                    connection.execute(f"SELECT * FROM guestcomms.{call}".encode())
        with store.connect("operator_login") as operator, refused("GC001"):
            operator.execute(CLOSE, [True])
        # With a tenant open nobody is told of others.
        assert rows(archive.connect("operator_login"), "SELECT * FROM guestcomms.list_closed_tenants()") == []
