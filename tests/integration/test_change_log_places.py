"""What the log says of rows that are gone, which cannot tell any more: where in which conversation a message was, of which
message an event was."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import one, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record_all

LOGGED = "SELECT operation, ids FROM guestcomms.change_log WHERE tenant_id = %s AND kind = %s ORDER BY xid, seq"
TRIM = "DELETE FROM guestcomms.change_log"


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture
def written(root: Connection, app: Connection) -> dict[UUID, UUID]:
    """Two messages with their conversations, written and forgotten by the log."""
    guest = add_guest(app)
    found = record_all(
        app, [message(guest, sent_at=now().isoformat()), message(guest, channel="chat", sent_at=now().isoformat())]
    )
    threads = rows(root, "SELECT message_id, thread_id FROM guestcomms.messages WHERE message_id = ANY (%s)", found)
    root.execute(TRIM)
    return dict(threads)


def test_deleted_messages_tell_where_they_were(store: Store, root: Connection, written: dict[UUID, UUID]) -> None:
    root.execute("DELETE FROM guestcomms.messages WHERE message_id = ANY (%s)", [list(written)])
    ((operation, ids),) = rows(root, LOGGED, store.tenant_a, "message_place")
    assert operation == "delete"
    assert dict(zip(ids[1::2], ids[0::2], strict=True)) == written


@pytest.mark.parametrize("change", ["direction = 'outbound', status = 'sent'", "thread_id = %(thread)s"])
def test_a_message_that_moved_tells_where_it_was(
    store: Store, root: Connection, app: Connection, written: dict[UUID, UUID], change: str
) -> None:
    moved, was = next(iter(written.items()))
    thread = one(app, "SELECT guestcomms.open_thread('elsewhere', %s)", add_guest(app))
    root.execute(
        f"UPDATE guestcomms.messages SET {change} WHERE message_id = %(message)s".encode(), {"message": moved, "thread": thread}
    )
    assert rows(root, LOGGED, store.tenant_a, "message_place") == [("update", [was, moved])]


def test_what_leaves_a_message_in_its_place_does_not(store: Store, root: Connection, written: dict[UUID, UUID]) -> None:
    root.execute("UPDATE guestcomms.messages SET status = 'failed' WHERE message_id = ANY (%s)", [list(written)])
    assert rows(root, LOGGED, store.tenant_a, "message_place") == []
    assert len(rows(root, LOGGED, store.tenant_a, "message")) == 1


def test_events_tell_of_which_messages_they_were(
    store: Store, root: Connection, app: Connection, written: dict[UUID, UUID]
) -> None:
    first, second = written
    event = one(app, "SELECT guestcomms.record_event(%s, 'delivered')", first)
    root.execute("UPDATE guestcomms.message_events SET message_id = %s WHERE event_id = %s", [second, event])
    root.execute("DELETE FROM guestcomms.message_events WHERE event_id = %s", [event])
    assert rows(root, LOGGED, store.tenant_a, "event_message") == [("update", [first]), ("delete", [second])]


def test_a_consumer_that_is_added_again_is_the_same(root: Connection) -> None:
    for _ in range(2):
        root.execute("SELECT guestcomms.add_consumer('again')")
    assert one(root, "SELECT count(*) FROM guestcomms.consumers WHERE consumer = 'again'") == 1
