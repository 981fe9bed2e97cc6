"""Synonyms: what else a word finds, for one tenant and one way."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, record_all

TEXTS = {
    "kids": "two kids are coming",
    "children": "three children are coming",
    "little ones": "the little ones are coming",
    "apart": "little guests and big ones",
    "cafe": "the café is open",
    "bistro": "the bistro is open",
}


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture
def operator(store: Store) -> Iterator[Connection]:
    with store.connect("operator_login", store.tenant_a) as operator:
        yield operator
        for term in column(operator, "SELECT term FROM guestcomms.list_synonyms()"):
            operator.execute("SELECT guestcomms.set_synonyms(%s, NULL)", [term])


@pytest.fixture(scope="module")
def texts(store: Store, app: Connection) -> dict[UUID, str]:
    guest = add_guest(app)
    return dict(zip(record_all(app, [message(guest, language="en", body=body) for body in TEXTS.values()]), TEXTS, strict=True))


def set_synonyms(operator: Connection, term: str | None, alternatives: list[str | None] | None) -> None:
    operator.execute("SELECT guestcomms.set_synonyms(%s, %s::text[])", [term, alternatives])


def find(app: Connection, texts: dict[UUID, str], query: str) -> list[str]:
    found = rows(app, "SELECT message_id FROM guestcomms.search_messages(%s) WHERE stage = 'all words'", query)
    return [texts[row[0]] for row in found]


def test_a_word_finds_its_synonyms_one_way(app: Connection, operator: Connection, texts: dict[UUID, str]) -> None:
    assert find(app, texts, "kids") == ["kids"]
    set_synonyms(operator, "kids", ["children", "little ones"])
    assert set(find(app, texts, "kids")) == {"kids", "children", "little ones"}
    assert set(find(app, texts, "KIDS coming")) == {"kids", "children", "little ones"}
    assert set(find(app, texts, "three kids")) == {"children"}
    assert find(app, texts, "children") == ["children"]
    # What was typed is better than what stands for it.
    assert find(app, texts, "kids")[0] == "kids"
    # Not in a phrase, a beginning, an exclusion.
    assert find(app, texts, '"kids"') == ["kids"]
    assert find(app, texts, "kid*") == ["kids"]
    assert set(find(app, texts, "coming -kids")) == {"children", "little ones"}
    assert set(find(app, texts, "kids OR bistro")) == {"kids", "children", "little ones", "bistro"}
    assert set(find(app, texts, "kids -children")) == {"kids", "little ones"}


def test_both_ways_and_removal(app: Connection, operator: Connection, texts: dict[UUID, str]) -> None:
    set_synonyms(operator, "Café", ["bistro"])
    set_synonyms(operator, "bistro", ["cafe"])
    assert rows(app, "SELECT * FROM guestcomms.list_synonyms()") == [("bistro", ["cafe"]), ("cafe", ["bistro"])]
    for query in ("cafe", "café", "bistro"):
        assert set(find(app, texts, query)) == {"cafe", "bistro"}
    set_synonyms(operator, "cafe", ["zzzz"])
    assert find(app, texts, "cafe") == ["cafe"]
    set_synonyms(operator, "CAFE", [])
    set_synonyms(operator, "never", None)
    assert rows(app, "SELECT * FROM guestcomms.list_synonyms()") == [("bistro", ["cafe"])]
    set_synonyms(operator, "bistro", None)
    assert rows(app, "SELECT * FROM guestcomms.list_synonyms()") == []
    assert find(app, texts, "bistro") == ["bistro"]


def test_they_are_the_tenants(app: Connection, store: Store, operator: Connection, texts: dict[UUID, str]) -> None:
    with store.connect("operator_login", store.tenant_b) as other:
        set_synonyms(other, "kids", ["children"])
        assert rows(other, "SELECT * FROM guestcomms.list_synonyms()") == [("kids", ["children"])]
    assert rows(app, "SELECT * FROM guestcomms.list_synonyms()") == []
    assert find(app, texts, "kids") == ["kids"]
    # Nor where it has some of its own.
    set_synonyms(operator, "cafe", ["bistro"])
    assert find(app, texts, "kids") == ["kids"]


@pytest.mark.parametrize(
    ("term", "alternatives"),
    [
        (None, ["children"]),
        ("", ["children"]),
        ("?!", ["children"]),
        ("two words", ["children"]),
        ("kids", [""]),
        ("kids", ["?!"]),
        ("kids", ["children", None]),
        ("kids", ["children " * 12]),
        ("kids", [f"child{number}" for number in range(21)]),
    ],
)
def test_what_is_no_synonym_is_refused(
    app: Connection, operator: Connection, term: str | None, alternatives: list[str | None]
) -> None:
    with refused("22023") as caught:
        set_synonyms(operator, term, alternatives)
    assert caught.value.diag.message_hint
    assert rows(app, "SELECT * FROM guestcomms.list_synonyms()") == []


def test_twenty_are_not_too_many(app: Connection, operator: Connection, texts: dict[UUID, str]) -> None:
    set_synonyms(operator, "kids", [*(f"child{number}" for number in range(19)), "children"])
    assert set(find(app, texts, "kids")) == {"kids", "children"}


def test_only_operators_set_them(app: Connection) -> None:
    with refused("42501"):
        set_synonyms(app, "kids", ["children"])


def test_setting_is_audited_without_the_words(store: Store, operator: Connection) -> None:
    audit = (
        "SELECT c.content FROM guestcomms.audit_entries AS e JOIN guestcomms.audit_contents AS c USING (tenant_id, entry_id)"
        " WHERE e.action = 'set_synonyms' AND e.tenant_id = %s ORDER BY e.entry_id"
    )
    with store.connect() as root:
        before = len(rows(root, audit, store.tenant_a))
        set_synonyms(operator, "kids", ["children", "little ones"])
        set_synonyms(operator, "kids", None)
        details = [row[0] for row in rows(root, audit, store.tenant_a)][before:]
    assert [detail["count"] for detail in details] == [2, 0]
    assert "children" not in str(details)
    assert "kids" not in str(details)


def test_a_synonym_counts_less(app: Connection, operator: Connection) -> None:
    guest = add_guest(app)
    asked, meant = record_all(app, [message(guest, language="en", body=body) for body in ("pram here", "buggy here")])
    set_synonyms(operator, "pram", ["buggy"])
    query = "SELECT score FROM guestcomms.search_messages('pram', guest_id => %s) WHERE message_id = %s"
    assert one(app, query, guest, asked) > one(app, query, guest, meant) > 0
