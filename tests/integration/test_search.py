"""What a search finds: words, marks, languages, scripts, filters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.database import Connection
from tests.support.queries import column, one, refused, rows
from tests.support.store import Store
from tests.support.traffic import add_guest, message, now, record, record_all

TEXTS = {
    "menu": ("en", None, "The vegetarian menu: seven dishes are ready."),
    "order": ("en", None, "We saw the garden party, then the party garden."),
    "cafe": ("en", None, "Meet at the Café Zoë near the river"),
    "subject": ("en", "Seating plan", "See the attachment."),
    "german": ("de", None, "Die Blumensträuße und die Gäste sind eingetroffen"),
    "french": ("fr", None, "Les invitées mangeront des gâteaux"),
    "flowers": ("en", None, "The flowers arrived in Berlin"),
    "both": ("en", None, "The flowers and the cakes arrived in Berlin"),
    "chinese": ("zh", None, "请问婚礼的菜单有素食吗,我们星期六到。"),
    "thai": ("th", None, "สวัสดีครับ งานแต่งงานวันเสาร์"),
    "japanese": ("ja", None, "結婚式のメニューについて"),
    "mixed": ("zh", None, "WhatsApp 请问 menu"),
    "number": ("en", None, "Invoice 2026-118, table 42"),
}


@pytest.fixture(scope="module")
def app(store: Store) -> Connection:
    return store.connect("app_login", store.tenant_a)


@pytest.fixture(scope="module")
def texts(store: Store, app: Connection) -> dict[UUID, str]:
    guest = add_guest(app)
    batch = [message(guest, language=language, subject=subject, body=body) for language, subject, body in TEXTS.values()]
    other = store.connect("other_app_login", store.tenant_b)
    record_all(other, [element | {"guest_id": str(add_guest(other))} for element in batch])
    return dict(zip(record_all(app, batch), TEXTS, strict=True))


@pytest.fixture(scope="module")
def find(app: Connection, texts: dict[UUID, str]) -> Callable[[str], set[str]]:
    """Names of the texts that a query finds, not only by some of its words."""

    def found(query: str) -> set[str]:
        ids = column(
            app,
            "SELECT message_id FROM guestcomms.search_messages(%s, max_rows => 200) WHERE stage <> 'any word'",
            query,
        )
        assert len(ids) == len(set(ids))
        return {texts[message_id] for message_id in ids}

    return found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # all words, in any form
        ("vegetarian dish", {"menu"}),
        ("DISH", {"menu"}),
        ("menu", {"menu", "mixed"}),
        ("vegetarian flowers", set()),
        ("seating", {"subject"}),
        ("seating attachment", {"subject"}),
        ("the", {"menu", "order", "cafe", "subject", "flowers", "both"}),
        # exact phrases
        ('"garden party"', {"order"}),
        ('"party garden"', {"order"}),
        ('"party the garden"', set()),
        ('"flowers arrived"', {"flowers"}),
        ('"seating plan"', {"subject"}),
        # none of it, either
        ("arrived -cake", {"flowers"}),
        ('arrived -"flowers arrived"', {"both"}),
        ("vegetarian OR seating", {"menu", "subject"}),
        # accents and case
        ("cafe zoe", {"cafe"}),
        ("CAFÉ", {"cafe"}),
        ("gaste", {"german"}),
        ("gateau", {"french"}),
        # languages
        ("Blumenstrauß", {"german"}),
        ("Gast", {"german"}),
        ("invité gâteau", {"french"}),
        # scripts without spaces, by any part
        ("菜单", {"chinese"}),
        ("婚礼的菜单", {"chinese"}),
        ("婚礼 素食", {"chinese"}),
        ("菜", {"chinese"}),
        ("单菜", set()),
        ("แต่งงาน", {"thai"}),
        ("วันเสาร์", {"thai"}),
        ("เสาร์วัน", set()),
        ("メニュー", {"japanese"}),
        ("請問", set()),
        ("menu 请问", {"mixed"}),
        ("请问", {"chinese", "mixed"}),
        # numbers
        ("42", {"number"}),
        ("invoice 2026-118", {"number"}),
    ],
)
def test_what_is_found(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # `flowers` has another stem in each of the tenant's languages; none must be in the text
        ("berlin -flowers", set()),
        ("berlin -flower", set()),
        ("berlin -cakes", {"flowers"}),
        ("berlin -cake", {"flowers"}),
        ('berlin -"flowers arrived"', {"both"}),
    ],
)
def test_a_word_excluded_is_excluded_in_every_language(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("请问 -菜单", {"mixed"}),
        ("-菜单 请问", {"mixed"}),
        ("素食 OR 请问", {"chinese", "mixed"}),
        ("seating OR 菜单", {"subject", "chinese"}),
        ("menu -请问", {"menu"}),
        ('"请问 menu"', {"mixed"}),
    ],
)
def test_marks_hold_for_scripts_without_spaces(find: Callable[[str], set[str]], query: str, expected: set[str]) -> None:
    assert find(query) == expected


@pytest.mark.parametrize("query", ["", " ", None, "?!", "---", '""', "«»", "…"])
def test_without_words_the_newest_are_shown(app: Connection, texts: dict[UUID, str], query: str | None) -> None:
    found = rows(app, "SELECT message_id, stage FROM guestcomms.search_messages(%s, max_rows => 200)", query)
    assert {row[0] for row in found} == texts.keys()
    assert {row[1] for row in found} == {"filters"}


TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
# What a query language is made of, and what the parsers behind it might take for their own.
WORDS = ["menu", " or ", "OR", "菜单", "แต่ง", "é", "🎉", "Ⅷ", "a.b/c", "a@b.c"]
SIGNS = ["<b>", "<->", "<2>", ":*", ":A", "--", "''", "$1", *" \"-&|!()'%\\\u200b"]
PIECES = st.sampled_from([*WORDS, *SIGNS])
QUERIES = TEXT | st.lists(PIECES, max_size=12).map("".join)


@settings(deadline=None, max_examples=300)
@given(query=QUERIES, sort=st.sampled_from(["relevant", "recent"]))
def test_no_query_is_an_error(app: Connection, texts: dict[UUID, str], query: str, sort: str) -> None:
    found = rows(
        app,
        "SELECT message_id, headline FROM guestcomms.search_messages(%s, sort => %s)",
        query,
        sort,
    )
    assert all(message_id in texts and headline for message_id, headline in found)


@pytest.mark.parametrize("unit", ["menu ", "a", "Ⅷ", "𐌰", "菜单", '"', "-", "( ", "-a or "])
def test_a_very_long_query_is_no_error(app: Connection, texts: dict[UUID, str], unit: str) -> None:
    rows(app, "SELECT 1 FROM guestcomms.search_messages(%s)", unit * 20_000)


# Filters


@pytest.fixture(scope="module")
def filtered(store: Store, app: Connection) -> dict[str, Any]:
    """A message that all filters let through, and one a filter that only it keeps out."""
    root = store.connect()
    tenant = store.tenant_a
    made: dict[str, Any] = {}
    for number in (1, 2):
        made[f"guest{number}"] = guest = add_guest(app)
        made[f"thread{number}"] = one(app, "SELECT guestcomms.open_thread(guest_id => %s)", guest)
        for kind in ("wedding", "campaign"):
            made[f"{kind}{number}"] = one(
                root,
                f"INSERT INTO guestcomms.{kind}s (tenant_id, name) VALUES (%s, 'x') RETURNING {kind}_id".encode(),
                tenant,
            )
    base: dict[str, Any] = {
        "direction": "outbound",
        "channel": "email",
        "body": "filterable",
        "sent_at": (now() - timedelta(days=10)).isoformat(),
        "thread_id": str(made["thread1"]),
        "wedding_id": str(made["wedding1"]),
        "campaign_id": str(made["campaign1"]),
    }
    changes: dict[str, dict[str, Any]] = {
        "thread_id": {"thread_id": str(made["thread2"])},
        "wedding_id": {"wedding_id": str(made["wedding2"])},
        "campaign_id": {"campaign_id": str(made["campaign2"])},
        "channel": {"channel": "sms"},
        "direction": {"direction": "inbound"},
        "since": {"sent_at": (now() - timedelta(days=100)).isoformat()},
        "until": {"sent_at": (now() - timedelta(days=1)).isoformat()},
    }
    made["wanted"] = record(app, made["guest1"], **base)
    made["others"] = {name: record(app, made["guest1"], **base | change) for name, change in changes.items()}
    made["others"]["guest_id"] = record(app, made["guest2"], **base)
    made["values"] = {
        "guest_id": made["guest1"],
        "thread_id": made["thread1"],
        "wedding_id": made["wedding1"],
        "campaign_id": made["campaign1"],
        "channel": "email",
        "direction": "outbound",
        "since": now() - timedelta(days=50),
        "until": now() - timedelta(days=5),
    }
    return made


@pytest.mark.parametrize("query", ["filterable", ""])
@pytest.mark.parametrize(
    "name",
    [
        *("guest_id", "thread_id", "wedding_id", "campaign_id", "channel", "direction"),
        "since",
        "until",
    ],
)
def test_a_filter_keeps_out_what_it_should(app: Connection, filtered: dict[str, Any], name: str, query: str) -> None:
    found = column(
        app,
        f"SELECT message_id FROM guestcomms.search_messages(%s, {name} => %s, max_rows => 200)".encode(),
        query,
        filtered["values"][name],
    )
    expected = {filtered["wanted"], *filtered["others"].values()} - {filtered["others"][name]}
    assert set(found) & {filtered["wanted"], *filtered["others"].values()} == expected


def test_all_filters_together(app: Connection, filtered: dict[str, Any]) -> None:
    names = ", ".join(f"{name} => %s" for name in filtered["values"])
    found = column(
        app,
        f"SELECT message_id FROM guestcomms.search_messages('filterable', {names})".encode(),
        *filtered["values"].values(),
    )
    assert found == [filtered["wanted"]]


def test_since_is_within_and_until_is_not(app: Connection) -> None:
    guest = add_guest(app)
    at = now() - timedelta(days=33)
    wanted = record(app, guest, body="borderline", sent_at=at.isoformat())
    query = "SELECT message_id FROM guestcomms.search_messages('borderline', %s, %s)"
    instant = timedelta(microseconds=1)
    assert column(app, query, at, at + instant) == [wanted]
    assert column(app, query, at - instant, at) == []
    assert column(app, query, at, at) == []


# Parameters


@pytest.mark.parametrize(
    "argument",
    ["sort => 'best'", "sort => NULL", "max_rows => 0", "max_rows => 201", "max_rows => NULL"],
)
def test_a_bad_parameter_is_refused(app: Connection, argument: str) -> None:
    with refused("22023") as caught:
        rows(app, f"SELECT 1 FROM guestcomms.search_messages('x', {argument})".encode())
    assert caught.value.diag.message_hint


def test_a_search_writes_nothing(store: Store, texts: dict[UUID, str]) -> None:
    connection = store.connect("app_login", autocommit=False)
    connection.execute("SET TRANSACTION READ ONLY")
    connection.execute("SELECT guestcomms.use_tenant(%s)", [store.tenant_a])
    assert rows(connection, "SELECT 1 FROM guestcomms.search_messages('菜单')") == [(1,)]
    assert one(connection, "SELECT pg_current_xact_id_if_assigned()") is None
    connection.close()


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        ("<b>", "</b>"),
        ('<i class="x">', "</i>"),
        ("\\", "\\\\"),
        ("'", '"'),
        (",", "="),
        ("%s", "$1"),
    ],
)
def test_found_words_are_marked_as_set(app: Connection, store: Store, texts: dict[UUID, str], start: str, stop: str) -> None:
    operator = store.connect("operator_login", store.tenant_a)
    operator.execute("SELECT guestcomms.set_setting('search.headline_start', %s)", [start])
    operator.execute("SELECT guestcomms.set_setting('search.headline_stop', %s)", [stop])
    headline = "SELECT headline FROM guestcomms.search_messages(%s)"
    try:
        assert f"seven {start}dishes{stop} are" in one(app, headline, "dish vegetarian")
        assert f"{start}菜单{stop}" in one(app, headline, "菜单")
    finally:
        operator.execute("SELECT guestcomms.set_setting('search.headline_start', NULL)")
        operator.execute("SELECT guestcomms.set_setting('search.headline_stop', NULL)")
    assert "seven «dishes» are" in one(app, headline, "dish vegetarian")
