"""Paging through a search: no message twice, none left out, whatever arrives meanwhile."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import Row, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

COUNT = 260
LIMIT = 100  # the least that search.candidate_limit may be
PAGE = (
    "SELECT message_id, cursor, is_truncated, sent_at, score"
    " FROM guestcomms.search_messages('pageable', sort => %s, max_rows => %s, after => %s)"
)


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def guest(app: Connection) -> UUID:
    return add_guest(app)


@pytest.fixture(scope="module")
def messages(app: Connection, guest: UUID) -> list[UUID]:
    """Newest first: over months, five at a time at the same instant, and of several scores."""
    batch = [
        message(
            guest,
            body="pageable " * (1 + n % 4) + "and other words " * (n % 3),
            sent_at=(now() - timedelta(days=n // 5)).replace(microsecond=0).isoformat(),
        )
        for n in range(COUNT)
    ]
    found = record_all(app, batch)
    times = {message_id: element["sent_at"] for message_id, element in zip(found, batch, strict=True)}
    return sorted(found, key=lambda message_id: (times[message_id], message_id), reverse=True)


@pytest.fixture
def limited(store: Store) -> Iterator[None]:
    operator = store.connect("operator_login", store.tenant_a)
    operator.execute("SELECT guestcomms.set_setting('search.candidate_limit', %s)", [str(LIMIT)])
    yield
    operator.execute("SELECT guestcomms.set_setting('search.candidate_limit', NULL)")
    operator.close()


def pages(app: Connection, sort: str, max_rows: int, between: Callable[[], object] = lambda: None) -> list[Row]:
    """All pages, with something happening between any two."""
    found: list[Row] = []
    after = None
    while page := rows(app, PAGE, sort, max_rows, after):
        assert len(page) <= max_rows
        found += page
        after = page[-1][1]
        assert len(found) <= 4 * COUNT, "paging goes round in circles"
        between()
    return found


@pytest.mark.parametrize("max_rows", [1, 7, 100, 200])
def test_recent_is_newest_first(app: Connection, messages: list[UUID], max_rows: int) -> None:
    found = pages(app, "recent", max_rows)
    assert [row[0] for row in found] == messages
    assert not any(row[2] for row in found)


@pytest.mark.parametrize("max_rows", [3, 7, 100, 200])
def test_relevant_is_by_score(app: Connection, messages: list[UUID], max_rows: int) -> None:
    found = pages(app, "relevant", max_rows)
    assert sorted(row[0] for row in found) == sorted(messages)
    order = [(row[4], row[3], row[0]) for row in found]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("sort", ["recent", "relevant"])
def test_pages_stay_while_messages_arrive(app: Connection, store: Store, guest: UUID, messages: list[UUID], sort: str) -> None:
    arrived: list[UUID] = []
    try:
        found = pages(app, sort, 9, lambda: arrived.append(record(app, guest, body="pageable arrival")))
    finally:
        with store.connect() as root:
            root.execute("DELETE FROM guestcomms.messages WHERE message_id = ANY (%s)", [arrived])
    assert len(arrived) > 20
    assert sorted(row[0] for row in found) == sorted(messages)


@pytest.mark.parametrize("sort", ["recent", "relevant"])
def test_pages_survive_the_removal_of_what_a_cursor_names(app: Connection, store: Store, messages: list[UUID], sort: str) -> None:
    first = rows(app, PAGE, sort, 20, None)
    expected = [row[0] for row in pages(app, sort, 200)][20:]
    root = store.connect(autocommit=False)
    root.execute("SELECT guestcomms.use_tenant(%s)", [store.tenant_a])
    root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [first[-1][0]])
    rest = [row[0] for row in rows(root, PAGE, sort, 200, first[-1][1])]
    root.close()
    assert rest == expected[:200]


def test_relevant_ranks_the_newest_candidates_and_says_so(app: Connection, messages: list[UUID], limited: None) -> None:
    found = pages(app, "relevant", 9)
    assert sorted(row[0] for row in found) == sorted(messages[:LIMIT])
    assert all(row[2] for row in found)


def test_recent_goes_on_beyond_the_candidates(app: Connection, messages: list[UUID], limited: None) -> None:
    found = pages(app, "recent", 9)
    assert [row[0] for row in found] == messages
    assert found[0][2]
    assert not found[-1][2]


@pytest.mark.parametrize("query", ["pageable -nothing", "pageable or pageable", "PAGEABLE"])
def test_exactly_as_many_as_candidates_is_not_truncated(app: Connection, messages: list[UUID], limited: None, query: str) -> None:
    since = "SELECT sent_at FROM guestcomms.search_messages(%s, sort => 'recent', max_rows => 100)"
    oldest = rows(app, since, query)[-1][0]
    truncated = "SELECT DISTINCT is_truncated FROM guestcomms.search_messages(%s, since => %s, max_rows => 100)"
    assert one(app, truncated, query, oldest) is False
    assert one(app, truncated, query, oldest - timedelta(days=1)) is True


@pytest.mark.parametrize("digits", [-15, 0, 3])
@pytest.mark.parametrize("sort", ["recent", "relevant"])
def test_settings_of_the_session_do_not_disturb_paging(app: Connection, messages: list[UUID], sort: str, digits: int) -> None:
    """A cursor holds a score and times as text; how the session prints those must not matter."""
    app.execute("SELECT set_config('extra_float_digits', %s, false)", [str(digits)])
    app.execute("SET timezone = 'Asia/Kathmandu'")
    try:
        found = pages(app, sort, 9)
    finally:
        app.execute("RESET extra_float_digits; RESET timezone")
    assert sorted(row[0] for row in found) == sorted(messages)


def forged(**values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


CURSOR = {"newest_at": "x", "newest_id": "y", "score": "z", "sent_at": 1, "message_id": []}


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "%%%",
        "é",
        "bnVsbA",
        "W10",
        forged(sort="relevant"),
        forged(sort="relevant", **CURSOR),
    ],
)
def test_what_is_no_cursor_is_refused(app: Connection, messages: list[UUID], after: str) -> None:
    with refused("22023") as caught:
        rows(app, PAGE, "relevant", 10, after)
    assert caught.value.diag.message_hint


def test_a_cursor_of_the_other_sort_is_refused(app: Connection, messages: list[UUID]) -> None:
    cursor = rows(app, PAGE, "recent", 1, None)[0][1]
    with refused("22023"):
        rows(app, PAGE, "relevant", 1, cursor)


def test_a_cursor_of_another_tenant_is_refused(app: Connection, store: Store, messages: list[UUID]) -> None:
    cursor = rows(app, PAGE, "recent", 1, None)[0][1]
    other = store.connect("other_app_login", store.tenant_b)
    with refused("22023"):
        rows(other, PAGE, "recent", 10, cursor)
    other.close()


def test_a_cursor_of_another_query_is_refused(app: Connection, messages: list[UUID]) -> None:
    cursor = rows(app, PAGE, "recent", 1, None)[0][1]
    with refused("22023"):
        rows(app, "SELECT 1 FROM guestcomms.search_messages('arrival', sort => 'recent', after => %s)", cursor)
