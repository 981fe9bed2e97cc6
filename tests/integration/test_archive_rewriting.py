"""Segments written anew without some of their messages, as erasure and retention do."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.archive import DETAILS, Archive
from tests.support.queries import Row, column, one, rows
from tests.support.store import Store

SEGMENTS = """
    SELECT s.segment_id, s.message_ids, s.event_count, s.detail_count FROM guestcomms.archive_segments AS s
    WHERE s.tenant_id = %s AND s.guest_id = %s ORDER BY s.first_sent_at
"""
BODIES = """
    SELECT m.message_id FROM guestcomms_internal.content_messages(%s, %s, guestcomms_internal.read_segment(%s, %s)) AS m
    ORDER BY m.sent_at
"""
REWRITE = "SELECT guestcomms_internal.rewrite_segments(%s, %s, %s, false)"
STEMS = "SELECT term, message_count FROM guestcomms.term_statistics WHERE tenant_id = %s ORDER BY term"
FOUND = "SELECT message_id FROM guestcomms.search_messages(%s)"


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        yield archive


@pytest.fixture
def guests(archive: Archive) -> dict[UUID, list[UUID]]:
    """Two guests with 25 messages each, so with two segments; each message has its own word and details."""
    archive.configure("segment_messages", "20")
    found = {}
    for name in ("Ada", "Zoe"):
        guest = archive.guest(name)
        thread = archive.thread(guest)
        found[guest] = [archive.write(guest, thread, 300 - number, body=f"{name}word{number} seating") for number in range(25)]
        for message in found[guest]:
            archive.detail(message)
    archive.archive()
    refresh_statistics(archive)
    return found


def refresh_statistics(archive: Archive) -> None:
    while one(archive.root, "SELECT guestcomms.refresh_term_statistics()"):
        pass


def segments(archive: Archive, guest: UUID) -> list[Row]:
    return rows(archive.root, SEGMENTS, archive.tenant, guest)


def bodies(archive: Archive, guest: UUID) -> list[UUID]:
    tenant = archive.tenant
    return [each for row in segments(archive, guest) for each in column(archive.root, BODIES, tenant, guest, tenant, row[0])]


def stems(archive: Archive) -> dict[str, int]:
    refresh_statistics(archive)
    return dict(rows(archive.root, STEMS, archive.tenant))


def test_some_messages_leave_for_good(archive: Archive, guests: dict[UUID, list[UUID]], store: Store) -> None:
    ada, zoe = guests
    gone = guests[ada][3:7] + guests[ada][22:23]
    before = stems(archive)
    written = [row[0] for row in segments(archive, ada)]
    assert [row[1:] for row in segments(archive, ada)] == [(guests[ada][:20], 20, 60), (guests[ada][20:], 5, 15)]
    assert one(archive.root, REWRITE, store.tenant_b, written, gone) == 0
    assert one(archive.root, REWRITE, archive.tenant, written, gone) == 5
    # What is left fills one segment.
    assert [row[2:] for row in segments(archive, ada)] == [(20, 60)]
    assert bodies(archive, ada) == [each for each in guests[ada] if each not in gone]
    assert bodies(archive, zoe) == guests[zoe]
    assert archive.hot() == set()
    assert all(found == [] for found in archive.snapshot(*DETAILS).values())
    assert archive.damage() == []
    after = stems(archive)
    assert after["seat"] == before["seat"] - 5
    assert {term for term in before if term not in after} == {f"adaword{number}" for number in (3, 4, 5, 6, 22)}
    assert column(archive.root, FOUND, "adaword3") == []
    assert column(archive.root, FOUND, "adaword8") == [guests[ada][8]]
    assert archive.restore() == 45
