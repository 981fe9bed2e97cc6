"""Functions that call pg_partman leave the caller's search_path as it was."""

from __future__ import annotations

from tests.support.queries import one, rows
from tests.support.store import Store


def test_making_partitions_leaves_the_search_path(store: Store) -> None:
    connection = store.connect()
    connection.execute("CREATE SCHEMA mine; SET search_path = mine, public")
    made = rows(
        connection,
        "SELECT made_count FROM guestcomms.ensure_partitions(now() - interval '20 months')",
    )
    assert made[0][0] > 0
    assert one(connection, "SHOW search_path") == "mine, public"
