"""What is suggested while a query is typed: words, pairs and names, in which order; and that what is taken finds something."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.database import Connection, Database, fresh_database
from tests.support.queries import Row, column, one, refused, rows
from tests.support.statistics import LATELY, Place, refresh_all
from tests.support.store import Store, create_tenants
from tests.support.traffic import add_guest, new_message_id
from tools.cluster import Cluster

SUGGEST = "SELECT suggestion, kind, message_count, query FROM guestcomms.suggest_terms(%s, max_rows => %s)"
SEARCH = "SELECT message_id FROM guestcomms.search_messages(%s, max_rows => 200) WHERE stage <> 'any word'"
SET = "SELECT guestcomms.set_setting(%s, %s)"
TERMS = ("word", "phrase")
Suggest = Callable[..., list[Row]]
# Who wrote, how many days before the newest, in which language, what.
MESSAGES = [
    ("Zoë Kaya", 0, "en", "The vegetarian menu, please"),
    ("Zoë Kaya", 1, "en", "A vegetarian dessert with the coffee"),
    ("Ana Wolf", 2, "en", "Is the vegetarian menu ready?"),
    ("Ana Wolf", 3, "en", "vegan dishes and a seating plan"),
    ("Ana Wolf", 4, "en", "Seating plan for the wonderful evening"),
    ("Bo Wood", 5, "en", "A wonderful evening and a wooden floor"),
    ("Bo Wood", 6, "en", "Meet at the Café Lumière"),
    ("Bo Wood", 10, "en", "dahlias"),
    ("Bo Wood", 250, "en", "daisies"),
    ("Bo Wood", 251, "en", "daisies"),
    ("Bo Wood", 120, "en", "daffodils"),
    ("Bo Wood", 121, "en", "daffodils"),
    ("Jürgen Müller", 7, "de", "Die schöne Straße und das Frühstück"),
    ("Анна Кузнецова", 8, "ru", "Ёлка и свадебное платье"),
    ("Ελένη Παππά", 9, "el", "Μετά γαμήλιο γλέντι"),
    ("ليلى حداد", 10, "ar", "قائمة الطعام النباتية"),
    ("王小明", 11, "zh", "素食菜单。请问"),
    ("Nobody Else", 12, None, "ok roses, ok river"),
]
SECOND = ["able", "baker", "candid", "dance", "eager", "fable", "gamma", "happy", "india", "jolly", "kilo"]
STAFF = {"wedding": "Kaya & Wolf", "campaign": "Winter woods"}


def add_names(root: Connection, tenant: UUID) -> dict[str, UUID]:
    """A wedding and a campaign, by their names."""
    return {
        name: one(
            root, f"INSERT INTO guestcomms.{kind}s (tenant_id, name) VALUES (%s, %s) RETURNING {kind}_id".encode(), tenant, name
        )
        for kind, name in STAFF.items()
    }


def add_named(root: Connection, tenant: UUID, name: str | None) -> Place:
    guest = one(root, "INSERT INTO guestcomms.guests (tenant_id, display_name) VALUES (%s, %s) RETURNING guest_id", tenant, name)
    thread = one(root, "INSERT INTO guestcomms.threads (tenant_id, guest_id) VALUES (%s, %s) RETURNING thread_id", tenant, guest)
    return Place(tenant, guest, thread)


def days_ago(root: Connection, days: int) -> UUID:
    return new_message_id(root, LATELY - timedelta(days=days))


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    connection = store.connect()
    connection.execute(SET, ["suggest.min_guests", "1"])
    return connection


@pytest.fixture(scope="module")
def guests(store: Store, root: Connection) -> dict[str, Place]:
    """Guests by name, whose messages are counted; two of them are of the wedding and the campaign."""
    names = add_names(root, store.tenant_a)
    found = {name: add_named(root, store.tenant_a, name) for name in dict.fromkeys(guest for guest, *_ in MESSAGES)}
    for name, days, language, body in MESSAGES:
        identifier = found[name].write(root, days_ago(root, days), body, language=language)
        if days in (0, 4):
            root.execute(
                "UPDATE guestcomms.messages SET wedding_id = %s WHERE message_id = %s", [names["Kaya & Wolf"], identifier]
            )
        if days in (5, 6):
            root.execute(
                "UPDATE guestcomms.messages SET campaign_id = %s WHERE message_id = %s", [names["Winter woods"], identifier]
            )
    other = add_named(root, store.tenant_b, "Vera Foreign")
    other.write(root, days_ago(root, 0), "vegetarian zucchini of another tenant")
    refresh_all(root)
    return found


@pytest.fixture(scope="module")
def app(store: Store, guests: dict[str, Place]) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def suggest(app: Connection) -> Suggest:
    def suggested(prefix: str | None, max_rows: int | None = 10) -> list[Row]:
        return rows(app, SUGGEST, prefix, max_rows)

    return suggested


def texts(found: list[Row], *kinds: str) -> list[str]:
    return [row[0] for row in found if not kinds or row[1] in kinds]


# Words and pairs of words


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("veg", ["vegetarian", "vegetarian menu", "vegetarian dessert", "vegan", "vegan dishes"]),
        ("vegetarian", ["vegetarian", "vegetarian menu", "vegetarian dessert"]),
        ("vegetarian ", ["vegetarian menu", "vegetarian dessert"]),
        ("vegetarian m", ["vegetarian menu", "vegetarian meet"]),
        ("VEGETARIAN M", ["vegetarian menu", "VEGETARIAN meet"]),
        ("Two  vegetarian m", ["Two  vegetarian menu", "Two  vegetarian meet"]),
        ("roses seat", ["roses seating"]),
        ("vegetarian seating p", ["vegetarian seating plan", "vegetarian seating please"]),
        ("channel:sms sea", ["channel:sms seating"]),
        ('"seating p', ['"seating plan', '"seating please']),
        ('"vegetarian menu" coff', ['"vegetarian menu" coffee']),
        ("menu OR coff", ["menu OR coffee"]),
        ("-woode", ["-wooden", "-wooden floor"]),
        ("menu -woode", ["menu -wooden", "menu -wooden floor"]),
        ("(woode", ["(wooden", "(wooden floor"]),
        ("(menu OR (woode", ["(menu OR (wooden", "(menu OR (wooden floor"]),
        # two before one a little newer, not before one much newer
        ("da", ["daffodils", "dahlias", "daisies"]),
        ("caf", ["café", "café lumière"]),
        ("CAFÉ", ["café", "café lumière"]),
        ("cafe lumi", ["café lumière", "cafe lumière"]),
        ("strasse", ["straße"]),
        ("STRAß", ["straße"]),
        ("fruh", ["frühstück"]),
        ("елк", ["ёлка"]),
        ("Ёл", ["ёлка"]),
        ("СВАД", ["свадебное", "свадебное платье"]),
        ("γαμη", ["γαμήλιο", "γαμήλιο γλέντι"]),
        ("ΓΑΜΉ", ["γαμήλιο", "γαμήλιο γλέντι"]),
        ("قائ", ["قائمة", "قائمة الطعام"]),
        ("素", ["素食菜单", "素食菜单 请问"]),
        ("素食菜", ["素食菜单", "素食菜单 请问"]),
        ("ok", ["ok", "ok river", "ok roses"]),
        ("ok ", ["ok river", "ok roses"]),
        ("menu ok ", ["menu ok river", "menu ok roses"]),
        ("ok r", ["ok river", "ok roses", "ok ready", "ok river", "ok roses"]),
        # nothing
        ("vegz", []),
        ("zucch", []),
        ("the", []),
        ("veg*", []),
        ("channel:", []),
        ("status:re", []),
        ("menu has:", []),
    ],
)
def test_words_that_begin_so(suggest: Suggest, typed: str, expected: list[str]) -> None:
    found = [row for row in suggest(typed) if row[1] in TERMS]
    assert texts(found) == list(dict.fromkeys(expected))
    assert all(query == suggestion and count > 0 for suggestion, _, count, query in found)


def test_kinds_and_counts(suggest: Suggest) -> None:
    assert suggest("vegetarian") == [
        ("vegetarian", "word", 3, "vegetarian"),
        ("vegetarian menu", "phrase", 2, "vegetarian menu"),
        ("vegetarian dessert", "phrase", 1, "vegetarian dessert"),
    ]
    found = suggest("wo", 20)
    assert texts(found, *TERMS) == ["wonderful", "wonderful evening", "wooden", "wooden floor"]
    assert [row for row in found if row[1] not in TERMS] == [
        ("Bo Wood", "guest", 7, 'guest:"Bo Wood"'),
        ("Ana Wolf", "guest", 3, 'guest:"Ana Wolf"'),
        ("Kaya & Wolf", "wedding", 2, 'wedding:"Kaya & Wolf"'),
        ("Winter woods", "campaign", 2, 'campaign:"Winter woods"'),
    ]
    # The first name after two terms, then each second.
    assert [row[1] in TERMS for row in found] == [True, True, False, True, True, False, False, False]


@pytest.mark.parametrize("prefix", ["", None, " ", "   "])
def test_before_anything_is_typed(suggest: Suggest, prefix: str | None) -> None:
    """The most used of all."""
    found = suggest(prefix)
    assert len(found) == 10
    assert found[0] == ("vegetarian", "word", 3, "vegetarian")
    assert {row[1] for row in found} == set(TERMS)


@pytest.mark.parametrize("max_rows", range(1, 21))
def test_no_more_than_asked_for(suggest: Suggest, max_rows: int) -> None:
    assert len(suggest("", max_rows)) == max_rows
    assert suggest("w", max_rows) == suggest("w", 20)[:max_rows]


@pytest.mark.parametrize("max_rows", [0, -1, 21, None])
def test_a_bad_number_of_rows_is_refused(suggest: Suggest, max_rows: int | None) -> None:
    for prefix in ("veg", "from:zo", ""):
        with refused("22023") as caught:
            suggest(prefix, max_rows)
        assert caught.value.diag.message_hint


def test_without_a_tenant_it_is_refused(store: Store, guests: dict[str, Place]) -> None:
    with store.connect("app_login") as connection, refused("GC001"):
        rows(connection, SUGGEST, "veg", 10)


def test_another_tenants_words_and_names(store: Store, guests: dict[str, Place]) -> None:
    other = store.connect("other_app_login", store.tenant_b)
    assert set(texts(rows(other, SUGGEST, "", 20))) == {
        *("vegetarian", "zucchini", "another", "tenant"),
        *("vegetarian zucchini", "another tenant"),
    }
    assert rows(other, SUGGEST, "seating", 10) == []
    assert rows(other, SUGGEST, "kaya", 10) == []
    assert texts(rows(other, SUGGEST, "ve", 10), "guest") == ["Vera Foreign"]


def test_words_are_not_starved_by_pairs(store: Store, new_database: Callable[..., Database]) -> None:
    """After a word, other words come where ten pairs are used more than they are."""
    fresh = create_tenants(new_database())
    root = fresh.connect()
    root.execute(SET, ["suggest.min_guests", "1"])
    place = add_named(root, fresh.tenant_a, None)
    for number, second in enumerate(SECOND):
        place.write(root, days_ago(root, number), f"vegetarian {second}")
    place.write(root, days_ago(root, 100), "vegetables")
    refresh_all(root)
    app = fresh.connect("app_login", fresh.tenant_a)
    assert texts(rows(app, SUGGEST, "roses vege", 10)) == ["roses vegetarian", "roses vegetables"]


# The least number of guests


@pytest.fixture
def operator(store: Store, guests: dict[str, Place]) -> Iterator[Connection]:
    """With tenant A open; its setting is taken back."""
    connection = store.connect("operator_login", store.tenant_a)
    yield connection
    connection.execute(SET, ["suggest.min_guests", None])
    refresh_all(connection)
    connection.close()


@pytest.mark.parametrize("least", [2, 3, 5])
def test_a_word_is_suggested_from_so_many_guests_on(
    root: Connection, suggest: Suggest, operator: Connection, guests: dict[str, Place], least: int
) -> None:
    operator.execute(SET, ["suggest.min_guests", str(least)])
    word = f"quarz{'abcdef'[least]}k"
    prefixes = ("q", "qu", "qua", word[:5], word)
    for number, place in enumerate(list(guests.values())[:least], 1):
        for _ in range(2):
            place.write(root, days_ago(root, 1), f"{word} crystal")
        refresh_all(operator)
        for prefix in prefixes:
            assert (word in texts(suggest(prefix))) == (number >= least)
            assert (f"{word} crystal" in texts(suggest(prefix))) == (number >= least)
    # Raised, it hides at once; lowered, it shows once the job has run.
    operator.execute(SET, ["suggest.min_guests", str(least + 1)])
    assert not any(word in texts(suggest(prefix)) for prefix in prefixes)
    refresh_all(operator)
    assert not any(word in texts(suggest(prefix)) for prefix in prefixes)
    operator.execute(SET, ["suggest.min_guests", "1"])
    refresh_all(operator)
    assert all(word in texts(suggest(prefix)) for prefix in prefixes)
    root.execute("DELETE FROM guestcomms.messages WHERE body LIKE 'quarz%'")
    refresh_all(operator)
    assert not any(word in texts(suggest(prefix)) for prefix in prefixes)


def test_three_guests_unless_set_otherwise(new_database: Callable[..., Database]) -> None:
    fresh = create_tenants(new_database())
    root = fresh.connect()
    app = fresh.connect("app_login", fresh.tenant_a)
    for number in range(1, 4):
        add_named(root, fresh.tenant_a, None).write(root, days_ago(root, 0), "marzipan")
        refresh_all(root)
        assert [texts(rows(app, SUGGEST, prefix, 10)) for prefix in ("ma", "marzi")] == [["marzipan"] * (number >= 3)] * 2


# Names


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("zo", {("Zoë Kaya", "guest")}),
        ("ZOË", {("Zoë Kaya", "guest")}),
        ("zoe kay", {("Zoë Kaya", "guest")}),
        ("kaya z", {("Zoë Kaya", "guest")}),
        ("kay", {("Zoë Kaya", "guest"), ("Kaya & Wolf", "wedding")}),
        ("win", {("Winter woods", "campaign")}),
        ("muller", {("Jürgen Müller", "guest")}),
        ("анн", {("Анна Кузнецова", "guest")}),
        ("ελένη", {("Ελένη Παππά", "guest")}),
        ("ليلى", {("ليلى حداد", "guest")}),
        ("王", {("王小明", "guest")}),
        ("vera", set()),
        ("aya", set()),
        ("zoe menu", set()),
        ("from:zo", {("Zoë Kaya", "guest")}),
        ("from:", set()),
        ("from:vera", set()),
        ("to:kay", {("Zoë Kaya", "guest")}),
        ("guest:kay", {("Zoë Kaya", "guest")}),
        ("wedding:kay", {("Kaya & Wolf", "wedding")}),
        ("wedding:win", set()),
        ("campaign:win", {("Winter woods", "campaign")}),
        ('from:"zoe k', {("Zoë Kaya", "guest")}),
        ('from:"zoe k"', {("Zoë Kaya", "guest")}),
        ("FROM:zo", {("Zoë Kaya", "guest")}),
    ],
)
def test_names(suggest: Suggest, typed: str, expected: set[tuple[str, str]]) -> None:
    found = suggest(typed)
    assert {row[:2] for row in found if row[1] not in TERMS} - {(typed, "correction")} == expected
    if ":" in typed:
        assert {row[:2] for row in found} == expected


@pytest.mark.parametrize(
    ("typed", "query"),
    [
        ("kaya z", 'guest:"Zoë Kaya"'),
        ("from:zo", 'from:"Zoë Kaya"'),
        ("TO:zo", 'to:"Zoë Kaya"'),
        ('guest:"zoe k', 'guest:"Zoë Kaya"'),
        ("vegetarian  from:zo", 'vegetarian  from:"Zoë Kaya"'),
        ('"vegetarian menu" from:zo', '"vegetarian menu" from:"Zoë Kaya"'),
        ("-from:zo", '-from:"Zoë Kaya"'),
        ("menu -guest:zo", 'menu -guest:"Zoë Kaya"'),
        ("wedding:kaya", 'wedding:"Kaya & Wolf"'),
        ("-wedding:kaya", '-wedding:"Kaya & Wolf"'),
        ("campaign:win", 'campaign:"Winter woods"'),
    ],
)
def test_the_query_of_a_name(suggest: Suggest, typed: str, query: str) -> None:
    assert [row[3] for row in suggest(typed)] == [query]


@pytest.mark.parametrize("typed", ["-zo", "-kay", "menu -zo"])
def test_what_is_left_out_is_not_asked_for(suggest: Suggest, typed: str) -> None:
    """A name in the place of an excluded word is left out, too, or is not suggested."""
    assert all(row[3].startswith(("-", "menu -")) for row in suggest(typed))


@pytest.mark.parametrize("name", list(dict.fromkeys(guest for guest, *_ in MESSAGES)))
@pytest.mark.parametrize("field", ["", "from:", "guest:"])
def test_a_guest_that_is_taken_is_found(
    app: Connection, suggest: Suggest, guests: dict[str, Place], field: str, name: str
) -> None:
    (query,) = (row[3] for row in suggest(f"{field}{name.split()[0]}") if row[:2] == (name, "guest"))
    wanted = column(app, SEARCH.replace("message_id FROM", "message_id, guest_id FROM"), query)
    assert set(column(app, SEARCH.replace("SELECT message_id", "SELECT guest_id"), query)) == {guests[name].guest}
    assert len(wanted) == sum(guest == name for guest, *_ in MESSAGES)


@pytest.mark.parametrize(("kind", "count"), [("wedding", 2), ("campaign", 2)])
def test_what_else_is_taken_is_found(app: Connection, suggest: Suggest, kind: str, count: int) -> None:
    for typed in (STAFF[kind], f"{kind}:{STAFF[kind][:3]}"):
        (query,) = (row[3] for row in suggest(typed) if row[1] == kind)
        assert len(column(app, SEARCH, query)) == count


AWKWARD = [
    'William "Bill" Smithers',
    'Jo"Anne Quillfeather',
    "William “Bill” Typograph",
    "«Nana» Guillemet",
    "O'Quigley Hyphen-Barr",
    "Quentin\\Backslash",
    "Dr. Q. Full-Stop, Jr.",
    "Quiana: Colon",
    "-Quade Minus",
    "Quinn (of sms)",
    "OR Quasimodo",
    "Quarrel\nNewline",
    "quebec@example.com",
    "+44 7700 900999",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_name_with_marks_is_found(store: Store, root: Connection, app: Connection, suggest: Suggest, name: str) -> None:
    place = add_named(root, store.tenant_a, name)
    identifier = place.write(root, days_ago(root, 0), "here is something")
    refresh_all(root)
    try:
        typed = max(re.findall(r"\w+", name.partition("@")[0]), key=len)
        for field in ("", "guest:", "from:"):
            queries = [row[3] for row in suggest(field + typed, 20) if row[:2] == (name, "guest")]
            assert len(queries) == 1
            assert column(app, SEARCH, queries[0]) == [identifier]
    finally:
        root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [identifier])
        root.execute("UPDATE guestcomms.guests SET display_name = NULL WHERE guest_id = %s", [place.guest])
        refresh_all(root)


def test_two_guests_of_one_name_are_one_suggestion(new_database: Callable[..., Database]) -> None:
    fresh = create_tenants(new_database())
    root = fresh.connect()
    places = [add_named(root, fresh.tenant_a, "Quirin Twin") for _ in range(2)]
    found = [place.write(root, days_ago(root, 0), "a message") for place in places]
    refresh_all(root)
    app = fresh.connect("app_login", fresh.tenant_a)
    for typed in ("q", "quir", "guest:quir", "from:qu"):
        names = rows(app, SUGGEST, typed, 10)
        assert [row[:3] for row in names] == [("Quirin Twin", "guest", 2)]
        assert set(column(app, SEARCH, names[0][3])) == set(found)


def test_the_busiest_names_come_first(store: Store, new_database: Callable[..., Database]) -> None:
    fresh = create_tenants(new_database())
    root = fresh.connect()
    for name, days in (("Xenia Once", [0]), ("Xaver Thrice", [0, 1, 2]), ("Ximena Older", [170, 171]), ("Xyla Never", [])):
        place = add_named(root, fresh.tenant_a, name)
        for day in days:
            place.write(root, days_ago(root, day), "hello")
    refresh_all(root)
    app = fresh.connect("app_login", fresh.tenant_a)
    assert [row[:3] for row in rows(app, SUGGEST, "x", 10)] == [
        ("Xaver Thrice", "guest", 3),
        ("Ximena Older", "guest", 2),
        ("Xenia Once", "guest", 1),
    ]
    for typed in ("x", "from:x", "guest:x"):
        assert texts(rows(app, SUGGEST, typed, 2)) == ["Xaver Thrice", "Ximena Older"]
    assert [row[:3] for row in rows(app, SUGGEST, "from:xyl", 10)] == [("Xyla Never", "guest", 0)]


# Corrections


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("vegitarian", "vegetarian"),
        ("Vegitarian", "Vegetarian"),
        ("menu vegitarian", "menu vegetarian"),
        ("vegitarian menuu", "vegetarian menu"),
        ("seeting", "seating"),
        ("(wonderfull", "(wonderful"),
    ],
)
def test_corrections_where_nothing_begins_so(suggest: Suggest, typed: str, expected: str) -> None:
    assert suggest(typed) == [(expected, "correction", None, expected)]


@pytest.mark.parametrize("typed", ["vegetarian", "vegeta", "zzzzqqqq", "-vegitarian", "from:vegitarian", '"vegitarian'])
def test_no_correction_of_what_begins_so_or_means_nothing(suggest: Suggest, typed: str) -> None:
    assert "correction" not in {row[1] for row in suggest(typed)}


# Anything may be typed

ALPHABET = st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"])
PIECES = st.sampled_from(
    [
        "veg",
        "vegetarian",
        "menu",
        "ok",
        "ok ",
        "zoe",
        "from:",
        "-",
        '"',
        "(",
        ")",
        " ",
        "  ",
        ":",
        "*",
        "OR",
        "\t",
        "\n",
        "素食",
        "É",
        "\\",
        "'",
        "%",
        "wedding:",
    ]
)
TYPED = st.one_of(st.text(ALPHABET, max_size=60), st.lists(PIECES, max_size=12).map("".join))


def before_last_two(typed: str) -> str:
    """What stays whatever is taken: all but leading blanks and the last two words."""
    return re.sub(r"[^ \t\n\r\f\v]*[ \t\n\r\f\v]*[^ \t\n\r\f\v]*\Z", "", typed.lstrip(" "))


@settings(deadline=None, max_examples=500, suppress_health_check=list(HealthCheck))
@given(typed=TYPED, max_rows=st.integers(1, 20))
def test_anything_is_answered(suggest: Suggest, typed: str, max_rows: int) -> None:
    found = suggest(typed, max_rows)
    assert len(found) <= max_rows
    assert len({row[:2] for row in found}) == len(found)
    for suggestion, kind, count, query in found:
        if kind in TERMS:
            assert suggestion.startswith(before_last_two(typed))
            assert suggestion == query
            assert count > 0


@pytest.mark.parametrize("piece", ["a", "vegetarian ", '"', "from:", "((", "é", "素食", "\n", "-", "\\", "a:b ", "\U0001f600"])
def test_a_megabyte_is_answered(suggest: Suggest, piece: str) -> None:
    assert len(suggest(piece * (1_000_000 // len(piece.encode())))) <= 10
    assert len(suggest(" " * 1_000_000 + piece)) <= 10


@pytest.mark.parametrize(
    "typed",
    ["vegetarian " * 18 + "me", "roses " * 34 + "menu seating pla", "roses " * 40 + "vegitarian", "x" * 250 + " menu veg"],
)
def test_nothing_of_a_long_text_is_lost(suggest: Suggest, typed: str) -> None:
    assert all(suggestion.startswith(before_last_two(typed)) for suggestion in texts(suggest(typed)))


# What is taken finds something


def test_what_is_taken_finds_a_message(app: Connection, root: Connection, suggest: Suggest, store: Store) -> None:
    terms = column(root, "SELECT term FROM guestcomms.vocabulary WHERE tenant_id = %s AND message_count > 0", store.tenant_a)
    assert len(terms) > 50
    queries = {
        row[3]
        for term in terms
        for length in range(len(term) + 1)
        for row in suggest(term[:length], 20)
        if " " not in term[:length] or row[1] == "phrase"
    }
    assert len(queries) >= len(terms)
    assert [query for query in queries if not column(app, SEARCH, query)] == []


# Prepared beginnings


class Reference:
    """Answers from the vocabulary itself: the ten best words and pairs of words."""

    def __init__(self, root: Connection, tenant: UUID, least: int) -> None:
        query = (
            "SELECT term, weight, is_phrase, message_count, cardinality(guests) FROM guestcomms.vocabulary WHERE tenant_id = %s"
        )
        found = [row[:3] for row in rows(root, query, tenant) if row[3] > 0 and row[4] >= least]
        self.terms = sorted(found, key=lambda row: (-row[1], row[0]))

    def best(self, prefix: str, is_phrase: bool) -> list[Row]:
        return [row for row in self.terms if row[2] == is_phrase and row[0].startswith(prefix)][:10]

    def answer(self, typed: str) -> list[str]:
        """For at most two words."""
        found = sorted(self.best(typed, False) + self.best(typed, True), key=lambda row: -row[1])
        first, blank, last = typed.partition(" ")
        words = self.best(last, False) if blank and last else []
        return list(dict.fromkeys([row[0] for row in found] + [f"{first} {row[0]}" for row in words]))[:10]


@pytest.mark.parametrize(("least", "max_rows"), [(1, 20_000), (2, 40)])
def test_prepared_beginnings_are_the_best_of_the_vocabulary(
    new_database: Callable[..., Database], least: int, max_rows: int
) -> None:
    """After messages came, were edited and went, for every beginning of up to five letters."""
    fresh = create_tenants(new_database())
    root = fresh.connect()
    root.execute(SET, ["suggest.min_guests", str(least)])
    chance = random.Random(least)
    vocabulary = ["".join(chance.choices("abcd", k=chance.choice([2, 2, 3, 4, 5, 6]))) for _ in range(90)]
    places = [add_named(root, fresh.tenant_a, None) for _ in range(4)]

    def text() -> str:
        return " ".join(chance.choices(vocabulary, weights=range(1, 91), k=chance.choice([1, 2, 3])))

    written = []
    with root.transaction():
        for number in range(500):
            body = text()
            written.append(chance.choice(places).write(root, days_ago(root, number % 200), body, language=None))
    for number in range(5):
        refresh_all(root, max_rows)
        with root.transaction():
            for identifier in chance.sample(written, 40):
                root.execute("UPDATE guestcomms.messages SET body = %s WHERE message_id = %s", [text(), identifier])
            gone = written[number * 30 : number * 30 + 30]
            root.execute("DELETE FROM guestcomms.messages WHERE message_id = ANY (%s)", [gone])
    refresh_all(root, max_rows)
    reference = Reference(root, fresh.tenant_a, least)
    app = fresh.connect("app_login", fresh.tenant_a)
    typed = {row[0][:length] for row in reference.terms for length in range(6)}
    assert len(typed) > 80
    wrong = {
        prefix: (found, expected)
        for prefix in sorted(typed)
        if (found := texts(rows(app, SUGGEST, prefix, 10), *TERMS)) != (expected := reference.answer(prefix))
    }
    assert not wrong


# What is read


@pytest.fixture(scope="module")
def large(cluster: Cluster, template: str, logins: None) -> Iterator[Store]:
    with fresh_database(cluster, template) as database:
        large = create_tenants(database)
        root = large.connect()
        root.execute(
            f"""
            ALTER DATABASE {database.name} SET session_preload_libraries = 'auto_explain';
            ALTER DATABASE {database.name} SET auto_explain.log_min_duration = 0;
            ALTER DATABASE {database.name} SET auto_explain.log_nested_statements = on;
            """
        )
        root.execute(
            """
            INSERT INTO guestcomms.vocabulary (tenant_id, term, written, written_count, is_phrase, message_count, weight, guests)
            SELECT t.tenant_id, w.word, w.word, 5, false, 5, n, '{1,2,3,4}'
            FROM guestcomms.tenants AS t CROSS JOIN generate_series(1, 20000) AS n
            CROSS JOIN LATERAL (SELECT translate(md5(n::text), '0123456789', 'ghijklmnop')) AS w (word)
            """
        )
        root.execute("SELECT guestcomms_internal.refresh_all_prefixes(t.tenant_id) FROM guestcomms.tenants AS t")
        root.execute("VACUUM ANALYZE")
        yield large


def plans(large: Store, typed: str) -> list[str]:
    """The plans of the statements within it, as the application's role runs it."""
    app = large.connect("app_login", large.tenant_a)
    found: list[str] = []
    app.execute("SET client_min_messages = 'log'")
    app.add_notice_handler(lambda notice: found.append(notice.message_primary or ""))
    assert rows(app, SUGGEST, typed, 10)
    app.close()
    return found


def buffers(large: Store, typed: str) -> int:
    app = large.connect("app_login", large.tenant_a)
    for _ in range(4):
        plan = one(app, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + SUGGEST, typed, 10)
    app.close()
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


def first_word(large: Store) -> str:
    found: str = one(
        large.connect(), "SELECT term FROM guestcomms.vocabulary WHERE tenant_id = %s ORDER BY term LIMIT 1", large.tenant_a
    )
    return found


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 12])
def test_indexes_are_used_within_the_function(large: Store, length: int) -> None:
    typed = first_word(large)[:length]
    read = [plan for plan in plans(large, typed) if "guestcomms.vocabulary AS o" in plan]
    assert read
    assert all("vocabulary_pkey" in plan for plan in read)
    assert not any(re.search(r"Seq Scan on \w*\.?(vocabulary|suggestion_prefixes|name_statistics)", plan) for plan in read)
    if length <= 3:
        assert any("suggestion_prefixes_pkey" in plan for plan in read)


def test_little_is_read(large: Store) -> None:
    """Of the many words: far fewer pages than one tenant's have, for what begins some of them and what begins none."""
    pages = one(large.connect(), "SELECT relpages FROM pg_class WHERE oid = 'guestcomms.vocabulary'::regclass")
    word = first_word(large)
    read = {typed: buffers(large, typed) for typed in ("", word[:1], word[:2], word[:3], word[:5], word[:12], "zzzzzz")}
    assert {typed: count for typed, count in read.items() if count > pages / 2} == {}


# As an app does it


def test_a_query_is_typed_letter_by_letter(store: Store, new_database: Callable[..., Database]) -> None:
    fresh = create_tenants(new_database())
    root = fresh.connect()
    root.execute(SET, ["suggest.min_guests", "2"])
    with fresh.connect("app_login", fresh.tenant_a) as writer:
        guests = [add_guest(writer, name) for name in ("Zoë Kaya", "Ana Wolf", "Bo Wood")]
    places = [Place(fresh.tenant_a, guest, add_named(root, fresh.tenant_a, None).thread) for guest in guests]
    for number in range(12):
        body = ("the vegetarian menu", "lanterns in the garden", "a vegetarian dessert", "the dessert wine")[number % 4]
        places[number % 3].write(root, days_ago(root, number + 1), f"{body} please")
    meant = places[0].write(root, days_ago(root, 30), "Lanterns beside the vegetarian dessert table")
    refresh_all(root)
    app = fresh.connect("app_login", autocommit=False)

    def ask(query: str, *values: object) -> list[Row]:
        """In a transaction of its own, as from a pool."""
        app.execute("SELECT guestcomms.use_tenant(%s)", [fresh.tenant_a])
        found = rows(app, query.encode(), *values)
        app.commit()
        return found

    def type_on(text: str, letters: str, wanted: str) -> tuple[str, int]:
        """Until what is wanted is suggested, and takes it."""
        for typed, letter in enumerate(letters, 1):
            text += letter
            found = ask(SUGGEST, text, 5)
            assert len(found) <= 5
            for suggestion, _, _, query in found:
                if suggestion == wanted:
                    return query, typed
        raise AssertionError(f"{wanted} is never suggested")

    text, typed = type_on("", "lanterns", "lanterns")
    assert typed <= 2
    # Mistyped to its end: nothing begins so.
    text, typed = type_on(text, " vegitarian", "lanterns vegetarian")
    assert typed <= 4
    text = "lanterns"
    for letter in " vegitarian":
        text += letter
        found = ask(SUGGEST, text, 5)
    assert found == [("lanterns vegetarian", "correction", None, "lanterns vegetarian")]
    text, typed = type_on(found[0][3], " dessert", "lanterns vegetarian dessert")
    assert typed <= 2
    assert ask("SELECT message_id, stage FROM guestcomms.search_messages(%s) LIMIT 1", text) == [(meant, "all words")]
