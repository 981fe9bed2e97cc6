"""What a claim reads: the index of what is queued, from where it is due; neither what was sent nor what waits for its time."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.outbox import Outbox, open_outbox
from tests.support.queries import one
from tests.support.store import Store

CLAIM = "SELECT * FROM guestcomms.claim_outbound('w', {channel}, 5)"
LOAD = """
    INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language,
        body, scheduled_at)
    SELECT %(tenant)s, guestcomms.uuid_v7(at.sent_at), at.sent_at, t.thread_id, t.guest_id, 'outbound', %(channel)s, %(status)s,
        'en', 'the seating plan', now() + %(due)s * interval '1 minute'
    FROM (SELECT thread_id, guest_id FROM guestcomms.threads WHERE tenant_id = %(tenant)s LIMIT 1) AS t,
        generate_series(1, %(count)s) AS n
    CROSS JOIN LATERAL (SELECT date_trunc('month', now()) - interval '40 days' + n * interval '2 minutes' AS sent_at) AS at
"""


@pytest.fixture
def outbox(store: Store) -> Iterator[Outbox]:
    with open_outbox(store) as outbox:
        outbox.office.thread(outbox.guest())
        yield outbox


def load(outbox: Outbox, count: int, status: str, due: float, channel: str = "email") -> None:
    values = {"tenant": outbox.office.tenant, "count": count, "status": status, "due": due, "channel": channel}
    outbox.root.execute(LOAD, values)


def pages_read(outbox: Outbox, channel: str) -> int:
    """Buffers of a claim of five, once plans and catalogs are warm."""
    query = CLAIM.format(channel=channel).encode()
    for _ in range(3):
        plan = one(outbox.app, b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query)
    assert plan[0]["Plan"]["Actual Rows"] == 5
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("channel", ["'email'", "NULL"])
def test_a_claim_costs_as_much_in_a_full_store(outbox: Outbox, channel: str) -> None:
    load(outbox, 60, "queued", -1)
    before = pages_read(outbox, channel)
    load(outbox, 20_000, "sent", -1)
    load(outbox, 10_000, "queued", 60)
    load(outbox, 10_000, "queued", -1, "chat" if channel != "NULL" else "email")
    # By the plan of the empty store, which lasts until statistics come: some index is walked, but not the messages.
    assert pages_read(outbox, channel) < 2000
    outbox.root.execute("VACUUM ANALYZE")
    assert pages_read(outbox, channel) < 2 * before


@pytest.mark.parametrize("call", ["list_dead_letters()", "list_queued_messages('email')"])
def test_lists_cost_as_much_in_a_full_store(outbox: Outbox, call: str) -> None:
    query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM guestcomms.{call}".encode()

    def pages() -> int:
        for _ in range(3):
            plan = one(outbox.app, query)
        assert plan[0]["Plan"]["Actual Rows"] == 20
        return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])

    for status in ("failed", "queued"):
        load(outbox, 20, status, -1)
    before = pages()
    load(outbox, 20_000, "sent", -1)
    for statement in ("SELECT", "VACUUM ANALYZE"):
        outbox.root.execute(statement.encode())
        assert pages() < 2 * before


def test_the_index_of_what_is_queued_is_used(outbox: Outbox) -> None:
    load(outbox, 5000, "sent", -1)
    load(outbox, 100, "queued", -1)
    for setting in (
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_nested_statements = on",
    ):
        outbox.root.execute(f"ALTER DATABASE {outbox.office.store.database.name} SET {setting}".encode())
    app = outbox.office.connect("app_login")
    found: list[str] = []
    app.add_notice_handler(lambda notice: found.append(notice.message_primary or ""))
    app.execute("SET client_min_messages = 'log'")
    app.execute(CLAIM.format(channel="'email'").encode())
    locking = [plan for plan in found if "LockRows" in plan and "scheduled_at" in plan]
    assert locking
    index = r"Index Scan using messages_p\w+_tenant_id_channel_scheduled_at_message_i\w*_idx"
    assert any(re.search(index, plan) for plan in locking)
    # A scan that the settings of these functions forbid shows when there is no other way.
    scan = r"Seq Scan on (messages|send_attempts|guest_addresses|guests|message_events)"
    assert not any(re.search(scan, plan) for plan in found)
