"""How queries are carried out: of the facts the months that are asked for, by the index where it has all; nothing is written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support import warehouse
from tests.support.database import Connection
from tests.support.queries import one, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record_all

MONTHS = 4


@pytest.fixture(scope="module")
def analyst(store: Store) -> Connection:
    """A member of A, whose messages lie in several months."""
    root, app = store.connect(), store.connect("app_login", store.tenant_a)
    guest = add_guest(app)
    sent = [(now() - timedelta(days=day)).isoformat() for day in range(30 * MONTHS)]
    for _ in range(5):
        record_all(app, [message(guest, sent_at=at) for at in sent])
    warehouse.refresh_all(root)
    root.execute("VACUUM ANALYZE guestcomms_bi.fact_message")
    root.execute("VACUUM ANALYZE guestcomms_bi.agg_message_day")
    operator = store.connect("operator_login", store.tenant_a)
    operator.execute("SELECT guestcomms.add_member('analyst_login')")
    analyst = store.connect("analyst_login")
    # A test's months are a page or two, which nobody reads by an index.
    analyst.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    return analyst


def scans(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes that read a relation."""
    below = [scan for child in node.get("Plans", []) for scan in scans(child)]
    return below + ([node] if "Relation Name" in node else [])


def plan(connection: Connection, query: str, *parameters: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one(connection, f"EXPLAIN (FORMAT JSON) {query}".encode(), *parameters)
    return scans(found[0]["Plan"])


def month_before_last() -> tuple[datetime, datetime]:
    first = now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    until = (first - timedelta(days=1)).replace(day=1)
    return (until - timedelta(days=1)).replace(day=1), until


def test_a_month_of_facts_is_read_from_its_partition_and_by_index_alone(analyst: Connection) -> None:
    since, until = month_before_last()
    query = """SELECT date_trunc('hour', sent_at), count(*) FROM guestcomms_bi.fact_message
        WHERE sent_at >= %s AND sent_at < %s GROUP BY 1"""
    read = plan(analyst, query, since, until)
    assert [scan["Node Type"] for scan in read] == ["Index Only Scan"]
    assert f"{since:%Y_%m}" in read[0]["Relation Name"] or f"{since:%Y%m}01" in read[0]["Relation Name"]
    assert len(rows(analyst, query.encode(), since, until)) > 0


@pytest.mark.parametrize(
    "query",
    [
        "get_message_statistics()",
        "get_response_times()",
        "get_campaign_performance()",
        "get_guest_engagement()",
        "get_live_statistics()",
        "get_warehouse_status()",
    ],
)
def test_what_applications_ask_writes_nothing(analyst: Connection, store: Store, query: str) -> None:
    """Also with changes unread: on a replica nothing could be written."""
    app = store.connect("app_login", store.tenant_a)
    record_all(app, [message(add_guest(app), sent_at=now().isoformat())])
    with app.transaction():
        app.execute("SET TRANSACTION READ ONLY")
        assert rows(app, f"SELECT * FROM guestcomms.{query}".encode()) is not None
        assert one(app, "SELECT pg_current_xact_id_if_assigned()") is None
