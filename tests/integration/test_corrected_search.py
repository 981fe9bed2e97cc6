"""Searches with a mistyped word: the stage "corrected words"."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

TEXTS = {
    "menu": "The vegetarian menu: seven dishes are ready",
    "order": "Three vegetarian orders",
    "flowers": "The flowers arrived in Berlin",
    "both": "Flowers arrived with the vegetarian menu",
    "hands": "We shake hands in the garden",
    "bands": "Two bands in the garden",
    "mistake": "Please remove the flowerz from the bill",
    "party": "The garden party has cakes",
    "tagged": 'Roses & ceremony: "soon", they say',
    "accents": "Café society, gâteaux at noon",
    "cyrillic": "приглашение на свадьбу",
    "chinese": "请问婚礼的菜单",
}
FOUND = "SELECT message_id, stage FROM guestcomms.search_messages(%s, max_rows => 200)"
CORRECTED = "corrected words"


class Texts:
    """A tenant's connection, with messages that have names."""

    def __init__(self, store: Store, app: Connection, guest: UUID, texts: dict[str, str]) -> None:
        self.store = store
        self.app = app
        self.guest = guest
        self.names: dict[UUID, str] = {}
        self.add(texts)

    def add(self, texts: dict[str, str], *, is_counted: bool = True) -> None:
        elements = [message(self.guest, language="en", body=body) for body in texts.values()]
        self.names |= dict(zip(record_all(self.app, elements), texts, strict=True))
        if is_counted:
            count_all(self.store)

    def stages(self, query: str) -> dict[str, str]:
        """The texts that a query finds, best first, each with its stage."""
        found = rows(self.app, FOUND, query)
        assert len({row[0] for row in found}) == len(found)
        return {self.names[message_id]: stage for message_id, stage in found}

    def find(self, query: str, stage: str = CORRECTED) -> set[str]:
        """The texts found in one stage."""
        return {name for name, found_in in self.stages(query).items() if found_in == stage}


def count_all(store: Store) -> None:
    with store.connect("operator_login") as operator:
        refresh_all(operator)


def add_tenant(store: Store, name: str) -> UUID:
    """Another tenant of app_login's and operator_login's."""
    with store.connect() as root:
        tenant: UUID = one(root, "SELECT guestcomms.add_tenant(%s, 'Europe/Berlin', 'en', 'DE')", name)
        root.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
        root.execute("SELECT guestcomms.add_member('app_login')")
    return tenant


def add_texts(store: Store, name: str, texts: dict[str, str]) -> Texts:
    app = store.connect("app_login", add_tenant(store, name))
    return Texts(store, app, add_guest(app, "Priya Menon"), texts)


@pytest.fixture(scope="module")
def texts(store: Store) -> Texts:
    with store.connect("other_app_login", store.tenant_b) as other:
        record(other, add_guest(other), body="vegitarian themes; kangaroo", language="en")
    app = store.connect("app_login", store.tenant_a)
    return Texts(store, app, add_guest(app, "Priya Menon"), TEXTS)


# What is found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("vegitarian", {"menu", "order", "both"}),
        ("VEGITARIAN", {"menu", "order", "both"}),
        ("vegitarian menu", {"menu", "both"}),
        ("vegitarian, mennu", {"menu", "both"}),
        ("(vegitarian)", {"menu", "order", "both"}),
        ("socitey", {"accents"}),
        ("gateuax", {"accents"}),
        ("приглошение", {"cyrillic"}),
        ("vegitarian -menu", {"order"}),
        ("vegitarian channel:sms", {"menu", "order", "both"}),
        ("vegitarian channel:email", set()),
        ("vegitarian from:priya", {"menu", "order", "both"}),
        ("vegitarian -from:priya", set()),
        # what else stands for it
        ("vegitarian OR cakes", {"menu", "order", "both", "party"}),
        ("cakes OR vegitarian", {"menu", "order", "both", "party"}),
        ("vegitarian OR partty", {"menu", "order", "both", "party"}),
        ("garden partty OR hands", {"party", "hands"}),
        ("vegitarian arrived OR orders", {"order", "both"}),
        # a phrase, a beginning, a part of a script without spaces beside it
        ('vegitarian "flowers arrived"', {"both"}),
        ('vegitarian "seven dishes" OR "flowers arrived"', {"menu", "both"}),
        ('"garden party" OR vegitarian', {"menu", "order", "both", "party"}),
        ('vegitarian -"seven dishes"', {"order", "both"}),
        ("vegitarian arriv*", {"both"}),
        ("vegitarian OR garde*", {"menu", "order", "both", "hands", "bands", "party"}),
        ("婚礼 OR vegitarian", {"menu", "order", "both", "chinese"}),
        ("vegitarian the", {"menu", "order", "both"}),
    ],
)
def test_a_mistyped_word_finds_what_was_meant(texts: Texts, query: str, expected: set[str]) -> None:
    assert texts.find(query) == expected
    assert set(texts.stages(query).values()) <= {CORRECTED, "any word"}


@pytest.mark.parametrize(
    "query",
    [
        *('"vegitarian menu"', '"vegitarian"', "“a vegitarian menu”", "vegitarian*", "from:vegitarian", "wedding:vegitarian"),
        *("vegitarian2", "vegitarian.com", "a@vegitarian.com", "https://vegitarian.com/menus", "vegitarian-flwoers", "menz"),
        *("zzzzzz", "kangarooo", "婚札", "menon"),
    ],
)
def test_what_is_not_corrected_finds_nothing(texts: Texts, query: str) -> None:
    assert texts.stages(query) == {}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("menu -vegitarian", {"menu", "both"}),
        ("vegitarian -flwoers", {"menu", "order", "both"}),
        ('vegitarian "flwoers arrived"', set()),
        ("vegitarian flwoer*", set()),
        ("vegitarian from:priyaa", set()),
        ("vegitarian partty*", set()),
    ],
)
def test_phrases_beginnings_filters_and_what_is_excluded_stay(texts: Texts, query: str, expected: set[str]) -> None:
    assert {name for name, stage in texts.stages(query).items() if stage != "any word"} == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # in one message among others that hold something like it
        ("flowerz", {"mistake"}),
        ("bands", {"bands"}),
        ("hands garden", {"hands"}),
        ("flowerz remove", {"mistake"}),
        ("vegetarians", {"menu", "order", "both"}),
        ("cake", {"party"}),
        ("cafe", {"accents"}),
    ],
)
def test_a_word_that_some_message_holds_is_taken_as_it_is(texts: Texts, query: str, expected: set[str]) -> None:
    assert texts.find(query, "all words") == expected
    assert not texts.find(query)


def test_a_known_word_beside_a_mistyped_one_is_taken_as_it_is(texts: Texts) -> None:
    assert texts.find("flowerz bil") == set()
    assert texts.find("flowerz removve") == {"mistake"}


def test_a_stop_word_is_none(texts: Texts) -> None:
    assert "themes" in one(texts.store.connect(), "SELECT string_agg(body, ' ') FROM guestcomms.messages")
    assert texts.stages("these") == {}
    assert texts.find("these vegitarian") == {"menu", "order", "both"}


def test_all_words_corrected_come_before_any_word(texts: Texts) -> None:
    found = texts.stages("vegitarian menu flowers")
    assert next(iter(found.items())) == ("both", CORRECTED)
    assert {name: stage for name, stage in found.items() if name != "both"} == dict.fromkeys(list(found)[1:], "any word")
    assert {"menu", "order", "flowers"} <= set(found)


def test_any_word_where_no_message_holds_all_corrected(texts: Texts) -> None:
    found = texts.stages("vegitarian hands")
    assert set(found) == {"menu", "order", "both", "hands"}
    assert set(found.values()) == {"any word"}


def test_a_word_that_cannot_be_corrected_leaves_any_word(texts: Texts) -> None:
    assert texts.stages("zzzzzz qqqqqq") == {}
    found = texts.stages("vegitarian zzzzzz")
    assert set(found) == {"menu", "order", "both"}
    assert set(found.values()) == {"any word"}


def test_a_message_that_is_not_counted_is_found_as_it_is_typed(store: Store) -> None:
    texts = add_texts(store, "Just recorded", {"flowers": "lovely flowers"})
    assert texts.stages("flowerz") == {"flowers": CORRECTED}
    texts.add({"new": "more flowerz"}, is_counted=False)
    # The one that holds what was typed first.
    assert list(texts.stages("flowerz").items()) == [("new", CORRECTED), ("flowers", CORRECTED)]
    texts.add({"other": "no blossoms"})
    assert texts.stages("flowerz") == {"new": "all words"}


def test_a_word_that_is_gone_is_mistyped_again(store: Store) -> None:
    texts = add_texts(store, "Removed", {"flowers": "lovely flowers", "mistake": "lovely flowerz"})
    assert texts.stages("flowerz") == {"mistake": "all words"}
    with store.connect() as root:
        root.execute("DELETE FROM guestcomms.messages WHERE body = 'lovely flowerz'")
    count_all(store)
    assert texts.stages("flowerz") == {"flowers": CORRECTED}


def test_nothing_is_corrected_where_nothing_is_counted(store: Store) -> None:
    app = store.connect("app_login", add_tenant(store, "Uncounted"))
    texts = Texts.__new__(Texts)
    texts.store, texts.app, texts.guest, texts.names = store, app, add_guest(app), {}
    assert texts.stages("vegitarian menu") == {}
    texts.add(TEXTS, is_counted=False)
    assert texts.stages("vegitarian") == {}
    assert texts.stages("vegetarian orders") == {"order": "all words", "menu": "any word", "both": "any word"}
    assert rows(app, "SELECT * FROM guestcomms.count_matches('vegitarian')") == [(0, True, None)]
    assert rows(app, "SELECT * FROM guestcomms.search_facets('vegitarian')") == []
    assert "correction" not in {clause["kind"] for clause in clauses(app, "vegitarian")}
    count_all(store)
    assert texts.find("vegitarian") == {"menu", "order", "both"}


# Synonyms


@pytest.fixture
def operator(store: Store, texts: Texts) -> Any:
    """For tenant A, whose settings and synonyms are as before afterwards."""
    with store.connect("operator_login", store.tenant_a) as operator:
        yield operator
        operator.execute("SELECT guestcomms.set_setting('search.correct_words', NULL)")
        for term in column(operator, "SELECT term FROM guestcomms.list_synonyms()"):
            operator.execute("SELECT guestcomms.set_synonyms(%s, NULL)", [term])


def test_a_term_with_synonyms_is_not_mistyped(texts: Texts, operator: Connection) -> None:
    assert texts.find("vegitarian") == {"menu", "order", "both"}
    operator.execute("SELECT guestcomms.set_synonyms('vegitarian', '{cakes}')")
    assert texts.stages("vegitarian") == {"party": "all words"}
    assert texts.find("vegitarian partty") == {"party"}
    assert texts.find("vegitarian flwoers") == set()


def test_synonyms_beside_a_mistyped_word(texts: Texts, operator: Connection) -> None:
    operator.execute("SELECT guestcomms.set_synonyms('supper', '{menu,\"three vegetarian\"}')")
    assert texts.find("vegitarian supper") == {"menu", "order", "both"}
    assert texts.find("vegitarian supper -flowers") == {"menu", "order"}


# Settings


def test_words_are_not_corrected_where_it_is_switched_off(texts: Texts, store: Store, operator: Connection) -> None:
    queries = ["vegitarian", "vegitarian menu", "vegitarian OR cakes"]
    operator.execute("SELECT guestcomms.set_setting('search.correct_words', 'false')")
    assert [texts.find(query) for query in queries] == [set()] * 3
    assert texts.stages("vegitarian") == {}
    assert set(texts.stages("vegitarian menu").values()) == {"any word"}
    assert texts.stages("vegitarian OR cakes") == {"party": "all words"}
    assert rows(texts.app, "SELECT * FROM guestcomms.count_matches('vegitarian')") == [(0, True, None)]
    # Who asks is told nevertheless, and other tenants are not concerned.
    assert one(texts.app, "SELECT guestcomms.correct_query('vegitarian')") == "vegetarian"
    other = store.connect("other_app_login", store.tenant_b)
    assert column(other, "SELECT stage FROM guestcomms.search_messages('kangarooo')") == [CORRECTED]
    operator.execute("SELECT guestcomms.set_setting('search.correct_words', 'true')")
    assert texts.find("vegitarian") == {"menu", "order", "both"}


def test_only_as_many_edits_as_the_word_is_long_for(texts: Texts, store: Store) -> None:
    assert texts.find("vegitaran") == {"menu", "order", "both"}
    assert texts.stages("cakez") == {"party": CORRECTED}
    assert texts.stages("cackez") == {}
    with store.connect("operator_login", store.tenant_a) as operator:
        operator.execute("SELECT guestcomms.set_setting('spelling.two_edits_from', '6')")
        assert texts.stages("cackez") == {"party": CORRECTED}
        operator.execute("SELECT guestcomms.set_setting('spelling.two_edits_from', NULL)")


# What is shown


@pytest.mark.parametrize(
    ("query", "is_html", "expected"),
    [
        ("vegitarian -flowers menu", False, "The «vegetarian» «menu»: seven dishes are ready"),
        ("gateuax", False, "Café society, «gâteaux» at noon"),
        ("cermony", False, 'Roses & «ceremony»: "soon", they say'),
        ("cermony", True, "Roses &amp; «ceremony»: &quot;soon&quot;, they say"),
        ('partty "has cakes"', False, "The garden «party» «has» «cakes»"),
        ("partty gard*", True, "The «garden» «party» has cakes"),
    ],
)
def test_headlines_mark_the_word_that_was_meant(texts: Texts, query: str, is_html: bool, expected: str) -> None:
    form = "html" if is_html else "text"
    found = rows(
        texts.app,
        "SELECT headline FROM guestcomms.search_messages(%s, headline_format => %s) WHERE stage = %s",
        *(query, form, CORRECTED),
    )
    assert found == [(expected,)]


def clauses(app: Connection, query: str) -> list[dict[str, Any]]:
    return column(app, "SELECT detail FROM guestcomms.explain_search(%s) WHERE part = 'clause'", query)


def test_explain_search_shows_the_correction(texts: Texts) -> None:
    typed, menu, correction = clauses(texts.app, "vegitarian menu")
    assert (typed["kind"], typed["value"]) == ("word", "vegitarian")
    assert (menu["kind"], menu["value"]) == ("word", "menu")
    assert (correction["kind"], correction["value"], correction["is_negated"]) == ("correction", "vegetarian", False)
    assert correction["alternative"] == typed["alternative"] != menu["alternative"]
    detail = column(
        texts.app, "SELECT detail FROM guestcomms.explain_search('vegitarian menu') WHERE part IN ('stage', 'result')"
    )
    assert detail[0]["stage"] in (CORRECTED, "any word")
    assert {each["stage"] for each in detail[1:]} >= {CORRECTED}
    (language,) = column(
        texts.app, "SELECT detail ->> 'all_words' FROM guestcomms.explain_search('vegitarian menu') WHERE part = 'language'"
    )
    assert language == "( 'vegitarian' | 'vegetarian' ) & 'menu'"


@pytest.mark.parametrize("query", ["vegetarian", "flowerz", '"vegitarian"', "vegitarian*", "-vegitarian", "zzzzzz", "menon", ""])
def test_explain_search_shows_no_correction_where_there_is_none(texts: Texts, query: str) -> None:
    assert "correction" not in {clause["kind"] for clause in clauses(texts.app, query)}


def test_what_was_meant_scores_a_little_lower_than_what_was_typed(texts: Texts) -> None:
    score = "SELECT message_id, score FROM guestcomms.search_messages(%s)"
    typed: dict[UUID, float] = dict(rows(texts.app, score, "vegetarian"))
    meant: dict[UUID, float] = dict(rows(texts.app, score, "vegitarian"))
    assert set(typed) == set(meant)
    assert all(0 < meant[message_id] < typed[message_id] for message_id in typed)


COUNTED = [
    "vegitarian",
    "vegitarian menu",
    "vegitarian hands",
    "vegitarian OR cakes",
    "vegitarian -menu",
    "zzzzzz",
    "gateuax at:noon",
]


@pytest.mark.parametrize("query", COUNTED)
def test_counts_and_facets_agree_with_a_search(texts: Texts, query: str) -> None:
    found = rows(texts.app, "SELECT stage FROM guestcomms.search_messages(%s, sort => 'recent', max_rows => 200)", query)
    assert len({row[0] for row in found}) <= 1
    stage = found[0][0] if found else None
    assert rows(texts.app, "SELECT * FROM guestcomms.count_matches(%s)", query) == [(len(found), True, stage)]
    facets = rows(texts.app, "SELECT value, message_count FROM guestcomms.search_facets(%s) WHERE facet = 'channel'", query)
    assert facets == ([("sms", len(found))] if found else [])


# Order and pages

COUNT = 60
SORTS = ["relevant", "recent"]


def page_texts(store: Store, name: str) -> Texts:
    """COUNT messages, some at the same instant, about half of them with the word that is meant."""
    texts = add_texts(store, name, {})
    random = Random(name)
    words = ["vegetarian", "vegetarian", "menu", "flowers", "party", "arrival", "garden"]
    elements = [
        message(
            texts.guest,
            language="en",
            body=" ".join(random.choices(words, k=random.randint(2, 9))),
            sent_at=(now() - timedelta(days=n // 3)).replace(microsecond=0).isoformat(),
        )
        for n in range(COUNT)
    ]
    texts.names = dict.fromkeys(record_all(texts.app, elements), "")
    count_all(store)
    return texts


def pages(app: Connection, query: str, options: str, max_rows: int, between: Callable[[], object] = lambda: None) -> list[Row]:
    """All pages, with something happening between any two; by time without scores, which are by the age within a page."""
    statement = f"SELECT * FROM guestcomms.search_messages(%s, max_rows => %s, after => %s, {options})".encode()
    found: list[Row] = []
    after = None
    while page := rows(app, statement, query, max_rows, after):
        assert len(page) <= max_rows
        found += [row[:6] + row[7 if "recent" in options else 6 : -1] for row in page]
        after = page[-1][-1]
        assert len(found) <= 2 * COUNT, "paging goes round in circles"
        between()
    return found


@pytest.fixture(scope="module")
def paged(store: Store) -> Texts:
    return page_texts(store, "Paged")


OPTIONS = ["sort => 'relevant'", "sort => 'recent'", "is_expanded => true", "is_expanded => true, sort => 'recent'"]
PAGED = [
    "vegitarian",
    "vegitarian menu",
    "vegitarian flwoers partty",
    "vegitarian -party",
    "garden OR vegitarian",
    "vegitarian zzzzzz",
]


@pytest.mark.parametrize("query", PAGED)
@pytest.mark.parametrize("options", OPTIONS)
def test_pages_of_one_row_are_one_big_page(paged: Texts, query: str, options: str) -> None:
    whole = pages(paged.app, query, options, 200)
    assert len(whole) > 5
    assert pages(paged.app, query, options, 1) == whole
    if "zzzzzz" not in query and "expanded" not in options:
        assert CORRECTED in whole[0]


@pytest.mark.parametrize("query", ["vegitarian", "vegitarian menu"])
@pytest.mark.parametrize("options", OPTIONS)
def test_pages_stay_while_the_mistyped_word_arrives_and_is_counted(
    store: Store, query: str, options: str, request: pytest.FixtureRequest
) -> None:
    texts = page_texts(store, request.node.name)
    whole = pages(texts.app, query, options, 200)

    def arrive() -> None:
        texts.add({f"new {len(texts.names)}": "vegitarian menu of the party"})

    stepwise = pages(texts.app, query, options, 9, arrive)
    assert len(texts.names) > COUNT + 2
    assert stepwise == whole
    # A search that begins now takes the word as it is.
    assert all(clause["kind"] != "correction" for clause in clauses(texts.app, query))
    fresh = pages(texts.app, query, options, 200)
    assert {texts.names[row[0]][:3] for row in fresh if "all words" in row} <= {"new"}
    assert fresh != whole


@pytest.mark.parametrize("options", OPTIONS[:2])
def test_pages_stay_while_the_word_that_was_meant_goes(store: Store, options: str, request: pytest.FixtureRequest) -> None:
    """And another takes its place among the corrections."""
    texts = page_texts(store, request.node.name)
    first = "SELECT message_id, cursor FROM guestcomms.search_messages('vegitarian', max_rows => 5, after => %s, "
    statement = f"{first}{options})".encode()
    page = rows(texts.app, statement, None)
    whole = [row[0] for row in pages(texts.app, "vegitarian", options, 200)]
    texts.add({f"other {n}": "vegitairan" for n in range(5)})
    assert clauses(texts.app, "vegitarian")[1]["value"] == "vegitairan"
    rest = []
    while page:
        rest += [row[0] for row in page]
        page = rows(texts.app, statement, page[-1][1])
    assert rest == whole


def test_recent_is_newest_first(paged: Texts) -> None:
    found = pages(paged.app, "vegitarian menu", "sort => 'recent'", 200)
    order = [(row[1], row[0]) for row in found]
    assert order == sorted(order, reverse=True)
    assert {row[8] for row in found} == {CORRECTED}
    held = column(
        paged.app, "SELECT message_id FROM guestcomms.search_messages('vegetarian menu', sort => 'recent', max_rows => 200)"
    )
    assert [row[0] for row in found] == held


def test_relevant_is_by_stage_then_score(paged: Texts) -> None:
    found = pages(paged.app, "vegitarian flowers party garden arrival", "sort => 'relevant'", 200)
    order = [(row[9] == CORRECTED, row[6], row[1], row[0]) for row in found]
    assert order == sorted(order, reverse=True)
    assert {row[9] for row in found} == {CORRECTED, "any word"}
    all_words = column(
        paged.app,
        "SELECT message_id FROM guestcomms.search_messages('vegetarian flowers party garden arrival', max_rows => 200)"
        " WHERE stage = 'all words'",
    )
    assert {row[0] for row in found if row[9] == CORRECTED} == set(all_words)


def test_an_expanded_search_is_widened_by_what_was_meant(texts: Texts) -> None:
    found = rows(texts.app, "SELECT message_id, stage FROM guestcomms.search_messages('vegitarian', is_expanded => true)")
    assert {row[1] for row in found} == {"expanded"}
    names = {texts.names[row[0]] for row in found}
    assert {"menu", "order", "both"} <= names


def test_a_cursor_serves_with_the_correction_switched_off(texts: Texts, operator: Connection) -> None:
    """Pages go on as they began."""
    statement = "SELECT message_id, cursor FROM guestcomms.search_messages('vegitarian', max_rows => %s, after => %s)"
    whole = [row[0] for row in rows(texts.app, statement, 10, None)]
    ((first, cursor),) = rows(texts.app, statement, 1, None)
    operator.execute("SELECT guestcomms.set_setting('search.correct_words', 'false')")
    assert [first] + [row[0] for row in rows(texts.app, statement, 10, cursor)] == whole


@pytest.mark.parametrize("max_rows", [1, 3])
@pytest.mark.parametrize(
    ("query", "old", "new", "count"),
    [
        # what is newer only has the stem
        ("vegitarian celebration*", "vegetarian celebrations", "vegetarian celebrated", 8),
        ('vegitarian "garden party"', "vegetarian garden party", "vegetarian gardens party", 8),
        # what is newer only has some of the words, of which there are enough with all
        ("vegitarian flwoers roses", "vegetarian flowers roses", "roses", 12),
        # those with all words and those with some are looked for one after the other
        ("vegitarian flwoers", "vegetarian flowers", "flowers", 6),
    ],
)
def test_pages_agree_whatever_newer_messages_were_looked_at(
    store: Store, query: str, old: str, new: str, count: int, max_rows: int, request: pytest.FixtureRequest
) -> None:
    texts = add_texts(store, request.node.name, {})
    others = 1500 if count == 6 else 300
    bodies = (
        [(old, 200 + n) for n in range(count)] + [(new, n) for n in range(2)] + [("other things", n % 90) for n in range(others)]
    )
    if count == 6:
        bodies += [(body, n % 90) for body in ("vegetarian", "flowers") for n in range(250)]
    record_all(
        texts.app,
        [
            message(texts.guest, language="en", body=body, sent_at=(now() - timedelta(days=days)).isoformat())
            for body, days in bodies
        ],
    )
    count_all(store)
    statement = "SELECT message_id, stage, score, cursor FROM guestcomms.search_messages(%s, max_rows => %s, after => %s)"
    whole = [row[:-1] for row in rows(texts.app, statement, query, 20, None)]
    assert [row[1] for row in whole[:count]] == [CORRECTED] * count
    found: list[Row] = []
    after = None
    while len(found) < len(whole) and (page := rows(texts.app, statement, query, max_rows, after)):
        found += [row[:-1] for row in page]
        after = page[-1][-1]
    assert found[: len(whole)] == whole
