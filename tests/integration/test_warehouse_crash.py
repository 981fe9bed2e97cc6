"""The warehouse while many write, and after a kill -9: refreshed, it is what the messages say. What live numbers read is what is
unread, however much the tenant has."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from uuid import UUID

import psycopg
import pytest

from tests.support import warehouse
from tests.support.database import Connection, Database
from tests.support.queries import column, one, rows
from tests.support.store import Store, create_logins, create_tenants
from tests.support.traffic import add_guest, message, now, record_all
from tools.cluster import Cluster

WRITERS = 4
TRANSACTIONS = 60
COUNT = 1000
KINDS = ("delivered", "opened", "clicked", "replied", "failed")
# Of the messages and events that this transaction has looked at, by index or not.
ROWS_READ = """SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid) + pg_stat_get_xact_tuples_fetched(c.oid)), 0)::bigint
    FROM pg_class AS c WHERE c.relkind IN ('r', 'i') AND c.oid IN (
        SELECT p.relid FROM unnest(ARRAY['guestcomms.messages', 'guestcomms.message_events']::regclass[]) AS t,
            pg_partition_tree(t) AS p
        UNION ALL
        SELECT i.indexrelid FROM unnest(ARRAY['guestcomms.messages', 'guestcomms.message_events']::regclass[]) AS t,
            pg_partition_tree(t) AS p
        JOIN pg_index AS i ON i.indrelid = p.relid)"""
STATISTICS = "SELECT message_count FROM guestcomms.get_message_statistics(bucket => 'month')"


def write(store: Store, number: int, guests: list[UUID]) -> None:
    """Transactions of messages, events, edits and deletions, some undone."""
    chosen = random.Random(number)
    app = store.connect("app_login", store.tenant_a, autocommit=False)
    root = store.connect(autocommit=False)
    own: list[UUID] = []
    for _ in range(TRANSACTIONS):
        written = record_all(
            app,
            [
                message(
                    chosen.choice(guests),
                    direction=chosen.choice(["inbound", "outbound"]),
                    sent_at=(now() - timedelta(minutes=chosen.randint(0, 3000))).isoformat(),
                )
                for _ in range(chosen.randint(1, 4))
            ],
        )
        if own:
            app.execute("SELECT guestcomms.record_event(%s, %s)", [chosen.choice(own), chosen.choice(KINDS)])
        if chosen.random() < 0.2:
            app.rollback()
            continue
        app.commit()
        own += written
        victim = own.pop(chosen.randrange(len(own)))
        if chosen.random() < 0.5:
            warehouse.remove(root, store.tenant_a, [victim])
        else:
            campaign = one(
                root, "INSERT INTO guestcomms.campaigns (tenant_id, name) VALUES (%s, 'x') RETURNING campaign_id", store.tenant_a
            )
            root.execute(
                "UPDATE guestcomms.messages SET campaign_id = %s WHERE tenant_id = %s AND message_id = %s",
                [campaign, store.tenant_a, victim],
            )
        root.commit()
    app.close()
    root.close()


def keep_refreshing(store: Store, is_done: Event, max_rows: int) -> int:
    connection = store.connect()
    calls = 0
    while not is_done.is_set():
        warehouse.refresh(connection, max_rows)
        calls += 1
    connection.close()
    return calls


def test_writers_and_two_who_refresh(store: Store) -> None:
    root = store.connect()
    root.execute(warehouse.COPIES.encode())
    app = store.connect("app_login", store.tenant_a)
    guests = [add_guest(app, f"Guest {number}") for number in range(3)]
    warehouse.refresh_all(root)
    is_done = Event()
    with ThreadPoolExecutor(WRITERS + 2) as pool:
        try:
            readers = [pool.submit(keep_refreshing, store, is_done, max_rows) for max_rows in (7, 300)]
            for writer in [pool.submit(write, store, number, guests) for number in range(WRITERS)]:
                writer.result()
        finally:
            is_done.set()
        assert all(reader.result() > 1 for reader in readers)
    warehouse.check_live(root, {store.tenant_a: store.connect(tenant=store.tenant_a)})
    warehouse.refresh_all(root)
    warehouse.check_stored(root)


# What live numbers cost


def rows_read(connection: Connection) -> int:
    with connection.transaction():
        before = one(connection, ROWS_READ.encode())
        rows(connection, STATISTICS)
        read: int = one(connection, ROWS_READ.encode()) - before
    return read


@pytest.mark.parametrize("days_ago", [0, 20, 300])
def test_live_numbers_read_what_is_unread(new_store: Store, days_ago: int) -> None:
    """Not more of a tenant with ten times as many conversations; whenever the unread ones are from."""
    app = new_store.connect("app_login", new_store.tenant_a)
    root = new_store.connect()
    guests = [add_guest(app, f"Guest {number}") for number in range(200)]
    counts = []
    for size in (200, 2000):
        record_all(
            app,
            [message(guests[n % (size // 10)], sent_at=(now() - timedelta(minutes=15 * n + 1)).isoformat()) for n in range(size)],
        )
        root.execute("ANALYZE guestcomms.messages, guestcomms_bi.fact_message")
        warehouse.refresh_all(root)
        assert rows_read(app) == 0
        record_all(
            app, [message(guests[n], sent_at=(now() - timedelta(days=days_ago, seconds=n)).isoformat()) for n in range(10)]
        )
        counts.append(rows_read(app))
    assert 10 <= counts[1] <= 2 * counts[0], counts


@pytest.fixture
def new_store(new_database: object, logins: None) -> Store:
    return create_tenants(new_database())  # type: ignore[operator]


# Crashes


@pytest.fixture(scope="module")
def own_cluster(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Durable, unlike the session's."""
    cluster = Cluster(tmp_path_factory.mktemp("crash") / "cluster", stage=stage, fsync=True)
    try:
        cluster.create()
        cluster.start()
        cluster.create_database("crashing")
        cluster.psql(
            """CREATE SCHEMA testing; GRANT USAGE ON SCHEMA testing TO PUBLIC; CREATE EXTENSION hll SCHEMA testing; CREATE
                EXTENSION tdigest SCHEMA testing;"""
            " CREATE EXTENSION guestcomms CASCADE; SELECT guestcomms.create_store();",
            "crashing",
        )
        create_logins(cluster)
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture(scope="module")
def crashing(own_cluster: Cluster) -> Store:
    store = create_tenants(Database(own_cluster, "crashing"))
    app = store.connect("app_login", store.tenant_a)
    guests = [add_guest(app, f"Guest {number}") for number in range(10)]
    for first in range(0, COUNT, 500):
        record_all(
            app,
            [
                message(
                    guests[n % 10], direction=("inbound", "outbound")[n % 2], sent_at=(now() - timedelta(minutes=n)).isoformat()
                )
                for n in range(first, first + 500)
            ],
        )
    with store.connect() as root:
        root.execute(warehouse.COPIES.encode())
    store.database.close()
    return store


@pytest.mark.parametrize("table", ["fact_message", "agg_message_quarter_hour", "agg_message_day_all"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_crash_in_the_middle_of_a_refresh(crashing: Store, is_first: bool, table: str) -> None:
    """Of a load from the messages, or of following the change log; killed where it is about to write a table."""
    cluster = crashing.database.cluster
    watch = crashing.connect()
    refresher = crashing.connect()
    if is_first:
        watch.execute(warehouse.FALL_BEHIND.encode())
    else:
        warehouse.refresh_all(watch)
        watch.execute("UPDATE guestcomms.messages SET status = 'read', read_at = now() WHERE direction = 'outbound'")
    watch.execute("UPDATE guestcomms.messages SET channel = CASE channel WHEN 'sms' THEN 'chat' ELSE 'sms' END")
    if is_first:
        for _ in range(10):
            assert warehouse.refresh(refresher, 20)
    pid = refresher.info.backend_pid
    with watch.transaction(force_rollback=True), ThreadPoolExecutor(1) as pool:
        watch.execute(f"LOCK TABLE guestcomms_bi.{table} IN SHARE MODE".encode())
        refreshing = pool.submit(warehouse.refresh_all, refresher, 20)
        while not one(watch, "SELECT pg_backend_pid() = ANY (pg_blocking_pids(%s))", pid):
            assert not refreshing.done(), f"a refresh that does not write {table}"
            time.sleep(0.002)
        cluster.kill()
        with pytest.raises(psycopg.OperationalError):
            refreshing.result()
    crashing.database.close()
    cluster.start()
    root = crashing.connect()
    member = crashing.connect("app_login", crashing.tenant_a)
    warehouse.check_live(root, {crashing.tenant_a: member})
    warehouse.refresh_all(root)
    warehouse.check_stored(root)
    assert len(column(root, "SELECT message_id FROM guestcomms_bi.fact_message")) == COUNT
    crashing.database.close()
