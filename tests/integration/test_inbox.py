"""The inbox as an application meets it: lists, conversations, marks, statuses, snoozes; what is refused, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows, told
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

LIST = "SELECT thread_id FROM guestcomms.list_threads(%s)"
STATUS = "SELECT status FROM guestcomms.threads WHERE thread_id = %s"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive


@pytest.fixture
def app(archive: Archive) -> Connection:
    return archive.connect("app_login")


def test_a_row_says_all_that_an_inbox_shows(archive: Archive, app: Connection) -> None:
    guest = add_guest(app, "Zoë Kaya")
    wedding = one(
        archive.root,
        "INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, 'Zoë & Max') RETURNING wedding_id",
        archive.tenant,
    )
    thread = one(app, "SELECT guestcomms.open_thread('Seating', %s, %s)", guest, wedding)
    first = now() - timedelta(hours=2)
    record_all(
        app,
        [
            message(guest, thread_id=str(thread), sent_at=first.isoformat(), channel="email"),
            message(guest, thread_id=str(thread), body="Is there\n\n  a cot? " + "x" * 1000, channel="sms"),
        ],
    )
    ((*values, snippet),) = rows(
        app,
        "SELECT thread_id, subject, status, assigned_to, guest_id, guest_name, wedding_id, wedding_name, unread_count,"
        " waits_for, waiting_since, snoozed_until, last_direction, last_channel, is_archived, snippet"
        " FROM guestcomms.list_threads()",
    )
    assert values == [
        thread,
        "Seating",
        "open",
        None,
        guest,
        "Zoë Kaya",
        wedding,
        "Zoë & Max",
        2,
        "us",
        first,
        None,
        "inbound",
        "sms",
        False,
    ]
    assert snippet.startswith("Is there a cot? xxx")
    assert len(snippet) == 140


def test_a_guest_who_was_merged_has_the_conversations_of_who_was_kept(app: Connection) -> None:
    keep, merge, other = (add_guest(app, name) for name in ("K", "M", "O"))
    threads = {one(app, "SELECT guestcomms.open_thread(guest_id => %s)", guest) for guest in (keep, merge)}
    one(app, "SELECT guestcomms.open_thread(guest_id => %s)", other)
    one(app, "SELECT guestcomms.merge_guests(%s, %s)", keep, merge)
    query = "SELECT thread_id FROM guestcomms.list_threads(guest_id => %s)"
    for guest in (keep, merge):
        assert set(column(app, query, guest)) == threads
    assert column(app, query, uuid4()) == []


def test_a_thread_without_messages_is_listed_by_its_opening(app: Connection) -> None:
    thread = one(app, "SELECT guestcomms.open_thread(guest_id => %s)", add_guest(app))
    assert rows(app, "SELECT thread_id, waits_for, unread_count, is_archived, snippet FROM guestcomms.list_threads()") == [
        (thread, None, 0, False, None)
    ]


def test_a_conversation_with_what_was_changed_and_withdrawn(archive: Archive, app: Connection) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    written = [archive.write(guest, thread, 3 - n / 10, body=f"text {n}") for n in range(5)]
    one(app, "SELECT guestcomms.edit_message(%s, body => 'changed')", written[1])
    archive.root.execute("UPDATE guestcomms.messages SET body = '', deleted_at = now() WHERE message_id = %s", [written[4]])
    for number in (1, 2):
        archive.detail(written[2], number)
    archive.root.execute(
        "UPDATE guestcomms.attachments SET deleted_at = now() WHERE message_id = %s AND byte_count = 2", [written[2]]
    )
    found = rows(
        app,
        "SELECT message_id, body, edited_at IS NOT NULL, deleted_at IS NOT NULL, attachment_count FROM guestcomms.get_thread(%s)",
        thread,
    )
    assert found == [
        (written[4], "", False, True, 0),
        (written[3], "text 3", False, False, 0),
        (written[2], "text 2", False, False, 1),
        (written[1], "changed", True, False, 0),
        (written[0], "text 0", False, False, 0),
    ]
    assert rows(app, "SELECT last_message_id, snippet, unread_count FROM guestcomms.list_threads()") == [(written[4], None, 4)]


def test_archived_messages_come_in_their_places_when_asked(archive: Archive, app: Connection) -> None:
    guest = archive.guest()
    thread, other = archive.thread(guest), archive.thread(guest)
    written = []
    for n in range(50):
        written.append(archive.write(guest, thread, 90 - n, body=f"text {n}"))
        archive.write(guest, other, 90 - n - 0.5)
    third = written[3]
    archive.detail(third)
    # Segments of what is large lie between those of what is old.
    large = [archive.write(guest, thread, 89.5 - 2 * n, body=str(n) * 3000) for n in range(15)]
    written = column(app, "SELECT message_id FROM guestcomms.get_thread(%s, 500, sort => 'oldest')", thread)
    archive.policy("large", larger_than=2000)
    archive.archive()
    archive.policy(older_than="60 days")
    archive.archive()
    assert large[0] == written[1]
    archive.detail(third, 2)
    query = """SELECT message_id, is_archived, attachment_count, body
        FROM guestcomms.get_thread(%s, %s, sort => 'oldest', include_archived => %s)"""
    hot = rows(app, query, thread, 500, False)
    assert {row[0] for row in hot} < set(written)
    assert not any(row[1] for row in hot)
    assert [row[0] for row in rows(app, query, thread, 500, True)] == written
    assert (third, True, 2, "text 3") in rows(app, query, thread, 7, True)
    for sort, expected in (("oldest", written), ("newest", written[::-1])):
        before, found = None, []
        while page := rows(
            app, "SELECT message_id, cursor FROM guestcomms.get_thread(%s, 7, %s, %s, true)", thread, before, sort
        ):
            found += [row[0] for row in page]
            before = page[-1][1]
        assert found == expected
    one(archive.root, "SELECT guestcomms.use_tenant(%s, true)", archive.tenant)
    archive.root.execute("UPDATE guestcomms.archive_segments SET payload = '' WHERE tenant_id = %s", [archive.tenant])
    assert len(rows(app, query, thread, 500, True)) == len(hot)  # a damaged segment keeps nobody from reading the rest


def test_marks(archive: Archive, app: Connection) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    old = archive.write(guest, thread, 3)
    archive.write(guest, thread, 2, direction="outbound", status="sent")
    new = archive.write(guest, thread, 1)
    unread = "SELECT unread_count FROM guestcomms.list_threads()"
    assert one(app, "SELECT guestcomms.mark_read(%s, until => now() - interval '2 days')", thread) == 1
    assert one(app, unread) == 1
    assert [one(app, "SELECT guestcomms.mark_read(%s)", thread) for _ in range(2)] == [1, 0]
    assert one(app, "SELECT guestcomms.mark_unread(%s)", thread) == 1
    assert column(
        archive.root,
        "SELECT message_id FROM guestcomms.messages WHERE thread_id = %s AND read_at IS NULL AND direction = 'inbound'",
        thread,
    ) == [new]
    assert one(app, "SELECT guestcomms.mark_unread(message_ids => %s)", [old, new, uuid4()]) == 1
    assert one(app, "SELECT guestcomms.mark_read(message_ids => %s)", [old, new]) == 2
    assert one(app, "SELECT guestcomms.mark_read(message_ids => '{}')") == 0
    assert one(app, unread) == 0


def test_a_message_of_the_guest_opens_what_was_closed_waited_for_or_put_aside(app: Connection) -> None:
    guest = add_guest(app)
    threads = [one(app, "SELECT guestcomms.open_thread(guest_id => %s)", guest) for _ in range(3)]
    one(app, "SELECT guestcomms.set_thread_status(%s, 'closed')", threads[0])
    one(app, "SELECT guestcomms.set_thread_status(%s, 'waiting')", threads[1])
    one(app, "SELECT guestcomms.snooze_thread(%s, now() + interval '1 day')", threads[2])
    for thread in threads:
        record(app, guest, thread_id=str(thread), direction="outbound")
    assert column(app, LIST, "active") == [threads[1]]
    assert column(app, LIST, "snoozed") == [threads[2]]
    for thread in threads:
        record(app, guest, thread_id=str(thread))
    assert column(app, LIST, "open") == threads[::-1]


def test_history_that_is_loaded_late_opens_nothing(archive: Archive, app: Connection) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    one(app, "SELECT guestcomms.set_thread_status(%s, 'closed')", thread)
    record(app, guest, thread_id=str(thread), sent_at=(now() - timedelta(days=2)).isoformat())
    archive.write(guest, thread, 0.01)  # as operators load rows
    assert one(archive.root, STATUS, thread) == "closed"
    aside = archive.thread(guest)
    one(app, "SELECT guestcomms.snooze_thread(%s, now() + interval '1 day')", aside)
    record(app, guest, thread_id=str(aside), sent_at=(now() - timedelta(days=2)).isoformat())
    assert column(app, LIST, "snoozed") == [aside]
    # A provider's report that comes hours late is no history.
    record(app, guest, thread_id=str(thread), sent_at=(now() - timedelta(hours=5)).isoformat())
    assert one(archive.root, STATUS, thread) == "open"


def test_a_message_without_a_thread_opens_another_where_all_are_closed(archive: Archive, app: Connection) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    one(app, "SELECT guestcomms.set_thread_status(%s, 'closed')", thread)
    record(app, guest)
    (opened,) = column(app, LIST, "open")
    assert opened != thread
    assert one(archive.root, STATUS, thread) == "closed"


def test_a_snoozed_thread_comes_back_by_itself_at_its_time(archive: Archive, app: Connection) -> None:
    guest = archive.guest()
    threads = [archive.thread(guest) for _ in range(3)]
    for days, thread in enumerate(threads, 1):
        archive.write(guest, thread, days)
    until = one(archive.root, "SELECT now() + interval '1 hour'")
    app.execute("SELECT guestcomms.snooze_thread(%s, %s)", [threads[2], until])
    assert column(app, LIST, "active") == threads[:2]
    assert rows(app, "SELECT thread_id, snoozed_until FROM guestcomms.list_threads('snoozed')") == [(threads[2], until)]
    # The time passes: nothing is written, and it stands where it came back.
    archive.root.execute(
        "UPDATE guestcomms.threads SET snoozed_until = now() - interval '30 hours' WHERE thread_id = %s", [threads[2]]
    )
    assert column(app, LIST, "active") == [threads[0], threads[2], threads[1]]
    assert rows(app, "SELECT snoozed_until FROM guestcomms.list_threads()") == [(None,)] * 3
    app.execute("SELECT guestcomms.snooze_thread(%s, NULL)", [threads[2]])
    assert column(app, LIST, "active") == threads


CASES: list[tuple[str, str]] = [
    ("list_threads('gone')", "22023"),
    ("list_threads(NULL)", "22023"),
    ("list_threads(sort => 'best')", "22023"),
    ("list_threads(sort => NULL)", "22023"),
    ("list_threads(channel => 'fax')", "22023"),
    ("list_threads(max_rows => 0)", "22023"),
    ("list_threads(max_rows => 201)", "22023"),
    ("list_threads(max_rows => NULL)", "22023"),
    ("list_threads(assigned_to => 'mira', is_unassigned => true)", "22023"),
    ("list_threads(after => 'x')", "22023"),
    ("list_threads(after => '')", "22023"),
    ("list_threads(after => '00000000.1.1.00000000-0000-0000-0000-000000000000')", "22023"),
    ("get_inbox_counts(max_count => 0)", "22023"),
    ("get_inbox_counts(max_count => NULL)", "22023"),
    ("get_thread(%(unknown)s)", "23503"),
    ("get_thread(NULL)", "23503"),
    ("get_thread(%(thread)s, 0)", "22023"),
    ("get_thread(%(thread)s, 501)", "22023"),
    ("get_thread(%(thread)s, sort => 'up')", "22023"),
    ("get_thread(%(thread)s, before => 'x')", "22023"),
    ("mark_read()", "22023"),
    ("mark_read(%(thread)s, ARRAY[%(unknown)s]::uuid[])", "22023"),
    ("mark_read(%(unknown)s)", "23503"),
    ("mark_read(message_ids => array_fill(%(unknown)s::uuid, ARRAY[10001]))", "22023"),
    ("mark_unread()", "22023"),
    ("mark_unread(%(unknown)s)", "23503"),
    ("set_thread_status(%(thread)s, 'gone')", "22023"),
    ("set_thread_status(%(thread)s, NULL)", "22023"),
    ("set_thread_status(%(unknown)s, 'open')", "23503"),
    ("assign_thread(%(unknown)s, 'mira')", "23503"),
    ("assign_thread(%(thread)s, '')", "22023"),
    ("assign_thread(%(thread)s, repeat('x', 201))", "22023"),
    ("snooze_thread(%(unknown)s, now() + interval '1 day')", "23503"),
    ("snooze_thread(%(thread)s, now())", "22023"),
    ("snooze_thread(%(thread)s, 'infinity')", "22023"),
    ("snooze_thread(%(closed)s, now() + interval '1 day')", "55000"),
]


@pytest.mark.parametrize(("call", "sqlstate"), CASES, ids=[call for call, _ in CASES])
def test_refused_with_a_hint(store: Store, call: str, sqlstate: str) -> None:
    app = store.connect("app_login", store.tenant_a)
    guest = add_guest(app)
    threads = [one(app, "SELECT guestcomms.open_thread('secretsubject', guest_id => %s)", guest) for _ in range(2)]
    one(app, "SELECT guestcomms.set_thread_status(%s, 'closed')", threads[1])
    names: dict[str, Any] = {"thread": threads[0], "closed": threads[1], "unknown": uuid4()}
    with refused(sqlstate) as caught:
        app.execute(f"SELECT * FROM guestcomms.{call}".encode(), names if "%" in call else None)
    assert caught.value.diag.message_hint
    assert "secretsubject" not in told(caught.value)


def test_a_cursor_is_of_one_list_alone(app: Connection) -> None:
    guest = add_guest(app)
    threads = [one(app, "SELECT guestcomms.open_thread(guest_id => %s)", guest) for _ in range(3)]
    cursor = rows(app, "SELECT cursor FROM guestcomms.list_threads(max_rows => 1)")[0][0]
    assert rows(app, "SELECT thread_id FROM guestcomms.list_threads(max_rows => 1, after => %s)", cursor) == [(threads[1],)]
    for other in ("sort => 'unread'", "status => 'open'", "assigned_to => ''", "is_unassigned => true"):
        with refused("22023"):
            app.execute(f"SELECT * FROM guestcomms.list_threads({other}, after => %s)".encode(), [cursor])
    with refused("22023"):
        app.execute("SELECT * FROM guestcomms.get_thread(%s, before => %s)", [threads[0], cursor])


def test_another_tenants_threads_are_unknown(store: Store, archive: Archive, app: Connection) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    written = archive.write(guest, thread, 1)
    other = store.connect("other_app_login", store.tenant_b)
    cursor = one(app, "SELECT cursor FROM guestcomms.list_threads()")
    assert rows(other, "SELECT * FROM guestcomms.list_threads(guest_id => %s, status => 'all')", guest) == []
    assert rows(other, "SELECT * FROM guestcomms.list_threads(after => %s)", cursor) == []
    assert {row[1] for row in rows(other, "SELECT * FROM guestcomms.get_inbox_counts()")} == {0}
    for call in (
        "get_thread(%s)",
        "mark_read(%s)",
        "mark_unread(%s)",
        "set_thread_status(%s, 'closed')",
        "assign_thread(%s, 'x')",
        "snooze_thread(%s, NULL)",
    ):
        with refused("23503"):
            other.execute(f"SELECT * FROM guestcomms.{call}".encode(), [thread])
    assert one(other, "SELECT guestcomms.mark_read(message_ids => %s)", [written]) == 0
    assert rows(app, "SELECT unread_count, status, assigned_to FROM guestcomms.list_threads()") == [(1, "open", None)]


@pytest.mark.parametrize("user", ["analyst_login", "privacy_login", "issuer_login", "nobody_login"])
def test_who_has_no_inbox(store: Store, user: str) -> None:
    connection = store.connect(user)
    for call in ("list_threads()", "get_inbox_counts()", "mark_read()", f"get_thread('{UUID(int=0)}')"):
        with refused("42501"):
            connection.execute(f"SELECT * FROM guestcomms.{call}".encode())


def test_lists_write_nothing(store: Store) -> None:
    """On a replica nothing could be written."""
    app = store.connect("app_login", store.tenant_a)
    thread = one(app, "SELECT guestcomms.open_thread(guest_id => %s)", add_guest(app))
    with app.transaction():
        app.execute("SET TRANSACTION READ ONLY")
        rows(app, "SELECT * FROM guestcomms.list_threads()")
        rows(app, "SELECT * FROM guestcomms.get_inbox_counts()")
        rows(app, "SELECT * FROM guestcomms.get_thread(%s, include_archived => true)", thread)
        assert one(app, "SELECT pg_current_xact_id_if_assigned()") is None
