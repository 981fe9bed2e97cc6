"""A dump restored elsewhere is the same store, and nothing that follows it is misled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.support.consumer import Consumer
from tests.support.database import Database, fresh_database
from tests.support.population import load_warehouse
from tests.support.programs import run
from tests.support.queries import Row, one, refused, rows
from tests.support.store import Store, create_logins, create_tenants
from tests.support.traffic import add_guest, load, loaded_row, message, now, record, record_all
from tools.cluster import Cluster

WORDS = ("menu", "flowers", "seating", "parking", "music", "素食菜单", "Gäste", "photos")
COUNT = 1000
CAMPAIGNS = "guestcomms_internal.report_campaign_performance"  # there are none
# So many transactions that their numbers are higher here than in a new cluster.
BURN = """
    DO $$ BEGIN
        FOR n IN 1..10000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP;
    END $$"""

TABLES = """
    SELECT c.oid::regclass::text FROM pg_class AS c
    WHERE c.relkind IN ('r', 'm') AND c.relnamespace = ANY
        (ARRAY['guestcomms', 'guestcomms_internal', 'guestcomms_bi']::regnamespace[])
    ORDER BY 1"""
SEARCH = """
    SELECT message_id, sent_at, score, headline
    FROM guestcomms.search_messages(%s, max_rows => 50)"""
UNFORCED = """
    SELECT c.relname FROM pg_class AS c
    WHERE c.relispartition AND c.relkind = 'r' AND c.relnamespace = 'guestcomms'::regnamespace
        AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""


def fill(store: Store, tenant: UUID, number: int) -> list[UUID]:
    """Messages over half a year, events, an imported and a repeated one."""
    app = store.connect(("app_login", "other_app_login")[number], tenant)
    guests = [add_guest(app, f"Guest {n}") for n in range(10)]
    batch = [
        message(
            guests[n % 10],
            direction=("inbound", "outbound")[n // 10 % 2],
            body=f"About {WORDS[n % 8]} and {WORDS[n // 8 % 8]}, number {n}",
            subject=f"Re: {WORDS[n // 64 % 8]}" if n % 3 else None,
            language=("en", "de", "zh")[n % 3],
            sent_at=(now() - timedelta(hours=4 * n)).isoformat(),
            external_id=f"ext-{n}",
            metadata={"n": n},
        )
        for n in range(COUNT)
    ]
    messages = record_all(app, batch)
    events = [{"message_id": str(messages[n]), "kind": "read", "event_external_id": f"event-{n}"} for n in range(0, COUNT, 5)]
    app.execute("SELECT guestcomms.record_events(%s)", [Jsonb(events)])
    root = store.connect(tenant=tenant)
    root.execute("SELECT guestcomms.set_setting('search.candidate_limit', '500')")
    root.execute("SELECT guestcomms.set_setting('search.headline_start', '[')")
    thread = one(app, "SELECT guestcomms.open_thread('old', %s)", guests[0])
    stranded = loaded_row(root, tenant, guests[0], thread, now() - timedelta(days=900), "stranded")
    load(root, [stranded])
    app.execute("INSERT INTO guestcomms.import_messages (guest_id, body) VALUES (NULL, 'staged')")
    for connection in (app, root):
        connection.close()
    return messages


@pytest.fixture(scope="module")
def source(cluster: Cluster, template: str, logins: None) -> Iterator[Store]:
    """A store in use: one consumer has read all, one some, one has yet to build."""
    with fresh_database(cluster, template) as database:
        store = create_tenants(database)
        root = store.connect()
        root.execute(BURN)
        consumers = [Consumer(store.connect(), name) for name in ("all", "some", "none")]
        for consumer in consumers:
            consumer.add()
        for consumer in consumers[:2]:
            consumer.rebuild()
        for number, tenant in enumerate((store.tenant_a, store.tenant_b)):
            fill(store, tenant, number)
            for _ in range(5):
                root.execute("INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'x')", [tenant])
        load_warehouse(root)
        consumers[0].drain()
        consumers[1].read(3)
        root.execute("SELECT guestcomms.seal_audit_trail()")
        database.close()
        yield store


@pytest.fixture(scope="module")
def dump(source: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dump") / "store.dump"
    path.write_bytes(run(source.database.cluster, "pg_dump", "-Fc", source.database.dsn()))
    return path


@pytest.fixture(scope="module")
def other_cluster(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("other") / "cluster", stage=stage)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture(scope="module", params=["same cluster", "new cluster"])
def restored(request: pytest.FixtureRequest, source: Store, other_cluster: Cluster, dump: Path) -> Iterator[Store]:
    is_new = request.param == "new cluster"
    cluster = other_cluster if is_new else source.database.cluster
    with fresh_database(cluster, None) as database:
        run(cluster, "pg_restore", "--exit-on-error", "-d", database.dsn(), str(dump))
        if is_new:
            create_logins(cluster)
        yield Store(database, source.tenant_a, source.tenant_b)


def contents(database: Database) -> dict[str, Row]:
    """Count and checksum of every table's rows, generated columns included."""
    with database.connect() as root:
        root.execute("SET timezone = 'UTC'")
        found = {}
        for (table,) in rows(root, TABLES.encode()):
            if table in ("guestcomms_internal.store_secrets", "guestcomms_internal.export_keys"):
                continue  # a restored store has keys of its own; no dump holds a secret
            checksum = f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t"
            (found[table],) = rows(root, checksum.encode())
        return found


def schema(database: Database) -> list[str]:
    dumped = run(database.cluster, "pg_dump", "--schema-only", database.dsn()).decode()
    return [line for line in dumped.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def searches(store: Store, words: Sequence[str] = WORDS) -> list[list[Row]]:
    found = []
    for login, tenant in (("app_login", store.tenant_a), ("other_app_login", store.tenant_b)):
        app = store.connect(login, tenant)
        found += [rows(app, SEARCH, word) for word in (*words, "menu flowers", '"about music"')]
        app.close()
    return found


# What the restored store is; these come first, since the later ones write to it.


def test_every_row_is_there(source: Store, restored: Store) -> None:
    expected = contents(source.database)
    assert contents(restored.database) == expected
    assert sum(expected[table][0] for table in expected if "messages_p" in table) == 2 * COUNT
    assert expected["guestcomms.messages_default"][0] == 2
    # The warehouse is dumped; materialized views are made again, of what was restored.
    assert sum(expected[table][0] for table in expected if "fact_message_p" in table) == 2 * COUNT
    assert {table for table in expected if ".report_" in table and expected[table][0] == 0} == {CAMPAIGNS}
    assert {table for table in expected if ".agg_" in table and expected[table][0] == 0} == set()


def test_every_definition_is_there(source: Store, restored: Store) -> None:
    assert schema(restored.database) == schema(source.database)


def test_generated_columns_are_what_they_would_be_made(restored: Store) -> None:
    with restored.database.connect() as root:
        differing = """SELECT count(*) FROM guestcomms.messages AS m
            WHERE m.search IS DISTINCT FROM
                guestcomms_internal.message_search_v1(m.language, m.subject, m.body)"""
        assert one(root, differing) == 0


@pytest.fixture(scope="module")
def opened(restored: Store) -> Store:
    """Until erasures are known to be applied, applications wait; nobody was erased here."""
    app = restored.connect("app_login")
    with refused("55000"):
        app.execute("SELECT guestcomms.use_tenant(%s, true)", [restored.tenant_a])
    app.close()
    with restored.database.connect() as root:
        assert rows(root, "SELECT begun_erasures, is_complete FROM guestcomms.replay_erasures()") == [(0, True)]
    return restored


def test_searches_find_the_same(source: Store, opened: Store) -> None:
    expected = searches(source)
    assert searches(opened) == expected
    assert all(expected)


def test_row_security_is_forced(opened: Store) -> None:
    restored = opened
    with restored.database.connect() as root:
        assert rows(root, UNFORCED) == []
    app = restored.connect("app_login", restored.tenant_a)
    with refused("42501"):
        app.execute("SELECT 1 FROM guestcomms.messages")
    app.close()


def test_the_audit_trail_holds(restored: Store) -> None:
    with restored.database.connect() as root:
        found = rows(root, "SELECT is_ok, entry_count FROM guestcomms.verify_audit_trail()")
        assert len(found) >= 3
        assert all(is_ok and count > 0 for is_ok, count in found)


# What follows it


@pytest.fixture
def followed(restored: Store) -> Iterator[Store]:
    """Whatever happens, no transaction of a test stays open for the next to wait on."""
    yield restored
    restored.database.close()


def test_consumers_build_again_and_count_nothing_twice(source: Store, followed: Store) -> None:
    """Transaction numbers in the new cluster start below those in the log and the positions, and
    come to the same ones later."""
    store = followed
    with source.database.connect() as root:
        number_there = one(root, "SELECT min(pg_snapshot_xmin(done)) FROM guestcomms.consumers")
    root = store.connect()
    number_here = one(root, "SELECT pg_current_xact_id()")
    if store.database.cluster is not source.database.cluster:
        assert int(number_here) + 500 < int(number_there)
    writer = store.connect(autocommit=False)
    add = "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'x') RETURNING wedding_id"
    before, late = (one(c, add, store.tenant_a) for c in (root, writer))
    consumers = [Consumer(store.connect(), name) for name in ("all", "some", "none")]
    expected = {row[0] for row in rows(root, "SELECT wedding_id FROM guestcomms.weddings")}
    assert before in expected
    assert len(expected) == 11
    consumers[0].read()
    assert consumers[0].rebuilds == 1
    expected.add(one(root, add, store.tenant_b))
    writer.commit()
    expected.add(late)
    root.execute("SELECT guestcomms.trim_change_log()")
    for consumer in consumers:
        consumer.drain(1)
        assert consumer.rebuilds == 1
        assert consumer.seen == dict.fromkeys(expected, 1)
    root.execute(BURN)
    for consumer in consumers:
        consumer.drain()
        assert consumer.seen == dict.fromkeys(expected, 1)


def test_repeats_are_still_recognised(source: Store, opened: Store) -> None:
    restored = opened
    with source.database.connect() as root:
        first = one(
            root,
            "SELECT message_id FROM guestcomms.message_keys WHERE tenant_id = %s AND external_id = 'ext-7'",
            source.tenant_a,
        )
    app = restored.connect("app_login", restored.tenant_a)
    guest = add_guest(app)
    assert record(app, guest, external_id="ext-7") == first
    new = record(app, guest, body="written since", external_id="ext-new")
    assert [row[0] for row in rows(app, SEARCH, "written since")] == [new]
    app.close()


def test_partitions_can_be_made(restored: Store) -> None:
    with restored.database.connect() as root:
        ensured = """SELECT made_count > 0, rescued_rows, default_rows
            FROM guestcomms.ensure_partitions(now() - interval '910 days')
            WHERE parent_table = 'guestcomms.messages'"""
        assert rows(root, ensured) == [(True, 2, 0)]
        assert rows(root, UNFORCED) == []


def test_the_extension_stays_while_there_is_data(source: Store, restored: Store) -> None:
    for store in (source, restored):
        with store.database.connect() as root, refused("2BP01"):
            root.execute("DROP EXTENSION guestcomms")
