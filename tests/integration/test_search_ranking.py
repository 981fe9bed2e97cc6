"""In which order results come: what raises a score, and that pages keep their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import Row, one, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

SEARCH = (
    "SELECT message_id, score, stage, cursor"
    " FROM guestcomms.search_messages(%s, guest_id => %s, {arguments}max_rows => %s, after => %s)"
)


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    return store.connect()


@pytest.fixture(scope="module")
def common(app: Connection, root: Connection) -> datetime:
    """Statistics of some traffic; returns a time after it, at which all messages that are compared were sent."""
    guest = add_guest(app)
    at = (now() - timedelta(days=1)).replace(microsecond=0)
    # "common" is in all of it, "rare" in one; about eight words each.
    bodies = [f"common words about number {n} in the garden" for n in range(120)] + [
        "one rare message about nothing common at all"
    ]
    record_all(app, [message(guest, language="en", body=body, sent_at=(at - timedelta(days=2)).isoformat()) for body in bodies])
    refresh_all(root)
    return at


def search(
    app: Connection, guest: UUID, query: str, arguments: str = "", max_rows: int = 200, after: str | None = None
) -> list[Row]:
    return rows(app, SEARCH.format(arguments=arguments).encode(), query, guest, max_rows, after)


def order(app: Connection, common: datetime, query: str, *texts: str | dict[str, Any], arguments: str = "") -> list[int]:
    """Writes the texts, all of one time unless they have their own; returns their numbers in the order of results."""
    guest = add_guest(app)
    values = [{"body": text} if isinstance(text, str) else text for text in texts]
    batch = [message(guest, **{"language": "en", "sent_at": common.isoformat()} | value) for value in values]
    ids = record_all(app, batch)
    found = search(app, guest, query, arguments)
    scores = [row[1] for row in found]
    assert len(set(scores)) == len(scores), "a tie says nothing"
    return [ids.index(row[0]) for row in found]


# Each with its texts both ways round: of a tie the later identifier would come first.


@pytest.mark.parametrize("is_swapped", [False, True])
@pytest.mark.parametrize(
    ("query", "better", "worse"),
    [
        pytest.param("orchid", "orchid orchid for the hall", "one orchid for the hall", id="more often"),
        pytest.param("orchid", "orchid orchid orchid for hall", "orchid orchid in the hall", id="more often still"),
        pytest.param("orchid", "orchid please", "we would like to ask about the orchid in the entrance hall", id="shorter"),
        pytest.param("common rare", "rare flowers", "common flowers", id="a rarer word"),
        pytest.param("rare OR common", "rare flowers", "common flowers", id="a rarer alternative"),
        pytest.param("orchid", {"subject": "orchid", "body": "x"}, {"subject": "x", "body": "orchid"}, id="in the subject"),
        pytest.param(
            "lilac orchid", "lilac orchid and four more words here", "lilac and four more words here orchid", id="closer"
        ),
        pytest.param("lilac orchid", "lilac orchid", "lilac lilac", id="more of the words"),
        pytest.param("orch*", "orchid orchid for the hall", "one orchid for the hall", id="more often by its beginning"),
        pytest.param("素食", "素食素食菜单", "素食请问菜单", id="more often without spaces"),
    ],
)
def test_better_comes_first(app: Connection, common: datetime, query: str, better: Any, worse: Any, is_swapped: bool) -> None:
    if is_swapped:
        assert order(app, common, query, worse, better) == [1, 0]
    else:
        assert order(app, common, query, better, worse) == [0, 1]


def test_newer_is_better_at_the_same_text(app: Connection, common: datetime) -> None:
    ages = (timedelta(days=200), timedelta(0), timedelta(days=300), timedelta(days=30))
    texts = [{"body": "orchid", "sent_at": (common - age).isoformat()} for age in ages]
    assert order(app, common, "orchid", *texts) == [1, 3, 0, 2]


def test_a_better_text_outweighs_days(app: Connection, common: datetime) -> None:
    old = {"body": "orchid orchid orchid", "sent_at": (common - timedelta(days=10)).isoformat()}
    assert order(app, common, "orchid", old, "asking about one orchid among many other flowers") == [0, 1]


def test_recent_ignores_the_score(app: Connection, common: datetime) -> None:
    old = {"body": "orchid orchid orchid", "sent_at": (common - timedelta(seconds=1)).isoformat()}
    new = "asking about one orchid among many other flowers"
    assert order(app, common, "orchid", old, new, arguments="sort => 'recent', ") == [1, 0]
    assert order(app, common, "orchid", old, new) == [0, 1]


@pytest.fixture
def setting(store: Store) -> Iterator[Callable[[str, str], None]]:
    with store.connect("operator_login", store.tenant_a) as operator:
        changed: list[str] = []

        def change(name: str, value: str) -> None:
            changed.append(name)
            operator.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])

        yield change
        for name in changed:
            operator.execute("SELECT guestcomms.set_setting(%s, NULL)", [name])


def test_settings_weigh(app: Connection, common: datetime, setting: Callable[[str, str], None]) -> None:
    old_subject = {"subject": "orchid", "body": "x", "sent_at": (common - timedelta(days=1)).isoformat()}
    assert order(app, common, "orchid", old_subject, {"subject": "x", "body": "orchid"}) == [0, 1]
    setting("search.subject_weight", "1")
    assert order(app, common, "orchid", old_subject, {"subject": "x", "body": "orchid"}) == [1, 0]
    long = {"body": "orchid orchid " + "and other words " * 20, "sent_at": common.isoformat()}
    assert order(app, common, "orchid", long, "orchid") == [1, 0]
    setting("search.length_weight", "0")
    assert order(app, common, "orchid", long, "orchid") == [0, 1]
    ages = (timedelta(days=200), timedelta(0), timedelta(days=300))
    texts = [{"body": "orchid", "sent_at": (common - age).isoformat()} for age in ages]
    setting("search.recency_weight", "0")
    guest = add_guest(app)
    record_all(app, [message(guest, **text) for text in texts])
    assert len({row[1] for row in search(app, guest, "orchid")}) == 1


# Pages


def pages(app: Connection, guest: UUID, query: str, arguments: str, max_rows: int, between: Callable[[], object]) -> list[Row]:
    found: list[Row] = []
    after = None
    while page := search(app, guest, query, arguments, max_rows, after):
        found += page
        after = page[-1][3]
        assert len(found) < 100, "paging goes round in circles"
        between()
    return found


@pytest.mark.parametrize("arguments", ["", "is_expanded => true, "])
@pytest.mark.parametrize("query", ["tulip", "tulip OR peony", "tulip peony"])
def test_pages_stay_while_statistics_change(
    app: Connection, root: Connection, common: datetime, query: str, arguments: str
) -> None:
    guest = add_guest(app)
    bodies = ["tulip " * (1 + n % 5) + "peony " * (n % 3) + "filler and more " * (n % 7) for n in range(40)]
    times = [(common - timedelta(hours=n % 11)).isoformat() for n in range(40)]
    record_all(app, [message(guest, language="en", body=body, sent_at=at) for body, at in zip(bodies, times, strict=True)])
    expected = [(row[0], row[1], row[2]) for row in search(app, guest, query, arguments)]
    assert len(expected) == 40 or query == "tulip peony"

    def between() -> None:
        # Newer than the first page, and enough to change what every word weighs.
        record_all(
            app, [message(guest, language="en", body=body) for body in ("tulip tulip", "peony", "filler", "peony and other")]
        )
        refresh_all(root)

    found = pages(app, guest, query, arguments, 7, between)
    assert [(row[0], row[1], row[2]) for row in found] == expected
    # The statistics did change: the same search now ranks otherwise.
    assert {row[0]: row[1] for row in search(app, guest, query, arguments)}.items() & {
        row[0]: row[1] for row in expected
    }.items() == set()


# Like the best found


def test_expanded_finds_what_shares_no_word_with_the_query(app: Connection, root: Connection, common: datetime) -> None:
    guest = add_guest(app)
    texts = [
        "shuttle departs by minibus from the harbour",
        "shuttle is a minibus at the harbour",
        "our shuttle: minibus, harbour, nine",
        "minibus waits beside the harbour",
        "nothing of that kind",
    ]
    ids = record_all(app, [message(guest, language="en", body=body, sent_at=common.isoformat()) for body in texts])
    refresh_all(root)
    assert {row[0] for row in search(app, guest, "shuttle")} == set(ids[:3])
    expanded = search(app, guest, "shuttle", "is_expanded => true, ")
    assert {row[0] for row in expanded} == set(ids[:4])
    assert {row[2] for row in expanded} == {"expanded"}
    # What shares a word with the query is better than what does not.
    assert expanded[-1][0] == ids[3]
    assert [row[0] for row in pages(app, guest, "shuttle", "is_expanded => true, ", 1, lambda: None)] == [
        row[0] for row in expanded
    ]
    # What is excluded or in quotation marks still is.
    assert {row[0] for row in search(app, guest, "shuttle -departs", "is_expanded => true, ")} == set(ids[1:3])
    assert {row[0] for row in search(app, guest, '"shuttle"', "is_expanded => true, ")} == set(ids[:3])
    assert search(app, guest, "zzzzqq", "is_expanded => true, ") == []


def test_an_expanded_search_pages_through_many(app: Connection, root: Connection, common: datetime) -> None:
    guest = add_guest(app)
    for n in range(30):
        record(
            app,
            guest,
            f"ferry pier quay {'ferry ' * (n % 4)}" if n % 2 else f"pier quay number {n}",
            language="en",
            sent_at=common.isoformat(),
        )
    refresh_all(root)
    whole = [row[0] for row in search(app, guest, "ferry", "is_expanded => true, ")]
    assert len(whole) == 30
    assert [row[0] for row in pages(app, guest, "ferry", "is_expanded => true, ", 4, lambda: None)] == whole
    assert one(app, "SELECT count(*) FROM guestcomms.search_messages('ferry', guest_id => %s, max_rows => 200)", guest) == 15
