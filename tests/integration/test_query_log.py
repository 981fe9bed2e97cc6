"""The query log: what was searched for, found and opened, where a tenant keeps one, and what is told about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection
from tests.support.queries import one, refused, rows
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "60"))
RECORD = "SELECT guestcomms.record_search(%s, %s, %s)"
CLICK = "SELECT guestcomms.record_search_click(%s::uuid, %s::uuid, %s::integer)"
QUALITY = "SELECT * FROM guestcomms.get_search_quality(%s, %s)"
ZERO = "SELECT query, search_count FROM guestcomms.list_zero_result_queries()"
COUNT = "SELECT count(*) FROM guestcomms.search_queries"
# A search of another time, as record_search() would have noted it then.
INSERT = """
INSERT INTO guestcomms.search_queries (tenant_id, query_id, query, result_count, searched_at)
VALUES (%s, guestcomms.uuid_v7(%s), %s, %s, %s) RETURNING query_id
"""
TRIM = "SELECT guestcomms_internal.trim_query_log(%s)"


def set_setting(store: Store, name: str, value: str | None, tenant: UUID | None = None) -> None:
    with store.connect("operator_login", tenant or store.tenant_a) as operator:
        operator.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    set_setting(store, "query_log.is_enabled", "true")
    return store.connect()


@pytest.fixture(scope="module")
def app(store: Store, root: Connection) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def other(store: Store, root: Connection) -> Connection:
    return store.connect("other_app_login", store.tenant_b)


@pytest.fixture(autouse=True)
def clean(store: Store, root: Connection) -> Iterator[None]:
    root.execute("DELETE FROM guestcomms.search_queries")
    yield
    for name in ("keep", "keep_text"):
        set_setting(store, f"query_log.{name}", None)


def add(root: Connection, tenant: UUID, ago: timedelta, query: str | None = "menu", result_count: int = 0) -> UUID:
    at = datetime.now(UTC) - ago
    query_id: UUID = one(root, INSERT, tenant, at, query, result_count, at)
    return query_id


# Recording


def test_off_unless_a_tenant_wants_it(store: Store, root: Connection, app: Connection, other: Connection) -> None:
    assert one(other, RECORD, "menu", 3, "all words") is None
    assert one(root, COUNT) == 0
    assert isinstance(one(app, RECORD, "menu", 3, "all words"), UUID)
    set_setting(store, "query_log.is_enabled", "true", store.tenant_b)
    assert one(other, RECORD, "menu", 3, "all words") is not None
    set_setting(store, "query_log.is_enabled", None, store.tenant_b)
    assert one(other, RECORD, "menu", 3, "all words") is None
    assert Counter(row[0] for row in rows(root, "SELECT tenant_id FROM guestcomms.search_queries")) == {
        store.tenant_a: 1,
        store.tenant_b: 1,
    }


@pytest.mark.parametrize(
    ("query", "result_count", "search_stage", "noted"),
    [
        ("menu", 3, "all words", ("menu", 3, "all words")),
        ("  Menu  of ", 0, None, ("Menu  of", 0, None)),
        ("x" * 1500, 1, "any word", ("x" * 1000, 1, "any word")),
        ("é" * 1001, 1, "expanded", ("é" * 1000, 1, "expanded")),
        ("", 20, "filters", ("", 20, "filters")),
        (None, 20, "corrected words", (None, 20, "corrected words")),
        ("menu", 2**31 - 1, "a stage of another version", ("menu", 2**31 - 1, None)),
    ],
)
def test_what_is_noted(
    root: Connection, app: Connection, query: str | None, result_count: int, search_stage: str | None, noted: tuple[Any, ...]
) -> None:
    query_id = one(app, RECORD, query, result_count, search_stage)
    assert rows(root, "SELECT query_id, query, result_count, stage FROM guestcomms.search_queries") == [(query_id, *noted)]
    agrees = "SELECT date_trunc('milliseconds', searched_at) = guestcomms.uuid_v7_time(query_id) FROM guestcomms.search_queries"
    assert one(root, agrees)


def test_bad_input(root: Connection, app: Connection) -> None:
    for result_count in (-1, None):
        with refused("22023"):
            app.execute("SELECT guestcomms.record_search('menu', %s::integer)", [result_count])
    query_id = one(app, RECORD, "menu", 3, None)
    for message_id, place in ((None, 1), (uuid4(), 0), (uuid4(), -1), (uuid4(), None)):
        with refused("22023"):
            app.execute(CLICK, [query_id, message_id, place])
    for max_rows in (0, 201, None):
        with refused("22023"):
            app.execute("SELECT * FROM guestcomms.list_zero_result_queries(max_rows => %s::integer)", [max_rows])
    assert one(root, COUNT) == 1
    assert one(root, "SELECT count(*) FROM guestcomms.search_clicks") == 0


def test_clicks(root: Connection, app: Connection) -> None:
    query_id, first, second = one(app, RECORD, "menu", 30, "all words"), uuid4(), uuid4()
    assert [one(app, CLICK, query_id, first, 4) for _ in range(2)] == [True, False]
    assert one(app, CLICK, query_id, first, 2) is False
    assert one(app, CLICK, query_id, second, 3) is True
    assert set(rows(root, "SELECT message_id, place FROM guestcomms.search_clicks")) == {(first, 4), (second, 3)}
    assert rows(app, QUALITY, None, None) == [(1, 0, 1, 0, 1, pytest.approx(1 / 3))]
    for unknown in (None, uuid4()):
        assert one(app, CLICK, unknown, first, 1) is False
    root.execute("DELETE FROM guestcomms.search_queries")
    assert one(app, CLICK, query_id, first, 1) is False
    assert one(root, "SELECT count(*) FROM guestcomms.search_clicks") == 0


def test_another_tenants_search(store: Store, root: Connection, app: Connection, other: Connection) -> None:
    own = one(app, RECORD, "menu", 0, None)
    foreign = add(root, store.tenant_b, timedelta(0), "walrus", 0)
    assert one(app, CLICK, foreign, uuid4(), 1) is False
    assert one(other, CLICK, own, uuid4(), 1) is False
    assert one(other, CLICK, foreign, uuid4(), 1) is True
    assert rows(app, ZERO) == [("menu", 1)]
    assert rows(other, ZERO) == [("walrus", 1)]
    assert rows(app, QUALITY, None, None)[0][:3] == (1, 1, 0)


# What is told

CLICKS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50)), max_size=4)
SEARCHES = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 5, 200]), st.integers(0, 60), CLICKS, st.sampled_from(["menu", "Menu", "rose", None])),
    max_size=12,
)


@settings(deadline=None, max_examples=EXAMPLES)
@given(searches=SEARCHES, since=st.none() | st.integers(0, 60), until=st.none() | st.integers(0, 60))
def test_quality_and_misses_are_what_a_recount_gives(
    store: Store, root: Connection, app: Connection, searches: list[Any], since: int | None, until: int | None
) -> None:
    root.execute("DELETE FROM guestcomms.search_queries")
    for foreign in range(3):
        add(root, store.tenant_b, timedelta(days=foreign), "menu", foreign)
    now = datetime.now(UTC)
    messages = [uuid4() for _ in range(4)]
    bounds = [None if days is None else now - timedelta(days=days, hours=12) for days in (since, until)]
    # Nothing is of exactly that age.
    first = bounds[0] or now - timedelta(days=29, hours=12)
    noted: list[tuple[int, int | None]] = []
    missed: Counter[str] = Counter()
    for result_count, days, clicks, query in searches:
        at = now - timedelta(days=days)
        query_id = one(root, INSERT, store.tenant_a, at, query, result_count, at)
        places: dict[int, int] = {}
        for which, place in clicks:
            assert one(app, CLICK, query_id, messages[which], place) is (which not in places)
            places.setdefault(which, place)
        if at >= first:
            if bounds[1] is None or at < bounds[1]:
                noted.append((result_count, min(places.values(), default=None)))
            if query and not result_count:
                missed[query.lower()] += 1
    found = [place for result_count, place in noted if result_count]
    opened = [place for place in found if place]
    ((*counts, zero_share, click_through, rank),) = rows(app, QUALITY, *bounds)
    assert counts == [len(noted), len(noted) - len(found), len(opened)]
    assert zero_share == (pytest.approx((len(noted) - len(found)) / len(noted)) if noted else None)
    assert click_through == (pytest.approx(len(opened) / len(found)) if found else None)
    assert rank == (pytest.approx(sum(1 / place for place in opened) / len(found)) if found else None)
    listed = rows(app, "SELECT query, search_count FROM guestcomms.list_zero_result_queries(since => %s)", bounds[0])
    assert dict(listed) == missed
    assert [row[1] for row in listed] == sorted(missed.values(), reverse=True)


def test_the_last_thirty_days_unless_said(store: Store, root: Connection, app: Connection) -> None:
    for days in (29, 31):
        add(root, store.tenant_a, timedelta(days=days))
    assert one(app, "SELECT search_count FROM guestcomms.get_search_quality()") == 1
    assert one(app, "SELECT search_count FROM guestcomms.get_search_quality(NULL)") == 1
    assert one(app, "SELECT search_count FROM guestcomms.get_search_quality('-infinity')") == 2
    assert rows(app, ZERO) == [("menu", 1)]


def test_misses(store: Store, root: Connection, app: Connection) -> None:
    for days, query in ((1, "rose"), (2, "Rose"), (3, "ROSE"), (1, "tulip"), (2, "tulip"), (0, "late"), (1, "early")):
        add(root, store.tenant_a, timedelta(days=days), query)
    add(root, store.tenant_a, timedelta(0), "found", 1)
    listed = rows(app, "SELECT query, search_count, correction FROM guestcomms.list_zero_result_queries()")
    assert listed == [("rose", 3, None), ("tulip", 2, None), ("late", 1, None), ("early", 1, None)]
    newest = one(root, "SELECT max(searched_at) FROM guestcomms.search_queries WHERE lower(query) = 'rose'")
    assert rows(app, "SELECT query, last_searched_at FROM guestcomms.list_zero_result_queries(max_rows => 1)") == [
        ("rose", newest)
    ]


def test_who_may_ask(store: Store, root: Connection, app: Connection) -> None:
    with store.connect("operator_login", store.tenant_a) as operator:
        operator.execute("SELECT guestcomms.add_member('analyst_login')")
    analyst = store.connect("analyst_login", store.tenant_a)
    one(app, RECORD, "menu", 0, None)
    assert rows(analyst, QUALITY, None, None)[0][:2] == (1, 1)
    for call in ("list_zero_result_queries()", "record_search('menu', 1)", "record_search_click(NULL, gen_random_uuid(), 1)"):
        with refused("42501"):
            analyst.execute(f"SELECT guestcomms.{call}".encode())
    with store.connect("app_login") as without, refused("GC001"):
        rows(without, QUALITY, None, None)


# Keeping


def test_texts_leave_first_and_then_the_searches(store: Store, root: Connection, app: Connection) -> None:
    days = (1, 29, 31, 399, 401)
    ids = {number: add(root, store.tenant_a, timedelta(days=number), f"query {number}") for number in days}
    one(app, CLICK, ids[401], uuid4(), 1)
    one(app, CLICK, ids[31], uuid4(), 1)
    kept = "SELECT query_id, query FROM guestcomms.search_queries ORDER BY query_id DESC"
    assert [one(root, TRIM, 100) for _ in range(2)] == [3, 0]
    assert rows(root, kept) == [(ids[1], "query 1"), (ids[29], "query 29"), (ids[31], None), (ids[399], None)]
    assert one(root, "SELECT count(*) FROM guestcomms.search_clicks") == 1
    # Counted still, but not listed.
    assert rows(app, QUALITY, "-infinity", None)[0][:2] == (4, 4)
    assert len(rows(app, "SELECT * FROM guestcomms.list_zero_result_queries(since => '-infinity')")) == 2
    set_setting(store, "query_log.keep_text", "12 hours")
    set_setting(store, "query_log.keep", "30 days")
    one(root, TRIM, 100)
    assert rows(root, kept) == [(ids[1], None), (ids[29], None)]


def test_trimming_in_steps_and_by_tenant(store: Store, root: Connection) -> None:
    set_setting(store, "query_log.keep", "2 days")
    for tenant in (store.tenant_a, store.tenant_b):
        for days in range(5):
            add(root, tenant, timedelta(days=days, hours=1), f"query {days}")
    steps = 0
    while one(root, TRIM, 1):
        steps += 1
    assert steps >= 3
    left = rows(root, "SELECT tenant_id, query FROM guestcomms.search_queries")
    of_a = {(store.tenant_a, f"query {days}") for days in range(2)}
    assert set(left) == of_a | {(store.tenant_b, f"query {days}") for days in range(5)}
