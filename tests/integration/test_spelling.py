"""Corrections of mistyped words: which words are corrected, to what, and what is left alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection
from tests.support.queries import Row, column, one, refused, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record_all

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "100"))
many = settings(deadline=None, max_examples=EXAMPLES)

TEXTS = [
    ("en", "The vegetarian menu has seven dishes"),
    ("en", "Another vegetarian menu, decorated for the theme of the ceremony"),
    ("en", "lovely flowers, melon and sorel salad"),
    ("en", "please confirm the attendance; the invitations are printed"),
    ("en", "Café society"),
    ("en", "accommodation at the channel"),
    ("de", "Blumensträuße und Gäste; fahrend ins Straßenfest"),
    ("fr", "Les gâteaux et un étaint"),
    ("ru", "приглашение на свадьбу"),
    ("zh", "请问婚礼的菜单有素食吗"),
    ("th", "งานแต่งงานวันเสาร์"),
]


def add_tenant(store: Store, name: str) -> Connection:
    """Another tenant of app_login's, and a connection that works for it."""
    with store.connect() as root:
        tenant = one(root, "SELECT guestcomms.add_tenant(%s, 'Europe/Berlin', 'en', 'DE')", name)
        root.execute("SELECT guestcomms.use_tenant(%s, true)", [tenant])
        root.execute("SELECT guestcomms.add_member('app_login')")
    return store.connect("app_login", tenant)


def write(store: Store, app: Connection, texts: list[tuple[str, str]]) -> list[UUID]:
    """Messages of a tenant, counted."""
    guest = add_guest(app, "Zoë Kaya")
    found = record_all(app, [message(guest, language=language, body=body) for language, body in texts])
    count(store)
    return found


def count(store: Store) -> None:
    with store.connect("operator_login") as operator:
        refresh_all(operator)


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    """Tenant A's, with TEXTS; tenant B has other words and a guest less."""
    with store.connect("other_app_login", store.tenant_b) as other:
        write(store, other, [("en", "vegetables, vegetation, melon, sorel, flower, theirs")])
    app = store.connect("app_login", store.tenant_a)
    write(store, app, TEXTS)
    for name in ("Priya Menon", "Søren Ek", "Anne-Flowera O'Salada"):
        add_guest(app, name)
    return app


@pytest.fixture
def other(store: Store, app: Connection) -> Iterator[Connection]:
    with store.connect("other_app_login", store.tenant_b) as other:
        yield other


@pytest.fixture
def operator(store: Store, app: Connection) -> Iterator[Connection]:
    """For tenant A, whose settings and synonyms are as before afterwards."""
    with store.connect("operator_login", store.tenant_a) as operator:
        yield operator
        for name in ("spelling.one_edit_from", "spelling.two_edits_from"):
            operator.execute("SELECT guestcomms.set_setting(%s, NULL)", [name])
        for term in column(operator, "SELECT term FROM guestcomms.list_synonyms()"):
            operator.execute("SELECT guestcomms.set_synonyms(%s, NULL)", [term])


def suggest(app: Connection, word: str | None, max_rows: int = 50) -> list[Row]:
    return rows(app, "SELECT * FROM guestcomms.suggest_corrections(%s, %s)", word, max_rows)


def words(found: list[Row]) -> list[str]:
    return [row[0] for row in found]


def correct(app: Connection, query: str | None) -> str:
    corrected: str = one(app, "SELECT guestcomms.correct_query(%s)", query)
    return corrected


# Distance


def osa(one: str, other: str) -> int:
    """Optimal string alignment: as Levenshtein, and two neighbours exchanged are one edit, edited no further."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (one[i - 1] != other[j - 1]))
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


LETTERS = "abcéжß"


@st.composite
def neighbours(draw: st.DrawFn, letters: str = LETTERS) -> tuple[str, str]:
    """Two words, a few edits from each other."""
    word = draw(st.text(letters, min_size=1, max_size=12))
    edited = list(word)
    for kind in draw(st.lists(st.sampled_from(["more", "less", "other", "exchanged"]), max_size=3)):
        place = draw(st.integers(0, len(edited)))
        if kind == "more":
            edited.insert(place, draw(st.sampled_from(letters)))
        elif kind == "less":
            del edited[place : place + 1]
        elif kind == "other":
            edited[place : place + 1] = draw(st.sampled_from(letters))
        else:
            edited[place : place + 2] = edited[place : place + 2][::-1]
    return word, "".join(edited)


@many
@given(st.lists(st.one_of(neighbours(), st.tuples(st.text("abc", max_size=5), st.text("abc", max_size=5))), min_size=1))
def test_edit_distance_is_exact_up_to_two(store: Store, pairs: list[tuple[str, str]]) -> None:
    with store.connect() as root:
        found = column(
            root,
            "SELECT guestcomms_internal.edit_distance(p.a, p.b)"
            " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS p (a, b, place) ORDER BY p.place",
            *([pair[0] for pair in pairs], [pair[1] for pair in pairs]),
        )
    assert {pair: min(n, 3) for pair, n in zip(pairs, found, strict=True)} == {pair: min(osa(*pair), 3) for pair in pairs}


def test_edit_distance_of_all_short_words_is_exact_up_to_two(store: Store) -> None:
    short = ["".join(letters) for length in range(5) for letters in product("abc", repeat=length)]
    with store.connect() as root:
        found = rows(
            root,
            "SELECT a, b, least(guestcomms_internal.edit_distance(a, b), 3)"
            " FROM unnest(%s::text[]) AS a, unnest(%s::text[]) AS b",
            *(short, short),
        )
    assert len(found) == len(short) ** 2
    assert [row for row in found if row[2] != min(osa(row[0], row[1]), 3)] == []


@pytest.mark.parametrize(
    ("word", "other", "distance"),
    [
        *(("menu", "menu", 0), ("menu", "menus", 1), ("menu", "meu", 1), ("menu", "mnnu", 1), ("menu", "meun", 1)),
        *(("menu", "emun", 2), ("menus", "mensua", 2), ("gäste", "gatse", 2), ("свадьба", "свадба", 1)),
        # exchanged letters are not edited again
        *(("cab", "cxba", 2), ("abcdef", "baxcdfe", 3), ("abcd", "efgh", 4)),
        *(("seating", "seaitgn", 2), ("seating", "saetnig", 2)),
        *(("ca", "abc", 3), ("abc", "ca", 3), ("cat", "abct", 3), ("abct", "cat", 3)),
    ],
)
def test_edit_distances(store: Store, word: str, other: str, distance: int) -> None:
    with store.connect() as root:
        assert osa(word, other) == distance
        assert one(root, "SELECT guestcomms_internal.edit_distance(%s, %s)", word, other) == distance


# What is found

FOLDS = str.maketrans("éö", "eo")
ROOTS = st.text("abcéö", min_size=3, max_size=12)


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """A tenant's words, and words to look for: edits of them, most of all."""
    kept = draw(st.lists(ROOTS, min_size=1, max_size=15, unique=True))
    edited = [pair[1] for pair in draw(st.lists(neighbours("abcéö"), max_size=10))]
    typed = [*edited, *draw(st.lists(ROOTS, max_size=5))]
    for word in draw(st.lists(st.sampled_from(kept), min_size=1, max_size=10)):
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.integers(0, len(word) - 1))
            word = (
                draw(
                    st.sampled_from(
                        [
                            word[:place] + word[place + 1 :],
                            word[:place] + "e" + word[place:],
                            word[:place] + "c" + word[place + 1 :],
                            word[:place] + word[place : place + 2][::-1] + word[place + 2 :],
                        ]
                    )
                )
                or "abc"
            )
        typed.append(word)
    return kept, [word for word in typed if word]


@pytest.fixture(scope="module")
def scratch(store: Store) -> tuple[UUID, Connection]:
    """A guest of a tenant whose messages come and go."""
    connection = add_tenant(store, "Scratch")
    return add_guest(connection), connection


@settings(many, max_examples=max(EXAMPLES // 3, 1))
@given(vocabularies())
def test_every_word_within_two_edits_is_found(
    store: Store, scratch: tuple[UUID, Connection], example: tuple[list[str], list[str]]
) -> None:
    kept, typed = example
    guest, app = scratch
    tenant = one(app, "SELECT guestcomms.current_tenant()")
    with store.connect() as root:
        root.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s", [tenant])
    # Of a language without stop words; every word once, in one message or in several.
    record_all(app, [message(guest, language="la", body=" ".join(kept[n::3])) for n in range(3) if kept[n::3]])
    count(store)
    folded = {word.translate(FOLDS) for word in kept}
    for word in typed:
        plain = word.translate(FOLDS)
        near = {known: osa(plain, known) for known in folded if plain != known and osa(plain, known) <= 2}
        near = near if 3 <= len(plain) <= 30 else {}
        found = suggest(app, word)
        assert not {row[0] for row in found} - set(kept)
        if near:
            assert {row[0].translate(FOLDS): row[1] for row in found} == near, (word, kept)
        else:
            # None so near: words with trigrams in common.
            assert all(row[1] > 2 for row in found), (word, kept)


def test_words_with_trigrams_in_common_only_where_there_is_none_within_two_edits(app: Connection) -> None:
    (far,) = suggest(app, "vegetarianists")
    assert (far[0], far[1]) == ("vegetarian", 4)
    (far,) = suggest(app, "vegxxtaxrian")
    assert (far[0], far[1]) == ("vegetarian", 3)
    # With trigrams in common, but five edits away.
    assert suggest(app, "vegetarianistic") == []
    assert suggest(app, "qqqqqqqq") == []
    # `flowers` is near, `lovely` has a trigram in common.
    assert words(suggest(app, "lowers")) == ["flowers"]


def test_a_word_is_not_corrected_to_what_only_has_trigrams_in_common(app: Connection) -> None:
    assert suggest(app, "vegxxtaxrian")
    assert correct(app, "vegxxtaxrian") == "vegxxtaxrian"


def test_suggestions_are_words_with_their_messages(app: Connection) -> None:
    (found,) = suggest(app, "vegitarian")
    assert found[:3] == ("vegetarian", 1, 2)
    (found,) = suggest(app, "FLWOERS")
    assert found[:3] == ("flowers", 1, 1)
    # The word itself is none of them.
    assert "vegetarian" not in words(suggest(app, "vegetarian"))


def test_the_likeliest_comes_first(store: Store) -> None:
    app = add_tenant(store, "Likely")
    write(store, app, [("la", "tolkit tolkat stolket ktolet dalket"), ("la", "balket")])
    found = suggest(app, "tolket")
    assert {row[0]: row[1] for row in found} == {"tolkit": 1, "tolkat": 1, "stolket": 1, "ktolet": 2, "balket": 2, "dalket": 2}
    scores = [row[3] for row in found]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 2
    score = {row[0]: row[3] for row in found}
    assert score["tolkit"] == score["tolkat"]
    # Equally likely: by the alphabet; and the more frequent is the likelier.
    assert words(found).index("tolkat") + 1 == words(found).index("tolkit")
    assert correct(app, "tolket") == "tolkat"
    write(store, app, [("la", "tolkit once more")])
    found = suggest(app, "tolket")
    assert words(found).index("tolkit") < words(found).index("tolkat")
    assert correct(app, "tolket") == "tolkit"
    # As many as are asked for, and those the best.
    assert suggest(app, "tolket", 2) == found[:2]


def test_a_word_that_no_message_holds_any_more_is_no_correction(store: Store) -> None:
    app = add_tenant(store, "Gone")
    first, _ = write(store, app, [("la", "tolkit"), ("la", "dalmur")])
    assert correct(app, "tolket dalmor") == "tolkit dalmur"
    with store.connect() as root:
        root.execute("DELETE FROM guestcomms.messages WHERE message_id = %s", [first])
    count(store)
    assert correct(app, "tolket dalmor") == "tolket dalmur"
    assert suggest(app, "tolket") == []
    # Nor is the word known any more.
    write(store, app, [("la", "tolket")])
    assert correct(app, "tolkit tolket") == "tolket tolket"


@pytest.mark.parametrize("max_rows", [0, -1, 51, None])
def test_max_rows_is_bounded(app: Connection, max_rows: int | None) -> None:
    with refused("22023") as caught:
        rows(app, "SELECT * FROM guestcomms.suggest_corrections('menu', %s)", max_rows)
    assert caught.value.diag.message_hint


def test_max_rows_from_one_to_fifty(store: Store) -> None:
    app = add_tenant(store, "Many")
    write(store, app, [("la", " ".join(f"tolk{a}{b}" for a in "abcdefgh" for b in "klmnopqr"))])
    assert [len(suggest(app, "tolkzz", count)) for count in (1, 49, 50)] == [1, 49, 50]
    assert len(rows(app, "SELECT * FROM guestcomms.suggest_corrections('tolkzz')")) == 5


# What is corrected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("vegitarian", "vegetarian"),
        ("vegitarian menu", "vegetarian menu"),
        ("vegitarian flwoers", "vegetarian flowers"),
        # by one edit from five letters, by two from nine
        ("flwers", "flowers"),
        ("flwres", "flwres"),
        ("themw", "theme"),
        ("meny", "meny"),
        ("attendnace", "attendance"),
        ("atendnace", "attendance"),
        ("atendnasce", "atendnasce"),
        ("acomodation", "accommodation"),
        # the beginning stays a capital
        ("Vegitarian Flwoers", "Vegetarian Flowers"),
        ("VEGITARIAN", "Vegetarian"),
        # accents: typed without, written with, and the other way
        ("blumenstrause", "blumensträuße"),
        ("Gateuax", "Gâteaux"),
        ("gâteuax", "gâteaux"),
        ("Éttendance", "Attendance"),
        # other scripts
        ("приглошение", "приглашение"),
        ("Приглошение на свадьбу", "Приглашение на свадьбу"),
        # punctuation, blanks, what else there is
        ("  vegitarian\t menu \n", "  vegetarian\t menu \n"),
        ("(vegitarian, flwoers)?", "(vegetarian, flowers)?"),
        ("¿vegitarian? 'flwoers'; [theem]!", "¿vegetarian? 'flowers'; [theme]!"),
        ("vegitarian OR flwoers", "vegetarian OR flowers"),
        ('vegitarian channel:email "flwoers" -themw', 'vegetarian channel:email "flwoers" -themw'),
        ("- vegitarian", "- vegetarian"),
    ],
)
def test_what_a_query_is_corrected_to(app: Connection, query: str, expected: str) -> None:
    assert correct(app, query) == expected
    assert correct(app, expected) == expected


@pytest.mark.parametrize(
    "query",
    [
        # phrases, in any quotation marks, closed or not
        *('"vegitarian menu"', '"vegitarian', 'x"a vegitarian menu"y', 'wedding:"a vegitarian menu"'),
        *(
            "“a vegitarian menu”",
            "„a vegitarian menu“",
            "«a vegitarian menu»",
            "\uff02a vegitarian menu\uff02",
            "“a vegitarian menu",
        ),
        # excluded
        *("-vegitarian", "--vegitarian", '-"a vegitarian menu"', "-“a vegitarian menu”"),
        # filters, beginnings
        *("from:vegitarian", "in:vegitarian", "nothing:vegitarian", "vegitarian:", "vegitarian*", "from:*vegitarian"),
        # numbers, words with digits, addresses
        *("12345", "vegitarian2", "2vegitarian", "A-1023", "+49 170 1234567"),
        *("https://vegitarian", "vegitarian.com", "www.vegitarian.org/vegitarian", "vegitarian@example.com", "me@vegitarian.com"),
        *("#vegitarian", "vegitarian/flwoers", "vegitarian-flwoers", "vegitarian_menu"),
        # scripts without spaces, short words
        *("婚礼的菜弹", "แต่งงาม", "请问 婚札", "meny", "melo", "cafx"),
        # in a message, by any of its forms
        *("vegetarians", "dish", "decorate", "decorates", "flower", "invitation", "MENU"),
        *("cafe", "café", "gaste", "gäste", "gateau", "strassenfest", "blumenstrausse", "Blumenstrauß"),
        # stop words
        *("there", "these", "während", "étaient"),
        # names of guests
        *("menon", "Menon", "Søren", "soren", "flowera", "Salada", "priya"),
        # nothing like it
        *("zzzzzz", "вегитариан", "OR", ""),
    ],
)
def test_what_stays_as_it_is(app: Connection, query: str) -> None:
    assert correct(app, query) == query


@pytest.mark.parametrize(("word", "near"), [("there", "theme"), ("während", "fahrend"), ("menon", "melon"), ("soren", "sorel")])
def test_words_that_stay_have_corrections(app: Connection, word: str, near: str) -> None:
    """So it is for what they are that they stay."""
    assert words(suggest(app, word))[0] == near


def test_a_name_protects_in_its_own_tenant(app: Connection, other: Connection) -> None:
    assert correct(app, "menon soren") == "menon soren"
    assert correct(other, "menon soren") == "melon sorel"


def test_a_new_name_protects_at_once(store: Store) -> None:
    app = add_tenant(store, "Names")
    write(store, app, [("en", "melon")])
    assert correct(app, "melin") == "melon"
    add_guest(app, "Dr Ana MÉLIN")
    assert correct(app, "melin Melin") == "melin Melin"


def test_a_term_with_synonyms_stays(app: Connection, other: Connection, operator: Connection) -> None:
    assert correct(app, "flovers Flòvers") == "flowers Flowers"
    operator.execute("SELECT guestcomms.set_synonyms('flovers', '{roses}')")
    assert correct(app, "flovers Flòvers") == "flovers Flòvers"
    assert correct(app, "floverz flowets") == "floverz flowers"
    # In its own tenant.
    operator.execute("SELECT guestcomms.set_synonyms('melin', '{roses}')")
    assert correct(app, "melin") == "melin"
    assert correct(other, "melin") == "melon"


def test_from_how_many_letters_is_set_for_each_tenant(app: Connection, other: Connection, operator: Connection) -> None:
    queries = ["meny", "flwers", "flwres", "attendnace", "atendnace"]
    assert [correct(app, query) for query in queries] == ["meny", "flowers", "flwres", "attendance", "attendance"]
    operator.execute("SELECT guestcomms.set_setting('spelling.one_edit_from', '4')")
    assert correct(app, "meny") == "menu"
    operator.execute("SELECT guestcomms.set_setting('spelling.two_edits_from', '6')")
    assert correct(app, "flwres") == "flowers"
    assert correct(app, "tehmw") == "tehmw"
    assert correct(other, "vegetatoin melno melo") == "vegetation melon melo"
    assert correct(other, "flovre") == "flovre"
    operator.execute("SELECT guestcomms.set_setting('spelling.one_edit_from', '11')")
    operator.execute("SELECT guestcomms.set_setting('spelling.two_edits_from', '11')")
    assert [correct(app, query) for query in queries] == queries
    operator.execute("SELECT guestcomms.set_setting('spelling.two_edits_from', '30')")
    assert correct(app, "vegitariannn") == "vegitariannn"
    assert correct(app, "vegetariann") == "vegetarian"


def test_the_first_twenty_words_are_looked_at(app: Connection) -> None:
    query = " ".join(["menu"] * 19)
    assert correct(app, f"{query} flwoers") == f"{query} flowers"
    assert correct(app, f"{query} more flwoers") == f"{query} more flwoers"


def test_nothing_of_another_tenant(app: Connection, other: Connection) -> None:
    assert correct(app, "vegetatoin vegetablse") == "vegetatoin vegetablse"
    assert "vegetation" not in words(suggest(app, "vegetatoin"))
    assert correct(other, "vegetatoin vegetablse") == "vegetation vegetables"
    assert correct(other, "acomodation") == "acomodation"
    assert words(suggest(other, "flowers")) == ["flower"]


def test_nothing_is_corrected_before_anything_is_counted(store: Store) -> None:
    app = add_tenant(store, "Uncounted")
    record_all(app, [message(add_guest(app), language="en", body="vegetarian")])
    assert correct(app, "vegitarian") == "vegitarian"
    assert suggest(app, "vegitarian") == []


# Any input

KNOWN = ["vegetarian", "menu", "flowers", "ceremony", "there", "menon", "dishes"]
MISTYPED = ["vegitarian", "Flwoers", "ceremny", "приглошение", "gateuax", "ATTENDNACE", "themw", "zzzzzz"]
MARKS = [
    " ",
    "  ",
    "\t",
    "\n",
    '"',
    "“",
    "”",
    "-",
    "OR",
    "*",
    "(",
    ")",
    ".",
    ",",
    "!",
    "'",
    ":",
    "from:",
    "channel:sms",
    "é",
    "4",
    "菜",
]
QUERY = st.one_of(
    st.lists(st.sampled_from([*KNOWN, *MISTYPED, *MISTYPED, *MARKS, *[" "] * 25]), max_size=40).map("".join),
    st.lists(st.sampled_from([*KNOWN, *MISTYPED]), max_size=12).map(" ".join),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60),
)
LETTERED = re.compile(r"[^\W\d_]+")


@many
@given(QUERY)
def test_all_but_words_is_kept_and_once_is_enough(app: Connection, query: str) -> None:
    corrected = correct(app, query)
    assert LETTERED.sub("w", corrected) == LETTERED.sub("w", query)
    assert correct(app, corrected) == corrected
    for was, now in zip(LETTERED.findall(query), LETTERED.findall(corrected), strict=True):
        assert was == now or was in MISTYPED or was not in KNOWN
        assert was[0].isupper() == now[0].isupper() or was == now


@pytest.mark.parametrize("blanks", range(984, 1004))
def test_a_word_is_looked_at_whole_or_not_at_all(app: Connection, blanks: int) -> None:
    """Of a long query the beginning is read."""
    known = " " * blanks + "vegetarian dishes*"
    assert correct(app, known) == known
    mistyped = " " * blanks + "vegitarian dishes"
    assert correct(app, mistyped) in (mistyped, mistyped.replace("vegitarian", "vegetarian"))


@pytest.mark.parametrize("end", ["*", ":sms", '"menu"', "@example.com", "2"])
def test_what_follows_a_word_is_looked_at_too(app: Connection, end: str) -> None:
    for blanks in range(989, 992):
        query = " " * blanks + "vegitarian" + end
        assert correct(app, query) == query


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "é",
        "ß",
        "菜",
        '"',
        "“",
        "(",
        "\\",
        "'",
        "%",
        "-",
        " ",
        "\n",
        "vegetarian ",
        "\U0001f600",
        "a" * 31 + " ",
        "e\u0301",
        "😀vegitarian",
    ],
)
def test_a_long_input_is_no_error(app: Connection, unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode()))
    assert correct(app, text) == text
    assert suggest(app, text) == []


def test_a_long_query_is_corrected_at_its_beginning(app: Connection) -> None:
    query = "vegitarian " * 90_000
    assert correct(app, query) == "vegetarian " * 20 + "vegitarian " * (90_000 - 20)


@pytest.mark.parametrize(
    "word", ["", " ", "menu card", "vegitarian*", "-menu", "%", "'", '"', "12", "ab", "a" * 31, "菜弹", None]
)
def test_what_is_no_word_has_no_suggestions(app: Connection, word: str | None) -> None:
    assert suggest(app, word) == []


def test_nothing_is_corrected_to_nothing(app: Connection) -> None:
    assert one(app, "SELECT guestcomms.correct_query(NULL)") is None
    assert correct(app, "") == ""
