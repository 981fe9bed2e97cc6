"""The archive of one guest, as exports and erasure take it: listed, read, written anew without some messages, dropped."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.archive import DETAILS, Archive
from tests.support.queries import Row, column, one, rows
from tests.support.store import Store

LIST = "SELECT * FROM guestcomms_internal.list_guest_segments(%s, %s)"
BODIES = """
    SELECT m.message_id
    FROM (VALUES (%s::uuid, %s::uuid)) AS g (tenant_id, guest_id)
    CROSS JOIN LATERAL guestcomms_internal.list_guest_segments(g.tenant_id, g.guest_id) AS s
    CROSS JOIN LATERAL guestcomms_internal.content_messages(g.tenant_id, g.guest_id,
        guestcomms_internal.read_segment(g.tenant_id, s.segment_id)) AS m
    ORDER BY m.sent_at
"""
REWRITE = """
    SELECT guestcomms_internal.rewrite_segments(g.tenant_id, ARRAY(
        SELECT s.segment_id FROM guestcomms_internal.list_guest_segments(g.tenant_id, g.guest_id) AS s), %s, false)
    FROM (VALUES (%s::uuid, %s::uuid)) AS g (tenant_id, guest_id)
"""
DROP = "SELECT guestcomms_internal.drop_guest_segments(%s, %s, %s)"
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


def listed(archive: Archive, guest: UUID) -> list[Row]:
    return rows(archive.root, f"SELECT message_ids, event_count, detail_count FROM ({LIST}) AS s", archive.tenant, guest)


def bodies(archive: Archive, guest: UUID) -> list[UUID]:
    return column(archive.root, BODIES, archive.tenant, guest)


def stems(archive: Archive) -> dict[str, int]:
    refresh_statistics(archive)
    return dict(rows(archive.root, STEMS, archive.tenant))


def test_a_guests_segments_are_listed_and_read(archive: Archive, guests: dict[UUID, list[UUID]]) -> None:
    for guest, messages in guests.items():
        found = listed(archive, guest)
        assert [len(ids) for ids, _, _ in found] == [20, 5]
        assert [(events, details) for _, events, details in found] == [(20, 60), (5, 15)]
        assert [each for ids, _, _ in found for each in ids] == messages
        assert bodies(archive, guest) == messages


def test_some_messages_leave_for_good(archive: Archive, guests: dict[UUID, list[UUID]]) -> None:
    ada, zoe = guests
    gone = guests[ada][3:7] + guests[ada][22:23]
    before = stems(archive)
    assert one(archive.root, REWRITE, gone, archive.tenant, ada) == 5
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


def test_all_of_a_guest_is_dropped_in_steps(archive: Archive, guests: dict[UUID, list[UUID]]) -> None:
    ada, zoe = guests
    assert one(archive.root, "SELECT guestcomms.record_event(%s, 'opened')", guests[ada][0])
    steps: list[int] = []
    while not steps or steps[-1]:
        steps.append(one(archive.root, DROP, archive.tenant, ada, 1))
    assert steps == [1, 1, 0]
    assert listed(archive, ada) == []
    assert archive.archived() == set(guests[zoe])
    assert {term for term in stems(archive) if "word" in term} == {f"zoeword{number}" for number in range(25)}
    # What came late is a row of the hot tables, for whoever erases to find; nothing waits for a segment any more.
    assert one(archive.root, "SELECT count(*) FROM guestcomms_internal.late_details WHERE tenant_id = %s", archive.tenant) == 0


def test_a_damaged_segment_is_dropped_like_any_other(archive: Archive, guests: dict[UUID, list[UUID]]) -> None:
    ada, _ = guests
    archive.root.execute(
        "UPDATE guestcomms.archive_segments SET payload = 'damaged' WHERE tenant_id = %s AND guest_id = %s", [archive.tenant, ada]
    )
    assert one(archive.root, DROP, archive.tenant, ada, 100) == 2
    assert listed(archive, ada) == []


def test_other_tenants_segments_are_not_touched(archive: Archive, guests: dict[UUID, list[UUID]], store: Store) -> None:
    ada, _ = guests
    assert one(archive.root, DROP, store.tenant_b, ada, 100) == 0
    assert rows(archive.root, LIST, store.tenant_b, ada) == []
    assert bodies(archive, ada) == guests[ada]
