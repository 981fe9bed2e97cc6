"""The warehouse counts archived messages and their events as it did while they were hot, whatever came first: the warehouse's
look, the archive's, or the event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import sql

from tests.support import warehouse
from tests.support.archive import Archive
from tests.support.queries import column, one, rows
from tests.support.store import Store

LIVE = (
    "SELECT bucket_start, channel, direction, message_count, sent, delivered, opened, machine_opened, clicked,"
    " replied, failed, unsubscribed"
    " FROM guestcomms.get_message_statistics(now() - interval '11 months', now() + interval '1 day') ORDER BY 1, 2, 3",
    "SELECT bucket_start, channel, answered_by, response_count, mean_time"
    " FROM guestcomms.get_response_times(now() - interval '11 months', now() + interval '1 day') ORDER BY 1, 2, 3",
)
# What says nothing of numbers, and what depends on the order in which it was counted.
APART = ["has_source", "response_times"]


@pytest.fixture(scope="module", autouse=True)
def copies(store: Store) -> None:
    """Empty: what is restored is counted from the tables."""
    with store.connect() as root:
        root.execute(warehouse.COPIES.encode())
        warehouse.refresh_all(root)


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy()
        yield archive
        # The next test's refreshes have no more to read than its own.
        warehouse.refresh_all(archive.root)


def write(archive: Archive) -> list[UUID]:
    """Conversations with questions, answers and events, machine opens among them."""
    messages: list[UUID] = []
    for place in range(3):
        guest = archive.guest(f"Guest {place}")
        thread = archive.thread(guest)
        for n in range(10):
            values: dict[str, Any] = {"direction": "outbound", "status": "sent"} if n % 3 else {}
            message = archive.write(guest, thread, 200 - 7 * n - place, channel=("email", "sms")[n % 2], **values)
            messages.append(message)
            if n % 3:
                late = timedelta(hours=n)
                sent_at = one(archive.root, "SELECT guestcomms.uuid_v7_time(%s)", message)
                for kind in ("delivered", "opened", "clicked")[: n % 4]:
                    archive.event(message, kind, occurred_at=sent_at + late)
    return messages


def tables(archive: Archive) -> dict[str, set[str]]:
    """All rows of the tenant in facts and rollups, as text."""
    names = column(
        archive.root,
        "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
        " WHERE c.relnamespace = 'guestcomms_bi'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND (c.relname LIKE 'agg%' OR c.relname LIKE 'fact%')",
    )
    assert len(names) > 6
    found = {}
    for name in names:
        query = sql.SQL("SELECT (to_jsonb(t) - %s::text[])::text FROM guestcomms_bi.{} AS t WHERE tenant_id = %s").format(
            sql.Identifier(name)
        )
        found[name] = {row[0] for row in archive.root.execute(query, [APART, archive.tenant])}
    return found


def live(archive: Archive) -> list[Any] | None:
    """What applications are told; nothing while the warehouse begins anew."""
    if one(archive.root, warehouse.IS_LOADING.encode()):
        return None
    return [rows(archive.root, query.encode()) for query in LIVE]


def refresh(archive: Archive) -> None:
    warehouse.refresh_all(archive.root)


def refresh_a_little(archive: Archive) -> None:
    warehouse.refresh(archive.root, 5)


def fall_behind(archive: Archive) -> None:
    archive.root.execute(warehouse.FALL_BEHIND.encode())


def a_part(archive: Archive) -> None:
    archive.run(11)


def everything(archive: Archive) -> None:
    archive.archive()


def back(archive: Archive) -> None:
    archive.restore()


def differences(found: dict[str, set[str]], wanted: dict[str, set[str]]) -> dict[str, set[str]]:
    return {name: found[name] ^ wanted[name] for name in wanted if found[name] != wanted[name]}


@pytest.mark.parametrize(
    "steps",
    [
        (refresh, everything),
        (everything,),
        (refresh_a_little, everything),
        (a_part, refresh, everything),
        (a_part, refresh_a_little, everything, back),
        (refresh, everything, back),
        (everything, refresh, back, refresh, everything),
        (refresh, everything, fall_behind),
        (everything, fall_behind, refresh_a_little),
        (a_part, fall_behind, refresh_a_little, everything, refresh_a_little, back),
    ],
    ids=lambda steps: " ".join(step.__name__ for step in steps),
)
def test_facts_and_rollups_stay(archive: Archive, steps: tuple[Callable[[Archive], None], ...]) -> None:
    write(archive)
    told = live(archive)
    assert told
    assert all(told)
    for step in steps:
        step(archive)
        assert live(archive) in (told, None), step.__name__
    refresh(archive)
    assert live(archive) == told
    found = tables(archive)
    assert len(found["fact_message"]) == 30
    assert len(found["fact_message_event"]) > 20

    # What it would have been without an archive.
    archive.restore()
    fall_behind(archive)
    refresh(archive)
    assert not differences(tables(archive), found)
    warehouse.check_stored(archive.root)


@pytest.mark.parametrize("is_refreshed", [True, False])
@pytest.mark.parametrize("is_reread", [True, False])
def test_late_events_count(archive: Archive, is_refreshed: bool, is_reread: bool) -> None:
    """While they are hot, in the segment, and once restored."""
    messages = [message for n, message in enumerate(write(archive)) if n % 10 % 3]
    archive.configure("late_after", "0")
    if is_refreshed:
        refresh(archive)
    archive.archive()
    if is_reread:
        refresh(archive)
    for n, message in enumerate(messages):
        archive.event(message, ("opened", "clicked", "failed")[n % 3], occurred_at=archive.ago(1))
    told = live(archive)
    if is_refreshed:
        refresh(archive)
        assert live(archive) == told
    archive.archive()
    assert one(archive.root, "SELECT count(*) FROM guestcomms.message_events WHERE tenant_id = %s", archive.tenant) == 0
    assert live(archive) == told
    refresh(archive)
    assert live(archive) == told
    found = tables(archive)
    archive.restore()
    assert live(archive) == told
    fall_behind(archive)
    refresh(archive)
    assert not differences(tables(archive), found)
    warehouse.check_stored(archive.root)


@pytest.mark.parametrize("is_refreshed", [True, False])
@pytest.mark.parametrize("is_outbound", [True, False])
def test_an_answer_to_an_archived_message_is_one(archive: Archive, is_refreshed: bool, is_outbound: bool) -> None:
    guest = archive.guest()
    thread = archive.thread(guest)
    asked: dict[str, Any] = {"direction": "outbound", "status": "sent"} if is_outbound else {}
    answered: dict[str, Any] = {} if is_outbound else {"direction": "outbound", "status": "sent"}
    archive.write(guest, thread, 3, **asked)
    if is_refreshed:
        refresh(archive)
    archive.archive()
    if is_refreshed:
        refresh(archive)
    archive.write(guest, thread, 2.5, **answered)
    told = live(archive)
    refresh(archive)
    assert live(archive) == told
    found = tables(archive)
    archive.archive()
    refresh(archive)
    assert not differences(tables(archive), found)
    archive.restore()
    assert live(archive) == told
    fall_behind(archive)
    refresh(archive)
    assert not differences(tables(archive), found)
    warehouse.check_stored(archive.root)
    assert told
    assert all(told)
