"""What a tenant's searches give does not depend, to the last digit, on what other tenants have.

GUESTCOMMS_EXAMPLES says how many queries are tried."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random
from uuid import UUID

import pytest

from tests.support.database import Connection
from tests.support.queries import Row, column, one, rows
from tests.support.statistics import refresh_all
from tests.support.store import Store

EXAMPLES = int(os.environ.get("GUESTCOMMS_EXAMPLES", "120"))
CANARY = "zebrafishcanary"  # in all that tenant B has, and in no query
SHARED = [
    *("menu", "roses", "seating", "table", "shuttle", "hotel", "parking", "vegetarian"),
    *("café", "gäste", "dessert", "music", "invoice", "flowers", "arrival", "window"),
]
OF_A = ["kestrel", "orchard", "lighthouse", "paddock"]
OF_B = ["walrus", "glacier", "submarine", "tundra"]
NAMES = ["Zoë Kaya", "Ann Walker", "Table Rose"]
# Words from the beginning of the list come more often, so what is common to one tenant is rare to the other.
LOAD = """
WITH thread AS MATERIALIZED (
    INSERT INTO guestcomms.threads (tenant_id, guest_id, subject)
    SELECT g.tenant_id, g.guest_id, 'Seating' FROM guestcomms.guests AS g WHERE g.tenant_id = %(tenant)s
    RETURNING guest_id, thread_id
), numbered AS (SELECT row_number() OVER (ORDER BY guest_id) AS number, count(*) OVER () AS count, * FROM thread)
INSERT INTO guestcomms.messages (tenant_id, message_id, sent_at, thread_id, guest_id, wedding_id, campaign_id, direction, channel,
    status, language, subject, body)
SELECT %(tenant)s, guestcomms.uuid_v7(x.sent_at), x.sent_at, t.thread_id, t.guest_id,
    CASE WHEN n %% 3 = 0 THEN (SELECT wedding_id FROM guestcomms.weddings WHERE tenant_id = %(tenant)s LIMIT 1) END,
    CASE WHEN n %% 4 = 0 THEN (SELECT campaign_id FROM guestcomms.campaigns WHERE tenant_id = %(tenant)s LIMIT 1) END,
    (ARRAY['inbound', 'outbound'])[1 + n %% 2], (ARRAY['email', 'sms', 'whatsapp', 'chat'])[1 + n / 2 %% 4], 'read',
    (ARRAY['en', 'en', 'de', NULL])[1 + n %% 4], CASE WHEN n %% 5 = 0 THEN x.words[2] || ' ' || x.words[5] END,
    array_to_string(x.words[1:2 + n %% 9], ' ') || ' p' || n || %(extra)s
        || CASE WHEN n %% 7 = 0 THEN ' https://example.com/' ELSE '' END
FROM generate_series(1, %(count)s) AS n
JOIN numbered AS t ON t.number = 1 + n %% t.count
CROSS JOIN LATERAL (
    SELECT timestamptz '2026-05-20 10:00+00' - n * interval '5 hours' AS sent_at,
        array_agg((%(words)s::text[])[1 + (hashint8(n * 31 + k + %(seed)s) & 1023) * (hashint8(n + k * 17 + %(seed)s) & 1023)
            * cardinality(%(words)s::text[]) / 1048576] ORDER BY k) AS words
    FROM generate_series(1, 12) AS k
) AS x
"""


def load(superuser: Connection, tenant: UUID, count: int, words: list[str], seed: int, extra: str = "") -> None:
    values = {"tenant": tenant, "count": count, "words": words, "seed": seed, "extra": extra}
    superuser.execute(LOAD, values)


def settle(root: Connection, operator: Connection) -> None:
    refresh_all(operator)
    root.execute("VACUUM ANALYZE")


@pytest.fixture(scope="module")
def root(store: Store) -> Connection:
    connection = store.connect()
    for tenant, words, extra in (
        (store.tenant_a, SHARED + OF_A, ""),
        (store.tenant_b, OF_B + SHARED[::-1], f" {CANARY}"),
    ):
        for name in NAMES:
            connection.execute("INSERT INTO guestcomms.guests (tenant_id, display_name) VALUES (%s, %s)", [tenant, name + extra])
        connection.execute("INSERT INTO guestcomms.weddings (tenant_id, name) VALUES (%s, %s)", [tenant, "Kaya & Rose" + extra])
        connection.execute("INSERT INTO guestcomms.campaigns (tenant_id, name) VALUES (%s, %s)", [tenant, "Spring" + extra])
        load(connection, tenant, 1200, words, 1, extra)
    return connection


@pytest.fixture(scope="module")
def operator(store: Store, root: Connection) -> Connection:
    """Of no tenant."""
    connection = store.connect("operator_login")
    for tenant, words in ((store.tenant_a, '{seats,"window table"}'), (store.tenant_b, f"{{hotel,{CANARY}}}")):
        with store.connect("operator_login", tenant) as own:
            own.execute("SELECT guestcomms.set_synonyms('seating', %s::text[])", [words])
            own.execute("SELECT guestcomms.set_setting('search.candidate_limit', '100')")
            own.execute("SELECT guestcomms.set_setting('search.count_limit', '100')")
    settle(root, connection)
    return connection


@pytest.fixture
def app(store: Store, operator: Connection) -> Iterator[Connection]:
    connection = store.connect("app_login", store.tenant_a)
    yield connection
    connection.close()


# Queries

FILTERS = [
    *("channel:sms", "-channel:email", "from:zoe", "to:ann", "guest:rose", "wedding:kaya", "campaign:spring", "in:seating"),
    *("has:link", "has:reply", "before:2026-03", "after:2026-02-01", "on:2026-04", "status:unread", "from:us"),
]
OPTIONS = [
    *("", "", "sort => 'recent'", "max_rows => 3", "max_rows => 200", "channel => 'chat'"),
    *("is_expanded => true", "is_expanded => true, sort => 'recent'"),
    *("direction => 'inbound'", "since => '2026-01-15'", "until => '2026-02-15'"),
]


def make_query(random: Random) -> str:
    parts = []
    for _ in range(random.choice([1, 1, 2, 2, 3, 5])):
        word = random.choice(SHARED + OF_A + OF_B)
        kind = random.randrange(12)
        if kind == 0:
            parts.append(f'"{word} {random.choice(SHARED)}"')
        elif kind == 1:
            parts.append(f"-{word}")
        elif kind == 2:
            parts.append(f"{word} OR {random.choice(SHARED + OF_B)}")
        elif kind == 3:
            parts.append(f"{word[: random.randint(1, 4)]}*")
        elif kind == 4:
            parts.append(random.choice(FILTERS))
        elif kind == 5:
            parts.append(random.choice(["p*", "p1*", "p10*", f"p{random.randint(1, 1500)}"]))
        else:
            parts.append(word)
    return " ".join(parts)


def make_queries(count: int) -> list[tuple[str, str]]:
    random = Random(20260314)
    return [(make_query(random), random.choice(OPTIONS)) for _ in range(count)]


def answers(app: Connection, query: str, option: str) -> list[tuple[str, list[Row]]]:
    """Two pages of a search and all that is told about it."""
    options = f", {option}" if option else ""
    search = f"SELECT * FROM guestcomms.search_messages(%s, after => %s{options})".encode()
    first = rows(app, search, query, None)
    found = [("first page", [row[:-1] for row in first])]
    if first:
        found.append(("second page", [row[:-1] for row in rows(app, search, query, first[-1][-1])]))
    if "max_rows" in option or "sort" in option or "is_expanded" in option:
        options = ""
    for name in ("count_matches", "search_facets"):
        found.append((name, rows(app, f"SELECT * FROM guestcomms.{name}(%s{options})".encode(), query)))
    options = f", {option}" if option and option != "max_rows => 200" else ""
    explain = f"SELECT part, detail::text FROM guestcomms.explain_search(%s{options})".encode()
    found.append(("explain_search", rows(app, explain, query)))
    return found


def change_tenant_b(store: Store, root: Connection, operator: Connection) -> None:
    """Thoroughly."""
    tenant = store.tenant_b
    load(root, tenant, 6000, SHARED + OF_A + OF_B, 7, f" {CANARY} ")
    load(root, tenant, 500, [*OF_A, "dolphin"], 8)
    update = "UPDATE guestcomms.messages SET {} WHERE tenant_id = %s AND body ~ {}"
    root.execute(update.format("body = 'menu ' || body, language = 'fr'", "'[13]'").encode(), [tenant])
    root.execute(update.format("subject = 'roses kestrel'", "'5'").encode(), [tenant])
    root.execute("DELETE FROM guestcomms.messages WHERE tenant_id = %s AND body ~ '[79]'", [tenant])
    root.execute(
        "INSERT INTO guestcomms.guests (tenant_id, display_name)"
        " SELECT %s, name FROM unnest(%s::text[]) AS name CROSS JOIN generate_series(1, 250)",
        [tenant, NAMES],
    )
    with store.connect("operator_login", tenant) as own:
        for term, alternatives in (("menu", ["dinner", "roses"]), ("kestrel", ["walrus"]), ("seating", ["p1", "flowers table"])):
            own.execute("SELECT guestcomms.set_synonyms(%s, %s)", [term, alternatives])
        for setting, value in {
            **{"term_saturation": "2.5", "length_weight": "0.1", "recency_weight": "1", "recency_half_life": "2 days"},
            **{"any_word_below": "200", "candidate_limit": "5000", "proximity_weight": "4", "subject_weight": "9"},
            **{"headline_start": "<<"},
        }.items():
            own.execute("SELECT guestcomms.set_setting(%s, %s)", [f"search.{setting}", value])
    settle(root, operator)


def test_answers_do_not_depend_on_another_tenant(store: Store, root: Connection, operator: Connection, app: Connection) -> None:
    queries = make_queries(EXAMPLES)
    before = [answers(app, *query) for query in queries]
    own = set(column(root, "SELECT message_id FROM guestcomms.messages WHERE tenant_id = %s", store.tenant_a))
    foreign = {
        str(identifier)
        for (identifier,) in rows(
            root,
            "SELECT unnest(ARRAY[message_id, guest_id, thread_id, wedding_id, campaign_id])"
            " FROM guestcomms.messages WHERE tenant_id = %s",
            store.tenant_b,
        )
        if identifier
    }
    change_tenant_b(store, root, operator)
    with store.connect("app_login", store.tenant_a) as later:
        for query, recorded in zip(queries, before, strict=True):
            found = answers(later, *query)
            for was, now in zip(recorded, found, strict=True):
                assert repr(now) == repr(was), query
            told = repr(found)
            assert CANARY not in told, query
            assert not [identifier for identifier in foreign if identifier in told], query
            assert {row[0] for name, page in found if name.endswith("page") for row in page} <= own, query
    # They were answers: pages with words of A's own, cut off ones, those in stages.
    pages = [row for recorded in before for row in recorded[0][1]]
    assert {row[9] for row in pages} >= {"all words", "any word"}
    assert {row[10] for row in pages} == {True, False}
    assert one(root, "SELECT count(*) FROM guestcomms.messages WHERE tenant_id = %s", store.tenant_b) > 3000
