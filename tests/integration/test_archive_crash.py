"""kill -9 while messages move into the archive and out of it: each is in one place with its events, and nothing changed.

GUESTCOMMS_CRASHES says how often."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.archive import MOVED, Archive, Snapshot
from tests.support.crash import NAME
from tests.support.database import Connection, Database
from tests.support.queries import column, one, rows
from tests.support.store import Store
from tools.cluster import Cluster

GUESTS = 12
MESSAGES = 20
CRASHES = int(os.environ.get("GUESTCOMMS_CRASHES", "25"))
# When the server dies: so many batches are done, and the next one for at most so many seconds.
BATCHES = (0, 1, 1, 2)
LONGEST = 0.2
RESTORE = "SELECT guestcomms.restore_messages(since => '-infinity', max_rows => %s)"


def move(connection: Connection, seed: int, done: list[int]) -> None:
    """Batches into the archive and out of it until the server dies; each is a transaction, and adds to done."""
    chosen = random.Random(seed)
    while True:
        if chosen.random() < 0.55:
            connection.execute("SELECT guestcomms.run_archive(%s)", [chosen.choice([7, 40, 100])])
        else:
            connection.execute(RESTORE, [chosen.choice([5, 30, 90])])
        done.append(1)


def check_whole(archive: Archive, before: Snapshot) -> int:
    """Everything is there once; returns how many messages are archived."""
    root = archive.root
    hot = column(root, "SELECT message_id::text FROM guestcomms.messages")
    archived = column(root, "SELECT unnest(message_ids)::text FROM guestcomms.archive_segments")
    assert len(hot) + len(archived) == len(before["messages"])
    assert len({*hot, *archived}) == len(before["messages"])
    events = one(root, "SELECT count(*) FROM guestcomms.message_events")
    assert one(root, "SELECT coalesce(sum(event_count), 0) FROM guestcomms.archive_segments") + events == len(
        before["message_events"]
    )
    details = sum(one(root, f"SELECT count(*) FROM guestcomms.{table}".encode()) for table in MOVED[2:])
    kept = one(root, "SELECT coalesce(sum(detail_count), 0) FROM guestcomms.archive_segments")
    assert kept + details == sum(len(before[table]) for table in MOVED[2:])
    # An event is where its message is, for none came late.
    assert not rows(
        root,
        "SELECT FROM guestcomms.message_events AS e WHERE message_id NOT IN (SELECT message_id FROM guestcomms.messages)",
    )
    return len(archived)


def test_crashes_at_any_moment(own_cluster: Cluster) -> None:
    store = Store(Database(own_cluster, NAME), *[None] * 2)  # type: ignore[arg-type]
    archive = Archive(store)
    for _ in range(GUESTS):
        messages = archive.write_many(MESSAGES)
        for message in messages[::4]:
            archive.detail(message)
    archive.policy()
    before = archive.snapshot()
    shares = []
    for crash in range(CRASHES):
        chosen = random.Random(crash)
        done: list[int] = []
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(move, archive.connect(), crash, done)
            batches = chosen.choice(BATCHES)
            while len(done) < batches and not moving.done():
                time.sleep(0.001)
            time.sleep(chosen.uniform(0, LONGEST))
            own_cluster.kill()
            with pytest.raises(psycopg.OperationalError):
                moving.result()
        store.database.close()
        own_cluster.start()
        archive.root = store.connect(tenant=archive.tenant)
        shares.append(check_whole(archive, before))
        if crash % 10 == 0:
            assert archive.damage() == []
    assert len(set(shares)) > CRASHES / 5, "nothing moved meanwhile"
    assert archive.damage() == []
    archive.restore()
    assert archive.snapshot() == before
    assert archive.archived() == set()
    archive.archive()
    assert len(archive.archived()) == len(before["messages"])
    assert archive.damage() == []
    store.database.close()
