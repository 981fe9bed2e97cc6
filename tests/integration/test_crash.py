"""kill -9 in the middle of a load: what was committed is there, whole, and nothing else; the load
repeated adds what is missing and nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from tests.support.crash import NAME
from tests.support.database import Connection, Database
from tests.support.queries import column, copy_rows, one, rows
from tests.support.store import Store, create_tenants
from tests.support.traffic import add_guest, loaded_row, message, now, record_all
from tools.cluster import Cluster

COUNT = 6000
BATCH = 200
GUESTS = 20
READ = "SELECT kind, operation, ids FROM guestcomms.read_changes('follower', max_rows => 100000)"

Load = Callable[[Store, str], None]


@pytest.fixture(scope="module")
def store(own_cluster: Cluster) -> Store:
    """With guests that have no thread yet, and a consumer."""
    store = create_tenants(Database(own_cluster, NAME))
    app = store.connect("app_login", store.tenant_a)
    for number in range(GUESTS):
        add_guest(app, f"Guest {number}")
    root = store.connect(autocommit=False)
    root.execute("SELECT guestcomms.add_consumer('follower')")
    root.commit()
    root.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    root.execute(READ)
    root.commit()
    store.database.close()
    return store


def guests(connection: Connection) -> list[UUID]:
    return column(connection, "SELECT guest_id FROM guestcomms.guests ORDER BY display_name")


# The loads, each of COUNT messages whose external identifiers begin with a word


def by_copy(store: Store, word: str) -> None:
    """An operator's COPY, with threads made beforehand in the same transaction."""
    root = store.connect(tenant=store.tenant_a, autocommit=False)
    loaded = []
    threads = {guest: one(root, "SELECT guestcomms.open_thread('copied', %s)", guest) for guest in guests(root)}
    for number in range(COUNT):
        guest = list(threads)[number % GUESTS]
        sent_at = now() - timedelta(minutes=number)
        row = loaded_row(root, store.tenant_a, guest, threads[guest], sent_at, f"plain {number} " * 9)
        loaded.append((*row, f"{word}-{number}"))
    copy_rows(
        root,
        "COPY guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, direction,"
        " channel, status, body, external_id) FROM STDIN",
        loaded,
    )
    root.commit()


def by_import(store: Store, word: str) -> None:
    """Staged in a transaction of its own, unless that has been done."""
    root = store.connect(tenant=store.tenant_a)
    app = store.connect("app_login", store.tenant_a)
    if not one(root, "SELECT count(*) FROM guestcomms.import_messages"):
        found = guests(root)
        copy_rows(
            app,
            "COPY guestcomms.import_messages (guest_id, direction, channel, body, external_id) FROM STDIN",
            [(found[n % GUESTS], "inbound", "sms", f"plain {n} " * 9, f"{word}-{n}") for n in range(COUNT)],
        )
    assert rows(
        app,
        "SELECT imported_count + repeated_count, rejected_count FROM guestcomms.run_import(chunk_rows => 500)",
    ) == [(COUNT, 0)]


def by_batches(store: Store, word: str) -> None:
    """Each batch is a transaction; what the server has acknowledged is in ACKNOWLEDGED."""
    app = store.connect("app_login", store.tenant_a)
    with store.connect() as root:
        found = guests(root)
    for first in range(0, COUNT, BATCH):
        batch = [
            message(found[n % GUESTS], body=f"plain {n} " * 9, external_id=f"{word}-{n}") for n in range(first, first + BATCH)
        ]
        ACKNOWLEDGED.update(record_all(app, batch))


ACKNOWLEDGED: set[UUID] = set()


def crash_in(store: Store, load: Load, word: str, written: int) -> None:
    """Start the load and kill the server when so many bytes of it are in the log."""
    cluster = store.database.cluster
    watch = store.connect()
    watch.execute("CHECKPOINT")
    start = one(watch, "SELECT pg_current_wal_insert_lsn()")
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, store, word)
        progress = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)"
        while one(watch, progress, start) < written and not loading.done():
            time.sleep(0.002)
        cluster.kill()
        with pytest.raises(psycopg.OperationalError):  # else it was done before
            loading.result()
    store.database.close()
    cluster.start()


def check_whole(root: Connection) -> int:
    """Nothing is half there; returns how many messages are."""
    count: int = one(root, "SELECT count(*) FROM guestcomms.messages")
    paired = """SELECT count(*) FROM guestcomms.messages AS m
        JOIN guestcomms.message_keys USING (tenant_id, message_id, source, external_id)"""
    assert one(root, paired) == count
    assert one(root, "SELECT count(*) FROM guestcomms.message_keys") == count
    assert one(root, "SELECT count(DISTINCT external_id) FROM guestcomms.messages") == count
    threads = "SELECT thread_id FROM guestcomms.threads ORDER BY 1"
    in_use = "SELECT DISTINCT thread_id FROM guestcomms.messages ORDER BY 1"
    assert rows(root, threads) == rows(root, in_use)
    unsearchable = "SELECT count(*) FROM guestcomms.messages WHERE NOT search @@ 'plain'"
    assert one(root, unsearchable) == 0
    return count


def check_followed(root: Connection, before: set[UUID]) -> set[UUID]:
    """The consumer gets exactly the messages that are there and were not before."""
    present = set(column(root, "SELECT message_id FROM guestcomms.messages"))
    told = [
        identifier
        for kind, operation, ids in rows(root, READ)
        if (kind, operation) == ("message", "insert")
        for identifier in ids
    ]
    assert len(told) == len(set(told))
    assert set(told) == present - before
    return present


@pytest.mark.parametrize("written", [300_000, 2_000_000])
@pytest.mark.parametrize("load", [by_batches, by_import, by_copy])
def test_a_crash_in_the_middle(store: Store, load: Load, written: int) -> None:
    word = f"{load.__name__}-{written}"
    with store.connect() as root:
        count, before = (
            check_whole(root),
            set(column(root, "SELECT message_id FROM guestcomms.messages")),
        )
    ACKNOWLEDGED.clear()

    crash_in(store, load, word, written)
    with store.connect() as root:
        after = check_whole(root)
        present = check_followed(root, before)
        assert present.issuperset(ACKNOWLEDGED)
        assert (after - count) % BATCH == 0 if load is by_batches else after == count

    load(store, word)
    with store.connect() as root:
        assert check_whole(root) == count + COUNT
        assert one(root, "SELECT count(*) FROM guestcomms.import_messages") == 0
        check_followed(root, present)
    store.database.close()
