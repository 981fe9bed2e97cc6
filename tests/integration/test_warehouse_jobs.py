"""The warehouse's jobs: run by hand and when they are due, in batches, one at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.business import NOON, Business, ask, pick
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store

JOBS = ("refresh_warehouse", "refresh_reports")
FACTS = "SELECT count(*) FROM guestcomms_bi.fact_message WHERE tenant_id = %s"
OLDER = "UPDATE guestcomms_internal.report_refreshes SET as_of = as_of - interval '2 hours'"


@pytest.fixture
def business(store: Store) -> Iterator[Business]:
    with Business(store) as business:
        yield business


@pytest.fixture
def operator(store: Store) -> Iterator[Connection]:
    """No other job gets in the way, and none was run yet."""
    with store.connect() as root:
        root.execute("TRUNCATE guestcomms.jobs, guestcomms.job_runs; SELECT guestcomms.upgrade_store()")
        root.execute("UPDATE guestcomms.jobs SET is_paused = job_name <> ALL (%s)", [list(JOBS)])
    with store.connect("operator_login") as connection:
        yield connection


def runs(operator: Connection, job: str) -> list[tuple[object, ...]]:
    return rows(operator, "SELECT outcome, error_code, batch_count, row_count FROM guestcomms.job_history(%s)", job)


def run(operator: Connection, job: str) -> None:
    operator.execute("CALL guestcomms.run_job(%s)", [job])


def test_the_warehouse_is_loaded_by_its_job(business: Business, operator: Connection) -> None:
    business.write_to_many(3)
    run(operator, "refresh_warehouse")
    assert one(business.root, FACTS, business.tenant) == 3
    ((outcome, error, batches, treated),) = runs(operator, "refresh_warehouse")
    assert (outcome, error) == ("done", None)
    assert isinstance(batches, int)
    assert isinstance(treated, int)
    assert batches >= 1
    assert treated >= 3
    (status,) = ask(operator, "SELECT * FROM guestcomms.get_warehouse_status()")
    assert pick([status], "unread_changes", "is_live", "tenants_to_load", "messages_to_load") == [(0, True, 0, 0)]


def test_nothing_to_do_is_done_at_once(operator: Connection) -> None:
    for _ in range(2):
        run(operator, "refresh_warehouse")
    assert runs(operator, "refresh_warehouse")[0] == ("done", None, 1, 0)


def test_reports_are_refreshed_by_their_job(business: Business, operator: Connection) -> None:
    business.write()
    run(operator, "refresh_warehouse")
    business.root.execute(OLDER)
    run(operator, "refresh_reports")
    assert runs(operator, "refresh_reports") == [("done", None, 6, 5)]
    count = "SELECT message_count FROM guestcomms_bi.mv_daily_channels WHERE tenant_id = %s"
    assert one(business.root, count, business.tenant) == 1
    run(operator, "refresh_reports")
    assert runs(operator, "refresh_reports")[0] == ("done", None, 1, 0)


def test_due_jobs_do_both(business: Business, operator: Connection) -> None:
    business.write()
    business.root.execute(OLDER)
    operator.execute("CALL guestcomms.run_due_jobs()")
    for job in JOBS:
        assert [run[:2] for run in runs(operator, job)] == [("done", None)]
    assert one(business.root, FACTS, business.tenant) == 1


def test_a_first_load_is_taken_up_where_it_was_cut_off(store: Store, business: Business, operator: Connection) -> None:
    business.write_to_many(5)
    with store.connect() as root:
        root.execute(
            "UPDATE guestcomms.consumers SET must_rebuild = true, done = NULL, reading = NULL, reading_xid = NULL,"
            " reading_seq = NULL WHERE consumer = 'warehouse'"
        )
    assert one(operator, "SELECT is_live FROM guestcomms.get_warehouse_status()") is False
    one(operator, "SELECT guestcomms.refresh_warehouse(1)")
    (status,) = ask(operator, "SELECT * FROM guestcomms.get_warehouse_status()")
    assert status["messages_to_load"] >= 4
    business.write()
    run(operator, "refresh_warehouse")
    assert one(business.root, FACTS, business.tenant) == 6
    assert one(operator, "SELECT is_live FROM guestcomms.get_warehouse_status()") is True


def test_a_job_waits_for_whoever_refreshes(store: Store, business: Business, operator: Connection) -> None:
    """It gives up after its lock_timeout, and is made up for later."""
    business.write()
    other = store.connect("operator_login", autocommit=False)
    one(other, "SELECT guestcomms.refresh_warehouse()")
    with refused("55P03"):
        run(operator, "refresh_warehouse")
    other.rollback()
    other.close()
    run(operator, "refresh_warehouse")
    assert [run[:2] for run in runs(operator, "refresh_warehouse")] == [("done", None), ("failed", "55P03")]
    assert one(business.root, FACTS, business.tenant) == 1


def test_the_jobs_are_listed(operator: Connection) -> None:
    assert set(JOBS) <= set(column(operator, "SELECT job_name FROM guestcomms.list_jobs()"))


def test_only_operators_refresh(store: Store) -> None:
    for login in ("app_login", "analyst_login", "privacy_login", "issuer_login"):
        for function in JOBS:
            with store.connect(login) as connection, refused("42501"):
                connection.execute(f"SELECT guestcomms.{function}()".encode())


def test_bad_bounds(operator: Connection) -> None:
    for arguments in ("0", "NULL", "max_rows => -1", "time_budget => NULL"):
        with refused("22023"):
            operator.execute(f"SELECT guestcomms.refresh_warehouse({arguments})".encode())


def test_the_time_is_kept_to(business: Business, operator: Connection) -> None:
    """Each call does one batch at least, so that it comes to an end."""
    for day in range(3):
        business.write(NOON.replace(day=1 + day))
    calls = 0
    while one(operator, "SELECT guestcomms.refresh_warehouse(1, '0 seconds')"):
        calls += 1
        assert calls < 1000
    assert calls >= 3
    assert one(business.root, FACTS, business.tenant) == 3
