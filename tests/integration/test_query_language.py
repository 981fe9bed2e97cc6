"""What each construct of the query language finds: words, phrases, -not, OR, begin*, numbers and addresses, stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import column, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record_all

# One language, so that what is a stop word does not depend on the others.
TEXTS = {
    "flower": "the flower arrived today",
    "flowers": "the flowers arrived today",
    "apart": "flowers for the hall arrived",
    "cakes": "flowers and cakes in Berlin",
    "cafe": "Meet at the Café Zoë tomorrow",
    "nothing": "or and the with",
    "catering": "ask the caterer about a discount",
    "cat": "a cat on the lawn",
    "order": "please check order A-1023 again",
    "invoice": "invoice number 1023",
    "mail": "write to anna.kaya@example.com about it",
    "link": "look at https://example.org/seating/plan?v=2 please",
    "spaced": "call me on +49 170 1234567 tonight",
    "joined": "call me on +491701112223 tonight",
    "national": "my number is 017044455566 now",
    "field": "foo:bar was on the list",
    "bar": "meet at the bar",
    "nodate": "due on:2026-02-30 they wrote",
    "pigeon": "they chose channel:pigeon for fun",
    "quoted": 'she said "yes" twice',
    "subject": "see below",
}


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def texts(app: Connection) -> dict[UUID, str]:
    guest = add_guest(app)
    subjects = {"subject": "Orchid arrangement"}
    batch = [message(guest, language="en", subject=subjects.get(name), body=body) for name, body in TEXTS.items()]
    return dict(zip(record_all(app, batch), TEXTS, strict=True))


@pytest.fixture(scope="module")
def find(app: Connection, texts: dict[UUID, str]) -> Callable[[str], set[str]]:
    """Names of the texts that a query finds, not only by some of its words."""

    def found(query: str) -> set[str]:
        found = column(
            app,
            "SELECT message_id FROM guestcomms.search_messages(%s, max_rows => 200) WHERE stage <> 'any word'",
            query,
        )
        assert len(found) == len(set(found))
        return {texts[message_id] for message_id in found}

    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # words: in any form, in any order, all of them, in subject and body
        ("flower", {"flower", "flowers", "apart", "cakes"}),
        ("FLOWERS", {"flower", "flowers", "apart", "cakes"}),
        ("arriving flowers", {"flower", "flowers", "apart"}),
        ("today, arrived!", {"flower", "flowers"}),
        ("flowers cakes hall", set()),
        ("orchid below", {"subject"}),
        ("café", {"cafe"}),
        ("cafe zoe", {"cafe"}),
        ("", set(TEXTS)),
        # phrases: the very words, in that order, next to each other; accents and case aside
        ('"flowers arrived"', {"flowers"}),
        ('"flower arrived"', {"flower"}),
        ('"FLOWERS Arrived"', {"flowers"}),
        ('"arrived flowers"', set()),
        ('"flowers hall"', set()),
        ('"flowers for the hall"', {"apart"}),
        ('"cafe zoe"', {"cafe"}),
        ('"flower"', {"flower"}),
        ('"the with"', {"nothing"}),
        ('"orchid arrangement"', {"subject"}),
        ('today "flowers arrived"', {"flowers"}),
        ('berlin "flowers arrived"', set()),
        # an unclosed quotation mark reaches to the end
        ('"flowers arrived', {"flowers"}),
        ('today "flowers arrived', {"flowers"}),
        ('flowers "', {"flower", "flowers", "apart", "cakes"}),
        ('"', set(TEXTS)),
        # typographic quotation marks
        ("“flowers arrived”", {"flowers"}),
        ("„flowers arrived“", {"flowers"}),
        ("«flowers arrived»", {"flowers"}),
        ("‟flowers arrived”", {"flowers"}),
        ("\uff02flowers arrived\uff02", {"flowers"}),
        ("“flowers arrived", {"flowers"}),
    ],
)
def test_words_and_phrases(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("flowers -today", {"apart", "cakes"}),
        ("-today flowers", {"apart", "cakes"}),
        ("flowers -today -cake", {"apart"}),
        ("flowers -hall -todays", {"cakes"}),
        ('flowers -"flowers arrived today"', {"flower", "apart", "cakes"}),
        ('flowers -"cakes in"', {"flower", "flowers", "apart"}),
        ('flowers -"arrived today" -"in cakes"', {"apart", "cakes"}),
        ('hall -"flowers arrived"', {"apart"}),
        # without anything that is wanted: everything else
        ("-flowers -the -a -on", {"invoice", "national", "mail", "link", "pigeon", "quoted", "subject"}),
        ("flowers -arriv*", {"cakes"}),
        # a minus within a word or by itself is none
        ("flowers - today", {"flower", "flowers"}),
    ],
)
def test_not(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("hall OR berlin", {"apart", "cakes"}),
        ("hall OR berlin OR invoice", {"apart", "cakes", "invoice"}),
        ("flowers hall OR berlin", {"apart", "cakes"}),
        ("hall OR berlin arrived", {"apart"}),
        ("hall OR berlin cakes OR arrived", {"apart", "cakes"}),
        ('"cat" OR invoice', {"cat", "invoice"}),
        ("hall OR berlin -cakes", {"apart"}),
        ("hall OR zzzz", {"apart"}),
        # nothing stands for what is excluded
        ("-hall OR berlin", {"cakes"}),
        ("invoi* OR berlin", {"invoice", "cakes"}),
        # lower-case or is a word like any other, and so is an OR with nothing to join
        ("hall or berlin", set()),
        ("hall Or arrived", {"apart"}),
        ("OR hall", {"apart"}),
        ("hall OR", {"apart"}),
        ("or", {"nothing"}),
        ('"or"', {"nothing"}),
        ('hall "OR" berlin', set()),
    ],
)
def test_or(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cat*", {"cat", "catering"}),
        ("CAT*", {"cat", "catering"}),
        ("cater*", {"catering"}),
        ("caf*", {"cafe"}),
        ("café*", {"cafe"}),
        ("flow* arriv*", {"flower", "flowers", "apart"}),
        ("cat* lawn", {"cat"}),
        ("zzz*", set()),
        ("102*", {"invoice"}),
        # only at the end of a word
        ("*", set(TEXTS)),
        ("c*t", set()),
    ],
)
def test_beginnings(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("A-1023", {"order"}),
        ("a-1023", {"order"}),
        ("order A-1023", {"order"}),
        ('"A-1023"', {"order"}),
        ("1023", {"order", "invoice"}),
        ("order 1023", {"order"}),
        ("B-1023", set()),
        ("anna.kaya@example.com", {"mail"}),
        ("Anna.Kaya@Example.com", {"mail"}),
        ("write anna.kaya@example.com", {"mail"}),
        ("kaya@example.com", set()),
        ("https://example.org/seating/plan?v=2", {"link"}),
        ("example.org", {"link"}),
        ("example.org/seating/plan?v=2", {"link"}),
        ("https://example.org/other", set()),
        # telephone numbers: typed as the text has them; and where the text has them in one, in any way
        ("+49 170 1234567", {"spaced"}),
        ("call +49 170 1234567", {"spaced"}),
        ("+491701112223", {"joined"}),
        ("+49 170 1112223", {"joined"}),
        ("+49 (170) 111-22-23", {"joined"}),
        ("+49 170/1112223", {"joined"}),
        ("0170 44455566", {"national"}),
        ("0170-444 555 66", {"national"}),
        ("(0170) 44455566", {"national"}),
        ("017044455566", {"national"}),
        ("+49 170 9999999", set()),
        ("tonight -+491701112223", {"spaced"}),
        # what only looks like a filter is read as its words
        ("foo:bar", {"field"}),
        ("bar", {"field", "bar"}),
        ("on:2026-02-30", {"nodate"}),
        ("channel:pigeon", {"pigeon"}),
        ("field:", set()),
        ("foo:", {"field"}),
        (":bar", {"field", "bar"}),
    ],
)
def test_numbers_and_addresses(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # left out where something else is asked for, whatever is found
        ("the berlin", {"cakes"}),
        ("what is the flowers in berlin", {"cakes"}),
        ("the berlin -flowers", set()),
        # found where nothing else is
        ("with", {"nothing"}),
        ("the with", {"nothing"}),
        # not left out of phrases, nor where they are excluded
        ('"the berlin"', set()),
        ("flowers -the", {"cakes"}),
    ],
)
def test_stop_words(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@contextmanager
def setting(store: Store, name: str, value: str) -> Iterator[None]:
    with store.connect("operator_login", store.tenant_a) as operator:
        operator.execute("SELECT guestcomms.set_setting(%s, %s)", [name, value])
        try:
            yield
        finally:
            operator.execute("SELECT guestcomms.set_setting(%s, NULL)", [name])


STAGES = "SELECT message_id, stage FROM guestcomms.search_messages(%s, sort => %s, max_rows => 200)"


def stages(app: Connection, texts: dict[UUID, str], query: str, sort: str = "relevant") -> dict[str, str]:
    return {texts[message_id]: stage for message_id, stage in rows(app, STAGES, query, sort)}


def test_few_with_all_words_are_followed_by_those_with_any(app: Connection, store: Store, texts: dict[UUID, str]) -> None:
    both = {"apart": "all words", **dict.fromkeys(("flower", "flowers", "cakes"), "any word")}
    assert stages(app, texts, "hall flowers") == both
    names = [texts[row[0]] for row in rows(app, STAGES, "hall flowers", "relevant")]
    assert names[0] == "apart"
    # By time they would stand among the others, so only where there are none with all.
    assert stages(app, texts, "hall flowers", "recent") == {"apart": "all words"}
    assert stages(app, texts, "hall cakes", "recent") == {"apart": "any word", "cakes": "any word"}
    with setting(store, "search.any_word_below", "0"):
        assert stages(app, texts, "hall flowers") == {"apart": "all words"}
        assert stages(app, texts, "hall cakes") == {}
    # As many as the setting says are enough, one less is not.
    with setting(store, "search.any_word_below", "1"):
        assert stages(app, texts, "hall flowers") == {"apart": "all words"}
    with setting(store, "search.any_word_below", "2"):
        assert stages(app, texts, "hall flowers") == both


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # what is excluded stays out, what is in quotation marks stays required
        ("hall cakes -berlin", {"apart"}),
        ('hall cakes "flowers arrived"', set()),
        ('invoice cakes "flowers and"', {"cakes"}),
        ("hall OR cakes invoice", {"apart", "cakes", "invoice"}),
        # one word, of whichever alternatives, has no other stage
        ("zzzz", set()),
        ("zzzz OR yyyy", set()),
        ("zzzz -hall", set()),
        ("the zzzz", set()),
    ],
)
def test_any_word_is_within_what_was_asked(app: Connection, texts: dict[UUID, str], query: str, expected: set[str]) -> None:
    found = stages(app, texts, query)
    assert set(found) == expected
    assert set(found.values()) <= {"any word"}


@pytest.mark.parametrize(
    ("query", "expected"), [("", "filters"), ("channel:sms", "filters"), ("-channel:email", "filters"), ("cat", "all words")]
)
def test_the_stage_is_named(app: Connection, texts: dict[UUID, str], query: str, expected: str) -> None:
    assert set(stages(app, texts, query).values()) == {expected}
