"""A search answers of archived messages as it did when they were hot: same messages, order, scores, stages and headlines.

What is compared is asked in one transaction, for scores depend on its time. GUESTCOMMS_EXAMPLES says how many queries are made
up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record_all

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "40"))
NAMES = ("Zoë Kaya", "Ada Lindqvist", "王小明", "Bruno Ferrari")
TEXTS = (
    ("en", "The menu of the wedding dinner: three courses and a cake"),
    ("en", "We need a vegetarian menu, and my aunt is allergic to peanuts."),
    ("de", "Das Menü für die Hochzeit ist fertig, die Blumen fehlen noch"),
    ("en", "See https://example.com/seating for the seating plan"),
    ("en", "Flowers arrive at noon; the florist asks where to put the flowers"),
    ("zh", "婚礼菜单已经准备好了,鲜花还没有"),
    ("en", "Invoice A-1023 is paid, thank you"),
    ("en", "please call me at +49 170 1234567 about the hotel rooms"),
    ("en", "wedding dinner dinner dinner"),
)
QUERIES = (
    *(
        "menu",
        "wedding",
        "flowers",
        "peanuts",
        "menu flowers",
        '"wedding dinner"',
        '"dinner wedding"',
        "flor*",
        "men* wed*",
        "allergic OR invoice",
    ),
    *("menu -vegetarian", "wedding -cake -menu", '-"wedding dinner" dinner', "from:zoe menu", "channel:email wedding", "in:sms"),
    *("before:2099-01-01 menu", "after:2001-01-01 flowers", "after:2099-01-01 flowers", "has:link"),
    *(
        "菜单",
        "鲜花 菜单",
        "婚礼 OR invoice",
        "weding",
        "flowrs",
        "flowers unicorn",
        "A-1023",
        "0170 1234567",
        "status:unread",
        "to:ada",
        "",
    ),
    *("menu has:link", "-menu", "from:zoe OR peanuts", "the of", "quetzalcoatl"),
)
WORDS = (
    "menu",
    "wedding",
    "dinner",
    "flowers",
    "cake",
    "菜单",
    "hochzeit",
    "invoice",
    "weding",
    "the",
    '"wedding dinner"',
    "flow*",
    "din*",
)
PARTS = (
    *WORDS,
    *(f"-{word}" for word in WORDS),
    "OR",
    "from:zoe",
    "channel:sms",
    "has:link",
    "before:2099-01-01",
    "in:email",
    "to:me",
)
RANDOM = st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map(" ".join)
FIND = (
    "SELECT message_id, sent_at, thread_id, guest_id, channel, direction, score, headline, stage, is_truncated, is_archived"
    " FROM guestcomms.search_messages(%s, sort => %s, max_rows => 200)"
)
COUNT = "SELECT * FROM guestcomms.count_matches(%s)"
FACETS = "SELECT * FROM guestcomms.search_facets(%s) ORDER BY facet, value"
ARCHIVED = "SELECT unnest(message_ids) FROM guestcomms.archive_segments"
HOT = "SELECT message_id FROM guestcomms.messages"


@pytest.fixture(scope="module")
def messages(store: Store) -> list[UUID]:
    """Over ten months, of four guests, all read by the statistics."""
    app = store.connect("app_login", store.tenant_a)
    guests = [add_guest(app, name) for name in NAMES]
    batch = [
        message(
            guests[n % 7 % 4],
            body=f"{text} ({n})",
            language=language,
            sent_at=(now() - timedelta(days=3 * n, hours=1)).replace(microsecond=0).isoformat(),
            channel=("sms", "email", "chat")[n % 3],
            direction=("inbound", "outbound")[n % 2],
        )
        for n, (language, text) in enumerate(TEXTS * 11)
    ]
    found = record_all(app, batch)
    with store.connect() as root:
        root.execute(
            "INSERT INTO guestcomms.attachments (tenant_id, message_id, name, media_type, byte_count)"
            " SELECT %s, u.id, 'menu.pdf', 'application/pdf', 12 FROM unnest(%s::uuid[]) AS u (id)",
            [store.tenant_a, found[::5]],
        )
        refresh_all(root)
    return found


@pytest.fixture
def operator(store: Store, messages: list[UUID]) -> Iterator[Connection]:
    """All of a test is one transaction, taken back."""
    connection = store.connect(tenant=store.tenant_a, autocommit=False)
    connection.execute("SELECT guestcomms.set_setting('archive.search_segments', '1000')")
    connection.execute("SELECT guestcomms.add_archive_policy('all', older_than => '0')")
    yield connection
    connection.rollback()
    connection.close()


def archive(operator: Connection, max_rows: int = 1000) -> int:
    """One batch."""
    moved: int = one(operator, "SELECT message_count FROM guestcomms.run_archive(%s)", max_rows)
    return moved


def restore(operator: Connection) -> int:
    restored: int = one(operator, "SELECT guestcomms.restore_messages(since => '-infinity')")
    return restored


def answers(connection: Connection, query: str) -> dict[str, list[Row]]:
    """All that can be asked by a query, but for which messages are archived."""
    found = {sort: [row[:-1] for row in rows(connection, FIND, query, sort)] for sort in ("relevant", "recent")}
    return found | {"count": rows(connection, COUNT, query), "facets": rows(connection, FACETS, query)}


@pytest.mark.parametrize("max_rows", [1000, 37])
def test_searches_find_what_they_found(operator: Connection, messages: list[UUID], max_rows: int) -> None:
    """Whether all is archived or a part, and once it is restored."""
    before = {query: answers(operator, query) for query in QUERIES}
    assert sum(bool(found["relevant"]) for found in before.values()) > 25
    assert {row[8] for found in before.values() for row in found["relevant"]} >= {
        "all words",
        "any word",
        "corrected words",
        "filters",
    }

    assert archive(operator, max_rows) == min(max_rows, len(messages))
    archived = set(column(operator, ARCHIVED))
    assert archived | set(column(operator, HOT)) == set(messages)
    for query in QUERIES:
        assert answers(operator, query) == before[query], query
        told = rows(operator, FIND, query, "recent")
        assert {row[0] for row in told if row[-1]} == {row[0] for row in told} & archived

    assert restore(operator) == len(archived)
    for query in QUERIES:
        assert answers(operator, query) == before[query], query
        assert not any(row[-1] for row in rows(operator, FIND, query, "recent"))


@settings(deadline=None, max_examples=EXAMPLES)
@given(query=RANDOM, max_rows=st.sampled_from([1, 20, 50, 1000]))
def test_any_query_finds_what_it_found(store: Store, messages: list[UUID], query: str, max_rows: int) -> None:
    with store.connect(tenant=store.tenant_a) as root, root.transaction(force_rollback=True):
        root.execute("SELECT guestcomms.set_setting('archive.search_segments', '1000')")
        root.execute("SELECT guestcomms.add_archive_policy('all', older_than => '0')")
        before = answers(root, query)
        archive(root, max_rows)
        assert answers(root, query) == before


def test_what_is_attached_finds_archived_messages(operator: Connection) -> None:
    before = [answers(operator, query) for query in ("has:attachment", "menu has:attachment")]
    archive(operator)
    assert [answers(operator, query) for query in ("has:attachment", "menu has:attachment")] == before


def test_what_was_answered_and_what_is_like_the_best_found(operator: Connection) -> None:
    expanded = "SELECT message_id, score FROM guestcomms.search_messages(%s, is_expanded => true, max_rows => 200)"

    def found() -> list[object]:
        return [*(answers(operator, query) for query in ("has:reply", "menu -has:reply")), rows(operator, expanded, "menu cake")]

    before = found()
    archive(operator)
    assert found() == before


def test_only_hot_messages_where_nothing_else_is_wanted(operator: Connection) -> None:
    find = "SELECT message_id, is_archived FROM guestcomms.search_messages(%s, include_archived => false, max_rows => 200)"
    before = {query: {row[0] for row in rows(operator, find, query)} for query in ("wedding", "from:zoe", "")}
    archive(operator, 40)
    hot = set(column(operator, HOT))
    for query, found in before.items():
        told = rows(operator, find, query)
        assert not any(row[1] for row in told)
        assert {row[0] for row in told} == found & hot
        assert found - hot


@pytest.mark.parametrize("sort", ["recent", "relevant"])
def test_pages_through_hot_and_archived(operator: Connection, sort: str) -> None:
    archive(operator, 45)
    everything = [row[:-1] for row in rows(operator, FIND, "wedding OR menu OR flowers", sort)]
    page = "SELECT message_id, cursor, is_archived FROM guestcomms.search_messages(%s, sort => %s, max_rows => 4, after => %s)"
    found: list[Row] = []
    after = None
    while told := rows(operator, page, "wedding OR menu OR flowers", sort, after):
        found += told
        after = told[-1][1]
        assert len(found) <= len(everything), "paging goes round in circles"
    assert [row[0] for row in found] == [row[0] for row in everything]
    assert len({row[2] for row in found}) == 2


# Segments beyond those that are opened


def newest_segments(connection: Connection, stem: str | None = None) -> list[list[UUID]]:
    """The messages of each, those with the stem."""
    return column(
        connection,
        "SELECT message_ids FROM guestcomms.archive_segments WHERE %s::text IS NULL OR %s = ANY (tsvector_to_array(search))"
        " ORDER BY last_sent_at DESC, segment_id DESC",
        *(stem, stem),
    )


@pytest.mark.parametrize(("query", "stem"), [("wedding", "wed"), ("hotel", "hotel"), ("", None)])
def test_the_newest_segments_are_opened_and_the_others_said(operator: Connection, query: str, stem: str | None) -> None:
    operator.execute("SELECT guestcomms.set_setting('archive.segment_messages', '9')")
    archive(operator)
    segments = newest_segments(operator, stem)
    for most in (0, 1, 4):
        operator.execute("SELECT guestcomms.set_setting('archive.search_segments', %s)", [str(most)])
        told = rows(operator, FIND, query, "recent")
        opened = {message_id for ids in segments[:most] for message_id in ids}
        assert {row[0] for row in told} <= opened
        assert bool(told) == (most > 0)
        assert all(row[-2] for row in told)
    operator.execute("SELECT guestcomms.set_setting('archive.search_segments', %s)", [str(len(segments))])
    assert not any(row[-2] for row in rows(operator, FIND, query, "recent"))


@pytest.mark.parametrize("parameter", ["guest_id", "thread_id"])
def test_one_guest_is_reached_behind_others_who_match(operator: Connection, messages: list[UUID], parameter: str) -> None:
    """Whose segments are all older than the few that a search opens."""
    oldest = one(operator, "SELECT guest_id FROM guestcomms.messages ORDER BY sent_at LIMIT 1")
    operator.execute(
        "SELECT guestcomms.place_hold(jsonb_build_object('guest_id', %s::uuid, 'since', now() - interval '200 days'), 'x',"
        " blocks_archiving => true)",
        [oldest],
    )
    archive(operator)
    operator.execute("SELECT guestcomms.set_setting('archive.search_segments', '1')")
    wanted = (
        oldest
        if parameter == "guest_id"
        else one(operator, "SELECT thread_ids[1] FROM guestcomms.archive_segments WHERE guest_id = %s LIMIT 1", oldest)
    )
    newest = newest_segments(operator)[0]
    for query in ("wedding", ""):
        told = rows(
            operator,
            f"SELECT message_id, is_archived FROM guestcomms.search_messages(%s, {parameter} => %s)".encode(),
            query,
            wanted,
        )
        reached = {row[0] for row in told if row[1]}
        assert reached
        assert not reached & set(newest)
