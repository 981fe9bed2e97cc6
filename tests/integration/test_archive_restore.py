"""Out of the archive: some or all of it, again and again, by two at once, and whole runs within their window."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store

IDS = "SELECT guestcomms.restore_messages(message_ids => %s)"
UNDO = "SELECT guestcomms.undo_archive(%s)"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        yield archive


@pytest.fixture
def stored(archive: Archive) -> tuple[Archive, list[UUID]]:
    """Eight archived messages of two guests in three conversations, in order of time, in segments of three."""
    archive.configure("segment_messages", "3")
    first, second = archive.guest(), archive.guest()
    threads = [(first, archive.thread(first)), (first, archive.thread(first)), (second, archive.thread(second))]
    messages = [archive.write(*threads[number % 3], 300 - number) for number in range(8)]
    for message in messages:
        archive.detail(message)
    archive.archive()
    assert archive.hot() == set()
    return archive, messages


def test_by_identifiers(stored: tuple[Archive, list[UUID]]) -> None:
    archive, messages = stored
    wanted = [messages[1], messages[5], uuid4()]
    assert one(archive.root, IDS, wanted) == 2
    assert archive.hot() == {messages[1], messages[5]}
    assert archive.archived() == set(messages) - archive.hot()
    assert archive.damage() == []
    # What is back stays as it is.
    assert one(archive.root, IDS, wanted) == 0
    assert one(archive.root, IDS, []) == 0
    assert archive.hot() == {messages[1], messages[5]}


def test_by_guest_conversation_and_time(stored: tuple[Archive, list[UUID]]) -> None:
    archive, messages = stored
    of = rows(archive.root, "SELECT guest_id, thread_id FROM guestcomms.read_archived(%s)", messages[1])[0]
    by = "SELECT guestcomms.restore_messages(guest_id => %s, thread_id => %s, since => %s, until => %s)"
    # since is within, until is not; all that is named must hold.
    assert one(archive.root, by, *of, archive.ago(299), archive.ago(293)) == 2
    assert archive.hot() == {messages[1], messages[4]}
    assert one(archive.root, by, None, of[1], None, None) == 1
    assert archive.hot() == {messages[1], messages[4], messages[7]}
    assert one(archive.root, by, None, None, None, archive.ago(298.5)) == 1
    assert one(archive.root, by, of[0], None, None, None) == 2
    assert archive.archived() == {messages[2], messages[5]}
    assert one(archive.root, by, None, None, archive.ago(296), None) == 1
    assert archive.archived() == {messages[2]}


def test_the_newest_first_and_no_more_than_asked(stored: tuple[Archive, list[UUID]]) -> None:
    archive, messages = stored
    query = "SELECT guestcomms.restore_messages(since => '-infinity', max_rows => 4)"
    guest = one(archive.root, "SELECT guest_id FROM guestcomms.read_archived(%s)", messages[0])
    of_guest = "SELECT guestcomms.restore_messages(guest_id => %s, max_rows => 2)"
    assert one(archive.root, of_guest, guest) == 2
    assert archive.hot() == {messages[6], messages[7]}
    counts: list[int] = []
    while not counts or counts[-1]:
        counts.append(one(archive.root, query))
    assert counts == [4, 2, 0]
    assert archive.hot() == set(messages)


def test_some_come_back_as_they_were(archive: Archive) -> None:
    messages = archive.write_many(9)
    for message in messages:
        archive.detail(message)
    before = archive.snapshot()
    archive.archive()
    for message in messages[::2]:
        assert one(archive.root, IDS, [message]) == 1
    assert archive.hot() == set(messages[::2])
    assert archive.restore() == 4
    assert archive.snapshot() == before


@pytest.mark.parametrize("arguments", ["", "max_rows => 0, since => now()", "max_rows => NULL, since => now()", "max_rows => 10"])
def test_what_is_wanted_must_be_said(archive: Archive, arguments: str) -> None:
    with refused("22023"):
        archive.root.execute(f"SELECT guestcomms.restore_messages({arguments})".encode())


def test_applications_restore_what_is_theirs(stored: tuple[Archive, list[UUID]]) -> None:
    archive, messages = stored
    with Archive(archive.store) as other:
        app = other.connect("app_login")
        assert one(app, IDS, messages) == 0
        assert one(app, "SELECT guestcomms.restore_messages(since => '-infinity')") == 0
        assert rows(app, "SELECT * FROM guestcomms.read_archived(%s)", messages[0]) == []
    assert one(archive.connect("app_login"), IDS, messages) == 8
    query = "SELECT action, actor FROM guestcomms.audit_entries WHERE tenant_id = %s AND action = 'restore_messages'"
    assert rows(archive.root, query, archive.tenant) == [("restore_messages", "app_login")]


def test_two_restore_the_same_at_once(stored: tuple[Archive, list[UUID]]) -> None:
    archive, messages = stored
    first, second = archive.connect("app_login", autocommit=False), archive.connect("app_login", autocommit=False)

    def take(session: Connection, wanted: list[UUID]) -> int:
        count: int = one(session, IDS, wanted)
        session.commit()
        return count

    assert one(first, IDS, messages[:6]) == 6
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take, second, messages[3:])
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        while not waiting.done() and not one(archive.root, query, second.info.backend_pid):
            pass
        first.commit()
        assert waiting.result() == 2
    # Each is said to be back once.
    logged = "SELECT unnest(ids) FROM guestcomms.change_log WHERE tenant_id = %s AND operation = 'restore' ORDER BY 1"
    assert column(archive.root, logged, archive.tenant) == sorted(messages)
    assert archive.hot() == set(messages)
    assert archive.archived() == set()


def test_a_restore_that_is_rolled_back_changes_nothing(stored: tuple[Archive, list[UUID]]) -> None:
    archive, messages = stored
    before = archive.segments()
    with archive.root.transaction(force_rollback=True):
        assert one(archive.root, IDS, messages[:5]) == 5
    assert archive.segments() == before
    assert archive.damage() == []


# Runs


def test_a_run_is_undone_once(archive: Archive) -> None:
    messages = archive.write_many(5)
    archive.detail(messages[0])
    before = archive.snapshot()
    (run,) = archive.archive()
    state = "SELECT can_be_undone, undone_at IS NOT NULL FROM guestcomms.list_archive_runs() WHERE run_id = %s"
    assert rows(archive.root, state, run["run_id"]) == [(True, False)]
    assert one(archive.root, UNDO, run["run_id"]) == 5
    assert archive.snapshot() == before
    assert rows(archive.root, state, run["run_id"]) == [(False, True)]
    assert one(archive.root, UNDO, run["run_id"]) == 0


def test_an_unknown_run(archive: Archive) -> None:
    with refused("42704"):
        archive.root.execute(UNDO, [uuid4()])
    archive.write_many(1)
    (run,) = archive.archive()
    with Archive(archive.store) as other, refused("42704"):
        other.root.execute(UNDO, [run["run_id"]])


def test_a_run_whose_window_is_closed(archive: Archive) -> None:
    archive.write_many(3)
    (run,) = archive.archive()
    archive.configure("undo_window", "0")
    assert column(archive.root, "SELECT can_be_undone FROM guestcomms.list_archive_runs()") == [False]
    with refused("55000"):
        archive.root.execute(UNDO, [run["run_id"]])
    archive.configure("undo_window", "1 day")
    assert one(archive.root, UNDO, run["run_id"]) == 3
    archive.configure("undo_window", "0")
    assert one(archive.root, UNDO, run["run_id"]) == 0  # what is undone stays so


def test_what_was_restored_by_hand_is_not_restored_again(archive: Archive) -> None:
    messages = archive.write_many(5)
    before = archive.snapshot()
    (run,) = archive.archive()
    assert one(archive.root, IDS, messages[:2]) == 2
    assert one(archive.root, UNDO, run["run_id"]) == 3
    assert archive.snapshot() == before


def test_a_run_whose_segment_a_later_one_filled_up(archive: Archive) -> None:
    messages = archive.write_many(9)
    for message in messages[:3]:
        archive.detail(message)
    first = archive.run(4)
    second = archive.run(5)
    assert len(archive.segments()) == 1
    assert one(archive.root, UNDO, first["run_id"]) == 4
    assert (archive.hot(), archive.archived()) == (set(messages[:4]), set(messages[4:]))
    assert archive.damage() == []
    assert one(archive.root, UNDO, second["run_id"]) == 5
    assert archive.hot() == set(messages)
    assert archive.segments() == []


def test_a_run_of_many_parts_is_undone_part_by_part(archive: Archive) -> None:
    archive.write_many(10)
    before = archive.snapshot()
    archive.root.execute("CALL guestcomms.run_archive_batches('1 hour', 3)")
    (run,) = column(archive.root, "SELECT run_id FROM guestcomms.list_archive_runs()")
    counts: list[int] = []
    while not counts or counts[-1]:
        counts.append(one(archive.root, "SELECT guestcomms.undo_archive(%s, 4)", run))
    assert sum(counts) == 10
    assert len(counts) > 2
    assert archive.snapshot() == before


def test_a_run_moves_again_what_was_undone(archive: Archive) -> None:
    messages = archive.write_many(3)
    (run,) = archive.archive()
    archive.root.execute(UNDO, [run["run_id"]])
    (again,) = archive.archive()
    assert archive.archived() == set(messages)
    # The first run is done with; only the second has them.
    assert one(archive.root, UNDO, run["run_id"]) == 0
    assert archive.archived() == set(messages)
    assert one(archive.root, UNDO, again["run_id"]) == 3
