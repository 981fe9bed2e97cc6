"""What a tenant is told while typing does not depend, to the last digit, on what other tenants have.

GUESTCOMMS_EXAMPLES says how many prefixes and mistyped words are tried."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "60"))
SHARED = [
    *("menu", "roses", "seating", "table", "shuttle", "hotel", "parking", "vegetarian", "café", "gäste", "dessert"),
    *("ceremony", "invoice", "flowers", "arrival", "window", "decoration", "invitation", "attendance", "приглашение"),
]
# Each tenant has words near the other's, and near those of both.
OF_A = ["kestrel", "orchard", "lighthouse", "paddock", "floors", "tablet", "orchestra", "decorative"]
OF_B = [
    "kestrels",
    "orchards",
    "lighthouses",
    "paddocks",
    "flower",
    "stable",
    "orchid",
    "invitations",
    "vegetation",
    "menus",
    "сад",
]
CANARY = "zebrafishcanary"  # in B's names
# What B has, the words of A and of both with it, more and more often.
LOAD = """
WITH guest AS MATERIALIZED (
    SELECT g.guest_id, row_number() OVER (ORDER BY g.guest_id) - 1 AS number, count(*) OVER () AS count
    FROM guestcomms.guests AS g WHERE g.tenant_id = %(tenant)s
), thread AS MATERIALIZED (
    INSERT INTO guestcomms.threads (tenant_id, guest_id) SELECT %(tenant)s, g.guest_id FROM guest AS g
    RETURNING guest_id, thread_id
)
INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, direction, channel, status, language, body)
SELECT %(tenant)s, guestcomms.uuid_v7(x.sent_at), x.sent_at, t.thread_id, g.guest_id, 'inbound', 'sms', 'received',
    (ARRAY['en', 'en', 'de', 'ru', 'la'])[1 + n %% 5],
    (SELECT string_agg((%(words)s::text[])[1 + (hashint8(n * 31 + k + %(seed)s) & 1023)
            * (hashint8(n + k * 17 + %(seed)s) & 1023) * cardinality(%(words)s::text[]) / 1048576], ' ' ORDER BY k)
        FROM generate_series(1, 2 + n %% 7) AS k)
FROM generate_series(1, %(count)s) AS n
JOIN guest AS g ON g.number = n %% g.count
JOIN thread AS t ON t.guest_id = g.guest_id
CROSS JOIN LATERAL (SELECT timestamptz '2026-05-20 10:00+00' - n * interval '5 hours' AS sent_at) AS x
"""
WORDS = """
SELECT DISTINCT u.word
FROM guestcomms.messages AS m CROSS JOIN LATERAL unnest(string_to_array(m.body, ' ')) AS u (word) WHERE m.tenant_id = %s
"""


def load(superuser: Connection, tenant: UUID, count: int, words: list[str], seed: int) -> None:
    superuser.execute(LOAD, {"tenant": tenant, "count": count, "words": words, "seed": seed})


def add_names(superuser: Connection, tenant: UUID, extra: str = "") -> None:
    for name in ("Zoë Kaya", "Ann Walker", "Table Rose", "Vera Meadow"):
        superuser.execute("INSERT INTO guestcomms.guests (tenant_id, display_name) VALUES (%s, %s)", [tenant, name + extra])
    superuser.execute("INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, %s)", [tenant, "Kaya & Rose" + extra])
    superuser.execute("INSERT INTO guestcomms.campaigns (tenant_id, name) VALUES (%s, %s)", [tenant, "Spring menu" + extra])


@pytest.fixture(scope="module")
def operator(store: Store) -> Connection:
    """Of no tenant."""
    return store.connect("operator_login")


@pytest.fixture(scope="module")
def root(store: Store, operator: Connection) -> Connection:
    connection = store.connect()
    add_names(connection, store.tenant_a)
    load(connection, store.tenant_a, 600, SHARED + OF_A, 1)
    add_names(connection, store.tenant_b, f" {CANARY}")
    load(connection, store.tenant_b, 300, OF_B + SHARED[::-1], 2)
    refresh_all(operator)
    return connection


# What is typed


def mistype(random: Random, word: str) -> str:
    """With an edit; of three letters or more, so that something is left of it."""
    if len(word) < 3:
        return word
    place = random.randrange(len(word))
    letter = random.choice("aeinrst")
    return random.choice(
        [
            word[:place] + word[place + 1 :],
            word[:place] + letter + word[place:],
            word[:place] + letter + word[place + 1 :],
            word[:place] + word[place : place + 2][::-1] + word[place + 2 :],
        ]
    )


def make_typed(random: Random) -> str:
    word = random.choice(SHARED + OF_A + OF_B + OF_B)
    kind = random.randrange(6)
    if kind == 0:
        return word[: random.randint(0, 5)]
    if kind == 1:
        return f"{random.choice(SHARED + OF_B)} {word[: random.randint(0, 5)]}"
    if kind == 2:
        return random.choice(["from:", "wedding:", "campaign:", "ze", "ka", "sp", "vera"]) + random.choice(["", word[:1]])
    for _ in range(random.choice([1, 1, 2, 4])):
        word = mistype(random, word)
    if kind == 3:
        return f"{mistype(random, random.choice(SHARED + OF_A + OF_B))} {word}"
    return word


def make_all_typed() -> list[str]:
    random = Random(20260314)
    return ["", "wedding:ka", "campaign:s", "from:ka", "flovers", "kestrle", *(make_typed(random) for _ in range(EXAMPLES))]


def answers(app: Connection, typed: str) -> list[list[Row]]:
    """All that is told about what has been typed."""
    found = [
        rows(app, "SELECT * FROM guestcomms.suggest_terms(%s, 20)", typed),
        rows(app, "SELECT guestcomms.correct_query(%s)", typed),
    ]
    for word in typed.split() or [""]:
        found.append(rows(app, "SELECT * FROM guestcomms.suggest_corrections(%s, 50)", word))
    return found


# What happens in B


def add_more(root: Connection, tenant: UUID) -> None:
    """All words of A and of both, more often than A has them."""
    add_names(root, tenant, f" {CANARY}")
    load(root, tenant, 900, SHARED + OF_A + OF_B, 7)
    load(root, tenant, 200, [*OF_A, "dolphin"], 8)


def edit(root: Connection, tenant: UUID) -> None:
    root.execute(
        "UPDATE guestcomms.messages SET body = body || ' menu flowers kestrel', language = 'fr'"
        " WHERE tenant_id = %s AND body ~ 'o'",
        [tenant],
    )
    root.execute(
        "UPDATE guestcomms.guests SET display_name = 'Kestrel Zoë' WHERE tenant_id = %s AND display_name ~ 'Ann'", [tenant]
    )


def remove(root: Connection, tenant: UUID) -> None:
    root.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s AND body ~ '(menu|orchard|table)'", [tenant])


def remove_all(root: Connection, tenant: UUID) -> None:
    root.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s", [tenant])


def set_otherwise(store: Store) -> None:
    """Settings and synonyms of B."""
    with store.connect("operator_login", store.tenant_b) as own:
        for term, alternatives in (("flovers", ["roses"]), ("kestrle", ["orchid"])):
            own.execute("SELECT guestcomms.set_synonyms(%s, %s)", [term, alternatives])
        for setting, value in {"spelling.one_edit_from": "3", "spelling.two_edits_from": "4", "suggest.min_guests": "1"}.items():
            own.execute("SELECT guestcomms.set_setting(%s, %s)", [setting, value])


def test_what_is_told_while_typing_does_not_depend_on_another_tenant(
    store: Store, root: Connection, operator: Connection
) -> None:
    typed = make_all_typed()
    # Each once, whatever words typed have in common.
    app = store.connect("app_login", store.tenant_a)
    before = [answers(app, each) for each in typed]
    own_words = set(column(root, WORDS, store.tenant_a))
    only_b = {*OF_B, CANARY} - own_words
    assert len(only_b) == len(OF_B) + 1
    changes: list[Callable[[Connection, UUID], None]] = [add_more, edit, remove, remove_all]
    for change in changes:
        change(root, store.tenant_b)
        if change is add_more:
            set_otherwise(store)
        refresh_all(operator)
        if change is edit:
            root.execute("VACUUM ANALYZE")
        for each, recorded in zip(typed, before, strict=True):
            assert repr(answers(app, each)) == repr(recorded), (change.__name__, each)
    # They were answers, and of A's words.
    told = {word for recorded in before for answer in recorded[2:] for (word, *_) in answer}
    assert told <= own_words
    assert len(told) > min(EXAMPLES, 100) / 8
    for each, (terms, [(corrected,)], *_) in zip(typed, before, strict=True):
        for text in [corrected, *(row[0] for row in terms), *(row[3] for row in terms)]:
            assert not only_b & set(text.lower().replace('"', " ").split()) - set(each.split()), (each, text)
    kinds = {row[1] for recorded in before for row in recorded[0]}
    assert kinds >= {"word", "phrase", "guest", "wedding", "campaign", "correction"}
    assert [each for each, recorded in zip(typed, before, strict=True) if recorded[1] != [(each,)]]


def test_both_tenants_have_what_they_are_told(store: Store, root: Connection, operator: Connection) -> None:
    """Else nothing could leak."""
    load(root, store.tenant_b, 300, OF_B + SHARED[::-1], 3)
    refresh_all(operator)
    told = {}
    for name, tenant, login in (("a", store.tenant_a, "app_login"), ("b", store.tenant_b, "other_app_login")):
        with store.connect(login, tenant) as app:
            told[name] = [
                column(app, "SELECT correction FROM guestcomms.suggest_corrections('orchrads')"),
                one(app, "SELECT guestcomms.correct_query('lighthoues vegetatoin')"),
                column(app, "SELECT suggestion FROM guestcomms.suggest_terms('lightho') WHERE kind = 'word'"),
            ]
    assert told["a"] == [["orchard"], "lighthouse vegetatoin", ["lighthouse"]]
    assert told["b"] == [["orchards"], "lighthouses vegetation", ["lighthouses"]]
