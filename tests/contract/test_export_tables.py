"""What a guest's export has: every table whose rows are of a guest or a message, or it is said why not."""

from __future__ import annotations

from tests.support.database import Database
from tests.support.queries import column

OF_GUESTS = """
    SELECT DISTINCT c.relname FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname IN ('guest_id', 'message_id') AND NOT a.attisdropped
    WHERE c.relnamespace = 'guestcomms'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relname NOT LIKE '%\\_template' ORDER BY 1
"""
# By what export_left_out() says of them.
LEFT_OUT = {
    "records of how the business works": {"message_deletions", "send_attempts", "guest_merges", "legal_holds"},
    "identifiers that stand in messages, too": {"message_keys"},
    "computed from what is there": {"archive_segments", "search_alerts", "name_statistics"},
    "what staff looked for": {"search_clicks"},
    "not taken in yet": {"import_messages"},
    "exports and erasures themselves": {"exports", "erasures"},
}


def test_every_table_of_a_guest_is_exported_or_named(db: Database) -> None:
    connection = db.connect()
    exported = set(column(connection, "SELECT table_name FROM guestcomms_internal.export_tables()"))
    found = set(column(connection, OF_GUESTS))
    left_out = set().union(*LEFT_OUT.values())
    assert found - exported - left_out == set()
    assert left_out & exported == set()
