"""Where search could go wrong at the edges: beginnings of stems, alternatives, scripts side by side, markup, settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.support.database import Connection
from tests.support.queries import column, one, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

SEARCH = (
    "SELECT message_id, score, stage, headline FROM guestcomms.search_messages(%s, guest_id => %s, max_rows => 200)"
    " WHERE stage <> 'any word'"
)


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


def find(app: Connection, query: str, *texts: str | dict[str, Any]) -> list[int]:
    """Numbers of those of a new guest's messages that a query finds, best first."""
    guest = add_guest(app)
    values = [{"body": text} if isinstance(text, str) else text for text in texts]
    ids = record_all(app, [message(guest, **{"language": "en"} | value) for value in values])
    return [ids.index(found) for found in column(app, SEARCH, query, guest)]


@pytest.mark.parametrize("query", ["celebrat*", "celebration*", "vegetarian*", "arrive*", "party*"])
def test_a_beginning_longer_than_the_stem(app: Connection, query: str) -> None:
    assert find(app, query, "celebrations for vegetarians arrived at parties, arrives, a celebration, vegetarian, party") == [0]


def test_scores_of_beginnings_are_positive(app: Connection, store: Store) -> None:
    guest = add_guest(app)
    body = "cat catalogue catering and some more words here to be long enough, far above the mean length of messages"
    record_all(app, [message(guest, language="en", body=text) for text in ("cat", body)])
    assert all(row[1] > 0 for row in rows(app, SEARCH, "cat*", guest))


def test_a_beginning_of_more_words_is_better(app: Connection) -> None:
    texts = ("cat and filler filler filler filler filler filler", "cat catalogue catering filler filler filler filler filler")
    assert find(app, "cat*", *texts) == [1, 0]


@pytest.mark.parametrize("query", ["a菜" * 1000, "菜a单b" * 500, '"' + "菜a" * 900])
def test_runs_are_clauses_too(store: Store, query: str) -> None:
    with store.connect() as root:
        assert one(root, "SELECT count(*) FROM guestcomms_internal.parse_query(%s)", query) <= 64


def test_a_phrase_in_an_alternative_is_that_phrase(app: Connection) -> None:
    assert find(app, '"flowers arrived" OR zzzz', "the flower arrived today", "the flowers arrived today") == [1]


def test_a_phrase_is_in_the_subject_or_in_the_body(app: Connection) -> None:
    assert find(app, '"garden party"', {"subject": "garden", "body": "party tonight"}) == []


def test_mixed_phrases_are_one_clause(app: Connection) -> None:
    texts = [{"language": "zh", "body": body} for body in ("请问 menu", "menu", "请问")]
    assert sorted(find(app, 'menu -"请问 menu"', *texts)) == [1]
    assert sorted(find(app, 'menu OR "请问 素食"', *texts)) == [0, 1]


def test_a_run_is_marked_once(app: Connection) -> None:
    guest = add_guest(app)
    record(app, guest, "请问 menu", language="zh")
    assert [row[3] for row in rows(app, SEARCH, "请问", guest)] == ["«请问» menu"]


@pytest.mark.parametrize("style", ["SQL, DMY", "Postgres", "German"])
def test_settings_of_the_session_do_not_move_days(app: Connection, style: str) -> None:
    guest = add_guest(app)
    late = (now() - timedelta(days=30)).replace(hour=23, minute=30)
    in_kolkata = (late + timedelta(days=1)).date()
    message_id = record(app, guest, "dated", sent_at=str(late))
    app.execute("SELECT set_config('timezone', %s, false), set_config('datestyle', %s, false)", ["Asia/Kolkata", style])
    try:
        assert [row[0] for row in rows(app, SEARCH, f"dated on:{in_kolkata}", guest)] == [message_id]
        assert rows(app, SEARCH, f"dated before:{in_kolkata}", guest) == []
    finally:
        app.execute("RESET timezone; RESET datestyle")


@pytest.mark.parametrize("occurrences", [10, 20, 50])
def test_higher_frequencies_are_counted(app: Connection, occurrences: int) -> None:
    guest = add_guest(app)
    record(app, guest, "peculiar " * occurrences, language="en")
    details = rows(app, "SELECT detail FROM guestcomms.explain_search('peculiar', guest_id => %s) WHERE part = 'result'", guest)
    assert details[0][0]["terms"][0]["frequency"] == occurrences


def test_a_filter_does_not_stand_for_a_word(app: Connection) -> None:
    texts = ({"channel": "email", "body": "x"}, "parking", {"channel": "email", "body": "parking"})
    assert find(app, "channel:email OR parking", *texts) == [2]


def test_synonyms_without_spaces(app: Connection, store: Store) -> None:
    with store.connect("operator_login", store.tenant_a) as operator:
        operator.execute("SELECT guestcomms.set_synonyms('canteen', '{素食者}')")
        operator.execute("SELECT guestcomms.set_synonyms('菜单', '{carte}')")
        try:
            assert find(app, "canteen", {"language": "zh", "body": "素食者菜单"}) == [0]
            assert find(app, "菜单", "carte") == [0]
        finally:
            operator.execute("SELECT guestcomms.set_synonyms('canteen', NULL), guestcomms.set_synonyms('菜单', NULL)")


@pytest.mark.parametrize(("query", "body"), [("1023", "order A-1023 please"), ("+49 170 1234567", "call +49 170 1234567 now")])
def test_what_is_found_has_a_score(app: Connection, query: str, body: str) -> None:
    guest = add_guest(app)
    record(app, guest, body, language="en")
    assert [row[1] > 0 for row in rows(app, SEARCH, query, guest)] == [True]


@pytest.mark.parametrize("sign", ["<script>", "<!--", "<style>", "</b"])
def test_words_behind_markup_are_found(app: Connection, sign: str) -> None:
    assert find(app, "zebra", f"{sign} zebra") == [0]


@pytest.mark.parametrize("letter", ["\U0001e900", "\U00010840"])
def test_all_text_from_right_to_left_is_isolated(app: Connection, letter: str) -> None:
    guest = add_guest(app)
    record(app, guest, f"zebra {letter}")
    assert all(row[3].startswith("\u2068") for row in rows(app, SEARCH, "zebra", guest))


@pytest.mark.parametrize("query", ["-walrus", "channel:sms -walrus"])
def test_an_expanded_search_without_words_to_find_is_no_error(app: Connection, query: str) -> None:
    guest = add_guest(app)
    record_all(app, [message(guest, channel="sms", body=f"the menu of roses {number}") for number in range(3)])
    assert rows(app, "SELECT 1 FROM guestcomms.search_messages(%s, is_expanded => true)", query)
