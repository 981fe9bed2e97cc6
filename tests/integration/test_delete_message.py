"""Deleting a message: its row stays, its text is nowhere; versions tell what was there before an edit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from tests.support.outbox import Outbox, open_outbox
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import record

DELETE = "SELECT guestcomms.delete_message(%s, %s)"
EDIT = "SELECT guestcomms.edit_message(%s, body => %s)"
VERSIONS = "SELECT version_number, body, is_current, is_as_sent FROM guestcomms.list_message_versions(%s)"
FOUND = "SELECT message_id FROM guestcomms.search_messages(%s)"
ROW = "SELECT body, subject, metadata, deleted_at IS NOT NULL, status FROM guestcomms.messages WHERE message_id = %s"
# Tables that may hold what a message said, as text.
TEXTS = """
    SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE c.relnamespace::regnamespace::text LIKE 'guestcomms%' AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
"""


@pytest.fixture
def outbox(store: Store) -> Iterator[Outbox]:
    with open_outbox(store) as outbox:
        yield outbox


def write(outbox: Outbox, body: str = "the quetzal arrives", days: float = 3) -> UUID:
    guest = outbox.guest()
    thread = outbox.office.thread(guest)
    values = {"subject": "quetzal", "metadata": '{"note": "quetzal"}', "direction": "outbound", "status": "sent"}
    return outbox.office.write(guest, thread, days, body=body, **values)


def count(outbox: Outbox) -> None:
    while one(outbox.root, "SELECT guestcomms.refresh_term_statistics()"):
        pass


@pytest.mark.parametrize("is_archived", [False, True])
def test_the_text_is_gone_everywhere(outbox: Outbox, is_archived: bool) -> None:
    message = write(outbox)
    one(outbox.app, EDIT, message, "the quetzal has arrived")
    outbox.office.detail(message, 2)
    values = {"message_id": message, "name": "quetzal.jpg", "media_type": "image/jpeg", "byte_count": 1, "uri": "s3://quetzal"}
    outbox.office.add("attachments", **values)
    outbox.office.add("message_annotations", message_id=message, kind="intent", value='"quetzal"', annotator="test")
    count(outbox)
    assert column(outbox.app, FOUND, "quetzal") == [message]
    if is_archived:
        outbox.office.policy()
        outbox.office.archive()
        assert outbox.office.hot() == set()

    assert one(outbox.app, DELETE, message, "wrong guest") is True
    assert one(outbox.app, DELETE, message, None) is False
    assert rows(outbox.root, ROW, message) == [("", None, {}, True, "delivered")]
    count(outbox)
    assert column(outbox.app, FOUND, "quetzal") == []
    assert column(outbox.app, FOUND, "has:attachment") == []
    assert rows(outbox.app, VERSIONS, message) == [(1, "", True, True)]
    assert rows(outbox.root, "SELECT reason, deleted_by FROM guestcomms.message_deletions WHERE message_id = %s", message) == [
        ("wrong guest", "app_login")
    ]
    # Its events stay; what the object store is to delete is told, and nothing else tells of it.
    assert one(outbox.root, "SELECT count(*) FROM guestcomms.message_events WHERE message_id = %s", message) == 1
    assert column(outbox.app, "SELECT uri FROM guestcomms.list_attachment_removals()") == ["s3://quetzal"]
    query = "SELECT guestcomms.confirm_attachment_removal(ARRAY(SELECT removal_id FROM guestcomms.list_attachment_removals()))"
    one(outbox.app, query)
    holds = "SELECT EXISTS (SELECT FROM {} AS t WHERE tenant_id = %s AND t::text ~ 'quetzal')"
    tables = column(outbox.root, TEXTS)
    assert [table for table in tables if one(outbox.root, holds.format(table).encode(), outbox.office.tenant)] == []
    if is_archived:
        outbox.office.archive()
        read = "SELECT body, deleted_at IS NOT NULL, versions FROM guestcomms.read_archived(%s)"
        assert rows(outbox.app, read, message) == [("", True, [])]
        assert rows(outbox.app, VERSIONS, message) == [(1, "", True, True)]


def test_it_goes_on_being_counted(outbox: Outbox) -> None:
    message = write(outbox, days=0.01)
    operator = outbox.office.store.connect("operator_login")
    around = "now() - interval '1 day', now() + interval '1 day'"
    counted = f"SELECT sum(message_count) FROM guestcomms.get_message_statistics({around})".encode()
    for _ in range(2):
        while one(operator, "SELECT guestcomms.refresh_warehouse()"):
            pass
        assert one(outbox.app, counted) == 1
        one(outbox.app, DELETE, message, None)


def test_a_hold_keeps_it(outbox: Outbox) -> None:
    message = write(outbox)
    hold = one(outbox.root, "SELECT guestcomms.place_hold('{}', 'court file')")
    with refused("55000"):
        one(outbox.app, DELETE, message, None)
    one(outbox.root, "SELECT guestcomms.release_hold(%s)", hold)
    assert one(outbox.app, DELETE, message, None) is True


def test_what_waits_is_cancelled_and_what_is_being_sent_is_not(outbox: Outbox) -> None:
    message = outbox.queue()
    outbox.claim()
    for query, value in ((DELETE, "x"), (EDIT, "another text")):
        with refused("55000"):
            one(outbox.app, query, message, value)
    outbox.expire(message)
    assert one(outbox.app, EDIT, message, "another text") == 1
    (claimed,) = outbox.claim()
    assert claimed["body"] == "another text"
    outbox.expire(message)
    assert one(outbox.app, DELETE, message, None) is True
    assert rows(outbox.root, ROW, message) == [("", None, {}, True, "cancelled")]
    assert outbox.claim() == []


def test_what_is_deleted_is_not_edited(outbox: Outbox) -> None:
    message = write(outbox)
    one(outbox.app, DELETE, message, None)
    with refused("55000"):
        one(outbox.app, EDIT, message, "back")
    dead = record(outbox.app, outbox.guest(), direction="outbound", status="failed")
    one(outbox.app, DELETE, dead, None)
    with refused("55000"):
        one(outbox.app, "SELECT guestcomms.retry_message(%s)", dead)


def test_which_text_was_sent(outbox: Outbox) -> None:
    message = outbox.queue(body="first")
    assert rows(outbox.app, VERSIONS, message) == [(1, "first", True, False)]
    one(outbox.app, EDIT, message, "second")
    (claimed,) = outbox.claim()
    outbox.confirm(claimed)
    one(outbox.app, EDIT, message, "third")
    one(outbox.app, EDIT, message, "fourth")
    expected = [(1, "first", False, False), (2, "second", False, True), (3, "third", False, False), (4, "fourth", True, False)]
    assert rows(outbox.app, VERSIONS, message) == expected
    outbox.root.execute("SELECT guestcomms.add_archive_policy('all', older_than => '0 seconds')")
    outbox.office.archive()
    assert outbox.office.hot() == set()
    assert rows(outbox.app, VERSIONS, message) == expected


def test_a_received_message_was_its_first_text(outbox: Outbox) -> None:
    message = record(outbox.app, outbox.guest(), "as it came")
    one(outbox.app, EDIT, message, "as it should be")
    assert rows(outbox.app, VERSIONS, message) == [(1, "as it came", False, True), (2, "as it should be", True, False)]


def test_those_who_edit_and_delete_at_once(outbox: Outbox) -> None:
    """One deletes, and whoever edits after that is refused; nothing of any edit stays."""
    message = write(outbox)
    sessions = [outbox.office.connect("app_login") for _ in range(6)]

    def work(number: int) -> str | None:
        try:
            if number == 3:
                one(sessions[number], DELETE, message, None)
            else:
                one(sessions[number], EDIT, message, f"quetzal {number}")
        except Exception as error:
            return str(getattr(error, "sqlstate", error))
        return None

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(work, range(6))) <= {None, "55000"}
    assert rows(outbox.app, VERSIONS, message) == [(1, "", True, True)]
