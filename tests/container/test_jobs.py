"""The jobs that the first start gives to pg_cron are run by pg_cron's own worker."""

from __future__ import annotations

import psycopg

from tests.container.fixtures import ContainerCluster, wait_until
from tests.support.queries import column, one

# pg_cron 1.4 knows whole minutes only.
PATIENCE_SECONDS = 150


def test_the_worker_runs_the_jobs(server: ContainerCluster) -> None:
    with (
        psycopg.connect(server.dsn(), autocommit=True) as store,
        psycopg.connect(server.dsn("postgres"), autocommit=True) as cron,
    ):
        assert set(column(cron, "SELECT username FROM cron.job")) == {"guestcomms_jobs"}
        one(store, "SELECT guestcomms.request_job('analyze_tables')")
        history = "SELECT job_name FROM guestcomms.job_history() WHERE outcome = 'done'"
        expected = {"seal_audit_trail", "analyze_tables"}
        wait_until("jobs", lambda: expected <= set(column(store, history)), PATIENCE_SECONDS)
        assert column(cron, "SELECT DISTINCT status FROM cron.job_run_details WHERE end_time IS NOT NULL") == ["succeeded"]
