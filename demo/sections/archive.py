"""Old messages of one tenant moved into the archive, found and read there; all undone at the end."""

from __future__ import annotations

from demo.page import Page, Row
from demo.sections.search import show_hits

ADD_POLICY = "SELECT guestcomms.add_archive_policy('half a year', older_than => '6 months');"
# A policy's first run makes a dictionary, which takes too long for a page; this one does without.
SKIP_DICTIONARY = """
    UPDATE guestcomms.archive_policies SET trained_at = now() WHERE tenant_id = %(tenant_id)s RETURNING name"""
RUN = """
SELECT message_count, event_count, segment_count
FROM guestcomms.run_archive(max_rows => 1000);"""
# Rows as they lie in the tables, indexes left out on both sides.
HOT_BYTES = """
    SELECT (SELECT sum(pg_column_size(m.*)) FROM guestcomms.messages AS m WHERE m.tenant_id = %(tenant_id)s)
        + (SELECT sum(pg_column_size(e.*)) FROM guestcomms.message_events AS e WHERE e.tenant_id = %(tenant_id)s) AS bytes"""
ARCHIVED_BYTES = """
    SELECT sum(pg_column_size(s.*)) AS bytes, max(s.last_sent_at)::date + 1 AS day
    FROM guestcomms.archive_segments AS s WHERE s.tenant_id = %(tenant_id)s"""
SEARCH = """
SELECT * FROM guestcomms.search_messages('menu végétarien', until => '{day}',
    direction => 'outbound', max_rows => 100)
WHERE is_archived LIMIT 1;"""
READ = """
SELECT sent_at, status, jsonb_array_length(events) AS events
FROM guestcomms.read_archived('{message_id}');"""
VERIFY = "SELECT is_ok, count(*) AS segments FROM guestcomms.verify_archive() GROUP BY is_ok;"


def show(page: Page) -> None:
    """What leaves the hot tables, what it takes in the archive, and that it can be found, read and checked there."""
    tenant = page.tenant("fr")
    asked = {"tenant_id": tenant["tenant_id"]}
    page.heading(
        "Archive", f"{tenant['name']} moves messages of more than half a year ago into compressed segments, each of one guest."
    )
    with page.as_tenant(tenant["tenant_id"]):
        page.sql(ADD_POLICY)
        page.query(ADD_POLICY)
        page.query(SKIP_DICTIONARY, asked)
        before = page.query(HOT_BYTES, asked)[0]["bytes"]
        moved = page.ask(RUN)[0]
        freed = before - page.query(HOT_BYTES, asked)[0]["bytes"]
        archive = page.query(ARCHIVED_BYTES, asked)[0]
        page.line(f"  {moved['message_count']:,} messages and {moved['event_count']:,} events took {freed / 1024:,.0f} kB "
                  f"in rows; their {moved['segment_count']:,} segments take {archive['bytes'] / 1024:,.0f} kB.")  # fmt: skip
        page.line()
        hits = page.ask(SEARCH.format(day=archive["day"]))
        show_hits(page, tenant, hits)
        for hit in hits:
            page.line()
            show_message(page, page.ask(READ.format(message_id=hit["message_id"]))[0])
        page.line()
        for row in page.ask(VERIFY):
            page.line(f"  {row['segments']:,} segments read: checksums {'right' if row['is_ok'] else page.style('wrong', 'hit')}")


def show_message(page: Page, message: Row) -> None:
    """What was read out of a segment, in short."""
    page.line(f"  {message['sent_at']:%d %b %Y}, {message['status']}, with {message['events']} events")
