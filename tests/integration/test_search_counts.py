"""How many match and of which kinds, and how a search explains itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.database import Connection
from tests.support.queries import one, refused, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

COUNT = 180
CHANNELS = ["email", "sms", "whatsapp", "chat"]
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def made(store: Store, app: Connection) -> dict[str, Any]:
    """Identifiers of two weddings and two campaigns, a guest, and the messages."""
    root = store.connect()
    made: dict[str, Any] = {"guest": add_guest(app)}
    for kind in ("wedding", "campaign"):
        for number in (1, 2):
            made[f"{kind}{number}"] = one(
                root,
                f"INSERT INTO guestcomms.{kind}s (tenant_id, name) VALUES (%s, %s) RETURNING {kind}_id".encode(),
                *(store.tenant_a, f"{kind} {number}"),
            )
    # Over some months; among them the last half hour of a month in London, which is of the next month in Berlin.
    month = now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    times = [month - timedelta(days=n % 90, minutes=30) for n in range(COUNT)]
    batch: list[dict[str, Any]] = []
    for n, at in enumerate(times):
        element = message(
            made["guest"], language="en", body="countable " + ("even" if n % 2 else "odd words"), sent_at=at.isoformat()
        )
        element |= {"channel": CHANNELS[n % 4], "direction": "outbound" if n % 3 else "inbound"}
        if n % 5:
            element["wedding_id"] = str(made[f"wedding{1 + n % 2}"])
        if n % 3 == 1:
            element["campaign_id"] = str(made["campaign1" if n % 7 else "campaign2"])
        batch.append(element)
    record_all(app, batch)
    with store.connect("other_app_login", store.tenant_b) as other:
        record(other, add_guest(other), "countable")
    refresh_all(root)
    root.execute("ANALYZE")
    root.close()
    made["batch"] = batch
    made["times"] = times
    return made


@pytest.fixture
def limited(store: Store, made: dict[str, Any]) -> Iterator[None]:
    with store.connect("operator_login", store.tenant_a) as operator:
        operator.execute("SELECT guestcomms.set_setting('search.count_limit', '100')")
        yield
        operator.execute("SELECT guestcomms.set_setting('search.count_limit', NULL)")


COUNT_MATCHES = "SELECT message_count, is_exact, stage FROM guestcomms.count_matches(%s{arguments})"
SEARCH = "SELECT message_id, stage FROM guestcomms.search_messages(%s, sort => 'recent', max_rows => 200{arguments})"
ARGUMENTS = [
    ("", ()),
    (", channel => %s", ("sms",)),
    (", direction => %s", ("inbound",)),
    (", wedding_id => %s", ("wedding1",)),
    (", campaign_id => %s", ("campaign2",)),
    (", guest_id => %s", ("guest",)),
    (", since => now() - interval '60 days', until => now() - interval '40 days'", ()),
]


@pytest.mark.parametrize(("arguments", "values"), ARGUMENTS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize(
    "query", ["countable", "odd", "countable -odd", "odd even", "zzzz", "channel:chat", "", '"countable odd"', "odd OR even"]
)
def test_as_many_as_a_search_finds(
    app: Connection, made: dict[str, Any], query: str, arguments: str, values: tuple[str, ...]
) -> None:
    given = [query, *(made.get(value, value) for value in values)]
    found = rows(app, SEARCH.format(arguments=arguments).encode(), *given)
    stage = found[0][1] if found else None
    assert len(found) < 200
    assert rows(app, COUNT_MATCHES.format(arguments=arguments).encode(), *given) == [(len(found), True, stage)]


def test_what_is_counted_is_this_tenants(app: Connection, made: dict[str, Any]) -> None:
    assert rows(app, COUNT_MATCHES.format(arguments="").encode(), "countable") == [(COUNT, True, "all words")]
    assert rows(app, COUNT_MATCHES.format(arguments="").encode(), "odd even") == [(COUNT, True, "any word")]


def test_any_word_counts_only_where_none_holds_all(app: Connection, made: dict[str, Any]) -> None:
    for body in ("singular plural", "plural", "plural"):
        record(app, made["guest"], body, language="en")
    assert rows(app, COUNT_MATCHES.format(arguments="").encode(), "singular plural") == [(1, True, "all words")]
    assert rows(app, COUNT_MATCHES.format(arguments="").encode(), "plural") == [(3, True, "all words")]


def test_more_than_the_limit_are_estimated(app: Connection, made: dict[str, Any], limited: None) -> None:
    def count(query: str) -> tuple[int, bool]:
        (found,) = rows(app, COUNT_MATCHES.format(arguments="").encode(), query)
        return found[0], found[1]

    # They are spread evenly over the months: the estimate is near.
    estimate, is_exact = count("countable")
    assert not is_exact
    assert 0.6 * COUNT <= estimate <= 1.6 * COUNT
    # As many as the limit are counted, and one more is not: 90 are odd.
    assert count("odd") == (90, True)
    times = sorted(made["times"], reverse=True)
    exact = "SELECT message_count, is_exact FROM guestcomms.count_matches('countable', since => %s)"
    # Two are of each time.
    assert rows(app, exact, times[99]) == [(100, True)]
    assert rows(app, exact, times[100])[0][1] is False
    # What was counted one by one is the least that it can be.
    assert rows(app, exact, times[-1])[0][0] >= 100


# Facets

FACETS = "SELECT facet, value, label, message_count, is_exact FROM guestcomms.search_facets(%s{arguments})"


def facets(app: Connection, query: str, arguments: str = "", *values: object) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for facet, value, _, count, _ in rows(app, FACETS.format(arguments=arguments).encode(), query, *values):
        assert value not in found.setdefault(facet, {})
        found[facet][value] = count
    return found


def expected_facets(made: dict[str, Any], is_odd: bool | None = None) -> dict[str, Counter[str]]:
    chosen = [
        (element, at)
        for n, (element, at) in enumerate(zip(made["batch"], made["times"], strict=True))
        if is_odd in (None, n % 2 == 0)
    ]
    return {
        "channel": Counter(element["channel"] for element, _ in chosen),
        "direction": Counter(element["direction"] for element, _ in chosen),
        "month": Counter(f"{at.astimezone(BERLIN):%Y-%m}" for _, at in chosen),
        "wedding": Counter(element["wedding_id"] for element, _ in chosen if "wedding_id" in element),
        "campaign": Counter(element["campaign_id"] for element, _ in chosen if "campaign_id" in element),
    }


def test_facets_count_the_matches(app: Connection, made: dict[str, Any]) -> None:
    assert facets(app, "countable") == expected_facets(made)
    assert facets(app, "odd") == expected_facets(made, is_odd=True)
    assert facets(app, "zzzz") == {}
    in_utc = Counter(f"{at:%Y-%m}" for at in made["times"])
    assert expected_facets(made)["month"] != in_utc, "no message tells the zones apart"


def test_facets_follow_filters(app: Connection, made: dict[str, Any]) -> None:
    everything = facets(app, "countable")
    (count,) = (row[0] for row in rows(app, COUNT_MATCHES.format(arguments=", channel => 'sms'").encode(), "countable"))
    sms = facets(app, "countable", ", channel => 'sms'")
    assert sms["channel"] == {"sms": everything["channel"]["sms"]} == {"sms": count}
    for facet in ("channel", "direction", "month"):
        assert sum(sms[facet].values()) == count
    assert facets(app, "countable channel:sms") == sms
    campaign = facets(app, "countable", ", campaign_id => %s", made["campaign1"])
    assert campaign["campaign"] == {str(made["campaign1"]): everything["campaign"][str(made["campaign1"])]}


def test_facets_are_labelled_and_ordered(app: Connection, made: dict[str, Any]) -> None:
    found = rows(app, FACETS.format(arguments="").encode(), "countable")
    labels = {value: label for _, value, label, _, _ in found}
    for kind in ("wedding", "campaign"):
        for number in (1, 2):
            assert labels[str(made[f"{kind}{number}"])] == f"{kind} {number}"
    assert all(label == value for facet, value, label, _, _ in found if facet not in ("wedding", "campaign"))
    months = [value for facet, value, _, _, _ in found if facet == "month"]
    assert months == sorted(months, reverse=True)
    for facet in ("channel", "direction", "wedding", "campaign"):
        counts = [count for name, _, _, count, _ in found if name == facet]
        assert counts == sorted(counts, reverse=True)
    assert {row[4] for row in found} == {True}


def test_facets_beyond_the_limit_say_so(app: Connection, made: dict[str, Any], limited: None) -> None:
    found = rows(app, FACETS.format(arguments="").encode(), "countable")
    assert {row[4] for row in found} == {False}
    assert sum(row[3] for row in found if row[0] == "channel") == 100


# Explaining

EXPLAIN = "SELECT part, detail FROM guestcomms.explain_search(%s, max_rows => 200{arguments})"


def explain(app: Connection, query: str, arguments: str = "") -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for part, detail in rows(app, EXPLAIN.format(arguments=arguments).encode(), query):
        found.setdefault(part, []).append(detail)
    return found


def test_clauses_are_explained(app: Connection, made: dict[str, Any]) -> None:
    clauses = explain(app, 'the countable -odd "in it" OR ev* from:zoe')["clause"]
    assert [(clause["kind"], clause["value"], clause["is_negated"]) for clause in clauses] == [
        ("word", "the", False),
        ("word", "countable", False),
        ("word", "odd", True),
        ("phrase", "in it", False),
        ("prefix", "ev", False),
        ("filter", "zoe", False),
    ]
    assert clauses[-1]["field"] == "from"
    assert clauses[3]["alternative"] == clauses[4]["alternative"] != clauses[1]["alternative"]
    assert clauses[0]["stop_word_in"] == ["search_en"]
    assert "stop_word_in" not in clauses[1]


@pytest.mark.parametrize("arguments", ["", ", sort => 'recent'", ", is_expanded => true", ", channel => 'sms'"])
@pytest.mark.parametrize(
    "query", ["countable", "countable odd", "odd even", "zzzz odd", "", "countable channel:sms", "count* -odd"]
)
def test_results_are_those_of_the_search(app: Connection, made: dict[str, Any], query: str, arguments: str) -> None:
    search = f"SELECT message_id, score, stage, sent_at FROM guestcomms.search_messages(%s, max_rows => 200{arguments})"
    expected = [(str(row[0]), row[1], row[2], row[3]) for row in rows(app, search.encode(), query)]
    explained = explain(app, query, arguments)
    found = [
        (part["message_id"], part["score"], part["stage"], datetime.fromisoformat(part["sent_at"]))
        for part in explained.get("result", [])
    ]
    assert found == expected
    stages = {part["stage"]: part["matches"] for part in explained["stage"]}
    assert {stage: count for stage, count in stages.items() if count} == Counter(row[2] for row in expected)
    assert all(part["candidates"] >= part["matches"] for part in explained["stage"])
    (statistics,) = explained["statistics"]
    assert statistics["message_count"] >= COUNT


@pytest.mark.parametrize("occurrences", [1, 2, 5, 8])
@pytest.mark.parametrize("in_subject", [0, 1])
def test_frequencies_are_counted(app: Connection, made: dict[str, Any], occurrences: int, in_subject: int) -> None:
    guest = add_guest(app)
    record(app, guest, "peculiar " * occurrences + "words", language="en", subject="peculiar" if in_subject else None)
    (result,) = explain(app, "peculiar", f", guest_id => '{guest}'")["result"]
    (term,) = result["terms"]
    assert term["term"] == "peculiar"
    assert term["frequency"] == occurrences + in_subject
    assert term["in_subject"] is bool(in_subject)
    assert term["weight"] == 1


def test_counts_of_terms_are_the_statistics(app: Connection, store: Store, made: dict[str, Any]) -> None:
    terms = {term["term"]: term for term in explain(app, "countable odd")["result"][0]["terms"]}
    statistics = "SELECT message_count FROM guestcomms.term_statistics WHERE tenant_id = %s AND term = %s"
    with store.connect() as root:
        assert {term: detail["message_count"] for term, detail in terms.items()} == {
            term: one(root, statistics, store.tenant_a, term) for term in ("countabl", "odd")
        }


@pytest.mark.parametrize("max_rows", ["0", "201", "NULL"])
def test_a_bad_number_of_rows_is_refused(app: Connection, max_rows: str) -> None:
    with refused("22023") as caught:
        rows(app, f"SELECT * FROM guestcomms.explain_search('x', max_rows => {max_rows})".encode())
    assert caught.value.diag.message_hint


def test_rows_are_as_many_as_asked(app: Connection, made: dict[str, Any]) -> None:
    assert len([row for row in rows(app, "SELECT part FROM guestcomms.explain_search('countable')") if row[0] == "result"]) == 5
