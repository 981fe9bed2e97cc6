"""kill -9 while exports are written: each goes on where it was, and in the end has everything once."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.support.archive import Archive
from tests.support.crash import NAME
from tests.support.database import Connection, Database
from tests.support.exports import STEP, TABLES, as_lines, ask, opened, progress, read, records, stored
from tests.support.queries import one
from tests.support.store import Store
from tools.cluster import Cluster

MESSAGES = 240
CRASHES = int(os.environ.get("GUESTCOMMS_CRASHES", "10"))
# When the server dies: so many steps are done, and the next one for at most so many seconds.
STEPS = (0, 1, 2, 4)
LONGEST = 0.1
AT_MOST = 20  # steps between two deaths, so that the first finds something left


def write_on(connection: Connection, tenant: object, export: object, done: list[int], at_most: int = AT_MOST) -> None:
    """Step by step, each a transaction, until the export is ready, the server dies or enough is done."""
    while len(done) < at_most and one(connection, STEP, tenant, export):
        done.append(1)


def test_crashes_at_any_moment(own_cluster: Cluster) -> None:
    store = Store(Database(own_cluster, NAME), *[None] * 2)  # type: ignore[arg-type]
    archive = Archive(store)
    messages = archive.write_many(MESSAGES)
    for message in messages[::4]:
        archive.detail(message)
    before = {table: stored(archive, table) for table in TABLES}
    archive.policy(older_than="295 days")
    archive.archive()
    assert archive.archived()
    assert archive.hot()
    guest = one(archive.root, "SELECT guest_id FROM guestcomms.guests WHERE tenant_id = %s", archive.tenant)
    for name, value in (("privacy.export_at_once", "0"), ("privacy.export_batch_messages", "10")):
        archive.root.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])
    export = ask(archive.root, guest, formats=["jsonl", "html", "csv"])
    states = []
    interrupted = []
    for crash in range(CRASHES):
        chosen = random.Random(crash)
        done: list[int] = []
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write_on, archive.connect(), archive.tenant, export, done)
            steps = chosen.choice(STEPS)
            while len(done) < steps and not writing.done():
                time.sleep(0.001)
            time.sleep(chosen.uniform(0, LONGEST))
            own_cluster.kill()
            ended = writing.exception()
            assert isinstance(ended, psycopg.OperationalError | None)
            interrupted.append(ended is not None)
        store.database.close()
        own_cluster.start()
        archive.root = store.connect(tenant=archive.tenant)
        states.append(progress(archive.root, export)["message_count"])
    assert states == sorted(states)
    assert any(0 < state < MESSAGES for state in states), "it never died in the middle"
    assert any(interrupted)
    write_on(archive.connect(), archive.tenant, export, [], at_most=1000)
    files = opened(read(archive.root, export))
    for table, found in before.items():
        assert as_lines(records(files, table)) == found, table
    store.database.close()
