"""Editing a message: the text that was stays as a version, hot or archived, and search goes by the text that is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store

EDIT = "SELECT guestcomms.edit_message(%s, body => %s, subject => %s)"
VERSIONS = """
    SELECT version_number, subject, body FROM guestcomms.message_versions
    WHERE tenant_id = %s AND message_id = %s ORDER BY version_number
"""
FOUND = "SELECT message_id FROM guestcomms.search_messages(%s)"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        yield archive


def a_message(archive: Archive) -> UUID:
    guest = archive.guest()
    return archive.write(guest, archive.thread(guest), body="the marquee is booked", subject="Marquee")


@pytest.mark.parametrize("is_archived", [False, True])
def test_the_text_changes_and_what_it_was_stays(archive: Archive, is_archived: bool) -> None:
    message = a_message(archive)
    if is_archived:
        archive.archive()
        assert archive.hot() == set()
    app = archive.connect("app_login")
    assert one(app, EDIT, message, "the orangery is booked", None) == 1
    assert one(app, EDIT, message, None, "") == 2
    assert rows(archive.root, VERSIONS, archive.tenant, message) == [
        (1, "Marquee", "the marquee is booked"),
        (2, "Marquee", "the orangery is booked"),
    ]
    while one(archive.root, "SELECT guestcomms.refresh_term_statistics()"):
        pass
    assert column(app, FOUND, "orangery") == [message]
    assert column(app, FOUND, '"marquee"') == []
    assert one(
        archive.root, "SELECT edited_at IS NOT NULL AND subject IS NULL FROM guestcomms.messages WHERE message_id = %s", message
    )
    archive.archive()
    assert column(app, FOUND, "orangery") == [message]
    read = rows(app, "SELECT body, jsonb_array_length(versions) FROM guestcomms.read_archived(%s)", message)
    assert read == [("the orangery is booked", 2)]


def test_two_who_edit_at_once_leave_two_versions(archive: Archive) -> None:
    message = a_message(archive)
    archive.archive()
    editors = [archive.connect("app_login") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda editor: one(editor, EDIT, message, f"by {editor.info.backend_pid}", None), editors))
    assert sorted(numbers) == [1, 2, 3, 4]


def test_bad_input(archive: Archive) -> None:
    message = a_message(archive)
    app = archive.connect("app_login")
    unknown = one(app, "SELECT guestcomms.uuid_v7(now())")
    for state, given in (
        ("22004", [message, None, None]),
        ("22001", [message, "x" * (1 << 20) + "x", None]),
        ("22001", [message, None, "x" * 2001]),
        ("23503", [unknown, "x", None]),
    ):
        with refused(state):
            one(app, EDIT, *given)
