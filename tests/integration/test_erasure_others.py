"""Erasing one of a thousand guests rewrites nothing of another, and the numbers of the warehouse stay as they were."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.support.archive import Archive
from tests.support.erasure import erase, finish, progress
from tests.support.queries import Row, column, one, rows
from tests.support.store import Store

GUESTS = 1000
EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "6"))
FILL = """
    WITH guest AS (
        INSERT INTO guestcomms.guests (tenant_id, display_name)
        SELECT %(tenant)s, 'Guest ' || n FROM generate_series(1, %(guests)s) AS n RETURNING guest_id
    ), address AS (
        INSERT INTO guestcomms.guest_addresses (tenant_id, channel, address, guest_id)
        SELECT %(tenant)s, 'email', guest_id || '@example.com', guest_id FROM guest
    ), thread AS (
        INSERT INTO guestcomms.threads (tenant_id, guest_id) SELECT %(tenant)s, guest_id FROM guest RETURNING guest_id, thread_id
    )
    INSERT INTO guestcomms.messages
        (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language, body)
    SELECT %(tenant)s, guestcomms.uuid_v7(s.at), s.at, t.thread_id, t.guest_id, s.direction, 'email', 'sent', 'en',
        'seating and menu ' || right(t.guest_id::text, 3)
    FROM thread AS t
    CROSS JOIN LATERAL (VALUES
        (date_trunc('milliseconds', now() - interval '300 days' - random() * interval '1 day'), 'inbound'),
        (date_trunc('milliseconds', now() - interval '298 days' - random() * interval '1 day'), 'outbound'),
        (date_trunc('milliseconds', now() - interval '20 days' - random() * interval '1 day'), 'inbound')) AS s (at, direction)"""
# Tables whose rows are of one guest each; of other tables those that are of nobody.
OF_GUESTS = {
    "guestcomms.guests": "guest_id",
    "guestcomms.guest_addresses": "guest_id",
    "guestcomms.threads": "guest_id",
    "guestcomms.messages": "guest_id",
    "guestcomms.archive_segments": "guest_id",
    "guestcomms_bi.dim_guest": "guest_id",
    "guestcomms_bi.fact_message": "guest_id",
}
NUMBERS = """
    SELECT sum(message_count), sum(sent_count), sum(delivered_count), sum(opened_count), sum(clicked_count), sum(replied_count),
        sum(failed_count), sum(response_count), sum(response_seconds)
    FROM guestcomms_bi.agg_message_quarter_hour WHERE tenant_id = %s"""
DAYS = """
    SELECT date_key, channel_key, direction, message_count, opened_count, replied_count
    FROM guestcomms_bi.agg_message_day WHERE tenant_id = %s ORDER BY 1, 2, 3"""
EVENTS = "SELECT kind, sum(event_count) FROM guestcomms_bi.agg_event_quarter_hour WHERE tenant_id = %s GROUP BY 1 ORDER BY 1"


def load(archive: Archive) -> None:
    while one(archive.root, "SELECT guestcomms.refresh_warehouse(time_budget => '1 hour')"):
        pass
    while one(archive.root, "SELECT guestcomms.refresh_term_statistics(max_rows => 1000000)"):
        pass


@pytest.fixture
def archive(store: Store) -> Iterator[Archive]:
    with Archive(store) as archive:
        archive.policy(older_than="100 days")
        yield archive


def rows_of_others(archive: Archive, guest: UUID) -> dict[str, list[Row]]:
    """Where each row is, who wrote it last, and what is in it."""
    found = {}
    for table, key in OF_GUESTS.items():
        query = (
            f"SELECT t.tableoid::regclass::text, t.ctid::text, t.xmin::text, md5(t::text) FROM {table} AS t"
            f" WHERE tenant_id = %s AND {key} <> %s AND {key} <> %s ORDER BY 1, 2"
        )
        found[table] = rows(archive.root, query.encode(), archive.tenant, guest, UUID(int=0))
    return found


def test_nothing_of_another_guest_is_rewritten(archive: Archive) -> None:
    archive.root.execute(FILL, {"tenant": archive.tenant, "guests": GUESTS})
    while one(archive.root, "SELECT segment_count FROM guestcomms.run_archive(10000)"):
        pass
    assert len(archive.archived()) == 2 * GUESTS
    load(archive)
    chosen = column(
        archive.root,
        "SELECT guest_id FROM guestcomms.guests WHERE tenant_id = %s ORDER BY guest_id LIMIT 1 OFFSET 500",
        archive.tenant,
    )
    before = rows_of_others(archive, chosen[0])
    assert len(before["guestcomms.archive_segments"]) == len(before["guestcomms.guests"]) == GUESTS - 1
    assert progress(archive.root, erase(archive.root, chosen[0]))["status"] == "done"
    load(archive)
    assert rows_of_others(archive, chosen[0]) == before


def numbers(archive: Archive) -> list[Any]:
    load(archive)
    return [rows(archive.root, query.encode(), archive.tenant) for query in (NUMBERS, DAYS, EVENTS)] + [
        rows(archive.root, "SELECT count(*) FROM guestcomms_bi.fact_message WHERE tenant_id = %s", archive.tenant)
    ]


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_numbers_stay_whatever_is_erased_and_how(archive: Archive, seed: int) -> None:
    """Guests with made-up conversations, some archived; erased in any mode, at once or in steps, with what is unread or not."""
    chosen = random.Random(seed)
    guests = [archive.guest(f"Guest {n}") for n in range(4)]
    threads = {guest: [archive.thread(guest) for _ in range(2)] for guest in guests}
    for _ in range(60):
        guest = chosen.choice(guests)
        message = archive.write(
            guest, chosen.choice(threads[guest]), chosen.choice([300, 200, 90, 30, 3]) + chosen.random(),
            direction=chosen.choice(["inbound", "outbound"]), status="sent", channel=chosen.choice(["email", "whatsapp"]),
            body=" ".join(chosen.choices(["menu", "seating", "flowers", "music"], k=3)),
        )  # fmt: skip
        for kind in chosen.sample(["delivered", "opened", "clicked", "failed"], chosen.randrange(3)):
            archive.event(message, kind)
    if chosen.random() < 0.7:
        archive.archive()
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_at_once', %s)", [chosen.choice(["0", "500"])])
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_batch_messages', %s)", [chosen.choice(["3", "500"])])
    archive.root.execute("SELECT guestcomms.set_setting('privacy.erase_both_sides', %s)", [chosen.choice(["true", "false"])])
    before = numbers(archive)
    if chosen.random() < 0.5:
        archive.archive()
    gone = chosen.sample(guests, 2)
    erasures = [erase(archive.root, guest, chosen.choice(["erase", "anonymize"])) for guest in gone]
    finish(archive.root)
    assert {progress(archive.root, each)["status"] for each in erasures} == {"done"}
    assert numbers(archive) == before
    keys = "SELECT count(*) FROM guestcomms_bi.fact_message WHERE guest_id = ANY (%s)"
    assert one(archive.root, keys, gone) == 0
    # What follows the change log from its beginning and what was taken off at once come to the same.
    stems = "SELECT term, message_count FROM guestcomms.term_statistics WHERE tenant_id = %s ORDER BY 1"
    words = "SELECT term, message_count FROM guestcomms.vocabulary WHERE tenant_id = %s ORDER BY 1"
    total = "SELECT message_count, word_count FROM guestcomms.search_statistics WHERE tenant_id = %s"
    followed = [rows(archive.root, query.encode(), archive.tenant) for query in (stems, words, total)]
    one(archive.root, "SELECT guestcomms.refresh_term_statistics(is_recount => true)")
    load(archive)
    assert [rows(archive.root, query.encode(), archive.tenant) for query in (stems, words, total)] == followed
