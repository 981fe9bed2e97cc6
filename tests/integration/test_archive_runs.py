"""Runs: batch by batch, summed up, undone within a window, in the change log once, and keys that outlive the rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.archive import MOVED, RUN, Archive
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import record

CALL = "CALL guestcomms.run_archive_batches('1 hour', %s)"
LISTED = "SELECT message_count, event_count, segment_count, plain_bytes, stored_bytes FROM guestcomms.list_archive_runs()"
LOGGED = "SELECT kind, operation, ids FROM guestcomms.change_log WHERE tenant_id = %s AND seq > %s ORDER BY seq"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        yield archive


def log_end(archive: Archive) -> int:
    seq: int = one(archive.root, "SELECT coalesce(max(seq), 0) FROM guestcomms.change_log")
    return seq


def batches(archive: Archive, messages: list[UUID], max_rows: int) -> list[list[UUID]]:
    return [messages[start : start + max_rows] for start in range(0, len(messages), max_rows)]


def test_batches_are_committed_one_by_one(archive: Archive) -> None:
    messages = archive.write_many(7)
    operator = archive.connect("operator_login")
    operator.execute("CALL guestcomms.run_archive_batches('0 seconds', 3)")
    assert archive.archived() == set(messages[:3])
    operator.execute(CALL, [3])
    assert archive.archived() == set(messages)
    query = "SELECT part_number, message_count, xmin::text FROM guestcomms.archive_runs WHERE tenant_id = %s"
    found = sorted(rows(archive.root, query, archive.tenant))
    assert [row[:2] for row in found] == [(1, 3), (1, 3), (2, 1)]
    assert len({row[2] for row in found}) == 3


def test_batches_cannot_be_part_of_a_transaction(archive: Archive) -> None:
    archive.write_many(2)
    session = archive.connect(autocommit=False)
    with refused("2D000"):
        session.execute(CALL, [1])
    session.rollback()
    assert archive.archived() == set()


def test_what_is_listed_is_what_was_moved(archive: Archive) -> None:
    messages = archive.write_many(6)
    for message in messages[:2]:
        archive.detail(message)
    runs = archive.archive(2)
    names = ("message_count", "event_count", "segment_count", "plain_bytes", "stored_bytes")
    query = f"{LISTED} ORDER BY started_at".encode()
    assert rows(archive.root, query) == [tuple(run[name] for name in names) for run in runs]
    assert [run["message_count"] for run in runs] == [2, 2, 2]
    assert sum(run["event_count"] for run in runs) == 2
    segment = "SELECT octet_length(payload), plain_bytes FROM guestcomms.archive_segments WHERE tenant_id = %s"
    assert rows(archive.root, segment, archive.tenant) == [(runs[-1]["stored_bytes"], runs[-1]["plain_bytes"])]


def test_the_parts_of_a_run_are_summed_up(archive: Archive) -> None:
    messages = archive.write_many(7)
    archive.event(messages[4])
    archive.root.execute(CALL, [3])
    assert [row[:3] for row in rows(archive.root, LISTED)] == [(7, 1, 3)]
    assert column(archive.root, "SELECT count(*) FROM guestcomms.list_archive_runs('infinity')") == [0]


def test_a_run_without_anything_to_do_leaves_nothing(archive: Archive) -> None:
    archive.write_many(2, 0.5)
    end = log_end(archive)
    assert archive.archive() == []
    archive.root.execute(CALL, [10])
    assert rows(archive.root, LISTED) == []
    assert rows(archive.root, LOGGED, archive.tenant, end) == []
    assert (
        rows(
            archive.root, "SELECT 1 FROM guestcomms.audit_entries WHERE tenant_id = %s AND action = 'run_archive'", archive.tenant
        )
        == []
    )


def test_the_change_log_says_archive_and_restore_and_no_more(archive: Archive) -> None:
    messages = archive.write_many(5)
    for message in messages:
        archive.detail(message)
    end = log_end(archive)
    archive.archive(2)
    expected = [("message", "archive", ids) for ids in batches(archive, messages, 2)]
    assert rows(archive.root, LOGGED, archive.tenant, end) == expected
    end = log_end(archive)
    archive.root.execute("SELECT guestcomms.restore_messages(message_ids => %s)", [[messages[3], messages[1]]])
    assert rows(archive.root, LOGGED, archive.tenant, end) == [("message", "restore", [messages[1], messages[3]])]


def test_the_times_logged_are_those_of_the_messages(archive: Archive) -> None:
    messages = archive.write_many(3)
    end = log_end(archive)
    archive.archive()
    query = "SELECT since, until FROM guestcomms.change_log WHERE tenant_id = %s AND seq > %s"
    ((since, until),) = rows(archive.root, query, archive.tenant, end)
    unit = timedelta(milliseconds=1)
    first, last = archive.ago(300), archive.ago(300 - 2 / 24)
    assert first - unit < since <= first
    assert last < until <= last + unit
    assert archive.archived() == set(messages)


def test_what_comes_late_is_logged_when_it_comes(archive: Archive) -> None:
    (message,) = archive.write_many(1)
    archive.archive()
    end = log_end(archive)
    event = archive.event(message)
    assert rows(archive.root, LOGGED, archive.tenant, end) == [("event", "insert", [event])]
    archive.configure("late_after", "0")
    end = log_end(archive)
    archive.archive()
    assert [row for row in rows(archive.root, LOGGED, archive.tenant, end) if row[1] != "archive"] == []


def test_runs_are_written_down(archive: Archive) -> None:
    archive.write_many(3)
    (run,) = archive.archive()
    archive.root.execute("SELECT guestcomms.undo_archive(%s)", [run["run_id"]])
    query = (
        "SELECT action, object FROM guestcomms.audit_entries"
        " WHERE tenant_id = %s AND action LIKE '%%_archive' ORDER BY occurred_at"
    )
    found = [row for row in rows(archive.root, query, archive.tenant) if row[0] in ("run_archive", "undo_archive")]
    assert found == [("run_archive", f"archive run {run['run_id']}"), ("undo_archive", f"archive run {run['run_id']}")]


def test_the_job_moves_and_then_forgets_which(archive: Archive) -> None:
    messages = archive.write_many(3)
    job = "SELECT guestcomms_internal.archive_batch()"
    while one(archive.root, job):
        pass
    assert archive.archived() == set(messages)
    query = "SELECT message_ids FROM guestcomms.archive_runs WHERE tenant_id = %s"
    assert [set(ids) for ids in column(archive.root, query, archive.tenant)] == [set(messages)]
    archive.configure("undo_window", "0")
    assert one(archive.root, job) == 0
    assert column(archive.root, query, archive.tenant) == [None]
    (run,) = column(archive.root, "SELECT run_id FROM guestcomms.list_archive_runs()")
    archive.configure("undo_window", None)
    with refused("55000"):
        archive.root.execute("SELECT guestcomms.undo_archive(%s)", [run])


def test_a_key_outlives_its_message(archive: Archive) -> None:
    guest = archive.guest()
    message = archive.write(guest, archive.thread(guest), 300, external_id="m-1", source="mail")
    archive.archive()
    app = archive.connect("app_login")
    repeated = record(app, guest, "once more", external_id="m-1", source="mail")
    assert repeated == message
    assert archive.hot() == set()
    assert record(app, guest, "another", external_id="m-1", source="chat") != message
    archive.restore()
    assert record(app, guest, "once more", external_id="m-1", source="mail") == message
    query = "SELECT count(*) FROM guestcomms.messages WHERE tenant_id = %s AND source = 'mail'"
    assert one(archive.root, query, archive.tenant) == 1


def test_a_crash_leaves_the_one_or_the_other(archive: Archive) -> None:
    for message in archive.write_many(4):
        archive.detail(message)
    before = archive.snapshot()
    with archive.root.transaction(force_rollback=True):
        archive.archive(2)
    assert archive.snapshot() == before
    assert archive.segments() == []
    assert rows(archive.root, LISTED) == []


def test_without_a_context_all_tenants_have_their_turn(archive: Archive) -> None:
    with Archive(archive.store, "Another") as other, archive.store.connect("operator_login") as operator:
        for each in (archive, other):
            each.write_many(5)
            each.policy()
        moved = 1
        while moved:
            moved = rows(operator, RUN, 2)[0][3]
        assert (len(archive.archived()), len(other.archived())) == (5, 5)
        assert archive.hot() | other.hot() == set()
        # A tenant sees its own runs only.
        for each in (archive, other):
            query = "SELECT sum(message_count)::int FROM guestcomms.list_archive_runs()"
            assert one(each.root, query) == 5


def test_a_tenant_that_is_open_is_the_only_one(archive: Archive) -> None:
    with Archive(archive.store, "Another") as other:
        for each in (archive, other):
            each.write_many(2)
            each.policy()
        archive.archive()
        assert (len(archive.archived()), len(other.archived())) == (2, 0)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_old_snapshot_is_refused(archive: Archive, level: str) -> None:
    archive.write_many(1)
    archive.policy()
    session = archive.connect(autocommit=False)
    session.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
    with refused("25001"):
        session.execute(RUN, [10])
    session.rollback()
    assert archive.archived() == set()


def test_two_sessions_archive_each_message_once(archive: Archive) -> None:
    for _ in range(3):
        for message in archive.write_many(4):
            archive.detail(message)
    archive.policy()
    before = archive.snapshot(*MOVED)
    first, second = archive.connect(autocommit=False), archive.connect("operator_login")
    first.execute(RUN, [5])
    second.execute("SET lock_timeout = '100ms'")
    with refused("55P03"):  # one batch of a store at a time
        second.execute(RUN, [5])
    first.commit()
    while rows(second, RUN, 5)[0][3]:
        pass
    assert len(archive.archived()) == 12
    assert column(archive.root, "SELECT count(*) FROM guestcomms.messages WHERE tenant_id = %s", archive.tenant) == [0]
    archive.restore()
    assert archive.snapshot(*MOVED) == before


@pytest.mark.parametrize("size", ["0", "NULL", "100001"])
def test_a_batch_is_bounded_however_it_is_called(archive: Archive, size: str) -> None:
    (message,) = archive.write_many(1)
    for call in (f"SELECT guestcomms.run_archive({size})", f"CALL guestcomms.run_archive_batches(max_rows => {size})"):
        with refused("22023"):
            archive.root.execute(call)
    assert archive.hot() == {message}
