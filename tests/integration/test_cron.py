"""pg_cron's real worker runs the jobs: from another database over dblink, and from the store's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import psycopg
import pytest

from tests.conftest import roomy_memory
from tests.support import statistics, warehouse
from tests.support.database import Connection
from tests.support.queries import one, rows
from tests.support.store import Store
from tools.cluster import Cluster

# pg_cron 1.4 knows whole minutes only.
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def own_cluster(stage: Path) -> Iterator[Cluster]:
    """A cluster whose pg_cron lives in the store's database."""
    with TemporaryDirectory(prefix="gc-cron-", dir=roomy_memory()) as name:
        Path(name).chmod(0o755)
        cluster = Cluster(Path(name) / "cluster", stage=stage, settings={"cron.database_name": "guestcomms"})
        try:
            cluster.create()
            cluster.start()
            cluster.create_database("guestcomms")
            cluster.psql("CREATE EXTENSION guestcomms CASCADE; SELECT guestcomms.create_store();", "guestcomms")
            cluster.psql("CREATE EXTENSION pg_cron;", "guestcomms")
            yield cluster
        finally:
            cluster.destroy()


def wait_for_runs(connection: Connection, jobs: set[str]) -> None:
    """Until the worker has run the jobs of every minute; bounded, for a worker that does not come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        done = {job for (job,) in connection.execute("SELECT job_name FROM guestcomms.job_history() WHERE outcome = 'done'")}
        if jobs <= done:
            return
        time.sleep(0.5)
    raise AssertionError(f"not run: {jobs - done}")


def an_old_message(store: Store) -> UUID:
    """One that a policy names."""
    with store.connect(tenant=store.tenant_a) as root:
        root.execute("SELECT guestcomms.add_archive_policy('old', older_than => '1 hour')")
        message: UUID = one(
            root,
            "SELECT guestcomms.record_message(guestcomms.add_guest('Zoë'), 'inbound', 'sms', 'long ago', sent_at => %s)",
            datetime.now(UTC) - timedelta(hours=2),
        )
    return message


def test_the_worker_runs_jobs_of_both_kinds_of_database(store: Store, own_cluster: Cluster) -> None:
    cron = psycopg.connect(store.database.cluster.dsn("postgres"), autocommit=True)
    cron.execute("CREATE EXTENSION IF NOT EXISTS pg_cron")
    elsewhere = store.connect()
    here = psycopg.connect(own_cluster.dsn("guestcomms"), autocommit=True)
    elsewhere.execute("CREATE EXTENSION dblink")
    old = an_old_message(store)
    entries = rows(
        elsewhere,
        "SELECT entry_name FROM guestcomms.schedule_jobs(%s, 'operator_login')",
        store.database.cluster.dsn("postgres"),
    )
    here.execute("CREATE ROLE jobs LOGIN; GRANT guestcomms_operator TO jobs")
    # What a first run has more to do, so that no job waits for another's rows for longer than it may.
    for connection in (elsewhere, here):
        warehouse.refresh_all(connection)
        statistics.refresh_all(connection)
    assert len(here.execute("SELECT * FROM guestcomms.schedule_jobs(job_login => 'jobs')").fetchall()) == len(entries)
    try:
        # Once more replaces them.
        elsewhere.execute("SELECT guestcomms.schedule_jobs(%s, 'operator_login')", [store.database.cluster.dsn("postgres")])
        registered = rows(cron, "SELECT jobname FROM cron.job WHERE database = %s", store.database.name)
        assert sorted(registered) == sorted(entries)
        for connection in (elsewhere, here):
            connection.execute("SELECT guestcomms.request_job('analyze_tables')")
            connection.execute("SELECT guestcomms.request_job('run_archive')")
        for connection in (elsewhere, here):
            wait_for_runs(connection, {"seal_audit_trail", "analyze_tables", "run_archive"})
        assert rows(elsewhere, "SELECT message_ids FROM guestcomms.archive_segments") == [([old],)]
        for connection in (elsewhere, here):
            assert one(connection, "SELECT count(*) FROM guestcomms.audit_entries WHERE sequence IS NOT NULL") > 0
        assert rows(cron, "SELECT DISTINCT status FROM cron.job_run_details WHERE end_time IS NOT NULL") == [("succeeded",)]
    finally:
        assert one(elsewhere, "SELECT guestcomms.unschedule_jobs(%s)", store.database.cluster.dsn("postgres")) == len(entries)
        assert here.execute("SELECT guestcomms.unschedule_jobs()").fetchone() == (len(entries),)
    assert rows(cron, "SELECT 1 FROM cron.job WHERE database = %s", store.database.name) == []
    cron.close()
    here.close()
