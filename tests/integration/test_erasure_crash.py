"""kill -9 while a guest is erased: it goes on where it was, and in the end nothing of them is left and all of others is there.

GUESTCOMMS_CRASHES says how often."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.support.archive import Archive
from tests.support.crash import NAME
from tests.support.database import Connection, Database
from tests.support.erasure import LEFT, erase, finish, progress, receipt
from tests.support.queries import one, rows
from tests.support.store import Store
from tools.cluster import Cluster

MESSAGES = 240
CRASHES = int(os.environ.get("GUESTCOMMS_CRASHES", "10"))
# When the server dies: so many steps are done, and the next one for at most so many seconds.
STEPS = (0, 1, 2, 4)
LONGEST = 0.1
AT_MOST = 20  # steps between two deaths, so that the first finds something left
# Of the first guest something is left; the second is there for good.
OTHER = "SELECT md5(string_agg(m::text, '|' ORDER BY message_id)) FROM guestcomms.messages AS m WHERE guest_id = %s"
LEFT_MESSAGES = """
    SELECT (SELECT count(*) FROM guestcomms.messages WHERE guest_id = %s)
        + coalesce((SELECT sum(message_count) FROM guestcomms.archive_segments WHERE guest_id = %s), 0)"""
FACTS = "SELECT count(*), count(*) FILTER (WHERE guest_id = %s) FROM guestcomms_bi.fact_message WHERE tenant_id = %s"


def erase_on(connection: Connection, done: list[int]) -> None:
    """Step by step, each a transaction, until the guest is gone, the server dies or enough is done."""
    while len(done) < AT_MOST and one(connection, "SELECT guestcomms_internal.erase_batch()"):
        done.append(1)


def refresh(connection: Connection) -> None:
    for statement in (
        "SELECT guestcomms.refresh_warehouse(time_budget => '1 hour')",
        "SELECT guestcomms.refresh_term_statistics()",
    ):
        while one(connection, statement.encode()):
            pass


def test_crashes_at_any_moment(own_cluster: Cluster) -> None:
    store = Store(Database(own_cluster, NAME), *[None] * 2)  # type: ignore[arg-type]
    archive = Archive(store)
    guests = []
    for _ in range(2):
        messages = archive.write_many(MESSAGES)
        for message in messages[::6]:
            archive.detail(message)
        guests.append(one(archive.root, "SELECT guest_id FROM guestcomms.messages WHERE message_id = %s", messages[0]))
    archive.policy(older_than="297 days")
    archive.archive()
    assert archive.archived()
    assert archive.hot()
    refresh(archive.root)
    guest, other = guests
    before = rows(archive.root, OTHER, other)
    for name, value in (("privacy.erase_at_once", "0"), ("privacy.erase_batch_messages", "10")):
        archive.root.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])
    erasure = erase(archive.root, guest)
    states = []
    interrupted = []
    for crash in range(CRASHES):
        chosen = random.Random(crash)
        done: list[int] = []
        with ThreadPoolExecutor(1) as pool:
            erasing = pool.submit(erase_on, archive.connect(), done)
            steps = chosen.choice(STEPS)
            while len(done) < steps and not erasing.done():
                time.sleep(0.001)
            time.sleep(chosen.uniform(0, LONGEST))
            own_cluster.kill()
            ended = erasing.exception()
            assert isinstance(ended, psycopg.OperationalError | None)
            interrupted.append(ended is not None)
        store.database.close()
        own_cluster.start()
        archive.root = store.connect(tenant=archive.tenant)
        told = progress(archive.root, erasure)
        states.append(told["message_count"])
        # What is counted as done is gone, and nothing else is.
        assert one(archive.root, LEFT_MESSAGES, guest, guest) == MESSAGES - told["message_count"]
    assert states == sorted(states)
    assert any(0 < state < MESSAGES for state in states), "it never died in the middle"
    assert any(interrupted)
    finish(archive.root)
    assert progress(archive.root, erasure)["status"] == "done"
    assert {place for place, row in receipt(archive.root, erasure).items() if row["left_count"]} == set()
    assert rows(archive.root, OTHER, other) == before
    assert archive.damage() == []
    assert rows(archive.root, FACTS, guest, archive.tenant) == [(2 * MESSAGES, 0)]
    for table in LEFT[-2:]:
        assert one(archive.root, f"SELECT count(*) FROM {table}".encode()) == 0
    store.database.close()
