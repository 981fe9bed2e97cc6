"""Threads follow their messages by every way in and out: what their rows say is what a recount says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.archive import Archive
from tests.support.erasure import erase
from tests.support.inbox import kept, recount
from tests.support.queries import copy_rows, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import load, loaded_row, message, record, record_all

STATE = "SELECT last_direction, unread_count, guest_waits_since IS NOT NULL FROM guestcomms.threads WHERE thread_id = %s"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive
        assert kept(archive.root, archive.tenant) == recount(archive.root, archive.tenant)


def is_right(archive: Archive) -> bool:
    return kept(archive.root, archive.tenant) == recount(archive.root, archive.tenant)


def test_a_conversation_message_by_message(archive: Archive) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    steps = [
        (5, "inbound", "received", ("inbound", 1, True)),
        (4, "inbound", "received", ("inbound", 2, True)),
        (3, "outbound", "queued", ("inbound", 2, True)),  # not sent yet
        (3, "outbound", "sent", ("outbound", 2, False)),
        (6, "inbound", "received", ("outbound", 3, False)),  # late
        (2, "outbound", "failed", ("outbound", 3, False)),
        (1, "inbound", "received", ("inbound", 4, True)),
        (1.5, "outbound", "sent", ("inbound", 4, True)),
        (0.5, "inbound", "received", ("inbound", 5, True)),
        (0.7, "outbound", "read", ("inbound", 5, True)),  # between the two that wait
    ]
    for days, direction, status, expected in steps:
        archive.write(guest, thread, days, direction=direction, status=status)
        assert rows(archive.root, STATE, thread) == [expected]
        assert is_right(archive)


@pytest.mark.parametrize(
    "change",
    [
        "SET status = 'sent' WHERE status = 'queued'",
        "SET status = 'failed' WHERE direction = 'outbound'",
        "SET direction = CASE direction WHEN 'inbound' THEN 'outbound' ELSE 'inbound' END, status = 'sent'",
        "SET deleted_at = now()",
        "SET read_at = now()",
        "SET channel = 'chat'",
        "SET body = 'x', edited_at = now()",
        "SET thread_id = %(other)s",
        "SET thread_id = %(other)s, read_at = now() WHERE direction = 'inbound'",
        "SET thread_id = CASE thread_id WHEN %(other)s THEN %(thread)s::uuid ELSE %(other)s END",
    ],
)
def test_messages_that_change(archive: Archive, change: str) -> None:
    guest = archive.guest()
    thread, other = archive.thread(guest), archive.thread(guest)
    for number in range(4):
        archive.write(guest, thread, 9 - number, direction="inbound")
        archive.write(guest, thread, 8.5 - number, direction="outbound", status=["sent", "queued"][number % 2])
    archive.write(guest, other, 7)
    before = kept(archive.root, archive.tenant)
    ours = f"{change} {'AND' if 'WHERE' in change else 'WHERE'} tenant_id = %(tenant)s"
    archive.root.execute(
        f"UPDATE guestcomms.messages {ours}".encode(), {"thread": thread, "other": other, "tenant": archive.tenant}
    )
    assert is_right(archive)
    assert (kept(archive.root, archive.tenant) == before) == ("body" in change)


def test_messages_that_are_deleted_from_the_end_and_from_between(archive: Archive) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    messages = [
        archive.write(guest, thread, 9 - n, direction=["inbound", "outbound"][n % 3 == 1], status="sent") for n in range(9)
    ]
    for victims in (messages[4:5], messages[8:], messages[0:2], messages[2:8]):
        archive.root.execute("DELETE FROM guestcomms.messages WHERE message_id = ANY (%s)", [victims])
        assert is_right(archive)
    assert kept(archive.root, archive.tenant) == {}


def test_every_way_in(archive: Archive) -> None:
    guest = archive.guest()
    threads = [archive.thread(guest) for _ in range(3)]
    app = archive.connect("app_login")
    record(app, guest)
    record_all(
        app,
        [
            message(guest, thread_id=str(thread), direction=direction)
            for thread in threads
            for direction in ("inbound", "outbound")
        ],
    )
    copy_rows(
        app,
        "COPY guestcomms.import_messages (guest_id, direction, channel, body, thread_id) FROM STDIN",
        [(guest, "inbound", "sms", "x", threads[0])],
    )
    assert one(app, "SELECT imported_count FROM guestcomms.run_import()") == 1
    operator = archive.connect("operator_login", autocommit=False)
    operator.execute("SET ROLE guestcomms_operator")
    load(
        operator,
        [loaded_row(operator, archive.tenant, guest, thread, archive.ago(n), "x") for n in range(9) for thread in threads],
    )
    operator.commit()
    assert is_right(archive)
    assert len(kept(archive.root, archive.tenant)) == 3


def test_archived_messages_stay_in_their_conversation(archive: Archive) -> None:
    guest = archive.guest()
    thread, other = archive.thread(guest), archive.thread(guest)
    archived = [
        archive.write(guest, thread, 40 - n, direction=["inbound", "outbound"][n % 4 == 3], status="sent") for n in range(30)
    ]
    archive.write(guest, other, 20)
    archive.write(guest, other, 0.1, direction="outbound", status="sent")
    before = kept(archive.root, archive.tenant)
    archive.policy()
    archive.archive()
    after = kept(archive.root, archive.tenant)
    assert is_right(archive)
    assert before[thread].last_message_id == after[thread].last_message_id == archived[-1]
    assert before[thread].waiting_since == after[thread].waiting_since
    assert (before[thread].unread_count, after[thread].unread_count) == (23, 0)
    assert one(archive.root, "SELECT corrected_count FROM guestcomms.rebuild_thread_states()") == 0
    # One that comes late among archived ones, and goes again.
    late = archive.write(guest, thread, 11.5, direction="outbound", status="sent")
    assert is_right(archive)
    archive.root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [late])
    assert is_right(archive)
    assert one(archive.root, "SELECT guestcomms.restore_messages(message_ids => %s)", archived[5:9]) == 4
    assert is_right(archive)
    run = one(
        archive.root, "SELECT run_id FROM guestcomms.list_archive_runs() WHERE can_be_undone ORDER BY started_at DESC LIMIT 1"
    )
    while one(archive.root, "SELECT guestcomms.undo_archive(%s)", run):
        assert is_right(archive)
    assert kept(archive.root, archive.tenant) == before


def test_archived_messages_that_are_erased_leave_their_conversation(archive: Archive) -> None:
    guest, kept_guest = archive.guest(), archive.guest()
    thread, other = archive.thread(guest), archive.thread(kept_guest)
    old = [archive.write(guest, thread, 40 - n, direction=["inbound", "outbound"][n % 2], status="sent") for n in range(30)]
    archive.write(kept_guest, other, 30)
    archive.policy()
    archive.archive()
    segments = [
        row[0] for row in rows(archive.root, "SELECT segment_id FROM guestcomms.archive_segments WHERE guest_id = %s", guest)
    ]
    one(archive.root, "SELECT guestcomms_internal.rewrite_segments(%s, %s, %s, false)", archive.tenant, segments, old[-3:])
    assert is_right(archive)
    assert kept(archive.root, archive.tenant)[thread].last_message_id == old[-4]
    erase(archive.root, guest)
    assert is_right(archive)
    assert set(kept(archive.root, archive.tenant)) == {other}


def test_states_are_rebuilt_exactly(archive: Archive) -> None:
    for n in range(5):
        archive.write_many(4, days=50 + n, direction=["inbound", "outbound"][n % 2], status="sent")
    archive.policy(older_than="52 days")
    archive.archive()
    right = kept(archive.root, archive.tenant)
    archive.root.execute(
        "UPDATE guestcomms.threads SET unread_count = 7, waiting_since = now(), last_message_at = now(),"
        " last_direction = 'inbound', last_channel = NULL WHERE tenant_id = %s",
        [archive.tenant],
    )
    cursor, corrected = None, 0
    while True:
        ((checked, count, cursor),) = rows(
            archive.root, "SELECT * FROM guestcomms.rebuild_thread_states(%s, max_rows => 2)", cursor
        )
        corrected += count
        if cursor is None:
            break
        assert checked == 2
    assert corrected == 5
    assert kept(archive.root, archive.tenant) == right


def test_an_operator_rebuilds_all_tenants(store: Store, archive: Archive) -> None:
    archive.write_many(1)
    archive.root.execute("UPDATE guestcomms.threads SET unread_count = 7 WHERE tenant_id = %s", [archive.tenant])
    operator = store.connect("operator_login")
    assert one(operator, "SELECT corrected_count FROM guestcomms.rebuild_thread_states(max_rows => 100000)") >= 1
    with refused("42501"):
        archive.connect("app_login").execute("SELECT guestcomms.rebuild_thread_states()")


def test_a_change_of_messages_is_none_of_the_thread(archive: Archive) -> None:
    """Who follows the change log reads of the message, not once more of its thread."""
    guest = archive.guest()
    thread = archive.thread(guest)
    since = one(archive.root, "SELECT coalesce(max(seq), 0) FROM guestcomms.change_log")
    archive.write(guest, thread, 1)
    archive.root.execute("UPDATE guestcomms.messages SET read_at = now() WHERE tenant_id = %s", [archive.tenant])
    kinds = {row[0] for row in rows(archive.root, "SELECT kind FROM guestcomms.change_log WHERE seq > %s", since)}
    assert "message" in kinds
    assert "thread" not in kinds
    one(archive.root, "SELECT guestcomms.set_thread_status(%s, 'closed')", thread)
    assert rows(archive.root, "SELECT ids FROM guestcomms.change_log WHERE seq > %s AND kind = 'thread'", since) == [([thread],)]
