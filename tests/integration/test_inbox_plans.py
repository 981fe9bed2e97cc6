"""What the inbox reads: every statement within its functions goes by an index, and no call reads more where there is more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import one, rows
from tests.support.store import Store

# Threads of one message from the guest, every other with an answer, every tenth put aside, of several weddings and staff.
LOAD = """
WITH guest AS (
    INSERT INTO guestcomms.guests (tenant_id, display_name)
    SELECT %(tenant)s, 'G ' || n FROM generate_series(1, %(count)s / 4) AS n
    RETURNING guest_id
), numbered AS (
    SELECT guest_id, row_number() OVER () AS n FROM guest
), wedding AS (
    INSERT INTO guestcomms.weddings (tenant_id, name) SELECT %(tenant)s, 'W ' || n FROM generate_series(1, %(count)s / 100) AS n
    RETURNING wedding_id
), weddings AS (
    SELECT wedding_id, row_number() OVER () AS n FROM wedding
), thread AS (
    INSERT INTO guestcomms.threads (tenant_id, guest_id, wedding_id, subject, status, assigned_to, snoozed_until)
    SELECT %(tenant)s, g.guest_id, w.wedding_id, 'S ' || t, (ARRAY['open', 'open', 'waiting', 'closed'])[1 + t %% 4],
        CASE WHEN t %% 7 > 1 THEN 'staff ' || t %% 5 END,
        CASE WHEN t %% 10 = 0 AND t %% 4 < 3 THEN now() + interval '1 day' END
    FROM generate_series(1, %(count)s) AS t
    JOIN numbered AS g ON g.n = 1 + t %% (%(count)s / 4)
    LEFT JOIN weddings AS w ON w.n = t %% (%(count)s / 80)
    RETURNING thread_id, guest_id
)
INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, body, read_at)
SELECT %(tenant)s, guestcomms.uuid_v7(at.sent_at), at.sent_at, t.thread_id, t.guest_id, d.direction,
    (ARRAY['email', 'sms', 'whatsapp', 'chat'])[1 + t.n %% 4], 'sent', 'hello', CASE WHEN t.n %% 3 = 0 THEN now() END
FROM (SELECT *, row_number() OVER () AS n FROM thread) AS t
CROSS JOIN (VALUES ('inbound', 0), ('outbound', 1)) AS d (direction, place)
CROSS JOIN LATERAL (SELECT now() - make_interval(mins => t.n::integer * 3 + 1 - d.place) AS sent_at) AS at
WHERE d.place = 0 OR t.n %% 2 = 0
"""
COUNT = 4_000
TABLES = r"(threads|guests|weddings|messages_p\w+|messages_default|attachments|message_keys|archive_segments\w*)"
LISTS = [
    "status => 'active'",
    "status => 'closed', sort => 'oldest'",
    "status => 'snoozed', sort => 'oldest'",
    "status => 'all', sort => 'unread', max_rows => 200",
    "sort => 'waiting'",
    "sort => 'unread'",
    "channel => 'sms'",
    "is_unread => true",
    "assigned_to => 'staff 1'",
    "assigned_to => 'staff 1', sort => 'waiting'",
    "is_unassigned => true, is_unread => true",
    "wedding_id => %(wedding)s",
    "wedding_id => %(wedding)s, sort => 'waiting'",
    "wedding_id => %(wedding)s, assigned_to => 'staff 2', sort => 'unread'",
    "guest_id => %(guest)s",
    "assigned_to => 'nobody of that name'",
    "after => %(cursor)s",
]
CALLS = [
    *(f"SELECT * FROM guestcomms.list_threads({filters})" for filters in LISTS),
    "SELECT * FROM guestcomms.get_inbox_counts()",
    "SELECT * FROM guestcomms.get_inbox_counts('staff 1')",
    "SELECT * FROM guestcomms.get_inbox_counts(wedding_id => %(wedding)s)",
    "SELECT * FROM guestcomms.get_thread(%(thread)s)",
    "SELECT * FROM guestcomms.get_thread(%(thread)s, sort => 'oldest', include_archived => true)",
    "SELECT guestcomms.mark_read(%(thread)s)",
    "SELECT guestcomms.mark_unread(%(thread)s)",
    "SELECT guestcomms.mark_unread(message_ids => ARRAY[%(message)s]::uuid[])",
    "SELECT guestcomms.mark_read(message_ids => ARRAY[%(message)s]::uuid[])",
    "SELECT guestcomms.set_thread_status(%(thread)s, 'closed')",
    "SELECT guestcomms.record_message(%(guest)s, 'inbound', 'sms', 'hello', thread_id => %(thread)s)",
    "SELECT guestcomms.record_message(%(guest)s, 'outbound', 'sms', 'hi', thread_id => %(thread)s,"
    " sent_at => now() - interval '20 days')",
    "SELECT guestcomms.snooze_thread(%(thread)s, now() + interval '1 day')",
    "SELECT guestcomms.assign_thread(%(thread)s, 'staff 1')",
]


@pytest.fixture(scope="module")
def large(store: Store) -> Store:
    root = store.connect()
    root.execute(
        f"""
        ALTER DATABASE {store.database.name} SET session_preload_libraries = 'auto_explain';
        ALTER DATABASE {store.database.name} SET auto_explain.log_min_duration = 0;
        ALTER DATABASE {store.database.name} SET auto_explain.log_nested_statements = on;
        """.encode()
    )
    for tenant in (store.tenant_a, store.tenant_b):
        root.execute(LOAD, {"tenant": tenant, "count": COUNT})
    root.execute("VACUUM ANALYZE")
    return store


@pytest.fixture
def app(large: Store) -> Iterator[Connection]:
    with large.connect("app_login", large.tenant_a) as app:
        yield app


def names(large: Store) -> dict[str, Any]:
    root = large.connect()
    query = "SELECT thread_id, guest_id, last_message_id FROM guestcomms.threads WHERE tenant_id = %s AND status = 'open' LIMIT 1"
    ((thread, guest, message),) = rows(root, query, large.tenant_a)
    wedding: UUID = one(root, "SELECT wedding_id FROM guestcomms.weddings WHERE tenant_id = %s LIMIT 1", large.tenant_a)
    with large.connect("app_login", large.tenant_a) as app:
        cursor = rows(app, "SELECT cursor FROM guestcomms.list_threads(max_rows => 200)")[-1][0]
    return {"thread": thread, "guest": guest, "message": message, "wedding": wedding, "cursor": cursor}


@pytest.mark.parametrize("call", CALLS)
def test_every_statement_goes_by_an_index(large: Store, app: Connection, call: str) -> None:
    parameters = names(large)
    found: list[str] = []
    app.execute("SET client_min_messages = 'log'")
    app.add_notice_handler(lambda notice: found.append(notice.message_primary or ""))
    with app.transaction(force_rollback=True):
        app.execute(call.encode(), parameters)
    plans = "\n".join(found)
    assert re.search(r"Index (Only )?Scan", plans)
    # Of the few partitions and of what holds a few rows the planner has no other way than to say so.
    assert not re.findall(rf"(?:Seq|Bitmap Heap) Scan on {TABLES} .*", plans)


def pages(app: Connection, call: str, parameters: dict[str, Any]) -> int:
    """Buffers of a call, once plans and catalogs are warm."""
    explain = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + call.encode()
    for _ in range(3):
        (plan,) = app.execute(explain, parameters).fetchone() or ([],)
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


def test_a_page_reads_as_little_among_many_threads_as_among_few(large: Store) -> None:
    root = large.connect()
    small: UUID = one(root, "SELECT guestcomms.add_tenant('Small')")
    root.execute("SELECT guestcomms.use_tenant(%s, true)", [small])
    root.execute("SELECT guestcomms.add_member('app_login')")
    root.execute(LOAD, {"tenant": small, "count": COUNT // 10})
    root.execute("VACUUM ANALYZE")
    read = {}
    for tenant in (small, large.tenant_a):
        app = large.connect("app_login", tenant)
        wedding = one(root, "SELECT wedding_id FROM guestcomms.weddings WHERE tenant_id = %s LIMIT 1", tenant)
        lists = [filters for filters in LISTS if "cursor" not in filters and "guest" not in filters]
        read[tenant] = {
            filters: pages(app, f"SELECT * FROM guestcomms.list_threads({filters})", {"wedding": wedding}) for filters in lists
        }
    # Ten times the threads: a level more in some indexes, and of small lists all of what a page holds.
    wrong = {
        filters: (count, read[small][filters])
        for filters, count in read[large.tenant_a].items()
        if count > 1.5 * read[small][filters] + 150
    }
    assert wrong == {}
