"""What a search reads: the index of the search column, and no more pages than a bound."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.database import Connection
from tests.support.queries import one
from tests.support.store import Store

BODIES = (
    "the seating plan for table {n} beside the window",
    "our florist asks about roses and ribbon number {n}",
    "the menu is vegetarian with dessert number {n}",
    "shuttle leaves at {n} past the hour",
)
SEARCH = "SELECT message_id FROM guestcomms.search_messages(%s)"


def load(connection: Connection, tenant: Any, count: int, months_ago: int, extra: str = "") -> None:
    """Rows spread over one month, as an operator loads them."""
    connection.execute(
        """
        WITH guest AS (INSERT INTO guestcomms.guests (tenant_id) VALUES (%(tenant)s) RETURNING guest_id),
        thread AS (INSERT INTO guestcomms.threads (tenant_id, guest_id) SELECT %(tenant)s, guest_id FROM guest
            RETURNING guest_id, thread_id)
        INSERT INTO guestcomms.messages
            (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language, body)
        SELECT %(tenant)s, guestcomms.uuid_v7(at.sent_at), at.sent_at, t.thread_id, t.guest_id,
            'inbound', 'chat', 'received', 'en', replace((%(bodies)s::text[])[1 + n %% 4], '{n}', n::text) || %(extra)s
        FROM thread AS t, generate_series(1, %(count)s) AS n
        CROSS JOIN LATERAL (
            SELECT date_trunc('month', now()) - make_interval(months => %(months)s) + n * interval '1 minute' AS sent_at
        ) AS at
        """,
        {"tenant": tenant, "count": count, "months": months_ago, "extra": extra, "bodies": list(BODIES)},
    )


@pytest.fixture(scope="module")
def loaded(store: Store) -> Store:
    connection = store.database.connect()
    connection.execute(
        f"""
        ALTER DATABASE {store.database.name} SET session_preload_libraries = 'auto_explain';
        ALTER DATABASE {store.database.name} SET auto_explain.log_min_duration = 0;
        ALTER DATABASE {store.database.name} SET auto_explain.log_nested_statements = on;
        """
    )
    load(connection, store.tenant_a, 20_000, 1)
    load(connection, store.tenant_b, 20_000, 1, " hippopotamus")
    connection.execute("VACUUM ANALYZE")
    return store


def plans(store: Store, query: str) -> list[str]:
    """The plans of the statements within a search, as the application's role runs it."""
    app = store.connect("app_login", store.tenant_a)
    found: list[str] = []
    app.execute("SET client_min_messages = 'log'")
    app.add_notice_handler(lambda notice: found.append(notice.message_primary or ""))
    app.execute(SEARCH, [query])
    return found


def pages_read(app: Connection, query: str) -> int:
    """Buffers of a search, once plans and catalogs are warm."""
    for _ in range(3):
        plan = one(app, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + SEARCH, query)
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("query", ["vegetarian dessert", "hippopotamus"])
def test_the_index_is_used_within_the_function(loaded: Store, query: str) -> None:
    windows = [plan for plan in plans(loaded, query) if "search @@" in plan]
    assert windows
    assert any(re.search(r"Bitmap Index Scan on messages_p\w+_tenant_id_search_idx", plan) for plan in windows)
    assert not any(re.search(r"Seq Scan on messages_p\w+ ", plan) and "rows=20000" in plan for plan in windows)


def test_pages_read_are_bounded(loaded: Store) -> None:
    connection = loaded.database.connect()
    app = loaded.connect("app_login", loaded.tenant_a)
    heap = one(connection, "SELECT sum(relpages) FROM pg_class WHERE relname ~ '^messages_p' AND relkind = 'r'")
    common = pages_read(app, "vegetarian")
    # Above a word that nobody uses, which costs only the planning.
    assert pages_read(app, "hippopotamus") - pages_read(app, "zzzzqq") < heap / 8
    for months_ago in (2, 3, 4, 5):
        load(connection, loaded.tenant_a, 20_000, months_ago)
        load(connection, loaded.tenant_b, 20_000, months_ago, " hippopotamus")
    connection.execute("VACUUM ANALYZE")
    # Five times the tenant: a common word is found among the newest, an absent one in the indexes alone.
    assert pages_read(app, "vegetarian") < 1.3 * common
    assert pages_read(app, "hippopotamus") - pages_read(app, "zzzzqq") < heap / 8
