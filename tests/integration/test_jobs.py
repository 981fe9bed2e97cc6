"""Maintenance jobs without pg_cron: batches, overlap, back-off, requests, pauses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store


@pytest.fixture
def operator(store: Store) -> Connection:
    """A login that has the operators' role; jobs run with its rights."""
    with store.connect() as root:
        root.execute("TRUNCATE guestcomms.jobs, guestcomms.job_runs; SELECT guestcomms.upgrade_store()")
    return store.connect("operator_login")


def replace_command(root: Connection, job: str, command: str) -> None:
    """The list of jobs with another command for one of them."""
    definition = one(root, "SELECT pg_get_functiondef('guestcomms_internal.job_definitions'::regproc)")
    start = definition.index(f"'{job}'")
    old = definition[definition.index("'SELECT ", start) :].split("'")[1]
    root.execute(definition.replace(f"'{old}'", "'" + command.replace("'", "''") + "'"))


@pytest.fixture
def counting_job(store: Store) -> Iterator[Connection]:
    """trim_job_runs does 3, 2, 1, 0 rows, and fails while table failing holds a row."""
    with store.connect() as root:
        old = one(root, "SELECT pg_get_functiondef('guestcomms_internal.job_definitions'::regproc)")
        root.execute(
            """
            CREATE TABLE public.remaining (number bigint); CREATE TABLE public.failing (code text);
            CREATE TABLE public.committed (transaction xid8);
            GRANT ALL ON public.remaining, public.failing, public.committed TO operator_login;
            CREATE FUNCTION public.count_down() RETURNS bigint LANGUAGE plpgsql AS $$
            DECLARE v_left bigint;
            BEGIN
                INSERT INTO public.committed VALUES (pg_current_xact_id());
                IF EXISTS (SELECT FROM public.failing) THEN
                    RAISE EXCEPTION USING ERRCODE = 'XX123', MESSAGE = 'as wished';
                END IF;
                UPDATE public.remaining SET number = number - 1 RETURNING number INTO v_left;
                RETURN v_left;
            END $$;
            INSERT INTO public.remaining VALUES (3);
            """
        )
        replace_command(root, "trim_job_runs", "SELECT public.count_down()")
        yield root
        root.execute(old)
        root.execute("DROP FUNCTION public.count_down; DROP TABLE public.remaining, public.failing, public.committed")


def last_run(operator: Connection, job: str) -> Any:
    return rows(operator, "SELECT outcome, error_code, batch_count, row_count FROM guestcomms.job_history(%s) LIMIT 1", job)[0]


def test_every_job_runs(operator: Connection) -> None:
    for (job,) in rows(operator, "SELECT job_name FROM guestcomms.list_jobs()"):
        operator.execute("CALL guestcomms.run_job(%s)", [job])
        assert last_run(operator, job)[:2] == ("done", None), job


def test_batches_commit_one_by_one(operator: Connection, counting_job: Connection) -> None:
    operator.execute("CALL guestcomms.run_job('trim_job_runs')")
    assert last_run(operator, "trim_job_runs") == ("done", None, 3, 3)
    assert one(counting_job, "SELECT count(DISTINCT transaction) FROM public.committed") == 3


def test_a_failure_is_noted_and_waits(operator: Connection, counting_job: Connection) -> None:
    counting_job.execute("INSERT INTO public.failing VALUES ('x')")
    waits = []
    for number in (1, 2, 3):
        with refused("XX123"):
            operator.execute("CALL guestcomms.run_job('trim_job_runs')")
        found = rows(
            operator,
            "SELECT failure_count, last_error_code, not_before - last_started_at FROM guestcomms.list_jobs() "
            "WHERE job_name = 'trim_job_runs'",
        )[0]
        assert found[:2] == (number, "XX123")
        waits.append(found[2].total_seconds())
    assert waits[1] > 1.9 * waits[0]
    assert waits[2] > 1.9 * waits[1]
    assert last_run(operator, "trim_job_runs")[:2] == ("failed", "XX123")
    # Schedulers leave it alone, an operator does not.
    before = one(counting_job, "SELECT count(*) FROM public.committed")
    counting_job.execute("DELETE FROM public.failing")
    operator.execute("CALL guestcomms.run_job('trim_job_runs', true)")
    operator.execute("CALL guestcomms.run_due_jobs()")
    assert one(counting_job, "SELECT count(*) FROM public.committed") == before
    operator.execute("CALL guestcomms.run_job('trim_job_runs')")
    assert one(operator, "SELECT failure_count FROM guestcomms.list_jobs() WHERE job_name = 'trim_job_runs'") == 0


def test_one_failing_job_does_not_stop_the_others(operator: Connection, counting_job: Connection) -> None:
    counting_job.execute("INSERT INTO public.failing VALUES ('x')")
    operator.execute("CALL guestcomms.run_due_jobs()")
    outcomes: dict[str, str] = dict(rows(operator, "SELECT job_name, outcome FROM guestcomms.job_history()"))
    assert outcomes.pop("trim_job_runs") == "failed"
    assert set(outcomes.values()) == {"done"}
    assert len(outcomes) >= 5


def test_a_job_never_overlaps_itself(store: Store, operator: Connection) -> None:
    other = store.connect("operator_login")
    other.execute("SELECT pg_advisory_lock(hashtextextended('guestcomms.job.trim_change_log', 0))")
    operator.execute("CALL guestcomms.run_job('trim_change_log')")
    assert rows(operator, "SELECT 1 FROM guestcomms.job_history('trim_change_log')") == []
    other.close()


def test_a_run_that_was_cut_off_is_noted_by_the_next(store: Store, operator: Connection) -> None:
    with store.connect() as root:
        root.execute("SELECT guestcomms_internal.start_job('trim_change_log')")
    operator.execute("CALL guestcomms.run_job('trim_change_log')")
    assert column(operator, "SELECT outcome FROM guestcomms.job_history('trim_change_log')") == ["done", "failed"]


def test_requests(operator: Connection) -> None:
    operator.execute("CALL guestcomms.run_due_jobs()")
    assert one(operator, "SELECT guestcomms.request_job('analyze_tables', 'test')") is True
    assert one(operator, "SELECT guestcomms.request_job('analyze_tables', 'again')") is False
    operator.execute("CALL guestcomms.run_due_jobs(true)")
    assert one(operator, "SELECT count(*) FROM guestcomms.job_history('analyze_tables')") == 2
    assert one(operator, "SELECT requested_at FROM guestcomms.list_jobs() WHERE job_name = 'analyze_tables'") is None
    operator.execute("CALL guestcomms.run_due_jobs()")
    assert one(operator, "SELECT count(*) FROM guestcomms.job_history('analyze_tables')") == 2


def test_nobody_waits_to_request_a_job(store: Store, operator: Connection) -> None:
    operator.execute("CALL guestcomms.run_job('analyze_tables')")
    first = store.connect("operator_login", autocommit=False)
    first.execute("SELECT guestcomms.request_job('analyze_tables')")
    operator.execute("SET lock_timeout = '2s'")
    assert one(operator, "SELECT guestcomms.request_job('analyze_tables')") is False
    first.rollback()


def test_paused_jobs_are_left_alone(operator: Connection) -> None:
    operator.execute("SELECT guestcomms.pause_job('analyze_tables')")
    operator.execute("CALL guestcomms.run_due_jobs()")
    operator.execute("CALL guestcomms.run_job('analyze_tables', true)")
    assert rows(operator, "SELECT 1 FROM guestcomms.job_history('analyze_tables')") == []
    operator.execute("SELECT guestcomms.pause_job('analyze_tables', false)")
    operator.execute("CALL guestcomms.run_due_jobs()")
    assert len(rows(operator, "SELECT 1 FROM guestcomms.job_history('analyze_tables')")) == 1


def test_unknown_jobs(operator: Connection) -> None:
    for statement in ("CALL guestcomms.run_job('x')", "SELECT guestcomms.request_job('x')", "SELECT guestcomms.pause_job('x')"):
        with refused("42704"):
            operator.execute(statement)


def test_jobs_are_for_operators(store: Store) -> None:
    for login in ("app_login", "analyst_login", "privacy_login", "issuer_login"):
        with store.connect(login) as connection, refused("42501"):
            connection.execute("CALL guestcomms.run_due_jobs()")
    with store.connect("operator_login") as connection, refused("42501"):
        connection.execute("SELECT guestcomms.schedule_jobs()")


def test_without_pg_cron_the_error_says_what_to_do(store: Store) -> None:
    with store.connect() as root, refused("0A000") as caught:
        root.execute("SELECT guestcomms.schedule_jobs()")
    assert "run_due_jobs" in (caught.value.diag.message_hint or "")


def test_a_cancelled_job_is_noted_and_lets_go(store: Store, operator: Connection, counting_job: Connection) -> None:
    replace_command(counting_job, "trim_job_runs", "SELECT 1::bigint FROM pg_sleep(60)")
    operator.execute("SET statement_timeout = '2s'")  # after the job has begun
    with refused("57014"):
        operator.execute("CALL guestcomms.run_job('trim_job_runs')")
    operator.execute("RESET statement_timeout")
    assert last_run(operator, "trim_job_runs")[:2] == ("failed", "57014")
    assert one(operator, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == 0


def test_a_failed_job_goes_on_after_its_wait(store: Store, operator: Connection, counting_job: Connection) -> None:
    counting_job.execute("INSERT INTO public.failing VALUES ('x')")
    operator.execute("CALL guestcomms.run_due_jobs()")
    counting_job.execute("DELETE FROM public.failing")
    counting_job.execute("UPDATE guestcomms.jobs SET not_before = now() - interval '1 second' WHERE job_name = 'trim_job_runs'")
    operator.execute("CALL guestcomms.run_due_jobs(true)")
    assert last_run(operator, "trim_job_runs")[:2] == ("done", None)


def test_a_job_leaves_the_search_path(operator: Connection) -> None:
    operator.execute("SET search_path = public")
    operator.execute("CALL guestcomms.run_job('ensure_partitions')")
    assert one(operator, "SHOW search_path") == "public"


def test_cancelling_run_due_jobs_ends_it(operator: Connection, counting_job: Connection) -> None:
    replace_command(counting_job, "trim_job_runs", "SELECT 1::bigint FROM pg_sleep(60)")
    counting_job.execute("UPDATE guestcomms.jobs SET is_paused = job_name <> 'trim_job_runs'")
    operator.execute("SET statement_timeout = '200ms'")
    with refused("57014"):
        operator.execute("CALL guestcomms.run_due_jobs()")
    operator.execute("RESET statement_timeout")


def test_a_run_that_cannot_start_lets_go(store: Store, operator: Connection) -> None:
    with store.connect() as root:
        root.execute("ALTER TABLE guestcomms.job_runs ADD CONSTRAINT never CHECK (false) NOT VALID")
    with refused("23514"):
        operator.execute("CALL guestcomms.run_job('trim_change_log')")
    with store.connect() as root:
        root.execute("ALTER TABLE guestcomms.job_runs DROP CONSTRAINT never")
    assert one(operator, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == 0


def test_rows_before_all_months_are_rescued(store: Store, operator: Connection) -> None:
    with store.connect() as root:
        guest = one(root, "INSERT INTO guestcomms.guests (tenant_id) VALUES (%s) RETURNING guest_id", store.tenant_a)
        root.execute(
            """
            WITH thread AS (
                INSERT INTO guestcomms.threads (tenant_id, guest_id) VALUES (%(tenant)s, %(guest)s) RETURNING thread_id
            )
            INSERT INTO guestcomms.messages
                (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, body)
            SELECT %(tenant)s, guestcomms.uuid_v7(at), at, thread_id, %(guest)s, 'inbound', 'sms', 'received', 'old'
            FROM thread, unnest(ARRAY[now() - interval '15 months', now() - interval '40 months']) AS at
            """,
            {"tenant": store.tenant_a, "guest": guest},
        )
        left = "SELECT default_rows FROM guestcomms.ensure_partitions() LIMIT 1"
        assert one(root, left) == 2
        for _ in range(4):
            operator.execute("CALL guestcomms.run_job('rescue_default_rows')")
        assert one(root, left) == 0
