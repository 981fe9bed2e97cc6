"""Months that are archived altogether give back their space; no others, and no row is lost that comes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from tests.support.archive import Archive
from tests.support.database import Connection
from tests.support.queries import one, refused, rows
from tests.support.store import Store

RELEASE = "SELECT guestcomms_internal.release_empty_months()"
PLACE = "SELECT tableoid::regclass::text FROM guestcomms.messages WHERE message_id = %s"
BYTES = "SELECT pg_total_relation_size(%s::regclass)"
BLOCKED = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
# Room of some hundred messages; what they hold does not matter.
BODY = "the menu of the wedding dinner, course by course and glass by glass; " * 40


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        yield archive
        archive.policy()
        archive.archive()
        release_all(archive.root)


def release_all(connection: Connection) -> int:
    calls = 0
    while one(connection, RELEASE):
        calls += 1
        assert calls < 100, "releasing goes round in circles"
    return calls


def fill(archive: Archive, month: int, count: int = 150) -> str:
    """A month of so many months ago, in which there are messages of this tenant; returns its partition."""
    guest = archive.guest()
    thread = archive.thread(guest)
    middle = datetime(archive.now.year, archive.now.month, 15, tzinfo=UTC)
    messages = [
        archive.write(guest, thread, (archive.now - middle).days + 30.4 * month - n / 1000, body=BODY) for n in range(count)
    ]
    places = {one(archive.root, PLACE, message) for message in messages}
    assert len(places) == 1
    return str(places.pop())


def test_months_without_a_row_are_emptied(archive: Archive) -> None:
    emptied, kept = fill(archive, 6), fill(archive, 4)
    archive.policy(older_than="150 days")
    archive.archive()
    before = {place: one(archive.root, BYTES, place) for place in (emptied, kept)}
    assert release_all(archive.root) == 1
    assert one(archive.root, BYTES, emptied) < before[emptied] / 2
    assert one(archive.root, BYTES, kept) == before[kept]
    assert len(archive.hot()) == len(archive.archived()) == 150
    assert archive.damage() == []
    # It can be written again.
    assert archive.restore() == 150
    assert len(archive.hot()) == 300


def test_events_are_released_with_their_month(archive: Archive) -> None:
    place = fill(archive, 6, 20)
    messages = list(archive.hot())
    events = place.replace("messages", "message_events")
    for n in range(1500):
        archive.event(messages[n % 20], occurred_at=one(archive.root, "SELECT guestcomms.uuid_v7_time(%s)", messages[n % 20]))
    before = one(archive.root, BYTES, events)
    archive.policy()
    archive.archive()
    assert release_all(archive.root) >= 1
    assert one(archive.root, BYTES, events) < before / 2
    archive.restore()
    assert one(archive.root, "SELECT count(*) FROM guestcomms.message_events WHERE tenant_id = %s", archive.tenant) == 1500


def test_a_row_of_another_tenant_keeps_its_month(archive: Archive, store: Store) -> None:
    place = fill(archive, 6)
    with Archive(store, "Neighbour") as other:
        assert fill(other, 6, 1) == place
        archive.policy()
        archive.archive()
        before = one(archive.root, BYTES, place)
        assert release_all(archive.root) == 0
        assert one(archive.root, BYTES, place) == before
        assert len(other.hot()) == 1
        other.policy()
        other.archive()


def test_what_is_recent_or_outside_the_months_is_left(archive: Archive) -> None:
    place = fill(archive, 0)
    archive.policy(older_than="0")
    before = one(archive.root, BYTES, place)
    defaults = "SELECT pg_total_relation_size('guestcomms.messages_default')"
    archive.archive()
    outside = one(archive.root, defaults)
    assert release_all(archive.root) == 0
    assert one(archive.root, BYTES, place) == before
    assert one(archive.root, defaults) == outside


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_row_written_at_the_same_time_is_kept(archive: Archive, is_committed: bool) -> None:
    place = fill(archive, 6)
    archive.policy()
    archive.archive()
    before = one(archive.root, BYTES, place)
    writer = archive.connect(autocommit=False)
    writer.execute("SELECT guestcomms.restore_messages(since => '-infinity', max_rows => 1)")
    watch = archive.connect()
    releasing = archive.root.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        released = pool.submit(one, archive.root, RELEASE)
        while not one(watch, BLOCKED, releasing):
            assert not released.done(), "nobody waited for the writer"
        if is_committed:
            writer.commit()
        else:
            writer.rollback()
        assert released.result() == (0 if is_committed else 1)
    assert len(archive.hot()) == is_committed
    assert len(archive.archived()) == 150 - is_committed
    assert (one(archive.root, BYTES, place) < before / 2) == (not is_committed)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_older_snapshot_is_refused(archive: Archive, level: str) -> None:
    with refused("25001"), archive.root.transaction():
        archive.root.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        rows(archive.root, RELEASE)
